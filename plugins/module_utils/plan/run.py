# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a run: pure Python over intent, hosts and cluster; the same input gives the same plan, byte for byte."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import hashlib
import ipaddress
import re
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import (
    Finding,
    Subject,
    canonical,
    ordered,
)
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.accept import apply_acceptance
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.model import Intent
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import (
    chartkeys,
    cilium,
    cluster_checks,
    existing,
    identity,
    kernel,
    matching,
    mesh,
    mtu,
    nic,
    rules_cilium,
    rules_mesh,
)
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan.effective import effective
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan.hosts import (
    HostState,
    addresses,
    node_interfaces,
    normal,
)

MODES = ("preflight", "site", "verify")
Json = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Inputs:
    """All that a plan is made from.

    hosts: every host of the pattern, also those that --limit left out (in_run False). chart and helm: as cluster_info
    returns them, None where not asked for. policies: rendered objects. findings: what intent and policies gave.
    mesh_files: as cluster_info returns it; l7: namespaces whose policies have HTTP rules (both for Istio's engine).
    started, now: epoch seconds of the controller, when the run began and now.
    """

    intent: Intent
    mode: str
    limited: bool
    hosts: t.Sequence[HostState]
    cluster: t.Mapping[str, t.Any]
    chart: t.Mapping[str, t.Any] | None
    helm: t.Mapping[str, t.Any] | None
    policies: t.Sequence[t.Mapping[str, t.Any]]
    findings: t.Sequence[Finding]
    started: float
    now: float
    versions: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    identity: t.Mapping[str, t.Any] = dataclasses.field(default_factory=lambda: identity.NONE)
    mesh_files: t.Mapping[str, t.Any] | None = None
    l7: t.Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Plan:
    """The plan: its document (plan.json), findings, and what stops the run. text, sha256: see fingerprint()."""

    document: Json
    findings: list[Finding]

    @property
    def blockers(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.blocks]

    @property
    def sha256(self) -> str:
        return fingerprint(self.document)

    def actions(self) -> Json:
        """What the run does: {"cilium", "istio", "policy", "identity": action, "nic": {host: [changes]}}."""
        document = self.document
        return {
            "cilium": document["cilium"]["action"],
            "istio": document["istio"]["action"],
            "policy": document["policy"]["action"],
            "identity": document["identity"]["action"],
            "nic": document["nic"],
        }


def policy_label(intent: Intent, cluster: t.Mapping[str, t.Any]) -> str:
    """What the policies of this cluster carry as their cluster label: its name, else its UID."""
    return intent.cluster_name or str(cluster.get("uid") or "")


def fingerprint(document: t.Mapping[str, t.Any]) -> str:
    """SHA-256 of the canonical JSON of a plan without its findings, whose text may improve while the plan stays."""
    return hashlib.sha256(canonical({k: v for k, v in document.items() if k != "findings"}).encode()).hexdigest()


