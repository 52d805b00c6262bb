# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action verdict; the code is plugins/action/verdict.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: verdict
short_description: Judge a run's evidence and write its report
version_added: 0.1.0
description:
  - Joins what the hosts' kernels and the Kubernetes API say into findings and one verdict, and writes C(evidence.json),
    C(report.json) and C(report.html) into the run's directory, readable by their owner only. C(latest) beside that
    directory points to it.
  - Reads the plan of this run, and the registered results of M(aicluster.zerotrust.node_info) and
    M(aicluster.zerotrust.wireguard_info) of all hosts. A host without a result is unknown, never passed.
  - Runs once, in a play of all hosts, as an action on the controller. Set C(delegate_to) to the host that talks to the
    API.
options:
  node_variable:
    description: Name under which the result of node_info was registered.
    type: str
    default: zerotrust_node
  wireguard_variable:
    description: Name under which the result of wireguard_info was registered.
    type: str
    default: zerotrust_wireguard
  fail_on:
    description: States of the verdict that fail the task. The role report fails the play instead.
    type: list
    elements: str
    choices: [pass, fail, unknown]
    default: []
attributes:
  check_mode:
    support: full
    description: Reads, judges and writes the report as without check mode; nothing on hosts or cluster is changed.
author:
  - aicluster.zerotrust contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Judge and report
  aicluster.zerotrust.verdict:
  register: zerotrust_verdict
  run_once: true
  delegate_to: "{{ zerotrust_api_host | default('localhost') }}"
"""

RETURN = r"""
verdict:
  description: State, number of accepted findings, scope, and all of it in one line.
  returned: always
  type: dict
  sample: {"state": "pass", "accepted": 0, "scope": "pod to pod across nodes, 4 of 4 nodes, ..", "text": "pass (..)"}
summary:
  description: Verdict, one line for each finding that decides it, path of the report.
  returned: always
  type: str
report:
  description: Paths of the report.
  returned: always
  type: dict
  sample: {"dir": "..", "json": "../report.json", "html": "../report.html", "latest": "../latest"}
"""
