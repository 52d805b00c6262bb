# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host is which Node: by zerotrust_node_name, else by the InternalIP that the host owns.

Addresses alone can mislead (two clusters may use the same private range), so machine-id or hostname must agree.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan.hosts import HostState, addresses, normal

Node = t.Mapping[str, t.Any]


@dataclasses.dataclass
class Matching:
    """hosts: inventory name -> {"node": Node name or None, "excluded": reason or None}; unmatched: other Nodes."""

    hosts: dict[str, dict[str, str | None]]
    unmatched: list[str]

    def node_of(self, host: str) -> str | None:
        return self.hosts[host]["node"]


def match(hosts: t.Sequence[HostState], nodes: t.Sequence[Node], cluster: str) -> tuple[Matching, list[Finding]]:
    """Joins hosts and Nodes. cluster describes the API in words (server and UID) for messages.

    Where no observed host is a Node there is one finding for the whole cluster, not one a host: the kubeconfig or the
    inventory is of another cluster. Hosts in maintenance are matched by name or address only, and are no finding.
    """
    findings: list[Finding] = []
    matched: dict[str, str | None] = {}
    for host in hosts:
        if host.node is None or host.excluded:
            matched[host.name] = _unobserved(host, nodes)
            continue
        name, problem = _observed(host, host.node, nodes)
        matched[host.name] = name
        if problem:
            findings.append(problem)
    observed = [host for host in hosts if host.node is not None and not host.excluded]
    strangers = [host for host in observed if matched[host.name] is None]
    if observed and len(strangers) == len(observed) and all(found.code == "ZT908" for found in findings):
        findings = [_other_cluster(observed, nodes, cluster)]
    findings += _twice(hosts, matched) + _same_machine(observed)
    unmatched = sorted({node["name"] for node in nodes} - {name for name in matched.values() if name})
    root = next((found.id for found in findings if found.subject.kind == "cluster"), None)
    for name in unmatched:
        findings.append(
            Finding(
                "ZT909",
                Subject("node", name),
                f"Node {name} has no host in the inventory",
                source="cluster_info",
                caused_by=root,
            )
        )
    result = {host.name: {"node": matched[host.name], "excluded": host.excluded} for host in hosts}
    return Matching(result, unmatched), findings


def _unobserved(host: HostState, nodes: t.Sequence[Node]) -> str | None:
    """The Node that a host without facts stands for: by name or connection address, unconfirmed."""
    wanted = host.intent.node_name or host.name
    for node in nodes:
        if node["name"] == wanted:
            return str(node["name"])
    if host.address and not host.intent.node_name:
        for node in nodes:
            if normal(host.address) in map(normal, node.get("internal_ips") or []):
                return str(node["name"])
    return None


def _observed(
    host: HostState, facts: t.Mapping[str, t.Any], nodes: t.Sequence[Node]
) -> tuple[str | None, Finding | None]:
    owned = addresses(facts)
    if host.intent.node_name:
        named = [node for node in nodes if node["name"] == host.intent.node_name]
        if not named:
            message = f"zerotrust_node_name of {host.name} is {host.intent.node_name!r}; the cluster has no such Node"
            return None, _finding("ZT908", host, message, host.intent.node_name, _names(nodes))
        return _confirm(host, facts, named[0], owned, by_name=True)
    holders = [node for node in nodes if any(normal(ip) in owned for ip in node.get("internal_ips") or [])]
    if not holders:
        message = f"{host.name} owns no InternalIP of any Node (it has {', '.join(sorted(owned)) or 'no address'})"
        return None, _finding("ZT908", host, message, sorted(owned), _names(nodes))
    if len(holders) > 1:
        message = f"{host.name} owns the InternalIPs of {' and '.join(_names(holders))}"
        return None, _finding("ZT910", host, message, _names(holders), None)
    return _confirm(host, facts, holders[0], owned, by_name=False)


def _confirm(
    host: HostState, facts: t.Mapping[str, t.Any], node: Node, owned: t.Mapping[str, str], *, by_name: bool
) -> tuple[str | None, Finding | None]:
    name = str(node["name"])
    internal = [normal(ip) for ip in node.get("internal_ips") or []]
    if by_name and not any(ip in owned for ip in internal):
        message = f"{host.name} is named as Node {name} but owns none of its InternalIPs {', '.join(internal)}"
        return None, _finding("ZT910", host, message, sorted(owned), internal)
    ids = (facts.get("machine_id") or "", node.get("machine_id") or "")
    if all(ids):
        if ids[0] != ids[1]:
            message = f"{host.name} has the address of Node {name} but machine-id {ids[0]}, the Node says {ids[1]}"
            return None, _finding("ZT910", host, message, ids[0], ids[1])
        return name, None
    short = str(facts.get("hostname") or "").split(".")[0].lower()
    known = {str(text).split(".")[0].lower() for text in (node.get("hostname"), name) if text}
    if not by_name and short and short not in known:
        message = f"{host.name} has the address of Node {name} but hostname {short}, and no machine-id confirms it"
        return None, _finding("ZT910", host, message, short, sorted(known))
    return name, None


def _other_cluster(observed: t.Sequence[HostState], nodes: t.Sequence[Node], cluster: str) -> Finding:
    return Finding(
        "ZT908",
        Subject("cluster", cluster),
        f"none of the {len(observed)} observed hosts is one of the {len(nodes)} Nodes of {cluster}",
        observed=sorted(host.name for host in observed),
        expected=_names(nodes),
        remedy="Use the kubeconfig and context of the cluster that this inventory describes.",
        source="cluster_info",
    )


def _twice(hosts: t.Sequence[HostState], matched: t.Mapping[str, str | None]) -> list[Finding]:
    claims: dict[str, list[HostState]] = {}
    for host in hosts:
        name = matched[host.name]
        if name and not host.excluded:
            claims.setdefault(name, []).append(host)
    return [
        _finding(
            "ZT910",
            claimers[-1],
            f"{' and '.join(host.name for host in claimers)} both stand for Node {name}",
            [host.name for host in claimers],
            name,
        )
        for name, claimers in sorted(claims.items())
        if len(claimers) > 1
    ]


def _same_machine(observed: t.Sequence[HostState]) -> list[Finding]:
    owners: dict[str, str] = {}
    findings = []
    for host in observed:
        machine = str((host.node or {}).get("machine_id") or "")
        if not machine:
            continue
        if machine in owners:
            message = f"{host.name} has the machine-id of {owners[machine]} ({machine})"
            remedy = "Give each machine its own: remove /etc/machine-id and run systemd-machine-id-setup."
            findings.append(_finding("ZT910", host, message, machine, None, remedy))
        owners.setdefault(machine, host.name)
    return findings


def _names(nodes: t.Sequence[Node]) -> list[str]:
    return sorted(str(node["name"]) for node in nodes)


def _finding(code: str, host: HostState, message: str, observed: t.Any, expected: t.Any, remedy: str = "") -> Finding:
    subject = Subject("host", host.name)
    return Finding(code, subject, message, observed=observed, expected=expected, remedy=remedy, source="node_info")
