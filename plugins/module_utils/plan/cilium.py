# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chart values of Cilium for an intent. What the intent decides is never taken from cilium_values (ZT609)."""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.mappings import get, merge
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.model import Intent
from ansible_collections.aicluster.zerotrust.plugins.module_utils.mesh import cilium_below

# A release that carries this in its values is ours; kubespray and cilium-cli make releases of the same name.
MARKER = ("zerotrust.aicluster/managed-by", "aicluster.zerotrust")

# Chart keys that the intent decides, with the variable to set instead.
OWNED: dict[str, str] = {
    "devices": "zerotrust_node_network_interfaces",
    "forceDeviceDetection": "zerotrust_node_network_interfaces",
    "nodePort.directRoutingDevice": "zerotrust_node_network_interfaces",
    "MTU": "zerotrust_node_network_mtu",
    "encryption.enabled": "zerotrust_transport_encryption",
    "encryption.type": "zerotrust_transport_encryption",
    "encryption.strictMode": "zerotrust_drop_unencrypted",
    "routingMode": "zerotrust_routing",
    "tunnelProtocol": "zerotrust_routing",
    "ipv4NativeRoutingCIDR": "zerotrust_pod_cidrs",
    "ipv6NativeRoutingCIDR": "zerotrust_pod_cidrs",
    "nativeRoutingCIDRFromClusterPool": "zerotrust_pod_cidrs",
    "ipam.operator.clusterPoolIPv4PodCIDRList": "zerotrust_pod_cidrs",
    "ipam.operator.clusterPoolIPv6PodCIDRList": "zerotrust_pod_cidrs",
    "ipam.mode": "cilium_ipam_mode",
    "kubeProxyReplacement": "cilium_kube_proxy_replacement",
    "k8sServiceHost": "cilium_k8s_service_host",
    "k8sServicePort": "cilium_k8s_service_port",
    "cni.exclusive": "cilium_cni_exclusive",
    "hubble.relay.enabled": "cilium_hubble_relay",
    "hubble.ui.enabled": "cilium_hubble_ui",
    "cluster.name": "zerotrust_cluster_name",
    "rollOutCiliumPods": "no variable: agents must restart when their configuration changes",
}

# Chart keys of the images that a release can take, with their path in the registry of the chart's own default.
_IMAGES: dict[str, str] = {
    "image": "cilium/cilium",
    "operator.image": "cilium/operator",
    "envoy.image": "cilium/cilium-envoy",
    "certgen.image": "cilium/certgen",
    "hubble.relay.image": "cilium/hubble-relay",
    "hubble.ui.backend.image": "cilium/hubble-ui-backend",
    "hubble.ui.frontend.image": "cilium/hubble-ui",
    "preflight.image": "cilium/cilium",
    "preflight.envoy.image": "cilium/cilium-envoy",
    "nodeinit.image": "cilium/startup-script",
    "clustermesh.apiserver.image": "cilium/clustermesh-apiserver",
}


def render(
    intent: Intent,
    *,
    devices: t.Sequence[str],
    direct_device: str | None,
    multus: bool,
    node_count: int,
    networks: t.Sequence[str] = (),
) -> dict[str, t.Any]:
    """Values for `helm upgrade --install` from an effective intent.

    devices is one name list for all nodes (an agent takes of it what its node has), direct_device the one that holds
    the InternalIP on most nodes: where a node lacks it the agent takes the device with its InternalIP from the list.
    networks are those that the InternalIPs are in.
    The key MTU is never set: the chart means the underlying MTU, which agents read from the devices.
    """
    v4, v6 = families(intent.pod_cidrs or ())
    values: dict[str, t.Any] = {
        "annotations": {MARKER[0]: MARKER[1]},
        "cni": {"exclusive": exclusive(intent, multus)},
        "devices": list(devices),
        "encryption": _encryption(intent, v4),
        "hubble": {"relay": {"enabled": intent.cilium.hubble_relay}, "ui": {"enabled": intent.cilium.hubble_ui}},
        "ipam": {"mode": intent.cilium.ipam_mode},
        "kubeProxyReplacement": "true" if intent.cilium.kube_proxy_replacement else "false",
        "nodePort": {"directRoutingDevice": direct_device or ""},
        "operator": {"rollOutPods": True},
        # Without it a changed configuration stays unread until each agent happens to restart.
        "rollOutCiliumPods": True,
    }
    values.update(_routing(intent, v4, v6))
    if intent.engine == "istio_ambient":
        values = merge(values, cilium_below.values())
    if intent.cluster_name:
        values["cluster"] = {"name": intent.cluster_name}
    if intent.cilium.k8s_service_host:
        values["k8sServiceHost"] = intent.cilium.k8s_service_host
        values["k8sServicePort"] = intent.cilium.k8s_service_port
    if intent.cilium.ipam_mode == "cluster-pool" and intent.pod_cidrs:
        operator = {"clusterPoolIPv4PodCIDRList": v4, "clusterPoolIPv6PodCIDRList": v6}
        values["ipam"]["operator"] = {key: cidrs for key, cidrs in operator.items() if cidrs}
    if v6:
        values["ipv6"] = {"enabled": True}
        if not v4:
            values["ipv4"] = {"enabled": False}
    if node_count == 1:
        # Two replicas of the operator never fit on one node (host ports).
        values["operator"]["replicas"] = 1
    return merge(merge(_defaults(intent, networks), intent.cilium.values), values)


