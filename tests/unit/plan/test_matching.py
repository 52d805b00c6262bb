# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan.matching import match
from ansible_collections.aicluster.zerotrust.tests.unit.plan.factory import codes, facts, host, node


def _match(hosts: t.Any, nodes: t.Any) -> t.Any:
    return match(hosts, nodes, "https://api (UID x)")


def test_by_internal_ip_although_the_names_differ() -> None:
    found, findings = _match([host(1), host(3, name="rack7-gpu3")], [node(1), node(3)])
    assert findings == []
    assert found.hosts["rack7-gpu3"] == {"node": "gpu3", "excluded": None}


def test_by_node_name() -> None:
    hosts = [host(1), host(2, name="other", intent_node_name="gpu2")]
    found, findings = _match(hosts, [node(1), node(2)])
    assert (found.node_of("other"), findings) == ("gpu2", [])


def test_host_without_node() -> None:
    _found, findings = _match([host(1), host(2)], [node(1)])
    assert [(f.code, str(f.subject)) for f in findings] == [("ZT908", "host gpu2")]


def test_node_name_that_does_not_exist() -> None:
    _found, findings = _match([host(1), host(2, intent_node_name="gpu9")], [node(1), node(2)])
    assert codes(findings) == ["ZT908", "ZT909"]


def test_another_clusters_kubeconfig_is_one_root_finding() -> None:
    nodes = [node(n, internal_ips=[f"172.16.0.{n}"]) for n in (1, 2)]
    _found, findings = _match([host(1), host(2)], nodes)
    roots = [finding for finding in findings if finding.caused_by is None]
    assert [(f.code, f.subject.kind) for f in roots] == [("ZT908", "cluster")]


def test_same_addresses_in_another_cluster_are_found_by_machine_id() -> None:
    _found, findings = _match([host(1)], [node(1, machine_id="f" * 32)])
    assert [(f.code, f.severity) for f in findings if f.code != "ZT909"] == [("ZT910", "blocker")]


def test_without_machine_id_the_hostname_must_agree() -> None:
    foreign = [node(1, machine_id="", hostname="db1", name="db1")]
    _found, findings = _match([host(1)], foreign)
    assert "ZT910" in codes(findings)
    _found, findings = _match([host(1)], [node(1, machine_id="", hostname="gpu1.example.org")])
    assert findings == []
    _found, findings = _match([host(1, intent_node_name="db1")], foreign)
    assert findings == []


def test_node_name_whose_address_the_host_does_not_own() -> None:
    _found, findings = _match([host(1, intent_node_name="gpu2"), host(2)], [node(1), node(2)])
    assert ("ZT910", "host gpu1") in [(f.code, str(f.subject)) for f in findings]


def test_two_hosts_for_one_node() -> None:
    twin = host(1, name="twin", node=facts(1, machine_id=""))
    _found, findings = _match([host(1), twin], [node(1)])
    assert [(f.code, str(f.subject)) for f in findings] == [("ZT910", "host twin")]


def test_two_hosts_with_one_machine_id() -> None:
    clone = host(2, node=facts(2, machine_id=f"{1:032x}"))
    _found, findings = _match([host(1), clone], [node(1), node(2, machine_id="")])
    assert [(f.code, str(f.subject)) for f in findings] == [("ZT910", "host gpu2")]


def test_host_with_addresses_of_two_nodes() -> None:
    both = facts(1)
    both["interfaces"][1]["addresses"].append("10.0.0.2/24")
    _found, findings = _match([host(1, node=both)], [node(1), node(2)])
    assert "ZT910" in codes(findings)


def test_node_without_host_and_maintenance_is_no_finding() -> None:
    found, findings = _match([host(1), host(2, node=None, excluded="fan")], [node(1), node(2), node(3)])
    assert [(f.code, str(f.subject)) for f in findings] == [("ZT909", "node gpu3")]
    assert found.hosts["gpu2"] == {"node": "gpu2", "excluded": "fan"}


def test_unobserved_host_is_known_by_its_address() -> None:
    found, findings = _match([host(1), host(2, name="left-out", node=None, address="10.0.0.2")], [node(1), node(2)])
    assert (found.node_of("left-out"), findings) == ("gpu2", [])
