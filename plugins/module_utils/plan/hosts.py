# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan knows of a host: its intent, its facts, and why there are none."""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.model import HostIntent

Facts = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class HostState:
    """A host of the inventory. node holds node_info's result, or None with the reason in error.

    in_run is False for hosts that --limit left out; address is the connection address where it is an IP.
    """

    name: str
    intent: HostIntent
    node: Facts | None = None
    error: str | None = None
    unreachable: bool = False
    excluded: str | None = None
    in_run: bool = True
    address: str | None = None


def addresses(node: Facts) -> dict[str, str]:
    """IP addresses that a host owns, as text without prefix, to the interface that holds each; loopback is left out."""
    found: dict[str, str] = {}
    for interface in node.get("interfaces") or []:
        for text in interface.get("addresses") or []:
            address = ipaddress.ip_interface(text).ip
            if not address.is_loopback and not address.is_link_local:
                found[str(address)] = interface["name"]
    return found


def interface(node: Facts, name: str) -> dict[str, t.Any] | None:
    """An interface of a host by name."""
    return next((found for found in node.get("interfaces") or [] if found["name"] == name), None)


def carries_rdma(found: t.Mapping[str, t.Any]) -> bool:
    """Whether an interface belongs to an RDMA device or is a virtual function: both are read-only to us."""
    return bool(found.get("rdma") or found.get("is_vf"))


def node_interfaces(host: HostState, cluster_node: t.Mapping[str, t.Any] | None) -> list[str]:
    """The node network's interfaces of a host: from the intent, else those that hold the Node's InternalIPs."""
    if host.intent.interfaces:
        return list(host.intent.interfaces)
    if host.node is None or cluster_node is None:
        return []
    owned = addresses(host.node)
    return sorted({owned[ip] for ip in map(normal, cluster_node.get("internal_ips") or []) if ip in owned})


def normal(text: str) -> str:
    """An address in the form in which we compare it; other text is returned as it is."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text
