# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API says about Istio Ambient: its releases, its parts, who is enrolled. Of Secrets only names are read."""

from __future__ import annotations

import functools
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster import helm, objects, read
from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import (
    ApiError,
    Client,
    Json,
    concurrently,
)

CHARTS = ("base", "istiod", "cni", "ztunnel")
GATEWAYS_CRD = "gateways.gateway.networking.k8s.io"
BUNDLE_VERSION = "gateway.networking.k8s.io/bundle-version"
CHANNEL = "gateway.networking.k8s.io/channel"
DATAPLANE = "istio.io/dataplane-mode"
# Written beside the Secret that this collection makes; a digest of certificates, which are public.
CA_FINGERPRINT = "aicluster.zerotrust/ca-sha256"
REDIRECTION = "ambient.istio.io/redirection"
_LABELS = ("istio.io/", "istio-injection")
_POLICIES = {
    "CiliumNetworkPolicy": "/apis/cilium.io/v2/ciliumnetworkpolicies",
    "CiliumClusterwideNetworkPolicy": "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/networkpolicies",
}


def observe(client: Client, crds: t.Sequence[Json], daemonsets: t.Sequence[Json], namespace: str) -> Json:
    """The `mesh` of cluster_info (shape in its documentation).

    crds, daemonsets: as listed already (crds: metadata). namespace: of the mesh, istio-system by default.
    A read that failed is an entry of read_errors and leaves null or what is empty. Raises ApiError without an API.
    """
    errors: list[Json] = []

    def attempt(what: str, call: t.Callable[[], t.Any]) -> t.Any:
        try:
            return call()
        except ApiError as error:
            if error.fatal:
                raise
            errors.append({"what": what, "error": error.message})
        except ValueError as error:
            errors.append({"what": what, "error": str(error)})
        return None

    inside = f"/api/v1/namespaces/{namespace}"
    reads: dict[str, t.Callable[[], t.Any]] = {
        "istio releases": lambda: releases(client, namespace),
        "istiod": lambda: client.list_all(f"/apis/apps/v1/namespaces/{namespace}/deployments", labels="app=istiod"),
        "istio mesh config": lambda: client.get(f"{inside}/configmaps/istio"),
        # The list with metadata only: a Secret's data never leaves the API server.
        "cacerts": lambda: client.list_all(f"{inside}/secrets", fields="metadata.name=cacerts", metadata_only=True),
        "peerauthentications": lambda: client.list_or_none(
            f"/apis/security.istio.io/v1/namespaces/{namespace}/peerauthentications"
        ),
        "namespaces": lambda: client.list_all("/api/v1/namespaces", metadata_only=True),
        "gateways": lambda: client.list_or_none("/apis/gateway.networking.k8s.io/v1/gateways"),
        **{kind: functools.partial(client.list_or_none, path, metadata_only=True) for kind, path in _POLICIES.items()},
    }
    names = list(reads)
    got = dict(zip(names, concurrently(lambda name: attempt(name, reads[name]), names)))
    spaces = [space(obj) for obj in got["namespaces"] or []]
    enrolled = sorted(entry["name"] for entry in spaces if entry["labels"].get(DATAPLANE) == "ambient")
    pods = concurrently(
        lambda name: attempt(f"pods of {name}", lambda: pods_of(client.pages(f"/api/v1/namespaces/{name}/pods"))),
        enrolled,
    )
    deployments = [deployment(obj) for obj in got["istiod"] or []]
    istiod = [obj for obj in deployments if obj["ready"] or obj["desired"]] or deployments
    return {
        "crds": sorted(obj["metadata"]["name"] for obj in crds if obj["metadata"]["name"].endswith(".istio.io")),
        "gateway_api": gateway_api(crds),
        "releases": got["istio releases"] or dict.fromkeys(CHARTS),
        "istiod": istiod[0] if istiod else None,
        "cni": daemonset(daemonsets, "k8s-app", "istio-cni-node"),
        "ztunnel": daemonset(daemonsets, "app", "ztunnel"),
        "trust_domain": trust_domain(got["istio mesh config"]),
        "cacerts": None if got["cacerts"] is None else bool(got["cacerts"]),
        "cacerts_fingerprint": ca_fingerprint(got["cacerts"] or []),
        "root_strict": any(strict(obj) for obj in got["peerauthentications"] or []),
        "namespaces": sorted(spaces, key=lambda entry: entry["name"]),
        "waypoints": sorted(
            (waypoint(obj) for obj in got["gateways"] or [] if is_waypoint(obj)),
            key=lambda entry: (entry["namespace"], entry["name"]),
        ),
        "enrolled": {name: found for name, found in zip(enrolled, pods) if found is not None},
        "cni_policies": {kind: policies(got[kind] or []) for kind in _POLICIES},
        "read_errors": sorted(errors, key=lambda entry: entry["what"]),
    }


