# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Istio Ambient part of the plan: what is refused, and what is to be done with each chart and namespace."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject, canonical
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.model import ISTIO_CHARTS, Intent
from ansible_collections.aicluster.zerotrust.plugins.module_utils.mesh import cilium_below, objects, releases, values
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import chartkeys, existing

Json = dict[str, t.Any]
Cluster = t.Mapping[str, t.Any]

_IN_PROGRESS = ("pending-install", "pending-upgrade", "pending-rollback")
_VALUES_ROOT = "_internal_defaults_do_not_set"


@dataclasses.dataclass(frozen=True)
class Case:
    """What is judged. files: cluster_info's mesh_files, None where not asked for. l7: namespaces whose policies have
    HTTP rules. cilium_changes: this run installs or changes our Cilium below. now: epoch seconds of the controller."""

    intent: Intent
    cluster: Cluster
    files: t.Mapping[str, t.Any] | None
    l7: t.Sequence[str]
    mode: str
    limited: bool
    cilium_changes: bool
    now: float

    @property
    def mesh(self) -> t.Mapping[str, t.Any]:
        return self.cluster.get("mesh") or {}

    @property
    def over_cilium(self) -> bool:
        return self.intent.cni == "cilium" or existing.has_cilium(self.cluster)


def chart_sources(intent: Intent) -> dict[str, dict[str, str | None]]:
    """Chart -> where it is: a folder of istio_ambient_chart_dir, else its name and version in the repository."""
    istio = intent.istio_ambient
    if istio.chart_dir:
        return {name: {"ref": f"{istio.chart_dir}/{name}", "repo": None, "version": None} for name in ISTIO_CHARTS}
    return {name: {"ref": name, "repo": istio.chart_repo, "version": istio.version} for name in ISTIO_CHARTS}


def waypoints(intent: Intent, l7: t.Sequence[str]) -> dict[str, str]:
    """Namespace -> Gateway that enforces its L7 policies: the user's own, else one that the plan makes."""
    return {**dict.fromkeys(l7, objects.WAYPOINT), **intent.istio_ambient.waypoints}


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


def plan_mesh(case: Case) -> tuple[Json, list[Finding]]:
    """(the part "istio" of plan.json, findings) for an effective intent with engine istio_ambient.

    With a blocker among all findings of the run the caller drops the part. Actions are planned for site only, and
    never from a limited run.
    """
    part = nothing(case.intent)
    unsupported = list(_version(case))
    if unsupported:
        # What else would be said depends on the version.
        return part, unsupported
    findings = [found for rule in RULES for found in rule(case)]
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


# Refusals --------------------------------------------------------------------------------------------------------


def _version(case: Case) -> t.Iterator[Finding]:
    version = case.intent.istio_ambient.version
    if releases.find(version) is None:
        known = [releases.dotted(release.minor) for release in releases.RELEASES]
        yield _variable("ZT630", "istio_ambient_version", f"istio_ambient_version is {version}", version, known)


def _kubernetes(case: Case) -> t.Iterator[Finding]:
    release = _release(case)
    running = str(case.cluster.get("server_version") or "")
    if releases.parse(running) != (0, 0, 0) and releases.minor(running) < release.kubernetes:
        wanted = f"{releases.dotted(release.kubernetes)} or newer"
        message = (
            f"istio_ambient_version is {case.intent.istio_ambient.version}, which supports Kubernetes {wanted}; "
            f"the API server is {running}"
        )
        yield _variable("ZT631", "istio_ambient_version", message, running, wanted)


def _gateway_api_there(case: Case) -> t.Iterator[Finding]:
    release = _release(case)
    found = case.mesh.get("gateway_api")
    path = case.intent.istio_ambient.gateway_api_crds
    given = (case.files or {}).get("gateway_api") or {}
    wanted = f"v{releases.dotted(release.gateway_api)}"
    if path and given.get("error"):
        yield _files("istio_ambient_gateway_api_crds", path, given["error"])
    elif found is None and not path:
        message = "the cluster has no Gateway API, and istio_ambient_gateway_api_crds is unset"
        yield _variable("ZT632", "istio_ambient_gateway_api_crds", message, None, f"CRDs of {wanted} or newer")
    else:
        version = given.get("version") if path else (found or {}).get("version")
        if version and releases.minor(str(version)) < release.gateway_api:
            message = (
                f"the Gateway API is {version}; Istio {case.intent.istio_ambient.version} was built with {wanted} "
                "and passes over kinds that are older than it needs"
            )
            yield _object("ZT633", "Gateway API", message, version, wanted)
    if path and found and given.get("version"):
        have, give = str(found.get("version") or ""), str(given["version"])
        if releases.parse(have) > releases.parse(give):
            message = (
                f"the cluster's Gateway API is {have}, istio_ambient_gateway_api_crds holds {give}: that goes back"
            )
            yield _variable("ZT633", "istio_ambient_gateway_api_crds", message, give, have, severity="blocker")


