#!/usr/bin/python
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module svid_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: svid_info
short_description: Read what the SPIFFE Workload API of a host gives to this process
version_added: 0.2.0
description:
  - Asks the Workload API as the user that the module runs as (with C(become_user) another one), so it shows what that
    user gets, which may rightly be nothing.
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
author:
  - aicluster.zerotrust contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: What root gets
  aicluster.zerotrust.svid_info:
  become: true
  register: identity
"""

RETURN = r"""
svid:
  description: What the Workload API gave.
  returned: always
  type: dict
  contains:
    schema:
      description: Version of this shape.
      type: int
      returned: always
    state:
      description: V(issued), V(denied) where the API answers and has no identity for the caller, V(unknown) where
        it could not be asked.
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
      description: How many authorities the bundles hold.
      type: int
      returned: always
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node import interpreter
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.spire import svid


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "binary": {"type": "path", "default": "/usr/local/bin/spire-agent"},
            "socket": {"type": "path", "default": "/run/spire-agent/api.sock"},
        },
        supports_check_mode=True,
    )
    refusal = interpreter.too_old()
    if refusal:
        module.fail_json(msg=refusal)
    answer = svid.observe(module.params["binary"], module.params["socket"], now=time.time())
    module.exit_json(changed=False, svid=answer)


if __name__ == "__main__":
    main()
