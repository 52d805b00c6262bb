# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""mtls_policy and cluster_lease against a real API server with Cilium's own CRDs."""

from __future__ import annotations

import copy
import json
import pathlib
import time
import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster import lease
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.render import render
from ansible_collections.aicluster.zerotrust.plugins.modules import cluster_lease, mtls_policy

Call = t.Callable[..., t.Any]
POLICIES = "/apis/cilium.io/v2/namespaces/ai-workloads/ciliumnetworkpolicies"


def policy(name: str, port: int = 80, namespace: str = "ai-workloads") -> dict[str, t.Any]:
    return {
        "name": name,
        "namespace": namespace,
        "to": {"labels": {"app": name}},
        "allow": [{"from": {"labels": {"app": "client"}}, "ports": [port]}],
    }


def rendered(*documents: t.Any) -> list[dict[str, t.Any]]:
    objects, findings = render(documents, set_name="test", cluster_name="lab")
    assert not [finding for finding in findings if finding.blocks], findings
    return objects


@pytest.fixture
def apply(cluster: t.Any, module: Call) -> t.Iterator[Call]:
    def call(objects: t.Any, **arguments: t.Any) -> t.Any:
        given = {"kubeconfig": cluster.kubeconfig, "set_name": "test", "cluster_name": "lab", "stage": "enforce"}
        return module(mtls_policy.main, **{**given, **arguments, "objects": objects})

    yield call
    for kind in ("ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies"):
        for obj in cluster.client.list_all(f"/apis/cilium.io/v2/{kind}"):
            place = obj["metadata"].get("namespace")
            middle = f"/namespaces/{place}" if place else ""
            cluster.client.request("DELETE", f"/apis/cilium.io/v2{middle}/{kind}/{obj['metadata']['name']}")


def test_creates_then_changes_nothing_then_updates(cluster: t.Any, apply: Call) -> None:
    wide = {
        "name": "wide",
        "cluster_wide": True,
        "to": {"namespace": "storage", "labels": {"app": "nfs"}},
        "allow": [{"from": [{"entity": "cluster"}, {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}]}],
    }
    preset = {
        "name": "trainer",
        "namespace": "ai-workloads",
        "preset": "pytorch",
        "job_labels": {"app": "train"},
        "storage": [{"cidr": "10.9.0.0/24", "ports": [2049]}],
    }
    dns = {"name": "dns", "namespace": "ai-workloads", "preset": "dns"}
    first = apply(rendered(policy("a"), wide, preset, dns))
    assert not first.failed, first.data
    assert first.data["changed"] is True
    assert first.data["created"] == [
        "CiliumClusterwideNetworkPolicy wide",
        "CiliumNetworkPolicy ai-workloads/a",
        "CiliumNetworkPolicy ai-workloads/dns",
        "CiliumNetworkPolicy ai-workloads/trainer",
    ]
    again = apply(rendered(policy("a"), wide, preset, dns))
    assert (again.data["changed"], again.data["unchanged"]) == (False, 4)
    changed = apply(rendered(policy("a", 81), wide, preset, dns), diff=True)
    assert changed.data["updated"] == ["CiliumNetworkPolicy ai-workloads/a"]
    assert '"port": "80"' in changed.data["diff"][0]["before"]
    assert '"port": "81"' in changed.data["diff"][0]["after"]
    fields = cluster.client.get(f"{POLICIES}/a")["metadata"]["managedFields"]
    assert [(entry["manager"], entry["operation"]) for entry in fields] == [("aicluster.zerotrust", "Apply")]


def test_observe_and_check_mode_keep_nothing(cluster: t.Any, apply: Call) -> None:
    observed = apply(rendered(policy("a")), stage="observe")
    assert observed.data["created"] == ["CiliumNetworkPolicy ai-workloads/a"]
    assert (observed.data["changed"], observed.data["stage"]) == (False, "observe")
    checked = apply(rendered(policy("a")), check=True)
    assert (checked.data["changed"], checked.data["stage"]) == (True, "observe")
    assert cluster.client.list_all(POLICIES) == []


