# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence and plan of whole runs, from the proof's generated clusters."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.report.build import build_refusal
from ansible_collections.aicluster.zerotrust.plugins.module_utils.report.conclude import conclude
from ansible_collections.aicluster.zerotrust.tests.unit.proof import sections
from ansible_collections.aicluster.zerotrust.tests.unit.proof.clusters import Lab, healthy

TODAY = datetime.date(2026, 11, 22)
RUN = {"id": "20261122T201500Z-1f3a", "mode": "site", "plan_sha256": "9b" * 32, "limited": False}
MTU = {
    "link": 9000,
    "encryption_overhead": 95,
    "tunnel_overhead": 50,
    "pod": 8855,
    "explanation": ["link: 9000 bytes", "WireGuard of Cilium 1.20: -95 bytes", "VXLAN over IPv4: -50 bytes"],
}


def node_info(address: str, mtu: int = 9000, rdma: bool = False) -> dict[str, t.Any]:
    ports = [{"port": 1, "state": "ACTIVE", "link_layer": "InfiniBand", "netdev": None}]
    return {
        "kernel": {"release": "6.1.0-41-amd64"},
        "os": {"pretty_name": "Debian GNU/Linux 12 (bookworm)"},
        "interfaces": [{"name": "node0", "mtu": mtu, "addresses": [f"{address}/24"]}],
        "rdma": [{"name": "mlx5_0", "ports": ports}] if rdma else [],
    }


def run_of(lab: Lab, *, plan_findings: t.Sequence[Finding] = (), **intent: t.Any) -> tuple[t.Any, t.Any]:
    """(evidence, plan) of a run on the lab."""
    lab.intent.update(intent)
    for host, node in lab.matching.items():
        entry = next(n for n in lab.cluster["nodes"] if n["name"] == node)
        if not lab.hosts[host]["error"] and not lab.hosts[host]["excluded"] and lab.hosts[host]["node"] is None:
            lab.hosts[host]["node"] = node_info(entry["internal_ips"][0])
    evidence = {
        "schema": 1,
        "run": RUN,
        "started": "2026-11-22T20:15:00Z",
        "ended": "2026-11-22T20:15:41Z",
        "intent": lab.intent,
        "plan_sha256": RUN["plan_sha256"],
        "cluster": lab.cluster,
        "hosts": lab.hosts,
        "provenance": {
            "git_commit": "0eb811b953f1ac712419d0eb811b953f1ac71241",
            "versions": {"ansible_core": "2.19.14"},
        },
    }
    plan = {
        "schema": 1,
        "cluster": {"name": lab.intent["cluster_name"], "uid": "5f0c8a8e-6c39-4f6f-9c35-2f3e0f6f1d11"},
        "versions": {"collection": "0.1.0"},
        "intent": lab.intent,
        "hosts": {host: {"node": node, "excluded": lab.hosts[host]["excluded"]} for host, node in lab.matching.items()},
        "mtu": MTU,
        "nic": {},
        "cilium": {"action": "none"},
        "findings": [finding.to_dict() for finding in plan_findings],
    }
    return evidence, plan


def report_of(lab: Lab, **more: t.Any) -> dict[str, t.Any]:
    return conclude(*run_of(lab, **more), TODAY)


def whole(
    lab: Lab, change: t.Callable[[dict[str, t.Any], dict[str, t.Any]], t.Any] = lambda evidence, plan: None
) -> dict[str, t.Any]:
    """The report of a lab with SPIRE, Istio Ambient and three policies; change spoils evidence and plan."""
    more = sections.ambient(lab)
    part, answers = sections.spire(lab)
    evidence, plan = run_of(lab)
    plan.update(more, identity=part)
    evidence.update(identity=answers, policy_state=sections.compared())
    change(evidence, plan)
    return conclude(evidence, plan, TODAY)


def refusal() -> dict[str, t.Any]:
    """A run that the plan refused for two reasons."""
    findings = [
        Finding(
            "ZT101", Subject("host", "n1"), "n1 runs Linux 5.4.0-200", observed="5.4.0-200-generic", expected="5.10"
        ),
        Finding(
            "ZT601", Subject("cluster", "test"), "flannel runs in this cluster", observed="DaemonSet kube-flannel-ds"
        ),
        Finding("ZT107", Subject("host", "n2"), "n2 does not keep its clock in step"),
    ]
    _evidence, plan = run_of(healthy(4), plan_findings=findings)
    return build_refusal(plan, RUN, started="2026-11-22T20:15:00Z", ended="2026-11-22T20:15:04Z")
