# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy set: what must be enforced and is not, and what nobody could tell."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof import policy
from ansible_collections.aicluster.zerotrust.tests.unit.proof.clusters import healthy
from ansible_collections.aicluster.zerotrust.tests.unit.proof.sections import ambient, compared


def judged(
    state: dict[str, t.Any] | None, stage: str = "enforce", stages: dict[str, str] | None = None
) -> tuple[list[Finding], dict[str, t.Any]]:
    lab = healthy(3)
    plan = ambient(lab)
    lab.intent["mtls_policy"] = {"stage": stage, "stages": stages or {}}
    return policy.prove(lab.intent, plan, state, "connection refused")


def brief(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return sorted((finding.code, str(finding.subject), finding.state) for finding in findings)


def test_a_set_that_is_there_is_ok() -> None:
    findings, section = judged(compared())
    assert findings == []
    assert section["state"] == "ok"
    assert section["kinds"] == [
        {"kind": "AuthorizationPolicy", "wanted": 2, "missing": 0, "drifted": 0},
        {"kind": "PeerAuthentication", "wanted": 1, "missing": 0, "drifted": 0},
    ]
    assert section["stages"] == [{"namespace": "shop", "stage": "enforce", "objects": 3}]


CART = "AuthorizationPolicy shop/cart"
SET = "object policy set default"
CASES: dict[str, tuple[dict[str, t.Any], tuple[str, str, str]]] = {
    "missing": ({"missing": [CART], "unchanged": 2}, ("ZT731", "object policies default of shop", "open")),
    "drifted": (
        {"drifted": [{"object": CART, "fields": ["spec.rules"]}], "unchanged": 2},
        ("ZT732", "object policies default of shop", "open"),
    ),
    "foreign": ({"foreign": [CART], "unchanged": 2}, ("ZT733", f"object {CART}", "open")),
    "extra": ({"extra": ["AuthorizationPolicy shop/old"]}, ("ZT734", SET, "open")),
    "refused": (
        {"conditions": {"accepted": 2, "refused": [{"object": CART, "message": "no ports"}], "unknown": 0}},
        ("ZT735", f"object {CART}", "open"),
    ),
    "not answered": ({"conditions": {"accepted": 1, "refused": [], "unknown": 2}}, ("ZT736", SET, "unknown")),
    "not accounted for": ({"unchanged": 1}, ("ZT730", SET, "unknown")),
    "no count": ({"unchanged": None}, ("ZT730", SET, "unknown")),
}


@pytest.mark.parametrize("case", CASES)
def test_each_fault_is_one_finding(case: str) -> None:
    state, expected = CASES[case]
    findings, section = judged(compared(**state))
    assert brief(findings) == [expected]
    assert section["state"] == ("failed" if expected[2] == "open" else "unknown")
    assert all(finding.remedy for finding in findings)


def test_what_was_not_compared_is_unknown() -> None:
    findings, section = judged(None)
    assert brief(findings) == [("ZT730", SET, "unknown")]
    assert "connection refused" in findings[0].message
    assert section["state"] == "unknown"
    assert {row["missing"] for row in section["kinds"]} == {None}


@pytest.mark.parametrize("stage", ["observe", "audit"])
def test_what_is_not_enforced_is_a_note_and_never_ok(stage: str) -> None:
    findings, section = judged(compared(missing=[CART], unchanged=0), stage=stage)
    assert [(f.code, f.severity) for f in findings] == [("ZT737", "info")]
    assert section["state"] == "observed"


def test_the_stage_of_a_namespace_decides() -> None:
    findings, _section = judged(compared(missing=[CART], unchanged=2), stage="observe", stages={"shop": "enforce"})
    assert [finding.code for finding in findings] == ["ZT731"]


def test_no_policies_is_one_line_but_leftovers_are_seen() -> None:
    intent = {"cluster_name": "test", "engine": "cilium"}
    assert policy.prove(intent, {"policies": []}, None)[0] == []
    assert policy.prove(intent, {"policies": []}, None)[1]["state"] == "none"
    findings, section = policy.prove(intent, {"policies": []}, compared(unchanged=0, extra=["CiliumNetworkPolicy a/b"]))
    assert [finding.code for finding in findings] == ["ZT734"]
    assert section["state"] == "failed"


def test_what_encrypts_is_said_plainly() -> None:
    said = policy.encrypts({"engine": "cilium", "transport_encryption": "wireguard"})
    assert (
        said == "A policy under WireGuard is identity-based access plus transport encryption between nodes, not mTLS."
    )
    assert "no layer of this intent encrypts" in policy.encrypts({"engine": "cilium", "transport_encryption": "none"})
    assert "not proved" in policy.encrypts({"engine": "istio_ambient", "transport_encryption": "none"})
