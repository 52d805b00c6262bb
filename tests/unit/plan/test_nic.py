# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import nic
from ansible_collections.aicluster.zerotrust.tests.unit.plan import factory
from ansible_collections.aicluster.zerotrust.tests.unit.plan.factory import codes, facts, host, node

RESET = {"zerotrust_allow": ["link_reset"]}
CHANGE = [{"interface": "node0", "mtu_from": 1500, "mtu_to": 9000}]


def _facts(**changes: t.Any) -> dict[str, t.Any]:
    """facts with changes of node0 itself."""
    result = facts(1)
    result["interfaces"][1].update(changes)
    return result


def _plan(
    given: dict[str, t.Any], extra: dict[str, t.Any] | None = RESET, mtu: int | None = 9000, **host_changes: t.Any
) -> tuple[list[dict[str, t.Any]], list[str]]:
    cluster_node = host_changes.pop("cluster_node", node(1))
    intent = factory.intent(extra, zerotrust_node_network_mtu=mtu)
    changes, findings = nic.plan_host(host(1, node=given, **host_changes), intent, cluster_node)
    return changes, codes(findings)


def test_change_with_consent() -> None:
    assert _plan(facts(1)) == (CHANGE, [])


def test_no_target_and_reached_target_mean_no_change() -> None:
    assert _plan(facts(1), mtu=None) == ([], [])
    assert _plan(_facts(mtu=9000)) == ([], [])


def test_a_hosts_own_target_wins() -> None:
    assert _plan(facts(1), intent_mtu=4000)[0][0]["mtu_to"] == 4000


@pytest.mark.parametrize(
    ("given", "extra", "code"),
    [
        (facts(1), {}, "ZT207"),
        (_facts(max_mtu=1500), RESET, "ZT204"),
        (_facts(min_mtu=9100), RESET, "ZT204"),
        (facts(1, systemd=None), RESET, "ZT206"),
        (_facts(driver="mlx5_core"), RESET, "ZT203"),
        (facts(1, busy={"gpu_processes": 2}), RESET, "ZT209"),
        (facts(1, busy={"verbs_users": None}), RESET, "ZT209"),
        (facts(1, busy={"slurm_steps": 1}), RESET, "ZT209"),
    ],
)
def test_what_stops_a_change(given: dict[str, t.Any], extra: dict[str, t.Any], code: str) -> None:
    assert _plan(given, extra) == ([], [code])


def test_gpu_pods_on_a_schedulable_node_make_it_busy() -> None:
    assert _plan(facts(1), cluster_node=node(1, gpu_pods=8)) == ([], ["ZT209"])
    assert _plan(facts(1), cluster_node=node(1, gpu_pods=8, unschedulable=True)) == (CHANGE, [])
    assert _plan(facts(1), cluster_node=node(1, gpu_pods=None)) == ([], ["ZT209"])


def test_consents_of_the_site() -> None:
    both = {"zerotrust_allow": ["link_reset", "busy_hosts"]}
    assert _plan(facts(1, busy={"gpu_processes": 2}), both) == (CHANGE, [])
    assert _plan(_facts(driver="mlx5_core"), intent_accept_untested_hardware=True) == (CHANGE, [])


@pytest.mark.parametrize("change", [{"rdma": ["mlx5_0"]}, {"is_vf": True}])
def test_rdma_and_vf_are_never_changed(change: dict[str, t.Any]) -> None:
    every = {"zerotrust_allow": ["link_reset", "busy_hosts"]}
    assert _plan(_facts(**change), every, intent_accept_untested_hardware=True) == ([], [])


def _check(given: dict[str, t.Any], devices: list[str], *interfaces: str) -> list[str]:
    return codes(nic.check_interfaces(host(1, node=given, intent_interfaces=interfaces), node(1), devices))


def test_interfaces() -> None:
    two = facts(1)
    two["interfaces"].append(factory.nic("rail0", ["10.9.0.1/24"], rdma=["mlx5_0"]))
    two["interfaces"].append(factory.nic("mgmt0", ["10.8.0.1/24"]))
    assert _check(two, ["node0"], "node0") == []
    assert _check(two, ["eth9"], "eth9") == ["ZT201"]
    assert _check(two, ["rail0", "node0"], "node0", "rail0") == ["ZT202"]
    assert _check(two, ["mgmt0"], "mgmt0") == ["ZT205"]
    assert _check(_facts(is_vf=True), ["node0"], "node0") == ["ZT202"]


def test_another_hosts_interface_name_that_is_a_rail_here() -> None:
    two = facts(1)
    two["interfaces"].append(factory.nic("eth2", [], rdma=["mlx5_0"]))
    assert _check(two, ["eth2", "node0"], "node0") == ["ZT202"]


def test_hosts_that_differ() -> None:
    nodes = {"gpu1": node(1), "gpu2": node(2)}
    big = facts(2)
    big["interfaces"][1]["mtu"] = 9000
    hosts = [host(1), host(2, node=big)]
    assert codes(nic.differing(hosts, factory.intent(), nodes)) == ["ZT302"]
    assert nic.differing(hosts, factory.intent(zerotrust_node_network_mtu=9000), nodes) == []
