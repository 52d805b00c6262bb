#!/usr/bin/python
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module cluster_lease."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_lease
short_description: Hold the Lease that makes a run the only writer of a cluster
version_added: 0.1.0
description:
  - Takes, renews or gives back the Lease C(aicluster-zerotrust) in C(kube-system).
  - A Lease that another run holds and that has not expired is refused (ZT623). An expired one is taken over.
  - C(changed) is always false. The Lease is a run's bookkeeping and not the cluster's configuration; a run that
    changes nothing else must be able to say so.
extends_documentation_fragment: [aicluster.zerotrust.kubernetes]
attributes:
  check_mode:
    support: full
    description: Reads nothing and takes nothing.
options:
  state:
    description: V(held) takes or renews the Lease, V(released) gives it back if O(holder) has it.
    type: str
    choices: [held, released]
    default: held
  holder:
    description: Id of the run.
    type: str
    required: true
  duration_seconds:
    description: How long the Lease lives without being renewed. Take the longest task's timeout and a margin.
    type: int
    default: 600
author:
  - aicluster.zerotrust contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Hold the Lease
  aicluster.zerotrust.cluster_lease:
    state: held
    holder: "{{ zerotrust_run.id }}"
    duration_seconds: 900
"""

RETURN = r"""
said:
  description: What happened, one of acquired, renewed, taken over from a run, released, not held, held by a run.
  returned: always
  type: str
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster import lease
from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import (
    CONNECTION_OPTIONS,
    ApiError,
    connect,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            "state": {"type": "str", "choices": ["held", "released"], "default": "held"},
            "holder": {"type": "str", "required": True},
            "duration_seconds": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    given = module.params
    if not given["holder"]:
        module.fail_json(msg="holder must be the id of the run; it is empty")
    if given["duration_seconds"] < 1:
        module.fail_json(msg=f"duration_seconds must be 1 or more; it is {given['duration_seconds']}")
    if module.check_mode:
        module.exit_json(changed=False, said="not taken in check mode")
    try:
        client = connect(given["kubeconfig"], given["context"])
        if given["state"] == "held":
            said = lease.acquire(client, given["holder"], given["duration_seconds"], time.time())
        else:
            said = lease.release(client, given["holder"], time.time())
    except lease.LeaseHeld as error:
        module.fail_json(msg=str(error), lease=error.lease.to_dict())
    except ApiError as error:
        module.fail_json(msg=error.message)
    module.exit_json(changed=False, said=said)


if __name__ == "__main__":
    main()
