#!/usr/bin/python
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module helm_recover."""

from __future__ import annotations

DOCUMENTATION = r"""
module: helm_recover
short_description: Let Helm act again on a release that a killed or broken run left behind
version_added: 0.1.0
description:
  - Removes the records of a release's newest revisions that are failed or pending. Helm refuses a pending release, and
    M(kubernetes.core.helm) takes a failed one for unchanged. Without the record Helm installs or upgrades again
    and adopts the objects that are there.
  - A deployed revision below a broken one is marked superseded, since the broken run has changed its objects and an
    equal intent must not pass for unchanged.
  - Nothing is uninstalled and no workload is touched. Each record is kept first, as a Secret of type
    C(aicluster.zerotrust/helm-record) in the same namespace.
  - A pending revision is recovered only when it is older than O(timeout_seconds), and nothing while another run
    holds the cluster's Lease (ZT618).
extends_documentation_fragment: [aicluster.zerotrust.kubernetes]
attributes:
  check_mode:
    support: full
    description: Says what would be removed.
  diff_mode:
    support: full
    description: Shows the revisions and their status.
options:
  release:
    description: Name of the release.
    type: str
    required: true
  namespace:
    description: Namespace of the release.
    type: str
    required: true
  holder:
    description: Id of this run, whose own Lease does not stand in the way.
    type: str
    default: ''
  timeout_seconds:
    description: How long a run of Helm may take; the timeout that Helm is given.
    type: int
    default: 600
  reapply:
    description: Put aside the record of a deployed release too, since its objects were changed by another hand.
    type: bool
    default: false
author:
  - aicluster.zerotrust contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Recover a release that a killed run left behind
  aicluster.zerotrust.helm_recover:
    release: cilium
    namespace: kube-system
    holder: "{{ zerotrust_run.id }}"
    timeout_seconds: 300
"""

RETURN = r"""
steps:
  description: What was done, each with what (remove or supersede), revision, status, secret and kept_as.
  returned: success
  type: list
  elements: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster import recover
from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import (
    CONNECTION_OPTIONS,
    ApiError,
    connect,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            "release": {"type": "str", "required": True},
            "namespace": {"type": "str", "required": True},
            "holder": {"type": "str", "default": ""},
            "timeout_seconds": {"type": "int", "default": 600},
            "reapply": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        steps = recover.recover(
            connect(given["kubeconfig"], given["context"]),
            given["release"],
            given["namespace"],
            holder=given["holder"],
            timeout_seconds=given["timeout_seconds"],
            now=time.time(),
            dry_run=module.check_mode,
            reapply=given["reapply"],
        )
    except recover.RecoverError as error:
        module.fail_json(msg=str(error))
    except ApiError as error:
        module.fail_json(msg=error.message)
    result = {
        "changed": bool(steps),
        "steps": [
            {
                "what": step.what,
                "revision": step.revision,
                "status": step.status,
                "secret": step.name,
                "kept_as": recover.kept_copy(step, given["release"], given["namespace"])["metadata"]["name"],
            }
            for step in steps
        ],
    }
    if module._diff and steps:
        after = [f"revision {step.revision}: superseded\n" for step in steps if step.what == "supersede"]
        result["diff"] = {
            "before_header": f"release {given['namespace']}/{given['release']}",
            "after_header": f"release {given['namespace']}/{given['release']}",
            "before": "".join(f"revision {step.revision}: {step.status}\n" for step in steps),
            "after": "".join(after),
        }
    module.exit_json(**result)


if __name__ == "__main__":
    main()
