# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of the role spire: what is refused, and the files that are rendered from the rest."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.aicluster.zerotrust.plugins.module_utils.identity import names, render, settings

ROLE = Path(__file__).resolve().parents[3] / "roles" / "spire"
DEFAULTS = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))
GOOD: dict[str, t.Any] = {
    **DEFAULTS,
    "zerotrust_trust_domain": "cluster.example",
    "spire_server_address": "10.0.0.1",
    "spire_server_binary": "/opt/spire-server",
    "spire_agent_binary": "/opt/spire-agent",
}
SITE = {
    "spire_node_ca": "site",
    "spire_node_ca_bundle": "/etc/pki/ca.pem",
    "spire_node_certificate": "/etc/pki/node.pem",
    "spire_node_private_key": "/etc/pki/node.key",
}


def parse(**change: t.Any) -> settings.Settings:
    found, problems = settings.parse({**GOOD, **change}, ["cp1"], ["cp1", "gpu1"])
    assert problems == []
    return found


BAD: list[tuple[dict[str, t.Any], str]] = [
    ({"zerotrust_trust_domain": ""}, "zerotrust_trust_domain"),
    ({"zerotrust_trust_domain": "spiffe://x"}, "zerotrust_trust_domain"),
    ({"zerotrust_trust_domain": "Cluster.Example"}, "zerotrust_trust_domain"),
    ({"spire_server_address": ""}, "spire_server_address"),
    ({"spire_server_address": "10.0.0.1:8081"}, "spire_server_address"),
    ({"spire_server_port": 0}, "spire_server_port"),
    ({"spire_server_port": "8081"}, "spire_server_port"),
    ({"spire_node_attestation": "tpm"}, "spire_node_attestation"),
    ({"spire_node_ca": "vault"}, "spire_node_ca"),
    ({"spire_node_ca": "site"}, "spire_node_ca_bundle"),
    ({**SITE, "spire_node_private_key": "node.key"}, "spire_node_private_key"),
    ({**SITE, "spire_node_private_key": "/a${b}"}, "spire_node_private_key"),
    ({"spire_node_certificate": "/etc/pki/node.pem"}, "spire_node_certificate"),
    ({"spire_node_certificate_days": 0}, "spire_node_certificate_days"),
    ({"spire_ca_ttl": "1 day"}, "spire_ca_ttl"),
    ({"spire_ca_ttl": ""}, "spire_ca_ttl"),
    ({"spire_svid_ttl": "4h1s"}, "spire_svid_ttl"),
    ({"spire_jwt_svid_ttl": "5h"}, "spire_jwt_svid_ttl"),
    ({"spire_agent_ttl": "5h"}, "spire_agent_ttl"),
    ({"spire_svid_ttl": "0s"}, "spire_svid_ttl"),
    ({"spire_ca_ttl": "8760h", "spire_svid_ttl": "169h"}, "spire_svid_ttl"),
    ({"spire_availability_target": "23h"}, "spire_availability_target"),
    (
        {"spire_ca_ttl": "240h", "spire_svid_ttl": "35h", "spire_availability_target": "24h"},
        "spire_availability_target",
    ),
    ({"spire_ca_key_type": "dsa"}, "spire_ca_key_type"),
    ({"spire_log_level": "loud"}, "spire_log_level"),
    ({"spire_workload_attestors": []}, "spire_workload_attestors"),
    ({"spire_workload_attestors": ["k8s"]}, "spire_workload_attestors"),
    ({"spire_upstream_authority": {"type": "vault"}}, "spire_upstream_authority.type"),
    ({"spire_upstream_authority": {"type": "acme"}}, "spire_upstream_authority.type"),
    ({"spire_upstream_authority": {"type": "disk", "certificate": "/a"}}, "spire_upstream_authority.private_key"),
    ({"spire_upstream_authority": {"type": "none", "certificate": "/a"}}, "spire_upstream_authority.certificate"),
    ({"spire_server_binary": ""}, "spire_server_binary"),
    ({"spire_agent_binary": "http://mirror/spire-agent"}, "spire_agent_binary"),
    ({"spire_agent_binary": "https://mirror/spire-agent"}, "spire_agent_sha256"),
    ({"spire_agent_sha256": "ABC"}, "spire_agent_sha256"),
]


