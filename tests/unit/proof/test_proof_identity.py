# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identity of hosts: each fault gives its code, and ok needs every piece of evidence."""

from __future__ import annotations

import typing as t

import hypothesis
import pytest
from hypothesis import strategies as st

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof import identity
from ansible_collections.aicluster.zerotrust.tests.unit.proof.clusters import NOW, healthy
from ansible_collections.aicluster.zerotrust.tests.unit.proof.sections import DOMAIN, HOUR, OTHER, spire, svid

Answers = dict[str, t.Any]


def judged(change: t.Callable[[Answers], t.Any] = lambda answers: None) -> tuple[list[Finding], dict[str, t.Any]]:
    lab = healthy(3)
    part, answers = spire(lab)
    change(answers)
    return identity.prove(lab.intent, part, answers, lab.hosts, NOW)


def brief(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return sorted((finding.code, str(finding.subject), finding.state) for finding in findings)


def test_nothing_is_judged_where_no_identity_is_intended() -> None:
    findings, section = identity.prove({"identity": "none"}, {}, {}, {}, NOW)
    assert findings == []
    assert section["state"] == "none"


def test_healthy_agents_are_ok_and_the_denied_root_is_a_note() -> None:
    findings, section = judged()
    assert brief(findings) == [("ZT532", "cluster test", "open")]
    assert section["state"] == "ok"
    assert section["why"] == f"3 of 3 agents run, are attested and hold a valid SVID of {DOMAIN}."
    assert [row["seconds_left"] for row in section["agents"]] == [2400] * 3
    assert section["authorities"] == [{"sha256": "a1" * 32, "not_after": NOW + 20 * HOUR, "hosts": 3}]


def test_an_svid_for_root_is_judged_and_then_there_is_no_note() -> None:
    findings, section = judged(lambda a: a["n1"].update(state="issued", svids=[svid("node/n1", left=3000)]))
    assert findings == []
    assert section["agents"][1]["svids"] == 1


FAULTS: dict[str, tuple[t.Callable[[Answers], t.Any], tuple[str, str, str]]] = {
    "agent down": (
        lambda a: a["n1"]["agent"].update(state="down", why="no socket", healthy=False),
        ("ZT530", "host n1", "open"),
    ),
    "agent not healthy": (lambda a: a["n1"]["agent"].update(healthy=False), ("ZT530", "host n1", "open")),
    "health unknown": (lambda a: a["n1"]["agent"].update(healthy=None), ("ZT531", "host n1", "unknown")),
    "silent API": (
        lambda a: (a["n1"].update(state="unknown"), a["n1"]["agent"].update(workload_api=None)),
        ("ZT531", "host n1", "unknown"),
    ),
    "never attested": (lambda a: a["n1"]["agent"].update(svid=None), ("ZT531", "host n1", "unknown")),
    "no bundle": (lambda a: a["n1"].update(bundle=[]), ("ZT531", "host n1", "unknown")),
    "not asked": (
        lambda a: a.update(n1={"state": "unknown", "error": "unreachable: timed out", "agent": None}),
        ("ZT531", "host n1", "unknown"),
    ),
    "no answer at all": (lambda a: a.pop("n1"), ("ZT531", "host n1", "unknown")),
    "expired": (lambda a: a["n1"]["agent"].update(svid=svid("x", left=-90)), ("ZT533", "host n1", "open")),
    "not renewed": (lambda a: a["n1"]["agent"].update(svid=svid("x", left=800)), ("ZT534", "host n1", "open")),
    "not verified": (
        lambda a: a["n1"]["agent"]["svid"].update(verified=False, why="unable to get local issuer certificate"),
        ("ZT535", "host n1", "open"),
    ),
    "not tried": (
        lambda a: a["n1"]["agent"]["svid"].update(verified=None, why="no openssl"),
        ("ZT531", "host n1", "unknown"),
    ),
    "other domain": (
        lambda a: a["n1"]["agent"]["svid"].update(spiffe_id="spiffe://other.example.org/x"),
        ("ZT536", "host n1", "open"),
    ),
    "domain that begins alike": (
        lambda a: a["n1"]["agent"]["svid"].update(spiffe_id=f"spiffe://{DOMAIN}.evil.org/x"),
        ("ZT536", "host n1", "open"),
    ),
    "foreign bundle": (lambda a: a["n1"].update(bundle=[dict(OTHER)]), ("ZT537", "cluster test", "open")),
    "bundle of the past": (
        lambda a: a["n1"].update(bundle=[{**a["n1"]["bundle"][0], "not_after": NOW - 5}]),
        ("ZT538", "host n1", "open"),
    ),
    "server down": (
        lambda a: a["n0"]["server"].update(healthy=False, service="failed"),
        ("ZT540", "host n0", "open"),
    ),
    "entries missing": (lambda a: a["n0"]["server"]["entries"].update(ours=2), ("ZT541", "host n0", "open")),
    "server not asked": (lambda a: a["n0"].update(server=None), ("ZT542", "host n0", "unknown")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_one_finding(fault: str) -> None:
    change, expected = FAULTS[fault]
    findings, section = judged(change)
    assert [found for found in brief(findings) if found[0] != "ZT532"] == [expected]
    assert section["state"] == ("failed" if expected[2] == "open" else "unknown")
    assert all(finding.remedy for finding in findings)


def test_bundles_that_share_an_authority_are_a_rotation() -> None:
    findings, section = judged(lambda a: a["n1"]["bundle"].append(dict(OTHER)))
    assert [(f.code, f.severity) for f in findings if f.code == "ZT537"] == [("ZT537", "warn")]
    assert section["state"] == "ok"


def test_what_runs_out_follows_from_the_server() -> None:
    def change(answers: Answers) -> None:
        answers["n0"]["server"].update(healthy=False, error="no answer on its socket")
        answers["n1"]["agent"].update(svid=svid("x", left=300))

    findings, _section = judged(change)
    found = {finding.code: finding for finding in findings}
    assert found["ZT534"].caused_by == found["ZT540"].id
    assert "no answer on its socket" in found["ZT540"].message


def test_a_host_in_maintenance_is_counted_and_not_judged() -> None:
    lab = healthy(3)
    part, answers = spire(lab)
    lab.hosts["n1"]["excluded"] = "disk"
    answers["n1"] = {"state": "unknown", "error": "skipped", "agent": None}
    findings, section = identity.prove(lab.intent, part, answers, lab.hosts, NOW)
    assert section["state"] == "ok"
    assert section["counts"] == {"ok": 2, "failed": 0, "unknown": 0, "excluded": 1}
    assert brief(findings) == [("ZT532", "cluster test", "open")]


def test_spire_in_kubernetes_is_unknown() -> None:
    lab = healthy(3)
    part, _answers = spire(lab)
    findings, section = identity.prove(lab.intent, {**part, "deployment": "kubernetes"}, {}, lab.hosts, NOW)
    assert brief(findings) == [("ZT539", "cluster test", "unknown")]
    assert section["state"] == "unknown"


PATHS = [
    ("state",),
    ("bundle",),
    ("agent",),
    ("agent", "state"),
    ("agent", "service"),
    ("agent", "healthy"),
    ("agent", "workload_api"),
    ("agent", "svid"),
    ("agent", "svid", "verified"),
]


@hypothesis.given(
    st.lists(st.tuples(st.sampled_from(["n0", "n1", "rack-n2"]), st.sampled_from(PATHS)), min_size=1, max_size=4)
)
def test_without_a_piece_of_evidence_it_is_never_ok(holes: list[tuple[str, tuple[str, ...]]]) -> None:
    def change(answers: Answers) -> None:
        for host, path in holes:
            place = answers[host]
            for key in path[:-1]:
                place = place.get(key) or {}
            place[path[-1]] = "unknown" if path[-1] in ("state", "service") else None

    findings, section = judged(change)
    assert section["state"] == "unknown"
    assert any(finding.severity == "fail" and finding.state == "unknown" for finding in findings)
