# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the verdict, coverage and MTU, on whole runs."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.report.build import changes
from ansible_collections.aicluster.zerotrust.plugins.module_utils.report.conclude import conclude
from ansible_collections.aicluster.zerotrust.plugins.module_utils.report.summary import roots, summary
from ansible_collections.aicluster.zerotrust.plugins.module_utils.report.verdict import judge
from ansible_collections.aicluster.zerotrust.tests.unit.proof import faults
from ansible_collections.aicluster.zerotrust.tests.unit.proof.clusters import healthy
from ansible_collections.aicluster.zerotrust.tests.unit.report.cases import (
    TODAY,
    node_info,
    refusal,
    report_of,
    run_of,
    whole,
)


def finding(code: str, **more: t.Any) -> Finding:
    return Finding(code, Subject("node", "n0"), "text", **more)


def accept(code: str, subject: str, until: str = "2027-01-01") -> dict[str, str]:
    return {"code": code, "subject": subject, "reason": "known", "owner": "ops", "until": until}


PAIR = {"from": "a", "to": "b", "verdict": "failed"}
OUT = {"from": "a", "to": "b", "verdict": "excluded"}


@pytest.mark.parametrize(
    ("findings", "pairs", "state"),
    [
        ([], [], "pass"),
        ([finding("ZT801")], [], "pass"),
        ([finding("ZT103", state="unknown")], [], "pass"),
        ([finding("ZT407")], [], "fail"),
        ([finding("ZT101")], [], "fail"),
        ([finding("ZT412", state="unknown")], [], "unknown"),
        ([finding("ZT906", state="unknown")], [], "unknown"),
        ([finding("ZT412", state="unknown"), finding("ZT407")], [], "fail"),
        ([finding("ZT407", state="accepted")], [PAIR], "pass"),
        ([], [PAIR], "unknown"),
        # An accepted kernel option or userspace device accounts for no pair.
        ([finding("ZT102", state="accepted")], [PAIR], "unknown"),
        ([finding("ZT416", state="accepted")], [PAIR], "unknown"),
        # All Nodes but one in maintenance: nothing was judged.
        ([], [OUT], "unknown"),
        ([], [OUT, {**PAIR, "verdict": "proved"}], "pass"),
        ([finding("ZT406", caused_by="nowhere")], [], "fail"),
    ],
)
def test_rules(findings: list[Finding], pairs: list[dict[str, str]], state: str) -> None:
    verdict = judge(findings, pairs, scope="all", encryption="wireguard")
    assert verdict.state == state
    assert verdict.text.endswith("(all)")
    assert verdict.accepted == sum(f.state == "accepted" for f in findings)


def test_healthy_run_passes_with_its_scope() -> None:
    report = report_of(healthy(4))
    assert report["verdict"]["state"] == "pass"
    scope = report["verdict"]["scope"]
    assert scope.startswith("pod to pod across nodes, 4 of 4 nodes, 12 of 12 ordered pairs proved; in clear: ")
    assert "hostNetwork" in scope
    assert report["coverage"][0]["state"] == "proved"
    assert {f["code"] for f in report["findings"]} == {"ZT802", "ZT803"}


def test_fault_fails_and_the_summary_names_it() -> None:
    lab = healthy(4)
    faults.key_replaced(lab, "n1", "n2")
    report = report_of(lab)
    assert report["verdict"]["state"] == "fail"
    assert report["verdict"]["text"].startswith("fail: 1 finding (")
    text = summary(report, "/r/report.html")
    lines = text.splitlines()
    assert sum("ZT401" in line for line in lines) == 1
    assert "ZT406" not in text
    assert "n1" in lines[1]
    assert "n2" in lines[1]
    assert "Restart the Cilium agent" in lines[1]
    assert lines[-1] == "Report: /r/report.html"
    assert report["coverage"][0]["state"] == "unknown"


def test_accepted_root_passes_with_its_consequences() -> None:
    lab = healthy(4)
    faults.device_missing(lab, "n1", "n1")
    report = report_of(lab, accept=[accept("ZT407", "node n1")])
    assert report["verdict"]["state"] == "pass"
    assert report["verdict"]["text"].startswith("pass with 1 accepted (pod to pod across nodes, 4 of 4 nodes, 6 of 12")


def test_expired_acceptance_is_none() -> None:
    lab = healthy(4)
    faults.device_missing(lab, "n1", "n1")
    report = report_of(lab, accept=[accept("ZT407", "node n1", until="2026-11-21")])
    assert report["verdict"]["state"] == "fail"
    assert "ZT914" in {f["code"] for f in report["findings"]}


def test_unreachable_host_is_unknown() -> None:
    lab = healthy(4)
    faults.unreachable(lab, "n1", "n2")
    report = report_of(lab)
    assert report["verdict"]["state"] == "unknown"
    assert "3 of 4 nodes" in report["verdict"]["scope"]
    assert "not known: RDMA" in report["verdict"]["scope"]
    assert report["provenance"]["hosts_unreachable"] == 1
    assert report["provenance"]["hosts_observed"] == 3


