# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults by hand, each with its exact roots; property tests are in test_proof_properties.py."""

from __future__ import annotations

import time
import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.wireguard import prove
from ansible_collections.aicluster.zerotrust.tests.unit.proof import faults
from ansible_collections.aicluster.zerotrust.tests.unit.proof.clusters import NOW, Lab, from_capture, healthy, key_of


def roots(lab: Lab) -> list[tuple[str, str]]:
    findings, _pairs = prove(*lab.args())
    check_folding(findings)
    return sorted((f.code, str(f.subject)) for f in findings if f.caused_by is None and f.severity != "warn")


def check_folding(findings: list[Finding]) -> None:
    top = {f.id for f in findings if f.caused_by is None}
    assert all(f.caused_by in top for f in findings if f.caused_by is not None)
    assert len({f.id for f in findings}) == len(findings)


def verdicts(lab: Lab) -> dict[tuple[str, str], str]:
    return {(pair["from"], pair["to"]): pair["verdict"] for pair in prove(*lab.args())[1]}


def test_real_agents_with_tunnel_routing_prove() -> None:
    lab = from_capture("", "", ("g1", "g2"), native=False, epoch=1795375540.0)
    assert prove(*lab.args())[0] == []
    assert set(verdicts(lab).values()) == {"proved"}


def test_real_agents_with_native_routing_prove() -> None:
    lab = native_lab()
    assert prove(*lab.args())[0] == []
    assert set(verdicts(lab).values()) == {"proved"}


def native_lab() -> Lab:
    """The native capture has the same Nodes as ciliumnodes.json, and the keys of a later boot."""
    lab = from_capture("", "native-", ("g1", "g2"), native=True, epoch=1795376675.0)
    for name in ("g1", "g2"):
        lab.cilium_node(name)["wg_pub_key"] = lab.wireguard(name)["public_key"]
    return lab


def test_captured_stale_annotations_give_one_root_each() -> None:
    lab = from_capture("stale-annotation", "", ("g1", "g2"), native=True, epoch=1795377000.0)
    findings, pairs = prove(*lab.args())
    assert roots(lab) == [("ZT408", "node g1"), ("ZT408", "node g2")]
    by = {(f.code, f.subject.name): f for f in findings}
    assert by["ZT401", "g1 -> g2"].caused_by == by["ZT408", "g2"].id
    assert by["ZT401", "g2 -> g1"].caused_by == by["ZT408", "g1"].id
    assert by["ZT408", "g1"].observed == "v7/NFjKQJImtbFmT/Tr0G67PI6mf+9xIXIj1DAA+pAo="
    assert by["ZT408", "g1"].expected == "MAeDeVSPCmhpXvzogZf/l3SCIcgjQpIu0h2+/sIO63c="
    assert {pair["verdict"] for pair in pairs} == {"failed"}
    agent = (faults.FIXTURES / "stale-annotation" / "g1-status.txt").read_text()
    # The agent calls this state healthy.
    assert "OK" in agent
    assert "Wireguard" in agent


@pytest.mark.parametrize("form", [faults.key_replaced, faults.key_added, faults.key_replaced_bare])
def test_replaced_key_is_one_root_that_names_all(form: t.Callable[[Lab, str, str], t.Any]) -> None:
    lab = healthy(4)
    form(lab, "n1", "n3")
    assert roots(lab) == [("ZT401", "link n1 -> n3")]
    findings, _pairs = prove(*lab.args())
    root = next(f for f in findings if f.caused_by is None)
    assert root.observed == key_of("wrong n1 n3")
    assert root.expected == key_of("n3")
    assert "n1" in root.message
    assert "n3" in root.message
    assert "n1" in root.remedy
    folded = {(f.code, f.subject.name) for f in findings if f.caused_by == root.id}
    assert ("ZT406", "n1 <-> n3") in folded
    assert ("ZT403", "n1 -> " + key_of("wrong n1 n3")) in folded
    judged = verdicts(lab)
    assert judged["n1", "n3"] == judged["n3", "n1"] == "failed"
    assert sum(verdict == "proved" for verdict in judged.values()) == 10


def test_key_replaced_by_another_nodes_key_explains_that_nodes_missing_peer() -> None:
    lab = healthy(4)
    peers = lab.wireguard("n0")["peers"]
    taken, lost = lab.peer("n0", "n1"), lab.peer("n0", "n2")
    taken["public_key"] = lost["public_key"]
    peers.remove(lost)
    assert roots(lab) == [("ZT401", "link n0 -> n1")]
    findings, _pairs = prove(*lab.args())
    assert ("ZT402", "n0 -> n2") in {(f.code, f.subject.name) for f in findings}


