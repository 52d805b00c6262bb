# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a WireGuard device, from the kernel or from a userspace implementation, without the wg program.

Private and preshared keys are never kept: they are left out while parsing, and no structure here has a place for them.
Pure parsers (parse_kernel, parse_uapi) beside the readers that feed them.

Sources: include/uapi/linux/wireguard.h (WG_CMD_GET_DEVICE; a peer list may span several messages of a dump, and so may
the allowed IPs of one peer); https://www.wireguard.com/xplatform/ (userspace protocol).
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import errno
import ipaddress
import os
import socket
import stat
import struct
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.netlink import curve25519, generic
from ansible_collections.aicluster.zerotrust.plugins.module_utils.netlink.core import (
    NETLINK_GENERIC,
    Malformed,
    NetlinkError,
    Socket,
    attribute_map,
    number,
    pack_attribute,
    parse_attributes,
    text,
)

WG_CMD_GET_DEVICE = 0
WGDEVICE_A_IFNAME, WGDEVICE_A_PUBLIC_KEY, WGDEVICE_A_LISTEN_PORT = 2, 4, 6
WGDEVICE_A_FWMARK, WGDEVICE_A_PEERS = 7, 8
WGPEER_A_PUBLIC_KEY, WGPEER_A_ENDPOINT, WGPEER_A_KEEPALIVE, WGPEER_A_HANDSHAKE = 1, 4, 5, 6
WGPEER_A_RX_BYTES, WGPEER_A_TX_BYTES, WGPEER_A_ALLOWEDIPS = 7, 8, 9
WGALLOWEDIP_A_FAMILY, WGALLOWEDIP_A_IPADDR, WGALLOWEDIP_A_CIDR_MASK = 1, 2, 3

UAPI_DIRECTORY = "/var/run/wireguard"
_UAPI_LIMIT = 64 << 20  # bytes; 100 000 peers stay below

_TIMESPEC = struct.Struct("=qq")


@dataclasses.dataclass
class Peer:
    """One peer. last_handshake_epoch is 0.0 where there was none; bytes count what the tunnel carried."""

    public_key: str
    endpoint: str | None = None
    allowed_ips: list[str] = dataclasses.field(default_factory=list)
    last_handshake_epoch: float = 0.0
    rx_bytes: int = 0
    tx_bytes: int = 0
    keepalive: int = 0

    def to_dict(self) -> dict[str, t.Any]:
        shape = dataclasses.asdict(self)
        shape["allowed_ips"] = sorted(set(self.allowed_ips))
        return shape


@dataclasses.dataclass
class Device:
    """One device. public_key is None where it has no key yet; implementation is "kernel" or "userspace"."""

    name: str
    implementation: str
    public_key: str | None = None
    listen_port: int = 0
    fwmark: int = 0
    peers: list[Peer] = dataclasses.field(default_factory=list)


class Gone(OSError):
    """There is no such WireGuard device."""


def read_kernel(name: str) -> Device:
    """The device of that name from the kernel.

    Raises Gone where there is no such device or it is not a WireGuard one of the kernel, NetlinkError otherwise
    (EPERM without CAP_NET_ADMIN), Malformed for an answer that is none.
    """
    try:
        family = generic.family_id("wireguard")
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            raise Gone(errno.ENODEV, f"the kernel has no WireGuard and so no device {name}") from error
        raise
    request = generic.header(WG_CMD_GET_DEVICE) + pack_attribute(WGDEVICE_A_IFNAME, name.encode() + b"\0")
    try:
        with Socket(NETLINK_GENERIC) as netlink:
            answer = netlink.dump(family, request)
    except NetlinkError as error:
        if error.errno in (errno.ENODEV, errno.EOPNOTSUPP):  # none of that name; of another kind
            raise Gone(error.errno, f"no kernel WireGuard device {name}") from error
        raise
    return parse_kernel(name, (generic.body(m.payload) for m in answer if m.kind == family))


