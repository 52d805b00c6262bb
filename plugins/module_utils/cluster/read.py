# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure reducers: JSON of the Kubernetes API -> the parts of cluster_info's result. No I/O, no findings."""

from __future__ import annotations

import collections
import re
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import Json

CONTROL_PLANE_LABELS = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
WG_PUB_KEY = "network.cilium.io/wg-pub-key"

_GPU_RESOURCE = re.compile(r"^(nvidia\.com/(gpu|mig-.+)|amd\.com/gpu|gpu\.intel\.com/.+|habana\.ai/gaudi)$")

# DaemonSet name or image (last part, without registry and tag) -> which CNI it is. First match counts;
# canal runs calico's and flannel's images under its own name, so names of bundles come before images.
_CNI_BY_NAME: t.Sequence[tuple[str, str]] = (
    (r"(^|-)canal(-|$)", "canal"),
    (r"^(kube-)?flannel(-|$)", "flannel"),
    (r"(^|-)calico-node$", "calico"),
    (r"^weave-net$", "weave"),
    (r"^antrea-agent$", "antrea"),
    (r"^kube-router$", "kube-router"),
    (r"^(ovnkube-node|kube-ovn-cni|ovs-ovn|ovnkube-db)", "ovn"),
    (r"multus", "multus"),
    (r"^cilium$", "cilium"),
)
_CNI_BY_IMAGE: t.Sequence[tuple[str, str]] = (
    (r"(^|/)flannel(-io)?/flannel$|(^|/)mirrored-flannel", "flannel"),
    (r"(^|/)(calico/node|mirrored-calico-node)$", "calico"),
    (r"(^|/)weave-kube$", "weave"),
    (r"(^|/)antrea/antrea-agent", "antrea"),
    (r"(^|/)kube-router$", "kube-router"),
    (r"(^|/)(ovn-kubernetes|ovn-kube[^/]*|kube-ovn)$", "ovn"),
    (r"(^|/)multus-cni$", "multus"),
    (r"(^|/)cilium/cilium(-ci)?$|(^|/)mirrored-cilium-cilium$", "cilium"),
)


def node(obj: Json) -> Json:
    """A Node object -> one entry of `nodes`. gpu_pods is filled in by gpu_pods()."""
    meta, spec, status = obj.get("metadata") or {}, obj.get("spec") or {}, obj.get("status") or {}
    labels = meta.get("labels") or {}
    addresses = status.get("addresses") or []
    hostname = next((a["address"] for a in addresses if a.get("type") == "Hostname"), None)
    cidrs = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    info = status.get("nodeInfo") or {}
    return {
        "name": meta["name"],
        "internal_ips": [a["address"] for a in addresses if a.get("type") == "InternalIP"],
        "hostname": hostname or labels.get("kubernetes.io/hostname"),
        "machine_id": info.get("machineID") or None,
        "kubelet_version": info.get("kubeletVersion") or None,
        "ready": any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or []),
        "unschedulable": bool(spec.get("unschedulable")),
        "pod_cidrs": list(cidrs),
        "control_plane": any(label in labels for label in CONTROL_PLANE_LABELS),
        "gpu_pods": None,
    }


def has_gpu(obj: Json) -> bool:
    """Whether a Node object has GPUs to give to pods (device plugins only; DRA is not looked at)."""
    allocatable = (obj.get("status") or {}).get("allocatable") or {}
    return any(_GPU_RESOURCE.match(name) and str(count) != "0" for name, count in allocatable.items())


def wants_gpu(pod: Json) -> bool:
    """Whether a Pod object holds GPUs: bound to a Node, not finished, a container with a GPU limit or a claim."""
    spec = pod.get("spec") or {}
    if not spec.get("nodeName") or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return False
    # A resource claim may be a GPU; it cannot be told from here, and busy is the safe answer.
    if spec.get("resourceClaims"):
        return True
    for container in (spec.get("containers") or []) + (spec.get("initContainers") or []):
        resources = container.get("resources") or {}
        for name, count in {**(resources.get("requests") or {}), **(resources.get("limits") or {})}.items():
            if _GPU_RESOURCE.match(name) and str(count) != "0":
                return True
    return False


