# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builders for hosts, Nodes and clusters in the shapes of node_info and cluster_info; all healthy unless told."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.mappings import get, merge
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.model import HostIntent, Intent, parse
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import cilium, kernel
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan.hosts import HostState
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan.run import Inputs, Plan, build_plan

UID = "0f3ad4ba-7c1e-4c39-9f6a-000000000001"
NOW = 1_790_000_000.0  # 2026-09-21
OPTIONS = (*kernel.REQUIRED, *kernel.TUNNEL, *kernel.OPTIONAL, "CONFIG_NETKIT")
BASE: dict[str, t.Any] = {
    "zerotrust_cluster_uid": UID,
    "zerotrust_cni": "cilium",
    "zerotrust_transport_encryption": "wireguard",
    "zerotrust_routing": "vxlan",
    "zerotrust_pod_cidrs": ["10.244.0.0/16"],
    "zerotrust_service_cidrs": ["10.96.0.0/12"],
}


def intent(extra: t.Mapping[str, t.Any] | None = None, **variables: t.Any) -> Intent:
    """A valid intent: BASE and the variables given; extra are the run's extra variables."""
    merged = {**BASE, **variables, **(extra or {})}
    result, findings = parse({k: v for k, v in merged.items() if v is not None}, extra_vars=extra or {})
    assert findings == [], [finding.line() for finding in findings]
    return result


def facts(number: int = 1, **changes: t.Any) -> dict[str, t.Any]:
    """node_info of host number n: node0 with 10.0.0.n and MTU 1500, kernel 6.1 with all options."""
    base: dict[str, t.Any] = {
        "schema": 1,
        "hostname": f"gpu{number}",
        "machine_id": f"{number:032x}",
        "os": {"id": "debian", "version_id": "12", "pretty_name": "Debian 12", "id_like": []},
        "kernel": {
            "release": "6.1.0-28-amd64",
            "arch": "x86_64",
            "config": {"source": "/boot/config-6.1.0-28-amd64", "options": dict.fromkeys(OPTIONS, "y")},
            "btf": True,
            "fips": False,
            "wireguard": "available",
        },
        "modules": [],
        "cgroup": {"version": "v2"},
        "clock": {"epoch": NOW - 1, "synchronised": True},
        "python": "3.11.2",
        "systemd": "252",
        "interfaces": [nic("lo", [], kind="loopback", mtu=65536), nic("node0", [f"10.0.0.{number}/24"])],
        "rdma": [],
        "busy": {"gpu_processes": 0, "verbs_users": 0, "slurm_steps": 0},
    }
    return merge(base, changes)


def nic(name: str, addresses: list[str], **changes: t.Any) -> dict[str, t.Any]:
    base = {"name": name, "mtu": 1500, "min_mtu": 68, "max_mtu": 9216, "kind": "physical", "driver": "virtio_net"}
    return {**base, "is_vf": False, "rdma": [], "addresses": addresses, **changes}


def host(number: int = 1, name: str | None = None, **changes: t.Any) -> HostState:
    """A host of the run with facts(number); intent_* keys go to its HostIntent, the rest to HostState."""
    own = {key[7:]: changes.pop(key) for key in list(changes) if key.startswith("intent_")}
    name = name or f"gpu{number}"
    node = changes.pop("node", facts(number))
    return HostState(name, HostIntent(name, **{"interfaces": ("node0",), **own}), node=node, **changes)


def node(number: int = 1, **changes: t.Any) -> dict[str, t.Any]:
    base = {
        "name": f"gpu{number}",
        "internal_ips": [f"10.0.0.{number}"],
        "hostname": f"gpu{number}",
        "machine_id": f"{number:032x}",
        "ready": True,
        "unschedulable": False,
        "pod_cidrs": [f"10.244.{number}.0/24"],
        "control_plane": False,
        "gpu_pods": 0,
    }
    return {**base, **changes}


def cluster(count: int = 2, **changes: t.Any) -> dict[str, t.Any]:
    """An empty cluster of count nodes with kube-proxy and no CNI."""
    base: dict[str, t.Any] = {
        "schema": 1,
        "uid": UID,
        "server": "https://10.0.0.250:6443",
        "server_version": "v1.36.4",
        "read_errors": [],
        "nodes": [node(number) for number in range(1, count + 1)],
        "cilium": {"crds": [], "config": None, "daemonset": None, "nodes": None, "endpoints": None},
        "release": None,
        "cni_owners": [],
        "kube_proxy": {"present": True, "object": "DaemonSet kube-system/kube-proxy"},
        "service_cidrs": ["10.96.0.0/12"],
        "lease": None,
        "permissions": {"denied": []},
    }
    return {**base, **changes}


def installed(
    values: t.Mapping[str, t.Any], config: t.Mapping[str, str] | None = None, **release: t.Any
) -> dict[str, t.Any]:
    """A cluster where our release of these values runs; config overrides keys of the effective cilium-config."""
    data = {
        **cilium.config(values),
        "enable-wireguard": str(bool(get(values, "encryption.enabled"))).lower(),
        "kube-proxy-replacement": "false",
    }
    return cluster(
        cilium={
            "crds": ["ciliumnodes.cilium.io"],
            "config": {**data, **(config or {})},
            "daemonset": {
                "namespace": "kube-system",
                "name": "cilium",
                "image": "quay.io/cilium/cilium:v1.20.2@sha256:0",
                "managed_by": {"tool": "helm", "release": "cilium", "namespace": "kube-system"},
                "desired": 2,
                "updated": 2,
                "ready": 2,
                "current": True,
            },
            "nodes": [],
            "endpoints": None,
        },
        release={
            "status": "deployed",
            "revision": 1,
            "chart_version": "1.20.2",
            "app_version": "1.20.2",
            "values": copy.deepcopy(dict(values)),
            "updated_epoch": NOW - 86400,
            "config": data,
            "secret": "sh.helm.release.v1.cilium.v1",
            **release,
        },
        cni_owners=[{"name": "cilium", "object": "DaemonSet kube-system/cilium", "managed_by": {}}],
    )


def plan(
    wanted: Intent | None = None,
    *,
    mode: str = "site",
    hosts: t.Sequence[HostState] | None = None,
    found: t.Mapping[str, t.Any] | None = None,
    **changes: t.Any,
) -> Plan:
    """build_plan with everything healthy unless told."""
    given: dict[str, t.Any] = {
        "intent": wanted or intent(),
        "mode": mode,
        "limited": False,
        "hosts": hosts if hosts is not None else [host(1), host(2)],
        "cluster": found if found is not None else cluster(),
        "chart": None,
        "helm": {"version": "v3.21.4", "error": None},
        "policies": [],
        "findings": [],
        "started": NOW - 3,
        "now": NOW,
        "versions": {},
        **changes,
    }
    return build_plan(Inputs(**given))


def codes(findings: t.Iterable[Finding]) -> list[str]:
    return sorted(finding.code for finding in findings)