def test_a_plan_file_gives_the_objects(cluster: t.Any, module: Call, apply: Call, tmp_path: pathlib.Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"schema": 1, "policies": rendered(policy("a"))}), encoding="utf-8")
    given = {"kubeconfig": cluster.kubeconfig, "set_name": "test", "cluster_name": "lab", "stage": "enforce"}
    assert module(mtls_policy.main, plan_file=str(plan), **given).data["created"]
    plan.write_text("{}", encoding="utf-8")
    assert "is no plan with policies" in module(mtls_policy.main, plan_file=str(plan), **given).data["msg"]
    assert len(cluster.client.list_all(POLICIES)) == 1


def article(spec: dict[str, t.Any], kind: str = "CiliumNetworkPolicy") -> dict[str, t.Any]:
    obj = copy.deepcopy(rendered(policy("article"))[0])
    obj["kind"], obj["spec"] = kind, spec
    if kind != "CiliumNetworkPolicy":
        del obj["metadata"]["namespace"]
    return obj


def test_the_articles_invented_field_is_refused_by_name_and_nothing_changes(cluster: t.Any, apply: Call) -> None:
    authentication = {
        "mode": "required",
        "spiffe": {"trustDomain": "cluster.local", "identity": "spiffe://cluster.local/ns/production/sa/frontend"},
    }
    spec = {
        "endpointSelector": {"matchLabels": {"app": "checkout"}},
        "ingress": [{"fromEndpoints": [{"matchLabels": {"app": "frontend"}}], "authentication": authentication}],
    }
    result = apply([*rendered(policy("good")), article(spec, "CiliumClusterwideNetworkPolicy")])
    assert result.failed
    assert result.data["msg"].startswith("ZT705: CiliumClusterwideNetworkPolicy article: ")
    assert ".spec.ingress[0].authentication.spiffe: field not declared in schema" in result.data["msg"]
    assert result.data["msg"].endswith("Nothing was changed.")
    assert cluster.client.list_all(POLICIES) == [], "the good policy of the same set must not be applied either"


def test_a_value_that_the_crd_does_not_take_is_refused_with_its_field(apply: Call) -> None:
    ports = [{"ports": [{"port": "29500", "protocol": "tcp"}]}]
    result = apply([article({"endpointSelector": {}, "ingress": [{"toPorts": ports}]})])
    assert "spec.ingress[0].toPorts[0].ports[0].protocol" in result.data["msg"]


def test_the_articles_29500_manifest_is_accepted_by_the_api(apply: Call) -> None:
    spec = {
        "endpointSelector": {"matchLabels": {"role": "worker"}},
        "ingress": [
            {
                "fromEndpoints": [{"matchLabels": {"role": "pytorch-master"}}],
                "authentication": {"mode": "required"},
                "toPorts": [{"ports": [{"port": "29500", "protocol": "TCP"}]}],
            }
        ],
    }
    assert not apply([article(spec)]).failed


def test_a_missing_namespace_is_named(apply: Call) -> None:
    result = apply(rendered(policy("a", namespace="nowhere")))
    assert result.data["refused"][0]["code"] == "ZT705"
    assert 'namespaces "nowhere" not found' in result.data["msg"]


def test_drift_in_our_field_by_another_manager_is_a_conflict(cluster: t.Any, apply: Call) -> None:
    apply(rendered(policy("a")))
    path = f"{POLICIES}/a"
    body = {"spec": {"endpointSelector": {"matchLabels": {"app": "other"}}}}
    query = {"fieldManager": "kubectl-edit"}
    cluster.client.request("PATCH", path, query=query, body=body, content_type="application/merge-patch+json")
    before = cluster.client.get(path)
    result = apply(rendered(policy("a")))
    assert result.data["refused"][0]["code"] == "ZT706"
    assert "kubectl-edit" in result.data["msg"]
    assert "spec.endpointSelector" in result.data["msg"]
    assert cluster.client.get(path) == before


