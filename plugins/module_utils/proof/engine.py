# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the engine that enforces policy is there, on every node and for every namespace that it should have.

All of it is the API's word about the engine: enough to find what is missing, never a proof that a packet was encrypted.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding
from ansible_collections.aicluster.zerotrust.plugins.module_utils.mesh import cilium_below
from ansible_collections.aicluster.zerotrust.plugins.module_utils.mesh.objects import DATAPLANE
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.ledger import Ledger
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.model import Data

Section = dict[str, t.Any]
SOURCE = "cluster_info"


@dataclasses.dataclass(frozen=True)
class Nodes:
    """How many Nodes there are, and of how many a missing agent says nothing new: down and excluded, down and dark."""

    total: int
    excused: int
    dark: int


def prove(
    intent: Data, plan: Data, cluster: Data, hosts: Data, matching: Data, missing: t.Collection[str] | None
) -> tuple[list[Finding], Section]:
    """Findings ZT660 to ZT669 and the report's section on the engine.

    cluster: result of cluster_info, with mesh where the engine is Istio. hosts, matching: as of wireguard.prove().
    missing: policies of the plan that the cluster lacks ("Kind namespace/name"); None where that is not known.
    """
    name = str(intent.get("cluster_name") or "")
    ledger = Ledger(name)
    subject = name or "cluster"
    nodes = _nodes(cluster, hosts, matching)
    section: Section = {
        "engine": intent.get("engine") or "cilium",
        "stated": "engine" not in (plan.get("unset") or ()),
        "state": "unknown",
        "why": "",
        "components": [],
        "trust_domain": None,
        "gateway_api": None,
        "namespaces": [],
        "waypoints": [],
    }
    config = (cluster.get("cilium") or {}).get("config")
    if section["engine"] != "istio_ambient":
        if not _cilium(cluster, section, plan, nodes, ledger):
            why = "No Cilium runs here, and the inventory neither names an engine nor has policies."
            return [], {**section, "engine": "none", "state": "none", "why": why}
        return _finish(ledger, section)
    mesh = cluster.get("mesh")
    if mesh is None:
        text = "The mesh was not read"
        ledger.add("ZT660", "cluster", subject, text, observed=_errors(cluster), state="unknown", source=SOURCE)
        return _finish(ledger, section)
    unread = {str(error["what"]): str(error["error"]) for error in mesh.get("read_errors") or []}
    unread.update({str(error["what"]): str(error["error"]) for error in cluster.get("read_errors") or []})
    _istio_parts(mesh, unread, section, nodes, ledger)
    gateway_api = mesh.get("gateway_api") or {}
    section.update(trust_domain=mesh.get("trust_domain"), gateway_api=gateway_api.get("version"))
    _below(config, cluster, unread, subject, ledger)
    _trust_domain(intent, mesh, unread, subject, ledger)
    _namespaces(intent, plan, mesh, unread, missing, section, subject, ledger)
    _waypoints(intent, plan, mesh, unread, section, ledger)
    if intent.get("workload_encryption") == "istio_ambient":
        text = "That TCP between enrolled workloads is encrypted is the mesh's own word: the wire was not looked at"
        ledger.add("ZT668", "cluster", subject, text, expected="traffic seen encrypted", state="unknown", source=SOURCE)
    return _finish(ledger, section)


def _finish(ledger: Ledger, section: Section) -> tuple[list[Finding], Section]:
    findings = ledger.settle()
    # ZT668 is about what the engine's state cannot show at all: it decides the verdict, not whether the engine stands.
    severe = [f for f in findings if f.severity in ("blocker", "fail") and f.code != "ZT668"]
    failed = [finding for finding in severe if finding.state == "open"]
    parts = section["components"]
    ready = bool(parts) and all(part["state"] == "ok" for part in parts)
    section["state"] = "failed" if failed else "ok" if ready and not severe else "unknown"
    said = "; ".join(finding.message for finding in (failed or severe)[:3])
    section["why"] = said or ("All parts are ready." if ready else "Nothing of the engine was seen.")
    return findings, section


def _errors(cluster: Data) -> str:
    errors = [f"{error['what']}: {error['error']}" for error in cluster.get("read_errors") or []]
    return "; ".join(errors) or "cluster_info gave none"


