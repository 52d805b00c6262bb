# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that make namespaces part of the mesh: labels, waypoints, and the way for the kubelet's probes."""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.istio import IstioIntent

Json = dict[str, t.Any]

DATAPLANE = "istio.io/dataplane-mode"
USE_WAYPOINT = "istio.io/use-waypoint"
LABELS = (DATAPLANE, USE_WAYPOINT)
WAYPOINT = "waypoint"
"""Name of the waypoints that the plan makes; their service account has the same."""
PROBES = "aicluster-zerotrust-ambient-probes"
# istio-cni gives the kubelet's probes these sources (cni/pkg/config), so that ztunnel lets them by.
PROBE_SOURCES = ("169.254.7.127/32", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff/128")
_MANAGED = {"app.kubernetes.io/managed-by": "aicluster.zerotrust"}


def namespace_labels(waypoint: str | None) -> dict[str, str]:
    """Labels of an enrolled namespace; waypoint is the Gateway that its Services use."""
    labels = {DATAPLANE: "ambient"}
    if waypoint:
        labels[USE_WAYPOINT] = waypoint
    return labels


def waypoint(namespace: str) -> Json:
    """The Gateway of which istiod makes a waypoint proxy."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {
            "name": WAYPOINT,
            "namespace": namespace,
            "labels": {**_MANAGED, "istio.io/waypoint-for": "service"},
        },
        "spec": {
            "gatewayClassName": "istio-waypoint",
            "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}],
        },
    }


def probe_policy(ipv6: bool) -> Json:
    """Lets probes into pods that other Cilium policies isolate; it isolates none itself (enableDefaultDeny)."""
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {"name": PROBES, "labels": dict(_MANAGED)},
        "spec": {
            "description": "The kubelet's probes to pods of Istio Ambient come from these addresses",
            "enableDefaultDeny": {"egress": False, "ingress": False},
            "endpointSelector": {},
            "ingress": [{"fromCIDR": list(PROBE_SOURCES if ipv6 else PROBE_SOURCES[:1])}],
        },
    }


def waypoints(istio: IstioIntent, l7: t.Sequence[str]) -> dict[str, str]:
    """Namespace -> Gateway that enforces its L7 policies: the user's own, else one that the plan makes."""
    return {**dict.fromkeys(l7, WAYPOINT), **istio.waypoints}
