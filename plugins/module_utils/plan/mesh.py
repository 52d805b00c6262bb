# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Istio Ambient part of the plan: what is refused, and what is to be done with each chart and namespace."""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject, canonical
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.istio import ISTIO_CHARTS
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.model import Intent
from ansible_collections.aicluster.zerotrust.plugins.module_utils.mesh import cilium_below, objects, releases, values
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import existing, rules_mesh

Json = dict[str, t.Any]
Cluster = t.Mapping[str, t.Any]


def chart_sources(intent: Intent) -> dict[str, dict[str, str | None]]:
    """Chart -> where it is: a folder of istio_ambient_chart_dir, else its name and version in the repository."""
    istio = intent.istio_ambient
    if istio.chart_dir:
        return {name: {"ref": f"{istio.chart_dir}/{name}", "repo": None, "version": None} for name in ISTIO_CHARTS}
    return {name: {"ref": name, "repo": istio.chart_repo, "version": istio.version} for name in ISTIO_CHARTS}


def nothing(intent: Intent) -> Json:
    """The part where Istio is not the engine, or nothing may be planned."""
    return {
        "action": "none",
        "reasons": [],
        "version": intent.istio_ambient.version,
        "namespace": intent.istio_ambient.namespace,
        "charts": [],
        "gateway_api": {"action": "none", "path": None},
        "cacerts": {"action": "none", "dir": None},
        "namespaces": [],
        "waypoints": [],
        "probe_policy": None,
    }


def plan_mesh(case: rules_mesh.Case) -> tuple[Json, list[Finding]]:
    """(the part "istio" of plan.json, findings) for an effective intent with engine istio_ambient.

    With a blocker among all findings of the run the caller drops the part. Actions are planned for site only, and
    never from a limited run.
    """
    part = nothing(case.intent)
    unsupported = list(rules_mesh.version(case))
    if unsupported:
        # What else would be said depends on the version.
        return part, unsupported
    findings = [found for rule in rules_mesh.RULES for found in rule(case)]
    if any(found.blocks for found in findings) or case.mode != "site" or case.limited:
        return part, findings
    part["charts"], left = _charts(case)
    _gateway_api(case, part)
    if case.intent.istio_ambient.cacerts:
        secret = case.mesh.get("cacerts")
        # An existing Secret is compared by the module on the API host, which alone sees its content.
        part["cacerts"] = {"action": "none" if secret else "create", "dir": case.intent.istio_ambient.cacerts}
    _namespaces(case, part, left)
    part["action"], part["reasons"] = _overall(part, left)
    if left:
        subject = Subject("object", "Istio Ambient")
        message = f"Istio was left as it is: {'; '.join(left)}"
        findings.append(Finding("ZT636", subject, message, observed=left, source="plan"))
    return part, findings


def diff(part: t.Mapping[str, t.Any], cluster: Cluster) -> tuple[Json, Json]:
    """(before, after) of a part "istio": charts with versions and values, labels, objects; both {} when nothing
    changes. What was left undone is shown too. No file's content is in it."""
    before: Json = {}
    after: Json = {}
    found = (cluster.get("mesh") or {}).get("releases") or {}
    for chart in part["charts"]:
        if chart["action"] == "none" or not chart["reasons"]:
            continue
        release = found.get(chart["name"]) or {}
        if release:
            before[chart["name"]] = {"version": release.get("chart_version"), "values": release.get("values") or {}}
        after[chart["name"]] = {"version": chart["version"], "values": chart["values"]}
    spaces = {space["name"]: space["labels"] for space in (cluster.get("mesh") or {}).get("namespaces") or []}
    for entry in part["namespaces"]:
        now = {name: value for name, value in spaces.get(entry["name"], {}).items() if name in objects.LABELS}
        before.setdefault("namespaces", {})[entry["name"]] = now
        after.setdefault("namespaces", {})[entry["name"]] = entry["labels"]
    for name in ("gateway_api", "cacerts"):
        if part[name]["action"] != "none":
            after[name] = part[name]
    if part["waypoints"]:
        after["waypoints"] = [f"{obj['metadata']['namespace']}/{obj['metadata']['name']}" for obj in part["waypoints"]]
    return before, after


def _charts(case: rules_mesh.Case) -> tuple[list[Json], list[str]]:
    """The charts in install order, each with its action, and why something was left."""
    intent = case.intent
    foreign = case.foreign
    rendered = values.render(intent.istio_ambient, intent.trust_domain)
    sources, found = chart_sources(intent), case.found
    left: list[str] = []
    blocked = _cilium_unfit(case)
    if blocked:
        left.append(blocked)
    charts = []
    for name in ISTIO_CHARTS:
        action, reasons = ("left", []) if foreign else _decide(case, name, found.get(name), rendered[name])
        if action in ("upgrade", "recover") and case.runs and not intent.allows("agent_restart"):
            left.append(f"{name}: {', '.join(reasons)} (this run has no consent agent_restart)")
            action = "left"
        elif action != "none" and not foreign and blocked:
            action = "left"
        charts.append(
            {
                "name": name,
                "namespace": values.namespace_of(name, intent.istio_ambient),
                "ref": sources[name]["ref"],
                "repo": sources[name]["repo"],
                "version": _chart_version(case, name),
                "values": rendered[name],
                "action": action,
                "reasons": reasons,
            }
        )
    if any(entry["action"] == "left" for entry in charts):
        # Parts of two versions or two configurations are nobody's intent.
        for entry in charts:
            if entry["action"] in ("upgrade", "recover", "install"):
                entry["action"] = "left"
    return charts, left


