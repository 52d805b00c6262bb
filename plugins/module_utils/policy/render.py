# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies -> objects for the cluster and findings. The Cilium engine's words are here and nowhere else.

A second engine gets a function beside _cilium(); model, load and findings stay as they are.
"""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy import model, training
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.load import origin, position

Json = dict[str, t.Any]

MANAGED_BY = "aicluster.zerotrust"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_SET = "aicluster.zerotrust/set"
LABEL_CLUSTER = "aicluster.zerotrust/cluster"

_NAMESPACE = "k8s:io.kubernetes.pod.namespace"
_SERVICE_ACCOUNT = "k8s:io.cilium.k8s.policy.serviceaccount"


def render(documents: t.Sequence[t.Any], *, set_name: str, cluster_name: str) -> tuple[list[Json], list[Finding]]:
    """Documents of the model (docs/policy.md) as objects for the API server, sorted, and findings.

    documents: mappings as load.directory() returns them (errors then name file and line) or inline ones.
    Objects of documents that cannot be taken are left out; each has a ZT701, which is a blocker.
    ZT702 names policies that select training pods without rank-to-rank traffic; ZT707 says what policies are not.
    """
    findings: list[Finding] = []
    policies: list[tuple[model.Policy, str]] = []
    seen: dict[str, str] = {}
    for index, document in enumerate(documents):
        where = origin(document) or f"zerotrust_policies[{index}]"
        try:
            policy = model.parse(document)
            if policy.scope in seen:
                raise model.PolicyError(
                    "name", policy.scope, f"{seen[policy.scope]} has the same name", "give each policy its own"
                )
        except model.PolicyError as error:
            findings.append(_invalid(where, document, error))
            continue
        seen[policy.scope] = where
        policies.append((policy, where))

    for policy, without in training.without_rank_to_rank([policy for policy, _ in policies]):
        findings.append(
            Finding(
                "ZT702",
                Subject("object", f"policy {policy.scope}"),
                f"policy {policy.scope} isolates training pods ({_pods(policy.subject)}) in direction "
                f"{' and '.join(without)}, and no policy of the set allows these pods all TCP ports among themselves",
                observed=without,
                expected="all TCP ports from every rank to every rank of the job",
                source=seen[policy.scope],
            )
        )
    if policies:
        findings.append(
            Finding(
                "ZT707",
                Subject("object", f"policy set {set_name}"),
                f"the {len(policies)} policies of set {set_name} decide who may talk to whom; they encrypt nothing",
            )
        )
    labels = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_SET: set_name, LABEL_CLUSTER: cluster_name}
    objects = [_cilium(policy, labels) for policy, _ in policies]
    objects.sort(key=lambda obj: (obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]))
    return objects, findings


def _invalid(where: str, document: t.Any, error: model.PolicyError) -> Finding:
    named = document.get("name") if isinstance(document, t.Mapping) else None
    label = f"policy {named}, " if isinstance(named, str) and named else ""
    return Finding(
        "ZT701",
        Subject("variable", f"{where}.{error.path}"),
        f"{label}{error.path}: {error.why} (value: {error.value!r})",
        observed=error.value,
        remedy=f"{error.path}: {error.remedy}",
        source=position(document, error.path) or where,
    )


def _pods(selector: model.Selector) -> str:
    return ", ".join(f"{key}={value}" for key, value in selector.labels) or "all pods of the namespace"


# Cilium ------------------------------------------------------------------------------------------------------------


def _cilium(policy: model.Policy, labels: t.Mapping[str, str]) -> Json:
    metadata: Json = {"name": policy.name, "labels": dict(labels)}
    if policy.namespace:
        metadata["namespace"] = policy.namespace
    spec: Json = {"endpointSelector": {"matchLabels": _labels(policy.subject)}}
    if not policy.isolate:
        spec["enableDefaultDeny"] = {"egress": False, "ingress": False}
    if policy.ingress is not None:
        # A direction without any rule is isolated by one empty rule; an absent one is left alone.
        spec["ingress"] = [part for rule in policy.ingress for part in _direction(rule, "from")] or [{}]
    if policy.egress is not None:
        spec["egress"] = [part for rule in policy.egress for part in _direction(rule, "to")] or [{}]
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy" if policy.namespace else "CiliumClusterwideNetworkPolicy",
        "metadata": metadata,
        "spec": spec,
    }


def _direction(rule: model.Rule, word: str) -> list[Json]:
    """One Cilium rule for each kind of peer: two kinds in one rule would have to hold both at once."""
    kinds: dict[str, list[t.Any]] = {}
    for peer in rule.peers:
        if isinstance(peer, model.Entity):
            kinds.setdefault(f"{word}Entities", []).append(peer.name)
        elif isinstance(peer, model.Network):
            entry: Json = {"cidr": peer.cidr}
            if peer.exclude:
                entry["except"] = list(peer.exclude)
            kinds.setdefault(f"{word}CIDRSet", []).append(entry)
        else:
            kinds.setdefault(f"{word}Endpoints", []).append({"matchLabels": _labels(peer)})
    ports = [_port(port) for port in rule.ports]
    rules = []
    for kind in sorted(kinds):
        part: Json = {kind: kinds[kind]}
        if ports:
            part["toPorts"] = [{"ports": ports}]
        rules.append(part)
    return rules


def _labels(selector: model.Selector) -> Json:
    found = dict(selector.labels)
    if selector.namespace:
        found[_NAMESPACE] = selector.namespace
    if selector.service_account:
        found[_SERVICE_ACCOUNT] = selector.service_account
    return found


def _port(port: model.Port) -> Json:
    # Port "0" is Cilium's word for all ports of the protocol; without ports all protocols would match.
    found: Json = {"port": str(port.port), "protocol": port.protocol}
    if port.end is not None:
        found["endPort"] = port.end
    return found
