# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cluster_info and its client against a real API server: content, paging, rights, and one clear error each."""

from __future__ import annotations

import pathlib
import subprocess
import time
import typing as t

import pytest
import yaml

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster import permissions
from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import ApiError, concurrently, connect
from ansible_collections.aicluster.zerotrust.plugins.modules import cluster_info

Call = t.Callable[..., t.Any]
READ_ROLES = [
    ("ClusterRole", "aicluster-zerotrust-read", None),
    ("Role", "aicluster-zerotrust-read", "kube-system"),
]


def test_reads_what_is_there(cluster: t.Any, module: Call) -> None:
    result = module(cluster_info.main, kubeconfig=cluster.kubeconfig, need="apply")
    assert not result.failed, result.data
    found = result.data["cluster"]
    namespace = cluster.client.get("/api/v1/namespaces/kube-system")
    assert found["uid"] == namespace["metadata"]["uid"]
    assert found["server_version"] == "v1.36.4"
    assert found["read_errors"] == []
    assert found["permissions"]["denied"] == []
    assert found["service_cidrs"] == ["10.0.0.0/24"]
    assert "ciliumnetworkpolicies.cilium.io" in found["cilium"]["crds"]
    assert found["kube_proxy"] == {"present": False, "object": None}
    assert result.data["changed"] is False


def test_pages_through_600_cilium_nodes(cluster: t.Any, module: Call) -> None:
    path = "/apis/cilium.io/v2/ciliumnodes"

    def add(number: int) -> None:
        address = f"10.9.{number // 250}.{number % 250 + 1}"
        body = {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumNode",
            "metadata": {"name": f"n{number:03d}", "annotations": {"network.cilium.io/wg-pub-key": f"key{number}"}},
            "spec": {
                "addresses": [{"ip": address, "type": "InternalIP"}, {"ip": "10.244.0.9", "type": "CiliumInternalIP"}],
                "ipam": {"podCIDRs": [f"10.{100 + number // 250}.{number % 250}.0/24"]},
                "encryption": {"key": 255},
            },
        }
        cluster.client.request("POST", path, body=body)

    try:
        concurrently(add, range(600))
        pages = [len(page) for page in cluster.client.pages(path)]
        assert pages == [500, 100]
        began = time.monotonic()
        nodes = module(cluster_info.main, kubeconfig=cluster.kubeconfig).data["cluster"]["cilium"]["nodes"]
        assert time.monotonic() - began < 40
        assert [entry["name"] for entry in nodes] == [f"n{number:03d}" for number in range(600)]
        assert nodes[501] == {
            "name": "n501",
            "internal_ips": ["10.9.2.2"],
            "cilium_ips": ["10.244.0.9"],
            "pod_cidrs": ["10.102.1.0/24"],
            "wg_pub_key": "key501",
            "encryption_key": 255,
            "stand_in": False,
        }
    finally:
        cluster.client.request("DELETE", path)


def test_other_owners_of_the_network_are_named(cluster: t.Any, module: Call) -> None:
    path = "/apis/apps/v1/namespaces/default/daemonsets"
    body = {
        "metadata": {"name": "kube-flannel-ds", "labels": {"argocd.argoproj.io/instance": "net"}},
        "spec": {
            "selector": {"matchLabels": {"app": "flannel"}},
            "template": {
                "metadata": {"labels": {"app": "flannel"}},
                "spec": {"containers": [{"name": "f", "image": "ghcr.io/flannel-io/flannel:v0.28.0"}]},
            },
        },
    }
    cluster.client.request("POST", path, body=body)
    try:
        owners = module(cluster_info.main, kubeconfig=cluster.kubeconfig).data["cluster"]["cni_owners"]
    finally:
        cluster.client.request("DELETE", f"{path}/kube-flannel-ds")
    assert owners == [
        {
            "name": "flannel",
            "object": "DaemonSet default/kube-flannel-ds",
            "managed_by": {"tool": "argocd", "release": "net", "namespace": None},
        }
    ]


def test_gpu_pods_are_counted_per_node(cluster: t.Any, module: Call) -> None:
    client = cluster.client
    client.request("POST", "/api/v1/nodes", body={"metadata": {"name": "gpu-a"}})
    client.request("POST", "/api/v1/nodes", body={"metadata": {"name": "gpu-b"}})
    try:
        status = {"status": {"allocatable": {"nvidia.com/gpu": "8", "cpu": "4"}, "capacity": {"nvidia.com/gpu": "8"}}}
        client.request("PATCH", "/api/v1/nodes/gpu-a/status", body=status, content_type="application/merge-patch+json")
        limits = {"limits": {"nvidia.com/gpu": "4"}}
        for name, resources in (("train", limits), ("plain", {})):
            spec = {"nodeName": "gpu-a", "containers": [{"name": "c", "image": "i", "resources": resources}]}
            body = {"metadata": {"name": name}, "spec": spec}
            client.request("POST", "/api/v1/namespaces/ai-workloads/pods", body=body)
        found = module(cluster_info.main, kubeconfig=cluster.kubeconfig).data["cluster"]["nodes"]
        assert {entry["name"]: entry["gpu_pods"] for entry in found} == {"gpu-a": 1, "gpu-b": 0}
        assert {entry["name"] for entry in found if entry["ready"]} <= {"gpu-a", "gpu-b"}
    finally:
        now = {"gracePeriodSeconds": 0}
        client.request("DELETE", "/api/v1/namespaces/ai-workloads/pods", body=now)
        client.request("DELETE", "/api/v1/nodes")