def _images(registry: str | None) -> dict[str, t.Any]:
    """Image repositories below a mirror; tags and digests stay the chart's, so that a mirror cannot swap an image."""
    result: dict[str, t.Any] = {}
    for key, path in _IMAGES.items() if registry else ():
        part: dict[str, t.Any] = {"repository": f"{registry}/{path}"}
        for step in reversed(key.split(".")):
            part = {step: part}
        result = merge(result, part)
    return result


def exclusive(intent: Intent, multus: bool) -> bool:
    """cni.exclusive: as asked for, else true unless multus or istio-cni is there, whose files it would rename."""
    alone = not multus and intent.engine != "istio_ambient"
    return alone if intent.cilium.cni_exclusive is None else intent.cilium.cni_exclusive


def families(cidrs: t.Sequence[str]) -> tuple[list[str], list[str]]:
    """IPv4 and IPv6 networks of a list."""
    v4 = [text for text in cidrs if ipaddress.ip_network(text).version == 4]
    return v4, [text for text in cidrs if text not in v4]


def truth(value: t.Any) -> bool:
    """Whether a chart value means true; charts take booleans as text, too."""
    return value is True or str(value).lower() == "true"


def config(values: t.Mapping[str, t.Any]) -> dict[str, str]:
    """What these values will say in cilium-config for the keys that must not change on a running cluster."""
    pools = get(values, "ipam.operator.clusterPoolIPv4PodCIDRList")
    result = {
        "routing-mode": str(get(values, "routingMode") or "tunnel"),
        "tunnel-protocol": str(get(values, "tunnelProtocol") or "vxlan"),
        "ipam": str(get(values, "ipam.mode") or "cluster-pool"),
        "datapath-mode": str(get(values, "bpf.datapathMode") or "veth"),
        "cluster-name": str(get(values, "cluster.name") or "default"),
        "enable-ipv6": str(truth(get(values, "ipv6.enabled"))).lower(),
    }
    if result["ipam"] == "cluster-pool":
        result["cluster-pool-ipv4-cidr"] = " ".join(pools) if pools else "10.0.0.0/8"
    if result["routing-mode"] == "native":
        result["ipv4-native-routing-cidr"] = str(get(values, "ipv4NativeRoutingCIDR") or "")
    return result


def _defaults(intent: Intent, networks: t.Sequence[str]) -> dict[str, t.Any]:
    """Values that we would choose, which cilium_values may change."""
    images = _images(intent.registry)
    if intent.routing != "native":
        return images
    # Across a router no direct route can be made, and an agent that must make one logs errors for ever.
    skip = {"directRoutingSkipUnreachable": True} if len(networks) > 1 else {}
    return {"autoDirectNodeRoutes": True, **skip, **images}


def _encryption(intent: Intent, v4: t.Sequence[str]) -> dict[str, t.Any]:
    if intent.transport_encryption != "wireguard":
        return {"enabled": False}
    result: dict[str, t.Any] = {"enabled": True, "type": "wireguard"}
    strict: dict[str, t.Any] = {}
    if intent.drop_unencrypted.egress:
        # With a tunnel, node addresses carry pod packets, so their identities must be looked up (values.yaml).
        strict["egress"] = {
            "enabled": True,
            "cidr": v4[0] if v4 else "",
            "allowRemoteNodeIdentities": intent.routing == "vxlan",
        }
    if intent.drop_unencrypted.ingress:
        strict["ingress"] = {"enabled": True}
    if strict:
        result["strictMode"] = strict
    return result


def _routing(intent: Intent, v4: t.Sequence[str], v6: t.Sequence[str]) -> dict[str, t.Any]:
    if intent.routing != "native":
        return {"routingMode": "tunnel", "tunnelProtocol": "vxlan"}
    result: dict[str, t.Any] = {"routingMode": "native"}
    if v4:
        result["ipv4NativeRoutingCIDR"] = v4[0]
    if v6:
        result["ipv6NativeRoutingCIDR"] = v6[0]
    return result
