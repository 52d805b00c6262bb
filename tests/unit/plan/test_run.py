# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import run
from ansible_collections.aicluster.zerotrust.tests.unit.plan import factory
from ansible_collections.aicluster.zerotrust.tests.unit.plan.factory import cluster, facts, host, intent, node, plan

RESTART = {"zerotrust_allow": ["agent_restart", "link_reset", "enforce"]}


def _blockers(made: run.Plan) -> list[tuple[str, str]]:
    return [(finding.code, str(finding.subject)) for finding in made.blockers]


def test_healthy_first_run_installs() -> None:
    made = plan()
    assert _blockers(made) == []
    assert made.actions() == {"cilium": "install", "istio": "none", "policy": "none", "identity": "none", "nic": {}}
    assert made.document["mtu"]["pod"] == 1500 - 95 - 50


def test_second_run_has_nothing_to_do() -> None:
    first = plan()
    second = plan(found=factory.installed(first.document["cilium"]["values"]))
    assert _blockers(second) == []
    assert second.actions() == {"cilium": "none", "istio": "none", "policy": "none", "identity": "none", "nic": {}}
    assert run.diff(second, factory.installed({}))["after"] == ""


def test_same_input_gives_the_same_bytes_and_findings_do_not_count() -> None:
    one, two = plan(), plan()
    assert json.dumps(one.document) == json.dumps(two.document)
    changed = {**one.document, "findings": [{"message": "better words"}]}
    assert run.fingerprint(changed) == one.sha256
    assert run.fingerprint({**one.document, "mtu": {}}) != one.sha256


def test_blocker_on_one_host_leaves_no_action_anywhere() -> None:
    old = facts(2, kernel={"release": "5.4.0"})
    made = plan(
        intent(RESTART, zerotrust_node_network_mtu=9000),
        hosts=[host(1), host(2, node=old)],
        policies=[{"kind": "CiliumNetworkPolicy"}],
    )
    assert _blockers(made) == [("ZT101", "host gpu2")]
    assert made.actions() == {"cilium": "none", "istio": "none", "policy": "none", "identity": "none", "nic": {}}


def test_accepted_blocker_does_not_stop() -> None:
    entry = {"code": "ZT104", "subject": "host gpu1", "reason": "lab", "owner": "ops", "until": "2027-01-01"}
    bare = facts(1, kernel={"wireguard": "missing"})
    made = plan(intent(zerotrust_accept=[entry]), hosts=[host(1, node=bare), host(2)])
    assert _blockers(made) == []
    assert [f.state for f in made.findings if f.code == "ZT104"] == ["accepted"]
    assert "accepted: 1 findings (ZT104)" in run.summary(made)
    twice = plan(
        intent(zerotrust_accept=[entry]), hosts=[host(1, node=bare), host(2, node=facts(2, kernel=bare["kernel"]))]
    )
    assert _blockers(twice) == [("ZT104", "host gpu2")]


def test_interfaces_must_be_named_for_every_host_in_site_only() -> None:
    hosts = [host(1), host(2, intent_interfaces=())]
    assert _blockers(plan(hosts=hosts)) == [("ZT901", "variable zerotrust_node_network_interfaces of gpu2")]
    assert _blockers(plan(hosts=hosts, mode="preflight")) == []


def test_limited_run_changes_hosts_in_it_and_nothing_of_the_cluster() -> None:
    hosts = [host(1), host(2, node=None, in_run=False, address="10.0.0.2")]
    made = plan(
        intent(RESTART, zerotrust_node_network_mtu=9000),
        hosts=hosts,
        limited=True,
        policies=[{"kind": "CiliumNetworkPolicy"}],
    )
    assert _blockers(made) == []
    assert made.actions()["cilium"] == "none"
    assert made.actions()["policy"] == "none"
    assert list(made.actions()["nic"]) == ["gpu1"]
    # Values describe all nodes, also those that the limit left out.
    assert made.document["cilium"]["values"]["devices"] == ["node0"]


def test_limited_run_is_refused_by_a_blocker_all_the_same() -> None:
    hosts = [host(1, node=facts(1, kernel={"fips": True})), host(2, node=None, in_run=False)]
    made = plan(hosts=hosts, limited=True)
    assert _blockers(made) == [("ZT105", "host gpu1")]


def test_unreachable_hosts() -> None:
    hosts = [host(1), host(2, node=None, unreachable=True, error="no route")]
    assert _blockers(plan(hosts=hosts)) == [("ZT912", "host gpu2")]
    assert _blockers(plan(intent(zerotrust_max_unreachable=1), hosts=hosts)) == []
    assert _blockers(plan(hosts=hosts, mode="verify")) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("permission denied", "ZT112"),
        ("ansible-core requires a minimum of Python version 3.8. Current version: 3.6.8", "ZT109"),
    ],
)
def test_hosts_on_which_the_observation_failed(error: str, code: str) -> None:
    hosts = [host(1), host(2, node=None, error=error)]
    assert _blockers(plan(hosts=hosts)) == [(code, "host gpu2")]