def test_read_role_reads_everything(cluster: t.Any, module: Call, account: Call, roles: None) -> None:
    result = module(cluster_info.main, kubeconfig=account("reader", READ_ROLES), need="read")
    assert not result.failed, result.data
    assert result.data["cluster"]["read_errors"] == []
    assert result.data["cluster"]["permissions"]["denied"] == []


def test_read_role_is_told_what_apply_needs(module: Call, account: Call, roles: None) -> None:
    found = module(cluster_info.main, kubeconfig=account("reader", READ_ROLES), need="apply").data["cluster"]
    denied = {(entry["verb"], entry["resource"]) for entry in found["permissions"]["denied"]}
    extra = set(permissions.needs("apply", "kube-system")) - set(permissions.needs("read", "kube-system"))
    # Its role may list Istio's policies, whichever engine there is; only an apply needs that with Cilium.
    extra = {need for need in extra if need.verb != "list"}
    assert denied == {(need.verb, f"{need.resource}.{need.group}" if need.group else need.resource) for need in extra}


def test_apply_role_may_all_that_is_asked(module: Call, account: Call, roles: None) -> None:
    every = [*READ_ROLES, ("ClusterRole", "aicluster-zerotrust-apply", None)]
    found = module(cluster_info.main, kubeconfig=account("writer", every), need="apply").data["cluster"]
    assert found["permissions"]["denied"] == []
    assert found["read_errors"] == []


def test_nobody_gets_read_errors_and_nulls_not_an_exception(module: Call, account: Call) -> None:
    result = module(cluster_info.main, kubeconfig=account("nobody", []))
    assert not result.failed
    found = result.data["cluster"]
    failed = {entry["what"] for entry in found["read_errors"]}
    assert {"nodes", "daemonsets", "uid", "crds", "helm release", "lease"} <= failed
    assert found["uid"] is None
    assert found["nodes"] == []
    assert found["kube_proxy"]["present"] is None, "unknown is not absent"
    assert all("403" in entry["error"] and "docs/rbac" in entry["error"] for entry in found["read_errors"])


def one_error(result: t.Any, *words: str) -> None:
    assert result.failed
    assert result.data["msg"].startswith("ZT906: ")
    assert "\n" not in result.data["msg"]
    for word in words:
        assert word in result.data["msg"]


def changed_kubeconfig(cluster: t.Any, target: pathlib.Path, change: t.Callable[[dict[str, t.Any]], None]) -> str:
    content = yaml.safe_load(pathlib.Path(cluster.kubeconfig).read_text(encoding="utf-8"))
    change(content)
    target.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(target)


def test_unreachable_api_is_one_error(cluster: t.Any, module: Call, tmp_path: pathlib.Path) -> None:
    def change(content: dict[str, t.Any]) -> None:
        for entry in content["clusters"]:
            entry["cluster"]["server"] = "https://127.0.0.1:1"

    path = changed_kubeconfig(cluster, tmp_path / "k", change)
    result = module(cluster_info.main, kubeconfig=path)
    one_error(result, path, "current context", "https://127.0.0.1:1", "refused")


def test_unknown_context_is_one_error(cluster: t.Any, module: Call) -> None:
    result = module(cluster_info.main, kubeconfig=cluster.kubeconfig, context="nowhere")
    one_error(result, cluster.kubeconfig, "nowhere", "zerotrust_context")


def test_missing_and_broken_kubeconfigs_are_one_error(module: Call, tmp_path: pathlib.Path) -> None:
    one_error(module(cluster_info.main, kubeconfig=str(tmp_path / "none")), str(tmp_path / "none"), "does not exist")
    broken = ("[1, 2", "- a\n- b\n", "", "clusters: 5\n", "contexts: [{name: x}]\ncurrent-context: x\n")
    for number, text in enumerate(broken):
        path = tmp_path / f"broken{number}"
        path.write_text(text, encoding="utf-8")
        one_error(module(cluster_info.main, kubeconfig=str(path)), str(path))


def test_another_clusters_ca_is_one_error(cluster: t.Any, module: Call, tmp_path: pathlib.Path) -> None:
    ca = tmp_path / "ca.crt"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=other"),
            *("-keyout", str(tmp_path / "ca.key"), "-out", str(ca)),
        ],
        check=True,
        capture_output=True,
    )

    def change(content: dict[str, t.Any]) -> None:
        for entry in content["clusters"]:
            entry["cluster"].pop("insecure-skip-tls-verify", None)
            entry["cluster"].pop("certificate-authority-data", None)
            entry["cluster"]["certificate-authority"] = str(ca)

    path = changed_kubeconfig(cluster, tmp_path / "k", change)
    one_error(module(cluster_info.main, kubeconfig=path), path, "certificate", "belongs to this cluster")


def test_credentials_that_are_not_accepted_are_one_error(module: Call, account: Call, tmp_path: pathlib.Path) -> None:
    path = account("short", [])
    content = yaml.safe_load(pathlib.Path(path).read_text(encoding="utf-8"))
    content["users"][0]["user"]["token"] = "not-a-token"
    pathlib.Path(path).write_text(yaml.safe_dump(content), encoding="utf-8")
    one_error(module(cluster_info.main, kubeconfig=path), path, "401", "not accepted")


def test_environment_gives_kubeconfig_and_context(cluster: t.Any, monkeypatch: t.Any) -> None:
    monkeypatch.setenv("K8S_AUTH_KUBECONFIG", cluster.kubeconfig)
    assert connect().server == cluster.client.server
    monkeypatch.setenv("K8S_AUTH_CONTEXT", "nowhere")
    with pytest.raises(ApiError, match="nowhere"):
        connect()
