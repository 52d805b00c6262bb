# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies in Cilium's words: CiliumNetworkPolicy, or CiliumClusterwideNetworkPolicy for a cluster-wide one."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy import model
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.options import Options

Json = dict[str, t.Any]

_NAMESPACE = "k8s:io.kubernetes.pod.namespace"
_SERVICE_ACCOUNT = "k8s:io.cilium.k8s.policy.serviceaccount"
_SPECIAL = re.compile(r"[.$()+*?\[\]{}|^\\]")


def render(policy: model.Policy, labels: t.Mapping[str, str], options: Options) -> list[Json]:
    """The policy as one object. Raises PolicyError where Cilium cannot do what the policy says."""
    for rule in (policy.ingress or ()) + (policy.egress or ()):
        _possible(rule, options)
    if policy.mtls:
        raise model.PolicyError(
            "mtls",
            True,
            "a policy of Cilium encrypts nothing and cannot ask for mutual TLS",
            "remove mtls; zerotrust_transport_encryption encrypts between nodes, for all pods",
        )
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
    kind = "CiliumNetworkPolicy" if policy.namespace else "CiliumClusterwideNetworkPolicy"
    return [{"apiVersion": "cilium.io/v2", "kind": kind, "metadata": metadata, "spec": spec}]


def _possible(rule: model.Rule, options: Options) -> None:
    if rule.http and not options.cilium_l7:
        raise model.PolicyError(
            f"{rule.path}.http",
            None,
            "the L7 proxy of Cilium is off, and the agents refuse a policy with HTTP rules as a whole",
            "remove l7Proxy: false from cilium_values, or remove http",
        )
    if not rule.authentication:
        return
    where, version = f"{rule.path}.authentication", options.cilium_version
    if not options.cilium_authentication:
        raise model.PolicyError(
            where,
            "required",
            "mutual authentication is off in Cilium (authentication.enabled), and with it off Cilium blocks every "
            "connection of such a rule",
            "remove authentication; identity comes from labels, and WireGuard encrypts between nodes",
        )
    if version is None or _minor(version) >= (1, 21):
        raise model.PolicyError(
            where,
            "required",
            f"mutual authentication is gone from Cilium 1.21, and the version is {version or 'not known'}",
            "remove authentication",
        )


def _minor(version: str) -> tuple[int, int]:
    """(1, 20) of "1.20.2"; what is no version counts as the newest."""
    parts = version.lstrip("v").split(".")
    if len(parts) < 2 or not all(part.isdecimal() for part in parts[:2]):
        return (1 << 30, 0)
    return int(parts[0]), int(parts[1])


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
    ports: Json = {"ports": [_port(port) for port in rule.ports]}
    if rule.http:
        ports["rules"] = {"http": [_http(item) for item in rule.http]}
    rules = []
    for kind in sorted(kinds):
        part: Json = {kind: kinds[kind]}
        if rule.ports:
            part["toPorts"] = [ports]
        if rule.authentication:
            part["authentication"] = {"mode": "required"}
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


def _http(item: model.Http) -> Json:
    """Both fields are regular expressions that have to match as a whole, and a path has its query with it.

    Source: pkg/policy/api/http.go and pkg/envoy/policy/envoy_l7_rules_translator.go (header ":path") of 1.20.2.
    """
    found: Json = {}
    if item.path is not None:
        exact = _SPECIAL.sub(r"\\\g<0>", item.path.rstrip("*"))
        found["path"] = f"{exact}.*" if item.path.endswith("*") else rf"{exact}(\?.*)?"
    if item.method is not None:
        found["method"] = item.method
    return found
