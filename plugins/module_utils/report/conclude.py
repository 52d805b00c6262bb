# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence -> findings, verdict and report, in one call that knows nothing of Ansible."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject, from_dict
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.accept import apply_acceptance
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof import (
    coverage,
    engine,
    identity,
    mtu,
    policy,
    wireguard,
)
from ansible_collections.aicluster.zerotrust.plugins.module_utils.report import build, verdict

Data = t.Mapping[str, t.Any]
ASKED_ANEW = frozenset(("ZT302", "ZT304", "ZT642", "ZT801", "ZT802", "ZT803", "ZT914"))
"""Codes of the plan that the proof asks again, from newer evidence: the plan's answer is dropped."""


def conclude(evidence: Data, plan: Data, today: datetime.date) -> dict[str, t.Any]:
    """The report of one run's evidence.json and plan.json. evidence["cluster"] is None if the API did not answer."""
    intent: Data = evidence["intent"]
    name = str(intent.get("cluster_name") or "")
    hosts: Data = evidence["hosts"]
    cluster: Data = evidence.get("cluster") or {}
    entries: Data = plan.get("hosts") or {}
    matching = {host: entry.get("node") for host, entry in entries.items()}
    findings = [from_dict(data, name) for data in plan.get("findings") or [] if data["code"] not in ASKED_ANEW]
    pairs: list[dict[str, t.Any]] = []
    sections: dict[str, t.Any] = {"identity": None, "engine": None, "policy": None}
    if evidence.get("cluster") is None:
        findings.append(_no_api(name, evidence))
    else:
        proved, pairs = wireguard.prove(intent, cluster, hosts, matching)
        findings += proved + mtu.check(intent, cluster, hosts, matching, plan.get("nic") or {})
        state = evidence.get("policy_state")
        more, sections["policy"] = policy.prove(intent, plan, state, str(evidence.get("policy_error") or ""))
        missing = None if state is None else sections["policy"]["missing"]
        stands, sections["engine"] = engine.prove(intent, plan, cluster, hosts, matching, missing)
        findings += more + stands
    known, sections["identity"] = identity.prove(
        intent, plan.get("identity") or {}, evidence.get("identity") or {}, hosts, _epoch(evidence)
    )
    findings += known
    exposed, rows = coverage.coverage(intent, cluster, hosts, matching, pairs, sections["engine"])
    findings += exposed
    findings = _once(findings)
    _fold_unreachable(findings)
    findings = apply_acceptance(findings, intent.get("accept") or [], today)
    wanted = wireguard.intended(intent, cluster) if evidence.get("cluster") is not None else "unknown"
    nodes = cluster.get("nodes") or [node for node in matching.values() if node]
    scope = verdict.scope_of(intent, wanted, len(nodes), pairs, hosts, rows)
    if any(node.get("stand_in") for node in (cluster.get("cilium") or {}).get("nodes") or []):
        scope += "; the Cilium agents are the laboratory's stand-in"
    scope += verdict.beside(sections)
    stated = "transport_encryption" not in (plan.get("unset") or [])
    meshed = intent.get("workload_encryption") == "istio_ambient"
    judged = verdict.judge(findings, pairs, scope=scope, encryption=wanted, intended=stated, mesh=meshed)
    return build.build(evidence, plan, findings, pairs, rows, judged, sections)


def _no_api(name: str, evidence: Data) -> Finding:
    error = (evidence.get("provenance") or {}).get("cluster_error") or "no answer"
    return Finding(
        "ZT906",
        Subject("cluster", name or "cluster"),
        f"The Kubernetes API could not be read for the proof: {error}",
        observed=error,
        state="unknown",
        cluster=name,
        source="cluster_info",
    )


def _epoch(evidence: Data) -> float:
    """When the evidence was complete; the authorities of a bundle are judged by it."""
    try:
        ended = datetime.datetime.strptime(str(evidence.get("ended")), "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return datetime.datetime.now(datetime.timezone.utc).timestamp()
    return ended.replace(tzinfo=datetime.timezone.utc).timestamp()


def _fold_unreachable(findings: t.Sequence[Finding]) -> None:
    """What the plan says of a host that nobody could observe is the same fault as ZT412: one unknown root."""
    unknown = {str(f.subject): f.id for f in findings if f.code in ("ZT412", "ZT415") and f.caused_by is None}
    for finding in findings:
        if finding.code in ("ZT112", "ZT531", "ZT542", "ZT909", "ZT912") and finding.state != "accepted":
            finding.caused_by = unknown.get(str(finding.subject), finding.caused_by)


def _once(findings: t.Iterable[Finding]) -> list[Finding]:
    """One of each id; the later observation is kept."""
    return list({finding.id: finding for finding in findings}.values())
