#!/usr/bin/python
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin plan; the code is in plugins/action/plan.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Check the whole intent against hosts and cluster, and write the plan of the run
version_added: 0.1.0
description:
  - Reads the variables with the prefixes C(zerotrust_), C(cilium_) and C(mtls_policy_), the registered results of
    M(aicluster.zerotrust.node_info) of all hosts, and, by M(aicluster.zerotrust.cluster_info) on the host that the task
    is delegated to, the cluster.
  - Writes C(plan.json) into a directory of the run below C(zerotrust_report_dir), in check mode, too, since it is a
    report; when the run is refused also C(findings.json). Changes no system.
  - Fails with one line for each blocker. An intent that is not valid is refused before the API is asked anything.
  - Runs once for all hosts. Under C(--limit) nothing of the cluster is planned, since it would be computed from a part.
options:
  mode:
    description:
      - V(preflight) checks all, V(site) plans changes as well, V(verify) prepares the proof, for which unreachable
        hosts are tolerated.
    type: str
    choices: [preflight, site, verify]
    default: preflight
  node_variable:
    description: Name of the variable in which the hosts' results of M(aicluster.zerotrust.node_info) are registered.
    type: str
    default: zerotrust_node
attributes:
  check_mode:
    description: It plans and writes its report, as without check mode.
    support: full
author:
  - aicluster.zerotrust contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Plan
  aicluster.zerotrust.plan:
    mode: site
  run_once: true
  delegate_to: localhost
  any_errors_fatal: true
  register: zerotrust_plan
"""

RETURN = r"""
run:
  description: The run, with id, dir, plan_sha256, accepted, limited, mode and actions (cilium, policy, nic).
  returned: always
  type: dict
groups:
  description: Hosts and the in-memory groups that later plays use, zerotrust_nic_changes and zerotrust_cluster_work.
  returned: always
  type: list
  elements: dict
plan_file:
  description: Path of plan.json on the controller.
  returned: always
  type: str
summary:
  description: The plan in a few lines.
  returned: always
  type: list
  elements: str
"""
