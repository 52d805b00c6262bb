# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an engine has to know of the cluster to write policies down; and the labels that every object carries."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.mappings import get
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.model import Intent

MANAGED_BY = "aicluster.zerotrust"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_SET = "aicluster.zerotrust/set"
LABEL_CLUSTER = "aicluster.zerotrust/cluster"


@dataclasses.dataclass(frozen=True)
class Options:
    """Facts about the cluster. What is not known is None, and what would need it is refused.

    trust_domain: of the SPIFFE ids of this cluster's workloads.
    cluster_cidrs: every address range of pods, Services and nodes.
    cilium_version, cilium_authentication, cilium_l7: the version, whether mutual authentication is on, and L7 proxy.
    waypoints: namespace -> name of the Gateway that serves all Services of that namespace (Istio).
    root_namespace: of Istio, whose policies apply to pods of every namespace.
    """

    trust_domain: str | None = None
    cluster_cidrs: tuple[str, ...] | None = None
    cilium_version: str | None = None
    cilium_authentication: bool = False
    cilium_l7: bool = True
    waypoints: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    root_namespace: str = "istio-system"


def labels(set_name: str, cluster_name: str) -> dict[str, str]:
    return {LABEL_MANAGED_BY: MANAGED_BY, LABEL_SET: set_name, LABEL_CLUSTER: cluster_name}


def from_intent(intent: Intent) -> Options:
    """What the intent says. Of a Cilium that is not ours (zerotrust_cni existing) nothing is known to be on."""
    values = intent.cilium.values if intent.cni == "cilium" else {}
    known = intent.pod_cidrs is not None and intent.node_cidrs is not None
    return Options(
        trust_domain=intent.trust_domain,
        cluster_cidrs=(*(intent.pod_cidrs or ()), *(intent.service_cidrs or ()), *(intent.node_cidrs or ()))
        if known
        else None,
        cilium_version=intent.cilium.version if intent.cni == "cilium" else None,
        cilium_authentication=get(values, "authentication.enabled") is True
        and get(values, "authentication.mutual.spire.enabled") is True,
        cilium_l7=get(values, "l7Proxy") is not False,
        root_namespace=intent.istio_ambient.namespace,
    )