def _charts_usable(case: Case) -> t.Iterator[Finding]:
    """Helm, chart folders, their versions, and images that a chart from the source tree needs."""
    istio, files = case.intent.istio_ambient, case.files or {}
    helm = files.get("helm") or {}
    if helm.get("error") or (helm and releases.parse(str(helm.get("version")))[0] != 3):
        what = helm.get("error") or f"it is Helm {helm.get('version')}, Helm 3 is needed"
        message = f"istio_ambient_helm_binary {istio.helm_binary} cannot be used: {what}"
        yield _variable("ZT916", "istio_ambient_helm_binary", message, istio.helm_binary, "Helm 3")
        return
    read = files.get("charts") or {}
    variable = "istio_ambient_chart_dir" if istio.chart_dir else "istio_ambient_chart_repo"
    where = istio.chart_dir or istio.chart_repo
    broken = [str(read[name]["error"]) for name in ISTIO_CHARTS if name in read and read[name].get("error")]
    if broken:
        yield _files(variable, where, broken[0])
        return
    versions = {name: str(read[name]["version"]) for name in ISTIO_CHARTS if name in read}
    source = [name for name, version in versions.items() if version == releases.SOURCE_VERSION]
    other = [name for name, version in versions.items() if name not in source and version != istio.version]
    if other:
        message = f"istio_ambient_version is {istio.version}, the chart {other[0]} in {where} is {versions[other[0]]}"
        remedy = f"Set istio_ambient_version to {versions[other[0]]}, or {variable} to charts of {istio.version}."
        subject = Subject("variable", "istio_ambient_version")
        yield Finding("ZT901", subject, message, observed=versions[other[0]], remedy=remedy, source="chart")
    elif source and not (istio.tag and istio.hub):
        unset = "istio_ambient_tag" if not istio.tag else "istio_ambient_hub"
        message = f"the charts in {where} are of Istio's source, whose images are no release's, and {unset} is unset"
        yield _variable("ZT634", unset, message, None, f"images of Istio {istio.version}")


def _registry(case: Case) -> t.Iterator[Finding]:
    if case.intent.registry and not case.intent.istio_ambient.hub:
        message = f"zerotrust_registry is {case.intent.registry}, and where Istio's images are below it is not known"
        example = f"{case.intent.registry}/istio"
        yield _variable("ZT639", "istio_ambient_hub", message, None, f"for example {example}")


def _values(case: Case) -> t.Iterator[Finding]:
    """Extra values: what the intent decides, and keys that a chart does not have."""
    read = (case.files or {}).get("charts") or {}
    for chart, given in case.intent.istio_ambient.values.items():
        taken = values.owned(given)
        for key, variable in taken:
            message = f"istio_ambient_values.{chart} sets {key}, which the intent decides"
            instead = f"set {variable}" if "_" in variable.split(" ")[0] else variable
            remedy = f"Remove {key} from istio_ambient_values.{chart}; {instead}."
            subject = Subject("variable", f"istio_ambient_values.{chart}.{key}")
            yield Finding("ZT638", subject, message, observed=key, expected=variable, remedy=remedy, source="variables")
        for key, nearest in _unknown(given, (read.get(chart) or {}).get("values_yaml")):
            if any(key == path or path.startswith(f"{key}.") for path, _ in taken):
                continue
            hint = f"the nearest key is {nearest}" if nearest else "no key is near to it"
            name = f"istio_ambient_values.{chart}.{key}"
            message = f"the chart {chart} of Istio {case.intent.istio_ambient.version} has no key {key}; {hint}"
            yield _variable("ZT607", name, message, key, nearest)


def _unknown(given: t.Mapping[str, t.Any], values_yaml: str | None) -> list[tuple[str, str | None]]:
    """Keys that the chart's values.yaml does not have. Istio's has them below one key of its own."""
    import yaml  # only here: module_utils must be importable without it

    if not given or not values_yaml:
        return []
    try:
        tree = yaml.safe_load(values_yaml) or {}
        inner = tree.get(_VALUES_ROOT) or tree
        known = chartkeys.ChartKeys(yaml.safe_dump(inner))
    except (ValueError, yaml.YAMLError, AttributeError):
        return []
    # Read by templates or profiles, but no key of values.yaml; mesh configuration is Istio's API, not the chart's.
    free = ("meshConfig.", "compatibilityVersion", "platform", "profile", "global.", "cni.", "pilot.")
    return [(key, nearest) for key, nearest in known.unknown(given) if not key.startswith(free)]


