# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SPIRE on hosts in the plan: its variables' problems as findings, who takes part, and a server that must be there."""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.identity import plan as spire
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan.hosts import HostState

Json = dict[str, t.Any]
NONE: Json = {
    "action": "none",
    "deployment": "hosts",
    "servers": [],
    "hosts": [],
    "run": [],
    "entries": 0,
    "set": None,
    "trust_domain": None,
}


def check(
    variables: t.Mapping[str, t.Any],
    *,
    servers: t.Sequence[str],
    hosts: t.Sequence[str],
    digest: t.Callable[[str], str | None],
) -> tuple[Json, list[Finding]]:
    """The plan's part before the hosts are known, and a ZT502 for each problem. Arguments as of make()."""
    document, problems = spire.make(variables, servers=servers, hosts=hosts, digest=digest)
    part = {
        **NONE,
        "action": "keep",
        "servers": sorted(servers),
        "hosts": sorted({*servers, *hosts}),
        **{name: document[name] for name in ("entries", "set", "trust_domain")},
    }
    findings = [
        Finding(
            "ZT502",
            Subject("variable", problem.variable),
            problem.line(),
            observed=problem.value,
            remedy=problem.remedy[:1].upper() + problem.remedy[1:] + ".",
            source="variables",
        )
        for problem in problems
    ]
    return part, findings


def check_server(part: t.Mapping[str, t.Any], hosts: t.Sequence[HostState]) -> list[Finding]:
    """ZT503 where the host of the server takes part in the run and cannot be worked on."""
    findings = []
    for host in hosts:
        if host.name not in part["servers"] or not (host.excluded or (host.in_run and host.unreachable)):
            continue
        why = f"is in maintenance: {host.excluded}" if host.excluded else f"could not be reached: {host.error}"
        findings.append(Finding("ZT503", Subject("host", host.name), f"{host.name} {why}", source="plan"))
    return findings


def taking_part(part: t.Mapping[str, t.Any], hosts: t.Sequence[HostState]) -> list[str]:
    """Hosts of the run that can be worked on; those outside of the cluster's pattern are left to --limit."""
    out = {host.name for host in hosts if not host.in_run or host.excluded or host.unreachable}
    return [name for name in part["hosts"] if name not in out]