def _nodes(cluster: Data, hosts: Data, matching: Data) -> Nodes:
    host_of = {node: host for host, node in matching.items() if node}
    excused = dark = 0
    nodes = cluster.get("nodes") or []
    for node in nodes:
        if node.get("ready") is not False:
            continue
        seen = hosts.get(host_of.get(node["name"], "")) or {}
        excused += bool(seen.get("excluded"))
        dark += not seen.get("excluded") and not seen.get("node")
    return Nodes(len(nodes), excused, dark)


def version_of(image: str | None) -> str | None:
    """ "quay.io/cilium/cilium:v1.20.2@sha256:.." -> "1.20.2"; None where the image has no tag."""
    name = str(image or "").split("@")[0].rpartition("/")[2]
    tag = name.partition(":")[2]
    return (tag[1:] if tag[:1] == "v" and tag[1:2].isdigit() else tag) or None


def _component(
    title: str, kind: str, where: str, found: Data | None, unread: str | None, nodes: Nodes, ledger: Ledger
) -> Section:
    """The row of one workload; findings where it is absent, unread, or not ready where it should be."""
    place = f"{kind} {where}"
    row: Section = {
        "name": title,
        "object": place,
        "image": (found or {}).get("image"),
        "version": version_of((found or {}).get("image")),
        "ready": None,
        "desired": None,
        "state": "ok",
        "why": "",
    }
    if found is None and unread:
        text = f"{title} could not be observed: {unread}"
        ledger.add("ZT660", "object", place, text, observed=unread, state="unknown", source=SOURCE)
        return {**row, "state": "unknown", "why": unread}
    if found is None:
        text = f"{title} is not in the cluster"
        ledger.add("ZT661", "object", place, text, observed="nothing", expected=place, source=SOURCE)
        return {**row, "state": "failed", "why": text}
    if found.get("ready") is None or found.get("desired") is None:
        text = f"{title} does not say how many of it are ready"
        ledger.add("ZT660", "object", place, text, state="unknown", source=SOURCE)
        return {**row, "state": "unknown", "why": text}
    ready, desired = int(found["ready"]), int(found["desired"])
    row.update(ready=ready, desired=desired)
    on_nodes = kind == "DaemonSet"
    wanted = max(desired, nodes.total) if on_nodes else max(desired, 1)
    short = wanted - ready
    if short <= 0:
        return row
    unit = "nodes" if on_nodes else "replicas"
    text = f"{title} is ready on {ready} of {wanted} {unit}"
    if on_nodes and desired < nodes.total:
        text += f"; it is meant for {desired} only"
    if on_nodes and short <= nodes.excused:
        return {**row, "why": f"{short} not ready, on nodes in maintenance"}
    state = "unknown" if on_nodes and short <= nodes.excused + nodes.dark else "open"
    ledger.add("ZT662", "object", place, text, observed=ready, expected=wanted, state=state, source=SOURCE)
    return {**row, "state": "unknown" if state == "unknown" else "failed", "why": text}


def _cilium(cluster: Data, section: Section, plan: Data, nodes: Nodes, ledger: Ledger) -> bool:
    """Cilium's row. False where there is none and nothing asks for one."""
    part = cluster.get("cilium") or {}
    found = part.get("daemonset")
    unread = {str(error["what"]): str(error["error"]) for error in cluster.get("read_errors") or []}
    # k3s and RKE2 start no agent that we know by another name: without CRDs and DaemonSet there is no Cilium.
    if found is None and not unread.get("daemonsets") and not section["stated"] and not plan.get("policies"):
        return False
    where = f"{found['namespace']}/{found['name']}" if found else "kube-system/cilium"
    row = _component("Cilium agent", "DaemonSet", where, found, unread.get("daemonsets"), nodes, ledger)
    section["components"].append(row)
    if found is None or row["desired"] is None:
        return True
    updated = found.get("updated")
    late = found.get("current") is False or (updated is not None and updated < row["desired"])
    if late and row["state"] == "ok":
        row["state"] = "failed"
        row["why"] = f"{found.get('updated')} of {found.get('desired')} agents run the configuration that was applied"
        # The same finding as the proof of WireGuard has; here also where nothing encrypts.
        ledger.add(
            "ZT410",
            "cluster",
            ledger.cluster or "cluster",
            f"{found.get('updated')} of {found.get('desired')} Cilium agents run the configuration that was applied",
            observed=found.get("updated"),
            expected=found.get("desired"),
            source="DaemonSet of the Cilium agent",
        )
    return True


