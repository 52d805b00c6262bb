# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the cluster as a whole: is it the right one, may we read and write it, do ranges fit, can Helm run."""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.model import Intent
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.reader import share_addresses
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import versions

_READS = ("get", "list", "watch")


def label(cluster: t.Mapping[str, t.Any]) -> str:
    """The cluster in words, for messages."""
    return f"{cluster.get('server')} (UID {cluster.get('uid')})"


def check_identity(intent: Intent, cluster: t.Mapping[str, t.Any]) -> list[Finding]:
    """ZT907 where zerotrust_cluster_uid pins another cluster."""
    uid = str(cluster.get("uid") or "").lower()
    if not intent.cluster_uid or intent.cluster_uid == uid:
        return []
    subject = Subject("variable", "zerotrust_cluster_uid")
    message = f"zerotrust_cluster_uid is {intent.cluster_uid}, the kubeconfig leads to {label(cluster)}"
    return [Finding("ZT907", subject, message, observed=uid, expected=intent.cluster_uid, source="cluster_info")]


def check_access(cluster: t.Mapping[str, t.Any], mode: str) -> list[Finding]:
    """ZT911 for denied permissions that this mode needs, in one finding; ZT918 for each part that was not readable."""
    denied = [
        entry
        for entry in (cluster.get("permissions") or {}).get("denied") or []
        if mode == "site" or entry["verb"] in _READS
    ]
    findings = []
    if denied:
        listed = [
            " ".join(filter(None, (entry["verb"], entry["resource"], entry.get("namespace")))) for entry in denied
        ]
        message = f"the kubeconfig's user may not: {', '.join(listed)}"
        findings.append(Finding("ZT911", Subject("cluster", "RBAC"), message, observed=listed, source="cluster_info"))
    for error in [*(cluster.get("read_errors") or []), *((cluster.get("mesh") or {}).get("read_errors") or [])]:
        if denied and "orbidden" in str(error["error"]):
            continue  # the missing permission is the root, and is named above
        message = f"{error['what']} could not be read: {error['error']}"
        subject = Subject("cluster", str(error["what"]))
        findings.append(Finding("ZT918", subject, message, observed=error["error"], source="cluster_info"))
    return findings


def check_ranges(intent: Intent, cluster: t.Mapping[str, t.Any]) -> list[Finding]:
    """ZT915 where Nodes have pod ranges outside of zerotrust_pod_cidrs; ZT904 where cluster ranges share addresses.

    Only with ipam mode kubernetes do pods get their addresses from the Nodes' ranges.
    """
    nodes = cluster.get("nodes") or []
    findings = []
    if intent.pod_cidrs and intent.cilium.ipam_mode == "kubernetes":
        outside = {
            node["name"]: cidr
            for node in nodes
            for cidr in node.get("pod_cidrs") or []
            if not any(_within(cidr, pod) for pod in intent.pod_cidrs)
        }
        if outside:
            name, cidr = sorted(outside.items())[0]
            more = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
            message = f"Node {name} has pod CIDR {cidr}{more}, zerotrust_pod_cidrs is {', '.join(intent.pod_cidrs)}"
            subject = Subject("variable", "zerotrust_pod_cidrs")
            expected = list(intent.pod_cidrs)
            found = sorted(outside.values())
            findings.append(
                Finding("ZT915", subject, message, observed=found, expected=expected, source="cluster_info")
            )
    ranges = {"zerotrust_pod_cidrs": intent.pod_cidrs or (), "zerotrust_service_cidrs": intent.service_cidrs or ()}
    for variable, cidrs in ranges.items():
        inside = sorted(
            f"{node['name']} {ip}"
            for node in nodes
            for ip in node.get("internal_ips") or []
            if any(ipaddress.ip_address(ip) in ipaddress.ip_network(cidr) for cidr in cidrs)
        )
        if inside:
            message = f"the InternalIP of {inside[0]} lies in {variable} {', '.join(cidrs)}"
            subject = Subject("variable", f"{variable} and InternalIPs")
            findings.append(Finding("ZT904", subject, message, observed=inside, source="cluster_info"))
    for pod in intent.pod_cidrs or ():
        for service in cluster.get("service_cidrs") or []:
            if share_addresses(ipaddress.ip_network(pod), ipaddress.ip_network(service)):
                message = f"{pod} of zerotrust_pod_cidrs and the cluster's Service CIDR {service} share addresses"
                subject = Subject("variable", "zerotrust_pod_cidrs and the cluster's Service CIDRs")
                findings.append(Finding("ZT904", subject, message, observed=[pod, service], source="cluster_info"))
    return findings