def _decide(
    case: rules_mesh.Case, chart: str, release: t.Mapping[str, t.Any] | None, wanted: t.Mapping[str, t.Any]
) -> tuple[str, list[str]]:
    if release is None:
        return "install", [f"{chart} is not installed"]
    status = str(release.get("status"))
    reasons = [] if status == "deployed" else [f"the release is {status}"]
    version = _chart_version(case, chart)
    if version is not None and releases.parse(str(release.get("chart_version"))) != releases.parse(version):
        reasons.append(f"chart {release.get('chart_version')} -> {version}")
    if canonical(release.get("values") or {}) != canonical(wanted):
        reasons.append("the release's values differ from the plan's")
    gone = chart in ("istiod", "cni", "ztunnel") and case.mesh.get(chart) is None
    if gone:
        reasons.append("its workload is missing")
    if chart == "base" and status == "deployed" and not case.mesh.get("crds"):
        reasons.append("its CRDs are missing")
        gone = True
    if not reasons:
        return "none", []
    # The Helm module compares chart and values only: what differs beside them needs the record put aside first.
    return "recover" if status != "deployed" or gone else "upgrade", reasons


def _gateway_api(case: rules_mesh.Case, part: Json) -> None:
    path = case.intent.istio_ambient.gateway_api_crds
    found = case.mesh.get("gateway_api")
    given = ((case.files or {}).get("gateway_api") or {}).get("version")
    newer = bool(found and given) and releases.parse(str(given)) > releases.parse(
        str((found or {}).get("version") or "")
    )
    if path and (found is None or newer) and not _stopped(part):
        part["gateway_api"] = {"action": "apply", "path": path}


def _namespaces(case: rules_mesh.Case, part: Json, left: list[str]) -> None:
    """Which namespaces get which labels, waypoints, and the way for probes. Enrolment is left where it is unset."""
    wanted = case.intent.istio_ambient.namespaces
    if _stopped(part) and not case.foreign:
        return
    spaces = case.spaces
    using = objects.waypoints(case.intent.istio_ambient, case.l7)
    for name in wanted or ():
        labels = objects.namespace_labels(using.get(name))
        space = spaces.get(name) or {"labels": {}, "applied": []}
        missing = {label: value for label, value in labels.items() if space["labels"].get(label) != value}
        if missing or set(space["applied"]) - set(labels):
            part["namespaces"].append({"name": name, "labels": labels})
    if wanted is not None:
        for name, space in sorted(spaces.items()):
            if name in wanted or not space["applied"] or space["deleting"]:
                continue
            if case.intent.allows("prune"):
                part["namespaces"].append({"name": name, "labels": {}})
            else:
                left.append(f"namespace {name} stays in the mesh: taking it out needs the consent prune")
    there = {(entry["namespace"], entry["name"]) for entry in case.mesh.get("waypoints") or []}
    own = [name for name in case.l7 if using.get(name) == objects.WAYPOINT and name in case.enrolled]
    own = [name for name in own if name not in case.intent.istio_ambient.waypoints]
    part["waypoints"] = [objects.waypoint(name) for name in own if (name, objects.WAYPOINT) not in there]
    if case.intent.cni == "cilium" and rules_mesh.isolates(case):
        ipv6 = any(":" in cidr for cidr in case.intent.pod_cidrs or ())
        part["probe_policy"] = objects.probe_policy(ipv6)


def _overall(part: Json, left: t.Sequence[str]) -> tuple[str, list[str]]:
    """The action that stands for the part: the heaviest of what is done, else left, else none."""
    done = {chart["action"] for chart in part["charts"]}
    reasons = [reason for chart in part["charts"] if chart["action"] != "none" for reason in chart["reasons"]]
    if part["gateway_api"]["action"] == "apply":
        reasons.append("the Gateway API is to be applied")
    if part["cacerts"]["action"] == "create":
        reasons.append("the Secret cacerts is to be made")
    if part["namespaces"]:
        reasons.append(f"{len(part['namespaces'])} namespaces are to be labelled")
    if part["waypoints"]:
        reasons.append(f"{len(part['waypoints'])} waypoints are to be made")
    for action in ("recover", "install", "upgrade"):
        if action in done:
            return action, reasons
    others = part["namespaces"] or part["waypoints"] or part["gateway_api"]["action"] == "apply"
    if others or part["cacerts"]["action"] == "create":
        return "upgrade", reasons
    return ("left", reasons or list(left)) if "left" in done or left else ("none", [])


def _stopped(part: Json) -> bool:
    return any(chart["action"] == "left" for chart in part["charts"])


def _cilium_unfit(case: rules_mesh.Case) -> str:
    """Why nothing may be installed yet: our Cilium below runs, does not fit, and this run does not change it."""
    config = existing.part(case.cluster).get("config")
    if case.intent.cni != "cilium" or case.cilium_changes or not config:
        return ""
    keys = [found.key for found in cilium_below.violations(config)]
    if not keys:
        return ""
    return f"the Cilium below does not fit yet ({', '.join(keys)}), and this run does not change it"


def _chart_version(case: rules_mesh.Case, chart: str) -> str | None:
    """Version of the chart: what its folder says; of a repository the version that was asked for."""
    if not case.intent.istio_ambient.chart_dir:
        return case.intent.istio_ambient.version
    version = (((case.files or {}).get("charts") or {}).get(chart) or {}).get("version")
    return None if version is None else str(version)
