# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Conversion as istiod does it, and decisions as ztunnel makes them."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.evaluate import Outside, Pod, Question
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.evaluate_istio import (
    STRICT,
    attached,
    convert,
    evaluate,
    ztunnel,
)

Json = dict[str, t.Any]

FRONT = "cluster.local/ns/e-commerce/sa/frontend-sa"

# /debug/ambientz of a real istiod, 2026-11-22: its policies, and what it attached to the pod e-commerce/checkout,
# after an AuthorizationPolicy and a PeerAuthentication as below had been applied.
AMBIENTZ: list[Json] = [
    {
        "name": "allow-internal-only",
        "namespace": "e-commerce",
        "scope": "WORKLOAD_SELECTOR",
        "groups": [{"rules": [{"matches": [{"principals": [{"exact": FRONT}]}]}]}],
    },
    {
        "name": "istio_converted_static_strict",
        "namespace": "istio-system",
        "scope": "WORKLOAD_SELECTOR",
        "action": "DENY",
        "groups": [{"rules": [{"matches": [{"notPrincipals": [{"presence": {}}]}]}]}],
    },
]
ATTACHED = ["e-commerce/allow-internal-only", "istio-system/istio_converted_static_strict"]


def authorization(name: str = "p", namespace: str = "e-commerce", **spec: t.Any) -> Json:
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def peer(namespace: str, mode: str) -> Json:
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": namespace},
        "spec": {"mtls": {"mode": mode}},
    }


INTERNAL = authorization(
    "allow-internal-only",
    action="ALLOW",
    selector={"matchLabels": {"app": "checkout"}},
    rules=[{"from": [{"source": {"principals": [FRONT]}}]}],
)
CHECKOUT = Pod("e-commerce", (("app", "checkout"),), ip="10.0.0.4")


def test_conversion_and_attachment_are_those_of_a_real_istiod() -> None:
    assert convert(INTERNAL) == AMBIENTZ[0]
    assert AMBIENTZ[1] == STRICT
    found = attached([INTERNAL, peer("e-commerce", "STRICT")], CHECKOUT)
    assert [f"{policy['namespace']}/{policy['name']}" for policy in found] == ATTACHED


@pytest.mark.parametrize(
    ("identity", "allowed", "rule"),
    [
        (FRONT, True, ("AuthorizationPolicy e-commerce/allow-internal-only",)),
        ("cluster.local/ns/e-commerce/sa/other", False, ()),
        ("other.domain/ns/e-commerce/sa/frontend-sa", False, ()),
        ("", False, ("AuthorizationPolicy istio-system/istio_converted_static_strict",)),
    ],
)
def test_what_a_ztunnel_decides_by_the_policies_of_a_real_istiod(
    identity: str, allowed: bool, rule: tuple[str, ...]
) -> None:
    verdict = ztunnel(AMBIENTZ, identity, "10.0.0.5", 8080)
    assert (verdict.allowed, verdict.rules) == (allowed, rule)


def one(groups: list[Json] | None, action: str = "ALLOW") -> list[Json]:
    policy: Json = {"name": "p", "namespace": "n", "action": action}
    return [{**policy, "groups": groups} if groups is not None else policy]


