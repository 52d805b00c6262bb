# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
import ipaddress
import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.accept import apply_acceptance, check_entries
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.model import (
    excluded_hosts,
    parse,
    parse_host,
)
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.reader import overlaps, share_addresses

BAD = [
    ("zerotrust_cni", "flannel", "ZT901"),
    ("zerotrust_engine", "linkerd", "ZT901"),
    ("zerotrust_transport_encryption", "wiregard", "ZT901"),
    ("zerotrust_transport_encryption", "ipsec", "ZT624"),
    ("zerotrust_workload_encryption", "cilium_ztunnel", "ZT624"),
    ("zerotrust_routing", "geneve", "ZT624"),
    ("zerotrust_routing", True, "ZT901"),
    ("zerotrust_drop_unencrypted", {"egres": True}, "ZT901"),
    ("zerotrust_drop_unencrypted", {"mesh": True}, "ZT624"),
    ("zerotrust_drop_unencrypted", True, "ZT901"),
    ("zerotrust_pod_cidrs", ["10.244.1.0/16"], "ZT903"),
    ("zerotrust_pod_cidrs", ["10.244.0.0"], "ZT903"),
    ("zerotrust_pod_cidrs", ["pods"], "ZT903"),
    ("zerotrust_pod_cidrs", [10], "ZT901"),
    ("zerotrust_node_network_mtu", 900, "ZT901"),
    ("zerotrust_node_network_mtu", "jumbo", "ZT901"),
    ("zerotrust_cluster_uid", "abc", "ZT901"),
    ("zerotrust_cluster_name", "GPU_Cluster", "ZT901"),
    ("zerotrust_cluster_name", "a" * 33, "ZT901"),
    ("zerotrust_trust_domain", "spiffe://x", "ZT901"),
    ("zerotrust_maintenance", {"gpu9": {"reason": "disk"}}, "ZT901"),
    ("zerotrust_maintenance", ["gpu9"], "ZT901"),
    ("zerotrust_max_unreachable", -1, "ZT901"),
    ("zerotrust_lab", "maybe", "ZT901"),
    ("zerotrust_policies", "deny", "ZT901"),
    ("zerotrust_accept", [{"code": "ZT102"}], "ZT913"),
    ("zerotrust_allow", ["prune"], "ZT905"),
    ("cilium_version", "latest", "ZT901"),
    ("cilium_values", ["x"], "ZT901"),
    ("cilium_ipam_mode", "eni", "ZT901"),
    ("cilium_kube_proxy_replacement", "strict", "ZT901"),
    ("cilium_k8s_service_port", 70000, "ZT901"),
    ("cilium_hubble_ui", True, "ZT901"),
    ("mtls_policy_stage", "block", "ZT901"),
    ("mtls_policy_set", "a b", "ZT901"),
    ("mtls_policy_stages", {"ai": "audit"}, "ZT624"),
    ("mtls_policy_stage", "audit", "ZT624"),
    ("zerotrust_identity", "vault", "ZT901"),
    ("zerotrust_registry", "https://registry.example", "ZT901"),
    ("zerotrust_ca_bundle", "/etc/ssl/site.pem", "ZT624"),
    ("zerotrust_proxy_env", {"https_proxy": "http://proxy.example:3128"}, "ZT624"),
    ("zerotrust_workload_encryption", "istio_ambient", "ZT901"),
    ("istio_ambient_version", "1.31", "ZT901"),
    ("istio_ambient_chart_dir", "charts", "ZT901"),
    ("istio_ambient_gateway_api_crds", "./crds.yaml", "ZT901"),
    ("istio_ambient_cacerts", "~/ca", "ZT901"),
    ("istio_ambient_namespace", "Istio", "ZT901"),
    ("istio_ambient_namespaces", ["ai", "kube-system"], "ZT901"),
    ("istio_ambient_namespaces", ["AI"], "ZT901"),
    ("istio_ambient_namespaces", {"ai": True}, "ZT901"),
    ("istio_ambient_waypoints", {"ai": True}, "ZT901"),
    ("istio_ambient_values", {"ztunel": {}}, "ZT901"),
    ("istio_ambient_values", {"cni": ["x"]}, "ZT901"),
    ("istio_ambient_platform", "kubeadm", "ZT901"),
    ("istio_ambient_timeout_seconds", 5, "ZT901"),
]