@pytest.mark.parametrize(("change", "variable"), BAD, ids=[f"{index}-{case[1]}" for index, case in enumerate(BAD)])
def test_a_bad_variable_is_named_with_its_value_and_a_remedy(change: dict[str, t.Any], variable: str) -> None:
    _found, problems = settings.parse({**GOOD, **change}, ["cp1"], ["cp1", "gpu1"])
    assert variable in [problem.variable for problem in problems]
    assert all(problem.remedy and problem.variable in problem.line() for problem in problems)


def test_the_defaults_of_the_role_are_good() -> None:
    assert parse().svid_ttl == "1h"


@pytest.mark.parametrize("servers", [[], ["cp1", "cp2"]])
def test_exactly_one_server(servers: list[str]) -> None:
    _found, problems = settings.parse(GOOD, servers, ["cp1"])
    assert [problem.variable for problem in problems] == ["spire_server_group"]


def test_a_host_name_that_cannot_be_in_a_spiffe_id_is_refused() -> None:
    _found, problems = settings.parse(GOOD, ["cp1"], ["cp1", "gpu 1"])
    assert [(problem.variable, problem.value) for problem in problems] == [("inventory_hostname", "gpu 1")]


def test_availability_target_with_enough_grace() -> None:
    found = parse(spire_ca_ttl="240h", spire_svid_ttl="36h", spire_availability_target="24h")
    assert 'availability_target = "24h"' in render.agent_config(found)


@pytest.mark.parametrize(
    ("text", "count"), [("1h", 3600), ("1h30m", 5400), ("90s", 90), ("0s", None), ("1d", None), ("", None), ("h", None)]
)
def test_durations(text: str, count: int | None) -> None:
    assert names.seconds(text) == count
    if count:
        assert names.seconds(names.words(count)) == count


def test_an_svid_lives_a_sixth_of_the_ca_and_at_most_seven_days() -> None:
    assert names.longest_svid(24 * 3600) == 4 * 3600
    assert names.longest_svid(365 * 86400) == 7 * 86400


def test_the_agent_never_trusts_an_unknown_server() -> None:
    for method in settings.NODE_ATTESTATIONS:
        config = render.agent_config(parse(spire_node_attestation=method))
        assert f'trust_bundle_path = "{render.BUNDLE}"' in config
        assert "insecure_bootstrap" not in config
        # its file is gone after the first start, and the agent would not start again
        assert "join_token_file" not in config


def test_x509pop_uses_the_files_of_the_role_or_of_the_site() -> None:
    assert render.NODE_CA in render.server_config(parse())
    assert render.NODE_KEY in render.agent_config(parse())
    site = parse(**SITE)
    assert SITE["spire_node_ca_bundle"] in render.server_config(site)
    assert SITE["spire_node_private_key"] in render.agent_config(site)
    assert render.NODE_CA not in render.server_config(site)


def test_upstream_authority() -> None:
    disk = {"type": "disk", "certificate": "/pki/c.pem", "private_key": "/pki/c.key"}
    config = render.server_config(parse(spire_upstream_authority=disk))
    assert 'UpstreamAuthority "disk"' in config
    assert 'cert_file_path = "/pki/c.pem"' in config
    assert "UpstreamAuthority" not in render.server_config(parse())


def test_ipv6_servers_listen_on_ipv6() -> None:
    assert 'bind_address = "::"' in render.server_config(parse(spire_server_address="fd00::1"))
    assert 'bind_address = "0.0.0.0"' in render.server_config(parse())


@pytest.mark.parametrize("component", ["server", "agent"])
def test_braces_of_the_configuration_match_and_it_bears_our_mark(component: str) -> None:
    text = render.server_config(parse()) if component == "server" else render.agent_config(parse())
    assert text.startswith(render.MARK)
    assert text.count("{") == text.count("}") > 4


def test_hardening_leaves_the_agent_the_processes_that_it_attests() -> None:
    unit = render.unit("agent", "/usr/local/bin/spire-agent")
    for hiding in ("ProtectProc", "ProcSubset", "PrivatePIDs", "PrivateUsers"):
        assert not re.search(rf"^{hiding}=", unit, re.MULTILINE)
    assert "CAP_SYS_PTRACE" in unit
    assert "User=spire-server" in render.unit("server", "/x")


def test_the_token_is_on_no_command_line() -> None:
    assert f"-joinTokenFile {render.TOKEN}" in render.token_drop_in("/x")
