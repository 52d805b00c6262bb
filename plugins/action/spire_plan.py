# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin spire_plan: the role's variables checked on the controller, once, before any host is touched."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

from ansible_collections.aicluster.zerotrust.plugins.action.plan import file_digest
from ansible_collections.aicluster.zerotrust.plugins.module_utils.identity import plan
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
        document, problems = plan.make(
            given["variables"], servers=given["servers"], hosts=given["hosts"], digest=file_digest
        )
        problems += self._consent(task_vars or {})
        if problems:
            lines = "\n".join(problem.line() for problem in problems)
            return {"failed": True, "msg": f"{len(problems)} problem(s), nothing was changed.\n{lines}"}
        allowed = (task_vars or {}).get("zerotrust_allow") or []
        return {
            "changed": False,
            **document,
            "allow_prune": "prune" in allowed,
            "allow_restart": "agent_restart" in allowed,
        }

    def _consent(self, variables: t.Mapping[str, t.Any]) -> list[Problem]:
        """Consent is for one run: only an extra variable may give it, except on a laboratory."""
        allowed = variables.get("zerotrust_allow")
        if not allowed or variables.get("zerotrust_lab") is True or "zerotrust_allow" in load_extra_vars(self._loader):
            return []
        remedy = "consent to what disrupts is given by extra variables (-e) or a survey, for one run"
        return [Problem("zerotrust_allow", allowed, remedy)]