def read_userspace(name: str, directory: str = UAPI_DIRECTORY, timeout: float = 5.0) -> Device:
    """The device of that name from the socket of a userspace implementation (wireguard-go, boringtun).

    Raises Gone where there is no such socket or nobody answers on it, OSError otherwise, Malformed for a strange
    answer.
    """
    path = os.path.join(directory, f"{name}.sock")
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise Gone(errno.ENOTSOCK, f"{path} is no socket")
    except FileNotFoundError as error:
        raise Gone(errno.ENODEV, f"no userspace WireGuard device {name}: {path} is not there") from error
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(path)
        except ConnectionRefusedError as error:
            raise Gone(errno.ENODEV, f"nobody answers on {path}: its process is gone") from error
        connection.sendall(b"get=1\n\n")
        answer = bytearray()
        while not answer.endswith(b"\n\n"):
            part = connection.recv(1 << 16)
            if not part:
                break
            answer += part
            if len(answer) > _UAPI_LIMIT:
                raise Malformed(f"an answer of more than {_UAPI_LIMIT} bytes on {path}")
    return parse_uapi(name, answer.decode("ascii", "replace"))


def read(name: str, directory: str = UAPI_DIRECTORY) -> Device:
    """The device of that name, from the kernel, else from a userspace socket; errors as the two readers."""
    try:
        return read_kernel(name)
    except Gone:
        return read_userspace(name, directory)


def parse_kernel(name: str, bodies: t.Iterable[bytes]) -> Device:
    """The device from the attributes of each message of a WG_CMD_GET_DEVICE dump, peers merged; raises Malformed."""
    device = Device(name=name, implementation="kernel")
    peers: dict[str, Peer] = {}
    for body in bodies:
        for kind, value in parse_attributes(body):
            if kind == WGDEVICE_A_IFNAME:
                device.name = text(value)
            elif kind == WGDEVICE_A_PUBLIC_KEY:
                device.public_key = _key(value)
            elif kind == WGDEVICE_A_LISTEN_PORT:
                device.listen_port = number(value, 2)
            elif kind == WGDEVICE_A_FWMARK:
                device.fwmark = number(value, 4)
            elif kind == WGDEVICE_A_PEERS:
                for _position, nested in parse_attributes(value):
                    _merge_peer(peers, attribute_map(nested))
    device.peers = list(peers.values())
    return device


def _merge_peer(peers: dict[str, Peer], attributes: t.Mapping[int, bytes]) -> None:
    """Adds what one nest says about a peer; one that continues an earlier message has its key and allowed IPs only."""
    if WGPEER_A_PUBLIC_KEY not in attributes:
        raise Malformed("a peer without its public key")
    key = _key(attributes[WGPEER_A_PUBLIC_KEY])
    if key is None:
        raise Malformed("a peer whose public key is zero")
    peer = peers.setdefault(key, Peer(public_key=key))
    if WGPEER_A_ENDPOINT in attributes:
        peer.endpoint = _endpoint(attributes[WGPEER_A_ENDPOINT])
    if WGPEER_A_KEEPALIVE in attributes:
        peer.keepalive = number(attributes[WGPEER_A_KEEPALIVE], 2)
    if WGPEER_A_HANDSHAKE in attributes:
        raw = attributes[WGPEER_A_HANDSHAKE]
        if len(raw) != _TIMESPEC.size:
            raise Malformed(f"a time of {len(raw)} bytes")
        seconds, nanoseconds = _TIMESPEC.unpack(raw)
        peer.last_handshake_epoch = seconds + nanoseconds / 1e9
    if WGPEER_A_RX_BYTES in attributes:
        peer.rx_bytes = number(attributes[WGPEER_A_RX_BYTES], 8)
    if WGPEER_A_TX_BYTES in attributes:
        peer.tx_bytes = number(attributes[WGPEER_A_TX_BYTES], 8)
    for _position, nested in parse_attributes(attributes.get(WGPEER_A_ALLOWEDIPS, b"")):
        peer.allowed_ips.append(_allowed_ip(attribute_map(nested)))


