#!/usr/bin/python
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module mesh_objects."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_objects
short_description: Apply the few objects that a mesh needs beside its charts
version_added: 0.1.0
description:
  - Applies labels of Namespaces, waypoints, the CRDs of the Gateway API and a rule for probes by server-side apply,
    with the field manager C(aicluster.zerotrust.mesh), strict field validation and never forced.
  - Everything is tried as a server-side dry run first. What another manager owns is refused (ZT652) and nothing is
    changed then. An object that is as it should be is not sent.
extends_documentation_fragment: [aicluster.zerotrust.kubernetes]
attributes:
  check_mode:
    support: full
    description: The API server tries the changes and keeps nothing.
  diff_mode:
    support: full
    description: Shows labels and specs; of a CRD its version only.
options:
  state:
    description: With V(absent) O(waypoints) and the rule for probes are removed, where they carry our label.
    type: str
    choices: [present, absent]
    default: present
  objects:
    description: Objects to apply, of the kinds Namespace, Gateway and CiliumClusterwideNetworkPolicy.
    type: list
    elements: dict
    default: []
  namespaces:
    description: Existing Namespaces, each with C(name) and the C(labels) of ours that it is to have; others are left.
    type: list
    elements: dict
    default: []
  withdrawn:
    description: Names of Namespaces that lose the labels that this module applied.
    type: list
    elements: str
    default: []
  crds:
    description: YAML file, or folder of them, with the Gateway API's CRDs. Other objects in it are left out.
    type: path
  waypoints:
    description: With O(state=absent) the Gateways to remove, each with C(namespace) and C(name).
    type: list
    elements: dict
    default: []
  timeout_seconds:
    description: How long to wait until CRDs are established.
    type: int
    default: 60
author:
  - aicluster.zerotrust contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Take a namespace into the mesh
  aicluster.zerotrust.mesh_objects:
    namespaces:
      - name: training
        labels:
          istio.io/dataplane-mode: ambient
"""

RETURN = r"""
applied:
  description: Names of the objects that were changed, in check mode those that would be.
  returned: success
  type: list
  elements: str
removed:
  description: Names of the objects that were removed.
  returned: success
  type: list
  elements: str
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster import objects
from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import (
    CONNECTION_OPTIONS,
    ApiError,
    connect,
)


def namespace(name: str, labels: dict) -> dict:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def stale(given: dict) -> list:
    """What state absent removes."""
    gateways = [
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"namespace": entry["namespace"], "name": entry["name"]},
        }
        for entry in given["waypoints"]
    ]
    rule = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {"name": objects.PROBES},
    }
    return [*gateways, rule]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "objects": {"type": "list", "elements": "dict", "default": []},
            "namespaces": {"type": "list", "elements": "dict", "default": []},
            "withdrawn": {"type": "list", "elements": "str", "default": []},
            "crds": {"type": "path"},
            "waypoints": {"type": "list", "elements": "dict", "default": []},
            "timeout_seconds": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    given = module.params
    done = objects.Outcome()
    try:
        client = connect(given["kubeconfig"], given["context"])
        if given["state"] == "absent":
            done = objects.remove(client, stale(given), module.check_mode)
        else:
            spaces = [namespace(entry["name"], entry.get("labels") or {}) for entry in given["namespaces"]]
            spaces += [namespace(name, {}) for name in given["withdrawn"]]
            crds = objects.read_crds(given["crds"]) if given["crds"] else []
            done = objects.apply(client, [*crds, *given["objects"]], module.check_mode)
            if crds and not module.check_mode:
                objects.wait_established(client, crds, time.monotonic() + given["timeout_seconds"])
            labelled = objects.apply(client, spaces, module.check_mode, must_exist=True)
            done.changed += labelled.changed
            done.diff += labelled.diff
    except (objects.Refused, ValueError) as error:
        module.fail_json(msg=str(error))
    except ApiError as error:
        module.fail_json(msg=error.message)
    result = {"changed": bool(done.changed or done.removed), "applied": done.changed, "removed": done.removed}
    if module._diff:
        result["diff"] = done.diff
    module.exit_json(**result)


if __name__ == "__main__":
    main()
