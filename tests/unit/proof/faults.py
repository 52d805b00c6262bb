# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A catalogue of single faults. Each breaks a healthy Lab between a and b and returns (code, subject) of its root."""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.tests.unit.proof.clusters import FIXTURES, Lab, key_of

__all__ = ["CATALOGUE", "FIXTURES"]
Root = tuple[str, str]


def holds(lab: Lab, a: str, b: str) -> bool:
    """Whether a's kernel has a peer with b's kernel key."""
    seen, key = (
        lab.hosts[lab.host(a)].get("wireguard") or {},
        (lab.hosts[lab.host(b)].get("wireguard") or {}).get("public_key"),
    )
    return bool(key) and any(peer["public_key"] == key for peer in seen.get("peers") or [])


def _silence(lab: Lab, a: str, b: str) -> None:
    """The other side of a broken link: provoked, sent, nothing came."""
    for x, y in ((a, b), (b, a)):
        if holds(lab, x, y):
            lab.forget_session(x, y)


def key_replaced(lab: Lab, a: str, b: str, key: str = "") -> Root:
    """The right peer was removed; another key has its endpoint and allowed IPs."""
    key = key or lab.wireguard(b)["public_key"]
    peer = next(p for p in lab.wireguard(a)["peers"] if p["public_key"] == key)
    peer.update(public_key=key_of(f"wrong {a} {b}"), last_handshake_epoch=0)
    return "ZT401", f"link {a} -> {b}"


def key_added(lab: Lab, a: str, b: str) -> Root:
    """`wg set cilium_wg0 peer WRONG endpoint .. allowed-ips ..`: it takes the allowed IPs, the right peer stays."""
    right = lab.peer(a, b)
    lab.wireguard(a)["peers"].append({**right, "public_key": key_of(f"wrong {a} {b}"), "last_handshake_epoch": 0})
    right["allowed_ips"] = []
    return "ZT401", f"link {a} -> {b}"


def key_replaced_bare(lab: Lab, a: str, b: str) -> Root:
    """The right peer was removed; another key was added with no endpoint and no allowed IPs."""
    key_replaced(lab, a, b)
    wrong = next(p for p in lab.wireguard(a)["peers"] if p["public_key"] == key_of(f"wrong {a} {b}"))
    wrong.update(endpoint=None, allowed_ips=[])
    return "ZT401", f"link {a} -> {b}"


def peer_removed(lab: Lab, a: str, b: str) -> Root:
    lab.wireguard(a)["peers"].remove(lab.peer(a, b))
    return "ZT402", f"link {a} -> {b}"


def stranger(lab: Lab, a: str, b: str) -> Root:
    key = key_of("stranger")
    lab.wireguard(a)["peers"].append(
        {"public_key": key, "endpoint": "192.0.2.1:4711", "allowed_ips": ["192.0.2.9/32"], "last_handshake_epoch": 0}
    )
    return "ZT403", f"link {a} -> {key}"


def endpoint_moved(lab: Lab, a: str, b: str) -> Root:
    lab.peer(a, b)["endpoint"] = "192.0.2.7:51871"
    _silence(lab, a, b)
    return "ZT404", f"link {a} -> {b}"


def allowed_ips_lost(lab: Lab, a: str, b: str) -> Root:
    lab.peer(a, b)["allowed_ips"] = []
    return "ZT405", f"link {a} -> {b}"


def allowed_ips_widened(lab: Lab, a: str, b: str) -> Root:
    lab.peer(a, b)["allowed_ips"].append("0.0.0.0/0")
    return "ZT405", f"link {a} -> {b}"


def path_blocked(lab: Lab, a: str, b: str) -> Root:
    _silence(lab, a, b)
    low, high = (a, b) if lab.names.index(a) < lab.names.index(b) else (b, a)
    return "ZT406", f"link {low} <-> {high}"


def device_missing(lab: Lab, a: str, b: str) -> Root:
    for other in lab.names:
        if other != a and holds(lab, other, a):
            lab.forget_session(other, a)
    lab.hosts[lab.host(a)]["wireguard"] = {"device": "cilium_wg0", "present": False, "peers": [], "error": None}
    return "ZT407", f"node {a}"


def annotation_stale(lab: Lab, a: str, b: str) -> Root:
    """The annotation of a has another key, and all others took it."""
    old = key_of(f"stale {a}")
    for other in lab.names:
        if other != a:
            lab.peer(other, a).update(public_key=old, last_handshake_epoch=0)
            if other != b:
                lab.wireguard(a)["provoked"].append(
                    {"public_key": lab.wireguard(other)["public_key"], "at": 0, "sent": True, "error": None}
                )
    lab.cilium_node(a)["wg_pub_key"] = old
    return "ZT408", f"node {a}"


def annotation_gone(lab: Lab, a: str, b: str) -> Root:
    for other in lab.names:
        if other != a:
            lab.wireguard(other)["peers"].remove(lab.peer(other, a))
    lab.cilium_node(a)["wg_pub_key"] = None
    return "ZT408", f"node {a}"


def cilium_node_gone(lab: Lab, a: str, b: str) -> Root:
    annotation_gone(lab, a, b)
    lab.cluster["cilium"]["nodes"].remove(lab.cilium_node(a))
    return "ZT413", f"node {a}"


def port_moved(lab: Lab, a: str, b: str) -> Root:
    """a listens elsewhere; b follows because a spoke to it from the new port."""
    lab.wireguard(a)["listen_port"] = 40000
    peer = lab.peer(b, a)
    peer["endpoint"] = peer["endpoint"].rsplit(":", 1)[0] + ":40000"
    return "ZT411", f"node {a}"


def unreachable(lab: Lab, a: str, b: str) -> Root:
    lab.hosts[lab.host(a)] = {"node": None, "wireguard": None, "error": "unreachable", "excluded": None}
    return "ZT412", f"host {lab.host(a)}"


def switched_off(lab: Lab, a: str, b: str) -> Root:
    lab.cluster["cilium"]["config"]["enable-wireguard"] = "false"
    for name in lab.names:
        device_missing(lab, name, name)
    return "ZT409", "cluster test"


CATALOGUE: tuple[t.Callable[[Lab, str, str], Root], ...] = (
    key_replaced,
    key_added,
    key_replaced_bare,
    peer_removed,
    stranger,
    endpoint_moved,
    allowed_ips_lost,
    allowed_ips_widened,
    path_blocked,
    device_missing,
    annotation_stale,
    annotation_gone,
    cilium_node_gone,
    port_moved,
    unreachable,
    switched_off,
)