def test_fields_that_another_manager_added_are_found(cluster: t.Any, apply: Call) -> None:
    apply(rendered(policy("a")))
    body = {"spec": {"egress": [{"toEntities": ["world"]}]}}
    query = {"fieldManager": "hand"}
    path, merge = f"{POLICIES}/a", "application/merge-patch+json"
    cluster.client.request("PATCH", path, query=query, body=body, content_type=merge)
    result = apply(rendered(policy("a")))
    assert result.data["refused"][0]["code"] == "ZT706"
    assert "owned by hand" in result.data["msg"]


def test_a_removed_object_comes_back(cluster: t.Any, apply: Call) -> None:
    apply(rendered(policy("a"), policy("b")))
    cluster.client.request("DELETE", f"{POLICIES}/a")
    assert apply(rendered(policy("a"), policy("b"))).data["created"] == ["CiliumNetworkPolicy ai-workloads/a"]


def test_a_foreign_policy_of_the_same_name_is_left_alone(cluster: t.Any, apply: Call) -> None:
    body = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "a"},
        "spec": {"endpointSelector": {}, "egress": [{}]},
    }
    cluster.client.request("POST", POLICIES, body=body, query={"fieldManager": "someone"})
    result = apply(rendered(policy("a")))
    assert result.data["refused"][0]["code"] == "ZT706"
    assert "someone" in result.data["msg"]
    assert "ingress" not in cluster.client.get(f"{POLICIES}/a")["spec"]


def names(*wanted: str) -> list[t.Any]:
    return rendered(*(policy(name) for name in wanted))


def test_prune_of_up_to_a_fifth_needs_no_consent(cluster: t.Any, apply: Call) -> None:
    apply(names(*"abcdefghij"))
    result = apply(names(*"abcdefgh"))
    assert result.data["pruned"] == ["CiliumNetworkPolicy ai-workloads/i", "CiliumNetworkPolicy ai-workloads/j"]
    assert len(cluster.client.list_all(POLICIES)) == 8


@pytest.mark.parametrize(("left", "words"), [("", "the set is empty"), ("abcdefg", "3 of 10"), ("k", "10 of 10")])
def test_prune_of_more_is_refused_before_anything_changes(cluster: t.Any, apply: Call, left: str, words: str) -> None:
    apply(names(*"abcdefghij"))
    refused = apply(names(*left))
    assert refused.data["refused"][0]["code"] == "ZT704"
    assert words in refused.data["msg"]
    assert {obj["metadata"]["name"] for obj in cluster.client.list_all(POLICIES)} == set("abcdefghij")
    assert not apply(names(*left), allow_prune=True).failed
    assert {obj["metadata"]["name"] for obj in cluster.client.list_all(POLICIES)} == set(left)


def test_the_last_policy_of_a_namespace_is_pruned_with_consent_only(cluster: t.Any, apply: Call) -> None:
    many = [policy(name) for name in "abcdefghij"]
    apply(rendered(*many, policy("lone", namespace="storage")))
    refused = apply(rendered(*many))
    assert "namespace storage: the last policy" in refused.data["msg"]
    assert apply(rendered(*many), allow_prune=True).data["pruned"] == ["CiliumNetworkPolicy storage/lone"]


def test_prune_never_touches_another_set_or_cluster(cluster: t.Any, apply: Call) -> None:
    for other in ({"set_name": "other", "cluster_name": "lab"}, {"set_name": "test", "cluster_name": "elsewhere"}):
        objects, _ = render([policy(f"of-{other['set_name']}-{other['cluster_name']}")], **other)
        assert apply(objects, **other).data["created"]
    apply(names(*"abcdef"))
    assert len(apply(names(), allow_prune=True).data["pruned"]) == 6
    left = {obj["metadata"]["name"] for obj in cluster.client.list_all(POLICIES)}
    assert left == {"of-other-lab", "of-test-elsewhere"}


