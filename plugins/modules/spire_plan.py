#!/usr/bin/python
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin spire_plan; the code is in plugins/action/spire_plan.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: spire_plan
short_description: Check the variables of the role spire, and render its files
version_added: 0.2.0
description:
  - Checks all variables as one document, on the controller, before any host is touched, and fails with one line for
    each problem. Renders the configurations and systemd units.
  - Runs once for all hosts. It changes nothing.
options:
  variables:
    description: The variables C(zerotrust_trust_domain) and C(spire_*) of the role.
    type: dict
    required: true
  servers:
    description: Hosts of the group of servers.
    type: list
    elements: str
    required: true
  hosts:
    description: All hosts of the inventory that get an agent, those outside of C(--limit), too.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    description: It changes nothing.
    support: full
author:
  - aicluster.zerotrust contributors
"""

EXAMPLES = r"""
- name: Plan
  aicluster.zerotrust.spire_plan:
    variables: "{{ spire_variables }}"
    servers: [cp1]
    hosts: [cp1, gpu1]
  run_once: true
  register: spire_plan
"""

RETURN = r"""
server:
  description: Texts config and unit of the server, and sha256 of its program.
  returned: success
  type: dict
agent:
  description: Texts config, unit and drop_in of the agents, and sha256 of their program.
  returned: success
  type: dict
aliases:
  description: Hosts that need an entry of their own on the server, which are those that attest by x509pop.
  returned: success
  type: list
  elements: str
entries:
  description: How many entries the set will have, those of hosts included.
  returned: success
  type: int
set:
  description: Name of the set.
  returned: success
  type: str
trust_domain:
  description: The trust domain.
  returned: success
  type: str
allow_prune:
  description: Whether this run consents to prune.
  returned: success
  type: bool
allow_restart:
  description: Whether this run consents to restarts of a running server or agent.
  returned: success
  type: bool
"""