def gpu_pods(pages: t.Iterable[t.Sequence[Json]]) -> dict[str, int]:
    """Pages of Pod objects -> Node name -> number of pods that hold GPUs (nodes without one are absent)."""
    count: dict[str, int] = collections.Counter()
    for page in pages:
        for pod in page:
            if wants_gpu(pod):
                count[pod["spec"]["nodeName"]] += 1
    return dict(count)


def cilium_node(obj: Json) -> Json:
    """A CiliumNode object -> one entry of `cilium.nodes`.

    encryption_key is the IPsec key index; under WireGuard 255, and 0 where the node opted out of node encryption.
    """
    meta, spec = obj.get("metadata") or {}, obj.get("spec") or {}
    addresses = spec.get("addresses") or []
    return {
        "name": meta["name"],
        "internal_ips": [a["ip"] for a in addresses if a.get("type") == "InternalIP" and a.get("ip")],
        "cilium_ips": [a["ip"] for a in addresses if a.get("type") == "CiliumInternalIP" and a.get("ip")],
        "pod_cidrs": list((spec.get("ipam") or {}).get("podCIDRs") or []),
        "wg_pub_key": (meta.get("annotations") or {}).get(WG_PUB_KEY),
        "encryption_key": int((spec.get("encryption") or {}).get("key") or 0),
        # The laboratory marks what its stand-in for the agents wrote.
        "stand_in": (meta.get("labels") or {}).get("aicluster.zerotrust/agent") == "stand-in",
    }


def endpoints(pages: t.Iterable[t.Sequence[Json]]) -> list[Json]:
    """Pages of CiliumEndpoint objects -> addresses of endpoints by the Node address that they are on."""
    by_node: dict[str, list[str]] = collections.defaultdict(list)
    for page in pages:
        for obj in page:
            networking = ((obj.get("status") or {}).get("networking")) or {}
            for pair in networking.get("addressing") or []:
                by_node[networking.get("node") or ""] += [pair[k] for k in ("ipv4", "ipv6") if pair.get(k)]
    return [{"node_ip": ip, "ips": sorted(ips)} for ip, ips in sorted(by_node.items()) if ip]


def managed_by(obj: Json) -> Json:
    """Who installs an object, from the marks that Helm, Argo CD and Flux leave.

    {"tool": "helm|argocd|flux|unknown", "release", "namespace"}. Argo CD and Flux come first: both may render
    or run Helm and leave its annotations too. cilium-cli and kubespray run Helm and cannot be told from it.
    """
    meta = obj.get("metadata") or {}
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    tracking = annotations.get("argocd.argoproj.io/tracking-id") or ""
    argo = tracking.split(":", 1)[0] or labels.get("argocd.argoproj.io/instance")
    if argo:
        return {"tool": "argocd", "release": argo, "namespace": None}
    for kind in ("helm", "kustomize"):
        name = labels.get(f"{kind}.toolkit.fluxcd.io/name")
        if name:
            return {"tool": "flux", "release": name, "namespace": labels.get(f"{kind}.toolkit.fluxcd.io/namespace")}
    release = annotations.get("meta.helm.sh/release-name")
    if release:
        return {"tool": "helm", "release": release, "namespace": annotations.get("meta.helm.sh/release-namespace")}
    # Argo CD's default tracking label is a recommended label that many charts set themselves; it counts last,
    # and only where Helm did not leave its annotations (Argo CD applies rendered charts, Helm never does without).
    instance = labels.get("app.kubernetes.io/instance")
    if instance and labels.get("app.kubernetes.io/managed-by") != "Helm":
        return {"tool": "argocd", "release": instance, "namespace": None}
    return {"tool": "unknown", "release": None, "namespace": None}


def _image(container: Json) -> str:
    """Image of a container without digest and tag."""
    image = str(container.get("image") or "").split("@", 1)[0]
    head, slash, tail = image.rpartition("/")
    return head + slash + tail.split(":", 1)[0]


