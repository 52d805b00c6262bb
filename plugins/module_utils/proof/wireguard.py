# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof of WireGuard between all Nodes, from what their kernels and the API say.

Evidence of a Node is judged against what the API and the *other* kernels say about it; an agent's own
word that all is well proves nothing (a captured real fault: status OK while all pod traffic was lost).
"""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.ledger import Ledger
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.model import (
    EXCLUDED,
    NO_DEVICE,
    OBSERVED,
    PORT,
    UNOBSERVED,
    Data,
    NodeView,
    config_flag,
    views,
)
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.peers import KERNEL, Directory, judge
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.sessions import Pair, judge_pairs

EXPLAINED_BY_ROLLOUT = frozenset(("ZT402", "ZT405", "ZT406", "ZT407", "ZT413"))
"""What agents that do not run the new configuration yet are expected to show. Wrong or foreign keys are not."""


def intended(intent: Data, cluster: Data) -> str:
    """wireguard, ipsec, none or unknown: the intent; where it is unset, what the cluster has switched on."""
    wanted = intent.get("transport_encryption")
    if wanted:
        return str(wanted)
    config = (cluster.get("cilium") or {}).get("config")
    if config is None:
        return "unknown" if _unread(cluster, "cilium-config") else "none"
    if config_flag(config, "enable-wireguard"):
        return "wireguard"
    return "ipsec" if config_flag(config, "enable-ipsec") else "none"


def prove(intent: Data, cluster: Data, hosts: Data, matching: Data) -> tuple[list[Finding], list[Pair]]:
    """Judge every ordered pair of Nodes.

    intent: Intent.to_dict(); cluster: result of cluster_info; hosts: {inventory name: {"node", "wireguard", "error",
    "excluded"}}; matching: {inventory name: Node name or None}. Returns findings (one root for each fault, its
    consequences with caused_by) and pairs [{"from", "to", "verdict", "handshake_age_seconds", "why"}]; verdict is
    proved, failed, unknown or excluded. Both are empty where no encryption is intended and none is on.
    """
    name = str(intent.get("cluster_name") or "")
    ledger = Ledger(name)
    subject = name or "cluster"
    cilium = cluster.get("cilium") or {}
    config = cilium.get("config")
    wanted = intended(intent, cluster)
    if wanted == "none":
        if config_flag(config or {}, "enable-wireguard"):
            ledger.add(
                "ZT414",
                "cluster",
                subject,
                "The intent says none and cilium-config has WireGuard on; the pairs were not judged",
                observed="enable-wireguard: true",
                expected="none",
                source="cilium-config",
            )
        return ledger.settle(), []

    nodes = views(intent, cluster, hosts, matching)
    userspace_notes(nodes, ledger)
    if wanted == "ipsec":
        ledger.add(
            "ZT624", "cluster", subject, "IPsec is not proved by this version", observed="ipsec", state="unknown"
        )
        return ledger.settle(), _all_pairs(nodes, "IPsec is not proved by this version", None)
    if not nodes or (config is None and _unread(cluster, "cilium-config")):
        what = "the Nodes" if not nodes else "cilium-config"
        ledger.add(
            "ZT918",
            "cluster",
            subject,
            f"{what} could not be read",
            observed=cluster.get("read_errors"),
            state="unknown",
        )
        return ledger.settle(), _all_pairs(nodes, f"{what} could not be read", None)

    _unobserved(nodes, ledger)
    if not config_flag(config or {}, "enable-wireguard"):
        return _disabled(nodes, config, subject, ledger)
    _node_roots(nodes, cluster, subject, ledger)
    ports = _ports(nodes, ledger)
    directory = Directory(nodes)
    _stale_everywhere(nodes, directory, ledger)
    for node in nodes.values():
        if node.state == OBSERVED:
            judge(node, directory, ledger, ports)
    pairs = judge_pairs(nodes, ledger)
    _rollout(cilium.get("daemonset") or {}, subject, ledger)
    return ledger.settle(), pairs


def _unread(cluster: Data, word: str) -> bool:
    return any(word in str(error.get("what", "")).lower() for error in cluster.get("read_errors") or [])


def _all_pairs(nodes: t.Mapping[str, NodeView], why: str, failed: str | None) -> list[Pair]:
    """Every ordered pair as unknown, or as failed with that reason where both ends were observed."""
    rows = []
    for a in nodes.values():
        for b in nodes.values():
            if a is b:
                continue
            out = next((x for x in (a, b) if x.state == EXCLUDED), None)
            dark = next((x for x in (a, b) if x.state == UNOBSERVED), None)
            if out:
                verdict, text = "excluded", f"{out.name} is out of service: {out.why}"
            elif failed:
                verdict, text = "failed", failed
            elif dark:
                verdict, text = "unknown", f"{dark.name} was not observed: {dark.why}"
            else:
                verdict, text = "unknown", why
            rows.append({"from": a.name, "to": b.name, "verdict": verdict, "handshake_age_seconds": None, "why": text})
    return sorted(rows, key=lambda row: (row["from"], row["to"]))


def userspace_notes(nodes: t.Mapping[str, NodeView], ledger: Ledger) -> None:
    """ZT416 for each host whose device is served by a process."""
    for node in nodes.values():
        if node.host and node.wireguard.get("implementation") == "userspace" and node.state != EXCLUDED:
            ledger.add(
                "ZT416",
                "host",
                node.host,
                f"On {node.host} the device is served by a process, not by the kernel",
                observed="userspace",
                expected="kernel",
                source=KERNEL,
            )


def _unobserved(nodes: t.Mapping[str, NodeView], ledger: Ledger) -> None:
    for node in nodes.values():
        if node.state != UNOBSERVED:
            continue
        root = ledger.add(
            "ZT415" if node.unreadable else "ZT412",
            "host" if node.host else "node",
            node.host or node.name,
            f"The kernel of Node {node.name} was not observed: {node.why}",
            observed=node.why,
            expected="the WireGuard state of its kernel",
            state="unknown",
            source="wireguard_info",
        )
        ledger.blame_node(node.name, root)


def _disabled(
    nodes: t.Mapping[str, NodeView], config: Data | None, subject: str, ledger: Ledger
) -> tuple[list[Finding], list[Pair]]:
    seen = "no cilium-config" if config is None else f"enable-wireguard: {config.get('enable-wireguard', 'not set')}"
    root = ledger.add(
        "ZT409",
        "cluster",
        subject,
        "WireGuard is asked for and the cluster has it off: nothing between Nodes is encrypted",
        observed=seen,
        expected="enable-wireguard: true",
        source="cilium-config",
    )
    for node in nodes.values():
        if node.state == NO_DEVICE:
            _no_device(node, ledger, caused_by=root)
    why = "the cluster has encryption off"
    return ledger.settle(), _all_pairs(nodes, why, why)


def _no_device(node: NodeView, ledger: Ledger, caused_by: str | None = None) -> str:
    return ledger.add(
        "ZT407",
        "node",
        node.name,
        f"Node {node.name} has no device {node.wireguard.get('device', 'cilium_wg0')}",
        observed="no device",
        expected="a WireGuard device",
        caused_by=caused_by,
        source=KERNEL,
    )


def _node_roots(nodes: t.Mapping[str, NodeView], cluster: Data, subject: str, ledger: Ledger) -> None:
    """What is wrong with a Node itself, so that others fail with it."""
    readable = (cluster.get("cilium") or {}).get("nodes") is not None
    if not readable:
        unread = _unread(cluster, "ciliumnode")
        ledger.add(
            "ZT918" if unread else "ZT413",
            "cluster",
            subject,
            "The CiliumNodes could not be read" if unread else "The cluster has no CiliumNode at all",
            observed=cluster.get("read_errors") if unread else 0,
            expected=len(nodes),
            state="unknown" if unread else "open",
            source="CiliumNodes",
        )
    for node in nodes.values():
        if node.state == EXCLUDED:
            continue
        if node.state == NO_DEVICE:
            ledger.blame_node(node.name, _no_device(node, ledger))
        if not readable:
            pass
        elif not node.in_cilium:
            found = ledger.add(
                "ZT413",
                "node",
                node.name,
                f"Node {node.name} has no CiliumNode: no other Node has a key for it",
                caused_by=ledger.node.get(node.name) if node.state == NO_DEVICE else None,
                source="CiliumNodes",
            )
            ledger.blame_node(node.name, found)
        elif node.annotated_key is None or (node.state == OBSERVED and node.annotated_key != node.kernel_key):
            _stale(node, ledger)
        if node.key is None and node.name not in ledger.node:
            ledger.blame_node(
                node.name,
                ledger.add(
                    "ZT415",
                    "node",
                    node.name,
                    f"The key of Node {node.name} is not known: its kernel shows none",
                    state="unknown",
                    source=KERNEL,
                ),
            )


def _stale(node: NodeView, ledger: Ledger) -> None:
    if node.annotated_key is None:
        text = f"The CiliumNode of {node.name} has no key: no other Node can have a peer for it"
    else:
        text = f"The CiliumNode of {node.name} says {node.annotated_key}, its kernel has {node.kernel_key or 'no key'}"
    found = ledger.add(
        "ZT408",
        "node",
        node.name,
        text,
        observed=node.annotated_key,
        expected=node.kernel_key,
        remedy=f"Restart the Cilium agent on {node.name}: it writes its annotation only when it starts.",
        caused_by=ledger.node.get(node.name) if node.state == NO_DEVICE else None,
        source=KERNEL,
    )
    if node.state == UNOBSERVED:
        # That no key is announced is known, whatever the kernel holds: it explains more than the missing observation.
        ledger.node[node.name] = found
    ledger.blame_node(node.name, found)


def _ports(nodes: t.Mapping[str, NodeView], ledger: Ledger) -> dict[str, tuple[int, str]]:
    wrong = {}
    for node in nodes.values():
        port = node.wireguard.get("listen_port")
        if node.state == OBSERVED and port != PORT:
            found = ledger.add(
                "ZT411",
                "node",
                node.name,
                f"The device of Node {node.name} listens on {port}; the others send to {PORT}",
                observed=port,
                expected=PORT,
                source=KERNEL,
            )
            ledger.blame_node(node.name, found)
            wrong[node.name] = (int(port or 0), found)
    return wrong


def _stale_everywhere(nodes: t.Mapping[str, NodeView], directory: Directory, ledger: Ledger) -> None:
    """One root for a Node whose key *all* others hold wrongly in the same way (it got a new key, nobody followed)."""
    for b in nodes.values():
        others = [a for a in nodes.values() if a is not b and a.state == OBSERVED]
        if b.key is None or b.name in ledger.node or b.state == EXCLUDED or len(others) < 2:
            continue
        if any(b.key in a.peers for a in others):
            continue
        held = {
            next(
                (
                    key
                    for key, peer in a.peers.items()
                    if key not in directory.by_key and directory.described(peer) == b.name
                ),
                None,
            )
            for a in others
        }
        if len(held) == 1 and None not in held:
            old = str(next(iter(held)))
            found = ledger.add(
                "ZT401",
                "node",
                b.name,
                f"All other Nodes hold the key {old} for {b.name}, whose key is {b.key}",
                observed=old,
                expected=b.key,
                remedy=f"Restart the Cilium agent on {b.name}; if the others keep the old key, restart theirs.",
                source=KERNEL,
            )
            ledger.blame_node(b.name, found)
            for a in others:
                ledger.blame_link(a.name, b.name, found, f"{a.name} holds an old key for {b.name}")


def _rollout(daemonset: Data, subject: str, ledger: Ledger) -> None:
    desired, updated = daemonset.get("desired"), daemonset.get("updated")
    late = desired is not None and updated is not None and updated < desired
    if not daemonset or not (late or daemonset.get("current") is False):
        return
    root = ledger.add(
        "ZT410",
        "cluster",
        subject,
        f"{updated} of {desired} Cilium agents run the configuration that was applied",
        observed=updated,
        expected=desired,
        source="DaemonSet of the Cilium agent",
    )
    for finding in ledger.findings.values():
        unannounced = finding.code == "ZT408" and finding.observed is None
        explained = finding.code in EXPLAINED_BY_ROLLOUT or unannounced
        if explained and finding.caused_by is None and finding.state == "open":
            finding.caused_by = root
