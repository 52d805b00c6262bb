# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies -> objects for the cluster and findings. An engine's words are in its own file: cilium.py, istio.py."""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy import cilium, istio, model, training
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.load import origin, position
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.options import Options, labels

Json = dict[str, t.Any]
Accepted = list[tuple[model.Policy, str, t.Any]]
"""Policies that the model takes: policy, where it was written, its document."""

ENGINES = ("cilium", "istio_ambient")
_WHAT_THEY_ARE = {
    "cilium": "decide who may talk to whom; they encrypt nothing",
    "istio_ambient": "decide who may open TCP connections to enrolled pods; UDP and other protocols, and what pods "
    "open, are not restricted by them. ztunnel's mutual TLS is between enrolled pods; a plain connection is "
    "refused only where a namespace has mtls: true",
}


def render(
    documents: t.Sequence[t.Any],
    *,
    set_name: str,
    cluster_name: str,
    engine: str = "cilium",
    options: Options | None = None,
) -> tuple[list[Json], list[Finding]]:
    """Documents of the model (docs/policy.md) as objects of an engine for the API server, sorted, and findings.

    documents: mappings as load.directory() returns them (errors then name file and line) or inline ones.
    Objects of documents that cannot be taken, or that the engine cannot express without weakening them, are left
    out; each has a ZT701, which is a blocker. ZT620 names policies that ask for Cilium's deprecated authentication,
    ZT702 those that select training pods without rank-to-rank traffic; ZT707 says what policies are not.
    """
    if engine not in ENGINES:
        raise ValueError(f"there is no engine {engine}; known: {', '.join(ENGINES)}")
    options = options or Options()
    accepted, findings = _parse(documents)
    objects: list[Json] = []
    policies = [policy for policy, _, _ in accepted]
    wanted = labels(set_name, cluster_name)
    taken: dict[tuple[str, str, str], str] = {}
    if engine == "istio_ambient":
        objects += istio.waypoint_guards(policies, wanted, options)
        taken = {_key(obj): "the rule that pods behind a waypoint take no other connections" for obj in objects}
    for policy, where, document in accepted:
        try:
            _trust_domain(policy, options)
            if engine == "istio_ambient":
                found = istio.render(policy, policies, wanted, options)
            else:
                found = cilium.render(policy, wanted, options)
            for key in map(_key, found):
                if key in taken:
                    raise model.PolicyError(
                        "name", policy.name, f"{taken[key]} is the same object, {'/'.join(key)}", "give it another name"
                    )
        except model.PolicyError as error:
            findings.append(_invalid(where, document, error))
            continue
        taken.update({_key(obj): where for obj in found})
        objects += found
        if engine == "cilium":
            findings += _deprecated(policy, where)
    for policy, without in training.without_rank_to_rank(policies):
        findings.append(
            Finding(
                "ZT702",
                Subject("object", f"policy {policy.scope}"),
                f"policy {policy.scope} isolates training pods ({_pods(policy.subject)}) in direction "
                f"{' and '.join(without)}, and no policy of the set allows these pods all TCP ports among themselves",
                observed=without,
                expected="all TCP ports from every rank to every rank of the job",
                source=next(where for other, where, _ in accepted if other is policy),
            )
        )
    if policies:
        findings.append(
            Finding(
                "ZT707",
                Subject("object", f"policy set {set_name}"),
                f"the {len(policies)} policies of set {set_name} {_WHAT_THEY_ARE[engine]}",
            )
        )
    objects.sort(key=_key)
    return objects, findings


def _key(obj: Json) -> tuple[str, str, str]:
    return obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _parse(documents: t.Sequence[t.Any]) -> tuple[Accepted, list[Finding]]:
    findings: list[Finding] = []
    accepted: Accepted = []
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
        accepted.append((policy, where, document))
    return accepted, findings


def _trust_domain(policy: model.Policy, options: Options) -> None:
    """A SPIFFE id of another trust domain is none of this cluster's pods, whatever their names are."""
    for rule in (policy.ingress or ()) + (policy.egress or ()):
        for where, peer in rule.placed():
            domain = peer.trust_domain if isinstance(peer, model.Selector) else None
            if domain is not None and domain != options.trust_domain:
                raise model.PolicyError(
                    f"{where}.spiffe_id",
                    f"spiffe://{domain}/...",
                    f"the SPIFFE id is of trust domain {domain}, this cluster's (zerotrust_trust_domain) is "
                    f"{options.trust_domain or 'not set'}",
                    "correct the id or set zerotrust_trust_domain; or give namespace and service_account instead",
                )


def _deprecated(policy: model.Policy, where: str) -> list[Finding]:
    if not any(rule.authentication for rule in (policy.ingress or ()) + (policy.egress or ())):
        return []
    return [
        Finding(
            "ZT620",
            Subject("object", f"policy {policy.scope}"),
            f"policy {policy.scope} has rules with authentication: required",
            observed="required",
            expected="none",
            source=where,
        )
    ]


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