def _istio_parts(mesh: Data, unread: Data, section: Section, nodes: Nodes, ledger: Ledger) -> None:
    for title, key, kind in (("istiod", "istiod", "Deployment"), ("istio-cni", "cni", "DaemonSet")):
        where = f"istio-system/{'istiod' if key == 'istiod' else 'istio-cni-node'}"
        error = unread.get("istiod" if key == "istiod" else "daemonsets")
        section["components"].append(_component(title, kind, where, mesh.get(key), error, nodes, ledger))
    error = unread.get("daemonsets")
    row = _component("ztunnel", "DaemonSet", "istio-system/ztunnel", mesh.get("ztunnel"), error, nodes, ledger)
    section["components"].append(row)


def _below(config: Data | None, cluster: Data, unread: Data, subject: str, ledger: Ledger) -> None:
    """The Cilium below, by the configuration that it has now. Another CNI below has no such keys."""
    present = (cluster.get("cilium") or {}).get("daemonset") is not None
    if config is None:
        if present or unread.get("daemonsets"):
            why = unread.get("cilium-config") or "there is no cilium-config"
            text = f"Whether the Cilium below fits is not known: {why}"
            ledger.add("ZT660", "object", "cilium-config", text, observed=why, state="unknown", source=SOURCE)
        return
    found = cilium_below.violations(config)
    if found:
        text = "The Cilium below does not fit the mesh: " + "; ".join(f"{v.key} is {v.found}, {v.why}" for v in found)
        observed = {violation.key: violation.found for violation in found}
        expected = {violation.key: violation.wanted for violation in found}
        ledger.add("ZT669", "cluster", subject, text, observed=observed, expected=expected, source="cilium-config")


def _trust_domain(intent: Data, mesh: Data, unread: Data, subject: str, ledger: Ledger) -> None:
    wanted, found = intent.get("trust_domain"), mesh.get("trust_domain")
    if not wanted or wanted == found:
        return
    if found is None:
        why = unread.get("istio mesh config") or "the mesh has no configuration"
        text = f"The mesh's trust domain is not known: {why}"
        ledger.add("ZT660", "object", "ConfigMap istio", text, observed=why, state="unknown", source=SOURCE)
        return
    text = f"The mesh's trust domain is {found}, the intent says {wanted}"
    ledger.add("ZT666", "cluster", subject, text, observed=found, expected=wanted, source=SOURCE)


def _namespaces(
    intent: Data,
    plan: Data,
    mesh: Data,
    unread: Data,
    missing: t.Collection[str] | None,
    section: Section,
    subject: str,
    ledger: Ledger,
) -> None:
    wanted = (intent.get("istio_ambient") or {}).get("namespaces")
    if unread.get("namespaces"):
        text = f"Who is enrolled is not known: {unread['namespaces']}"
        ledger.add("ZT660", "object", "Namespaces", text, observed=unread["namespaces"], state="unknown", source=SOURCE)
        return
    spaces = {str(space["name"]): space.get("labels") or {} for space in mesh.get("namespaces") or []}
    labelled = {name for name, labels in spaces.items() if labels.get(DATAPLANE) == "ambient"}
    strict = _strict(plan, mesh, missing)
    plain = []
    for name in sorted({*(wanted or ()), *labelled}):
        row: Section = {
            "name": name,
            "intended": wanted is None or name in wanted,
            "enrolled": name in labelled,
            "pods": None,
            "redirected": None,
            "outside": None,
            "strict": name in strict if strict is not None else None,
            "state": "ok",
            "why": "",
        }
        section["namespaces"].append(row)
        if name not in labelled:
            row.update(state="failed", why="not enrolled" if name in spaces else "there is no such namespace")
            text = f"Namespace {name} should be in the mesh: {row['why']}"
            observed = spaces.get(name, {}).get(DATAPLANE)
            ledger.add(
                "ZT663", "object", f"namespace {name}", text, observed=observed, expected="ambient", source=SOURCE
            )
            continue
        _pods(name, (mesh.get("enrolled") or {}).get(name), unread, row, ledger)
        if strict is not None and name not in strict:
            plain.append(name)
    if plain:
        text = f"Pods of enrolled namespaces ({len(plain)}) take plain TCP, too: {', '.join(plain[:5])}"
        text += " ..." if len(plain) > 5 else ""
        ledger.add("ZT667", "cluster", subject, text, observed=plain[:50], expected="STRICT", source=SOURCE)


