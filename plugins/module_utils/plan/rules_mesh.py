# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused of Istio Ambient, or said of it, before anything is planned."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.istio import ISTIO_CHARTS
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.model import Intent
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

    @property
    def found(self) -> dict[str, t.Mapping[str, t.Any]]:
        return {chart: release for chart, release in (self.mesh.get("releases") or {}).items() if release}

    @property
    def runs(self) -> bool:
        """Whether ztunnel or istio-cni is ready somewhere: then pods' connections pass the mesh."""
        return any((self.mesh.get(part) or {}).get("ready") for part in ("ztunnel", "cni"))

    @property
    def spaces(self) -> dict[str, Json]:
        return {str(space["name"]): space for space in self.mesh.get("namespaces") or []}

    @property
    def enrolled(self) -> set[str]:
        """Namespaces that are in the mesh after this run."""
        wanted = self.intent.istio_ambient.namespaces
        if wanted is not None:
            return set(wanted)
        return {name for name, space in self.spaces.items() if space["labels"].get(objects.DATAPLANE) == "ambient"}

    @property
    def foreign(self) -> list[str]:
        """What of Istio is here and not ours, in words; empty with consent adopt where it is Helm's."""
        found = []
        for chart, release in self.found.items():
            if not values.is_ours(release) and not self.intent.allows("adopt"):
                found.append(f"release {release.get('namespace')}/{chart}")
        releases_of = self.mesh.get("releases") or {}
        for chart in ("istiod", "cni", "ztunnel"):
            workload = self.mesh.get(chart)
            manager = (workload or {}).get("managed_by") or {}
            by_helm = manager.get("tool") == "helm" and manager.get("release") == chart and releases_of.get(chart)
            if workload and not by_helm:
                found.append(f"{chart} by {manager.get('tool') or 'unknown'} {manager.get('release') or ''}".strip())
        return found

    @property
    def release(self) -> releases.Release:
        found = releases.find(self.intent.istio_ambient.version)
        if found is None:
            raise ValueError("rules are asked for known versions only")
        return found


def version(case: Case) -> t.Iterator[Finding]:
    version = case.intent.istio_ambient.version
    if releases.find(version) is None:
        known = [releases.dotted(release.minor) for release in releases.RELEASES]
        yield _variable("ZT630", "istio_ambient_version", f"istio_ambient_version is {version}", version, known)


def _kubernetes(case: Case) -> t.Iterator[Finding]:
    release = case.release
    running = str(case.cluster.get("server_version") or "")
    if releases.parse(running) != (0, 0, 0) and releases.minor(running) < release.kubernetes:
        wanted = f"{releases.dotted(release.kubernetes)} or newer"
        message = (
            f"istio_ambient_version is {case.intent.istio_ambient.version}, which supports Kubernetes {wanted}; "
            f"the API server is {running}"
        )
        yield _variable("ZT631", "istio_ambient_version", message, running, wanted)


def _gateway_api_there(case: Case) -> t.Iterator[Finding]:
    release = case.release
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
    why = isolates(case)
    if why:
        message = (
            f"{why}: probes to enrolled pods come from {objects.PROBE_SOURCES[0]}, and mesh traffic to TCP port 15008"
        )
        subject = Subject("object", "Cilium policies")
        yield Finding("ZT644", subject, message, observed=why, source="cluster_info")


def isolates(case: Case) -> str:
    """Why probes may be dropped, in words; "" where no policy of the CNI can isolate an enrolled pod."""
    if str((existing.part(case.cluster).get("config") or {}).get("enable-policy")) == "always":
        return "Cilium isolates every pod (enable-policy: always)"
    wide = {*case.enrolled, ""}
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
    if wanted and running and wanted != running and case.runs:
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
    for chart, release in case.found.items():
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
    foreign = case.foreign
    if foreign:
        message = f"Istio is here and was not installed by this collection ({foreign[0]}); it is observed only"
        yield Finding(
            "ZT635", Subject("object", "Istio Ambient"), message, observed=list(foreign), source="cluster_info"
        )


def _namespace_state(case: Case) -> t.Iterator[Finding]:
    """Namespaces that cannot be enrolled: not there, with sidecars, or labelled otherwise by another hand."""
    spaces = case.spaces
    if not spaces:
        return  # the list could not be read, which has its own finding
    using = objects.waypoints(case.intent.istio_ambient, case.l7)
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
    for name in sorted(set(case.l7) - case.enrolled):
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


def _variable(code: str, name: str, message: str, observed: t.Any, expected: t.Any, severity: str = "") -> Finding:
    subject = Subject("variable", name)
    return Finding(code, subject, message, observed=observed, expected=expected, severity=severity, source="variables")


def _object(code: str, name: str, message: str, observed: t.Any, expected: t.Any) -> Finding:
    subject = Subject("object", name)
    return Finding(code, subject, message, observed=observed, expected=expected, source="cluster_info")


def _files(variable: str, value: t.Any, error: t.Any) -> Finding:
    message = f"{variable} {value} cannot be used: {error}"
    return _variable("ZT634", variable, message, value, "files that can be used")
