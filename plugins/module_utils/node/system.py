# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on the kernel: distribution, identity, cgroups, clock, systemd, virtualisation.

Sources: os-release(5), machine-id(5), cgroups(7), adjtimex(2), proc(5); systemd's ntp_synced() for the clock.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.tree import Tree

_MAX_ERROR_US = 16_000_000  # what the kernel lets the error grow to without a time service
_TIMEX_HEAD = struct.Struct("@Illll")  # modes, offset, freq, maxerror, esterror
_TIMEX_SIZE = 512  # larger than struct timex anywhere

_VENDORS = (
    ("VMware", "vmware"),
    ("Microsoft", "microsoft"),
    ("Amazon", "amazon"),
    ("Google", "google"),
    ("innotek", "oracle"),
    ("Xen", "xen"),
    ("Red Hat", "kvm"),
    ("OpenStack", "kvm"),
    ("QEMU", "qemu"),
)


def observe_os(tree: Tree) -> dict[str, t.Any]:
    """{"id", "version_id", "pretty_name", "id_like"} of os-release; None where it does not say."""
    content = tree.text("/etc/os-release")
    if content is None:
        content = tree.text("/usr/lib/os-release")
    if content is None:
        tree.note("distribution", "no os-release")
    values: dict[str, str] = {}
    for line in (content or "").splitlines():
        name, equals, value = line.partition("=")
        if equals:
            values[name.strip()] = value.strip().strip("\"'")
    return {
        "id": values.get("ID"),
        "version_id": values.get("VERSION_ID"),
        "pretty_name": values.get("PRETTY_NAME"),
        "id_like": values.get("ID_LIKE", "").split(),
    }


def observe_cgroup(tree: Tree) -> str:
    """v2 where /sys/fs/cgroup is a cgroup2 mount, v1 where controllers are mounted below it, hybrid for both, or none.

    A cgroup2 mounted elsewhere (Cilium does so on v1 hosts) does not count.
    """
    seen: set[str] = set()
    for line in (tree.text("/proc/self/mountinfo") or "").splitlines():
        before, separator, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")[0]
        if not separator or len(fields) < 5 or kind not in ("cgroup", "cgroup2"):
            continue
        if fields[4] == "/sys/fs/cgroup" and kind == "cgroup2":
            return "v2"
        if fields[4].startswith("/sys/fs/cgroup/"):
            seen.add(kind)
    if seen == {"cgroup", "cgroup2"}:
        return "hybrid"
    return "v1" if "cgroup" in seen else "v2" if seen else "none"


def clock_synchronised() -> bool | None:
    """Whether something keeps the clock right, by the kernel's error estimate; None where it cannot be asked.

    As systemd does it: an estimate below 16 s, and not STA_UNSYNC, which chrony sets where it shall not write the RTC.
    """
    buffer = ctypes.create_string_buffer(_TIMEX_SIZE)  # modes 0: only read
    if ctypes.CDLL(None, use_errno=True).adjtimex(buffer) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return bool(_TIMEX_HEAD.unpack_from(buffer)[3] < _MAX_ERROR_US)


def observe_systemd(tree: Tree) -> str | None:
    """Version of the running systemd, None where another init runs.

    Read from the name of its shared library, which costs no process and has been versioned since systemd 231.
    """
    if not tree.exists("/run/systemd/system"):
        return None
    machines = [f"/usr/lib/{name}/systemd" for name in tree.names("/usr/lib") if name.endswith("-linux-gnu")]
    for directory in ["/usr/lib/systemd", "/lib/systemd", *machines]:
        for name in tree.names(directory):
            found = re.match(r"libsystemd-shared-(\d+)", name)
            if found:
                return found.group(1)
    tree.note("systemd version", "its shared library was not found")
    return None


def observe_virtualization(tree: Tree) -> str | None:
    """Name of the container manager or hypervisor, "none" on bare metal, None where it cannot be told."""
    for path in ("/run/systemd/container", "/run/host/container-manager"):
        container = tree.text(path)
        if container:
            return container
    processor = tree.text("/proc/cpuinfo", limit=8192) or ""
    flags = re.search(r"^flags\s*:(.*)$", processor, re.MULTILINE)
    if flags and " hypervisor" not in flags.group(1):
        return "none"
    for name in ("sys_vendor", "product_name"):
        value = tree.text(f"/sys/class/dmi/id/{name}") or ""
        for vendor, known in _VENDORS:
            if vendor in value:
                return known
    return "vm-other" if flags else None
