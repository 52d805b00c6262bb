# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence and findings -> the report's one dict (docs/report.schema.json). The renderers add nothing to it."""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, ordered
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.mtu import node_network_mtu
from ansible_collections.aicluster.zerotrust.plugins.module_utils.report.verdict import Verdict, root_findings

Data = t.Mapping[str, t.Any]
SCHEMA = 1
SECTIONS = ("identity", "engine", "policy")


def build(
    evidence: Data,
    plan: Data,
    findings: t.Sequence[Finding],
    pairs: t.Sequence[Data],
    coverage: t.Sequence[Data],
    verdict: Verdict,
    sections: t.Mapping[str, t.Any],
) -> dict[str, t.Any]:
    """The report of a run that was judged. evidence and plan: the contents of evidence.json and plan.json.

    sections: identity, engine and policy, each as its proof gives it or None where it could not be asked.
    """
    hosts = _hosts(evidence, plan)
    return {
        "schema": SCHEMA,
        "kind": "proof",
        "cluster": plan.get("cluster") or {},
        "verdict": verdict.to_dict(),
        "findings": [finding.to_dict() for finding in ordered(findings)],
        "pairs": list(pairs),
        "hosts": hosts,
        "mtu": plan.get("mtu") or {},
        "coverage": list(coverage),
        **{name: sections.get(name) for name in SECTIONS},
        "provenance": _provenance(evidence, plan, hosts),
        "changes": changes(evidence, plan, findings),
    }


def build_refusal(
    plan: Data,
    run: Data,
    *,
    hosts: Data | None = None,
    started: str = "",
    ended: str = "",
    provenance: Data | None = None,
) -> dict[str, t.Any]:
    """The report of a run that its plan refused: the same shape, with the blockers and without pairs.

    hosts: {inventory name: {"node": node_info or None, "error": text or None}}, where the plan has them.
    """
    from_plan = list(plan.get("findings") or [])
    blockers = [f for f in from_plan if f["severity"] == "blocker" and f["state"] != "accepted" and not f["caused_by"]]
    noun = "blocker" if len(blockers) == 1 else "blockers"
    seen = hosts or {}
    rows = [_host_row(name, entry, seen.get(name)) for name, entry in sorted((plan.get("hosts") or {}).items())]
    evidence = {
        "run": run,
        "started": started,
        "ended": ended,
        "plan_sha256": run.get("plan_sha256"),
        "provenance": provenance or {},
        "intent": plan.get("intent") or {},
    }
    scope = "nothing was changed and nothing was proved"
    accepted = sum(f["state"] == "accepted" and not f["caused_by"] for f in from_plan)
    return {
        "schema": SCHEMA,
        "kind": "refusal",
        "cluster": plan.get("cluster") or {},
        "verdict": {
            "state": "fail",
            "accepted": accepted,
            "scope": scope,
            "text": f"refused: {len(blockers)} {noun} ({scope})",
        },
        "findings": from_plan,
        "pairs": [],
        "hosts": rows,
        "mtu": plan.get("mtu") or {},
        "coverage": [],
        **dict.fromkeys(SECTIONS),
        "provenance": _provenance(evidence, plan, rows),
        "changes": [{"what": "The whole run", "state": "left", "why": "The plan was refused before any change."}],
    }


def _hosts(evidence: Data, plan: Data) -> list[dict[str, t.Any]]:
    ips = {node["name"]: node.get("internal_ips") or [] for node in (evidence.get("cluster") or {}).get("nodes") or []}
    names = {
        **(plan.get("hosts") or {}),
        **{name: {} for name in evidence["hosts"] if name not in plan.get("hosts", {})},
    }
    return [
        _host_row(name, entry, evidence["hosts"].get(name), ips.get(entry.get("node"), []))
        for name, entry in sorted(names.items())
    ]


def _host_row(name: str, entry: Data, seen: Data | None, ips: t.Sequence[str] = ()) -> dict[str, t.Any]:
    node_info = (seen or {}).get("node") or {}
    wireguard = (seen or {}).get("wireguard") or {}
    network = node_network_mtu(node_info, ips)
    error = (seen or {}).get("error") or wireguard.get("error")
    excluded = (seen or {}).get("excluded") or entry.get("excluded")
    return {
        "name": name,
        "node": entry.get("node"),
        "observed": bool(node_info or wireguard) and not error and not excluded,
        "excluded": excluded,
        "error": error,
        "kernel": (node_info.get("kernel") or {}).get("release"),
        "os": (node_info.get("os") or {}).get("pretty_name"),
        "interface": network[0] if network else None,
        "mtu": network[1] if network else None,
        "wireguard": wireguard.get("implementation") if wireguard.get("present") else None,
    }


def _provenance(evidence: Data, plan: Data, hosts: t.Sequence[Data]) -> dict[str, t.Any]:
    more = evidence.get("provenance") or {}
    run = evidence.get("run") or {}
    return {
        "run_id": run.get("id"),
        "mode": run.get("mode"),
        "limited": run.get("limited"),
        "change_id": (evidence.get("intent") or {}).get("change_id") or None,
        "started": evidence.get("started"),
        "ended": evidence.get("ended"),
        "plan_sha256": evidence.get("plan_sha256"),
        "git_commit": more.get("git_commit"),
        "job": more.get("job"),
        "versions": {**(plan.get("versions") or {}), **(more.get("versions") or {})},
        "cluster_uid": (plan.get("cluster") or {}).get("uid"),
        "hosts_observed": sum(host["observed"] for host in hosts),
        "hosts_excluded": sum(bool(host["excluded"]) for host in hosts),
        "hosts_unreachable": sum(bool(host["error"]) and not host["excluded"] for host in hosts),
    }


def changes(evidence: Data, plan: Data, findings: t.Sequence[Finding]) -> list[dict[str, t.Any]]:
    """What the run changed and what it left, as [{"what", "state": changed|unchanged|left, "why"}]."""
    run = evidence.get("run") or {}
    if run.get("mode") != "site":
        return [{"what": "Nothing", "state": "unchanged", "why": "This run only reads."}]
    if run.get("check_mode"):
        return [{"what": "Nothing", "state": "unchanged", "why": "Check mode: the run showed what it would do."}]
    rows: list[dict[str, t.Any]] = []
    cilium = plan.get("cilium") or {}
    action = cilium.get("action", "none")
    if action != "none" and not cilium.get("left"):
        why = "; ".join(cilium.get("reasons") or [])
        rows.append({"what": f"Cilium {cilium.get('version', '')}: {action}", "state": "changed", "why": why})
    seen = {row["name"]: row for row in _hosts(evidence, plan)}
    for host, entries in sorted((plan.get("nic") or {}).items()):
        for entry in entries:
            reached = seen.get(host, {}).get("mtu") == entry["mtu_to"]
            rows.append(
                {
                    "what": f"{entry['interface']} on {host}: MTU {entry['mtu_from']} to {entry['mtu_to']}",
                    "state": "changed" if reached else "left",
                    "why": "" if reached else f"It has {seen.get(host, {}).get('mtu') or 'an unknown MTU'} now.",
                }
            )
    left = [f for f in root_findings(findings) if f.code in ("ZT203", "ZT207", "ZT209", "ZT625", "ZT703")]
    rows += [{"what": f.message, "state": "left", "why": f.remedy} for f in ordered(left)]
    return rows or [{"what": "Nothing", "state": "unchanged", "why": "Everything was as planned already."}]
