# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent import mappings
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import chartkeys, cilium
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan.run import node_network
from ansible_collections.aicluster.zerotrust.tests.unit.plan import factory

# An excerpt in the style of the 1.20 chart: schema comments, prose, keys that are commented out.
VALUES_YAML = """\
# -- Enable things.
# @schema
# type: [null, string]
# @schema
encryption:
  enabled: false
  type: ipsec
  nodeEncryption: false
  strictMode:
    egress:
      # -- Enable strict egress encryption.
      enabled: false
      cidr: ""
socketLB:
  # -- Enable socket LB
  enabled: false
  # hostNamespaceOnly: false
# policyAuditMode: false
nodeSelector:
  kubernetes.io/os: linux
extraConfig: {}
bandwidthManager:
  enabled: false
  # -- Note: this is prose
  bbr: false
devices: ""
verbose: ~
"""


def _render(**variables: t.Any) -> dict[str, t.Any]:
    return cilium.render(
        factory.intent(**variables), devices=["node0"], direct_device="node0", multus=False, node_count=3
    )


def test_devices_are_explicit_and_mtu_is_never_set() -> None:
    values = _render(zerotrust_node_network_mtu=9000)
    assert values["devices"] == ["node0"]
    assert values["nodePort"] == {"directRoutingDevice": "node0"}
    assert "MTU" not in values


@pytest.mark.parametrize(
    ("variables", "path", "expected"),
    [
        ({}, "encryption", {"enabled": True, "type": "wireguard"}),
        ({"zerotrust_transport_encryption": "none"}, "encryption", {"enabled": False}),
        ({}, "routingMode", "tunnel"),
        ({}, "tunnelProtocol", "vxlan"),
        ({"zerotrust_routing": "native"}, "routingMode", "native"),
        ({"zerotrust_routing": "native"}, "tunnelProtocol", None),
        ({"zerotrust_routing": "native"}, "ipv4NativeRoutingCIDR", "10.244.0.0/16"),
        ({"zerotrust_routing": "native"}, "autoDirectNodeRoutes", True),
        (
            {"zerotrust_routing": "native", "cilium_values": {"autoDirectNodeRoutes": False}},
            "autoDirectNodeRoutes",
            False,
        ),
        ({}, "ipam", {"mode": "kubernetes"}),
        ({}, "ipv4", None),
        ({"zerotrust_pod_cidrs": ["10.244.0.0/16", "fd00:1::/48"]}, "ipv4", None),
        ({"zerotrust_pod_cidrs": ["fd00:1::/48"]}, "ipv4.enabled", False),
        (
            {"cilium_ipam_mode": "cluster-pool"},
            "ipam.operator",
            {"clusterPoolIPv4PodCIDRList": ["10.244.0.0/16"]},
        ),
        ({}, "kubeProxyReplacement", "false"),
        ({"cilium_k8s_service_host": "h"}, "k8sServicePort", 6443),
        (
            {"zerotrust_drop_unencrypted": {"egress": True}},
            "encryption.strictMode",
            {"egress": {"enabled": True, "cidr": "10.244.0.0/16", "allowRemoteNodeIdentities": True}},
        ),
        (
            {"zerotrust_drop_unencrypted": {"ingress": True}},
            "encryption.strictMode",
            {"ingress": {"enabled": True}},
        ),
        ({"zerotrust_cluster_name": "lab"}, "cluster.name", "lab"),
        ({"zerotrust_pod_cidrs": ["10.244.0.0/16", "fd00:1::/48"]}, "ipv6.enabled", True),
        ({}, "ipv6", None),
        ({"cilium_values": {"hubble": {"tls": {"enabled": False}}}}, "hubble.tls.enabled", False),
        ({}, "rollOutCiliumPods", True),
    ],
)
def test_values(variables: dict[str, t.Any], path: str, expected: t.Any) -> None:
    assert mappings.get(_render(**variables), path) == expected


def test_intent_wins_over_extra_values() -> None:
    values = _render(cilium_values={"encryption": {"enabled": False, "nodeEncryption": True}})
    assert values["encryption"] == {"enabled": True, "type": "wireguard", "nodeEncryption": True}


def test_devices_are_the_union_where_hosts_differ_and_direct_device_is_the_commonest() -> None:
    other = factory.facts(3)
    other["interfaces"][1]["name"] = "eno1"
    hosts = [factory.host(1), factory.host(2), factory.host(3, node=other, intent_interfaces=("eno1",))]
    nodes = {f"gpu{n}": factory.node(n) for n in (1, 2, 3)}
    assert node_network(hosts, nodes) == (["eno1", "node0"], "node0")


def _keys(values: dict[str, t.Any]) -> list[tuple[str, str, str | None]]:
    chart = chartkeys.ChartKeys(VALUES_YAML)
    return [(f.code, f.observed, f.expected) for f in chartkeys.check(values, chart, "1.20.2")]


@pytest.mark.parametrize(
    "values",
    [
        {"encryption": {"nodeEncryption": True}},
        {"socketLB": {"hostNamespaceOnly": True}},
        {"policyAuditMode": True},
        {"nodeSelector": {"gpu": "yes"}},
        {"extraConfig": {"any-key": "x"}},
        {"verbose": "flow"},
        {},
    ],
)
def test_keys_of_the_chart_pass(values: dict[str, t.Any]) -> None:
    assert _keys(values) == []


@pytest.mark.parametrize(
    ("values", "observed", "expected"),
    [
        ({"bandwithManager": {"enabled": True}}, "bandwithManager", "bandwidthManager"),
        ({"bandwidthManager": {"bbrr": True}}, "bandwidthManager.bbrr", "bandwidthManager.bbr"),
        ({"Note": 1}, "Note", None),
        ({"type": 1}, "type", None),
    ],
)
def test_unknown_key_names_the_nearest(values: dict[str, t.Any], observed: str, expected: str | None) -> None:
    found = _keys(values)
    assert [(code, seen) for code, seen, _near in found] == [("ZT607", observed)]
    assert expected is None or found[0][2] == expected


def test_removed_strict_mode_key_is_refused_as_unknown_and_as_the_intents() -> None:
    assert ("ZT609", "encryption.strictMode", "zerotrust_drop_unencrypted") in _keys(
        {"encryption": {"strictMode": {"enabled": True}}}
    )
    found = chartkeys.ChartKeys(VALUES_YAML).unknown({"encryption": {"strictMode": {"enabled": True}}})
    assert found == [("encryption.strictMode.enabled", "encryption.strictMode.egress.enabled")]


@pytest.mark.parametrize("path", sorted(cilium.OWNED))
def test_every_key_of_the_intent_is_refused(path: str) -> None:
    values: t.Any = "x"
    for step in reversed(path.split(".")):
        values = {step: values}
    assert "ZT609" in [code for code, _seen, _near in _keys(values)]


def test_values_without_a_readable_chart_are_not_taken_on_trust() -> None:
    assert [f.code for f in chartkeys.check({"debug": {"enabled": True}}, None, "1.20.2")] == ["ZT917"]