@pytest.mark.parametrize(
    ("policies", "allowed"),
    [
        ([], True),
        (one(None), False),  # ALLOW without groups matches nothing: nobody gets in
        (one(None, "DENY"), True),  # and DENY without groups denies nobody
        (one([{"rules": []}]), True),  # a group without rules matches everything
        (one([{"rules": [{"matches": []}]}]), True),  # a rule without matches too
        (one([{"rules": [{"matches": [{}]}]}]), False),  # an empty match is skipped
        (one([{"rules": [{"matches": [{}, {"destinationPorts": [80]}]}]}]), True),
        (one([{"rules": [{"matches": [{"destinationPorts": []}]}]}]), True),
        (one([{"rules": [{"matches": [{"destinationPorts": [81]}]}]}, {"rules": []}]), True),  # groups are or
        (
            one([{"rules": [{"matches": [{"destinationPorts": [80]}]}, {"matches": [{"destinationPorts": [81]}]}]}]),
            False,  # rules are and
        ),
        (one([{"rules": [{"matches": [{"destinationPorts": [80], "namespaces": [{"exact": "x"}]}]}]}]), False),
        (one([{"rules": [{"matches": [{"destinationPorts": [81, 80]}]}]}]), True),  # within a field or
        (one([{"rules": [{"matches": [{"notDestinationPorts": [80]}]}]}]), False),
        (one([{"rules": []}]) + one([{"rules": []}], "DENY"), False),  # deny before allow
        (one([{"rules": [{"matches": [{"notDestinationPorts": [80]}]}]}], "DENY"), True),  # only deny, no match
        (one([{"rules": [{"matches": [{"principals": [{"prefix": "td/ns/a/"}]}]}]}]), True),
        (one([{"rules": [{"matches": [{"principals": [{"suffix": "/sa/b"}]}]}]}]), True),
        (one([{"rules": [{"matches": [{"principals": [{"exact": "spiffe://td/ns/a/sa/b"}]}]}]}]), False),
        (one([{"rules": [{"matches": [{"namespaces": [{"exact": "a"}]}]}]}]), True),
        (one([{"rules": [{"matches": [{"sourceIps": [{"address": "CgAAAA==", "length": 8}]}]}]}]), True),
        (one([{"rules": [{"matches": [{"notSourceIps": [{"address": "CgAAAA==", "length": 8}]}]}]}]), False),
    ],
)
def test_decisions_of_ztunnel(policies: list[Json], allowed: bool) -> None:
    assert ztunnel(policies, "td/ns/a/sa/b", "10.0.0.1", 80).allowed is allowed


def test_a_field_that_is_not_known_gets_no_answer() -> None:
    with pytest.raises(ValueError, match="serviceAccounts"):
        ztunnel(one([{"rules": [{"matches": [{"serviceAccounts": []}]}]}]), "", "", 80)
    with pytest.raises(ValueError, match="when"):
        convert(authorization(rules=[{"when": []}]))


def test_an_allow_rule_with_http_is_dropped_by_ztunnel_and_a_deny_rule_is_widened() -> None:
    rules = [{"to": [{"operation": {"ports": ["80"], "methods": ["GET"]}}]}]
    allow, deny = convert(authorization(rules=rules)), convert(authorization(rules=rules, action="DENY"))
    assert allow is not None
    assert deny is not None
    assert "groups" not in allow
    assert deny["groups"] == [{"rules": [{"matches": [{"destinationPorts": [80]}]}]}]


@pytest.mark.parametrize(
    ("policies", "allowed"),
    [
        ([peer("istio-system", "STRICT")], False),
        ([peer("istio-system", "STRICT"), peer("e-commerce", "PERMISSIVE")], True),
        ([peer("e-commerce", "STRICT")], False),
        ([peer("other", "STRICT")], True),
        ([authorization(namespace="istio-system")], False),  # of the root namespace: for every pod
        ([authorization(namespace="other")], True),
        ([authorization(selector={"matchLabels": {"app": "other"}})], True),
    ],
)
def test_which_policies_a_pod_has(policies: list[Json], allowed: bool) -> None:
    assert evaluate(policies, Question(Outside("203.0.113.1"), CHECKOUT, 80)).allowed is allowed


def test_what_no_ztunnel_sees() -> None:
    closed = [authorization()]
    assert evaluate(closed, Question(CHECKOUT, CHECKOUT, 53, "UDP")).allowed
    assert evaluate(closed, Question(CHECKOUT, Pod("e-commerce", enrolled=False), 80)).allowed
    assert evaluate(closed, Question(CHECKOUT, Outside("203.0.113.1"), 80)).allowed
    assert not evaluate(closed, Question(CHECKOUT, CHECKOUT, 80)).allowed
