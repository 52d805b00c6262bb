# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom to ask whether the path carries a size, where the user named nobody. Pure."""

from __future__ import annotations

import ipaddress
import typing as t

MOST = 4

Facts = t.Mapping[str, t.Any]


def gateways(interface: str, facts: Facts) -> list[str]:
    """IPv4 gateways of the default routes through that interface, from node_info's facts (path_probe knows IPv4)."""
    found = {
        str(route["gateway"])
        for route in facts.get("routes", ())
        if route["dst"] == "default" and route["interface"] == interface and route["gateway"]
    }
    return sorted(text for text in found if ":" not in text)


def peer_addresses(interface: str, size: int, facts: Facts, peers: t.Iterable[Facts]) -> t.Iterator[str]:
    """Addresses of other hosts in a network of that interface, whose own interface takes packets of that size."""
    networks = [ipaddress.ip_interface(text).network for text in _interface(interface, facts).get("addresses", ())]
    for peer in peers:
        for other in peer.get("interfaces", ()):
            for text in other.get("addresses", ()):
                address = ipaddress.ip_interface(text).ip
                if other["mtu"] >= size and address.version == 4 and any(address in net for net in networks):
                    yield str(address)


def default_targets(interface: str, size: int, facts: Facts, peers: t.Iterable[Facts]) -> list[str]:
    """The gateway on that interface, else at most MOST peers that take the size already; [] where nobody does.

    peers is read only as far as needed: it may be a generator over many hosts.
    """
    found = gateways(interface, facts)
    if not found:
        for address in peer_addresses(interface, size, facts, peers):
            if address not in found:
                found.append(address)
            if len(found) == MOST:
                break
    return found


def _interface(name: str, facts: Facts) -> Facts:
    for found in facts.get("interfaces", ()):
        if found["name"] == name:
            return t.cast(Facts, found)
    return {}
