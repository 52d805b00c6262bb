# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests that someone pasted where a policy belongs: what is known to be wrong with them, and the way here.

Three of the faults are in articles that readers copy from. A lenient client drops the fields without a word.
"""

from __future__ import annotations

import typing as t

Fault = tuple[str, t.Any, str, str]
"""Path, value, why, remedy: as in model.PolicyError."""

_NAMESPACE = ("k8s:io.kubernetes.pod.namespace", "io.kubernetes.pod.namespace", "any:io.kubernetes.pod.namespace")


def fault(data: t.Mapping[str, t.Any]) -> Fault | None:
    """None for what is no manifest: it has neither apiVersion nor kind."""
    if "apiVersion" not in data and "kind" not in data:
        return None
    kind, spec = data.get("kind"), _mapping(data.get("spec"))
    if kind == "PeerAuthentication" and "mode" in spec:
        return (
            "spec.mode",
            spec["mode"],
            "PeerAuthentication has no field spec.mode, it is spec.mtls.mode; where the API server drops it, nothing "
            "is enforced",
            "write a default of the namespace: default: deny, directions: [ingress], mtls: true",
        )
    if kind in ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"):
        found = _authentication(spec) or (_everywhere(spec) if kind == "CiliumClusterwideNetworkPolicy" else None)
        if found:
            return found
    return (
        "kind" if "kind" in data else "apiVersion",
        kind,
        "it is a manifest for the API server and no policy of this collection",
        "write who receives in `to` and from whom in `allow`, as docs/policy.md shows; the manifest is made of that",
    )


def _authentication(spec: t.Mapping[str, t.Any]) -> Fault | None:
    for direction in ("ingress", "egress"):
        rules = spec.get(direction)
        for index, rule in enumerate(rules if isinstance(rules, list) else ()):
            for key, value in _mapping(_mapping(rule).get("authentication")).items():
                if key != "mode":
                    return (
                        f"spec.{direction}[{index}].authentication.{key}",
                        value,
                        f"Cilium has no field authentication.{key}: who a peer is comes from its labels, and "
                        "authentication encrypts nothing",
                        "name the peer in `from`, by spiffe_id or by namespace and service_account",
                    )
    return None


def _everywhere(spec: t.Mapping[str, t.Any]) -> Fault | None:
    selector = _mapping(spec.get("endpointSelector"))
    labels = _mapping(selector.get("matchLabels"))
    if "matchExpressions" in selector or any(key in labels for key in _NAMESPACE):
        return None
    return (
        "spec.endpointSelector",
        dict(labels),
        "cluster-wide and without a namespace it selects pods with these labels in every namespace",
        "write a policy with namespace, or cluster_wide: true with a namespace in every selector",
    )


def _mapping(value: t.Any) -> t.Mapping[str, t.Any]:
    return value if isinstance(value, t.Mapping) else {}
