#!/usr/bin/python
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module mtls_policy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mtls_policy
short_description: Apply a set of rendered network policies in bulk
version_added: 0.1.0
description:
  - Makes a labelled set of policies equal to what the plan rendered. They are CiliumNetworkPolicy and
    CiliumClusterwideNetworkPolicy, or Istio's AuthorizationPolicy and PeerAuthentication.
  - After a change of engine the set's objects of the old one are left until every new object is in the cluster and
    the new engine says of each that it is in force; then they are pruned, with O(allow_prune).
  - Server-side apply with the field manager C(aicluster.zerotrust) and strict field validation, never forced.
    Everything that differs is first tried as a server-side dry run; where the API server refuses one object,
    nothing at all is changed. Pruning comes last.
  - An unchanged object costs no request of its own; the cluster's policies are listed once, paged.
  - A policy decides who may talk to whom. It encrypts nothing, and is no mTLS.
extends_documentation_fragment: [aicluster.zerotrust.kubernetes]
attributes:
  check_mode:
    support: full
    description: As O(stage=observe).
  diff_mode:
    support: full
    description: Shows labels and spec of what changes, for at most 200 objects.
options:
  objects:
    description:
      - The rendered policies (C(policies) of plan.json).
      - Arguments travel through the controller and into events, so use O(plan_file) for more than some hundred.
      - An empty list is a set without policies; pruning everything then needs O(allow_prune).
    type: list
    elements: dict
  plan_file:
    description: Path of a plan.json on the host that runs the module, as an alternative to O(objects).
    type: path
  set_name:
    description: Name of the set. Objects of other sets are never touched.
    type: str
    default: default
  cluster_name:
    description: Name of the cluster, which the objects carry as a label.
    type: str
    required: true
  stage:
    description: V(observe) tries everything on the API server and keeps nothing; V(enforce) applies; V(compare) only
      reads and tells what differs.
    type: str
    choices: [observe, enforce, compare]
    default: observe
  allow_prune:
    description:
      - Consent to prune everything, more than a fifth of the set, or the last policy of a namespace.
      - Without it such a prune is refused, and nothing is changed.
    type: bool
    default: false
  holder:
    description: Id of this run, which holds the cluster's Lease while it writes. Without it no Lease is taken.
    type: str
    default: ''
author:
  - aicluster.zerotrust contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Try the policies on the API server
  aicluster.zerotrust.mtls_policy:
    plan_file: /var/tmp/run/plan.json
    cluster_name: lab
    stage: observe
"""

RETURN = r"""
created:
  description: Objects that were created, as kind and namespace/name; under observe, that would be.
  returned: always
  type: list
  elements: str
updated:
  description: Objects that were changed.
  returned: always
  type: list
  elements: str
pruned:
  description: Objects that were removed.
  returned: always
  type: list
  elements: str
unchanged:
  description: How many objects were as they should be.
  returned: always
  type: int
superseded:
  description: Objects of the set in the words of the other engine that were left.
  returned: when O(stage=observe) or O(stage=enforce)
  type: list
  elements: str
refused:
  description: Why the set was not applied, each with code, object and message.
  returned: always
  type: list
  elements: dict
stage:
  description: The stage that was in force; observe in check mode.
  returned: always
  type: str
missing:
  description: Objects of the set that the cluster lacks.
  returned: when O(stage=compare)
  type: list
  elements: str
drifted:
  description: Objects that differ, each with the object and its fields.
  returned: when O(stage=compare)
  type: list
  elements: dict
foreign:
  description: Objects of another owner that have a name of the set.
  returned: when O(stage=compare)
  type: list
  elements: str
extra:
  description: Objects with the set's labels that are not in the set.
  returned: when O(stage=compare)
  type: list
  elements: str
conditions:
  description: What the engine says of the objects, as accepted, refused (object, message) and unknown.
  returned: when O(stage=compare)
  type: dict
engine:
  description: The engine for which the objects are, cilium or istio_ambient.
  returned: when O(stage=compare)
  type: str
"""

import contextlib
import functools
import json

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster import apply, compare, lease
from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import (
    CONNECTION_OPTIONS,
    ApiError,
    connect,
)

DIFFS = 200
# Longer than thousands of policies take; a run that dies keeps others out no longer than this.
LEASE_SECONDS = 120


def objects_of(module: AnsibleModule) -> list:
    """The objects from the argument or from the plan's file; ends the module where the file is no plan."""
    path = module.params["plan_file"]
    if path is None:
        return module.params["objects"]
    try:
        with open(path, encoding="utf-8") as stream:
            plan = json.load(stream)
        policies = plan["policies"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        module.fail_json(msg=f"plan_file {path} is no plan with policies: {error}")
    if not isinstance(policies, list):
        module.fail_json(msg=f"plan_file {path} is no plan with policies: they are no list")
    return policies


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            "objects": {"type": "list", "elements": "dict"},
            "plan_file": {"type": "path"},
            "set_name": {"type": "str", "default": "default"},
            "cluster_name": {"type": "str", "required": True},
            "stage": {"type": "str", "choices": ["observe", "enforce", "compare"], "default": "observe"},
            "allow_prune": {"type": "bool", "default": False},
            "holder": {"type": "str", "default": ""},
        },
        required_one_of=[("objects", "plan_file")],
        mutually_exclusive=[("objects", "plan_file")],
        supports_check_mode=True,
    )
    given = module.params
    dry_run = module.check_mode or given["stage"] == "observe"
    try:
        client = connect(given["kubeconfig"], given["context"])
        if given["stage"] == "compare":
            seen = compare.compare(client, objects_of(module), given["set_name"], given["cluster_name"])
            module.exit_json(changed=False, stage="compare", **seen)
        done = apply.apply(
            client,
            objects_of(module),
            set_name=given["set_name"],
            cluster_name=given["cluster_name"],
            dry_run=dry_run,
            allow_prune=given["allow_prune"],
            want_diff=module._diff,
            writing=functools.partial(lease.holding, client, given["holder"], LEASE_SECONDS)
            if given["holder"]
            else contextlib.nullcontext,
        )
    except lease.LeaseHeld as error:
        module.fail_json(msg=str(error))
    except ApiError as error:
        module.fail_json(msg=error.message)
    result = {
        # A stage of observe changes nothing and says so; check mode says what a run would change.
        "changed": done.changed and (module.check_mode or not dry_run) and given["stage"] == "enforce",
        "created": done.created,
        "updated": done.updated,
        "pruned": done.pruned,
        "superseded": done.superseded,
        "unchanged": done.unchanged,
        "refused": [refusal.to_dict() for refusal in done.refused],
        "stage": "observe" if dry_run else "enforce",
    }
    if module._diff:
        result["diff"] = done.diff[:DIFFS]
        if len(done.diff) > DIFFS:
            rest = f"{len(done.diff) - DIFFS} more objects differ"
            result["diff"].append({"prepared": rest + "\n"})
    if done.superseded:
        left = ", ".join(done.superseded[:5])
        module.warn(
            f"{len(done.superseded)} policies of the other engine were left ({left}): the new ones are not proved."
        )
    if done.untried and module.check_mode:
        # A check of the whole site on a cluster without the engine: the run itself installs it before.
        module.warn(f"The policies were not tried: {done.refused[0].message}.")
        module.exit_json(**{**result, "refused": []})
    if done.refused:
        first = done.refused[0]
        more = f" ({len(done.refused) - 1} more refused)" if len(done.refused) > 1 else ""
        state = "Part of the set was changed before" if done.partial else "Nothing was changed"
        module.fail_json(msg=f"{first.code}: {first.message}{more} {state}.", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
