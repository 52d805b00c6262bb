# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters for tests: healthy ones of any size, and the evidence of real captures."""

from __future__ import annotations

import base64
import copy
import dataclasses
import hashlib
import json
import pathlib
import typing as t

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
NOW = 1_795_400_000.0


def key_of(seed: str) -> str:
    """A WireGuard public key's form (base64 of 32 bytes), the same for the same seed."""
    return base64.b64encode(hashlib.sha256(seed.encode()).digest()).decode()


@dataclasses.dataclass
class Lab:
    """The four arguments of prove(), and shortcuts to break them."""

    intent: dict[str, t.Any]
    cluster: dict[str, t.Any]
    hosts: dict[str, t.Any]
    matching: dict[str, str | None]

    def args(self) -> tuple[t.Any, ...]:
        return self.intent, self.cluster, self.hosts, self.matching

    @property
    def names(self) -> list[str]:
        return [node["name"] for node in self.cluster["nodes"]]

    def host(self, node: str) -> str:
        return next(host for host, name in self.matching.items() if name == node)

    def wireguard(self, node: str) -> dict[str, t.Any]:
        return self.hosts[self.host(node)]["wireguard"]

    def cilium_node(self, node: str) -> dict[str, t.Any]:
        return next(entry for entry in self.cluster["cilium"]["nodes"] if entry["name"] == node)

    def peer(self, a: str, b: str) -> dict[str, t.Any]:
        """The peer of b on a, by b's kernel key."""
        key = self.wireguard(b)["public_key"]
        return next(peer for peer in self.wireguard(a)["peers"] if peer["public_key"] == key)

    def forget_session(self, a: str, b: str) -> None:
        """a was provoked for b, sent, and no handshake came."""
        peer = self.peer(a, b)
        peer["last_handshake_epoch"] = 0
        self.wireguard(a)["provoked"].append(
            {"public_key": peer["public_key"], "target": "x", "at": NOW - 4, "sent": True, "error": None}
        )

    def copy(self) -> Lab:
        return copy.deepcopy(self)


def address(index: int) -> str:
    return f"10.0.{index // 250}.{index % 250 + 1}"


def healthy(count: int, *, native: bool = False, dual: bool = False) -> Lab:
    """A healthy cluster: Nodes n0..; the last host's inventory name differs from its Node's."""
    nodes, cilium_nodes, hosts, matching = [], [], {}, {}
    shapes = []
    for index in range(count):
        ips = [address(index)] + ([f"fd00::{index + 1:x}"] if dual else [])
        cidrs = [f"10.{128 + index // 250}.{index % 250}.0/24"] + ([f"fd01:0:0:{index:x}::/64"] if dual else [])
        cilium_ips = [cidrs[0].replace(".0/24", ".7")]
        shapes.append((f"n{index}", ips, cidrs, cilium_ips, key_of(f"n{index}")))
    for index, (name, ips, cidrs, cilium_ips, key) in enumerate(shapes):
        nodes.append(
            {"name": name, "internal_ips": ips, "hostname": name, "machine_id": name, "ready": True, "pod_cidrs": cidrs}
        )
        cilium_nodes.append(
            {
                "name": name,
                "internal_ips": ips,
                "cilium_ips": cilium_ips,
                "pod_cidrs": cidrs,
                "wg_pub_key": key,
                "encryption_key": 255,
            }
        )
        peers = []
        for other, other_ips, other_cidrs, other_cilium, other_key in shapes:
            if other == name:
                continue
            allowed = [f"{ip}/{128 if ':' in ip else 32}" for ip in other_ips]
            if native:
                allowed += [*other_cidrs, f"{other_cilium[0]}/32", other_cidrs[0].replace(".0/24", ".99/32")]
            peers.append(
                {
                    "public_key": other_key,
                    "endpoint": f"{other_ips[0]}:51871",
                    "allowed_ips": sorted(allowed),
                    "last_handshake_epoch": NOW - 30,
                    "rx_bytes": 1000,
                    "tx_bytes": 1000,
                    "keepalive": 0,
                }
            )
        host = f"rack-{name}" if index == count - 1 else name
        matching[host] = name
        hosts[host] = {"node": None, "wireguard": wireguard(key, peers), "error": None, "excluded": None}
    config = {
        "enable-wireguard": "true",
        "enable-ipv4": "true",
        "enable-ipv6": "true" if dual else "false",
        "routing-mode": "native" if native else "tunnel",
    }
    cilium = {
        "crds": ["ciliumnodes.cilium.io"],
        "config": config,
        "daemonset": {
            "namespace": "kube-system",
            "name": "cilium",
            "image": "quay.io/cilium/cilium:v1.20.2@sha256:1f0d",
            "desired": count,
            "updated": count,
            "ready": count,
            "current": True,
        },
        "nodes": cilium_nodes,
        "endpoints": None,
    }
    intent = {"cluster_name": "test", "transport_encryption": "wireguard", "routing": "native" if native else "vxlan"}
    return Lab(intent, {"schema": 1, "uid": "u", "nodes": nodes, "cilium": cilium, "read_errors": []}, hosts, matching)