def test_maintenance_is_no_finding() -> None:
    hosts = [host(1), host(2, node=None, excluded="fan (until 2026-10-01)")]
    made = plan(hosts=hosts)
    assert _blockers(made) == []
    assert made.document["hosts"]["gpu2"] == {"node": "gpu2", "excluded": "fan (until 2026-10-01)"}


def test_pinned_cluster_that_is_another_is_one_blocker() -> None:
    nodes = [node(7, internal_ips=["172.16.0.7"], pod_cidrs=["10.99.0.0/24"])]
    other = cluster(uid="ffffffff-0000-0000-0000-000000000000", nodes=nodes, kube_proxy={"present": False})
    assert [code for code, _subject in _blockers(plan(found=other))] == ["ZT907"]


def test_unpinned_other_cluster_is_one_root() -> None:
    nodes = [node(7, internal_ips=["172.16.0.7"], pod_cidrs=["10.99.0.0/24"])]
    other = cluster(nodes=nodes, kube_proxy={"present": False})
    made = plan(intent(zerotrust_cluster_uid=None), found=other)
    assert [code for code, _subject in _blockers(made)] == ["ZT908"]


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (cluster(permissions={"denied": [{"verb": "list", "resource": "nodes", "namespace": None}]}), "ZT911"),
        (cluster(read_errors=[{"what": "helm release", "error": "timed out"}]), "ZT918"),
        (cluster(nodes=[node(1), node(2, pod_cidrs=["10.1.2.0/24"])]), "ZT915"),
        (cluster(service_cidrs=["10.244.128.0/20"]), "ZT904"),
        (cluster(lease={"holder": "x", "renewed_epoch": factory.NOW, "duration_seconds": 60}), "ZT623"),
        (cluster(cni_owners=[{"name": "flannel", "object": "DaemonSet a/b"}]), "ZT601"),
    ],
)
def test_cluster_blockers(found: dict[str, t.Any], code: str) -> None:
    assert [seen for seen, _subject in _blockers(plan(found=found))] == [code]


def test_denied_writes_do_not_stop_a_reader() -> None:
    found = cluster(permissions={"denied": [{"verb": "patch", "resource": "secrets", "namespace": "kube-system"}]})
    assert [code for code, _subject in _blockers(plan(found=found))] == ["ZT911"]
    assert _blockers(plan(found=found, mode="preflight")) == []


def test_node_addresses_inside_the_pod_range() -> None:
    found = cluster()
    made = plan(intent(zerotrust_pod_cidrs=["10.0.0.0/16"]), found=found)
    assert "ZT904" in [code for code, _subject in _blockers(made)]


@pytest.mark.parametrize(
    ("helm", "chart", "code"),
    [
        ({"version": None, "error": "not found"}, None, "ZT916"),
        ({"version": "v4.0.1", "error": None}, None, "ZT916"),
        ({"version": "v3.21.4", "error": None}, {"version": None, "values_yaml": None, "error": "gone"}, "ZT917"),
        (
            {"version": "v3.21.4", "error": None},
            {"version": "1.19.6", "values_yaml": "a: 1", "error": None},
            "ZT901",
        ),
    ],
)
def test_tools(helm: dict[str, t.Any], chart: dict[str, t.Any] | None, code: str) -> None:
    assert [seen for seen, _subject in _blockers(plan(helm=helm, chart=chart))] == [code]


def test_unknown_chart_key_blocks() -> None:
    chart = {"version": "1.20.2", "values_yaml": "debug:\n  enabled: false\n", "error": None}
    made = plan(intent(cilium_values={"debgu": {"enabled": True}}), chart=chart)
    assert _blockers(made) == [("ZT607", "variable cilium_values.debgu")]


def test_change_of_a_running_cilium_waits_for_consent() -> None:
    running = factory.installed(plan().document["cilium"]["values"])
    made = plan(intent(zerotrust_transport_encryption="none"), found=running)
    assert made.actions()["cilium"] == "none"
    assert [f.code for f in made.findings if f.severity == "info"] == ["ZT625"]
    allowed = plan(intent(RESTART, zerotrust_transport_encryption="none"), found=running)
    assert allowed.actions()["cilium"] == "upgrade"
    assert "wireguard" in run.diff(allowed, running)["before"]


@pytest.mark.parametrize(
    ("stage", "extra", "action"),
    [("observe", RESTART, "dry_run"), ("enforce", {}, "dry_run"), ("enforce", RESTART, "apply")],
)
def test_policies_are_applied_with_stage_and_consent_only(stage: str, extra: dict[str, t.Any], action: str) -> None:
    made = plan(intent(extra, mtls_policy_stage=stage), policies=[{"kind": "CiliumNetworkPolicy"}])
    assert made.actions()["policy"] == action
    assert ("ZT703" in [f.code for f in made.findings]) == (action == "dry_run")