def _pods(name: str, count: Data | None, unread: Data, row: Section, ledger: Ledger) -> None:
    if count is None:
        why = unread.get(f"pods of {name}") or "its pods were not read"
        text = f"Whether pods of {name} are redirected is not known: {why}"
        ledger.add("ZT664", "object", f"namespace {name}", text, observed=why, state="unknown", source=SOURCE)
        row.update(state="unknown", why=why)
        return
    outside = int(count.get("host_network") or 0) + int(count.get("opted_out") or 0)
    row.update(pods=count["pods"], redirected=count["redirected"], outside=outside)
    bypass = count["pods"] - outside - count["redirected"]
    if bypass > 0:
        row.update(state="failed", why=f"{bypass} pods bypass ztunnel")
        text = f"{bypass} of {count['pods']} pods of {name} bypass ztunnel: istio-cni has not redirected them"
        expected = count["pods"] - outside
        ledger.add(
            "ZT664",
            "object",
            f"namespace {name}",
            text,
            observed=count["redirected"],
            expected=expected,
            source="annotation ambient.istio.io/redirection",
        )


def _strict(plan: Data, mesh: Data, missing: t.Collection[str] | None) -> set[str] | None:
    """Namespaces that refuse plain TCP by a policy of the set that is in force; None where that is not known."""
    asked = {
        str(obj["metadata"].get("namespace"))
        for obj in plan.get("policies") or []
        if obj.get("kind") == "PeerAuthentication"
        and ((obj.get("spec") or {}).get("mtls") or {}).get("mode") == "STRICT"
        and not (obj.get("spec") or {}).get("selector")
        and f"PeerAuthentication {obj['metadata'].get('namespace')}/{obj['metadata']['name']}" not in (missing or ())
    }
    if mesh.get("root_strict"):
        return {str(space["name"]) for space in mesh.get("namespaces") or []}
    return None if asked and missing is None else asked


def needed_waypoints(intent: Data, plan: Data) -> set[tuple[str, str]]:
    """(namespace, Gateway) that the inventory names or that a policy of the set attaches to."""
    needed = {(str(n), str(g)) for n, g in ((intent.get("istio_ambient") or {}).get("waypoints") or {}).items()}
    for obj in plan.get("policies") or []:
        for ref in (obj.get("spec") or {}).get("targetRefs") or []:
            if ref.get("kind") == "Gateway":
                needed.add((str(obj["metadata"].get("namespace")), str(ref["name"])))
    return needed


def _waypoints(intent: Data, plan: Data, mesh: Data, unread: Data, section: Section, ledger: Ledger) -> None:
    there = {(str(w["namespace"]), str(w["name"])): bool(w["programmed"]) for w in mesh.get("waypoints") or []}
    needed = needed_waypoints(intent, plan)
    for namespace, name in sorted({*there, *needed}):
        programmed = there.get((namespace, name))
        required = (namespace, name) in needed
        row = {"namespace": namespace, "name": name, "needed": required, "programmed": programmed, "state": "ok"}
        section["waypoints"].append(row)
        if programmed:
            continue
        unknown = programmed is None and "gateways" in unread
        row["state"] = "unknown" if unknown else "failed"
        if required:
            how = unread["gateways"] if unknown else "not there" if programmed is None else "not programmed"
            text = f"The waypoint {name} of namespace {namespace} is needed by policies: {how}"
            state = "unknown" if unknown else "open"
            place = f"Gateway {namespace}/{name}"
            ledger.add("ZT665", "object", place, text, observed=how, expected="programmed", state=state, source=SOURCE)
