# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""May A reach B, answered from CiliumNetworkPolicy objects as Cilium 1.20 acts on them. Policy only, no datapath.

Sources, all of Cilium 1.20.2: Documentation/security/policy/intro.rst (default deny by direction once a pod is
selected, enableDefaultDeny), layer7.rst (an L4 rule makes the L7 part of a similar one void),
pkg/policy/api/rule_validation.go (what may stand together), ingress.go and entity.go (peers; a CIDR means no pod and no
node),
pkg/k8s/apis/cilium.io/utils/utils.go (which namespace a selector without one means),
pkg/envoy/policy/envoy_l7_rules_translator.go (HTTP fields are regular expressions of the whole :path and :method),
pkg/policy/types/auth.go (of two authentication types the higher one wins).
"""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.evaluate import (
    Outside,
    Party,
    Pod,
    Question,
    Special,
    Verdict,
)

Json = t.Mapping[str, t.Any]

_NAMESPACE = "io.kubernetes.pod.namespace"
_ACCOUNT = "io.cilium.k8s.policy.serviceaccount"
_KINDS = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")


def evaluate(objects: t.Sequence[Json], question: Question) -> Verdict:
    """The answer of a cluster that has these objects and no others, with policy enforcement mode `default`.

    A field that is not known here is a ValueError: what it would change is not known either. Where one matching rule
    asks for authentication, the connection needs it: Cilium is more lenient for some rules of unequal breadth.
    """
    rules: tuple[str, ...] = ()
    for direction, own, other in (
        ("egress", question.source, question.destination),
        ("ingress", question.destination, question.source),
    ):
        denies = False
        hits: list[tuple[str, bool]] = []
        for obj in objects:
            spec, namespace = _spec(obj)
            if not isinstance(own, Pod) or not _endpoint(spec["endpointSelector"], namespace, own):
                continue
            entries = spec.get(direction) or ()
            denies |= bool(entries) and bool(spec.get("enableDefaultDeny", {}).get(direction, True))
            for index, rule in enumerate(entries):
                if _rule(rule, "from" if direction == "ingress" else "to", namespace, other, question):
                    asks = rule.get("authentication", {}).get("mode") == "required"
                    name = f"{obj['kind']} {namespace + '/' if namespace else ''}{obj['metadata']['name']}"
                    hits.append((f"{name} {direction}[{index}]", asks))
        if denies and not hits:
            return Verdict(False, (), f"default deny for {direction}, and no rule allows it")
        if any(asks for _, asks in hits) and not question.authenticated:
            return Verdict(False, (), "authentication is required")
        rules += tuple(name for name, _ in hits)
    return Verdict(True, rules, "allowed by rules" if rules else "no default deny")


def _spec(obj: Json) -> tuple[Json, str]:
    if obj.get("apiVersion") != "cilium.io/v2" or obj.get("kind") not in _KINDS:
        raise ValueError(f"{obj.get('apiVersion')} {obj.get('kind')} is no policy of Cilium")
    spec = obj["spec"]
    _known(spec, ("endpointSelector", "enableDefaultDeny", "ingress", "egress"), "spec")
    namespace = obj["metadata"].get("namespace") or ""
    if bool(namespace) != (obj["kind"] == _KINDS[0]):
        raise ValueError(f"{obj['kind']} with namespace {namespace!r}")
    return spec, namespace


def _rule(rule: Json, word: str, namespace: str, other: Party, question: Question) -> bool:
    kinds = (f"{word}Endpoints", f"{word}Entities", f"{word}CIDRSet")
    _known(rule, (*kinds, "toPorts", "authentication"), "rule")
    _known(rule.get("authentication", {}), ("mode",), "authentication")
    given = [kind for kind in kinds if kind in rule]
    if len(given) > 1:
        raise ValueError(f"combining {' and '.join(given)} is not supported by Cilium")
    if not given and "toPorts" not in rule:
        return False  # an empty rule only switches default deny on
    if given and not any(_peer(given[0], item, namespace, other) for item in rule[given[0]]):
        return False
    return "toPorts" not in rule or any(_ports(entry, question) for entry in rule["toPorts"])


def _peer(kind: str, item: t.Any, namespace: str, other: Party) -> bool:
    if kind.endswith("Endpoints"):
        return isinstance(other, Pod) and _endpoint(item, namespace, other)
    if kind.endswith("CIDRSet"):
        _known(item, ("cidr", "except"), "CIDR")
        if not isinstance(other, Outside):
            return False
        address = ipaddress.ip_address(other.ip)
        without = any(address in ipaddress.ip_network(part) for part in item.get("except", ()))
        return address in ipaddress.ip_network(item["cidr"]) and not without
    return item in _entities(other)


def _entities(other: Party) -> tuple[str, ...]:
    if isinstance(other, Outside):
        return ("all", "world")
    return ("all", "cluster", *(other.entities if isinstance(other, Special) else ()))


def _endpoint(selector: Json, namespace: str, pod: Pod) -> bool:
    """Whether a selector of an object in `namespace` ("" for a cluster-wide one) selects a pod."""
    _known(selector, ("matchLabels",), "selector")
    has = dict(pod.labels)
    has.update({_NAMESPACE: pod.namespace, _ACCOUNT: pod.service_account})
    wanted: dict[str, str] = {}
    for key, value in selector.get("matchLabels", {}).items():
        source, colon, rest = key.partition(":")
        if colon and source not in ("k8s", "any"):
            raise ValueError(f"label source {source}")
        wanted[rest if colon else key] = value
    if namespace:
        wanted.setdefault(_NAMESPACE, namespace)
    return all(has.get(key) == value for key, value in wanted.items())


def _ports(entry: Json, question: Question) -> bool:
    _known(entry, ("ports", "rules"), "toPorts")
    _known(entry.get("rules", {}), ("http",), "rules")
    if not any(_port(port, question) for port in entry["ports"]):
        return False
    requests = entry.get("rules", {}).get("http")
    return not requests or any(_request(item, question) for item in requests)


def _port(port: Json, question: Question) -> bool:
    _known(port, ("port", "endPort", "protocol"), "port")
    if port.get("protocol", "ANY") not in ("ANY", question.protocol):
        return False
    first = str(port["port"])
    if not first.isdecimal():
        pod = question.destination
        return isinstance(pod, Pod) and (first, question.port, question.protocol) in pod.ports
    return int(first) == 0 or int(first) <= question.port <= port.get("endPort", int(first))


def _request(item: Json, question: Question) -> bool:
    _known(item, ("path", "method"), "http")
    if question.method is None or question.path is None:
        return False
    return all(
        key not in item or re.fullmatch(item[key], value) is not None
        for key, value in (("path", question.path), ("method", question.method))
    )


def _known(data: Json, names: t.Sequence[str], what: str) -> None:
    for key in data:
        if key not in names:
            raise ValueError(f"{what} has the field {key}, which is not known here")