def build_plan(inputs: Inputs) -> Plan:
    """The plan of a run. Nothing is planned while a blocker is open: then all actions are none."""
    cluster = inputs.cluster
    bare = not any(host.intent.interfaces for host in inputs.hosts)
    intent = effective(inputs.intent, cluster, inputs.mode, bare=bare)
    nodes = {str(node["name"]): node for node in cluster.get("nodes") or []}
    matched, match_findings = matching.match(inputs.hosts, list(nodes.values()), cluster_checks.label(cluster))
    node_of = {host.name: nodes.get(matched.node_of(host.name) or "") for host in inputs.hosts}

    findings = list(inputs.findings)
    findings += cluster_checks.check_identity(intent, cluster)
    findings += cluster_checks.check_access(cluster, inputs.mode)
    if any(found.code == "ZT907" for found in findings):
        # Another cluster's Nodes are no host's Nodes: that follows, and helps nobody to read.
        match_findings = []
    findings += match_findings
    # Of another cluster nothing is worth saying but that it is another.
    right = not any(found.code in ("ZT907", "ZT908") and found.subject.kind != "host" for found in findings)
    findings += _observation(inputs)
    findings += identity.check_server(inputs.identity, inputs.hosts) if inputs.mode == "site" else []
    devices, direct = node_network(inputs.hosts, node_of)
    networks = node_networks(inputs.hosts, node_of)
    budget, budget_findings = _budget(inputs, intent, cluster, node_of)
    findings += budget_findings
    cilium_part: Json = {
        "action": "none",
        "reasons": [],
        "left": False,
        "chart_ref": intent.cilium.chart_ref,
        "chart_repo": intent.cilium.chart_repo,
        "version": intent.cilium.version,
        "release": intent.cilium.release,
        "namespace": intent.cilium.namespace,
        "values": {},
    }
    changes: dict[str, list[Json]] = {}
    policy_action = identity_action = "none"
    istio_part = mesh.nothing(intent)
    istio_plan: Json | None = None
    if inputs.mode != "verify":
        findings += _hosts(inputs, intent, node_of, devices)
        findings += cluster_checks.check_ranges(intent, cluster) if right else []
        nic_changes, nic_findings = _nic(inputs, intent, node_of)
        findings += nic_findings
        if intent.cni == "cilium" and right:
            values = cilium.render(
                intent,
                devices=devices,
                direct_device=direct,
                multus=existing.multus(cluster),
                node_count=len(nodes),
                networks=networks,
            )
            cilium_part["values"] = values
            findings += cluster_checks.check_networks(intent, networks)
            findings += cluster_checks.check_families(intent, cluster)
            findings += cluster_checks.check_tools(intent, inputs.helm, inputs.chart)
            findings += _chart_keys(inputs, intent)
            case = rules_cilium.Case(intent, values, inputs.hosts, existing.multus(cluster))
            findings += rules_cilium.check(case)
            findings += _existing(inputs, intent, values)
        if inputs.mode == "site":
            action, action_findings = _action(inputs, intent, cilium_part["values"])
            policy_action, policy_findings = _policy_action(inputs, intent)
            findings += action_findings + policy_findings
            if right:
                istio_plan, mesh_findings = _mesh(inputs, intent, action.name != "none")
                findings += mesh_findings
            findings = _finish(findings, inputs)
            if not any(finding.blocks for finding in findings):
                changes = nic_changes
                identity_action = inputs.identity["action"]
                cilium_part.update(action=action.name, reasons=list(action.reasons), left=action.left)
                istio_part = istio_plan or istio_part
            else:
                policy_action = "none"
        elif right:
            findings += _mesh(inputs, intent, False)[1]
    if inputs.mode != "site":
        findings = _finish(findings, inputs)
    document: Json = {
        "schema": 1,
        "mode": inputs.mode,
        "limited": inputs.limited,
        "cluster": {"name": intent.cluster_name, "uid": cluster.get("uid")},
        "versions": dict(inputs.versions),
        "intent": intent.to_dict(),
        # What the inventory left open and the cluster or a default answered: a verdict must not call that intended.
        "unset": sorted(name for name, value in inputs.intent.to_dict().items() if value is None),
        "hosts": matched.hosts,
        "unmatched_nodes": matched.unmatched,
        "mtu": budget,
        "nic": changes,
        "cilium": cilium_part,
        "istio": istio_part,
        "policy": {
            "action": policy_action,
            # Without consent the stage in force is observe, whatever the variable says.
            "stage": "enforce" if policy_action == "apply" else "observe",
            "set": intent.mtls_policy.set_name,
            "cluster": policy_label(intent, cluster),
            "allow_prune": intent.allows("prune"),
        },
        "identity": {
            **inputs.identity,
            "action": identity_action,
            "run": identity.taking_part(inputs.identity, inputs.hosts),
        },
        "policies": [dict(policy) for policy in inputs.policies],
        "findings": [finding.to_dict() for finding in findings],
    }
    return Plan(document, findings)


def refused(intent: Intent, mode: str, findings: t.Sequence[Finding], now: float) -> Plan:
    """The plan of a run that ends before anything was read: findings and nothing else."""
    uid = intent.cluster_uid or ""
    finished = _accepted(findings, intent, now, uid)
    document: Json = {
        "schema": 1,
        "mode": mode,
        "limited": False,
        "cluster": {"name": intent.cluster_name, "uid": intent.cluster_uid},
        "versions": {},
        "intent": intent.to_dict(),
        "hosts": {},
        "unmatched_nodes": [],
        "mtu": {},
        "nic": {},
        "cilium": {"action": "none", "values": {}},
        "istio": mesh.nothing(intent),
        "policy": {"action": "none"},
        "identity": dict(identity.NONE),
        "policies": [],
        "findings": [finding.to_dict() for finding in finished],
    }
    return Plan(document, finished)