def _cacerts(case: Case) -> t.Iterator[Finding]:
    given, folder = (case.files or {}).get("cacerts") or {}, case.intent.istio_ambient.cacerts
    there = case.mesh.get("cacerts_fingerprint")
    if given.get("error"):
        yield _files("istio_ambient_cacerts", folder, given["error"])
    elif there and given.get("fingerprint") and there != given["fingerprint"]:
        message = f"istio_ambient_cacerts is {folder}, and the Secret cacerts was made of another CA"
        yield _variable("ZT649", "istio_ambient_cacerts", message, there, given["fingerprint"])


def _below(case: Case) -> t.Iterator[Finding]:
    """One finding for each key of the Cilium below that does not fit. What this run makes fit is none."""
    config = existing.part(case.cluster).get("config")
    if not config or case.intent.cni == "cilium":
        return
    for found in cilium_below.violations(config):
        message = f"{found.key} of the Cilium below is {found.found}: {found.why}"
        remedy = (
            f"Have Cilium's owner set the chart value {found.chart_value} (cilium-config {found.key}: {found.wanted})."
        )
        subject = Subject("object", f"cilium-config {found.key}")
        yield Finding(
            "ZT642", subject, message, observed=found.found, expected=found.wanted, remedy=remedy, source="cluster_info"
        )


def _probes(case: Case) -> t.Iterator[Finding]:
    """Policies of a Cilium that is not ours isolate pods, and the kubelet's probes have another source in the mesh."""
    if case.intent.cni == "cilium" or not case.over_cilium:
        return
    why = _isolates(case)
    if why:
        message = (
            f"{why}: probes to enrolled pods come from {objects.PROBE_SOURCES[0]}, and mesh traffic to TCP port 15008"
        )
        subject = Subject("object", "Cilium policies")
        yield Finding("ZT644", subject, message, observed=why, source="cluster_info")


def _isolates(case: Case) -> str:
    """Why probes may be dropped, in words; "" where no policy of the CNI can isolate an enrolled pod."""
    if str((existing.part(case.cluster).get("config") or {}).get("enable-policy")) == "always":
        return "Cilium isolates every pod (enable-policy: always)"
    wide = {*_enrolled(case), ""}
    for kind, counts in (case.mesh.get("cni_policies") or {}).items():
        where = sorted(wide & set(counts))
        if where:
            name = f"namespace {where[-1]}" if where[-1] else "the cluster"
            return f"{counts[where[-1]]} {kind} of {name} may isolate pods"
    return ""


def _double(case: Case) -> t.Iterator[Finding]:
    if case.intent.transport_encryption == "wireguard":
        message = (
            "TCP between enrolled pods on different nodes is encrypted twice, by ztunnel and by WireGuard, which takes "
            "CPU on both nodes and room in each packet; WireGuard alone covers UDP and pods out of the mesh"
        )
        yield Finding("ZT645", Subject("cluster", "encryption"), message, source="plan")


def _trust_domain(case: Case) -> t.Iterator[Finding]:
    wanted, running = case.intent.trust_domain, case.mesh.get("trust_domain")
    if wanted and running and wanted != running and _runs(case):
        message = f"zerotrust_trust_domain is {wanted}, the running mesh has {running}"
        yield _variable("ZT641", "zerotrust_trust_domain", message, wanted, running)


def _jump(case: Case) -> t.Iterator[Finding]:
    """Istiod moves up one minor release at a time, and never back, by the release's or the image's version."""
    release = (case.mesh.get("releases") or {}).get("istiod") or {}
    running = str(release.get("app_version") or "")
    if running in ("", releases.SOURCE_VERSION):
        running = str((case.mesh.get("istiod") or {}).get("image") or "").rpartition(":")[2]
    have, want = releases.minor(running), releases.minor(case.intent.istio_ambient.version)
    if have == (0, 0) or (have[0] == want[0] and have[1] <= want[1] <= have[1] + 1):
        return
    message = f"Istio {running} runs, istio_ambient_version is {case.intent.istio_ambient.version}"
    expected = f"{have[0]}.{have[1]} or {have[0]}.{have[1] + 1}"
    yield _variable("ZT640", "istio_ambient_version", message, running, expected)


