# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a set of policies leave training jobs able to talk? Rank to rank is every TCP port, both ways.

NCCL and Gloo open connections between all ranks on random ports besides the rendezvous port (nccl#388, gloo#54):
a policy for the rendezvous port alone, such as one that many articles show, hangs the job at its first collective.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy import model

RENDEZVOUS_PORTS = (29400, 29500)
"""Defaults of torchrun (c10d) and of torch.distributed's MASTER_PORT."""

OPERATOR_LABELS = ("training.kubeflow.org/", "pytorch-job-name", "leaderworkerset.sigs.k8s.io/", "jobset.sigs.k8s.io/")
"""Label keys that training operators put on the pods of their jobs; a trailing slash means any key below."""


def without_rank_to_rank(
    policies: t.Sequence[model.Policy],
) -> list[tuple[model.Policy, list[str]]]:
    """Policies that isolate training pods in directions for which no policy of the set has rank-to-rank traffic.

    [(policy, ["ingress", "egress"])]. Pods count as training pods by an operator's label, or where the policy
    lets them receive a rendezvous port or open one.
    """
    found = []
    for policy in policies:
        if policy.preset == "pytorch" or not policy.isolate or not _trains(policy):
            continue
        pods = _absolute(policy.subject, policy)
        missing = [
            direction
            for direction in ("ingress", "egress")
            if getattr(policy, direction) is not None and not any(_gives(other, direction, pods) for other in policies)
        ]
        if missing:
            found.append((policy, missing))
    return found


def _trains(policy: model.Policy) -> bool:
    keys = [key for key, _value in policy.subject.labels]
    if any(key == word or (word.endswith("/") and key.startswith(word)) for key in keys for word in OPERATOR_LABELS):
        return True
    rules = (policy.ingress or ()) + (policy.egress or ())
    return any(port.port in RENDEZVOUS_PORTS and port.protocol == "TCP" for rule in rules for port in rule.ports)


def _gives(policy: model.Policy, direction: str, pods: model.Selector) -> bool:
    """Whether `policy` selects all of `pods` and allows them all TCP ports from (or to) all of `pods`."""
    if not _absolute(policy.subject, policy).covers(pods):
        return False
    for rule in getattr(policy, direction) or ():
        if rule.ports and not any(_all_tcp(port) for port in rule.ports):
            continue
        for peer in rule.peers:
            if isinstance(peer, model.Entity) and peer.name in ("all", "cluster"):
                return True
            if isinstance(peer, model.Selector) and _absolute(peer, policy).covers(pods):
                return True
    return False


def _all_tcp(port: model.Port) -> bool:
    return port.protocol == "TCP" and (port.port == model.ALL_PORTS or (port.port == 1 and port.end == 65535))


def _absolute(selector: model.Selector, policy: model.Policy) -> model.Selector:
    return selector if selector.namespace else dataclasses.replace(selector, namespace=policy.namespace)
