# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The intent with nothing left unset: from the variables, else from the cluster that runs, else the defaults.

preflight and verify describe the cluster as it is; site keeps what runs where the inventory says nothing.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.model import DropUnencrypted, Intent
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import existing


def effective(intent: Intent, cluster: t.Mapping[str, t.Any], mode: str, *, bare: bool = False) -> Intent:
    """The effective intent for a mode (preflight, site, verify).

    bare: no host names its interfaces, so that site would not run: then a preflight describes the Cilium that is there.

    A running Cilium's IPsec or Geneve stays what it is in the text ("ipsec", "geneve"): it is observed, not planned.
    """
    config = existing.part(cluster).get("config") or {}
    cni = intent.cni or _cni(cluster, mode, bare)
    described = mode == "verify" or cni == "existing"
    seen = config if config else {}
    engine = intent.engine or "cilium"
    changes: dict[str, t.Any] = {
        "cni": cni,
        "engine": engine,
        "transport_encryption": intent.transport_encryption or _encryption(seen, described),
        "workload_encryption": intent.workload_encryption or ("istio_ambient" if engine == "istio_ambient" else "none"),
        "identity": intent.identity or "none",
        "routing": intent.routing or _routing(seen, described),
        "drop_unencrypted": _drop(intent.drop_unencrypted, seen),
        "pod_cidrs": intent.pod_cidrs if intent.pod_cidrs is not None else _pod_cidrs(cluster, seen, described),
        "service_cidrs": intent.service_cidrs
        if intent.service_cidrs is not None
        else tuple(cluster.get("service_cidrs") or ()) or None,
    }
    if described:
        version = existing.running_version(cluster)
        changes["cilium"] = dataclasses.replace(
            intent.cilium,
            version=version or intent.cilium.version,
            ipam_mode=seen.get("ipam") or intent.cilium.ipam_mode,
            kube_proxy_replacement=seen.get("kube-proxy-replacement") == "true",
        )
    return dataclasses.replace(intent, **changes)


def _cni(cluster: t.Mapping[str, t.Any], mode: str, bare: bool) -> str:
    if mode == "site":
        return "cilium"
    release = cluster.get("release")
    nothing = not existing.has_cilium(cluster) and not existing.foreign_cni(cluster)
    return "cilium" if nothing or (existing.is_ours(release) and not bare) else "existing"


def _encryption(config: t.Mapping[str, t.Any], described: bool) -> str:
    if not config:
        return "none" if described else "wireguard"
    if _on(config, "enable-wireguard"):
        return "wireguard"
    return "ipsec" if _on(config, "enable-ipsec") else "none"


def _routing(config: t.Mapping[str, t.Any], described: bool) -> str | None:
    if not config:
        return None if described else "vxlan"
    if config.get("routing-mode") == "native":
        return "native"
    return str(config.get("tunnel-protocol") or "vxlan")


def _drop(given: DropUnencrypted, config: t.Mapping[str, t.Any]) -> DropUnencrypted:
    egress = _on(config, "enable-encryption-strict-mode-egress") if given.egress is None else given.egress
    ingress = _on(config, "enable-encryption-strict-mode-ingress") if given.ingress is None else given.ingress
    return DropUnencrypted(egress=egress, ingress=ingress, mesh=bool(given.mesh))


def _pod_cidrs(
    cluster: t.Mapping[str, t.Any], config: t.Mapping[str, t.Any], described: bool
) -> tuple[str, ...] | None:
    """Pod CIDRs of a described cluster: the pool of Cilium, else the Nodes' ranges, joined where they adjoin."""
    if not described:
        return None
    pools = f"{config.get('cluster-pool-ipv4-cidr') or ''} {config.get('cluster-pool-ipv6-cidr') or ''}".split()
    texts = pools or [cidr for node in cluster.get("nodes") or [] for cidr in node.get("pod_cidrs") or []]
    v4 = [net for net in map(ipaddress.ip_network, texts) if isinstance(net, ipaddress.IPv4Network)]
    v6 = [net for net in map(ipaddress.ip_network, texts) if isinstance(net, ipaddress.IPv6Network)]
    joined = [*ipaddress.collapse_addresses(v4), *ipaddress.collapse_addresses(v6)]
    return tuple(str(net) for net in joined) or None


def _on(config: t.Mapping[str, t.Any], key: str) -> bool:
    return str(config.get(key)).lower() == "true"
