# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import cilium, existing
from ansible_collections.aicluster.zerotrust.tests.unit.plan import factory
from ansible_collections.aicluster.zerotrust.tests.unit.plan.factory import NOW, codes, merge

RESTART = {"zerotrust_allow": ["agent_restart"]}


def _values(**variables: t.Any) -> dict[str, t.Any]:
    intent = factory.intent(**variables)
    return cilium.render(intent, devices=["node0"], direct_device="node0", multus=False, node_count=2)


def _check(found: dict[str, t.Any], extra: dict[str, t.Any] | None = None, **variables: t.Any) -> list[str]:
    intent = factory.intent(extra, **variables)
    values = cilium.render(intent, devices=["node0"], direct_device="node0", multus=False, node_count=2)
    return codes(existing.check(intent, found, values, NOW))


FLANNEL = {"name": "flannel", "object": "DaemonSet kube-flannel/kube-flannel-ds", "managed_by": {}}
MULTUS = {"name": "multus", "object": "DaemonSet kube-system/kube-multus-ds", "managed_by": {}}


def test_empty_and_our_own_cluster_are_fine() -> None:
    assert _check(factory.cluster()) == []
    assert _check(factory.installed(_values())) == []


def test_foreign_cni_blocks_and_multus_does_not() -> None:
    assert _check(factory.cluster(cni_owners=[FLANNEL, MULTUS])) == ["ZT601"]


def _unmarked() -> dict[str, t.Any]:
    values = _values()
    del values["annotations"]
    return factory.installed(values)


def _managed(tool: str) -> dict[str, t.Any]:
    return merge(factory.installed(_values()), {"cilium": {"daemonset": {"managed_by": {"tool": tool}}}})


@pytest.mark.parametrize(
    "found",
    [
        _unmarked(),
        {**_unmarked(), "release": None},
        _managed("argocd"),
        _managed("flux"),
    ],
    ids=["release of another tool", "no release", "Argo CD", "Flux"],
)
def test_a_cilium_that_is_not_ours_blocks_and_nothing_else_is_said(found: dict[str, t.Any]) -> None:
    assert _check(found, zerotrust_routing="native", cilium_version="1.19.0") == ["ZT602"]


def test_adopt_takes_a_helm_release_but_never_argocds() -> None:
    adopt = {"zerotrust_allow": ["adopt"]}
    assert _check(_unmarked(), adopt) == []
    assert _check(_managed("argocd"), adopt) == ["ZT602"]


@pytest.mark.parametrize(
    ("present", "replacement", "expected"),
    [(True, False, []), (False, True, []), (False, False, [("ZT603", "blocker")]), (None, False, [("ZT603", "warn")])],
)
def test_somebody_must_serve_services(present: bool | None, replacement: bool, expected: list[t.Any]) -> None:
    intent = factory.intent(cilium_kube_proxy_replacement=replacement)
    found = existing.check(intent, factory.cluster(kube_proxy={"present": present}), _values(), NOW)
    assert [(f.code, f.severity) for f in found] == expected


@pytest.mark.parametrize(
    ("variables", "key"),
    [
        ({"zerotrust_routing": "native"}, "routing-mode"),
        ({"cilium_ipam_mode": "cluster-pool"}, "ipam"),
        ({"cilium_values": {"bpf": {"datapathMode": "netkit"}}}, "datapath-mode"),
        ({"zerotrust_cluster_name": "other"}, "cluster-name"),
    ],
)
def test_data_path_of_running_agents_does_not_change(variables: dict[str, t.Any], key: str) -> None:
    intent = factory.intent(**variables)
    found = existing.check(intent, factory.installed(_values()), _values(**variables), NOW)
    assert [(f.code, f.subject.name) for f in found] == [("ZT604", f"cilium-config {key}")]


def test_pod_cidr_of_running_agents_does_not_change() -> None:
    pool = {"cilium_ipam_mode": "cluster-pool"}
    wanted = {**pool, "zerotrust_pod_cidrs": ["10.245.0.0/16"]}
    assert _check(factory.installed(_values(**pool)), **wanted) == ["ZT604"]


def test_data_path_may_change_while_no_agent_is_ready() -> None:
    found = merge(factory.installed(_values()), {"cilium": {"daemonset": {"ready": 0}}})
    assert _check(found, zerotrust_routing="native") == []


def test_encryption_and_drop_never_change_together() -> None:
    clear = factory.installed(_values(zerotrust_transport_encryption="none"))
    drop = {"zerotrust_drop_unencrypted": {"ingress": True}}
    assert _check(clear, **drop) == ["ZT605"]
    assert _check(clear) == []
    assert _check(factory.installed(_values()), **drop) == []
    dropping = factory.installed(_values(**drop), {"enable-encryption-strict-mode-ingress": "true"})
    assert _check(dropping, zerotrust_transport_encryption="none") == ["ZT605"]
    # On a first installation no pod depends on anything yet.
    assert _check(factory.cluster(), **drop) == []


