# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import cilium, rules_cilium
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan.effective import effective
from ansible_collections.aicluster.zerotrust.tests.unit.plan import factory

DUAL = ["10.244.0.0/16", "fd00:1::/48"]


def _check(variables: dict[str, t.Any], *, multus: bool = False, **node: t.Any) -> list[tuple[str, str, str]]:
    intent = effective(factory.intent(**variables), factory.cluster(), "site")
    values = cilium.render(intent, devices=["node0"], direct_device="node0", multus=multus, node_count=2)
    hosts = [factory.host(1, node=factory.facts(1, **node))]
    found = rules_cilium.check(rules_cilium.Case(intent, values, hosts, multus))
    return [(finding.code, finding.severity, finding.state) for finding in found]


def _blocker(code: str) -> list[tuple[str, str, str]]:
    return [(code, "blocker", "open")]


def _values(**values: t.Any) -> dict[str, t.Any]:
    return {"cilium_values": values}


def _option(name: str, state: str) -> dict[str, t.Any]:
    return {"config": {"options": {name: state}}}


NETKIT = _values(bpf={"datapathMode": "netkit"})
FQ = _values(bandwidthManager={"enabled": True})
BBR = _values(bandwidthManager={"enabled": True, "bbr": True})
UNREAD = {"config": {"source": None, "options": None}}
CASES: list[tuple[str, dict[str, t.Any], dict[str, t.Any], list[tuple[str, str, str]]]] = [
    ("nothing to say", {}, {}, []),
    ("version unknown to us", {"cilium_version": "1.18.14"}, {}, _blocker("ZT606")),
    ("version of the future", {"cilium_version": "1.21.0"}, {}, _blocker("ZT606")),
    ("known version", {"cilium_version": "1.19.6"}, {}, []),
    (
        "drop without encryption",
        {"zerotrust_transport_encryption": "none", "zerotrust_drop_unencrypted": {"ingress": True}},
        {},
        _blocker("ZT610"),
    ),
    ("strict egress", {"zerotrust_drop_unencrypted": {"egress": True}}, {}, []),
    (
        "strict egress with two families",
        {"zerotrust_drop_unencrypted": {"egress": True}, "zerotrust_pod_cidrs": DUAL},
        {},
        _blocker("ZT611"),
    ),
    (
        "strict egress without CIDR",
        {"zerotrust_drop_unencrypted": {"egress": True}, "zerotrust_pod_cidrs": None},
        {},
        _blocker("ZT611"),
    ),
    (
        "cluster pool without CIDR",
        {"cilium_ipam_mode": "cluster-pool", "zerotrust_pod_cidrs": None},
        {},
        _blocker("ZT612"),
    ),
    (
        "native without CIDR",
        {"zerotrust_routing": "native", "zerotrust_pod_cidrs": None},
        {},
        _blocker("ZT612"),
    ),
    (
        "native with two of one family",
        {"zerotrust_routing": "native", "zerotrust_pod_cidrs": ["10.1.0.0/16", "10.3.0.0/16"]},
        {},
        _blocker("ZT612"),
    ),
    ("native dual stack", {"zerotrust_routing": "native", "zerotrust_pod_cidrs": DUAL}, {}, []),
    ("replacement without API", {"cilium_kube_proxy_replacement": True}, {}, _blocker("ZT613")),
    (
        "replacement with API",
        {"cilium_kube_proxy_replacement": True, "cilium_k8s_service_host": "10.0.0.250"},
        {},
        [],
    ),
    ("BIG TCP with encryption", _values(enableIPv6BIGTCP=True), {}, _blocker("ZT614")),
    (
        "BIG TCP with a tunnel",
        {"zerotrust_transport_encryption": "none", **_values(enableIPv4BIGTCP="true")},
        {},
        [("ZT614", "warn", "open")],
    ),
    (
        "BIG TCP native in clear",
        {"zerotrust_transport_encryption": "none", "zerotrust_routing": "native", **_values(enableIPv4BIGTCP=True)},
        {},
        [],
    ),
    ("netkit on 6.1", NETKIT, {}, _blocker("ZT615")),
    ("netkit on 6.8", NETKIT, {"release": "6.8.0-31-generic"}, []),
    ("netkit not built", NETKIT, {"release": "6.8.0", **_option("CONFIG_NETKIT", "n")}, _blocker("ZT615")),
    ("netkit unread", NETKIT, {"release": "6.8.0", **UNREAD}, [("ZT615", "blocker", "unknown")]),
    ("bandwidth manager", FQ, {}, []),
    ("bandwidth manager without fq", FQ, _option("CONFIG_NET_SCH_FQ", "n"), _blocker("ZT616")),
    ("bandwidth manager, fq unread", FQ, UNREAD, [("ZT616", "blocker", "unknown")]),
    ("BBR on 5.15", BBR, {"release": "5.15.0-100-generic"}, _blocker("ZT616")),
    ("BBR on 6.1", BBR, {}, []),
    ("node encryption", _values(encryption={"nodeEncryption": True}), {}, [("ZT617", "warn", "open")]),
    (
        "strict ingress, 1.19, native",
        {
            "zerotrust_drop_unencrypted": {"ingress": True},
            "zerotrust_routing": "native",
            "cilium_version": "1.19.6",
        },
        {},
        _blocker("ZT619"),
    ),
    (
        "strict ingress, 1.20, native",
        {"zerotrust_drop_unencrypted": {"ingress": True}, "zerotrust_routing": "native"},
        {},
        [],
    ),
    ("mutual authentication", _values(authentication={"enabled": True}), {}, [("ZT620", "warn", "open")]),
    ("acceleration", _values(loadBalancer={"acceleration": "native"}), {}, _blocker("ZT622")),
    (
        "acceleration in clear",
        {"zerotrust_transport_encryption": "none", **_values(loadBalancer={"acceleration": "native"})},
        {},
        [],
    ),
]


@pytest.mark.parametrize(
    ("variables", "kernel", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_rule(variables: dict[str, t.Any], kernel: dict[str, t.Any], expected: list[tuple[str, str, str]]) -> None:
    assert _check(variables, kernel=kernel) == expected


def test_multus_decides_exclusive_unless_it_is_asked_for() -> None:
    assert _check({}, multus=True) == []
    assert _check({"cilium_cni_exclusive": True}, multus=True) == _blocker("ZT608")
    assert _check({"cilium_cni_exclusive": True}) == []
