# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MTU of the node network: what hosts have against what the plan wants (ZT302, ZT304)."""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.model import Data


def node_network_mtu(node_info: Data, internal_ips: t.Sequence[str]) -> tuple[str, int] | None:
    """(interface, MTU in bytes) of the interface that carries an InternalIP; None where none does."""
    for interface in node_info.get("interfaces") or []:
        held = {address.split("/")[0] for address in interface.get("addresses") or []}
        if held.intersection(internal_ips) and interface.get("mtu"):
            return str(interface["name"]), int(interface["mtu"])
    return None


def check(intent: Data, cluster: Data, hosts: Data, matching: Data, nic_plan: Data) -> list[Finding]:
    """Findings ZT302 and ZT304. nic_plan: plan.json's "nic", {inventory name: [{"interface", "mtu_from", "mtu_to"}]}.

    Unobserved hosts say nothing here; that they are unknown is ZT412.
    """
    name = str(intent.get("cluster_name") or "")
    ips = {node["name"]: node.get("internal_ips") or [] for node in cluster.get("nodes") or []}
    wanted_by_all = intent.get("node_network_mtu")
    found: dict[str, int] = {}
    late: dict[str, Finding] = {}
    for host, node in sorted(matching.items()):
        evidence: Data = hosts.get(host) or {}
        if not node or evidence.get("excluded") or not evidence.get("node"):
            continue
        seen = node_network_mtu(evidence["node"], ips.get(node, []))
        if seen is None:
            continue
        interface, mtu = seen
        found[host] = mtu
        targets = [entry["mtu_to"] for entry in nic_plan.get(host) or [] if entry.get("interface") == interface]
        target = targets[0] if targets else wanted_by_all
        if target and int(target) != mtu:
            late[host] = Finding(
                "ZT304",
                Subject("host", host),
                f"{interface} on {host} has MTU {mtu}, the intent says {target}",
                observed=mtu,
                expected=int(target),
                cluster=name,
                source="node_info",
            )
    findings = list(late.values())
    if len(set(found.values())) > 1:
        groups: dict[int, list[str]] = {}
        for host, mtu in found.items():
            groups.setdefault(mtu, []).append(host)
        # Hosts that are not at their target explain the difference where the rest agree.
        others = {mtu for host, mtu in found.items() if host not in late}
        cause = next(iter(late.values())).id if late and len(others) < 2 else None
        said = "; ".join(
            f"{mtu}: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}" for mtu, names in sorted(groups.items())
        )
        findings.append(
            Finding(
                "ZT302",
                Subject("cluster", name or "cluster"),
                f"The node network has {len(groups)} different MTUs ({said})",
                observed={str(mtu): len(names) for mtu, names in groups.items()},
                expected="one MTU",
                caused_by=cause,
                cluster=name,
                source="node_info",
            )
        )
    return findings
