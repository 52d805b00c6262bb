# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what cluster_info returns: about fifteen requests at once, lists paged, failures noted and not raised."""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster import helm, lease, mesh, permissions, read
from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import (
    ApiError,
    Client,
    Json,
    concurrently,
)

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def cluster(
    client: Client,
    release: str = "cilium",
    namespace: str = "kube-system",
    need: str = "read",
    gpu_pods: bool = True,
    endpoints: bool = False,
    mesh_namespace: str = "",
) -> Json:
    """The `cluster` of the module cluster_info (shape in its documentation).

    gpu_pods: count pods with GPUs per Node; pods are listed only where a Node has GPUs to give.
    endpoints: list CiliumEndpoints too (one per pod; needed for allowed IPs in native routing).
    mesh_namespace: read Istio Ambient too, whose control plane is in this namespace.
    A read that failed or was forbidden is an entry of read_errors and leaves null. Raises ApiError only where
    there is no API at all: no connection, or credentials that are not accepted.
    """
    errors: list[Json] = []

    def note(what: str, error: ApiError) -> None:
        if error.fatal:
            raise error
        errors.append({"what": what, "error": error.message})

    def attempt(what: str, call: t.Callable[[], t.Any]) -> t.Any:
        try:
            return call()
        except ApiError as error:
            note(what, error)
        except ValueError as error:
            errors.append({"what": what, "error": str(error)})
        return None

    # First alone: whether there is an API and whether it knows us decides about everything else.
    version = attempt("version", lambda: client.request("GET", "/version")) or {}

    def release_summary() -> Json | None:
        secret = helm.newest(client, release, namespace)
        return helm.summary(secret) if secret else None

    system = "/api/v1/namespaces/kube-system"
    config_map = f"/api/v1/namespaces/{namespace}/configmaps/cilium-config"
    reads: dict[str, t.Callable[[], t.Any]] = {
        "uid": lambda: client.get(system),
        "nodes": lambda: client.list_all("/api/v1/nodes"),
        "crds": lambda: client.list_all(CRDS, metadata_only=True),
        "daemonsets": lambda: client.list_all("/apis/apps/v1/daemonsets"),
        "cilium-config": lambda: client.get(config_map),
        "ciliumnodes": lambda: cilium_nodes(client),
        "helm release": release_summary,
        "servicecidrs": lambda: client.list_or_none("/apis/networking.k8s.io/v1/servicecidrs"),
        "kubeadm-config": lambda: client.get(f"{system}/configmaps/kubeadm-config"),
        "kube-proxy pods": lambda: client.list_all(f"{system}/pods", labels="component=kube-proxy", metadata_only=True),
        "lease": lambda: lease.parse(client.get(f"{lease.COLLECTION}/{lease.NAME}")),
    }
    if endpoints:
        path = "/apis/cilium.io/v2/ciliumendpoints"
        reads["ciliumendpoints"] = lambda: none_if_absent(lambda: read.endpoints(client.pages(path)))
    names = list(reads)
    got = dict(zip(names, concurrently(lambda name: attempt(name, reads[name]), names)))
    denied = attempt(
        "permissions", lambda: permissions.denied(client, permissions.needs(need, namespace, mesh_namespace))
    )

    nodes = sorted((read.node(obj) for obj in got["nodes"] or []), key=lambda entry: entry["name"])
    if gpu_pods and got["nodes"] is not None:
        counts: dict[str, int] | None = {}
        if any(read.has_gpu(obj) for obj in got["nodes"]):
            counts = attempt("gpu pods", lambda: read.gpu_pods(client.pages("/api/v1/pods")))
        for entry in nodes:
            entry["gpu_pods"] = None if counts is None else counts.get(entry["name"], 0)

    daemonsets = got["daemonsets"] or []
    proxy = read.kube_proxy(daemonsets, got["kube-proxy pods"] or [], nodes)
    if proxy["present"] is False and (got["daemonsets"] is None or got["kube-proxy pods"] is None):
        proxy = {"present": None, "object": None}
    crds = got["crds"] or []
    held = got["lease"]
    uid = ((got["uid"] or {}).get("metadata") or {}).get("uid")
    seen = mesh.observe(client, crds, daemonsets, mesh_namespace) if mesh_namespace else None
    return {
        "schema": 1,
        "uid": uid,
        "server": client.server,
        "server_version": version.get("gitVersion"),
        "read_errors": sorted(errors, key=lambda entry: entry["what"]),
        "nodes": nodes,
        "cilium": {
            "crds": sorted(o["metadata"]["name"] for o in crds if o["metadata"]["name"].endswith(".cilium.io")),
            "config": (got["cilium-config"] or {}).get("data") if got["cilium-config"] else None,
            "daemonset": read.cilium_daemonset(daemonsets),
            "nodes": got["ciliumnodes"],
            "endpoints": got.get("ciliumendpoints"),
        },
        "release": got["helm release"],
        "mesh": seen,
        "cni_owners": read.cni_owners(daemonsets, release, namespace),
        "kube_proxy": proxy,
        "service_cidrs": read.service_cidrs(got["servicecidrs"], got["kubeadm-config"]),
        "lease": held.to_dict() if held else None,
        "permissions": {"denied": denied if denied is not None else []},
    }


def cilium_nodes(client: Client) -> list[Json] | None:
    """All CiliumNodes, reduced page by page and sorted by name; None where the CRD is not there."""
    path = "/apis/cilium.io/v2/ciliumnodes"

    def reduce() -> list[Json]:
        return [read.cilium_node(obj) for page in client.pages(path) for obj in page]

    found = none_if_absent(reduce)
    return None if found is None else sorted(found, key=lambda entry: entry["name"])


Result = t.TypeVar("Result")


def none_if_absent(call: t.Callable[[], Result]) -> Result | None:
    """call(), or None where the server does not know the resource."""
    try:
        return call()
    except ApiError as error:
        if error.status == 404:
            return None
        raise