def test_two_faults_give_two_roots() -> None:
    lab = healthy(4)
    faults.key_replaced(lab, "n0", "n1")
    faults.key_replaced(lab, "n2", "n3")
    assert roots(lab) == [("ZT401", "link n0 -> n1"), ("ZT401", "link n2 -> n3")]
    lab = healthy(4)
    faults.key_replaced(lab, "n0", "n1")
    faults.device_missing(lab, "n2", "n2")
    assert roots(lab) == [("ZT401", "link n0 -> n1"), ("ZT407", "node n2")]
    lab = healthy(4)
    faults.key_replaced(lab, "n0", "n2")
    faults.device_missing(lab, "n2", "n2")
    assert roots(lab) == [("ZT401", "link n0 -> n2"), ("ZT407", "node n2")]
    lab = healthy(3)
    faults.key_replaced(lab, "n0", "n1")
    faults.key_replaced(lab, "n1", "n0")
    assert roots(lab) == [("ZT401", "link n0 -> n1"), ("ZT401", "link n1 -> n0")]


def test_new_key_that_nobody_followed_is_one_root() -> None:
    lab = healthy(4)
    lab.wireguard("n2")["public_key"] = lab.cilium_node("n2")["wg_pub_key"] = key_of("new")
    assert roots(lab) == [("ZT401", "node n2")]


def test_unobserved_host_is_unknown_and_the_others_word_still_counts() -> None:
    lab = healthy(4)
    lab.hosts["n1"] = {"node": None, "wireguard": None, "error": "unreachable", "excluded": None}
    assert roots(lab) == [("ZT412", "host n1")]
    findings, _pairs = prove(*lab.args())
    assert [f.state for f in findings] == ["unknown"]
    judged = verdicts(lab)
    assert judged["n0", "n1"] == judged["n1", "n0"] == "unknown"
    assert judged["n0", "n2"] == "proved"
    faults.key_replaced(lab, "n0", "n1", key=key_of("n1"))
    assert roots(lab) == [("ZT401", "link n0 -> n1"), ("ZT412", "host n1")]
    assert verdicts(lab)["n0", "n1"] == "failed"
    assert verdicts(lab)["n1", "n0"] == "unknown"


def test_host_that_lacks_in_the_inventory_is_unknown() -> None:
    lab = healthy(3)
    del lab.matching["n1"]
    assert roots(lab) == [("ZT412", "node n1")]


def test_unreadable_state_is_unknown() -> None:
    lab = healthy(3)
    lab.hosts["n1"]["wireguard"] = {"present": None, "error": "Operation not permitted"}
    assert roots(lab) == [("ZT415", "host n1")]


def test_maintenance_excludes_and_accuses_nobody() -> None:
    lab = healthy(4)
    lab.hosts["n1"] = {"node": None, "wireguard": None, "error": None, "excluded": "disk swap"}
    lab.wireguard("n0")["peers"].remove(
        next(p for p in lab.wireguard("n0")["peers"] if p["public_key"] == key_of("n1"))
    )
    assert roots(lab) == []
    judged = verdicts(lab)
    assert judged["n0", "n1"] == "excluded"
    assert judged["n0", "n2"] == "proved"


def test_encryption_off_is_one_root() -> None:
    lab = healthy(4)
    lab.cluster["cilium"]["config"]["enable-wireguard"] = "false"
    for name in lab.names:
        faults.device_missing(lab, name, name)
    assert roots(lab) == [("ZT409", "cluster test")]
    assert set(verdicts(lab).values()) == {"failed"}
    lab.cluster["cilium"]["config"] = None
    assert roots(lab) == [("ZT409", "cluster test")]
    lab.cluster["read_errors"] = [{"what": "kubeadm-config", "error": "forbidden"}]
    assert roots(lab) == [("ZT409", "cluster test")], "another object's error says nothing about cilium-config"
    lab.cluster["read_errors"] = [{"what": "cilium-config", "error": "forbidden"}]
    assert roots(lab) == [("ZT918", "cluster test")]
    assert set(verdicts(lab).values()) == {"unknown"}


def test_none_intended() -> None:
    lab = healthy(3)
    lab.intent["transport_encryption"] = "none"
    findings, pairs = prove(*lab.args())
    assert [f.code for f in findings] == ["ZT414"]
    assert pairs == []
    lab.cluster["cilium"]["config"]["enable-wireguard"] = "false"
    assert prove(*lab.args()) == ([], [])
    lab.intent["transport_encryption"] = None
    assert prove(*lab.args()) == ([], [])


def test_unset_intent_is_taken_from_the_cluster() -> None:
    lab = healthy(3)
    lab.intent["transport_encryption"] = None
    faults.key_replaced(lab, "n0", "n1")
    assert roots(lab) == [("ZT401", "link n0 -> n1")]