def check_families(intent: Intent, cluster: t.Mapping[str, t.Any]) -> list[Finding]:
    """ZT627 where Nodes have IPv6 pod CIDRs that the intent does not name: then pods get IPv4 addresses only."""
    ranges = sorted(cidr for node in cluster.get("nodes") or [] for cidr in node.get("pod_cidrs") or [] if ":" in cidr)
    if not ranges or intent.cilium.ipam_mode != "kubernetes" or any(":" in cidr for cidr in intent.pod_cidrs or ()):
        return []
    message = (
        f"Nodes have IPv6 pod CIDRs ({ranges[0]}, ...) and zerotrust_pod_cidrs names none: Cilium gives pods IPv4 only"
    )
    subject = Subject("variable", "zerotrust_pod_cidrs")
    return [Finding("ZT627", subject, message, observed=ranges[:4], source="cluster_info")]


def check_networks(intent: Intent, networks: t.Sequence[str]) -> list[Finding]:
    """ZT626 where native routing crosses a router, which then has to know every Node's pod CIDR."""
    if intent.routing != "native" or len(networks) < 2:
        return []
    listed = ", ".join(networks[:4]) + (", ..." if len(networks) > 4 else "")
    message = f"zerotrust_routing is native and the Nodes are in {len(networks)} networks ({listed})"
    subject = Subject("variable", "zerotrust_routing")
    return [Finding("ZT626", subject, message, observed=list(networks), source="node_info")]


def check_tools(
    intent: Intent, helm: t.Mapping[str, t.Any] | None, chart: t.Mapping[str, t.Any] | None
) -> list[Finding]:
    """ZT916 and ZT917 for helm and chart as the API host sees them; None means that they were not asked for."""
    findings = []
    if helm is not None and helm.get("error"):
        message = f"cilium_helm_binary {intent.cilium.helm_binary} cannot be used: {helm['error']}"
        findings.append(_tool("ZT916", "cilium_helm_binary", message, helm["error"]))
    elif helm is not None and versions.parse_version(str(helm.get("version")))[0] != 3:
        message = f"cilium_helm_binary {intent.cilium.helm_binary} is Helm {helm.get('version')}, Helm 3 is needed"
        findings.append(_tool("ZT916", "cilium_helm_binary", message, helm.get("version")))
    if chart is not None and chart.get("error"):
        if not findings:  # without helm no chart can be read: one error is enough
            findings.append(_tool("ZT917", "cilium_chart_ref", str(chart["error"]), intent.cilium.chart_ref))
    elif chart is not None:
        found = versions.parse_version(str(chart.get("version")))
        if found != versions.parse_version(intent.cilium.version):
            subject = Subject("variable", "cilium_version")
            message = (
                f"cilium_version is {intent.cilium.version}, the chart {intent.cilium.chart_ref} is {chart['version']}"
            )
            remedy = f"Set cilium_version to {chart['version']}, or cilium_chart_ref to the chart of that version."
            findings.append(
                Finding("ZT901", subject, message, observed=chart["version"], remedy=remedy, source="chart")
            )
    return findings


def _tool(code: str, variable: str, message: str, observed: t.Any) -> Finding:
    return Finding(code, Subject("variable", variable), message, observed=observed, source="cluster_info")


def _within(inner: str, outer: str) -> bool:
    network, around = ipaddress.ip_network(inner), ipaddress.ip_network(outer)
    if isinstance(network, ipaddress.IPv4Network) and isinstance(around, ipaddress.IPv4Network):
        return network.subnet_of(around)
    if isinstance(network, ipaddress.IPv6Network) and isinstance(around, ipaddress.IPv6Network):
        return network.subnet_of(around)
    return False