def _pending(case: Case) -> t.Iterator[Finding]:
    timeout = case.intent.istio_ambient.timeout_seconds
    if case.mode != "site" or existing.lease_alive(case.cluster, case.now):
        return
    for chart, release in _found(case).items():
        status = release.get("status")
        name = f"release {release.get('namespace')}/{chart}"
        age = case.now - float(release.get("updated_epoch") or 0)
        if status in _IN_PROGRESS and age < timeout:
            message = f"{name} is {status} since {age:.0f} s; it is recovered after {timeout} s"
            yield _object("ZT637", name, message, status, "deployed")
        elif status == "uninstalling":
            message = f"{name} is {status}; finish that by hand (helm uninstall) first"
            yield _object("ZT637", name, message, status, "deployed")


def _lease(case: Case) -> t.Iterator[Finding]:
    # Over our own Cilium plan/existing.py says it.
    if case.mode == "site" and case.intent.cni != "cilium" and existing.lease_alive(case.cluster, case.now):
        holder = (case.cluster.get("lease") or {})["holder"]
        yield _object("ZT623", "Lease of the run", f"the run {holder} is changing this cluster", holder, None)


def _not_ours(case: Case) -> t.Iterator[Finding]:
    foreign = _foreign(case)
    if foreign:
        message = f"Istio is here and was not installed by this collection ({foreign[0]}); it is observed only"
        yield Finding(
            "ZT635", Subject("object", "Istio Ambient"), message, observed=list(foreign), source="cluster_info"
        )


def _namespace_state(case: Case) -> t.Iterator[Finding]:
    """Namespaces that cannot be enrolled: not there, with sidecars, or labelled otherwise by another hand."""
    spaces = _spaces(case)
    if not spaces:
        return  # the list could not be read, which has its own finding
    using = waypoints(case.intent, case.l7)
    for name in case.intent.istio_ambient.namespaces or ():
        space = spaces.get(name)
        labels = (space or {}).get("labels") or {}
        where = f"istio_ambient_namespaces: {name}"
        if space is None:
            message = f"istio_ambient_namespaces names {name}, and there is no such namespace"
            yield _variable("ZT646", where, message, name, "a namespace that exists")
            continue
        if labels.get("istio-injection") == "enabled" or labels.get("istio.io/rev"):
            message = f"namespace {name} gets sidecars (label istio-injection or istio.io/rev)"
            yield _variable("ZT647", where, message, labels, "no sidecar injection")
            continue
        for label, wanted in objects.namespace_labels(using.get(name)).items():
            if labels.get(label) not in (None, wanted) and label not in space["applied"]:
                message = f"namespace {name} has the label {label}={labels[label]}, the plan says {wanted}"
                yield _variable("ZT647", where, message, labels[label], wanted)


def _not_enrolled(case: Case) -> t.Iterator[Finding]:
    """L7 policies of a namespace outside of the mesh: no waypoint ever sees its connections."""
    for name in sorted(set(case.l7) - _enrolled(case)):
        message = f"policies of namespace {name} have HTTP rules, and the namespace is not in the mesh"
        subject = Subject("variable", f"istio_ambient_namespaces: {name}")
        yield Finding("ZT648", subject, message, observed=None, expected=name, source="plan")


RULES: tuple[t.Callable[[Case], t.Iterator[Finding]], ...] = (
    _kubernetes,
    _gateway_api_there,
    _charts_usable,
    _registry,
    _values,
    _cacerts,
    _below,
    _probes,
    _double,
    _trust_domain,
    _jump,
    _pending,
    _lease,
    _not_ours,
    _namespace_state,
    _not_enrolled,
)


# Decisions -------------------------------------------------------------------------------------------------------


def _charts(case: Case) -> tuple[list[Json], list[str]]:
    """The charts in install order, each with its action, and why something was left."""
    intent = case.intent
    foreign = _foreign(case)
    rendered = values.render(intent.istio_ambient, intent.trust_domain)
    sources, found = chart_sources(intent), _found(case)
    left: list[str] = []
    blocked = _cilium_unfit(case)
    if blocked:
        left.append(blocked)
    charts = []
    for name in ISTIO_CHARTS:
        action, reasons = ("left", []) if foreign else _decide(case, name, found.get(name), rendered[name])
        if action in ("upgrade", "recover") and _runs(case) and not intent.allows("agent_restart"):
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
    case: Case, chart: str, release: t.Mapping[str, t.Any] | None, wanted: t.Mapping[str, t.Any]
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