def node_network(
    hosts: t.Sequence[HostState], node_of: t.Mapping[str, t.Mapping[str, t.Any] | None]
) -> tuple[list[str], str | None]:
    """(devices, direct routing device): one name list for all nodes, and the name that holds most InternalIPs.

    Hosts may differ in names: the list is the union, an agent takes of it what its node has, and nic.check_interfaces
    refuses a name that is an RDMA rail elsewhere.
    """
    devices: dict[str, None] = {}
    holders: collections.Counter[str] = collections.Counter()
    for host in hosts:
        names = node_interfaces(host, node_of[host.name])
        devices.update(dict.fromkeys(names))
        if not names:
            continue
        owned = addresses(host.node or {})
        internal = [normal(ip) for ip in (node_of[host.name] or {}).get("internal_ips") or []]
        holder = next((owned[ip] for ip in internal if owned.get(ip) in names), names[0])
        holders[holder] += 1
    direct = min(holders, key=lambda name: (-holders[name], name)) if holders else None
    return sorted(devices), direct


def node_networks(hosts: t.Sequence[HostState], node_of: t.Mapping[str, t.Mapping[str, t.Any] | None]) -> list[str]:
    """The networks of the first InternalIPs, by the prefix that each host's own interface has."""
    found = set()
    for host in hosts:
        internal = [normal(ip) for ip in (node_of[host.name] or {}).get("internal_ips") or []][:1]
        for interface in (host.node or {}).get("interfaces") or []:
            for text in interface.get("addresses") or []:
                if str(ipaddress.ip_interface(text).ip) in internal:
                    found.add(str(ipaddress.ip_interface(text).network))
    return sorted(found)


def diff(plan: Plan, cluster: t.Mapping[str, t.Any]) -> Json:
    """{"before", "after"} as YAML text of what would change: Cilium's version and values, MTUs. Equal when nothing."""
    import yaml  # only here: module_utils must be importable without it

    part = plan.document["cilium"]
    before: Json = {}
    after: Json = {}
    if part["action"] != "none" or part.get("left"):
        release = cluster.get("release") or {}
        before["cilium"] = {"version": release.get("chart_version"), "values": release.get("values") or {}}
        after["cilium"] = {"version": part["version"], "values": part["values"]}
    istio_before, istio_after = mesh.diff(plan.document["istio"], cluster)
    if istio_after:
        before["istio"], after["istio"] = istio_before, istio_after
    for host, changes in sorted(plan.document["nic"].items()):
        before.setdefault("mtu", {})[host] = {change["interface"]: change["mtu_from"] for change in changes}
        after.setdefault("mtu", {})[host] = {change["interface"]: change["mtu_to"] for change in changes}
    return {
        "before_header": "cluster now",
        "after_header": "cluster after this plan",
        "before": yaml.safe_dump(before, sort_keys=True) if before else "",
        "after": yaml.safe_dump(after, sort_keys=True) if after else "",
    }


def summary(plan: Plan) -> list[str]:
    """The plan in a few lines: scope, MTU, actions, and each finding that needs a reader, worst first."""
    document = plan.document
    hosts = document["hosts"]
    excluded = [name for name, entry in hosts.items() if entry["excluded"]]
    lines = [f"{len(hosts)} hosts, {len(excluded)} in maintenance; cluster UID {document['cluster']['uid']}"]
    if document["limited"]:
        lines.append("limited run: nothing of the cluster is planned or changed")
    lines += document["mtu"].get("explanation") or []
    part = document["cilium"]
    why = f" ({'; '.join(part['reasons'])})" if part.get("reasons") else ""
    lines.append(f"Cilium: {part['action']}{why}")
    if document["intent"]["engine"] == "istio_ambient":
        part = document["istio"]
        why = f" ({'; '.join(part['reasons'])})" if part["reasons"] else ""
        lines.append(f"Istio Ambient: {part['action']}{why}")
    lines.append(f"policies: {document['policy']['action']}, {len(document['policies'])} objects")
    kept = document["identity"]
    if kept["action"] != "none":
        hosts_text = f"{len(kept['hosts'])} hosts, server {', '.join(kept['servers'])}, {kept['entries']} entries"
        lines.append(f"identity: SPIRE on {hosts_text}")
    lines.append(f"NIC changes: {len(document['nic'])} hosts")
    accepted = [finding for finding in plan.findings if finding.state == "accepted"]
    if accepted:
        lines.append(f"accepted: {len(accepted)} findings ({', '.join(sorted({found.code for found in accepted}))})")
    lines += [finding.line() for finding in plan.findings if finding.state != "accepted"]
    return lines


