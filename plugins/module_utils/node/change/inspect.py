# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an interface is before its MTU may be changed: read from the kernel at the last moment, and judged.

judge() is pure. Whatever could not be read refuses the change: unknown is never a pass.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import os
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.netlink.route import Link, links

# Below this the kernel takes the interface's IPv6 addresses away, which no rollback could put back.
MTU_FLOOR = 1280
MTU_CEILING = 65535
UNTESTED_DRIVERS = ("mlx5_core",)


@dataclasses.dataclass(frozen=True)
class Change:
    """One wanted change: interface, the MTU that the plan saw, the MTU that it wants (bytes)."""

    interface: str
    mtu_from: int
    mtu_to: int


@dataclasses.dataclass(frozen=True)
class Interface:
    """An interface as it is now. rdma holds device names of it and of what lies below it (bond ports, VLAN parent)."""

    name: str
    index: int
    mtu: int
    min_mtu: int | None
    max_mtu: int | None
    drivers: tuple[str, ...]
    rdma: tuple[str, ...]
    is_vf: bool


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why a change must not begin: a code of the registry and one sentence."""

    code: str
    message: str


def rdma_devices(name: str, sys_root: str = "/sys") -> list[str]:
    """Names of the RDMA devices on a netdev: by its PCI device, by the GID table, by a soft device's parent."""
    found = {os.path.basename(p) for p in glob.glob(os.path.join(sys_root, "class/net", name, "device/infiniband/*"))}
    for device in glob.glob(os.path.join(sys_root, "class/infiniband/*")):
        if os.path.exists(os.path.join(device, "device/net", name)):
            found.add(os.path.basename(device))
        for path in [*glob.glob(os.path.join(device, "ports/*/gid_attrs/ndevs/*")), os.path.join(device, "parent")]:
            # An empty slot of the GID table answers EINVAL.
            with contextlib.suppress(OSError), open(path, encoding="utf-8") as handle:
                if handle.read().strip() == name:
                    found.add(os.path.basename(device))
    return sorted(found)


def below(name: str, sys_root: str = "/sys") -> list[str]:
    """The interface and everything below it: ports of a bond or bridge, the parent of a VLAN. Deepest last."""
    result = [name]
    for current in result:
        for path in sorted(glob.glob(os.path.join(sys_root, "class/net", current, "lower_*"))):
            lower = os.path.basename(path)[len("lower_") :]
            if lower not in result:
                result.append(lower)
    return result


def read(name: str, kernel_links: t.Iterable[Link], sys_root: str = "/sys") -> Interface | None:
    """The interface from the kernel's links and sysfs, or None where there is none."""
    found = [link for link in kernel_links if link.name == name]
    if not found:
        return None
    drivers, rdma, is_vf = set(), set(), False
    for part in below(name, sys_root):
        device = os.path.join(sys_root, "class/net", part, "device")
        driver = os.path.join(device, "driver")
        if os.path.exists(driver):
            drivers.add(os.path.basename(os.path.realpath(driver)))
        rdma.update(rdma_devices(part, sys_root))
        is_vf = is_vf or os.path.exists(os.path.join(device, "physfn"))
    link = found[0]
    return Interface(
        name, link.index, link.mtu, link.min_mtu, link.max_mtu, tuple(sorted(drivers)), tuple(sorted(rdma)), is_vf
    )


def observe(changes: t.Iterable[Change], sys_root: str = "/sys") -> dict[str, Interface | None]:
    """{interface: what it is now or None} for every change; raises OSError where the kernel does not answer."""
    kernel_links = links()
    return {change.interface: read(change.interface, kernel_links, sys_root) for change in changes}


def judge(change: Change, found: Interface | None, accept_untested: bool) -> Refusal | None:
    """The first reason against the change, or None. An interface that has its wanted MTU already is never refused."""
    name = change.interface
    if found is None:
        return Refusal("ZT201", f"There is no interface {name} on this host.")
    if found.mtu == change.mtu_to:
        return None
    if found.rdma or found.is_vf:
        what = f"carries RDMA ({', '.join(found.rdma)})" if found.rdma else "is a virtual function"
        return Refusal("ZT202", f"{name} {what}; its MTU stays {found.mtu}.")
    untested = sorted(set(found.drivers) & set(UNTESTED_DRIVERS))
    if untested and not accept_untested:
        return Refusal(
            "ZT203",
            f"{name} has driver {untested[0]}, on which this code has not run: MTU {change.mtu_from} -> "
            f"{change.mtu_to} was not set. Set nic_tuning_accept_untested_hardware to true to change it.",
        )
    low = max(MTU_FLOOR, found.min_mtu or 0)
    high = min(MTU_CEILING, found.max_mtu or MTU_CEILING)
    if not low <= change.mtu_to <= high:
        return Refusal("ZT204", f"{name} takes an MTU of {low} to {high}, not {change.mtu_to}.")
    if found.mtu != change.mtu_from:
        return Refusal(
            "ZT304",
            f"{name} has MTU {found.mtu}, the plan saw {change.mtu_from}: another hand changed it since. "
            "Run again, so that the plan sees what is there now.",
        )
    return None
