# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a NIC change must never alter, as a digest per interface: a different digest afterwards means rollback.

Pause, DCB (ETS, PFC, priority maps, trust, rate limits) and the vendor's QoS and ECN files of every device of a
driver; MTU of RDMA netdevs; RDMA sysctls of the host. The port buffers are left out: drivers recompute them with the
MTU. Counters are left out, too.

Sources: include/uapi/linux/{ethtool,dcbnl}.h; files qos/ and ecn/ below /sys/class/net/NAME as the vendor's
out-of-tree mlx5 driver has them. Read on virtual devices and from built messages only, not on ConnectX hardware.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import glob
import hashlib
import os
import socket
import struct
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.netlink.core import (
    NETLINK_ROUTE,
    Malformed,
    Socket,
    attribute_map,
    pack_attribute,
)
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.change.inspect import rdma_devices

SIOCETHTOOL = 0x8946
ETHTOOL_GPAUSEPARAM = 0x12
RTM_GETDCB = 78
DCB_CMD_IEEE_GET = 21
DCB_ATTR_IFNAME, DCB_ATTR_IEEE = 1, 13
IEEE_ETS, IEEE_PFC, IEEE_APP_TABLE, IEEE_MAXRATE, IEEE_QCN, IEEE_TRUST, IEEE_REWRITE = 1, 2, 3, 7, 8, 11, 12
_KEPT = (IEEE_ETS, IEEE_PFC, IEEE_APP_TABLE, IEEE_MAXRATE, IEEE_QCN, IEEE_TRUST, IEEE_REWRITE)
_PFC_SETTINGS = 6  # struct ieee_pfc: pfc_cap, pfc_en, mbc, a hole, delay (u16); counters follow

_RDMA_SYSCTLS = ("net/rdma_ucm", "net/iw_cm", "net/ib_ucm")
_RDMA_FILES = ("module/ib_core/parameters/netns_mode", "module/rdma_cm/parameters/*")


def dcb_settings(payload: bytes) -> dict[str, str]:
    """{attribute: hex} of an answer to DCB_CMD_IEEE_GET without counters and buffers (pure); raises Malformed."""
    if len(payload) < 4:
        raise Malformed("a DCB answer without its header")
    ieee = attribute_map(attribute_map(payload[4:]).get(DCB_ATTR_IEEE, b""))
    result = {}
    for kind in _KEPT:
        if kind in ieee:
            value = ieee[kind][:_PFC_SETTINGS] if kind == IEEE_PFC else ieee[kind]
            result[f"ieee.{kind}"] = value.hex()
    return result


def read_dcb(interface: str) -> dict[str, str]:
    """DCB settings from the kernel; empty where the device has none; an unreadable one says why, which is kept too."""
    request = struct.pack("=BBH", 0, DCB_CMD_IEEE_GET, 0) + pack_attribute(DCB_ATTR_IFNAME, interface.encode() + b"\0")
    try:
        with Socket(NETLINK_ROUTE, timeout=3.0) as netlink:
            answer = netlink.ask(RTM_GETDCB, request)
        return dcb_settings(answer[0].payload) if answer else {}
    except OSError as error:
        return {"ieee": errno.errorcode.get(error.errno or 0, str(error))}
    except Malformed as error:
        return {"ieee": str(error)}


def read_pause(interface: str) -> str:
    """Pause parameters as "autoneg rx tx" numbers, or the name of the errno with which the driver has none."""
    parameters = array.array("B", struct.pack("=IIII", ETHTOOL_GPAUSEPARAM, 0, 0, 0))
    address, _length = parameters.buffer_info()
    request = struct.pack("16sP16x", interface.encode(), address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as handle:
        try:
            fcntl.ioctl(handle, SIOCETHTOOL, request)
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, str(error))
    _command, autoneg, rx, tx = struct.unpack("=IIII", parameters.tobytes())
    return f"{autoneg} {rx} {tx}"


def settings(sys_root: str = "/sys", proc_root: str = "/proc") -> dict[str, dict[str, str]]:
    """{interface or "rdma": {what: value}} of every device of a driver, and of the host's RDMA settings."""
    result: dict[str, dict[str, str]] = {}
    for path in sorted(glob.glob(os.path.join(sys_root, "class/net/*"))):
        name = os.path.basename(path)
        device = os.path.join(path, "device")
        # Virtual functions come and go with pods, and what is frozen here belongs to their physical function.
        if not os.path.exists(device) or os.path.exists(os.path.join(device, "physfn")):
            continue
        found = {"pause": read_pause(name)}
        found.update(read_dcb(name))
        found.update(_files(path, ("qos/*", "settings/*", "ecn/*/*", "ecn/*/*/*")))
        if rdma_devices(name, sys_root):
            found.update(_files(path, ("mtu",)))
        result[name] = found
    host = _files(sys_root, _RDMA_FILES)
    host.update(_files(os.path.join(proc_root, "sys"), tuple(f"{name}/*" for name in _RDMA_SYSCTLS)))
    result["rdma"] = host
    return result


def digests(found: t.Mapping[str, t.Mapping[str, str]]) -> dict[str, str]:
    """{interface or "rdma": SHA-256 of its settings}; the values themselves stay in the host's own state."""
    return {
        name: hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:16] for name, values in found.items()
    }


def differing(before: t.Mapping[str, t.Mapping[str, str]], after: t.Mapping[str, t.Mapping[str, str]]) -> list[str]:
    """What differs, each as "eth0 pause: 0 1 1 -> 0 0 0"; an interface that is gone differs."""
    result = []
    for name in sorted(before):
        if name not in after:
            result.append(f"{name} is gone")
            continue
        for what in sorted(set(before[name]) | set(after[name])):
            old, new = before[name].get(what, "absent"), after[name].get(what, "absent")
            if old != new:
                result.append(f"{name} {what}: {old} -> {new}")
    return result


def _files(base: str, patterns: t.Iterable[str]) -> dict[str, str]:
    result = {}
    for pattern in patterns:
        for path in sorted(glob.glob(os.path.join(base, pattern))):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                if os.path.isfile(path):
                    with open(path, encoding="utf-8") as handle:
                        result[os.path.relpath(path, base)] = handle.read(4096).strip()
    return result