def test_rollout_explains_missing_devices_but_no_wrong_key() -> None:
    lab = healthy(4)
    lab.cluster["cilium"]["daemonset"].update(updated=2, current=False)
    faults.device_missing(lab, "n2", "n2")
    faults.key_replaced(lab, "n0", "n1")
    assert roots(lab) == [("ZT401", "link n0 -> n1"), ("ZT410", "cluster test")]


def test_idle_pair_is_unknown_once_for_the_cluster() -> None:
    lab = healthy(3)
    for name in lab.names:
        for peer in lab.wireguard(name)["peers"]:
            peer["last_handshake_epoch"] = 0
    assert roots(lab) == [("ZT406", "cluster test")]
    findings, _pairs = prove(*lab.args())
    assert findings[0].state == "unknown"
    assert findings[0].observed == 6
    assert set(verdicts(lab).values()) == {"unknown"}


@pytest.mark.parametrize(
    ("age", "provoked", "expected"),
    [
        (179.0, None, "proved"),
        (181.0, None, "unknown"),
        (181.0, {"at": NOW - 4, "sent": True, "error": None}, "failed"),
        (181.0, {"at": NOW - 4, "sent": False, "error": "EPERM"}, "unknown"),
        (200.0, {"at": NOW - 201, "sent": True, "error": None}, "proved"),
        (-60.0, None, "unknown"),
    ],
)
def test_what_counts_as_a_session(age: float, provoked: dict[str, t.Any] | None, expected: str) -> None:
    lab = healthy(2)
    for a, b in (("n0", "n1"), ("n1", "n0")):
        lab.peer(a, b)["last_handshake_epoch"] = NOW - age
        if provoked:
            lab.wireguard(a)["provoked"] = [{"public_key": key_of(b), "target": "x", **provoked}]
    assert set(verdicts(lab).values()) == {expected}


def test_clock_set_back_with_a_new_handshake_counts() -> None:
    lab = healthy(2)
    for a, b in (("n0", "n1"), ("n1", "n0")):
        lab.peer(a, b)["last_handshake_epoch"] = NOW + 60
        lab.wireguard(a)["before"] = {key_of(b): {"last_handshake_epoch": 0, "rx_bytes": 0, "tx_bytes": 0}}
    assert set(verdicts(lab).values()) == {"proved"}


def test_userspace_is_a_note_per_host() -> None:
    lab = healthy(2)
    lab.wireguard("n1")["implementation"] = "userspace"
    findings, pairs = prove(*lab.args())
    assert [(f.code, f.severity, str(f.subject)) for f in findings] == [("ZT416", "fail", "host rack-n1")]
    assert {pair["verdict"] for pair in pairs} == {"proved"}


def test_pod_addresses_come_and_go_in_native_routing() -> None:
    lab = healthy(3, native=True)
    lab.peer("n0", "n1")["allowed_ips"].append("10.128.1.50/32")
    assert roots(lab) == []
    lab.peer("n0", "n1")["allowed_ips"].remove("10.128.1.0/24")
    assert roots(lab) == [("ZT405", "link n0 -> n1")]


def test_a_stolen_address_is_one_root_at_the_thief() -> None:
    lab = healthy(3)
    lab.peer("n0", "n1")["allowed_ips"].remove("10.0.0.2/32")
    lab.peer("n0", "n2")["allowed_ips"].append("10.0.0.2/32")
    assert roots(lab) == [("ZT405", "link n0 -> n2")]
    findings, _pairs = prove(*lab.args())
    assert "10.0.0.2/32, which n2 does not own" in next(f for f in findings if f.caused_by is None).message


def test_no_peer_at_all_is_one_root() -> None:
    lab = healthy(4)
    lab.wireguard("n0")["peers"] = []
    assert roots(lab) == [("ZT402", "node n0")]


def test_no_ciliumnodes_is_one_root() -> None:
    lab = healthy(3)
    lab.cluster["cilium"]["nodes"] = None
    assert roots(lab) == [("ZT413", "cluster test")]
    lab.cluster["read_errors"] = [{"what": "ciliumnodes", "error": "forbidden"}]
    assert roots(lab) == [("ZT918", "cluster test")]


def test_no_nodes_is_unknown() -> None:
    lab = healthy(2)
    lab.cluster["nodes"] = []
    assert roots(lab) == [("ZT918", "cluster test")]


def test_the_agents_dummy_peer_is_no_stranger() -> None:
    lab = healthy(2)
    lab.wireguard("n0")["peers"].append({"public_key": "A" * 43 + "=", "endpoint": None, "allowed_ips": []})
    assert roots(lab) == []


def test_a_hundred_nodes_take_a_moment() -> None:
    lab = healthy(100, native=True)
    start = time.process_time()
    findings, pairs = prove(*lab.args())
    assert findings == []
    assert len(pairs) == 9900
    assert time.process_time() - start < 3