def _finish(findings: t.Sequence[Finding], inputs: Inputs) -> list[Finding]:
    return _accepted(findings, inputs.intent, inputs.now, str(inputs.cluster.get("uid") or ""))


def _accepted(findings: t.Sequence[Finding], intent: Intent, now: float, uid: str) -> list[Finding]:
    today = datetime.datetime.fromtimestamp(now, tz=datetime.timezone.utc).date()
    named = [dataclasses.replace(finding, cluster=uid) for finding in findings]
    old_to_new = {old.id: new.id for old, new in zip(findings, named)}
    for finding in named:
        if finding.caused_by:
            finding.caused_by = old_to_new.get(finding.caused_by, finding.caused_by)
    result = apply_acceptance(named, intent.accept, today)
    return ordered(dataclasses.replace(finding, cluster=uid) for finding in result)


def _observation(inputs: Inputs) -> list[Finding]:
    """ZT912 for unreachable hosts (a blocker beyond what may be), ZT109 and ZT112 where node_info failed."""
    findings = []
    lost = [host for host in inputs.hosts if host.in_run and not host.excluded and host.unreachable]
    allowed = inputs.intent.max_unreachable
    limit = (len(lost) if inputs.mode == "verify" else 0) if allowed is None else allowed
    severity = "" if len(lost) > limit else "warn"
    for host in lost:
        message = f"{host.name} could not be reached: {host.error}"
        subject = Subject("host", host.name)
        findings.append(Finding("ZT912", subject, message, severity=severity, source="node_info"))
    for host in inputs.hosts:
        if not host.in_run or host.excluded or host.unreachable or host.node is not None:
            continue
        error = host.error or "no result"
        old = re.search(r"(?i)python\D{0,40}3\.\d|SyntaxError|future feature annotations", error)
        code = "ZT109" if old else "ZT112"
        severity = "warn" if inputs.mode == "verify" else ""
        message = f"{host.name}: {error}"
        findings.append(Finding(code, Subject("host", host.name), message, severity=severity, source="node_info"))
    return findings


def _observed(inputs: Inputs) -> list[HostState]:
    return [host for host in inputs.hosts if host.node is not None and not host.excluded]


def _hosts(
    inputs: Inputs,
    intent: Intent,
    node_of: t.Mapping[str, t.Mapping[str, t.Any] | None],
    devices: t.Sequence[str],
) -> list[Finding]:
    findings: list[Finding] = []
    for host in _observed(inputs):
        node = host.node or {}
        findings += kernel.check_host(host.name, node, intent)
        asked = (node.get("clock") or {}).get("controller_epoch")
        findings += kernel.check_clock(host.name, node, float(asked or inputs.started), inputs.now)
        findings += nic.check_interfaces(host, node_of[host.name], devices)
        if inputs.mode == "site" and intent.cni == "cilium" and not host.intent.interfaces:
            proposed = node_interfaces(host, node_of[host.name])
            hint = f"its InternalIP is on {', '.join(proposed)}" if proposed else "no interface holds its InternalIP"
            findings.append(
                Finding(
                    "ZT901",
                    Subject("variable", f"zerotrust_node_network_interfaces of {host.name}"),
                    f"zerotrust_node_network_interfaces is unset for {host.name}; {hint}",
                    expected=proposed,
                    remedy="Name the node network's interfaces for every host; Cilium never detects them by itself.",
                    source="variables",
                )
            )
    return findings


