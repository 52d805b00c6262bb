# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin spire_plan: the role's variables checked on the controller, once, before any host is touched."""

from __future__ import annotations

import os
import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

from ansible_collections.aicluster.zerotrust.plugins.module_utils.identity import entries, render, settings
from ansible_collections.aicluster.zerotrust.plugins.module_utils.identity.names import Problem


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        _unused, given = self.validate_argument_spec(
            {
                "variables": {"type": "dict", "required": True},
                "servers": {"type": "list", "elements": "str", "required": True},
                "hosts": {"type": "list", "elements": "str", "required": True},
            }
        )
        variables, hosts = given["variables"], sorted(set(given["hosts"]))
        found, problems = settings.parse(variables, given["servers"], hosts)
        problems += self._consent(task_vars or {})
        set_name = str(variables.get("spire_entry_set"))
        problems += _missing_programs(variables)
        reason = entries.set_problem(set_name)
        if reason:
            problems.append(Problem("spire_entry_set", set_name, reason))
        _parsed, entry_problems = entries.parse(
            variables.get("spire_entries"),
            found.trust_domain,
            set_name,
            hosts=hosts,
            attestors=found.attestors,
            longest_ttl=settings.longest_entry_ttl(found) or entries.MAX_TTL,
        )
        problems += entry_problems
        if problems:
            lines = "\n".join(problem.line() for problem in problems)
            return {"failed": True, "msg": f"{len(problems)} problem(s), nothing was changed.\n{lines}"}
        folder = variables["spire_bin_dir"]
        return {
            "changed": False,
            "server": {
                "config": render.server_config(found),
                "unit": render.unit("server", f"{folder}/spire-server"),
            },
            "agent": {
                "config": render.agent_config(found),
                "unit": render.unit("agent", f"{folder}/spire-agent"),
                "drop_in": render.token_drop_in(f"{folder}/spire-agent"),
            },
            "aliases": hosts if found.node_attestation == "x509pop" else [],
            "allow_prune": "prune" in ((task_vars or {}).get("zerotrust_allow") or []),
        }

    def _consent(self, variables: t.Mapping[str, t.Any]) -> list[Problem]:
        """Consent is for one run: only an extra variable may give it, except on a laboratory."""
        allowed = variables.get("zerotrust_allow")
        if not allowed or variables.get("zerotrust_lab") is True or "zerotrust_allow" in load_extra_vars(self._loader):
            return []
        remedy = "consent to what disrupts is given by extra variables (-e) or a survey, for one run"
        return [Problem("zerotrust_allow", allowed, remedy)]


def _missing_programs(variables: t.Mapping[str, t.Any]) -> list[Problem]:
    """Local programs that are not there, before any host is touched; their digest is checked while they are copied."""
    names = ("spire_server_binary", "spire_agent_binary")
    local = {name: str(variables.get(name) or "") for name in names}
    return [
        Problem(name, path, "there is no such file on the controller")
        for name, path in local.items()
        if path.startswith("/") and not os.path.isfile(path)
    ]
