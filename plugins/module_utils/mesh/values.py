# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chart values of Istio Ambient for an intent, and what istio_ambient_values may not say."""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.istio import ISTIO_CHARTS, IstioIntent
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.mappings import given, merge

Json = dict[str, t.Any]

# A release that carries this in its values is ours. The charts pass over keys that they do not know.
MARKER = ("zerotrustManagedBy", "aicluster.zerotrust")

# Chart keys that the intent decides, with the variable to set instead.
OWNED: dict[str, str] = {
    "profile": "zerotrust_engine",
    "global.profile": "zerotrust_engine",
    "hub": "istio_ambient_hub",
    "tag": "istio_ambient_tag",
    "global.hub": "istio_ambient_hub",
    "global.tag": "istio_ambient_tag",
    "platform": "istio_ambient_platform",
    "global.platform": "istio_ambient_platform",
    "istioNamespace": "istio_ambient_namespace",
    "global.istioNamespace": "istio_ambient_namespace",
    "trustedZtunnelNamespace": "istio_ambient_platform",
    "meshConfig.trustDomain": "zerotrust_trust_domain",
    "meshConfig.rootNamespace": "istio_ambient_namespace",
    # Names of objects carry the revision; waypoints and policies would have to name it, too.
    "revision": "no variable: one control plane without a revision is what this role installs",
    "global.revision": "no variable: one control plane without a revision is what this role installs",
    # What makes the mesh an ambient one.
    "ambient.enabled": "zerotrust_engine",
    "pilot.env.PILOT_ENABLE_AMBIENT": "zerotrust_engine",
    "env.PILOT_ENABLE_AMBIENT": "zerotrust_engine",
    # The charts stop or misread these (templates/zzz_profile.yaml).
    "defaults": "nothing: the charts refuse this key",
    "_internal_defaults_do_not_set": "nothing: set the keys below it directly",
    MARKER[0]: "nothing: it marks the release as ours",
}


def namespace_of(chart: str, intent: IstioIntent) -> str:
    """The namespace of a chart's release. OpenShift lets privileged pods run in kube-system without more rights."""
    if chart in ("cni", "ztunnel") and intent.platform == "openshift":
        return "kube-system"
    return intent.namespace


def render(intent: IstioIntent, trust_domain: str | None) -> dict[str, Json]:
    """Values of each chart, in install order. None of trust_domain leaves Istio's own (cluster.local)."""
    images = {key: value for key, value in (("hub", intent.hub), ("tag", intent.tag)) if value}
    platform = {"platform": intent.platform} if intent.platform else {}
    common: Json = {MARKER[0]: MARKER[1], "profile": "ambient"}
    rendered: dict[str, Json] = {
        "base": {**common, "global": {"istioNamespace": intent.namespace, **platform}},
        "istiod": {**common, "global": {"istioNamespace": intent.namespace, **images, **platform}},
        "cni": {**common, "global": {**images, **platform}},
        # This chart has hub and tag at its top level.
        "ztunnel": {**common, "istioNamespace": intent.namespace, **images, "global": dict(platform)},
    }
    if trust_domain:
        rendered["istiod"]["meshConfig"] = {"trustDomain": trust_domain}
    if namespace_of("ztunnel", intent) != intent.namespace:
        rendered["istiod"]["trustedZtunnelNamespace"] = namespace_of("ztunnel", intent)
    return {chart: merge(intent.values.get(chart, {}), rendered[chart]) for chart in ISTIO_CHARTS}


def owned(values: t.Mapping[str, t.Any]) -> list[tuple[str, str]]:
    """(key, variable to set instead) of what a chart's extra values say and the intent decides."""
    return [(path, OWNED[path]) for path in sorted(OWNED) if given(values, path)]


def is_ours(release: t.Mapping[str, t.Any] | None) -> bool:
    """Whether a Helm release was made by this collection."""
    return ((release or {}).get("values") or {}).get(MARKER[0]) == MARKER[1]
