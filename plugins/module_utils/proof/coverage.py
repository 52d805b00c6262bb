# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which classes of traffic are encrypted, by what, and which are not: the table that keeps a pass honest."""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.model import Data, config_flag
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.wireguard import intended

Row = dict[str, str]
BETWEEN_NODES = "Pod to pod across nodes"
MESH = "TCP between pods of the mesh"
ZTUNNEL = "ztunnel mTLS"


def coverage(
    intent: Data,
    cluster: Data,
    hosts: Data,
    matching: Data,
    pairs: t.Sequence[Data],
    engine: Data | None = None,
) -> tuple[list[Finding], list[Row]]:
    """Findings ZT801 to ZT803 and one row {"class", "encrypted_by", "state", "why"} per class of traffic.

    state is proved, unknown, clear, or absent where such traffic cannot exist. Arguments as of prove(); pairs is its
    result. engine: the section of engine.prove().
    """
    name = str(intent.get("cluster_name") or "")
    config = (cluster.get("cilium") or {}).get("config") or {}
    subject = Subject("cluster", name or "cluster")
    findings, rdma = _rdma(name, hosts, matching)
    findings.append(
        Finding(
            "ZT802",
            subject,
            "Traffic of the nodes themselves and of pods with hostNetwork is not covered by the proof",
            cluster=name,
        )
    )
    findings.append(
        Finding("ZT803", subject, "Traffic between pods of one node is not encrypted; it stays there", cluster=name)
    )
    node = {
        "class": "Nodes themselves and pods with hostNetwork",
        "encrypted_by": "nothing",
        "state": "clear",
        "why": "Cilium's WireGuard takes pod traffic only (kubelet and API use TLS of their own).",
    }
    if config_flag(config, "encrypt-node"):
        node.update(encrypted_by="unknown", state="unknown", why="encrypt-node is on; this version does not prove it.")
    meshed = intent.get("workload_encryption") == "istio_ambient"
    rows = [
        _between_nodes(intended(intent, cluster), pairs),
        *([_mesh(engine or {})] if meshed else []),
        {
            "class": "Pod to pod on the same node" + (", outside of the mesh" if meshed else ""),
            "encrypted_by": "nothing",
            "state": "clear",
            "why": "It never leaves the node.",
        },
        node,
        {
            "class": "Pods to and from outside of the cluster",
            "encrypted_by": "nothing",
            "state": "clear",
            "why": "The tunnel ends at the cluster's nodes; beyond them only the application's own TLS protects.",
        },
        rdma,
    ]
    return findings, rows


def _between_nodes(wanted: str, pairs: t.Sequence[Data]) -> Row:
    row = {"class": BETWEEN_NODES}
    judged = [pair for pair in pairs if pair["verdict"] != "excluded"]
    count = {verdict: sum(pair["verdict"] == verdict for pair in judged) for verdict in ("proved", "failed", "unknown")}
    if wanted == "none":
        return {**row, "encrypted_by": "nothing", "state": "clear", "why": "No encryption is intended."}
    if not judged:
        return {**row, "encrypted_by": "unknown", "state": "unknown", "why": "No pair of nodes was judged."}
    if count["failed"]:
        why = f"{count['failed']} of {len(judged)} ordered pairs of nodes failed: no claim is made for the class."
        return {**row, "encrypted_by": "WireGuard" if count["proved"] else "nothing", "state": "unknown", "why": why}
    if count["unknown"]:
        why = f"{count['unknown']} of {len(judged)} ordered pairs of nodes could not be judged."
        return {**row, "encrypted_by": "unknown", "state": "unknown", "why": why}
    why = f"All {len(judged)} ordered pairs have the right key, endpoint and allowed IPs, and a session."
    return {**row, "encrypted_by": "WireGuard", "state": "proved", "why": why}


def _mesh(engine: Data) -> Row:
    """TCP of the mesh. Its state is told by the mesh alone, so the best that can be said is what it claims."""
    row = {"class": MESH, "encrypted_by": "unknown", "state": "unknown"}
    enrolled = [space for space in engine.get("namespaces") or [] if space["enrolled"]]
    if engine.get("state") in (None, "unknown") and not enrolled:
        return {**row, "why": "The mesh was not observed."}
    if not enrolled:
        return {**row, "encrypted_by": "nothing", "state": "clear", "why": "No namespace is enrolled."}
    pods = sum(space["pods"] or 0 for space in enrolled)
    redirected = sum(space["redirected"] or 0 for space in enrolled)
    spaces = "1 namespace" if len(enrolled) == 1 else f"{len(enrolled)} namespaces"
    if not pods:
        return {**row, "why": f"No pod was seen in the mesh ({spaces} enrolled)."}
    why = (
        f"The mesh says that {redirected} of {pods} pods of {spaces} pass ztunnel with mTLS. "
        "The wire was not looked at; UDP and other protocols never pass it."
    )
    return {**row, "encrypted_by": ZTUNNEL if redirected else "unknown", "why": why}


def _rdma(cluster: str, hosts: Data, matching: Data) -> tuple[list[Finding], Row]:
    findings: list[Finding] = []
    dark = 0
    observed = 0
    for host in sorted(matching):
        evidence: Data = hosts.get(host) or {}
        if evidence.get("excluded"):
            continue
        if evidence.get("node") is None:
            dark += 1
            continue
        observed += 1
        active = [
            f"{device['name']}/{port.get('port', 1)} ({port.get('link_layer') or 'unknown link layer'})"
            for device in evidence["node"].get("rdma") or []
            for port in device.get("ports") or []
            if str(port.get("state", "")).upper().endswith("ACTIVE")
        ]
        if active:
            ports = f"{len(active)} active RDMA port{'s' if len(active) > 1 else ''}"
            text = f"{host} has {ports}: no layer encrypts that traffic"
            findings.append(
                Finding("ZT801", Subject("host", host), text, observed=active, cluster=cluster, source="node_info")
            )
    row = {"class": "RDMA (RoCE, InfiniBand verbs)"}
    if findings:
        why = f"Active ports on {len(findings)} of {observed} observed hosts; verbs bypass the kernel's IP stack."
        return findings, {**row, "encrypted_by": "nothing", "state": "clear", "why": why}
    if dark or not observed:
        why = "1 host was not observed." if dark == 1 else f"{dark or 'All'} hosts were not observed."
        return findings, {**row, "encrypted_by": "unknown", "state": "unknown", "why": why}
    why = f"None of the {observed} observed hosts has an active RDMA port."
    return findings, {**row, "encrypted_by": "nothing", "state": "absent", "why": why}
