# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run must be allowed to do, and a question to the API server about each (SelfSubjectAccessReview).

The lists are samples of docs/rbac: one question per rule that a run cannot do without.
"""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster import lease
from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import Client, Json, concurrently

REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Need(t.NamedTuple):
    """One right: verb, API group ("" is core), resource, namespace ("" is all or cluster-wide), name ("" is any)."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""


def needs(what: str, namespace: str, mesh_namespace: str = "") -> list[Need]:
    """The rights for `read` or `apply` (which includes read); namespace is that of the Cilium release, mesh_namespace
    that of Istio ("" without it)."""
    read = [
        Need("list", "", "nodes"),
        Need("list", "apps", "daemonsets"),
        Need("list", "apiextensions.k8s.io", "customresourcedefinitions"),
        Need("list", "cilium.io", "ciliumnodes"),
        Need("list", "cilium.io", "ciliumnetworkpolicies"),
        Need("list", "cilium.io", "ciliumclusterwidenetworkpolicies"),
        Need("get", "", "configmaps", namespace),
        Need("list", "", "secrets", namespace),
        Need("get", "", "secrets", namespace),
        Need("get", "coordination.k8s.io", "leases", lease.NAMESPACE, lease.NAME),
    ]
    if mesh_namespace:
        read += [
            Need("list", "", "namespaces"),
            Need("list", "", "pods"),
            Need("list", "apps", "deployments", mesh_namespace),
            Need("get", "", "configmaps", mesh_namespace),
            Need("list", "", "secrets", mesh_namespace),
            Need("get", "", "secrets", mesh_namespace),
            Need("list", "security.istio.io", "peerauthentications"),
            Need("list", "gateway.networking.k8s.io", "gateways"),
            Need("list", "networking.k8s.io", "networkpolicies"),
        ]
    if what == "read":
        return read
    mesh = [
        Need("patch", "", "namespaces"),
        Need("create", "", "secrets", mesh_namespace),
        Need("create", "apps", "deployments", mesh_namespace),
        Need("patch", "apps", "daemonsets", mesh_namespace),
        Need("create", "apiextensions.k8s.io", "customresourcedefinitions"),
        Need("patch", "apiextensions.k8s.io", "customresourcedefinitions"),
        Need("create", "admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
        Need("create", "admissionregistration.k8s.io", "validatingwebhookconfigurations"),
        Need("patch", "gateway.networking.k8s.io", "gateways"),
        *(
            Need(verb, "security.istio.io", kind)
            for verb in ("create", "patch", "delete")
            for kind in ("authorizationpolicies", "peerauthentications")
        ),
    ]
    return [
        *read,
        *(mesh if mesh_namespace else []),
        Need("create", "coordination.k8s.io", "leases", lease.NAMESPACE),
        Need("update", "coordination.k8s.io", "leases", lease.NAMESPACE, lease.NAME),
        Need("create", "", "secrets", namespace),
        Need("delete", "", "secrets", namespace),
        Need("create", "", "configmaps", namespace),
        Need("create", "apps", "daemonsets", namespace),
        Need("patch", "apps", "daemonsets", namespace),
        Need("create", "apps", "deployments", namespace),
        Need("create", "rbac.authorization.k8s.io", "clusterroles"),
        Need("escalate", "rbac.authorization.k8s.io", "clusterroles"),
        Need("bind", "rbac.authorization.k8s.io", "clusterroles"),
        Need("create", "", "namespaces"),
        # Whichever engine it is: policies of the other one are looked for, too.
        Need("list", "security.istio.io", "authorizationpolicies"),
        Need("list", "security.istio.io", "peerauthentications"),
        Need("create", "cilium.io", "ciliumnetworkpolicies"),
        Need("patch", "cilium.io", "ciliumnetworkpolicies"),
        Need("delete", "cilium.io", "ciliumnetworkpolicies"),
        Need("patch", "cilium.io", "ciliumclusterwidenetworkpolicies"),
        Need("delete", "cilium.io", "ciliumclusterwidenetworkpolicies"),
    ]


def denied(client: Client, wanted: t.Sequence[Need]) -> list[Json]:
    """Which of the rights the caller does not have: [{"verb","resource","namespace"}]. Raises ApiError."""

    def ask(need: Need) -> bool:
        attributes = need._asdict()
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
        }
        answer = client.request("POST", REVIEW, body=body)
        return bool((answer.get("status") or {}).get("allowed"))

    answers = concurrently(ask, wanted)
    return [
        {
            "verb": need.verb,
            "resource": f"{need.resource}.{need.group}" if need.group else need.resource,
            "namespace": need.namespace or None,
        }
        for need, allowed in zip(wanted, answers)
        if not allowed
    ]
