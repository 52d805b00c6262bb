# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SPIRE in the plan: each bad intent is one error, and who takes part in a run."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.aicluster.zerotrust.plugins.module_utils.identity.settings import DEFAULTS
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.model import HostIntent
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import identity
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan.hosts import HostState

ROOT = Path(__file__).resolve().parents[3]
DIGEST = "a" * 64
ENTRY = {
    "spiffe_id": "spiffe://cluster.example/trainer",
    "host": "gpu1",
    "selectors": ["systemd:id:trainer.service"],
}
GOOD: dict[str, t.Any] = {
    "zerotrust_trust_domain": "cluster.example",
    "spire_server_address": "10.0.0.1",
    "spire_server_binary": "/srv/spire-server",
    "spire_agent_binary": "/srv/spire-agent",
    "spire_entries": [ENTRY],
}


def check(servers: t.Sequence[str] = ("cp1",), **change: t.Any) -> tuple[identity.Json, list[t.Any]]:
    return identity.check(
        {**GOOD, **change},
        servers=servers,
        hosts=["cp1", "gpu1"],
        digest=lambda path: None if "missing" in path else DIGEST,
    )


def test_a_good_intent_has_no_finding() -> None:
    part, findings = check()
    assert findings == []
    # one for each host and one for the workload
    assert (part["action"], part["servers"], part["hosts"], part["entries"]) == ("keep", ["cp1"], ["cp1", "gpu1"], 3)


BAD: list[tuple[dict[str, t.Any], str]] = [
    ({"zerotrust_trust_domain": None}, "zerotrust_trust_domain"),
    ({"servers": ["cp1", "gpu1"]}, "spire_server_group"),
    ({"servers": []}, "spire_server_group"),
    ({"spire_server_address": "10.0.0.1:8081"}, "spire_server_address"),
    ({"spire_server_port": 70000}, "spire_server_port"),
    ({"spire_server_binary": None}, "spire_server_binary"),
    ({"spire_server_binary": "/srv/missing"}, "spire_server_binary"),
    ({"spire_server_sha256": "b" * 64}, "spire_server_sha256"),
    ({"spire_agent_binary": "http://mirror.example/spire-agent", "spire_agent_sha256": DIGEST}, "spire_agent_binary"),
    ({"spire_agent_binary": "https://mirror.example/spire-agent"}, "spire_agent_sha256"),
    ({"spire_node_attestation": "tpm"}, "spire_node_attestation"),
    ({"spire_node_certificate": "/etc/pki/node.pem"}, "spire_node_certificate"),
    ({"spire_svid_ttl": "5h"}, "spire_svid_ttl"),
    ({"spire_availability_target": "1h"}, "spire_availability_target"),
    ({"spire_upstream_authority": {"type": "vault"}}, "spire_upstream_authority.type"),
    ({"spire_workload_attestors": ["docker"], "spire_entries": []}, "spire_workload_attestors"),
    ({"spire_entry_set": "Not A Set"}, "spire_entry_set"),
    ({"spire_entries": "trainer"}, "spire_entries"),
    ({"spire_entries": [{**ENTRY, "host": "gpu9"}]}, "spire_entries[0].host"),
    ({"spire_entries": [{**ENTRY, "selectors": ["unix:uid:0"]}]}, "spire_entries[0].selectors"),
    ({"spire_entries": [{**ENTRY, "spiffe_id": "spiffe://other.example/x"}]}, "spire_entries[0].spiffe_id"),
    ({"spire_entries": [ENTRY, ENTRY]}, "spire_entries[1]"),
]


@pytest.mark.parametrize(("change", "variable"), BAD, ids=[f"{index}-{case[1]}" for index, case in enumerate(BAD)])
def test_a_bad_intent_is_one_error_with_variable_value_and_remedy(change: dict[str, t.Any], variable: str) -> None:
    _part, findings = check(**change)
    assert [(found.code, found.subject.name) for found in findings] == [("ZT502", variable)]
    (found,) = findings
    assert found.blocks
    assert found.remedy
    assert repr(found.observed) in found.message


def state(name: str, **other: t.Any) -> HostState:
    usual: dict[str, t.Any] = {
        "node": {},
        "error": None,
        "unreachable": False,
        "excluded": None,
        "in_run": True,
        "address": None,
    }
    return HostState(name=name, intent=HostIntent(name), **{**usual, **other})


def test_only_hosts_of_the_run_take_part() -> None:
    part = {**identity.NONE, "hosts": ["cp1", "gpu1", "gpu2", "gpu3", "store1"]}
    hosts = [
        state("cp1"),
        state("gpu1", in_run=False),
        state("gpu2", excluded="broken"),
        state("gpu3", unreachable=True, node=None),
    ]
    # store1 is outside of the cluster's pattern
    assert identity.taking_part(part, hosts) == ["cp1", "store1"]


@pytest.mark.parametrize("other", [{"excluded": "broken"}, {"unreachable": True, "node": None, "error": "no route"}])
def test_a_server_that_is_out_of_service_stops_the_run(other: dict[str, t.Any]) -> None:
    part, _findings = check()
    assert identity.check_server(part, [state("cp1"), state("gpu1", **other)]) == []
    (found,) = identity.check_server(part, [state("cp1", **other), state("gpu1")])
    assert (found.code, found.subject.name, found.blocks) == ("ZT503", "cp1", True)


def test_the_defaults_of_the_plan_are_those_of_the_role() -> None:
    role = yaml.safe_load((ROOT / "roles/spire/defaults/main.yml").read_text(encoding="utf-8"))
    assert {name: value for name, value in role.items() if "{{" not in str(value)} == DEFAULTS