def _budget(
    inputs: Inputs,
    intent: Intent,
    cluster: t.Mapping[str, t.Any],
    node_of: t.Mapping[str, t.Mapping[str, t.Any] | None],
) -> tuple[Json, list[Finding]]:
    hosts = _observed(inputs)
    sizes = [size for host in hosts for size in nic.mtus(host, intent, node_of[host.name])]
    link = min(sizes) if sizes else intent.node_network_mtu
    result, findings = mtu.budget(
        link,
        version=intent.cilium.version,
        encryption=intent.transport_encryption,
        routing=intent.routing,
        ipv6_underlay=_ipv6_underlay(cluster),
    )
    return result, findings + nic.differing(hosts, intent, node_of)


def _ipv6_underlay(cluster: t.Mapping[str, t.Any]) -> bool:
    """Whether tunnels run over IPv6: the first InternalIP of a Node is its primary one (1.20 follows that)."""
    first = [node["internal_ips"][0] for node in cluster.get("nodes") or [] if node.get("internal_ips")]
    return any(ipaddress.ip_address(ip).version == 6 for ip in first)


def _nic(
    inputs: Inputs, intent: Intent, node_of: t.Mapping[str, t.Mapping[str, t.Any] | None]
) -> tuple[dict[str, list[Json]], list[Finding]]:
    changes: dict[str, list[Json]] = {}
    findings: list[Finding] = []
    for host in _observed(inputs):
        if not host.in_run:
            continue
        planned, found = nic.plan_host(host, intent, node_of[host.name])
        findings += found
        if planned:
            changes[host.name] = planned
    return changes, findings


def _chart_keys(inputs: Inputs, intent: Intent) -> list[Finding]:
    chart = inputs.chart or {}
    if chart.get("error"):
        return []  # ZT917 says so already
    keys = None
    if chart.get("values_yaml"):
        try:
            keys = chartkeys.ChartKeys(chart["values_yaml"])
        except ValueError:
            keys = None
    return chartkeys.check(intent.cilium.values, keys, intent.cilium.version)


def _existing(inputs: Inputs, intent: Intent, values: t.Mapping[str, t.Any]) -> list[Finding]:
    found = existing.check(intent, inputs.cluster, values, inputs.now)
    if inputs.mode == "site":
        return found
    # A preflight changes nothing, so another run that works at the same time does not concern it.
    return [finding for finding in found if finding.code not in ("ZT618", "ZT623")]


def _action(inputs: Inputs, intent: Intent, values: t.Mapping[str, t.Any]) -> tuple[existing.Action, list[Finding]]:
    if intent.cni != "cilium" or inputs.limited:
        # Values of a limited run would be computed from a part of the hosts.
        return existing.Action("none"), []
    action = existing.decide(intent, inputs.cluster, values)
    if not action.left:
        return action, []
    message = f"Cilium was left as it is: {'; '.join(action.reasons)}"
    subject = Subject("object", f"release {intent.cilium.namespace}/{intent.cilium.release}")
    return action, [Finding("ZT625", subject, message, observed=list(action.reasons), source="plan")]


def _mesh(inputs: Inputs, intent: Intent, cilium_changes: bool) -> tuple[Json | None, list[Finding]]:
    if intent.engine != "istio_ambient":
        return None, []
    case = rules_mesh.Case(
        intent=intent,
        cluster=inputs.cluster,
        files=inputs.mesh_files,
        l7=inputs.l7,
        mode=inputs.mode,
        limited=inputs.limited,
        cilium_changes=cilium_changes,
        now=inputs.now,
    )
    return mesh.plan_mesh(case)


def _policy_action(inputs: Inputs, intent: Intent) -> tuple[str, list[Finding]]:
    if inputs.limited:
        return "none", []
    prune_all = not inputs.policies and intent.allows("prune") and intent.mtls_policy.stage == "enforce"
    if not inputs.policies and not prune_all:
        return "none", []
    if intent.mtls_policy.stage == "enforce" and intent.allows("enforce"):
        return "apply", []
    why = "mtls_policy_stage is observe" if intent.mtls_policy.stage == "observe" else "this run has no consent enforce"
    subject = Subject("object", f"policy set {intent.mtls_policy.set_name}")
    message = f"{len(inputs.policies)} policies were rendered and are tried only: {why}"
    return "dry_run", [Finding("ZT703", subject, message, observed=len(inputs.policies), source="plan")]