@pytest.mark.parametrize(
    ("running", "wanted", "blocked"),
    [
        ("1.20.0", "1.20.2", False),
        ("1.20.2", "1.20.0", False),
        ("1.19.6", "1.20.2", False),
        ("1.18.14", "1.20.2", True),
        ("1.20.2", "1.19.6", True),
    ],
)
def test_one_minor_step_forward_only(running: str, wanted: str, blocked: bool) -> None:
    found = factory.installed(_values(), app_version=running, chart_version=running)
    assert _check(found, cilium_version=wanted) == (["ZT621"] if blocked else [])


def test_running_version_comes_from_the_image_where_no_release_says_it() -> None:
    assert existing.running_version({**factory.installed(_values()), "release": None}) == "1.20.2"
    assert existing.running_version(factory.cluster()) is None


def _lease(renewed: float, holder: str = "other-run") -> dict[str, t.Any]:
    return {"holder": holder, "renewed_epoch": renewed, "duration_seconds": 60}


def test_another_run_holds_the_lease() -> None:
    assert _check(factory.cluster(lease=_lease(NOW - 30))) == ["ZT623"]
    assert _check(factory.cluster(lease=_lease(NOW - 90))) == []
    assert _check(factory.cluster(lease=_lease(NOW - 30, ""))) == []


@pytest.mark.parametrize(
    ("status", "age", "expected"),
    [
        ("pending-upgrade", 60, ["ZT618"]),
        ("pending-upgrade", 700, []),
        ("failed", 5, []),
        ("uninstalling", 9000, ["ZT618"]),
        ("deployed", 5, []),
    ],
)
def test_release_in_progress(status: str, age: float, expected: list[str]) -> None:
    assert _check(factory.installed(_values(), status=status, updated_epoch=NOW - age)) == expected


def test_release_in_progress_under_a_live_lease_is_one_finding() -> None:
    found = factory.installed(_values(), status="pending-upgrade", updated_epoch=NOW - 60)
    assert _check({**found, "lease": _lease(NOW)}) == ["ZT623"]


def _decide(found: dict[str, t.Any], extra: dict[str, t.Any] | None = None, **variables: t.Any) -> tuple[str, bool]:
    intent = factory.intent(extra, **variables)
    action = existing.decide(intent, found, _values(**variables))
    return action.name, action.left


def test_decisions() -> None:
    ours = factory.installed(_values())
    assert _decide(factory.cluster()) == ("install", False)
    assert _decide(ours) == ("none", False)
    assert _decide(ours, zerotrust_transport_encryption="none") == ("none", True)
    assert _decide(ours, RESTART, zerotrust_transport_encryption="none") == ("upgrade", False)
    assert _decide(factory.installed(_values(), status="failed"), RESTART) == ("recover", False)
    dead = merge(factory.installed(_values(), status="failed"), {"cilium": {"daemonset": {"ready": 0}}})
    assert _decide(dead) == ("recover", False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"release": {"chart_version": "1.20.0"}}, "chart 1.20.0 -> 1.20.2"),
        ({"release": {"values": {"debug": True}}}, "values differ"),
        ({"cilium": {"config": {"enable-wireguard": "false"}}}, "behind the release: enable-wireguard"),
        ({"cilium": {"config": {"added-by-hand": "x"}}}, "added-by-hand"),
        ({"cilium": {"daemonset": None}}, "DaemonSet is missing"),
    ],
)
def test_unchanged_means_unchanged_in_effect(change: dict[str, t.Any], words: str) -> None:
    found = merge(factory.installed(_values()), change)
    reasons = existing.changes(factory.intent(), found, _values())
    assert len(reasons) == 1
    assert words in reasons[0]


@pytest.mark.parametrize(
    ("change", "action"),
    [
        ({}, "none"),
        # Agents that roll out, or a Node that is down for weeks, are nothing that Helm would cure.
        ({"cilium": {"daemonset": {"current": False}}}, "none"),
        ({"release": {"chart_version": "1.20.0"}}, "upgrade"),
        ({"release": {"status": "failed"}}, "recover"),
        # The Helm module compares chart and values only, and would say unchanged.
        ({"cilium": {"config": {"enable-wireguard": "false"}}}, "recover"),
        ({"cilium": {"daemonset": None}}, "recover"),
    ],
)
def test_drift_puts_the_record_aside(change: dict[str, t.Any], action: str) -> None:
    found = merge(factory.installed(_values()), change)
    intent = factory.intent({"zerotrust_allow": ["agent_restart"]})
    assert existing.decide(intent, found, _values()).name == action
