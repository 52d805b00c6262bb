#!/usr/bin/python
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module spire_service."""

from __future__ import annotations

DOCUMENTATION = r"""
module: spire_service
short_description: Keep a SPIRE server or agent as a systemd service
version_added: 0.2.0
description:
  - Compares configuration, unit and other files with those that are wanted, has SPIRE itself validate a configuration
    that differs, and only then writes, restarts and waits until the service is healthy.
  - A unit or configuration that this collection has not written is refused.
  - Run as root.
extends_documentation_fragment:
  - aicluster.zerotrust.attributes
  - aicluster.zerotrust.attributes.host
attributes:
  check_mode:
    support: full
    details:
      - The configuration is validated in check mode, too, where the binary is already on the host.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  component:
    description: What to run.
    type: str
    choices: [server, agent]
    required: true
  binary:
    description: Path of the program on the host.
    type: path
    required: true
  binary_changed:
    description: Whether the program was replaced, or is to be, for which the service is restarted.
    type: bool
    default: false
  allow_restart:
    description:
      - Consent to restart a service that runs. Without it, what needs a restart is left as it is, with a warning.
      - A service that does not run, and an agent that has to attest by a join token, need none.
    type: bool
    default: true
  config:
    description: Text of the configuration file.
    type: str
    required: true
  unit:
    description: Text of the systemd unit.
    type: str
    required: true
  certificate:
    description: New certificate of the host in PEM, for an agent that attests by x509pop. Empty leaves the present one.
    type: str
    default: ""
  bundle:
    description: Trust bundle in PEM, for an agent. It is written only for an agent that has not attested yet.
    type: str
    default: ""
  join_token:
    description: Join token for an agent. It is in a file for root only until the agent has attested, then gone.
    type: str
    default: ""
  drop_in:
    description: Text of the unit's drop-in that gives O(join_token) to the agent for one start.
    type: str
    default: ""
  wait_seconds:
    description: How long to wait until the service is healthy.
    type: float
    default: 60
author:
  - aicluster.zerotrust contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Keep the agent
  aicluster.zerotrust.spire_service:
    component: agent
    binary: /usr/local/bin/spire-agent
    config: "{{ spire_plan.agent.config }}"
    unit: "{{ spire_plan.agent.unit }}"
  become: true
"""

RETURN = r"""
left:
  description: Whether the change was left because it would restart a running service without consent.
  returned: always
  type: bool
restarted:
  description: Whether the service was restarted, or would be.
  returned: always
  type: bool
reasons:
  description: Why it was restarted.
  returned: always
  type: list
  elements: str
validated:
  description: Whether SPIRE has validated the configuration; false where nothing is to be restarted, and in check
    mode where the binary or the certificate is not there yet.
  returned: always
  type: bool
healthy_after:
  description: Seconds until it was healthy.
  returned: when not in check mode
  type: float
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aicluster.zerotrust.plugins.module_utils.identity import render
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node import interpreter
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.spire import service as services
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.spire.host import SpireError


def wanted(given: dict[str, t.Any]) -> services.Service:
    component = given["component"]
    others = []
    if given["certificate"]:
        # An agent reads it whenever it attests, so a running one needs no restart for it.
        others.append(services.File(render.NODE_CERTIFICATE, given["certificate"], 0o644, restart=False))
    if given["bundle"] and (given["join_token"] or not os.path.exists(render.STORE)):
        # Only an agent that has not attested reads it; afterwards it keeps its own up to date, which changes often.
        others.append(services.File(render.BUNDLE, given["bundle"], 0o644, restart=False))
    return services.Service(
        component=component,
        binary=given["binary"],
        config=services.File(render.CONFIG[component], given["config"], 0o644),
        unit=services.File(f"/etc/systemd/system/spire-{component}.service", given["unit"], 0o644),
        others=tuple(others),
        socket=render.SOCKET[component],
        mark=render.MARK,
    )


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "component": {"type": "str", "choices": ["server", "agent"], "required": True},
            "binary": {"type": "path", "required": True},
            "binary_changed": {"type": "bool", "default": False},
            "allow_restart": {"type": "bool", "default": True},
            "config": {"type": "str", "required": True},
            "unit": {"type": "str", "required": True},
            "certificate": {"type": "str", "default": ""},
            "bundle": {"type": "str", "default": ""},
            "join_token": {"type": "str", "default": "", "no_log": True},
            "drop_in": {"type": "str", "default": "", "no_log": False},
            "wait_seconds": {"type": "float", "default": 60},
        },
        supports_check_mode=True,
    )
    given = module.params
    service = wanted(given)
    result: dict[str, t.Any] = {"validated": False, "left": False}
    begun = False
    try:
        refusal = interpreter.too_old() or services.refusal(service)
        if refusal:
            raise SpireError(refusal)
        todo = services.plan(service, binary_changed=given["binary_changed"], token=bool(given["join_token"]))
        if todo.disrupts and not given["allow_restart"]:
            why = "; ".join(todo.reasons)
            module.warn(f"{service.name} was left as it is, since it would restart and this run has no consent: {why}")
            todo = services.without_restart(todo)
            result["left"] = True
        result.update(changed=todo.changed, restarted=todo.restart, reasons=list(todo.reasons))
        if module._diff:
            result["diff"] = services.diff(todo)
        if module.check_mode and todo.restart:
            ready = os.path.exists(service.binary) and services.in_place(service.others)
            if ready:
                services.validate(service)
            result["validated"] = ready
        if not module.check_mode:
            begun = todo.changed
            result["healthy_after"] = services.apply(
                service,
                todo,
                token=given["join_token"],
                token_path=render.TOKEN,
                drop_in=given["drop_in"],
                stale=render.STORE,
                wait=given["wait_seconds"],
            )
            result["validated"] = todo.restart
    except (SpireError, OSError) as error:
        module.fail_json(msg=str(error), **{**result, "changed": begun})
    module.exit_json(**result)


if __name__ == "__main__":
    main()
