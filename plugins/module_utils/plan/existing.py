# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What already runs in the cluster: whose it is, what of it must not change, and what a run may do to it."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject, canonical
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent import mappings
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.model import Intent
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import cilium, versions

Cluster = t.Mapping[str, t.Any]

_IN_PROGRESS = ("pending-install", "pending-upgrade", "pending-rollback")


def is_ours(release: t.Mapping[str, t.Any] | None) -> bool:
    """Whether a Helm release was made by this collection: its values carry our marker."""
    annotations = mappings.get((release or {}).get("values") or {}, "annotations")
    return isinstance(annotations, t.Mapping) and annotations.get(cilium.MARKER[0]) == cilium.MARKER[1]


def part(cluster: Cluster) -> dict[str, t.Any]:
    """The cluster's Cilium part, an empty mapping where there is none."""
    return cluster.get("cilium") or {}


def has_cilium(cluster: Cluster) -> bool:
    """Whether any Cilium is installed, by whomever."""
    return bool(part(cluster).get("daemonset") or part(cluster).get("config") or cluster.get("release"))


def agents_run(cluster: Cluster) -> bool:
    """Whether a Cilium agent is ready somewhere: then its pods carry traffic."""
    daemonset = part(cluster).get("daemonset") or {}
    return bool(daemonset.get("ready"))


def multus(cluster: Cluster) -> bool:
    """Whether multus is in the cluster."""
    return any(owner["name"] == "multus" for owner in cluster.get("cni_owners") or [])


def foreign_cni(cluster: Cluster) -> list[t.Mapping[str, t.Any]]:
    """Owners of the pod network that are neither Cilium nor a meta plugin beside it."""
    return [owner for owner in cluster.get("cni_owners") or [] if owner["name"] not in ("cilium", "multus")]


def check(intent: Intent, cluster: Cluster, values: t.Mapping[str, t.Any], now: float) -> list[Finding]:
    """Findings on what runs, for an effective intent with cni cilium. now is epoch seconds of the controller."""
    findings = [*_other_owners(intent, cluster), *_kube_proxy(intent, cluster)]
    if any(found.code == "ZT602" for found in findings):
        # A Cilium that is not ours is not changed at all: what would change in it is beside the point.
        return findings
    if has_cilium(cluster):
        findings += [*_datapath(intent, cluster, values), *_drop_together(intent, cluster), *_version(intent, cluster)]
    findings += [*_lease(cluster, now), *_release(intent, cluster, now)]
    return findings


def _other_owners(intent: Intent, cluster: Cluster) -> t.Iterator[Finding]:
    for owner in foreign_cni(cluster):
        message = f"{owner['name']} owns the pod network ({owner['object']})"
        yield _object("ZT601", owner["object"], message, owner["name"], "cilium")
    if not has_cilium(cluster):
        return
    release = cluster.get("release")
    daemonset = part(cluster).get("daemonset") or {}
    manager = daemonset.get("managed_by") or {}
    tool = manager.get("tool") or "unknown"
    name = f"DaemonSet {daemonset['namespace']}/{daemonset['name']}" if daemonset else "ConfigMap cilium-config"
    wanted = (intent.cilium.release, intent.cilium.namespace)
    if release is None:
        where = f" as release {manager.get('namespace')}/{manager.get('release')}" if manager.get("release") else ""
        message = f"Cilium is installed by {tool}{where}; there is no Helm release {wanted[1]}/{wanted[0]}"
        yield _object("ZT602", name, message, manager, f"release {wanted[1]}/{wanted[0]}")
    elif tool in ("argocd", "flux"):
        yield _object("ZT602", name, f"{tool} manages Cilium and would undo every change", manager, "helm")
    elif not is_ours(release) and not intent.allows("adopt"):
        yield Finding(
            "ZT602",
            Subject("object", name),
            f"the Helm release {wanted[1]}/{wanted[0]} was not made by this collection",
            observed=manager,
            expected=f"annotations.{cilium.MARKER[0]}",
            remedy="Set zerotrust_cni to existing to observe it only, or take it over with -e zerotrust_allow=adopt,"
            "agent_restart after its values are in the inventory.",
            source="cluster_info",
        )