def test_ztunnel_encrypts_what_the_engine_istio_ambient_carries() -> None:
    given = {"zerotrust_engine": "istio_ambient", "zerotrust_workload_encryption": "none"}
    _intent, findings = parse(given, extra_vars={})
    assert [(found.code, found.subject.name) for found in findings] == [("ZT901", "zerotrust_workload_encryption")]
    intent, findings = parse({"zerotrust_engine": "istio_ambient"}, extra_vars={})
    assert not findings
    assert intent.engine == "istio_ambient"


@pytest.mark.parametrize(("name", "value", "code"), BAD)
def test_bad_value_is_one_blocker_naming_variable_value_and_remedy(name: str, value: t.Any, code: str) -> None:
    _intent, findings = parse({name: value}, extra_vars={})
    assert [(finding.code, finding.severity) for finding in findings] == [(code, "blocker")]
    assert name in findings[0].subject.name
    assert name in findings[0].message
    assert findings[0].remedy
    json.dumps(findings[0].to_dict())


@pytest.mark.parametrize(
    ("name", "value"), [("zerotrust_kubeconfig", "x"), ("zerotrust_run", {}), ("nic_tuning_deadline", 30)]
)
def test_variables_of_plays_are_known(name: str, value: t.Any) -> None:
    assert parse({name: value}, extra_vars={})[1] == []


def test_unknown_variable_names_the_nearest() -> None:
    _intent, findings = parse({"zerotrust_transport_encrytion": "wireguard"}, extra_vars={})
    assert [(f.code, f.severity, f.expected) for f in findings] == [
        ("ZT902", "blocker", "zerotrust_transport_encryption")
    ]


def test_unknown_cilium_variable_may_be_kubesprays_and_only_warns() -> None:
    _intent, findings = parse({"cilium_tunnel_mode": "vxlan"}, extra_vars={})
    assert [(f.code, f.severity) for f in findings] == [("ZT902", "warn")]


def test_empty_intent_is_valid_and_all_unset() -> None:
    intent, findings = parse({}, extra_vars={})
    assert findings == []
    assert (intent.cni, intent.transport_encryption, intent.routing, intent.pod_cidrs) == (None,) * 4
    assert json.loads(json.dumps(intent.to_dict()))["cilium"]["version"] == "1.20.2"


def test_text_of_extra_variables_is_read_as_numbers_booleans_and_lists() -> None:
    extra = {"zerotrust_allow": "agent_restart,link_reset", "zerotrust_node_network_mtu": "9000"}
    intent, findings = parse({**extra, "cilium_kube_proxy_replacement": "true"}, extra_vars=extra)
    assert findings == []
    assert intent.allow == ("agent_restart", "link_reset")
    assert (intent.node_network_mtu, intent.cilium.kube_proxy_replacement) == (9000, True)


def test_consent_counts_from_extra_variables_or_in_a_laboratory_only() -> None:
    assert parse({"zerotrust_allow": ["prune"]}, extra_vars={"zerotrust_allow": ["prune"]})[0].allows("prune")
    lab, findings = parse({"zerotrust_allow": ["prune"], "zerotrust_lab": True}, extra_vars={})
    assert lab.allows("prune")
    assert findings == []
    refused, findings = parse({"zerotrust_allow": ["prune"]}, extra_vars={})
    assert not refused.allows("prune")
    assert [f.code for f in findings] == ["ZT905"]


def test_unknown_consent_is_refused_even_when_given_by_extra_variables() -> None:
    given_ = {"zerotrust_allow": ["agent_restarts"]}
    assert [f.code for f in parse(given_, extra_vars=given_)[1]] == ["ZT901"]


@pytest.mark.parametrize(
    ("pod", "service", "node", "pairs"),
    [
        (["10.244.0.0/16"], ["10.96.0.0/12"], ["192.168.0.0/24"], 0),
        (["10.96.0.0/16"], ["10.96.0.0/12"], [], 1),
        (["10.0.0.0/8"], ["10.96.0.0/12"], ["10.1.0.0/24"], 2),
        (["10.0.0.0/8", "10.1.0.0/16"], [], [], 1),
        (["fd00::/48"], ["fd00::/112"], [], 1),
        (["10.0.0.0/8"], ["fd00::/112"], [], 0),
    ],
)
def test_overlap_of_ranges(pod: list[str], service: list[str], node: list[str], pairs: int) -> None:
    given_ = {"zerotrust_pod_cidrs": pod, "zerotrust_service_cidrs": service, "zerotrust_node_cidrs": node}
    assert [f.code for f in parse(given_, extra_vars={})[1]] == ["ZT904"] * pairs


