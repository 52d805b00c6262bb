#!/usr/bin/python
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module path_probe."""

from __future__ import annotations

DOCUMENTATION = r"""
module: path_probe
short_description: Prove that packets of a size pass through one interface to targets and back unfragmented
version_added: 0.1.0
description:
  - Sends ICMP echo requests with the DF bit through O(interface), whatever the routes say, ignoring what the kernel
    remembers of the path's MTU. The way back is proved by the reply, which has the same size. The kernel tells whether
    it came in fragments.
  - B(Sends traffic), at most O(count) packets of O(size) bytes to each of O(targets), two milliseconds apart.
  - A target that does not answer is a result and not a failure of the task. A firewall that drops ICMP looks the same
    as a path that is too narrow.
  - Run as root. IPv4 only in this version.
extends_documentation_fragment:
  - aicluster.zerotrust.attributes
  - aicluster.zerotrust.attributes.host
attributes:
  check_mode:
    support: full
    details:
      - It changes no setting, and probes in check mode too.
  diff_mode:
    support: N/A
    details:
      - It changes no setting.
  idempotent:
    support: full
    details:
      - It changes no setting.
options:
  interface:
    description: Interface that the packets leave and arrive through.
    type: str
    required: true
  targets:
    description: IPv4 addresses. An IPv6 address is answered with an error of its own entry.
    type: list
    elements: str
    required: true
  size:
    description: Size of the IP packet in bytes, which is the MTU to prove; from 68 to 65535.
    type: int
    required: true
  count:
    description: Packets to a target at most; the first answer ends its turn.
    type: int
    default: 3
  timeout_ms:
    description: Milliseconds to wait for answers after each round.
    type: int
    default: 1000
seealso:
  - module: aicluster.zerotrust.node_info
author:
  - aicluster.zerotrust contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Prove 9000 bytes to two peers
  aicluster.zerotrust.path_probe:
    interface: ens1f0
    targets: [10.0.0.2, 10.0.0.3]
    size: 9000
  register: zerotrust_path
  become: true
"""

RETURN = r"""
path:
  description: The results.
  returned: success
  type: dict
  contains:
    interface:
      description: As given.
      type: str
      returned: always
    size:
      description: As given.
      type: int
      returned: always
    probes:
      description:
        - For each target in the order given target, sent, answered, forward_ok, reply_fragment_size, backward_ok
          and error.
        - The value of reply_fragment_size is the size of the largest fragment of the reply, V(null) where it came
          whole.
      type: list
      elements: dict
      returned: always
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node import interpreter, path


def arguments() -> dict[str, t.Any]:
    return {
        "interface": {"type": "str", "required": True},
        "targets": {"type": "list", "elements": "str", "required": True},
        "size": {"type": "int", "required": True},
        "count": {"type": "int", "default": 3},
        "timeout_ms": {"type": "int", "default": 1000},
    }


def main() -> t.NoReturn:
    module = AnsibleModule(argument_spec=arguments(), supports_check_mode=True)
    refusal = interpreter.too_old()
    if refusal:
        module.fail_json(msg=refusal)
    params = module.params
    interface, size = params["interface"], params["size"]
    try:
        probes = path.probe(interface, params["targets"], size, params["count"], params["timeout_ms"] / 1000)
    except ValueError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, path={"interface": interface, "size": size, "probes": probes})


if __name__ == "__main__":
    main()
