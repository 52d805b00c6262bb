# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: each fault gives its code, and what the mesh claims is never a proof."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof import engine
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.coverage import MESH, coverage
from ansible_collections.aicluster.zerotrust.tests.unit.proof.clusters import Lab, healthy
from ansible_collections.aicluster.zerotrust.tests.unit.proof.sections import ambient

CLAIM = ("ZT668", "cluster test", "unknown")


def judged(
    change: t.Callable[[Lab, dict[str, t.Any]], t.Any] = lambda lab, mesh: None, missing: t.Any = ()
) -> tuple[list[Finding], dict[str, t.Any]]:
    lab = healthy(4)
    plan = ambient(lab)
    change(lab, lab.cluster["mesh"])
    return engine.prove(lab.intent, plan, lab.cluster, lab.hosts, lab.matching, missing)


def brief(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return sorted((finding.code, str(finding.subject), finding.state) for finding in findings)


def test_healthy_mesh_stands_and_its_encryption_is_unknown() -> None:
    findings, section = judged()
    assert brief(findings) == [CLAIM]
    assert section["state"] == "ok"
    assert [(row["name"], row["version"], row["ready"], row["desired"]) for row in section["components"]] == [
        ("istiod", "1.31.0", 1, 1),
        ("istio-cni", "1.31.0", 4, 4),
        ("ztunnel", "1.31.0", 4, 4),
    ]
    assert [(row["name"], row["redirected"], row["strict"]) for row in section["namespaces"]] == [("shop", 3, True)]


def unread(what: str, **gone: t.Any) -> t.Callable[[Lab, dict[str, t.Any]], None]:
    def change(lab: Lab, mesh: dict[str, t.Any]) -> None:
        mesh["read_errors"].append({"what": what, "error": "forbidden"})
        mesh.update(gone)

    return change


FAULTS: dict[str, tuple[t.Callable[[Lab, dict[str, t.Any]], t.Any], tuple[str, str, str]]] = {
    "not read": (lambda lab, mesh: lab.cluster.update(mesh=None), ("ZT660", "cluster test", "unknown")),
    "ztunnel gone": (
        lambda lab, mesh: mesh.update(ztunnel=None),
        ("ZT661", "object DaemonSet istio-system/ztunnel", "open"),
    ),
    "ztunnel unread": (
        lambda lab, mesh: (
            mesh.update(ztunnel=None),
            lab.cluster["read_errors"].append({"what": "daemonsets", "error": "forbidden"}),
        ),
        ("ZT660", "object DaemonSet istio-system/ztunnel", "unknown"),
    ),
    "istiod unread": (
        unread("istiod", istiod=None),
        ("ZT660", "object Deployment istio-system/istiod", "unknown"),
    ),
    "cni not ready": (
        lambda lab, mesh: mesh["cni"].update(ready=3),
        ("ZT662", "object DaemonSet istio-system/istio-cni-node", "open"),
    ),
    "ztunnel not meant for all": (
        lambda lab, mesh: mesh["ztunnel"].update(desired=2, ready=2),
        ("ZT662", "object DaemonSet istio-system/ztunnel", "open"),
    ),
    "istiod scaled to nothing": (
        lambda lab, mesh: mesh["istiod"].update(desired=0, ready=0),
        ("ZT662", "object Deployment istio-system/istiod", "open"),
    ),
    "label lost": (
        lambda lab, mesh: mesh["namespaces"][1].update(labels={}),
        ("ZT663", "object namespace shop", "open"),
    ),
    "namespace gone": (lambda lab, mesh: mesh["namespaces"].pop(), ("ZT663", "object namespace shop", "open")),
    "namespaces unread": (unread("namespaces", namespaces=[]), ("ZT660", "object Namespaces", "unknown")),
    "pod bypasses": (
        lambda lab, mesh: mesh["enrolled"]["shop"].update(redirected=2),
        ("ZT664", "object namespace shop", "open"),
    ),
    "pods unread": (unread("pods of shop", enrolled={}), ("ZT664", "object namespace shop", "unknown")),
    "waypoint gone": (
        lambda lab, mesh: mesh.update(waypoints=[]),
        ("ZT665", "object Gateway shop/waypoint", "open"),
    ),
    "waypoint not programmed": (
        lambda lab, mesh: mesh["waypoints"][0].update(programmed=False),
        ("ZT665", "object Gateway shop/waypoint", "open"),
    ),
    "waypoints unread": (unread("gateways", waypoints=[]), ("ZT665", "object Gateway shop/waypoint", "unknown")),
    "other trust domain": (
        lambda lab, mesh: mesh.update(trust_domain="cluster.local"),
        ("ZT666", "cluster test", "open"),
    ),
    "trust domain unread": (
        unread("istio mesh config", trust_domain=None),
        ("ZT660", "object ConfigMap istio", "unknown"),
    ),
    "Cilium below is exclusive": (
        lambda lab, mesh: lab.cluster["cilium"]["config"].update({"cni-exclusive": "true"}),
        ("ZT669", "cluster test", "open"),
    ),
    "Cilium below unread": (
        lambda lab, mesh: lab.cluster["cilium"].update(config=None),
        ("ZT660", "object cilium-config", "unknown"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_one_finding(fault: str) -> None:
    change, expected = FAULTS[fault]
    findings, section = judged(change)
    assert [found for found in brief(findings) if found not in (CLAIM, ("ZT667", "cluster test", "open"))] == [expected]
    assert section["state"] == ("failed" if expected[2] == "open" else "unknown")


def test_plain_tcp_is_named_where_no_policy_in_force_refuses_it() -> None:
    findings, section = judged(missing=["PeerAuthentication shop/default"])
    assert brief(findings) == [("ZT667", "cluster test", "open"), CLAIM]
    assert section["namespaces"][0]["strict"] is False
    assert judged(missing=None)[1]["namespaces"][0]["strict"] is None


def test_another_cni_below_has_nothing_to_fit() -> None:
    findings, section = judged(lambda lab, mesh: lab.cluster["cilium"].update(config=None, daemonset=None))
    assert brief(findings) == [CLAIM]
    assert section["state"] == "ok"


def test_coverage_says_what_is_claimed() -> None:
    lab = healthy(4)
    plan = ambient(lab)
    _findings, section = engine.prove(lab.intent, plan, lab.cluster, lab.hosts, lab.matching, ())
    row = next(row for row in coverage(*lab.args(), [], section)[1] if row["class"] == MESH)
    assert (row["encrypted_by"], row["state"]) == ("ztunnel mTLS", "unknown")
    assert "The wire was not looked at" in row["why"]
    row = next(row for row in coverage(*lab.args(), [], None)[1] if row["class"] == MESH)
    assert (row["encrypted_by"], row["state"]) == ("unknown", "unknown")
    lab.cluster["mesh"]["namespaces"][1]["labels"] = {}
    _findings, section = engine.prove(lab.intent, plan, lab.cluster, lab.hosts, lab.matching, ())
    row = next(row for row in coverage(*lab.args(), [], section)[1] if row["class"] == MESH)
    assert (row["encrypted_by"], row["state"]) == ("nothing", "clear")


def cilium(
    change: t.Callable[[Lab], t.Any] = lambda lab: None, **plan: t.Any
) -> tuple[list[Finding], dict[str, t.Any]]:
    lab = healthy(4)
    lab.intent["engine"] = "cilium"
    change(lab)
    return engine.prove(lab.intent, plan, lab.cluster, lab.hosts, lab.matching, None)


def test_cilium_on_all_nodes_is_ok() -> None:
    findings, section = cilium()
    assert findings == []
    assert section["state"] == "ok"
    assert section["components"][0]["version"] == "1.20.2"


def test_cilium_that_nobody_asked_for_is_not_missed() -> None:
    def without(lab: Lab) -> None:
        lab.cluster["cilium"]["daemonset"] = None

    findings, section = cilium(without, unset=["engine"])
    assert (findings, section["state"]) == ([], "none")
    for plan in ({"unset": []}, {"unset": ["engine"], "policies": [{"kind": "x", "metadata": {}}]}):
        findings, section = cilium(without, **plan)
        assert brief(findings) == [("ZT661", "object DaemonSet kube-system/cilium", "open")]
        assert section["state"] == "failed"


@pytest.mark.parametrize(
    ("seen", "state", "section_state"),
    [
        ({"excluded": "disk"}, None, "ok"),
        ({"node": None, "error": "unreachable"}, "unknown", "unknown"),
        ({"node": {"kernel": {}}}, "open", "failed"),
    ],
)
def test_an_agent_on_a_node_that_is_down(seen: dict[str, t.Any], state: str | None, section_state: str) -> None:
    def down(lab: Lab) -> None:
        lab.cluster["nodes"][1]["ready"] = False
        lab.hosts["n1"].update(seen)
        lab.cluster["cilium"]["daemonset"]["ready"] = 3

    findings, section = cilium(down)
    assert [finding.state for finding in findings] == ([state] if state else [])
    assert section["state"] == section_state


def test_agents_with_an_old_configuration_are_not_ok() -> None:
    findings, section = cilium(lambda lab: lab.cluster["cilium"]["daemonset"].update(updated=2, current=False))
    assert [finding.code for finding in findings] == ["ZT410"]
    assert section["state"] == "failed"


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("quay.io/cilium/cilium:v1.20.2@sha256:ab", "1.20.2"),
        ("registry.example.org:5000/istio/ztunnel:1.31.0-distroless", "1.31.0-distroless"),
        ("registry.example.org:5000/istio/ztunnel", None),
        (None, None),
    ],
)
def test_version_of_an_image(image: str | None, version: str | None) -> None:
    assert engine.version_of(image) == version


PARTS = ["istiod", "cni", "ztunnel", "namespaces", "enrolled", "waypoints"]


@pytest.mark.parametrize("part", PARTS)
def test_without_a_piece_of_evidence_it_is_never_ok(part: str) -> None:
    empty: t.Any = {} if part == "enrolled" else [] if part in ("namespaces", "waypoints") else None
    findings, section = judged(lambda lab, mesh: mesh.update({part: empty}))
    assert section["state"] in ("unknown", "failed")
    assert [finding for finding in findings if finding.code != "ZT668" and finding.severity == "fail"]
