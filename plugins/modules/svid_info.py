#!/usr/bin/python
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module svid_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: svid_info
short_description: Read which identity a host has, from Workload API, agent and server
version_added: 0.2.0
description:
  - Asks the Workload API as the user that the module runs as (with C(become_user) another one), so it shows what that
    user gets, which may rightly be nothing.
  - Reads as root, too, the agent's own SVID and trust bundle from its store, which holds certificates only, and with
    O(server) the server's CA, bundle, entries and agents.
  - Each SVID's chain is verified against the bundle that came with it.
  - The API's answer has private keys. They are dropped while its JSON is read, and are neither kept nor written nor
    returned.
  - Needs the C(openssl) program.
extends_documentation_fragment:
  - aicluster.zerotrust.attributes
  - aicluster.zerotrust.attributes.info
  - aicluster.zerotrust.attributes.host
options:
  binary:
    description: Path of C(spire-agent).
    type: path
    default: /usr/local/bin/spire-agent
  socket:
    description: Socket of the Workload API.
    type: path
    default: /run/spire-agent/api.sock
  server:
    description: Whether to ask the server on this host, too.
    type: bool
    default: false
  server_binary:
    description: Path of C(spire-server).
    type: path
    default: /usr/local/bin/spire-server
  server_socket:
    description: Private socket of the server.
    type: path
    default: /run/spire-server/api.sock
  set_name:
    description: Set of registration entries to count as ours.
    type: str
    default: default
author:
  - aicluster.zerotrust contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: The agent's health, its own SVID and what root gets
  aicluster.zerotrust.svid_info:
  become: true
  register: identity

- name: The server's side, too
  aicluster.zerotrust.svid_info:
    server: true
  become: true
"""

RETURN = r"""
svid:
  description: What the host has.
  returned: always
  type: dict
  contains:
    schema:
      description: Version of this shape, 2.
      type: int
      returned: always
    epoch:
      description: The host's clock when it was read.
      type: float
      returned: always
    state:
      description: V(issued), V(denied) where the API answers and has no identity for the caller, V(unknown) where
        it could not be asked. Root has no entry as a rule, so V(denied) is the usual answer.
      type: str
      returned: always
    error:
      description: What the API said, V(null) when it issued.
      type: str
      returned: always
    svids:
      description: Each with spiffe_id, hint, serial, not_before and not_after (epoch), seconds_left, chain_length,
        verified (against the bundle, V(null) when it could not be tried) and why (not verified).
      type: list
      elements: dict
      returned: always
    bundle_size:
      description: How many authorities the bundles of the answer hold.
      type: int
      returned: always
    agent:
      description: C(state) (up, down, unknown) and C(why); C(service) as systemd says, C(healthy) by its own check,
        C(workload_api) whether that answered (each V(null) when unknown); C(svid), the agent's own in the form of
        C(svids), V(null) before it attested; C(error) when that could not be read.
      type: dict
      returned: always
    bundle:
      description: The authorities that the agent trusts, each with sha256 (of its DER), not_after and seconds_left.
        Empty before it attested. Hosts agree but for some seconds while the CA rotates.
      type: list
      elements: dict
      returned: always
    server:
      description: V(null) unless asked. C(service), C(healthy), C(trust_domain), C(ca) (authority_id, not_after,
        seconds_left of the active one), C(bundle), C(entries) (set, ours, total), C(agents) (total, expired, banned,
        and hosts by the names that x509pop attested), and C(error) when something could not be read.
      type: dict
      returned: always
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aicluster.zerotrust.plugins.module_utils.identity import entries, render
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node import interpreter
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.spire import svid


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "binary": {"type": "path", "default": "/usr/local/bin/spire-agent"},
            "socket": {"type": "path", "default": "/run/spire-agent/api.sock"},
            "server": {"type": "bool", "default": False},
            "server_binary": {"type": "path", "default": "/usr/local/bin/spire-server"},
            "server_socket": {"type": "path", "default": "/run/spire-server/api.sock"},
            "set_name": {"type": "str", "default": "default"},
        },
        supports_check_mode=True,
    )
    refusal = interpreter.too_old()
    if refusal:
        module.fail_json(msg=refusal)
    given, now = module.params, time.time()
    answer = svid.observe(given["binary"], given["socket"], render.STORE, now)
    if given["server"]:
        prefix = entries.prefix(given["set_name"])
        answer["server"] = svid.server(given["server_binary"], given["server_socket"], given["set_name"], prefix, now)
    module.exit_json(changed=False, svid=answer)


if __name__ == "__main__":
    main()