def test_findings_of_other_rooms_are_part_of_the_plan() -> None:
    made = plan(findings=[Finding("ZT701", Subject("object", "policy a"), "bad")])
    assert _blockers(made) == [("ZT701", "object policy a")]


def test_unset_site_intent_takes_defaults_or_what_runs() -> None:
    unset = intent(zerotrust_transport_encryption=None, zerotrust_routing=None)
    assert plan(unset).document["intent"]["transport_encryption"] == "wireguard"
    clear = factory.installed(plan(intent(zerotrust_transport_encryption="none")).document["cilium"]["values"])
    made = plan(unset, found=clear)
    assert made.document["intent"]["transport_encryption"] == "none"
    assert made.actions()["cilium"] == "none"


def test_preflight_of_somebody_elses_cilium_is_harmless_and_takes_its_values() -> None:
    values = plan().document["cilium"]["values"]
    del values["annotations"]
    bare = dict.fromkeys(factory.BASE)
    made = plan(intent(**bare), mode="preflight", found=factory.installed(values), helm=None)
    assert _blockers(made) == []
    taken = made.document["intent"]
    assert (taken["cni"], taken["transport_encryption"], taken["routing"]) == ("existing", "wireguard", "vxlan")
    assert taken["pod_cidrs"] == ["10.244.1.0/24", "10.244.2.0/24"]
    assert made.actions()["cilium"] == "none"


def test_preflight_with_an_inventory_that_says_nothing_describes_our_own_cilium() -> None:
    ours = plan(
        intent(zerotrust_cluster_name="gpu", cilium_kube_proxy_replacement=True, cilium_k8s_service_host="10.0.0.9")
    ).document["cilium"]["values"]
    found = {**factory.installed(ours), "kube_proxy": {"present": False, "object": None}}
    hosts = [host(number, intent_interfaces=()) for number in (1, 2)]
    made = plan(intent(**dict.fromkeys(factory.BASE)), mode="preflight", hosts=hosts, found=found, helm=None)
    assert _blockers(made) == []
    assert made.document["intent"]["cni"] == "existing"


def test_verify_uses_the_running_versions_overhead() -> None:
    running = factory.installed(plan().document["cilium"]["values"], app_version="1.19.4", chart_version="1.19.4")
    made = plan(intent(cilium_version="1.20.2"), mode="verify", found=running)
    assert made.document["mtu"]["encryption_overhead"] == 80


def test_ids_are_the_clusters() -> None:
    old = facts(2, kernel={"release": "5.4.0"})
    one = plan(hosts=[host(1), host(2, node=old)]).blockers[0].id
    other_uid = "11111111-1111-1111-1111-111111111111"
    other = plan(
        intent(zerotrust_cluster_uid=other_uid), hosts=[host(1), host(2, node=old)], found=cluster(uid=other_uid)
    )
    assert other.blockers[0].id != one


def test_plan_of_a_refused_intent_is_a_document_too() -> None:
    finding = Finding("ZT903", Subject("variable", "zerotrust_pod_cidrs"), "bad")
    made = run.refused(intent(), "site", [finding], factory.NOW)
    assert _blockers(made) == [("ZT903", "variable zerotrust_pod_cidrs")]
    assert made.actions() == {"cilium": "none", "istio": "none", "policy": "none", "identity": "none", "nic": {}}
    assert run.summary(made)


def test_native_routing_across_a_router_makes_no_direct_routes_there() -> None:
    native = intent(zerotrust_routing="native")
    one = plan(native)
    assert "directRoutingSkipUnreachable" not in one.document["cilium"]["values"]
    assert "ZT626" not in factory.codes(one.findings)
    far = facts(2)
    far["interfaces"][1]["addresses"] = ["10.0.9.2/24"]
    nodes = [node(1), node(2, internal_ips=["10.0.9.2"])]
    two = plan(native, hosts=[host(1), host(2, node=far)], found=cluster(nodes=nodes))
    assert two.document["cilium"]["values"]["directRoutingSkipUnreachable"] is True
    found = next(finding for finding in two.findings if finding.code == "ZT626")
    assert found.observed == ["10.0.0.0/24", "10.0.9.0/24"]
    assert _blockers(two) == []


@pytest.mark.parametrize(
    ("cidrs", "said"), [(None, True), (["10.244.0.0/16"], True), (["10.244.0.0/16", "fd00:1::/48"], False)]
)
def test_ipv6_ranges_of_nodes_that_nobody_named_are_said(cidrs: list[str] | None, said: bool) -> None:
    nodes = [node(n, pod_cidrs=[f"10.244.{n}.0/24", f"fd00:1:0:{n}::/64"]) for n in (1, 2)]
    made = plan(intent(zerotrust_pod_cidrs=cidrs), found=cluster(nodes=nodes))
    assert ("ZT627" in factory.codes(made.findings)) is said
