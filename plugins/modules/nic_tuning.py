#!/usr/bin/python
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module nic_tuning: the host's side; the action plugin of the same name conducts it from the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nic_tuning
short_description: Change the MTU of a host's interfaces, with a rollback that the host itself carries out
version_added: 0.1.0
description:
  - Sets the MTU that the plan wants. Before anything is changed the host arms a timer of its own systemd that restores
    the old MTU, and a timer of the same form, which only leaves a mark, has been seen to fire.
  - The change is confirmed over a new connection, and only when unfragmented packets of the new size pass through the
    changed interface to a target and back. Else the host has its old MTU back after O(deadline) seconds at the latest,
    whatever became of the controller.
  - Interfaces that carry RDMA and virtual functions are refused. Pause, PFC, trust, priority maps and RDMA sysctls are
    compared before and after; a difference rolls the change back.
  - Nothing is persisted in this version. A reboot gives the MTU that the host's own configuration sets.
extends_documentation_fragment:
  - aicluster.zerotrust.attributes
  - aicluster.zerotrust.attributes.host
attributes:
  check_mode:
    support: full
    details:
      - The interfaces are inspected and refused as in a run; the difference is returned and nothing is written.
  diff_mode:
    support: full
    details:
      - Interface and MTU before and after.
  idempotent:
    support: full
    details:
      - An interface that has the wanted MTU is left alone.
options:
  changes:
    description: The interfaces to change. Needed unless O(state) only looks at a change that was made.
    type: list
    elements: dict
    default: []
    suboptions:
      interface:
        description: Name of the interface.
        type: str
        required: true
      mtu_from:
        description: MTU in bytes that the plan saw. Another one is refused, since another hand set it.
        type: int
        required: true
      mtu_to:
        description: MTU in bytes that is wanted, 1280 at least.
        type: int
        required: true
  state:
    description:
      - V(changed) makes the whole change. It is conducted by the action plugin, which uses the other states.
      - V(inspect) only judges. V(noop) proves that the host's timers work. V(arm_and_apply) arms and changes.
        V(confirm) keeps a change, V(rollback) takes it back, V(status) tells what became of it.
    type: str
    choices: [changed, inspect, noop, arm_and_apply, confirm, rollback, status]
    default: changed
  change_id:
    description: Name of the change on the host. Made by the action plugin with O(state=changed).
    type: str
  deadline:
    description: Seconds after which the host restores its old MTU unless the change was confirmed; 15 to 600.
    type: int
    default: 60
  accept_untested_hardware:
    description: Change interfaces whose driver this code has never run on (mlx5_core), too.
    type: bool
    default: false
  probe_targets:
    description:
      - IPv4 addresses of which one must answer packets of the new size.
      - Without it the default gateway on the changed interface, else up to four other hosts in its network whose
        interface takes the new size already.
    type: list
    elements: str
    default: []
  reason:
    description: Why the change is taken back, with O(state=rollback).
    type: str
    default: it was asked for
author:
  - aicluster.zerotrust contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Raise the MTU of the node network
  aicluster.zerotrust.nic_tuning:
    changes:
      - interface: bond0
        mtu_from: 1500
        mtu_to: 9000
    probe_targets: [192.0.2.1]
  become: true

- name: See what became of a change
  aicluster.zerotrust.nic_tuning:
    state: status
    change_id: 20261122t210000-1a2b3c4d
  become: true
"""

RETURN = r"""
todo:
  description: Interfaces whose MTU differs from the wanted one.
  returned: with O(state=inspect) and O(state=changed)
  type: list
  elements: dict
status:
  description:
    - id, phase (armed, confirmed, rolling-back, rolled-back, rebooted or none), applied, reason, interfaces (the MTU of
      each by now), changes, frozen_differs (what differs of the settings that must not change).
  returned: when a change was begun
  type: dict
outcome:
  description: V(confirmed), V(rolled_back), V(refused) or V(unknown).
  returned: with O(state=changed) when a change was needed
  type: str
refusal:
  description: Code and message of what spoke against the change.
  returned: when refused
  type: dict
probes:
  description: What path_probe saw at last, one entry an interface.
  returned: with O(state=changed) when the path was probed
  type: list
  elements: dict
findings:
  description: The findings of this change; empty when it was confirmed.
  returned: with O(state=changed)
  type: list
  elements: dict
noop_seconds:
  description: Seconds from arming the no-op timer until it was seen to have fired.
  returned: with O(state=noop)
  type: float
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node import interpreter
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.change import host


def arguments() -> dict[str, t.Any]:
    change = {
        "interface": {"type": "str", "required": True},
        "mtu_from": {"type": "int", "required": True},
        "mtu_to": {"type": "int", "required": True},
    }
    states = ["changed", "inspect", "noop", "arm_and_apply", "confirm", "rollback", "status"]
    return {
        "changes": {"type": "list", "elements": "dict", "default": [], "options": change},
        "state": {"type": "str", "choices": states, "default": "changed"},
        "change_id": {"type": "str"},
        "deadline": {"type": "int", "default": 60},
        "accept_untested_hardware": {"type": "bool", "default": False},
        "probe_targets": {"type": "list", "elements": "str", "default": []},
        "reason": {"type": "str", "default": "it was asked for"},
    }


def act(params: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """The module's result for one state; raises host.Refused."""
    state, change_id = params["state"], params["change_id"]
    if state == "status":
        return {"changed": False, "status": host.status(change_id)}
    changes = host.parse_changes(params["changes"])
    accept = params["accept_untested_hardware"]
    if state == "inspect" or check_mode:
        host.refuse_undecided(check_mode)
        todo = host.inspect_changes(changes, accept)
        return {"changed": bool(todo), "todo": [vars(change) for change in todo]}
    if state == "noop":
        return {"changed": False, "noop_seconds": host.noop()}
    if state == "arm_and_apply":
        return {"changed": True, "status": host.arm_and_apply(change_id, changes, params["deadline"], accept)}
    if state == "confirm":
        return {"changed": False, "status": host.confirm(change_id)}
    return {"changed": True, "status": host.rollback(change_id, params["reason"])}


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec=arguments(),
        supports_check_mode=True,
        required_if=[("state", state, ("change_id",)) for state in ("arm_and_apply", "confirm", "rollback", "status")],
    )
    params = module.params
    refusal = interpreter.too_old()
    if refusal:
        module.fail_json(msg=refusal)
    if params["state"] == "changed":
        module.fail_json(msg="state changed is conducted by the action plugin of this collection; call it as a task.")
    if os.geteuid() != 0:
        module.fail_json(msg="nic_tuning needs root on the host; set become: true.")
    if not 15 <= params["deadline"] <= 600:
        module.fail_json(msg=f"deadline is {params['deadline']}; give 15 to 600 seconds.")
    try:
        result = act(params, module.check_mode)
    except host.Refused as error:
        module.fail_json(msg=f"{error.refusal.code}: {error.refusal.message}", refusal=vars(error.refusal))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