def test_unreachable_host_of_the_plan_is_the_same_root() -> None:
    lab = healthy(4)
    faults.unreachable(lab, "n1", "n2")
    report = report_of(
        lab, plan_findings=[Finding("ZT912", Subject("host", "n1"), "n1 is unreachable", cluster="test")]
    )
    assert report["verdict"]["state"] == "unknown"
    assert [f["code"] for f in roots(report) if f["severity"] in ("blocker", "fail")] == ["ZT412"]


def test_no_encryption_intended_is_said() -> None:
    lab = healthy(3)
    lab.cluster["cilium"]["config"]["enable-wireguard"] = "false"
    report = report_of(lab, transport_encryption="none")
    assert report["verdict"]["state"] == "pass"
    assert report["verdict"]["text"].startswith("no encryption is intended")
    assert report["coverage"][0] == {
        "class": "Pod to pod across nodes",
        "encrypted_by": "nothing",
        "state": "clear",
        "why": "No encryption is intended.",
    }


def test_a_mesh_passes_only_when_its_unproved_encryption_is_accepted() -> None:
    report = whole(healthy(4))
    assert report["verdict"]["state"] == "unknown"
    deciding = [f["code"] for f in roots(report) if f["severity"] == "fail" and f["state"] != "accepted"]
    assert deciding == ["ZT668"]
    lab = healthy(4)
    lab.intent["accept"] = [accept("ZT668", "cluster test")]
    report = whole(lab)
    assert report["verdict"]["state"] == "pass"
    assert "not known: TCP between pods of the mesh" in report["verdict"]["scope"]
    assert "identity of 4 of 4 hosts" in report["verdict"]["scope"]


def test_a_mesh_without_encryption_below_says_what_the_pass_rests_on() -> None:
    lab = healthy(4)
    lab.intent.update(accept=[accept("ZT668", "cluster test")], transport_encryption="none")
    lab.cluster["cilium"]["config"]["enable-wireguard"] = "false"
    verdict = whole(lab)["verdict"]
    assert verdict["state"] == "pass"
    assert verdict["text"].startswith("pass, resting on the mesh's word: nothing else encrypts between the nodes")


def test_an_unreachable_host_is_one_unknown_for_tunnel_and_identity() -> None:
    lab = healthy(4)
    lab.intent["accept"] = [accept("ZT668", "cluster test")]
    faults.unreachable(lab, "n1", "n2")

    def unreached(evidence: dict[str, t.Any], plan: dict[str, t.Any]) -> None:
        evidence["identity"]["n1"] = {"state": "unknown", "error": "unreachable", "agent": None}

    report = whole(lab, unreached)
    assert [f["code"] for f in roots(report) if f["severity"] == "fail" and f["state"] == "unknown"] == ["ZT412"]
    assert report["identity"]["state"] == "unknown"


def test_no_api_is_unknown() -> None:
    evidence, plan = run_of(healthy(3))
    evidence["cluster"] = None
    evidence["provenance"]["cluster_error"] = "connection refused"
    report = conclude(evidence, plan, TODAY)
    assert report["verdict"]["state"] == "unknown"
    assert "connection refused" in next(f for f in report["findings"] if f["code"] == "ZT906")["message"]


def test_rdma_is_named_per_host() -> None:
    lab = healthy(3)
    lab.hosts["n1"]["node"] = node_info("10.0.0.2", rdma=True)
    report = report_of(lab)
    rdma = [f for f in report["findings"] if f["code"] == "ZT801"]
    assert [f["subject"] for f in rdma] == [{"kind": "host", "name": "n1"}]
    assert report["coverage"][-1]["state"] == "clear"
    assert report["verdict"]["state"] == "pass"
    assert "RDMA" in report["verdict"]["scope"]


def test_mtu_off_target_explains_the_difference() -> None:
    lab = healthy(3)
    lab.hosts["n1"]["node"] = node_info("10.0.0.2", mtu=1500)
    found = {f["code"]: f for f in report_of(lab, node_network_mtu=9000)["findings"]}
    assert found["ZT304"]["subject"]["name"] == "n1"
    assert found["ZT304"]["expected"] == 9000
    assert found["ZT302"]["caused_by"] == found["ZT304"]["id"]
    found = {f["code"]: f for f in report_of(lab, node_network_mtu=None)["findings"]}
    assert "ZT304" not in found
    assert found["ZT302"]["caused_by"] is None


def test_changes_tell_what_was_reached() -> None:
    lab = healthy(2)
    lab.hosts["n0"]["node"] = node_info("10.0.0.1", mtu=1500)
    evidence, plan = run_of(lab)
    entry = {"interface": "node0", "mtu_from": 1500, "mtu_to": 9000}
    plan["nic"] = {"n0": [entry], "rack-n1": [entry]}
    assert [(row["what"], row["state"]) for row in changes(evidence, plan, [])] == [
        ("node0 on n0: MTU 1500 to 9000", "left"),
        ("node0 on rack-n1: MTU 1500 to 9000", "changed"),
    ]
    evidence["run"] = {"mode": "verify"}
    assert changes(evidence, plan, [])[0]["state"] == "unchanged"


def test_refusal_names_the_blockers() -> None:
    report = refusal()
    assert report["verdict"]["state"] == "fail"
    assert report["verdict"]["text"].startswith("refused: 2 blockers")
    assert len(roots(report)) == 3
    assert report["pairs"] == []