def _kube_proxy(intent: Intent, cluster: Cluster) -> t.Iterator[Finding]:
    present = (cluster.get("kube_proxy") or {}).get("present")
    if intent.cilium.kube_proxy_replacement or present:
        return
    unknown = present is None
    message = (
        "whether kube-proxy runs could not be determined, and cilium_kube_proxy_replacement is false"
        if unknown
        else "no kube-proxy runs and cilium_kube_proxy_replacement is false"
    )
    yield Finding(
        "ZT603",
        Subject("cluster", "kube-proxy"),
        message,
        observed=present,
        expected=True,
        # k3s and others run it inside another process, where nobody sees it: that is no reason to stop.
        severity="warn" if unknown else "",
        state="unknown" if unknown else "open",
        source="cluster_info",
    )


def _datapath(intent: Intent, cluster: Cluster, values: t.Mapping[str, t.Any]) -> t.Iterator[Finding]:
    current = part(cluster).get("config") or {}
    if not agents_run(cluster):
        return
    for key, wanted in cilium.config(values).items():
        found = current.get(key)
        if key == "tunnel-protocol" and "native" in (
            current.get("routing-mode"),
            cilium.config(values)["routing-mode"],
        ):
            continue
        if found is not None and str(found) != wanted:
            message = f"{key} of the running Cilium is {found}, the plan says {wanted}"
            yield _object("ZT604", f"cilium-config {key}", message, found, wanted)


def _drop_together(intent: Intent, cluster: Cluster) -> t.Iterator[Finding]:
    current = part(cluster).get("config") or {}
    if not agents_run(cluster):
        return
    encrypts = str(current.get("enable-wireguard")).lower() == "true"
    drops = {
        "egress": str(current.get("enable-encryption-strict-mode-egress")).lower() == "true",
        "ingress": str(current.get("enable-encryption-strict-mode-ingress")).lower() == "true",
    }
    wanted = {"egress": bool(intent.drop_unencrypted.egress), "ingress": bool(intent.drop_unencrypted.ingress)}
    changes = sorted(name for name in drops if drops[name] != wanted[name])
    if encrypts != (intent.transport_encryption == "wireguard") and changes:
        yield Finding(
            "ZT605",
            Subject("cluster", "encryption"),
            f"zerotrust_transport_encryption and zerotrust_drop_unencrypted ({', '.join(changes)}) would both change",
            observed={"wireguard": encrypts, "drop": drops},
            expected={"wireguard": intent.transport_encryption == "wireguard", "drop": wanted},
            source="cluster_info",
        )


def _version(intent: Intent, cluster: Cluster) -> t.Iterator[Finding]:
    running = running_version(cluster)
    if running is None:
        return
    have, want = versions.minor(running), versions.minor(intent.cilium.version)
    if have[0] == want[0] and have[1] <= want[1] <= have[1] + 1:
        return
    yield Finding(
        "ZT621",
        Subject("variable", "cilium_version"),
        f"Cilium {running} runs, cilium_version is {intent.cilium.version}",
        observed=running,
        expected=f"{have[0]}.{have[1]} or {have[0]}.{have[1] + 1}",
        source="cluster_info",
    )


def running_version(cluster: Cluster) -> str | None:
    """Version of the Cilium that runs: the release's, else the image's tag; None where neither says one."""
    release = cluster.get("release") or {}
    image = str((part(cluster).get("daemonset") or {}).get("image") or "")
    tag = image.split("@")[0].rpartition(":")[2] if ":" in image.rpartition("/")[2] else ""
    for text in (release.get("app_version"), release.get("chart_version"), tag):
        if text and versions.parse_version(str(text)) != (0, 0, 0):
            return str(text).lstrip("v")
    return None


