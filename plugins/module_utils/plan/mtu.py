# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The MTU budget: what is left for pods once tunnel and encryption took their share."""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan.versions import parse_version

# pkg/mtu/mtu.go of Cilium: WireguardOverhead is 95 since 1.19.5 (padding counted, pull request 45940), 80 before;
# it always counts an IPv6 outer header.
WIREGUARD_OVERHEAD, WIREGUARD_OVERHEAD_BEFORE = 95, 80
TUNNEL_OVERHEAD_IPV4, TUNNEL_OVERHEAD_IPV6 = 50, 70
MINIMUM = 1280


def wireguard_overhead(version: str) -> int:
    """Bytes that this version of Cilium subtracts for WireGuard."""
    return WIREGUARD_OVERHEAD if parse_version(version) >= (1, 19, 5) else WIREGUARD_OVERHEAD_BEFORE


def budget(
    link: int | None, *, version: str, encryption: str | None, routing: str | None, ipv6_underlay: bool
) -> tuple[dict[str, t.Any], list[Finding]]:
    """The budget for a link MTU in bytes, with its explanation line by line; ZT301 where pods get less than 1280.

    link None means that it is not known: then overheads are given, and pod is None.
    """
    encrypted = wireguard_overhead(version) if encryption == "wireguard" else 0
    per_tunnel = TUNNEL_OVERHEAD_IPV6 if ipv6_underlay else TUNNEL_OVERHEAD_IPV4
    tunnel = per_tunnel if routing == "vxlan" else 0
    pod = None if link is None else link - encrypted - tunnel
    family = "IPv6" if ipv6_underlay else "IPv4"
    lines = [f"link: {link if link is not None else 'unknown'} bytes, the smallest of the node network"]
    if encrypted:
        lines.append(f"WireGuard: -{encrypted} bytes (Cilium {version})")
    if tunnel:
        lines.append(f"VXLAN over {family}: -{tunnel} bytes")
    lines.append(
        f"pod to pod across nodes: {pod if pod is not None else 'unknown'} bytes (a route's MTU inside the pod)"
    )
    lines.append("Cilium finds the link's MTU itself: the chart value MTU stays unset")
    result = {
        "link": link,
        "encryption_overhead": encrypted,
        "tunnel_overhead": tunnel,
        "pod": pod,
        # cilium_wg0 takes its MTU from the link minus the encryption's share alone.
        "device": None if link is None or not encrypted else link - encrypted,
        "explanation": lines,
    }
    if pod is None or pod >= MINIMUM:
        return result, []
    return result, [
        Finding(
            "ZT301",
            Subject("cluster", "pod MTU"),
            f"pods would get {pod} bytes: {link} - {encrypted} (encryption) - {tunnel} (tunnel)",
            observed=pod,
            expected=MINIMUM,
            remedy=f"Set zerotrust_node_network_mtu to at least {MINIMUM + encrypted + tunnel}.",
            source="plan",
        )
    ]