_networks = st.builds(
    lambda address, length: ipaddress.ip_network((address, length), strict=False),
    st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address),
    st.integers(8, 32),
)


@given(_networks, _networks)
def test_overlap_is_symmetric_and_agrees_with_first_and_last_address(
    one: ipaddress.IPv4Network, other: ipaddress.IPv4Network
) -> None:
    shared = one[0] <= other[-1] and other[0] <= one[-1]
    assert share_addresses(one, other) == share_addresses(other, one) == shared
    assert bool(overlaps({"a": [str(one)], "b": [str(other)]})) == shared


def test_host_intent_and_its_findings_name_the_host() -> None:
    host, findings = parse_host("gpu1", {"zerotrust_node_network_interfaces": ["eth0"], "zerotrust_node_name": "n1"})
    assert (host.interfaces, host.node_name, findings) == (("eth0",), "n1", [])
    _host, findings = parse_host("gpu1", {"zerotrust_node_network_interfaces": ["eth+"]})
    assert [(f.code, f.subject.name) for f in findings] == [("ZT901", "zerotrust_node_network_interfaces of gpu1")]


def test_maintenance_ends_with_its_date() -> None:
    intent, findings = parse(
        {"zerotrust_maintenance": {"gpu2": {"reason": "fan", "until": "2026-10-01"}}}, extra_vars={}
    )
    assert findings == []
    assert excluded_hosts(intent, datetime.date(2026, 10, 1)) == {"gpu2": "fan (until 2026-10-01)"}
    assert excluded_hosts(intent, datetime.date(2026, 10, 2)) == {}


ENTRY = {"code": "ZT102", "subject": "host gpu1", "reason": "kernel", "owner": "ops", "until": "2026-12-31"}


@pytest.mark.parametrize(
    "change",
    [
        {"reason": ""},
        {"owner": None},
        {"until": "soon"},
        {"code": "ZT999"},
        {"code": "ZT907"},
        {"code": "ZT602"},
        {"subject": "host *"},
        {"subject": "gpu1"},
        {"severity": "warn"},
        {"observed": "CONFIG_X"},
    ],
)
def test_bad_acceptance_is_refused(change: dict[str, t.Any]) -> None:
    valid, findings = check_entries([{**ENTRY, **change}])
    assert valid == []
    assert [f.code for f in findings] == ["ZT913"]


def _missing(host: str, options: list[str], state: str = "open") -> Finding:
    return Finding("ZT102", Subject("host", host), "lacks", observed=options, state=state)


def test_acceptance_is_exact_in_code_and_subject() -> None:
    accept, _none = check_entries([ENTRY])
    day = datetime.date(2026, 11, 1)
    findings = [_missing("gpu1", ["A"]), _missing("gpu10", ["A"]), Finding("ZT104", Subject("host", "gpu1"), "x")]
    result = apply_acceptance(findings, accept, day)
    assert [(f.state, f.blocks) for f in result] == [("accepted", False), ("open", True), ("open", True)]
    assert result[0].accepted == {"reason": "kernel", "owner": "ops", "until": "2026-12-31"}


def test_acceptance_of_unknown_needs_the_exact_subject_too() -> None:
    accept, _none = check_entries([ENTRY])
    unknown = [_missing("gpu1", [], "unknown"), _missing("gpu2", [], "unknown")]
    assert [f.state for f in apply_acceptance(unknown, accept, datetime.date(2026, 11, 1))] == ["accepted", "unknown"]


def test_acceptance_with_observed_does_not_cover_what_came_later() -> None:
    accept, _none = check_entries([{**ENTRY, "observed": ["A", "B"]}])
    day = datetime.date(2026, 11, 1)
    states = [apply_acceptance([_missing("gpu1", seen)], accept, day)[0].state for seen in (["A"], ["A", "C"])]
    assert states == ["accepted", "open"]


def test_expired_acceptance_is_said_and_accepts_nothing() -> None:
    accept, _none = check_entries([{**ENTRY, "until": datetime.date(2026, 10, 31)}])
    result = apply_acceptance([_missing("gpu1", ["A"])], accept, datetime.date(2026, 11, 1))
    assert [(f.code, f.state) for f in result] == [("ZT102", "open"), ("ZT914", "open")]
