# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a SPIRE server and its agents are to be, from the role's variables: typed, checked, with every problem named."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.identity.names import (
    Problem,
    longest_svid,
    seconds,
    segment_problem,
    trust_domain_problem,
    ttl_problems,
)

NODE_ATTESTATIONS = ("x509pop", "join_token")
NODE_CAS = ("role", "site")
ATTESTORS = ("unix", "systemd")
KEY_TYPES = ("ec-p256", "ec-p384", "rsa-2048", "rsa-4096")
LOG_LEVELS = ("debug", "info", "warn", "error")
UPSTREAMS = ("none", "disk")
FORESEEN = ("vault", "cert_manager")
# As in roles/spire/defaults, which a plan outside of the role does not see. Those that are expressions are not here.
DEFAULTS: dict[str, t.Any] = {
    "spire_server_port": 8081,
    "spire_server_binary": "",
    "spire_server_sha256": "",
    "spire_agent_binary": "",
    "spire_agent_sha256": "",
    "spire_bin_dir": "/usr/local/bin",
    "spire_download_dir": "~/.cache/aicluster-zerotrust/spire",
    "spire_node_attestation": "x509pop",
    "spire_node_ca": "role",
    "spire_node_certificate_days": 365,
    "spire_node_ca_bundle": "",
    "spire_node_certificate": "",
    "spire_node_private_key": "",
    "spire_ca_ttl": "24h",
    "spire_svid_ttl": "1h",
    "spire_jwt_svid_ttl": "5m",
    "spire_agent_ttl": "",
    "spire_availability_target": "",
    "spire_ca_key_type": "ec-p256",
    "spire_upstream_authority": {"type": "none"},
    "spire_workload_attestors": ["unix", "systemd"],
    "spire_log_level": "info",
    "spire_entries": [],
    "spire_entry_set": "default",
}
_TTLS = ("spire_ca_ttl", "spire_svid_ttl", "spire_jwt_svid_ttl", "spire_agent_ttl", "spire_availability_target")
_PATHS = {"certificate": True, "private_key": True, "bundle": False}
_ADDRESS = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$|^[0-9a-fA-F:]+$")
_SHA256 = re.compile(r"^[0-9a-f]{64}$")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The checked variables; durations are Go's, paths are on the host that uses them, "" means unset."""

    trust_domain: str
    server_address: str
    server_port: int
    node_attestation: str
    node_ca: str
    ca_bundle: str
    certificate: str
    private_key: str
    ca_ttl: str
    svid_ttl: str
    jwt_svid_ttl: str
    agent_ttl: str
    availability_target: str
    ca_key_type: str
    log_level: str
    attestors: tuple[str, ...]
    upstream: tuple[tuple[str, str], ...]  # the settings of the disk authority; empty for none


def parse(
    variables: t.Mapping[str, t.Any], servers: t.Sequence[str], hosts: t.Sequence[str]
) -> tuple[Settings, list[Problem]]:
    """Settings and problems from the variables zerotrust_trust_domain and spire_*.

    servers: hosts of the group of servers. hosts: all hosts of the inventory that get an agent. Settings mean
    something only when there is no problem.
    """
    given = {name: value for name, value in variables.items() if value is not None}
    problems: list[Problem] = []

    def wrong(name: str, remedy: str) -> None:
        problems.append(Problem(name, given.get(name), remedy))

    reason = trust_domain_problem(given.get("zerotrust_trust_domain"))
    if reason:
        wrong("zerotrust_trust_domain", reason)
    if len(servers) != 1:
        remedy = "exactly one server is supported, since its store is SQLite; leave one host in the group spire_server"
        problems.append(Problem("spire_server_group", list(servers), remedy))
    for host in sorted({*servers, *hosts}):
        reason = segment_problem(host)
        if reason:
            problems.append(Problem("inventory_hostname", host, reason))
    address = given.get("spire_server_address")
    if not isinstance(address, str) or not _ADDRESS.match(address):
        wrong("spire_server_address", "the name or address at which agents reach the server is expected, without port")
    port = given.get("spire_server_port")
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        wrong("spire_server_port", "a port from 1 to 65535 is expected")
    for name, choices in (
        ("spire_node_attestation", NODE_ATTESTATIONS),
        ("spire_node_ca", NODE_CAS),
        ("spire_ca_key_type", KEY_TYPES),
        ("spire_log_level", LOG_LEVELS),
    ):
        if given.get(name) not in choices:
            wrong(name, f"one of {', '.join(choices)} is expected")
    problems += _node_ca_problems(given)
    problems += ttl_problems({name: given.get(name, "") for name in _TTLS})
    days = given.get("spire_node_certificate_days")
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 3650:
        wrong("spire_node_certificate_days", "1 to 3650 days are expected")
    attestors = given.get("spire_workload_attestors")
    if not isinstance(attestors, (list, tuple)) or not attestors or not set(attestors) <= set(ATTESTORS):
        wrong("spire_workload_attestors", f"a list of {', '.join(ATTESTORS)} is expected, at least one")
        attestors = ()
    upstream, found = _upstream(given.get("spire_upstream_authority") or {"type": "none"})
    problems += found
    for what in ("server", "agent"):
        problems += _binary_problems(given, what)

    def text(name: str) -> str:
        return str(given.get(name, ""))

    settings = Settings(
        trust_domain=text("zerotrust_trust_domain"),
        server_address=text("spire_server_address"),
        server_port=port if isinstance(port, int) else 0,
        node_attestation=text("spire_node_attestation"),
        node_ca=text("spire_node_ca"),
        ca_bundle=text("spire_node_ca_bundle"),
        certificate=text("spire_node_certificate"),
        private_key=text("spire_node_private_key"),
        ca_ttl=text("spire_ca_ttl"),
        svid_ttl=text("spire_svid_ttl"),
        jwt_svid_ttl=text("spire_jwt_svid_ttl"),
        agent_ttl=text("spire_agent_ttl"),
        availability_target=text("spire_availability_target"),
        ca_key_type=text("spire_ca_key_type"),
        log_level=text("spire_log_level"),
        attestors=tuple(sorted(attestors)),
        upstream=tuple(sorted(upstream.items())),
    )
    return settings, problems


