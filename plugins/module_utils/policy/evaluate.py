# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""May A reach B on port P, and by which rule: answered from the model alone.

evaluate_cilium.py and evaluate_istio.py answer the same question from rendered objects, by what those engines do. They
share the question with this file and nothing else, so that each can find the other wrong.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy import model


@dataclasses.dataclass(frozen=True)
class Pod:
    """A pod of the cluster. ports: its named ports, (name, number, protocol). enrolled: in the mesh (Istio)."""

    namespace: str
    labels: tuple[tuple[str, str], ...] = ()
    service_account: str = "default"
    ip: str = ""
    ports: tuple[tuple[str, int, str], ...] = ()
    enrolled: bool = True


@dataclasses.dataclass(frozen=True)
class Special:
    """Something of the cluster that is no pod: the entities that it counts as, such as host or remote-node."""

    entities: tuple[str, ...]
    ip: str = ""


@dataclasses.dataclass(frozen=True)
class Outside:
    """An address outside of the cluster."""

    ip: str


Party = t.Union[Pod, Special, Outside]


@dataclasses.dataclass(frozen=True)
class Question:
    """A connection: who, to whom, the port on which the destination listens, the protocol (TCP, UDP or SCTP).

    method, path: of an HTTP request on it, path with its query; None where it is none, and then no rule for HTTP
    allows it. authenticated: whether the source has proved its identity.
    """

    source: Party
    destination: Party
    port: int
    protocol: str = "TCP"
    method: str | None = None
    path: str | None = None
    authenticated: bool = False


@dataclasses.dataclass(frozen=True)
class Verdict:
    """rules: those that allow (or, of Istio, that deny); none where nothing isolates. why: one sentence."""

    allowed: bool
    rules: tuple[str, ...]
    why: str


def evaluate(policies: t.Sequence[model.Policy], question: Question) -> Verdict:
    """The model's answer. Permissions add up; a pod is isolated in a direction by any isolating policy for it.

    What an engine lets through below all policy is not in it: Cilium always admits the pod's own node
    (allow-localhost), Istio the kubelet's probes.
    """
    rules: tuple[str, ...] = ()
    for direction, own, other in (
        ("egress", question.source, question.destination),
        ("ingress", question.destination, question.source),
    ):
        if not isinstance(own, Pod):
            continue
        chosen = [policy for policy in policies if getattr(policy, direction) is not None and _own(policy, own)]
        hits = tuple(
            f"{policy.scope} {rule.path}".rstrip()
            for policy in chosen
            for rule in getattr(policy, direction)
            if _rule(rule, policy, other, question)
        )
        if not hits and any(policy.isolate for policy in chosen):
            return Verdict(False, (), f"{direction} is isolated by {_names(chosen)}, and no rule allows it")
        if direction == "ingress" and not question.authenticated and any(policy.mtls for policy in chosen):
            return Verdict(False, (), f"mutual TLS is asked for by {_names(chosen)}")
        rules += hits
    return Verdict(True, rules, "allowed by rules" if rules else "nothing isolates")


def _names(policies: t.Sequence[model.Policy]) -> str:
    return ", ".join(sorted(policy.scope for policy in policies))


def _own(policy: model.Policy, pod: Pod) -> bool:
    return _pods(policy.subject, policy, pod)


def _pods(selector: model.Selector, policy: model.Policy, pod: Pod) -> bool:
    return (
        pod.namespace == (selector.namespace or policy.namespace)
        and selector.service_account in (None, pod.service_account)
        and set(selector.labels) <= set(pod.labels)
    )


def _rule(rule: model.Rule, policy: model.Policy, other: Party, question: Question) -> bool:
    if rule.authentication and not question.authenticated:
        return False
    if not any(_peer(peer, policy, other) for peer in rule.peers):
        return False
    if rule.ports and not any(_port(port, question) for port in rule.ports):
        return False
    return not rule.http or any(_http(item, question) for item in rule.http)


def _peer(peer: model.Peer, policy: model.Policy, other: Party) -> bool:
    if isinstance(peer, model.Selector):
        return isinstance(other, Pod) and _pods(peer, policy, other)
    if isinstance(peer, model.Network):
        return isinstance(other, Outside) and _within(other.ip, peer.cidr) and not _any(other.ip, peer.exclude)
    if peer.name == "all":
        return True
    if peer.name == "world":
        return isinstance(other, Outside)
    if peer.name == "cluster":
        return not isinstance(other, Outside)
    return isinstance(other, Special) and peer.name in other.entities


def _port(port: model.Port, question: Question) -> bool:
    if port.protocol != question.protocol:
        return False
    if isinstance(port.port, str):
        pod = question.destination
        return isinstance(pod, Pod) and (port.port, question.port, question.protocol) in pod.ports
    return port.port == model.ALL_PORTS or port.port <= question.port <= (port.end or port.port)


def _http(item: model.Http, question: Question) -> bool:
    if question.method is None or question.path is None:
        return False
    path = question.path.split("?", 1)[0]
    if item.path is not None and item.path.endswith("*") and not path.startswith(item.path[:-1]):
        return False
    if item.path is not None and not item.path.endswith("*") and path != item.path:
        return False
    return item.method in (None, question.method)


def _any(ip: str, cidrs: t.Sequence[str]) -> bool:
    return any(_within(ip, cidr) for cidr in cidrs)


def _within(ip: str, cidr: str) -> bool:
    return ipaddress.ip_address(ip) in ipaddress.ip_network(cidr)
