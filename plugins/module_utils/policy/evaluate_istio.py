# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""May A reach B, answered from AuthorizationPolicy and PeerAuthentication objects as Istio Ambient acts on them.

In two steps as in Istio: convert() is what istiod makes of the objects for ztunnels (its /debug/ambientz), evaluate()
is what a ztunnel decides by that. The semantics are ours, from these sources: istio/istio
pilot/pkg/serviceregistry/kube/controller/ambient/authorization.go (conversion; ALLOW rules with HTTP attributes are
dropped; STRICT becomes a static DENY), istio/ztunnel src/state.rs (assert_rbac: deny before allow, allow where no ALLOW
policy is there) and src/rbac.rs (groups are or, rules are and, matches are or; no groups match nothing, no rules match
everything, a match without any field is skipped). A waypoint's Envoy decides by the same order, and reads HTTP too.
"""

from __future__ import annotations

import base64
import ipaddress
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.evaluate import (
    Party,
    Pod,
    Question,
    Verdict,
)

Json = dict[str, t.Any]
Data = t.Mapping[str, t.Any]

STRICT: Json = {
    "name": "istio_converted_static_strict",
    "namespace": "istio-system",
    "scope": "WORKLOAD_SELECTOR",
    "action": "DENY",
    "groups": [{"rules": [{"matches": [{"notPrincipals": [{"presence": {}}]}]}]}],
}
_SOURCE = {
    "principals": "principals",
    "notPrincipals": "notPrincipals",
    "namespaces": "namespaces",
    "notNamespaces": "notNamespaces",
    "ipBlocks": "sourceIps",
    "notIpBlocks": "notSourceIps",
}
_ROOT = "istio-system"


def convert(policy: Data) -> Json | None:
    """An AuthorizationPolicy as istiod gives it to ztunnels, in the shape of /debug/ambientz; None if for a waypoint.

    A field that is not known here is a ValueError.
    """
    spec = _spec(policy)
    if "targetRefs" in spec:
        return None
    namespace = policy["metadata"]["namespace"]
    scope = "WORKLOAD_SELECTOR" if "selector" in spec else "GLOBAL" if namespace == _ROOT else "NAMESPACE"
    found: Json = {"name": policy["metadata"]["name"], "namespace": namespace, "scope": scope}
    if spec.get("action", "ALLOW") == "DENY":
        found["action"] = "DENY"
    groups = [group for group in (_group(rule, "action" in found) for rule in spec.get("rules", ())) if group]
    if groups:
        found["groups"] = groups
    return found


def _group(rule: Data, deny: bool) -> Json | None:
    _known(rule, ("from", "to"), "rule")
    rules = []
    operations = [entry["operation"] for entry in rule.get("to", ())]
    for operation in operations:
        _known(operation, ("ports", "methods", "paths"), "operation")
    if any("methods" in operation or "paths" in operation for operation in operations) and not deny:
        return None
    if operations:
        rules.append({"matches": [_ports(operation) for operation in operations]})
    sources = [entry["source"] for entry in rule.get("from", ())]
    if sources:
        rules.append({"matches": [_source(source) for source in sources]})
    return {"rules": rules}


def _ports(operation: Data) -> Json:
    return {"destinationPorts": [int(port) for port in operation["ports"]]} if operation.get("ports") else {}


def _source(source: Data) -> Json:
    _known(source, tuple(_SOURCE), "source")
    return {
        _SOURCE[key]: [
            _address(value) if "ipBlocks" in key or "IpBlocks" in key else _string(value) for value in values
        ]
        for key, values in source.items()
    }


def _string(value: str) -> Json:
    if value == "*":
        return {"presence": {}}
    if value.startswith("*"):
        return {"suffix": value[1:]}
    return {"prefix": value[:-1]} if value.endswith("*") else {"exact": value}


def _address(value: str) -> Json:
    network = ipaddress.ip_network(value)
    return {"address": base64.b64encode(network.network_address.packed).decode(), "length": network.prefixlen}


# What a ztunnel decides --------------------------------------------------------------------------------------------


def evaluate(objects: t.Sequence[Data], question: Question, *, trust_domain: str = "cluster.local") -> Verdict:
    """The answer of a mesh that has these objects and no others.

    A pod that is not enrolled has no identity, and no ztunnel before it. A connection from an enrolled pod to pods
    behind a waypoint goes by that waypoint, as one to a Service does; any other goes to the pod itself.
    """
    pod = question.destination
    if not isinstance(pod, Pod) or not pod.enrolled or question.protocol != "TCP":
        return Verdict(True, (), "no ztunnel sees it")
    identity = _identity(question.source, trust_domain)
    rules: tuple[str, ...] = ()
    at_waypoint = [
        obj for obj in objects if "targetRefs" in obj["spec"] and obj["metadata"]["namespace"] == pod.namespace
    ]
    if at_waypoint and identity:
        verdict = _waypoint(at_waypoint, question, identity)
        if not verdict.allowed:
            return verdict
        rules = verdict.rules
        gateway = at_waypoint[0]["spec"]["targetRefs"][0]["name"]
        identity = f"{trust_domain}/ns/{pod.namespace}/sa/{gateway}"
    verdict = ztunnel(attached(objects, pod), identity, _ip(question.source), question.port)
    return Verdict(verdict.allowed, rules + verdict.rules if verdict.allowed else verdict.rules, verdict.why)


def attached(objects: t.Sequence[Data], pod: Pod) -> list[Json]:
    """The converted policies that a ztunnel has for a pod: of its namespace, of all, by selector, and STRICT."""
    found: list[Json] = []
    strict: dict[str, bool] = {}
    for obj in objects:
        namespace, spec = obj["metadata"]["namespace"], _spec(obj)
        if obj["kind"] == "PeerAuthentication":
            # Mesh and namespace policies only: ours have no selector. Nearer wins.
            strict[namespace] = spec["mtls"]["mode"] == "STRICT"
            continue
        if namespace not in (pod.namespace, _ROOT):
            continue
        wanted = spec.get("selector", {}).get("matchLabels", {})
        converted = convert(obj)
        if converted and set(wanted.items()) <= set(pod.labels):
            found.append(converted)
    if strict.get(pod.namespace, strict.get(_ROOT, False)):
        found.append(STRICT)
    return found


def ztunnel(policies: t.Sequence[Data], identity: str, ip: str, port: int) -> Verdict:
    """policies: in the shape of /debug/ambientz. identity: TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT, "" where unproved."""
    matching = [policy for policy in policies if _matches(policy, identity, ip, port)]
    for policy in matching:
        if policy.get("action") == "DENY":
            return Verdict(False, (_name(policy),), "a DENY policy matches")
    if all(policy.get("action") == "DENY" for policy in policies):
        return Verdict(True, (), "no ALLOW policy is there")
    hits = tuple(_name(policy) for policy in matching)
    return Verdict(bool(hits), hits, "an ALLOW policy matches" if hits else "ALLOW policies are there, none matches")


def _name(policy: Data) -> str:
    return f"AuthorizationPolicy {policy['namespace']}/{policy['name']}"


def _matches(policy: Data, identity: str, ip: str, port: int) -> bool:
    return any(
        all(
            not rule.get("matches") or any(match and _match(match, identity, ip, port) for match in rule["matches"])
            for rule in group.get("rules", ())
        )
        for group in policy.get("groups", ())
    )


def _match(match: Data, identity: str, ip: str, port: int) -> bool:
    namespace = identity.split("/")[2] if identity else ""
    tests: dict[str, t.Callable[[t.Any], bool]] = {
        # A principal is compared after spiffe://, which an absent identity does not have: it never matches.
        "principals": lambda item: bool(identity) and _text(item, identity),
        "namespaces": lambda item: _text(item, namespace),
        "sourceIps": lambda item: bool(ip) and ipaddress.ip_address(ip) in _network(item),
        "destinationPorts": lambda item: bool(item == port),
    }
    for key, items in match.items():
        inverted = key.startswith("not")
        name = key[3].lower() + key[4:] if inverted else key
        if name not in tests:
            raise ValueError(f"a match has the field {key}, which is not known here")
        if items and any(tests[name](item) for item in items) == inverted:
            return False
    return True


def _text(item: Data, value: str) -> bool:
    ((kind, wanted),) = item.items()
    if kind == "presence":
        return bool(value)
    if kind == "prefix":
        return value.startswith(wanted)
    return value.endswith(wanted) if kind == "suffix" else value == wanted


def _network(item: Data) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network((base64.b64decode(item["address"]), item["length"]))


def _identity(party: Party, trust_domain: str) -> str:
    if isinstance(party, Pod) and party.enrolled:
        return f"{trust_domain}/ns/{party.namespace}/sa/{party.service_account}"
    return ""


def _ip(party: Party) -> str:
    return party.ip


# What a waypoint decides -------------------------------------------------------------------------------------------


def _waypoint(policies: t.Sequence[Data], question: Question, identity: str) -> Verdict:
    """ALLOW policies only, as ours are: of the rules one has to match with its sources and its operations."""
    hits = []
    for policy in policies:
        spec = _spec(policy)
        if spec.get("action", "ALLOW") != "ALLOW":
            raise ValueError(f"action {spec['action']} at a waypoint is not known here")
        for rule in spec.get("rules", ()):
            sources = [_source(entry["source"]) for entry in rule.get("from", ())]
            operations = [entry["operation"] for entry in rule.get("to", ())]
            from_ok = not sources or any(
                source and _match(source, identity, _ip(question.source), question.port) for source in sources
            )
            if from_ok and (not operations or any(_operation(operation, question) for operation in operations)):
                hits.append(f"AuthorizationPolicy {policy['metadata']['namespace']}/{policy['metadata']['name']}")
    why = "allowed by the waypoint" if hits else "the waypoint's ALLOW policies do not match"
    return Verdict(bool(hits), tuple(hits), why)


def _operation(operation: Data, question: Question) -> bool:
    _known(operation, ("ports", "methods", "paths"), "operation")
    if operation.get("ports") and str(question.port) not in operation["ports"]:
        return False
    if ("methods" in operation or "paths" in operation) and (question.method is None or question.path is None):
        return False
    if "methods" in operation and question.method not in operation["methods"]:
        return False
    path = (question.path or "").split("?", 1)[0]
    return "paths" not in operation or any(_text(_string(wanted), path) for wanted in operation["paths"])


def _spec(obj: Data) -> Data:
    fields = {
        "AuthorizationPolicy": ("action", "selector", "targetRefs", "rules"),
        "PeerAuthentication": ("mtls",),
    }
    if obj.get("apiVersion") not in ("security.istio.io/v1", "security.istio.io/v1beta1") or obj["kind"] not in fields:
        raise ValueError(f"{obj.get('apiVersion')} {obj.get('kind')} is no policy of Istio")
    _known(obj["spec"], fields[obj["kind"]], "spec")
    spec: Data = obj["spec"]
    return spec


def _known(data: Data, names: t.Sequence[str], what: str) -> None:
    for key in data:
        if key not in names:
            raise ValueError(f"{what} has the field {key}, which is not known here")
