# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence in the modules' own shapes: svid_info, cluster_info with mesh, mtls_policy with stage compare."""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.tests.unit.proof.clusters import NOW, Lab

DOMAIN = "lab.example.org"
HOUR = 3600
ROOT = {"sha256": "a1" * 32, "not_after": NOW + 20 * HOUR, "seconds_left": 20 * HOUR}
OTHER = {"sha256": "b2" * 32, "not_after": NOW + 22 * HOUR, "seconds_left": 22 * HOUR}


def svid(identity: str, left: int = 2400, life: int = HOUR) -> dict[str, t.Any]:
    return {
        "spiffe_id": f"spiffe://{DOMAIN}/{identity}",
        "serial": "0a1b",
        "not_before": int(NOW) + left - life,
        "not_after": int(NOW) + left,
        "seconds_left": left,
        "chain_length": 1,
        "verified": True,
        "why": None,
    }


def svid_info(host: str, server: bool = False, entries: int = 3) -> dict[str, t.Any]:
    """A host where all is well; root has no entry, so the Workload API denies it an SVID."""
    agent = {
        "state": "up",
        "why": None,
        "service": "active",
        "healthy": True,
        "workload_api": True,
        "svid": svid(f"spire/agent/x509pop/{host}"),
        "error": None,
    }
    own = {
        "service": "active",
        "healthy": True,
        "trust_domain": DOMAIN,
        "ca": {"authority_id": "c3", "not_after": NOW + 20 * HOUR, "seconds_left": 20 * HOUR},
        "bundle": [dict(ROOT)],
        "entries": {"set": "default", "ours": entries, "total": entries},
        "agents": {"total": 3, "expired": 0, "banned": 0, "hosts": {}},
        "error": None,
    }
    return {
        "schema": 2,
        "epoch": NOW,
        "state": "denied",
        "error": "no identity issued",
        "svids": [],
        "bundle_size": 1,
        "agent": agent,
        "bundle": [dict(ROOT)],
        "server": own if server else None,
    }


def spire(lab: Lab, entries: int = 3) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """(the plan's identity, the answers of all hosts); makes SPIRE the lab's intent."""
    lab.intent.update(identity="spire", trust_domain=DOMAIN)
    names = sorted(lab.hosts)
    part = {"action": "none", "deployment": "hosts", "servers": names[:1], "hosts": names, "trust_domain": DOMAIN}
    answers = {name: svid_info(name, server=name == names[0], entries=entries) for name in names}
    return {**part, "entries": entries}, answers


def policy(namespace: str, name: str, kind: str = "AuthorizationPolicy", **spec: t.Any) -> dict[str, t.Any]:
    return {"kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


POLICIES = [
    policy("shop", "default", "PeerAuthentication", mtls={"mode": "STRICT"}),
    policy("shop", "cart", action="ALLOW"),
    policy("shop", "api", targetRefs=[{"kind": "Gateway", "name": "waypoint"}]),
]


def ambient(lab: Lab) -> dict[str, t.Any]:
    """The plan of a lab with Istio Ambient in namespace shop where all is well; makes it the lab's intent."""
    count = len(lab.cluster["nodes"])
    lab.intent.update(
        engine="istio_ambient",
        workload_encryption="istio_ambient",
        trust_domain=DOMAIN,
        istio_ambient={"namespaces": ["shop"], "waypoints": {}},
        mtls_policy={"stage": "enforce", "stages": {}},
    )
    lab.cluster["cilium"]["config"].update({"cni-exclusive": "false", "enable-bpf-masquerade": "false"})
    lab.cluster["mesh"] = {
        "crds": ["authorizationpolicies.security.istio.io"],
        "gateway_api": {"version": "v1.5.1", "channel": "standard"},
        "istiod": {"image": "docker.io/istio/pilot:1.31.0", "desired": 1, "ready": 1},
        "cni": {"image": "docker.io/istio/install-cni:1.31.0", "desired": count, "ready": count},
        "ztunnel": {"image": "docker.io/istio/ztunnel:1.31.0", "desired": count, "ready": count},
        "trust_domain": DOMAIN,
        "cacerts": True,
        "root_strict": False,
        "namespaces": [
            {"name": "default", "labels": {}},
            {"name": "shop", "labels": {"istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "waypoint"}},
        ],
        "waypoints": [{"namespace": "shop", "name": "waypoint", "programmed": True}],
        "enrolled": {"shop": {"pods": 5, "redirected": 3, "host_network": 1, "opted_out": 1}},
        "read_errors": [],
    }
    return {"policies": [dict(obj) for obj in POLICIES], "policy": {"set": "default"}, "unset": []}


def compared(**more: t.Any) -> dict[str, t.Any]:
    """mtls_policy with stage compare: all three policies are there."""
    state: dict[str, t.Any] = {"missing": [], "drifted": [], "foreign": [], "unchanged": 3, "extra": []}
    return {**state, "conditions": {"accepted": 3, "refused": [], "unknown": 0}, **more}