def _allowed_ip(attributes: t.Mapping[int, bytes]) -> str:
    try:
        family = number(attributes[WGALLOWEDIP_A_FAMILY], 2)
        mask = number(attributes[WGALLOWEDIP_A_CIDR_MASK], 1)
        raw = attributes[WGALLOWEDIP_A_IPADDR]
    except KeyError as error:
        raise Malformed(f"an allowed IP without attribute {error}") from error
    if (family, len(raw)) not in ((socket.AF_INET, 4), (socket.AF_INET6, 16)):
        raise Malformed(f"an allowed IP of family {family} with {len(raw)} bytes")
    return f"{socket.inet_ntop(family, raw)}/{mask}"


def _endpoint(raw: bytes) -> str | None:
    """ "address:port" of a struct sockaddr_in or sockaddr_in6, None for one that was never set."""
    if len(raw) < 4:
        raise Malformed(f"an endpoint of {len(raw)} bytes")
    family = number(raw[:2], 2)
    port = int.from_bytes(raw[2:4], "big")
    if family == socket.AF_INET and len(raw) >= 8:
        return f"{socket.inet_ntop(family, raw[4:8])}:{port}"
    if family == socket.AF_INET6 and len(raw) >= 28:
        scope = number(raw[24:28], 4)
        return f"[{socket.inet_ntop(family, raw[8:24])}{f'%{scope}' if scope else ''}]:{port}"
    if family == socket.AF_UNSPEC:
        return None
    raise Malformed(f"an endpoint of family {family} with {len(raw)} bytes")


def _key(raw: bytes) -> str | None:
    """A key in the base64 form that wg and Cilium print; None for the zero key, which means none."""
    if len(raw) != 32:
        raise Malformed(f"a key of {len(raw)} bytes")
    return base64.b64encode(raw).decode() if any(raw) else None


def parse_uapi(name: str, answer: str) -> Device:
    """The device from the answer to "get=1"; raises Malformed for a strange one, OSError where it carries an errno."""
    device = Device(name=name, implementation="userspace")
    peer: Peer | None = None
    ended = False
    for line in answer.splitlines():
        if not line:
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise Malformed("a line that is not key=value")  # not shown: it may hold a secret
        try:
            if key == "errno":
                ended = True
                if int(value):
                    raise OSError(abs(int(value)), f"{os.strerror(abs(int(value)))}: the process of {name} says so")
            elif key == "public_key":
                peer = Peer(public_key=_hex_key(value) or "")
                device.peers.append(peer)
            elif peer is None:
                _uapi_device(device, key, value)
            else:
                _uapi_peer(peer, key, value)
        except ValueError as error:
            raise Malformed(f"the value of {key} is not what the protocol says") from error
    if not ended:
        raise Malformed("the answer ends before its errno")
    return device


def _uapi_device(device: Device, key: str, value: str) -> None:
    if key == "private_key":
        secret = binascii.unhexlify(value)
        device.public_key = base64.b64encode(curve25519.public_key(secret)).decode() if any(secret) else None
    elif key == "listen_port":
        device.listen_port = int(value)
    elif key == "fwmark":
        device.fwmark = int(value, 0)


def _uapi_peer(peer: Peer, key: str, value: str) -> None:
    if key == "endpoint":
        peer.endpoint = value
    elif key == "allowed_ip":
        peer.allowed_ips.append(str(ipaddress.ip_network(value, strict=False)))
    elif key == "last_handshake_time_sec":
        peer.last_handshake_epoch += int(value)
    elif key == "last_handshake_time_nsec":
        peer.last_handshake_epoch += int(value) / 1e9
    elif key == "rx_bytes":
        peer.rx_bytes = int(value)
    elif key == "tx_bytes":
        peer.tx_bytes = int(value)
    elif key == "persistent_keepalive_interval":
        peer.keepalive = int(value)


def _hex_key(value: str) -> str | None:
    return _key(binascii.unhexlify(value))