def _gateway_api(case: Case, part: Json) -> None:
    path = case.intent.istio_ambient.gateway_api_crds
    found = case.mesh.get("gateway_api")
    given = ((case.files or {}).get("gateway_api") or {}).get("version")
    newer = bool(found and given) and releases.parse(str(given)) > releases.parse(
        str((found or {}).get("version") or "")
    )
    if path and (found is None or newer) and not _stopped(part):
        part["gateway_api"] = {"action": "apply", "path": path}


def _namespaces(case: Case, part: Json, left: list[str]) -> None:
    """Which namespaces get which labels, waypoints, and the way for probes. Enrolment is left where it is unset."""
    wanted = case.intent.istio_ambient.namespaces
    if _stopped(part) and not _foreign(case):
        return
    spaces = _spaces(case)
    using = waypoints(case.intent, case.l7)
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
    own = [name for name in case.l7 if using.get(name) == objects.WAYPOINT and name in _enrolled(case)]
    own = [name for name in own if name not in case.intent.istio_ambient.waypoints]
    part["waypoints"] = [objects.waypoint(name) for name in own if (name, objects.WAYPOINT) not in there]
    if case.intent.cni == "cilium" and _isolates(case):
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


def _cilium_unfit(case: Case) -> str:
    """Why nothing may be installed yet: our Cilium below runs, does not fit, and this run does not change it."""
    config = existing.part(case.cluster).get("config")
    if case.intent.cni != "cilium" or case.cilium_changes or not config:
        return ""
    keys = [found.key for found in cilium_below.violations(config)]
    if not keys:
        return ""
    return f"the Cilium below does not fit yet ({', '.join(keys)}), and this run does not change it"


def _foreign(case: Case) -> list[str]:
    """What of Istio is here and not ours, in words; empty with consent adopt where it is Helm's."""
    found = []
    for chart, release in _found(case).items():
        if not values.is_ours(release) and not case.intent.allows("adopt"):
            found.append(f"release {release.get('namespace')}/{chart}")
    releases_of = case.mesh.get("releases") or {}
    for chart in ("istiod", "cni", "ztunnel"):
        workload = case.mesh.get(chart)
        manager = (workload or {}).get("managed_by") or {}
        by_helm = manager.get("tool") == "helm" and manager.get("release") == chart and releases_of.get(chart)
        if workload and not by_helm:
            found.append(f"{chart} by {manager.get('tool') or 'unknown'} {manager.get('release') or ''}".strip())
    return found


def _chart_version(case: Case, chart: str) -> str | None:
    """Version of the chart: what its folder says; of a repository the version that was asked for."""
    if not case.intent.istio_ambient.chart_dir:
        return case.intent.istio_ambient.version
    version = (((case.files or {}).get("charts") or {}).get(chart) or {}).get("version")
    return None if version is None else str(version)


def _found(case: Case) -> dict[str, t.Mapping[str, t.Any]]:
    return {chart: release for chart, release in (case.mesh.get("releases") or {}).items() if release}


def _runs(case: Case) -> bool:
    """Whether ztunnel or istio-cni is ready somewhere: then pods' connections pass the mesh."""
    return any((case.mesh.get(part) or {}).get("ready") for part in ("ztunnel", "cni"))


def _spaces(case: Case) -> dict[str, Json]:
    return {str(space["name"]): space for space in case.mesh.get("namespaces") or []}


def _enrolled(case: Case) -> set[str]:
    """Namespaces that are in the mesh after this run."""
    wanted = case.intent.istio_ambient.namespaces
    if wanted is not None:
        return set(wanted)
    return {name for name, space in _spaces(case).items() if space["labels"].get(objects.DATAPLANE) == "ambient"}


def _release(case: Case) -> releases.Release:
    found = releases.find(case.intent.istio_ambient.version)
    if found is None:
        raise ValueError("rules are asked for known versions only")
    return found


def _variable(code: str, name: str, message: str, observed: t.Any, expected: t.Any, severity: str = "") -> Finding:
    subject = Subject("variable", name)
    return Finding(code, subject, message, observed=observed, expected=expected, severity=severity, source="variables")


def _object(code: str, name: str, message: str, observed: t.Any, expected: t.Any) -> Finding:
    subject = Subject("object", name)
    return Finding(code, subject, message, observed=observed, expected=expected, source="cluster_info")


def _files(variable: str, value: t.Any, error: t.Any) -> Finding:
    message = f"{variable} {value} cannot be used: {error}"
    return _variable("ZT634", variable, message, value, "files that can be used")
