# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one check of all variables of SPIRE on hosts, and what follows from them. Pure: playbooks site and identity share
it by the action plugins plan and spire_plan.
"""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.identity import entries, render, settings
from ansible_collections.aicluster.zerotrust.plugins.module_utils.identity.names import Problem

Json = dict[str, t.Any]


def make(
    variables: t.Mapping[str, t.Any],
    *,
    servers: t.Sequence[str],
    hosts: t.Sequence[str],
    digest: t.Callable[[str], str | None],
) -> tuple[Json, list[Problem]]:
    """What a server and its agents are to be, and every problem; the first means something only without the second.

    variables: zerotrust_trust_domain and spire_*, None or missing for the default. servers: hosts of the group of
    servers. hosts: all hosts of the inventory that get an agent. digest: SHA-256 of a file on the controller, None
    where it cannot be read.
    """
    given = {**settings.DEFAULTS, **{name: value for name, value in variables.items() if value is not None}}
    hosts = sorted(set(hosts))
    found, problems = settings.parse(given, servers, hosts)
    programs: dict[str, str] = {}
    for what in ("server", "agent"):
        programs[what], wrong = _program(given, what, digest)
        problems += wrong
    set_name = str(given["spire_entry_set"])
    reason = entries.set_problem(set_name)
    if reason:
        problems.append(Problem("spire_entry_set", given["spire_entry_set"], reason))
    parsed, entry_problems = entries.parse(
        given["spire_entries"],
        found.trust_domain,
        set_name,
        hosts=hosts,
        attestors=found.attestors,
        longest_ttl=settings.longest_entry_ttl(found) or entries.MAX_TTL,
    )
    # entries are judged by these; where one is wrong, more lines would say nothing new
    if not {"zerotrust_trust_domain", "spire_workload_attestors", "spire_ca_ttl"} & {one.variable for one in problems}:
        problems += entry_problems
    folder = str(given["spire_bin_dir"])
    aliases = hosts if found.node_attestation == "x509pop" else []
    document: Json = {
        "server": {
            "config": render.server_config(found),
            "unit": render.unit("server", f"{folder}/spire-server"),
            "sha256": programs["server"],
        },
        "agent": {
            "config": render.agent_config(found),
            "unit": render.unit("agent", f"{folder}/spire-agent"),
            "drop_in": render.token_drop_in(f"{folder}/spire-agent"),
            "sha256": programs["agent"],
        },
        "aliases": aliases,
        "entries": len(aliases) + len(parsed),
        "set": set_name,
        "trust_domain": found.trust_domain,
    }
    return document, problems


def _program(
    given: t.Mapping[str, t.Any], what: str, digest: t.Callable[[str], str | None]
) -> tuple[str, list[Problem]]:
    """The SHA-256 that a program will have on the hosts; of a URL it is the given one."""
    name, sum_name = f"spire_{what}_binary", f"spire_{what}_sha256"
    source, wanted = str(given.get(name) or ""), str(given.get(sum_name) or "")
    if not source.startswith("/"):
        return wanted, []
    there = digest(source)
    if there is None:
        return "", [Problem(name, source, "there is no such file on the controller, or it cannot be read")]
    if wanted and wanted != there and settings.is_digest(wanted):
        return "", [Problem(sum_name, wanted, f"{source} has {there}; correct one of them")]
    return there, []