def lease_alive(cluster: Cluster, now: float) -> bool:
    """Whether another run holds the cluster's Lease; one that names no holder or was not renewed in time is free."""
    lease = cluster.get("lease") or {}
    if not lease.get("holder"):
        return False
    return float(lease.get("renewed_epoch") or 0) + float(lease.get("duration_seconds") or 0) > now


def _lease(cluster: Cluster, now: float) -> t.Iterator[Finding]:
    if lease_alive(cluster, now):
        holder = (cluster.get("lease") or {})["holder"]
        yield _object("ZT623", "Lease of the run", f"the run {holder} is changing this cluster", holder, None)


def _release(intent: Intent, cluster: Cluster, now: float) -> t.Iterator[Finding]:
    release = cluster.get("release")
    if release is None or lease_alive(cluster, now):
        return
    status = release.get("status")
    subject = f"release {intent.cilium.namespace}/{intent.cilium.release}"
    age = now - float(release.get("updated_epoch") or 0)
    if status in _IN_PROGRESS and age < intent.cilium.timeout_seconds:
        message = f"{subject} is {status} since {age:.0f} s; it is recovered after {intent.cilium.timeout_seconds} s"
        yield _object("ZT618", subject, message, status, "deployed")
    elif status == "uninstalling":
        message = f"{subject} is {status}; finish that by hand (helm uninstall) first"
        yield _object("ZT618", subject, message, status, "deployed")


@dataclasses.dataclass(frozen=True)
class Action:
    """What is to be done with the release: none, install, upgrade or recover, why, and whether consent is missing."""

    name: str
    reasons: tuple[str, ...] = ()
    left: bool = False


def decide(intent: Intent, cluster: Cluster, values: t.Mapping[str, t.Any]) -> Action:
    """The action for an effective intent with cni cilium and no blocker. What restarts agents needs agent_restart."""
    release = cluster.get("release")
    if release is None:
        return Action("install", ("Cilium is not installed",))
    status = str(release.get("status"))
    reasons = [] if status == "deployed" else [f"the release is {status}"]
    reasons += changes(intent, cluster, values)
    if not reasons:
        return Action("none")
    if agents_run(cluster) and not intent.allows("agent_restart"):
        return Action("none", tuple(reasons), left=True)
    # The Helm module compares chart and values only: what differs beside them needs the record put aside first.
    beside = status != "deployed" or bool(drift(cluster))
    return Action("recover" if beside else "upgrade", tuple(reasons))


def changes(intent: Intent, cluster: Cluster, values: t.Mapping[str, t.Any]) -> list[str]:
    """Why a release is not what the plan says, in words; empty where it is, in values and in effect."""
    release = cluster.get("release") or {}
    reasons = []
    if versions.parse_version(str(release.get("chart_version"))) != versions.parse_version(intent.cilium.version):
        reasons.append(f"chart {release.get('chart_version')} -> {intent.cilium.version}")
    if canonical(release.get("values") or {}) != canonical(values):
        reasons.append("the release's values differ from the plan's")
    return reasons + drift(cluster)


def drift(cluster: Cluster) -> list[str]:
    """What another hand changed behind the release, in words. Agents that still roll out are no drift."""
    reasons = []
    intended, effective = (cluster.get("release") or {}).get("config"), part(cluster).get("config")
    if intended is not None and intended != effective:
        keys = sorted(set(intended) | set(effective or {}))
        changed = [key for key in keys if intended.get(key) != (effective or {}).get(key)]
        reasons.append(f"cilium-config was changed behind the release: {', '.join(changed[:5])}")
    if part(cluster).get("daemonset") is None:
        reasons.append("the DaemonSet is missing")
    return reasons


def _object(code: str, name: str, message: str, observed: t.Any, expected: t.Any) -> Finding:
    subject = Subject("object", name)
    return Finding(code, subject, message, observed=observed, expected=expected, source="cluster_info")