def test_objects_of_another_set_are_refused(apply: Call) -> None:
    assert "does not carry the labels" in apply(names("a"), set_name="other").data["msg"]


def test_read_role_cannot_apply_and_apply_role_can(cluster: t.Any, apply: Call, account: Call, roles: None) -> None:
    read = [("ClusterRole", "aicluster-zerotrust-read", None)]
    reader = apply(names("a"), kubeconfig=account("reader", read))
    assert reader.data["refused"][0]["code"] == "ZT911"
    assert cluster.client.list_all(POLICIES) == []
    writer = account("writer", [("ClusterRole", "aicluster-zerotrust-apply", None)])
    assert not apply(names("a"), kubeconfig=writer).failed
    assert apply([], kubeconfig=writer, allow_prune=True).data["pruned"]


def test_a_thousand_policies_in_seconds(cluster: t.Any, apply: Call) -> None:
    objects = rendered(*(policy(f"p{number}", namespace="bench") for number in range(1000)))
    began = time.monotonic()
    assert len(apply(objects).data["created"]) == 1000
    first = time.monotonic() - began
    began = time.monotonic()
    assert apply(objects).data["unchanged"] == 1000
    again = time.monotonic() - began
    assert len(apply([], allow_prune=True).data["pruned"]) == 1000
    # 4.0 s and 0.3 s on a quiet machine of 2 cores; the limits only catch a return to one request after another.
    assert (first < 120, again < 30) == (True, True), (first, again)


# The Lease ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def hold(cluster: t.Any, module: Call) -> t.Iterator[Call]:
    def call(holder: str, state: str = "held", **arguments: t.Any) -> t.Any:
        return module(cluster_lease.main, kubeconfig=cluster.kubeconfig, holder=holder, state=state, **arguments)

    yield call
    cluster.client.request("DELETE", lease.COLLECTION, query={"fieldSelector": f"metadata.name={lease.NAME}"})


def test_one_writer_at_a_time(hold: Call) -> None:
    assert hold("run-1").data["said"] == "acquired"
    refused = hold("run-2")
    assert refused.data["msg"].startswith("ZT623: run run-1 is changing this cluster")
    assert hold("run-2", "released").data["said"] == "held by run-1"
    assert hold("run-1").data["said"] == "renewed"
    released = hold("run-1", "released")
    assert (released.data["said"], released.data["changed"]) == ("released", False)
    assert hold("run-1", "released").data["said"] == "not held"
    assert hold("run-2").data["said"] == "acquired"


def test_an_expired_lease_is_taken_over(cluster: t.Any, hold: Call) -> None:
    hold("dead", duration_seconds=1)
    time.sleep(1.2)
    assert hold("run-2").data["said"] == "taken over from dead"
    assert cluster.client.get(f"{lease.COLLECTION}/{lease.NAME}")["spec"]["leaseTransitions"] == 1


def test_check_mode_takes_nothing(cluster: t.Any, hold: Call) -> None:
    assert not hold("run-1", check=True).failed
    assert cluster.client.get(f"{lease.COLLECTION}/{lease.NAME}") is None


def test_two_takers_at_once_one_wins(cluster: t.Any, hold: Call) -> None:
    hold("dead", duration_seconds=1)
    time.sleep(1.2)

    class Raced:
        """A client that lets another run take the lease between our reading and our writing."""

        def get(self, path: str) -> t.Any:
            return cluster.client.get(path)

        def request(self, method: str, path: str, **how: t.Any) -> t.Any:
            if method == "PUT" and not getattr(self, "done", False):
                self.done = True
                lease.acquire(cluster.client, "quick", 60, time.time())
            return cluster.client.request(method, path, **how)

    with pytest.raises(lease.LeaseHeld, match="run quick"):
        lease.acquire(t.cast(t.Any, Raced()), "slow", 60, time.time())