def releases(client: Client, namespace: str) -> Json:
    """Chart -> newest release of that name as helm.summary() gives it, or null. cni and ztunnel may be in kube-system
    (OpenShift)."""
    found: Json = dict.fromkeys(CHARTS)
    for where in dict.fromkeys((namespace, "kube-system")):
        listed = client.list_all(helm.secrets_path(where), labels="owner=helm", metadata_only=True)
        for chart in CHARTS:
            revisions = [obj for obj in listed if (obj["metadata"].get("labels") or {}).get("name") == chart]
            if found[chart] is None and revisions:
                name = max(revisions, key=helm.revision)["metadata"]["name"]
                secret = client.get(f"{helm.secrets_path(where)}/{name}")
                found[chart] = {**helm.summary(secret), "namespace": where} if secret else None
    return found


def space(obj: Json) -> Json:
    """A Namespace's metadata -> name, the labels that concern Istio, and those of them that this collection applied."""
    meta = obj["metadata"]
    labels = {name: value for name, value in (meta.get("labels") or {}).items() if name.startswith(_LABELS)}
    return {
        "name": meta["name"],
        "labels": labels,
        "applied": sorted(set(labels) & objects.applied_labels(meta)),
        "deleting": bool(meta.get("deletionTimestamp")),
    }


def pods_of(pages: t.Iterable[t.Sequence[Json]]) -> Json:
    """Pages of a namespace's pods -> how many run, how many istio-cni redirects, how many are on the host network."""
    count = {"pods": 0, "redirected": 0, "host_network": 0}
    for page in pages:
        for pod in page:
            if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
                continue
            count["pods"] += 1
            annotations = pod["metadata"].get("annotations") or {}
            count["redirected"] += annotations.get(REDIRECTION) == "enabled"
            count["host_network"] += bool((pod.get("spec") or {}).get("hostNetwork"))
    return count


def gateway_api(crds: t.Sequence[Json]) -> Json | None:
    """Version and channel of the Gateway API's CRDs, from the annotations of the CRD of Gateways; None without it."""
    for obj in crds:
        if obj["metadata"]["name"] == GATEWAYS_CRD:
            annotations = obj["metadata"].get("annotations") or {}
            return {"version": annotations.get(BUNDLE_VERSION), "channel": annotations.get(CHANNEL)}
    return None


def deployment(obj: Json) -> Json:
    status, spec = obj.get("status") or {}, obj.get("spec") or {}
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or [{}]
    return {
        "image": containers[0].get("image"),
        "desired": int(spec.get("replicas") or 0),
        "ready": int(status.get("readyReplicas") or 0),
        "managed_by": read.managed_by(obj),
    }


def daemonset(daemonsets: t.Sequence[Json], label: str, value: str) -> Json | None:
    """The DaemonSet whose pods carry a label: image, desired, ready, who manages it; None where there is none."""
    for obj in daemonsets:
        template = ((obj.get("spec") or {}).get("template")) or {}
        if ((template.get("metadata") or {}).get("labels") or {}).get(label) != value:
            continue
        status = obj.get("status") or {}
        containers = (template.get("spec") or {}).get("containers") or [{}]
        return {
            "image": containers[0].get("image"),
            "desired": int(status.get("desiredNumberScheduled") or 0),
            "ready": int(status.get("numberReady") or 0),
            "managed_by": read.managed_by(obj),
        }
    return None


def trust_domain(config_map: Json | None) -> str | None:
    """meshConfig.trustDomain of the ConfigMap istio, Istio's default where it names none; None without Istio."""
    import yaml

    if config_map is None:
        return None
    try:
        mesh = yaml.safe_load((config_map.get("data") or {}).get("mesh") or "{}")
    except yaml.YAMLError as error:
        raise ValueError(f"the ConfigMap istio holds no readable mesh configuration: {error}") from error
    return str((mesh if isinstance(mesh, dict) else {}).get("trustDomain") or "cluster.local")


def ca_fingerprint(secrets: t.Sequence[Json]) -> str | None:
    """What our Secret cacerts says of its certificates; None where there is none or another made it."""
    annotations = (secrets[0]["metadata"].get("annotations") or {}) if secrets else {}
    found = annotations.get(CA_FINGERPRINT)
    return None if found is None else str(found)


def strict(obj: Json) -> bool:
    """Whether a PeerAuthentication of the root namespace makes the whole mesh refuse plain connections."""
    spec = obj.get("spec") or {}
    return not spec.get("selector") and (spec.get("mtls") or {}).get("mode") == "STRICT"


def is_waypoint(obj: Json) -> bool:
    return str((obj.get("spec") or {}).get("gatewayClassName") or "").endswith("waypoint")


def waypoint(obj: Json) -> Json:
    conditions = (obj.get("status") or {}).get("conditions") or []
    return {
        "namespace": obj["metadata"]["namespace"],
        "name": obj["metadata"]["name"],
        "programmed": any(c.get("type") == "Programmed" and c.get("status") == "True" for c in conditions),
        "ours": (obj["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by") == objects.MANAGED_BY,
    }


def policies(found: t.Sequence[Json]) -> dict[str, int]:
    """Namespace ("" where cluster-wide) -> number of policies that may isolate its pods; our own probe rule is none."""
    count: dict[str, int] = {}
    for obj in found:
        meta = obj["metadata"]
        if meta["name"] != objects.PROBES:
            count[meta.get("namespace") or ""] = count.get(meta.get("namespace") or "", 0) + 1
    return count
