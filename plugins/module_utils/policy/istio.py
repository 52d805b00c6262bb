# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies in the words of Istio Ambient: AuthorizationPolicy for ztunnel or a waypoint, PeerAuthentication.

ztunnel stands before the pods that receive, sees TCP only, and knows a peer by the namespace and service account of its
certificate. It has no opinion on what pods open, on UDP, or on labels of a peer. What would need one is refused here
and not rendered as something near it.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy import model
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.options import Options

Json = dict[str, t.Any]

TRUST_DOMAIN = "cluster.local"
"""Istio's own default, where the intent names no trust domain."""
MAX_RANGE = 100
"""Istio has no port ranges; up to so many ports are written out."""
WAYPOINT_ONLY = "zerotrust-waypoint-only"

_VERSION = "security.istio.io/v1"


def namespace_of(policy: model.Policy) -> str:
    return policy.namespace or policy.subject.namespace or ""


def render(
    policy: model.Policy, policies: t.Sequence[model.Policy], labels: t.Mapping[str, str], options: Options
) -> list[Json]:
    """The policy as objects, none where Istio does what it says without one.

    policies: the whole set, this policy among them. Raises PolicyError where Istio cannot do what the policy says.
    """
    namespace = namespace_of(policy)
    own = "to" if policy.egress is None else "from"
    if namespace == options.root_namespace:
        raise model.PolicyError(
            "namespace" if policy.namespace else f"{own}.namespace",
            namespace,
            "a policy in Istio's root namespace applies to pods of every namespace",
            "name another namespace; Istio's own pods are not governed by these policies",
        )
    if policy.egress is not None and policy.isolate:
        raise model.PolicyError(
            {"default": "directions", None: own}.get(policy.preset, "preset"),
            "egress",
            "Istio Ambient does not restrict what pods open: only the receiver's ztunnel decides",
            "say it as `to` policies of the receivers, with directions: [ingress] for a default, "
            "or let Cilium enforce policy (zerotrust_engine)",
        )
    # Without isolation an egress policy adds a permission to what nobody takes away.
    if policy.ingress is None:
        return []
    objects: list[Json] = []
    metadata = {"name": policy.name, "namespace": namespace, "labels": dict(labels)}
    if policy.mtls:
        objects.append(
            {
                "apiVersion": _VERSION,
                "kind": "PeerAuthentication",
                "metadata": metadata,
                "spec": {"mtls": {"mode": "STRICT"}},
            }
        )
    if policy.preset == "probes":
        # The kubelet's probes do not pass ztunnel: istio-cni gives them a source address that it lets by.
        policy = dataclasses.replace(policy, ingress=())
        if not policy.isolate:
            return objects
    if not policy.isolate and not _isolated(policy, policies):
        raise model.PolicyError(
            "isolate",
            False,
            "an AuthorizationPolicy isolates the pods that it selects, and no other policy of the set isolates them",
            "set isolate: true if that is meant, or give these pods an isolating `to` policy too",
        )
    objects.append(
        {
            "apiVersion": _VERSION,
            "kind": "AuthorizationPolicy",
            "metadata": metadata,
            "spec": _authorization(policy, policies, options),
        }
    )
    return objects


def waypoint_guards(
    policies: t.Sequence[model.Policy], labels: t.Mapping[str, str], options: Options
) -> t.Iterator[Json]:
    """For each namespace whose policies a waypoint enforces: its pods take connections of that waypoint only.

    Without it who connects to a pod's own address would go around the waypoint, and around its policies.
    """
    for namespace in sorted({namespace_of(policy) for policy in policies}):
        waypoint = options.waypoints.get(namespace)
        if waypoint and _has_http(namespace, policies):
            source = {"principals": [_principal(namespace, waypoint, options)]}
            yield {
                "apiVersion": _VERSION,
                "kind": "AuthorizationPolicy",
                "metadata": {"name": WAYPOINT_ONLY, "namespace": namespace, "labels": dict(labels)},
                "spec": {"action": "ALLOW", "rules": [{"from": [{"source": source}]}]},
            }


def _authorization(policy: model.Policy, policies: t.Sequence[model.Policy], options: Options) -> Json:
    namespace = namespace_of(policy)
    spec: Json = {"action": "ALLOW"}
    by_waypoint = _has_http(namespace, policies) and namespace in options.waypoints
    if policy.subject.service_account:
        raise model.PolicyError(
            "to.service_account",
            policy.subject.service_account,
            "an AuthorizationPolicy selects its pods by labels only",
            "select the pods by a label",
        )
    if by_waypoint and policy.subject.labels:
        raise model.PolicyError(
            "to.labels",
            dict(policy.subject.labels),
            f"the waypoint {options.waypoints[namespace]} enforces policy in namespace {namespace} (a policy there "
            "has HTTP rules), and it cannot tell pods by their labels",
            "write `to: {}`, or put the pods with HTTP rules into a namespace of their own",
        )
    if by_waypoint:
        gateway = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": options.waypoints[namespace]}
        spec["targetRefs"] = [gateway]
    elif policy.subject.labels:
        spec["selector"] = {"matchLabels": dict(policy.subject.labels)}
    strict = any(other.mtls and namespace_of(other) == namespace for other in policies)
    rules = []
    for rule in policy.ingress or ():
        if rule.http and not by_waypoint:
            raise model.PolicyError(
                f"{rule.path}.http",
                None,
                f"ztunnel reads no HTTP, it would drop this permission, and namespace {namespace} has no waypoint",
                "give the namespace a waypoint, or remove http",
            )
        rules.append(_rule(rule, namespace, options, strict=strict, by_waypoint=by_waypoint))
    if rules:
        spec["rules"] = rules
    return spec


