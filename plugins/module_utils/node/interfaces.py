# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network interfaces: what the kernel says over netlink joined with what sysfs says of the device below.

Sources: Documentation/ABI/testing/sysfs-class-net of Linux; rtnetlink(7).
"""

from __future__ import annotations

import os
import re
import socket
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.netlink.route import Address, Link, Route
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.tree import Tree

MAX_OF_A_KIND = 32
MAX_ADDRESSES = 32
MAX_ROUTES = 64

_ARPHRD_LOOPBACK = 772
_SCOPE_LINK, _SCOPE_HOST = 253, 254
_PCI = re.compile(r"^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$")
_PAIRS = frozenset(("veth", "netkit", "vxcan"))  # their "link" is the other end, not a parent


def observe_interfaces(
    tree: Tree,
    links: t.Sequence[Link],
    addresses: t.Sequence[Address],
    routes: t.Sequence[Route],
    rdma: t.Sequence[t.Mapping[str, t.Any]],
) -> tuple[list[dict[str, t.Any]], dict[str, int]]:
    """(interfaces, number of those left out by kind); see node_info for the shape.

    Of a virtual kind, and of VFs, that has more than 32 members only those with an address or a default route are
    described: a node has an interface for each of its pods.
    """
    names = {link.index: link.name for link in links}
    wanted = {a.index for a in addresses if _is_shown(a)} | {r.interface for r in routes if r.dst == "default"}
    described = [(link, _device(tree, link)) for link in links]
    groups: dict[str, int] = {}
    for _link, device in described:
        groups[device["group"]] = groups.get(device["group"], 0) + 1
    shown: list[dict[str, t.Any]] = []
    skipped: dict[str, int] = {}
    for link, device in described:
        group = device.pop("group")
        if group != "physical" and groups[group] > MAX_OF_A_KIND and link.index not in wanted:
            skipped[group] = skipped.get(group, 0) + 1
            continue
        shown.append(_interface(tree, link, device, names, addresses, rdma))
    return shown, skipped


def observe_routes(routes: t.Sequence[Route], names: t.Mapping[int, str]) -> tuple[list[dict[str, t.Any]], int]:
    """(at most 64 routes as node_info gives them, default routes first; number of those left out).

    Routes that every IPv6 host has for itself and its links (::1, fe80::/64) are not counted.
    """
    told = [route for route in routes if route.dst not in ("::1/128", "fe80::/64")]
    ordered = sorted(told, key=lambda route: route.dst != "default")
    shown = [
        {
            "dst": route.dst,
            "family": "ipv4" if route.family == socket.AF_INET else "ipv6",
            "gateway": route.gateway,
            "interface": names.get(route.interface or 0),
            "mtu": route.mtu,
            "metric": route.metric,
        }
        for route in ordered[:MAX_ROUTES]
    ]
    return shown, max(0, len(ordered) - MAX_ROUTES)


def _interface(
    tree: Tree,
    link: Link,
    device: dict[str, t.Any],
    names: t.Mapping[int, str],
    addresses: t.Sequence[Address],
    rdma: t.Sequence[t.Mapping[str, t.Any]],
) -> dict[str, t.Any]:
    own = [f"{a.address}/{a.prefix}" for a in addresses if a.index == link.index and _is_shown(a)]
    parent = None if link.link is None or link.kind in _PAIRS else names.get(link.link)
    shape = {
        "name": link.name,
        "index": link.index,
        "mac": link.mac,
        "mtu": link.mtu,
        "min_mtu": link.min_mtu,
        "max_mtu": link.max_mtu,
        "operstate": link.operstate,
        **device,
        "rdma": _rdma(tree, link.name, rdma),
        "master": names.get(link.master or 0),
        "parent": None if parent == link.name else parent,
        "addresses": own[:MAX_ADDRESSES],
        "speed_mbit": _speed(tree, link) if device["kind"] in ("physical", "bond") else None,
    }
    if len(own) > MAX_ADDRESSES:
        shape["addresses_skipped"] = len(own) - MAX_ADDRESSES
    return shape


def _device(tree: Tree, link: Link) -> dict[str, t.Any]:
    """What the device below is; "group" is the class that interfaces are counted in."""
    base = f"/sys/class/net/{link.name}/device"
    there = tree.exists(base)
    if link.kind is not None:
        kind = link.kind
    elif link.type == _ARPHRD_LOOPBACK:
        kind = "loopback"
    else:
        kind = "physical" if there else "virtual"
    is_vf = there and tree.exists(f"{base}/physfn")
    driver = tree.target(f"{base}/driver") if there else None
    parts = tree.real(base).split("/") if there else []
    return {
        "kind": kind,
        "driver": os.path.basename(driver) if driver else None,
        "pci": next((part for part in reversed(parts) if _PCI.match(part)), None),
        "is_vf": is_vf,
        "group": "vf" if is_vf else kind,
    }


def _rdma(tree: Tree, name: str, rdma: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """RDMA devices of the same function, and those whose port says that this is its network device."""
    found = set(tree.names(f"/sys/class/net/{name}/device/infiniband"))
    found.update(device["name"] for device in rdma if any(port["netdev"] == name for port in device["ports"]))
    return sorted(found)


def _speed(tree: Tree, link: Link) -> int | None:
    value = tree.text(f"/sys/class/net/{link.name}/speed", quiet=True)  # EINVAL while the link is down
    try:
        return int(value) if value and int(value) > 0 else None
    except ValueError:
        return None


def _is_shown(address: Address) -> bool:
    """Addresses by which others can know the host: not those of the host's inside, nor of IPv6 on one link."""
    if address.scope == _SCOPE_HOST:
        return False
    return not (address.family == socket.AF_INET6 and address.scope == _SCOPE_LINK)