def _containers(obj: Json) -> list[Json]:
    return (((obj.get("spec") or {}).get("template") or {}).get("spec") or {}).get("containers") or []


def cni_name(obj: Json) -> str | None:
    """Which CNI a DaemonSet object is, by its name and images; None for anything else."""
    name = obj["metadata"]["name"]
    for pattern, cni in _CNI_BY_NAME:
        if re.search(pattern, name):
            return cni
    for container in _containers(obj):
        image = _image(container)
        for pattern, cni in _CNI_BY_IMAGE:
            # Cilium's image also runs as cilium-node-init or clustermesh; only the agent owns the CNI.
            if cni == "cilium" and container.get("name") != "cilium-agent":
                continue
            if re.search(pattern, image):
                return cni
    return None


def cni_owners(daemonsets: t.Iterable[Json], release: str, namespace: str) -> list[Json]:
    """DaemonSet objects -> every CNI that is not Cilium by our Helm release."""
    found = []
    ours = {"tool": "helm", "release": release, "namespace": namespace}
    for obj in daemonsets:
        name, owner = cni_name(obj), managed_by(obj)
        if name is None or (name == "cilium" and owner == ours):
            continue
        meta = obj["metadata"]
        found.append({"name": name, "object": f"DaemonSet {meta['namespace']}/{meta['name']}", "managed_by": owner})
    return sorted(found, key=lambda entry: (entry["name"], entry["object"]))


def cilium_daemonset(daemonsets: t.Iterable[Json]) -> Json | None:
    """The agent's DaemonSet, or None. current: the controller has seen the last change and all pods have it."""
    for obj in daemonsets:
        if cni_name(obj) != "cilium":
            continue
        meta, status = obj["metadata"], obj.get("status") or {}
        agent = next((c for c in _containers(obj) if c.get("name") == "cilium-agent"), {})
        desired = int(status.get("desiredNumberScheduled") or 0)
        updated = int(status.get("updatedNumberScheduled") or 0)
        seen = int(status.get("observedGeneration") or 0) >= int(meta.get("generation") or 0)
        return {
            "namespace": meta["namespace"],
            "name": meta["name"],
            "image": agent.get("image"),
            "managed_by": managed_by(obj),
            "labels": meta.get("labels") or {},
            "desired": desired,
            "updated": updated,
            "ready": int(status.get("numberReady") or 0),
            "current": seen and updated == desired,
        }
    return None


def kube_proxy(daemonsets: t.Iterable[Json], pods: t.Iterable[Json], nodes: t.Iterable[Json]) -> Json:
    """Whether kube-proxy runs: {"present": true|false|null, "object"}.

    A DaemonSet (kubeadm, kubespray), static pods (RKE2; `pods` carry component=kube-proxy), or inside the k3s
    process, which cannot be seen from the API: null. nodes are entries of `nodes`.
    """
    for obj in daemonsets:
        if re.search(r"(^|-)kube-proxy(-|$)", obj["metadata"]["name"]):
            return {"present": True, "object": f"DaemonSet {obj['metadata']['namespace']}/{obj['metadata']['name']}"}
    for pod in pods:
        return {"present": True, "object": f"Pod {pod['metadata']['namespace']}/{pod['metadata']['name']}"}
    if any("+k3s" in (entry.get("kubelet_version") or "") for entry in nodes):
        return {"present": None, "object": "k3s runs kube-proxy inside its own process; the API does not show it"}
    return {"present": False, "object": None}


def service_cidrs(objects: t.Sequence[Json] | None, kubeadm_config: Json | None) -> list[str]:
    """ServiceCIDR objects (None: not served), else kubeadm's ClusterConfiguration, else an empty list."""
    found = [cidr for obj in objects or [] for cidr in (obj.get("spec") or {}).get("cidrs") or []]
    if found:
        return sorted(set(found))
    text = ((kubeadm_config or {}).get("data") or {}).get("ClusterConfiguration") or ""
    match = re.search(r"(?m)^\s*serviceSubnet:\s*[\"']?([^\"'\s]+)", text)
    return sorted(match.group(1).split(",")) if match else []