def is_digest(value: str) -> bool:
    return _SHA256.match(value) is not None


def longest_entry_ttl(settings: Settings) -> int:
    """Seconds that an entry's SVID may live at most under the CA's life."""
    return longest_svid(seconds(settings.ca_ttl) or 0)


def _path_reason(value: t.Any) -> str | None:
    if not isinstance(value, str) or not value.startswith("/"):
        return "an absolute path on the host is expected"
    if any(ord(letter) < 32 for letter in value) or "${" in value or '"' in value:
        return "a path without control characters, quotes and ${ is expected"
    return None


def _node_ca_problems(given: t.Mapping[str, t.Any]) -> list[Problem]:
    names = ("spire_node_ca_bundle", "spire_node_certificate", "spire_node_private_key")
    problems = []
    for name in names:
        value = given.get(name) or ""
        if given.get("spire_node_attestation") == "x509pop" and given.get("spire_node_ca") == "site":
            reason = _path_reason(value)
            if reason:
                problems.append(Problem(name, value, f"with spire_node_ca site, {reason}"))
        elif value:
            remedy = "it has a meaning only with spire_node_attestation x509pop and spire_node_ca site; remove it"
            problems.append(Problem(name, value, remedy))
    return problems


def _upstream(given: t.Any) -> tuple[dict[str, str], list[Problem]]:
    name = "spire_upstream_authority"
    if not isinstance(given, dict):
        return {}, [Problem(name, given, "a dictionary with type is expected")]
    kind = given.get("type")
    if kind in FORESEEN:
        return {}, [Problem(f"{name}.type", kind, "it is foreseen but not in this version; take disk or none")]
    if kind not in UPSTREAMS:
        return {}, [Problem(f"{name}.type", kind, f"one of {', '.join(UPSTREAMS)} is expected")]
    fields: t.Mapping[str, bool] = _PATHS if kind == "disk" else {}
    problems = [
        Problem(f"{name}.{key}", given[key], f"there is no such field with type {kind}")
        for key in sorted(set(given) - {"type", *fields}, key=str)
    ]
    for key, needed in fields.items():
        if needed or given.get(key):
            reason = _path_reason(given.get(key))
            if reason:
                problems.append(Problem(f"{name}.{key}", given.get(key), reason))
    return {key: str(given[key]) for key in fields if given.get(key)}, problems


def _binary_problems(given: t.Mapping[str, t.Any], what: str) -> list[Problem]:
    name, sum_name = f"spire_{what}_binary", f"spire_{what}_sha256"
    source, digest = given.get(name) or "", given.get(sum_name) or ""
    problems = []
    if not isinstance(source, str) or not source.startswith(("/", "https://")):
        remedy = "the absolute path of the binary on the controller, or its https URL, is expected"
        problems.append(Problem(name, source, remedy))
    elif source.startswith("https://") and not digest:
        problems.append(Problem(sum_name, digest, f"the SHA-256 of {name} is needed, since that is a URL"))
    if digest and (not isinstance(digest, str) or not _SHA256.match(digest)):
        problems.append(Problem(sum_name, digest, "64 lower case hexadecimal digits are expected"))
    return problems
