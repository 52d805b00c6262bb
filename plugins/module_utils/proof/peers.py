# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one Node's kernel holds for all others: keys, endpoints, allowed IPs.

A changed key is met in two forms. Either the right peer is gone and one with another key has its place,
or the right peer is still there and the other has taken its allowed IPs (the kernel gives an address to
one peer only). Both are one fault: ZT401 on the link.
"""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.ledger import Ledger
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.model import (
    EXCLUDED,
    Data,
    NodeView,
    covered,
    socket_address,
)

KERNEL = "WireGuard state of the kernels, CiliumNode annotations"
DUMMY_KEY = "A" * 43 + "="
"""Key of the peer by which the agent moves allowed IPs for a moment (wgDummyPeerKey in pkg/wireguard/agent)."""


class Directory:
    """Who owns a key, an address, a pod CIDR."""

    def __init__(self, nodes: t.Mapping[str, NodeView]) -> None:
        self.nodes = nodes
        self.by_key: dict[str, str] = {}
        self.by_prefix: dict[str, str] = {}
        self.by_endpoint: dict[str, str] = {}
        for node in nodes.values():
            for key in (node.kernel_key, node.annotated_key):
                if key:
                    self.by_key.setdefault(key, node.name)
            for prefix in (*node.required, *node.pod_cidrs):
                self.by_prefix.setdefault(prefix, node.name)
            for endpoint in node.endpoints:
                self.by_endpoint.setdefault(endpoint, node.name)

    def by_addresses(self, peer: Data) -> str | None:
        """The Node whose addresses the peer may send from."""
        return next((self.by_prefix[ip] for ip in peer.get("allowed_ips") or [] if ip in self.by_prefix), None)

    def described(self, peer: Data) -> str | None:
        """The Node that this peer stands for by its addresses or its endpoint, whatever its key is."""
        return self.by_addresses(peer) or self.by_endpoint.get(str(peer.get("endpoint")))


class Claims:
    """The peers of one kernel that stand for a Node without holding that Node's key."""

    def __init__(self, a: NodeView, directory: Directory) -> None:
        self.of: dict[str, list[Data]] = {}
        self.moved: dict[str, str] = {}
        self.unknown: dict[str, Data] = {}
        self.loose: list[Data] = []
        for key, peer in a.peers.items():
            owner = directory.by_key.get(key)
            if owner is None:
                if key == DUMMY_KEY:
                    continue
                self.unknown[key] = peer
                described = directory.described(peer)
                if described is None or described == a.name:
                    self.loose.append(peer)
                else:
                    self.of.setdefault(described, []).append(peer)
                continue
            if peer.get("endpoint") in directory.nodes[owner].endpoints:
                continue
            described = directory.by_addresses(peer)
            if described not in (None, owner) and directory.by_endpoint.get(str(peer.get("endpoint"))) == described:
                # A known key that stands for another Node by both endpoint and addresses: that Node's key was replaced.
                self.of.setdefault(str(described), []).append(peer)
                self.moved[owner] = str(described)


def judge(a: NodeView, directory: Directory, ledger: Ledger, port_roots: t.Mapping[str, tuple[int, str]]) -> None:
    """Add what is wrong in a's kernel about every other Node. port_roots: {Node: (its wrong port, id of ZT411)}."""
    claims = Claims(a, directory)
    missing: list[NodeView] = []
    explained: dict[str, str] = {}
    present = 0
    for b in directory.nodes.values():
        if b is a or b.state == EXCLUDED:
            continue
        claim = next(iter(claims.of.get(b.name, ())), None)
        right = a.peers.get(b.key) if b.key and b.name not in claims.moved else None
        if right is not None:
            present += 1
            displaced = right_peer(a, b, right, claim, directory, ledger, port_roots)
            if claim is None or not displaced:
                continue
        elif b.key is None:
            for peer in claims.of.get(b.name) or []:
                # Nobody knows b's key, so nobody can say that this one is wrong.
                explained[peer["public_key"]] = ledger.node[b.name]
            ledger.blame_link(a.name, b.name, ledger.node[b.name], f"the key of {b.name} is not known")
            continue
        elif claim is None:
            stale = a.peers.get(b.annotated_key) if b.annotated_key and b.annotated_key != b.key else None
            if stale is not None:
                present += 1
                root = ledger.node[b.name]
                wrong_key(ledger, a, b, stale["public_key"], caused_by=root)
            else:
                missing.append(b)
            continue
        present += 1
        root = wrong_key(ledger, a, b, claim["public_key"])
        for peer in claims.of[b.name]:
            explained[peer["public_key"]] = root
        if right is None:
            ledger.add(
                "ZT402",
                "link",
                f"{a.name} -> {b.name}",
                f"{a.name} has no peer with the key of {b.name}",
                expected=b.key,
                caused_by=root,
                source=KERNEL,
            )

    own = [b for b in missing if b.name not in ledger.node and b.name not in claims.moved]
    if len(own) == 1 and len(claims.loose) == 1:
        # One peer is gone and one without address has come: the key was replaced and the rest not yet set.
        peer = claims.loose[0]
        explained[peer["public_key"]] = wrong_key(ledger, a, own[0], peer["public_key"])
        missing.remove(own[0])
    _missing_peers(a, missing, present, claims.moved, ledger)
    for key, peer in claims.unknown.items():
        ledger.add(
            "ZT403",
            "link",
            f"{a.name} -> {key}",
            f"{a.name} has a peer with the key {key}, which no Node of the cluster owns",
            observed={
                "public_key": key,
                "endpoint": peer.get("endpoint"),
                "allowed_ips": list(peer.get("allowed_ips") or []),
            },
            expected="no such peer",
            caused_by=explained.get(key),
            source=KERNEL,
        )