def _rule(rule: model.Rule, namespace: str, options: Options, *, strict: bool, by_waypoint: bool) -> Json:
    found: Json = {}
    sources = [_source(where, peer, rule, namespace, options, strict, by_waypoint) for where, peer in rule.placed()]
    if all(sources):
        found["from"] = [{"source": source} for source in sources]
    ports = _ports(rule)
    operations = []
    for item in rule.http or (model.Http(),):
        operation: Json = {"ports": ports} if ports else {}
        if item.method is not None:
            operation["methods"] = [item.method]
        if item.path is not None:
            operation["paths"] = [item.path]
        operations.append(operation)
    if all(operations):
        found["to"] = [{"operation": operation} for operation in operations]
    return found


def _source(
    path: str,
    peer: model.Peer,
    rule: model.Rule,
    namespace: str,
    options: Options,
    strict: bool,
    by_waypoint: bool,
) -> Json:
    """What a peer (that stands at `path`) is to Istio; {} is anybody."""
    if isinstance(peer, model.Selector):
        if peer.labels:
            raise model.PolicyError(
                f"{path}.labels",
                dict(peer.labels),
                "Istio knows a peer by namespace and service account, not by its labels",
                "give the peers a service account of their own and name it",
            )
        where = peer.namespace or namespace
        if peer.service_account:
            return {"principals": [_principal(where, peer.service_account, options)]}
        return {"namespaces": [where]}
    if by_waypoint:
        raise model.PolicyError(
            path,
            peer.name if isinstance(peer, model.Entity) else peer.cidr,
            "the waypoint sees connections of the mesh only, and the pods take no others",
            "name peers by namespace and service account",
        )
    if isinstance(peer, model.Entity):
        if peer.name != "all":
            raise model.PolicyError(
                f"{path}.entity",
                peer.name,
                "Istio has no word for this entity",
                "name a namespace, a CIDR, or entity: all",
            )
        return {"principals": ["*"]} if rule.authentication else {}
    return _network(path, peer, rule, options, strict)


def _network(path: str, peer: model.Network, rule: model.Rule, options: Options, strict: bool) -> Json:
    """Addresses outside of the cluster: without those of the cluster, and without anybody who has an identity."""
    why = ""
    if rule.authentication:
        why = "addresses outside of the cluster have no identity to prove"
    elif strict:
        why = "mtls: true of this namespace denies whoever has no certificate, and these addresses have none"
    elif options.cluster_cidrs is None:
        why = "Istio does not tell pods and nodes from other addresses, and the cluster's own are not known"
    if why:
        raise model.PolicyError(
            f"{path}.cidr",
            peer.cidr,
            why,
            "set zerotrust_pod_cidrs and zerotrust_node_cidrs, or name peers by namespace and service account",
        )
    network = ipaddress.ip_network(peer.cidr)
    inside = [cidr for cidr in options.cluster_cidrs or () if ipaddress.ip_network(cidr).overlaps(network)]
    source: Json = {"ipBlocks": [peer.cidr], "notPrincipals": ["*"]}
    if peer.exclude or inside:
        source["notIpBlocks"] = [*peer.exclude, *inside]
    return source


def _ports(rule: model.Rule) -> list[str]:
    """Numbers as text; [] is every TCP port."""
    found: list[str] = []
    where = "ports" if rule.path == "from" else f"{rule.path}.ports"
    for port in rule.ports:
        if port.protocol != "TCP":
            raise model.PolicyError(
                where, port.protocol, "ztunnel sees TCP only; it neither allows nor denies this", "remove the port"
            )
        if not isinstance(port.port, int):
            raise model.PolicyError(where, port.port, "Istio knows ports by number only", "give the number")
        end = port.end or port.port
        if end - port.port >= MAX_RANGE and (port.port, end) != (1, 65535):
            raise model.PolicyError(
                where,
                f"{port.port}-{end}",
                f"Istio has no port ranges, and {end - port.port + 1} ports are too many to write out",
                f"give at most {MAX_RANGE} ports, or all",
            )
        if port.port == model.ALL_PORTS or (port.port, end) == (1, 65535):
            return []
        found += [str(number) for number in range(port.port, end + 1)]
    return list(dict.fromkeys(found))


def _principal(namespace: str, account: str, options: Options) -> str:
    return f"{options.trust_domain or TRUST_DOMAIN}/ns/{namespace}/sa/{account}"


def _has_http(namespace: str, policies: t.Sequence[model.Policy]) -> bool:
    return any(namespace_of(policy) == namespace and rule.http for policy in policies for rule in policy.ingress or ())


def _isolated(policy: model.Policy, policies: t.Sequence[model.Policy]) -> bool:
    """Whether another policy of the set isolates every pod that this one selects."""
    namespace = namespace_of(policy)
    return any(
        other.isolate
        and other.ingress is not None
        and namespace_of(other) == namespace
        and not other.subject.service_account
        and set(other.subject.labels) <= set(policy.subject.labels)
        for other in policies
    )