def wireguard(key: str | None, peers: list[dict[str, t.Any]], **more: t.Any) -> dict[str, t.Any]:
    return {
        "schema": 1,
        "device": "cilium_wg0",
        "present": True,
        "implementation": "kernel",
        "public_key": key,
        "listen_port": 51871,
        "fwmark": 3584,
        "epoch": NOW,
        "peers": peers,
        "provoked": [],
        "before": {},
        "error": None,
        **more,
    }


def from_capture(folder: str, prefix: str, names: tuple[str, ...], *, native: bool, epoch: float) -> Lab:
    """The arguments of prove() from recorded outputs; folder below fixtures."""
    nodes, cilium_nodes, hosts, matching = [], [], {}, {}
    for item in json.loads((FIXTURES / folder / "ciliumnodes.json").read_text())["items"]:
        name = item["metadata"]["name"]
        if name not in names:
            continue
        by_type: dict[str, list[str]] = {}
        for entry in item["spec"]["addresses"]:
            by_type.setdefault(entry["type"], []).append(entry["ip"])
        nodes.append({"name": name, "internal_ips": by_type["InternalIP"]})
        cilium_nodes.append(
            {
                "name": name,
                "internal_ips": by_type["InternalIP"],
                "cilium_ips": by_type["CiliumInternalIP"],
                "pod_cidrs": item["spec"]["ipam"]["podCIDRs"],
                "wg_pub_key": (item["metadata"].get("annotations") or {}).get("network.cilium.io/wg-pub-key"),
                "encryption_key": item["spec"]["encryption"].get("key", 0),
            }
        )
        own, *rows = (FIXTURES / folder / f"{prefix}{name}-wg-show-dump.txt").read_text().splitlines()
        peers = [
            {
                "public_key": key,
                "endpoint": endpoint,
                "allowed_ips": sorted(allowed.split(",")),
                "last_handshake_epoch": float(last),
                "rx_bytes": int(rx),
                "tx_bytes": int(tx),
                "keepalive": 0,
            }
            for key, _psk, endpoint, allowed, last, rx, tx, _keep in (row.split("\t") for row in rows)
        ]
        provoked = [
            {"public_key": p["public_key"], "target": "x", "at": epoch - 4, "sent": True, "error": None} for p in peers
        ]
        data = wireguard(own.split("\t")[1], peers, epoch=epoch, provoked=provoked)
        hosts[name] = {"node": None, "wireguard": data, "error": None, "excluded": None}
        matching[name] = name
    config = {"enable-wireguard": "true", "enable-ipv6": "false", "routing-mode": "native" if native else "tunnel"}
    return Lab(
        {"cluster_name": "capture", "transport_encryption": "wireguard"},
        {"nodes": nodes, "read_errors": [], "cilium": {"config": config, "nodes": cilium_nodes, "daemonset": None}},
        hosts,
        matching,
    )
