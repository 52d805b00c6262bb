# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Per-host targets of the node network's NICs: what would change, what may, and what is refused.

RDMA netdevs and virtual functions are read-only whatever is asked; untested hardware is check-only.
"""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.model import Intent
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan.hosts import (
    HostState,
    addresses,
    carries_rdma,
    interface,
    node_interfaces,
    normal,
)

ClusterNode = t.Mapping[str, t.Any]
Change = dict[str, t.Any]

# This collection's NIC code never ran on these drivers.
_UNTESTED_DRIVERS = ("mlx5",)


def check_interfaces(host: HostState, cluster_node: ClusterNode | None, devices: t.Sequence[str]) -> list[Finding]:
    """Whether the named interfaces exist, carry the InternalIP and no RDMA; devices is the cluster's whole list.

    A name that is the node network on one host and an RDMA rail on another is refused, since agents get one list.
    """
    facts = host.node or {}
    findings: list[Finding] = []
    named = list(host.intent.interfaces)
    missing = [name for name in named if interface(facts, name) is None]
    if missing:
        known = sorted(found["name"] for found in facts.get("interfaces") or [] if found.get("kind") != "veth")
        message = f"{host.name} has no interface {', '.join(missing)}; it has {', '.join(known) or 'none'}"
        findings.append(_finding("ZT201", host, message, missing, known))
    rails = [name for name in dict.fromkeys([*named, *devices]) if carries_rdma(interface(facts, name) or {})]
    if rails:
        message = f"{', '.join(rails)} of {host.name} carries RDMA or is a virtual function"
        findings.append(_finding("ZT202", host, message, rails, None))
    internal = [normal(ip) for ip in (cluster_node or {}).get("internal_ips") or []]
    owned = addresses(facts)
    holders = sorted({owned[ip] for ip in internal if ip in owned})
    if named and not missing and holders and not set(holders) & set(named):
        message = (
            f"the InternalIP {', '.join(internal)} of {host.name} is on {', '.join(holders)}, not {', '.join(named)}"
        )
        findings.append(_finding("ZT205", host, message, named, holders))
    return findings


def plan_host(host: HostState, intent: Intent, cluster_node: ClusterNode | None) -> tuple[list[Change], list[Finding]]:
    """Changes that this run makes on a host ([{"interface", "mtu_from", "mtu_to"}]) and what is said about the rest."""
    facts = host.node or {}
    target = host.intent.mtu or intent.node_network_mtu
    if target is None:
        return [], []
    found = [interface(facts, name) for name in node_interfaces(host, cluster_node)]
    interfaces = [entry for entry in found if entry is not None and not carries_rdma(entry)]
    wanted = [entry for entry in interfaces if entry["mtu"] != target]
    findings = [problem for entry in wanted for problem in _range(host, entry, target)]
    if not wanted or findings:
        return [], findings
    if not facts.get("systemd"):
        message = f"{host.name} has no systemd, so no rollback can be armed there"
        return [], [_finding("ZT206", host, message, facts.get("systemd"), "systemd")]
    text = ", ".join(f"{entry['name']} {entry['mtu']} -> {target}" for entry in wanted)
    untested = [entry for entry in wanted if str(entry.get("driver") or "").startswith(_UNTESTED_DRIVERS)]
    if untested and not host.intent.accept_untested_hardware:
        drivers = sorted({str(entry["driver"]) for entry in untested})
        message = f"{host.name}: {text} is not written, driver {', '.join(drivers)} is check-only"
        return [], [_finding("ZT203", host, message, drivers, None)]
    if not intent.allows("link_reset"):
        return [], [_finding("ZT207", host, f"{host.name}: {text} was left undone", text, None)]
    why = busy(facts, cluster_node)
    if why and not intent.allows("busy_hosts"):
        message = f"{host.name}: {text} was left undone, {'; '.join(why)}"
        return [], [_finding("ZT209", host, message, why, None)]
    return [{"interface": entry["name"], "mtu_from": entry["mtu"], "mtu_to": target} for entry in wanted], []


def busy(facts: t.Mapping[str, t.Any], cluster_node: ClusterNode | None) -> list[str]:
    """Why a host counts as busy, in words; what could not be determined counts, too."""
    reasons = []
    counts = facts.get("busy") or {}
    labels = {"gpu_processes": "GPU processes", "verbs_users": "verbs users", "slurm_steps": "Slurm steps"}
    for key, label in labels.items():
        count = counts.get(key)
        if count is None:
            reasons.append(f"{label} could not be counted")
        elif count:
            reasons.append(f"{count} {label}")
    node = cluster_node or {}
    pods = node.get("gpu_pods", 0)
    if pods is None:
        reasons.append("GPU pods of the Node could not be counted")
    elif pods and not node.get("unschedulable"):
        reasons.append(f"{pods} GPU pods on a schedulable Node")
    return reasons


def differing(hosts: t.Sequence[HostState], intent: Intent, nodes: t.Mapping[str, ClusterNode | None]) -> list[Finding]:
    """ZT302 where the hosts' node networks differ in MTU: as it will be, target where there is one, else observed."""
    sizes: dict[int, list[str]] = {}
    for host in hosts:
        for size in sorted(set(mtus(host, intent, nodes.get(host.name)))):
            sizes.setdefault(size, []).append(host.name)
    if len(sizes) < 2:
        return []
    text = "; ".join(
        f"{size}: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}" for size, names in sorted(sizes.items())
    )
    subject = Subject("cluster", "node network MTU")
    observed = {str(size): names for size, names in sizes.items()}
    return [Finding("ZT302", subject, f"hosts differ in MTU: {text}", observed=observed, source="node_info")]


def mtus(host: HostState, intent: Intent, cluster_node: ClusterNode | None) -> list[int]:
    """MTUs of a host's node network: the target where the intent has one, else what was observed."""
    target = host.intent.mtu or intent.node_network_mtu
    if target is not None:
        return [target]
    found = [interface(host.node or {}, name) for name in node_interfaces(host, cluster_node)]
    return [int(entry["mtu"]) for entry in found if entry is not None]


def _range(host: HostState, entry: t.Mapping[str, t.Any], target: int) -> list[Finding]:
    # The kernel reports 0 where a driver sets no limit.
    low, high = entry.get("min_mtu") or 0, entry.get("max_mtu") or 0
    if target >= low and (not high or target <= high):
        return []
    message = f"{entry['name']} of {host.name} takes MTU {low} to {high or 'unlimited'}, {target} is asked for"
    return [_finding("ZT204", host, message, target, [low, high])]


def _finding(code: str, host: HostState, message: str, observed: t.Any, expected: t.Any) -> Finding:
    subject = Subject("host", host.name)
    return Finding(code, subject, message, observed=observed, expected=expected, source="node_info")
