# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""mtls_policy with Istio's kinds, against a real API server with Istio's own CRDs; and a change of engine."""

from __future__ import annotations

import copy
import time
import typing as t

import pytest
import yaml

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.apply import APIS, PLURALS
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.render import render
from ansible_collections.aicluster.zerotrust.plugins.modules import mtls_policy
from lab import build
from lab.common import Steps

Call = t.Callable[..., t.Any]
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
RULES = "/apis/security.istio.io/v1/namespaces/ai-workloads/authorizationpolicies"


def document(name: str, port: int = 80) -> dict[str, t.Any]:
    who = {"namespace": "ai-workloads", "service_account": "client"}
    return {
        "name": name,
        "namespace": "ai-workloads",
        "to": {"labels": {"app": name}},
        "allow": [{"from": who, "ports": [port]}],
    }


STRICT = {"name": "strict", "namespace": "ai-workloads", "default": "deny", "directions": ["ingress"], "mtls": True}


def rendered(*documents: t.Any, engine: str = "istio_ambient", set_name: str = "test") -> list[dict[str, t.Any]]:
    objects, findings = render(documents, set_name=set_name, cluster_name="lab", engine=engine)
    assert not [finding for finding in findings if finding.blocks], findings
    return objects


@pytest.fixture(scope="module")
def istio(cluster: t.Any) -> None:
    folder = build.fetch_istio(Steps(1).say)
    for path in folder.rglob("charts/base/files/crd-all*.yaml"):
        for crd in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if crd:
                cluster.client.request("POST", CRDS, body=crd)
    for kind in ("AuthorizationPolicy", "PeerAuthentication"):
        path = f"/apis/{APIS[kind]}/{PLURALS[kind]}"
        for _attempt in range(600):
            if cluster.client.list_or_none(path) is not None:
                break
            time.sleep(0.05)
        else:
            pytest.fail(f"{path} is not served")


@pytest.fixture
def apply(cluster: t.Any, module: Call, istio: None) -> t.Iterator[Call]:
    def call(objects: t.Any, **arguments: t.Any) -> t.Any:
        given = {"kubeconfig": cluster.kubeconfig, "set_name": "test", "cluster_name": "lab", "stage": "enforce"}
        return module(mtls_policy.main, **{**given, **arguments, "objects": objects})

    yield call
    for kind, plural in PLURALS.items():
        for obj in cluster.client.list_all(f"/apis/{APIS[kind]}/{plural}"):
            place = obj["metadata"].get("namespace")
            middle = f"/namespaces/{place}" if place else ""
            cluster.client.request("DELETE", f"/apis/{APIS[kind]}{middle}/{plural}/{obj['metadata']['name']}")


def accept(cluster: t.Any) -> None:
    """The condition that istiod writes when ztunnels take a policy (here by the test, in istiod's place)."""
    for obj in cluster.client.list_all(RULES):
        condition = {
            "type": "ZtunnelAccepted",
            "status": "True",
            "observedGeneration": str(obj["metadata"]["generation"]),
            "lastTransitionTime": "2026-11-23T00:00:00Z",
        }
        name = obj["metadata"]["name"]
        body = {"status": {"conditions": [condition]}}
        cluster.client.request(
            "PATCH", f"{RULES}/{name}/status", body=body, content_type="application/merge-patch+json"
        )


def test_creates_then_changes_nothing_then_notices_drift(cluster: t.Any, apply: Call) -> None:
    objects = rendered(document("a"), STRICT)
    assert {obj["kind"] for obj in objects} == {"AuthorizationPolicy", "PeerAuthentication"}
    first = apply(objects)
    assert not first.failed, first.data
    assert len(first.data["created"]) == len(objects)
    second = apply(objects)
    assert second.data["changed"] is False
    assert second.data["unchanged"] == len(objects)
    victim = next(obj for obj in objects if obj["kind"] == "AuthorizationPolicy" and obj["spec"].get("rules"))
    name = victim["metadata"]["name"]
    patch = {"spec": {"action": "ALLOW" if victim["spec"].get("action") == "DENY" else "DENY"}}
    cluster.client.request("PATCH", f"{RULES}/{name}", body=patch, content_type="application/merge-patch+json")
    compared = apply(objects, stage="compare").data
    assert [entry["object"] for entry in compared["drifted"]] == [f"AuthorizationPolicy ai-workloads/{name}"]
    # Never forced: the field is another manager's now, and the run names the object instead of fighting for it.
    third = apply(objects)
    assert third.failed
    assert "ZT706" in third.data["msg"]
    assert f"AuthorizationPolicy ai-workloads/{name}" in third.data["msg"]
    cluster.client.request("DELETE", f"{RULES}/{name}")
    fourth = apply(objects)
    assert fourth.data["created"] == [f"AuthorizationPolicy ai-workloads/{name}"]
    assert apply(objects).data["changed"] is False


def test_a_field_that_istio_does_not_have_is_refused_and_nothing_is_applied(cluster: t.Any, apply: Call) -> None:
    objects = rendered(document("a"), document("b"))
    wrong = copy.deepcopy(objects)
    wrong[0]["spec"]["mode"] = "STRICT"
    run = apply(wrong)
    assert run.failed
    assert "mode" in run.data["msg"]
    assert cluster.client.list_all(RULES) == []


def test_an_empty_set_prunes_nothing_and_two_sets_never_touch_each_other(cluster: t.Any, apply: Call) -> None:
    assert not apply(rendered(document("a"))).failed
    assert not apply(rendered(document("b"), set_name="other"), set_name="other").failed
    run = apply([])
    assert run.failed
    assert "ZT704" in run.data["msg"]
    assert len(cluster.client.list_all(RULES)) == 2
    gone = apply([], allow_prune=True)
    assert not gone.failed, gone.data
    assert [obj["metadata"]["labels"]["aicluster.zerotrust/set"] for obj in cluster.client.list_all(RULES)] == ["other"]


def test_an_engine_change_keeps_the_old_rules_until_the_new_ones_are_proved(cluster: t.Any, apply: Call) -> None:
    old = "/apis/cilium.io/v2/namespaces/ai-workloads/ciliumnetworkpolicies"
    assert not apply(rendered(document("a"), engine="cilium")).failed
    new = rendered(document("a"))
    # With consent, too: in this run nobody can have seen the new engine enforce.
    first = apply(new, allow_prune=True)
    assert not first.failed, first.data
    assert first.data["superseded"] == ["CiliumNetworkPolicy ai-workloads/a"]
    assert len(cluster.client.list_all(old)) == 1
    assert apply(new, allow_prune=True).data["superseded"], "applied is not accepted"
    accept(cluster)
    kept = apply(new)
    assert kept.data["superseded"], "accepted, but the run has no consent"
    assert kept.data["changed"] is False
    last = apply(new, allow_prune=True)
    assert not last.failed, last.data
    assert last.data["pruned"] == ["CiliumNetworkPolicy ai-workloads/a"]
    assert last.data["superseded"] == []
    assert cluster.client.list_all(old) == []
    assert len(cluster.client.list_all(RULES)) == len([obj for obj in new if obj["kind"] == "AuthorizationPolicy"])