def wrong_key(ledger: Ledger, a: NodeView, b: NodeView, observed: str, *, caused_by: str | None = None) -> str:
    """ZT401 on a -> b. Returns the id of the root: its own, or what already explains the link."""
    if caused_by is None and (a.name, b.name) in ledger.link:
        caused_by = ledger.link[(a.name, b.name)][0]
    found = ledger.add(
        "ZT401",
        "link",
        f"{a.name} -> {b.name}",
        f"{a.name} holds the key {observed} for {b.name}, whose key is {b.key}",
        observed=observed,
        expected=b.key,
        remedy=f"Restart the Cilium agent on {a.name}: it sets the peer for {b.name} anew from its CiliumNode. "
        f"If the wrong key comes back, find out who else on {a.name} writes to the device.",
        caused_by=caused_by,
        source=KERNEL,
    )
    root = caused_by or found
    ledger.blame_link(a.name, b.name, root, f"{a.name} holds a wrong key for {b.name}")
    return root


def _missing_peers(
    a: NodeView, missing: list[NodeView], present: int, moved: t.Mapping[str, str], ledger: Ledger
) -> None:
    own = [b for b in missing if b.name not in ledger.node]
    above: str | None = None
    if len(own) > 1 and not present:
        above = ledger.add(
            "ZT402",
            "node",
            a.name,
            f"{a.name} has a device and no peer in it",
            observed=0,
            expected=len(missing),
            remedy=f"Restart the Cilium agent on {a.name} and look at its log.",
            source=KERNEL,
        )
    for b in missing:
        taken_for = ledger.link.get((a.name, moved.get(b.name, "")))
        cause = ledger.node.get(b.name) or above or (taken_for[0] if taken_for else None)
        found = ledger.add(
            "ZT402",
            "link",
            f"{a.name} -> {b.name}",
            f"{a.name} has no peer for {b.name}",
            expected=b.key,
            remedy=f"Restart the Cilium agent on {a.name} and look at its log.",
            caused_by=cause,
            source=KERNEL,
        )
        ledger.blame_link(a.name, b.name, cause or found, f"{a.name} has no peer for {b.name}")


def right_peer(
    a: NodeView,
    b: NodeView,
    peer: Data,
    claim: Data | None,
    directory: Directory,
    ledger: Ledger,
    port_roots: t.Mapping[str, tuple[int, str]],
) -> bool:
    """Judge a peer that has b's key. True where another peer took its place, which is a wrong key in effect."""
    allowed = peer.get("allowed_ips") or []
    if peer.get("endpoint") in b.endpoints and b.required.issubset(allowed) and all(map(b.owns, allowed)):
        return False
    lacking = covered(sorted(b.required), allowed)
    foreign = [ip for ip in allowed if not b.owns(ip)]
    if claim is not None and lacking and not foreign:
        return True
    link = f"{a.name} -> {b.name}"
    remedy = f"Restart the Cilium agent on {a.name}."
    endpoint = peer.get("endpoint")
    if endpoint not in b.endpoints:
        cause = None
        if b.name in port_roots:
            port, root = port_roots[b.name]
            # WireGuard follows a peer that speaks from another port: the peer's port is the fault, not this entry.
            cause = root if endpoint in {socket_address(address, port) for address in b.ips} else None
        expected = sorted(b.endpoints)
        found = ledger.add(
            "ZT404",
            "link",
            link,
            f"{a.name} sends to {endpoint or 'nowhere'} for {b.name}, whose endpoint is {' or '.join(expected)}",
            observed=endpoint,
            expected=expected[0] if len(expected) == 1 else expected,
            remedy=remedy,
            caused_by=cause,
            source=KERNEL,
        )
        ledger.blame_link(a.name, b.name, cause or found, f"{a.name} has a wrong endpoint for {b.name}")
    if lacking or foreign:
        found = _wrong_addresses(ledger, a, b, allowed, lacking, foreign)
        thief = _thief(a, b, lacking, directory) if lacking and not foreign else None
        if thief:
            # The address is held by the peer of a third Node, and the kernel gives it to one peer only.
            held = a.peers[str(thief.key)].get("allowed_ips") or []
            root = _wrong_addresses(
                ledger,
                a,
                thief,
                held,
                covered(sorted(thief.required), held),
                [ip for ip in held if not thief.owns(ip)],
            )
            ledger.findings[found].caused_by = root
        ledger.blame_link(a.name, b.name, found, f"{a.name} has wrong allowed IPs for {b.name}")
    return False


def _wrong_addresses(
    ledger: Ledger, a: NodeView, b: NodeView, allowed: t.Sequence[str], lacking: list[str], foreign: list[str]
) -> str:
    parts = [f"lacks {', '.join(lacking)}"] if lacking else []
    parts += [f"has {', '.join(foreign)}, which {b.name} does not own"] if foreign else []
    return ledger.add(
        "ZT405",
        "link",
        f"{a.name} -> {b.name}",
        f"The peer of {b.name} on {a.name} {' and '.join(parts)}",
        observed=list(allowed),
        expected=sorted(b.required),
        remedy=f"Restart the Cilium agent on {a.name}.",
        source=KERNEL,
    )


def _thief(a: NodeView, b: NodeView, lacking: list[str], directory: Directory) -> NodeView | None:
    """The one other Node whose peer on a holds all that b's peer lacks."""
    for key, peer in a.peers.items():
        owner = directory.by_key.get(key)
        if not owner or owner == b.name or key != directory.nodes[owner].key:
            continue
        if not covered(lacking, peer.get("allowed_ips") or []):
            return directory.nodes[owner]
    return None
