# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster room without a cluster: reducers, Helm records, recovery plan, Lease, prune rules, chart."""

from __future__ import annotations

import copy
import pathlib
import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster import (
    apply,
    chart,
    helm,
    lease,
    read,
    recover,
)
from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import ApiError, Client, concurrently

# Reducers ----------------------------------------------------------------------------------------------------------


def daemonset(name: str, image: str, container: str = "c", namespace: str = "kube-system", **meta: t.Any) -> t.Any:
    containers = [{"name": container, "image": image}]
    return {
        "metadata": {"name": name, "namespace": namespace, "generation": 2, **meta},
        "spec": {"template": {"spec": {"containers": containers}}},
        "status": {
            "desiredNumberScheduled": 3,
            "updatedNumberScheduled": 3,
            "numberReady": 2,
            "observedGeneration": 2,
        },
    }


@pytest.mark.parametrize(
    ("name", "image", "container", "cni"),
    [
        ("kube-flannel-ds", "ghcr.io/flannel-io/flannel:v0.28", "c", "flannel"),
        ("odd", "docker.io/flannel/flannel:v0.28@sha256:aa", "c", "flannel"),
        ("calico-node", "docker.io/calico/node:v3.31", "c", "calico"),
        ("rke2-canal", "rancher/hardened-calico:v3", "c", "canal"),
        ("canal", "docker.io/calico/node:v3.31", "c", "canal"),
        ("weave-net", "weaveworks/weave-kube:2.8", "c", "weave"),
        ("antrea-agent", "antrea/antrea-agent-ubuntu:v2", "c", "antrea"),
        ("kube-router", "cloudnativelabs/kube-router", "c", "kube-router"),
        ("ovnkube-node", "ghcr.io/ovn-kubernetes/ovn-kube-fedora:master", "c", "ovn"),
        ("kube-ovn-cni", "kubeovn/kube-ovn:v1", "c", "ovn"),
        ("kube-multus-ds", "ghcr.io/k8snetworkplumbingwg/multus-cni:v4", "c", "multus"),
        ("cilium", "quay.io/cilium/cilium:v1.20.2", "cilium-agent", "cilium"),
        ("net", "registry:5000/mirror/cilium/cilium:v1.20.2", "cilium-agent", "cilium"),
        ("cilium-envoy", "quay.io/cilium/cilium-envoy:v1", "cilium-envoy", None),
        ("cilium-node-init", "quay.io/cilium/cilium:v1", "init", None),
        ("nvidia-device-plugin", "nvcr.io/nvidia/k8s-device-plugin:v0.18", "c", None),
        ("kube-proxy", "registry.k8s.io/kube-proxy:v1.36", "c", None),
    ],
)
def test_which_cni_a_daemonset_is(name: str, image: str, container: str, cni: str | None) -> None:
    assert read.cni_name(daemonset(name, image, container)) == cni


HELM = {"meta.helm.sh/release-name": "cilium", "meta.helm.sh/release-namespace": "kube-system"}
CHART_LABELS = {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": "x"}


@pytest.mark.parametrize(
    ("annotations", "labels", "tool", "release"),
    [
        (HELM, CHART_LABELS, "helm", "cilium"),
        ({**HELM, "argocd.argoproj.io/tracking-id": "net:apps/DaemonSet:kube-system/cilium"}, {}, "argocd", "net"),
        ({}, {"app.kubernetes.io/instance": "net"}, "argocd", "net"),
        ({}, CHART_LABELS, "unknown", None),
        (HELM, {"helm.toolkit.fluxcd.io/name": "f", "helm.toolkit.fluxcd.io/namespace": "flux"}, "flux", "f"),
        ({}, {"kustomize.toolkit.fluxcd.io/name": "k"}, "flux", "k"),
        ({}, {}, "unknown", None),
    ],
)
def test_who_manages_an_object(annotations: t.Any, labels: t.Any, tool: str, release: str | None) -> None:
    found = read.managed_by({"metadata": {"annotations": annotations, "labels": labels}})
    assert (found["tool"], found["release"]) == (tool, release)


def test_cilium_is_an_owner_unless_it_is_our_release() -> None:
    ours = daemonset("cilium", "cilium/cilium", "cilium-agent", annotations=HELM)
    assert read.cni_owners([ours], "cilium", "kube-system") == []
    assert [found["name"] for found in read.cni_owners([ours], "mesh", "kube-system")] == ["cilium"]
    bare = daemonset("cilium", "cilium/cilium", "cilium-agent")
    assert read.cni_owners([bare], "cilium", "kube-system")[0]["managed_by"]["tool"] == "unknown"


def test_the_agents_daemonset_is_current_when_the_last_change_is_everywhere() -> None:
    obj = daemonset("cilium", "quay.io/cilium/cilium:v1.20.2", "cilium-agent", annotations=HELM)
    found = read.cilium_daemonset([daemonset("kube-proxy", "p"), obj])
    assert found is not None
    assert (found["desired"], found["ready"], found["current"]) == (3, 2, True)
    for change in ({"observedGeneration": 1}, {"updatedNumberScheduled": 2}):
        late = copy.deepcopy(obj)
        late["status"].update(change)
        found = read.cilium_daemonset([late])
        assert found is not None
        assert found["current"] is False
    assert read.cilium_daemonset([]) is None


def test_kube_proxy_as_daemonset_static_pod_or_not_visible() -> None:
    pod = {"metadata": {"name": "kube-proxy-n1", "namespace": "kube-system"}}
    k3s = [{"kubelet_version": "v1.36.4+k3s1"}]
    assert read.kube_proxy([daemonset("kube-proxy", "p")], [], [])["present"] is True
    assert read.kube_proxy([], [pod], [])["object"] == "Pod kube-system/kube-proxy-n1"
    assert read.kube_proxy([], [], k3s)["present"] is None
    assert read.kube_proxy([daemonset("other", "p")], [], [{"kubelet_version": None}])["present"] is False


def test_service_cidrs_from_api_then_kubeadm_then_nothing() -> None:
    kubeadm = {"data": {"ClusterConfiguration": "networking:\n  serviceSubnet: 10.96.0.0/12,fd00::/108\n"}}
    assert read.service_cidrs([{"spec": {"cidrs": ["10.0.0.0/24"]}}], kubeadm) == ["10.0.0.0/24"]
    assert read.service_cidrs(None, kubeadm) == ["10.96.0.0/12", "fd00::/108"]
    assert read.service_cidrs([], {"data": {"ClusterConfiguration": "a: b"}}) == []
    assert read.service_cidrs(None, None) == []


def test_a_node() -> None:
    obj = {
        "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"podCIDR": "10.1.0.0/24", "unschedulable": True},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "h"}],
            "conditions": [{"type": "Ready", "status": "Unknown"}],
            "nodeInfo": {"machineID": "m", "kubeletVersion": "v1"},
        },
    }
    found = read.node(obj)
    assert found["internal_ips"] == ["10.0.0.1"]
    assert found["pod_cidrs"] == ["10.1.0.0/24"]
    assert (found["hostname"], found["machine_id"], found["ready"]) == ("h", "m", False)
    assert (found["control_plane"], found["unschedulable"]) == (True, True)
    assert read.node({"metadata": {"name": "bare"}})["internal_ips"] == []


def pod(node: str | None, phase: str = "Running", **resources: t.Any) -> t.Any:
    spec: t.Any = {"containers": [{"resources": resources}]}
    return {"spec": {**spec, **({"nodeName": node} if node else {})}, "status": {"phase": phase}}


def test_gpu_pods_counts_what_holds_a_gpu() -> None:
    claim = pod("b")
    claim["spec"]["resourceClaims"] = [{"name": "gpu"}]
    pages = [
        [pod("a", limits={"nvidia.com/gpu": "1"}), pod("a", limits={"cpu": "1"})],
        [pod(None, limits={"nvidia.com/gpu": 1})],
        [pod("a", requests={"nvidia.com/mig-1g.5gb": 1}), pod("a", "Succeeded", limits={"nvidia.com/gpu": 1}), claim],
        [pod("c", limits={"nvidia.com/gpu": "0"})],
    ]
    assert read.gpu_pods(pages) == {"a": 2, "b": 1}


def test_endpoints_by_node() -> None:
    def endpoint(node: str, **ips: str) -> t.Any:
        return {"status": {"networking": {"node": node, "addressing": [ips]}}}

    pages = [[endpoint("10.0.0.2", ipv4="10.1.0.9", ipv6="fd00::9")], [endpoint("10.0.0.2", ipv4="10.1.0.1"), {}]]
    assert read.endpoints(pages) == [{"node_ip": "10.0.0.2", "ips": ["10.1.0.1", "10.1.0.9", "fd00::9"]}]


# Helm --------------------------------------------------------------------------------------------------------------

MANIFEST = """---
# Source: cilium/templates/a.yaml
apiVersion: v1
kind: ServiceAccount
metadata:
  name: cilium
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: cilium-config
data:
  enable-wireguard: "true"
---
kind: DaemonSet
spec: {configMap: {name: cilium-config}}
"""


def secret(revision: int, status: str, at: str = "2026-11-22T21:00:00.123456789Z") -> t.Any:
    record = {
        "name": "cilium",
        "version": revision,
        "info": {"status": status, "last_deployed": at},
        "chart": {"metadata": {"version": "1.20.2", "appVersion": "1.20.2"}},
        "config": {"a": 1},
        "manifest": MANIFEST,
    }
    return {
        "metadata": {
            "name": f"sh.helm.release.v1.cilium.v{revision}",
            "uid": f"uid-{revision:08d}",
            "resourceVersion": "5",
            "labels": {"owner": "helm", "name": "cilium", "status": status, "version": str(revision)},
        },
        "type": "helm.sh/release.v1",
        "data": {"release": helm.encode(record)},
    }


NOW = lease.epoch("2026-11-22T21:00:00.123456789Z")


def test_a_helm_record_is_read() -> None:
    found = helm.summary(secret(7, "deployed"))
    assert (found["status"], found["revision"]) == ("deployed", 7)
    assert (found["chart_version"], found["values"]) == ("1.20.2", {"a": 1})
    assert found["config"] == {"enable-wireguard": "true"}
    assert found["updated_epoch"] == pytest.approx(1795381200.123456)
    assert helm.manifest_config("kind: Secret") is None


@pytest.mark.parametrize("data", [None, {}, {"release": "%%%"}, {"release": "aGVsbG8="}, {"release": 5}])
def test_a_secret_without_a_release_is_an_error(data: t.Any) -> None:
    with pytest.raises(ValueError, match="no readable Helm release"):
        helm.decode({"metadata": {"name": "x"}, "data": data})


def steps(*statuses: str, at: float = NOW + 601) -> list[tuple[int, str]]:
    secrets = [secret(number, status) for number, status in enumerate(statuses, 1)]
    return [(step.revision, step.what) for step in recover.plan(secrets[::-1], "cilium", 600, at)]


def test_what_is_recovered() -> None:
    assert steps() == []
    assert steps("deployed") == []
    assert steps("superseded", "deployed") == []
    assert steps("uninstalled") == []
    assert steps("failed") == [(1, "remove")]
    assert steps("pending-install") == [(1, "remove")]
    assert steps("superseded", "deployed", "failed", "pending-upgrade") == [
        (4, "remove"),
        (3, "remove"),
        (2, "supersede"),
    ]
    assert steps("superseded", "pending-rollback") == [(2, "remove")]


def test_what_is_not_recovered_yet() -> None:
    with pytest.raises(recover.RecoverError, match=r"^ZT618: .* began 30 s ago .* wait 571 s"):
        steps("pending-upgrade", at=NOW + 30)
    with pytest.raises(recover.RecoverError, match="being uninstalled"):
        steps("uninstalling")
    broken = secret(1, "failed")
    broken["data"] = {"release": "x"}
    with pytest.raises(recover.RecoverError, match="ZT618"):
        recover.plan([broken], "cilium", 600, NOW)


def test_superseded_changes_label_and_record_and_keeps_the_version() -> None:
    step = recover.plan([secret(1, "deployed"), secret(2, "failed")], "cilium", 600, NOW)[1]
    changed = recover.superseded(step)
    assert changed["metadata"]["labels"]["status"] == "superseded"
    assert helm.decode(changed)["info"]["status"] == "superseded"
    assert changed["metadata"]["resourceVersion"] == "5", "a Helm at work must make the update fail"
    assert helm.decode(step.secret)["info"]["status"] == "deployed", "the copy that is kept must not change"


# Lease -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-22T21:00:00Z", 1795381200.0),
        ("2026-11-22T21:00:00.5Z", 1795381200.5),
        ("2026-11-22T22:00:00.123456789+01:00", 1795381200.123456),
        ("", 0.0),
        ("never", 0.0),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert lease.epoch(text) == pytest.approx(seconds)


def test_a_lease_lives_until_its_duration_has_passed() -> None:
    held = lease.Lease("run", 1000.0, 60)
    assert held.alive(1059.9)
    assert not held.alive(1060)
    assert not lease.Lease("", 1000.0, 60).alive(1001)
    assert lease.parse(None) is None
    assert lease.parse({"spec": {"holderIdentity": ""}}) is None


# Apply -------------------------------------------------------------------------------------------------------------


def key(name: str, namespace: str = "n") -> apply.Key:
    return ("CiliumNetworkPolicy", namespace, name)


@pytest.mark.parametrize(
    ("alive", "wanted", "refusals"),
    [
        (5, 5, 0),
        (5, 4, 0),
        (4, 3, 1),
        (10, 8, 0),
        (10, 7, 1),
        (3, 0, 2),
        (0, 3, 0),
        (0, 0, 0),
    ],
)
def test_prune_needs_consent_beyond_a_fifth(alive: int, wanted: int, refusals: int) -> None:
    ours: t.Any = {key(str(number)): {} for number in range(alive)}
    desired: t.Any = {key(str(number)): {} for number in range(wanted)}
    found = apply.prune_refusals(desired, ours, sorted(set(ours) - set(desired)))
    assert len(found) == refusals
    assert all(refusal.code == "ZT704" for refusal in found)


def test_an_empty_selector_and_an_absent_one_are_equal_but_an_empty_rule_is_not_no_rule() -> None:
    assert apply.covers({"endpointSelector": {}}, {"endpointSelector": {"matchLabels": {}}})
    assert apply.covers({}, {"endpointSelector": {"matchLabels": {}}})
    assert not apply.covers({"ingress": []}, {"ingress": [{}]})
    assert not apply.covers({"ingress": [{"a": 1}], "egress": []}, {"ingress": [{"a": 1}]})


def test_refusals_by_what_the_server_said() -> None:
    def code(status: int, details: str, reason: str = "") -> str:
        return apply.refusal(key("a"), ApiError("m", status, reason, details)).code

    assert code(409, "conflict with x") == "ZT706"
    assert code(403, 'x is forbidden: User "u" cannot patch', "Forbidden") == "ZT911"
    assert code(403, "admission webhook denied the request", "Forbidden") == "ZT705"
    assert code(422, "Invalid value") == "ZT705"
    assert code(404, 'namespaces "x" not found') == "ZT705"


def test_misfits_are_named() -> None:
    labels = {
        "app.kubernetes.io/managed-by": "aicluster.zerotrust",
        "aicluster.zerotrust/set": "s",
        "aicluster.zerotrust/cluster": "c",
    }
    good = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "a", "namespace": "n", "labels": labels},
        "spec": {},
    }
    assert apply.misfits([good], "s", "c") == []
    assert "twice" in apply.misfits([good, good], "s", "c")[0].message
    assert "labels" in apply.misfits([good], "s", "other")[0].message
    assert "v1 ConfigMap" in apply.misfits([{**good, "apiVersion": "v1", "kind": "ConfigMap"}], "s", "c")[0].message
    nowhere = {**good, "metadata": {"name": "a", "labels": labels}}
    assert "needs a namespace" in apply.misfits([nowhere], "s", "c")[0].message
    assert "no Kubernetes object" in apply.misfits([{}], "s", "c")[0].message


# Client and chart --------------------------------------------------------------------------------------------------


class Answer(t.NamedTuple):
    status: int
    data: bytes


def client(*answers: Answer) -> Client:
    class Pool:
        def __init__(self) -> None:
            self.left = list(answers)

        def request(self, *_args: t.Any, **_how: t.Any) -> Answer:
            return self.left.pop(0)

    return Client("https://api:6443/", "kubeconfig k, context c", Pool(), dict)


def test_what_is_no_api_server_is_told() -> None:
    for data in (b"<html>", b"[]"):
        with pytest.raises(ApiError, match="is this a Kubernetes API server"):
            client(Answer(200, data)).request("GET", "/version")


def test_an_answer_that_is_no_status_is_told_in_one_line() -> None:
    with pytest.raises(ApiError, match="answered 502: bad gateway") as raised:
        client(Answer(502, b"bad\n gateway")).request("GET", "/version")
    assert "\n" not in raised.value.message
    assert not raised.value.fatal


def test_pages_follow_the_token_and_an_expired_one_is_an_error() -> None:
    first = Answer(200, b'{"items":[{"a":1}],"metadata":{"continue":"t"}}')
    assert client(first, Answer(200, b'{"items":[{"a":2}]}')).list_all("/x") == [{"a": 1}, {"a": 2}]
    with pytest.raises(ApiError, match="410"):
        client(first, Answer(410, b'{"message":"expired"}')).list_all("/x")


def test_concurrent_results_keep_their_order() -> None:
    assert concurrently(lambda number: number * 2, range(50)) == [number * 2 for number in range(50)]
    assert concurrently(lambda number: number, []) == []


def test_a_chart_directory_is_read_without_helm(tmp_path: pathlib.Path) -> None:
    (tmp_path / "Chart.yaml").write_text("name: cilium\nversion: 1.20.2\n")
    (tmp_path / "values.yaml").write_text("a: 1\n")
    found = chart.read(str(tmp_path), None, None, "no-such-helm")
    assert found == {"version": "1.20.2", "values_yaml": "a: 1\n", "error": None}
    (tmp_path / "values.yaml").unlink()
    assert "values.yaml" in chart.read(str(tmp_path), None, None, "no-such-helm")["error"]


def test_any_other_chart_is_asked_of_helm_without_a_shell() -> None:
    asked = []

    def run(argv: list[str]) -> tuple[int, str, str]:
        asked.append(argv)
        return 0, "version: 1.2.3\n", ""

    assert chart.read("cilium; id", "https://r", "1.2.3", "helm", run)["version"] == "1.2.3"
    assert asked[0] == ["helm", "show", "chart", "--repo", "https://r", "--version", "1.2.3", "--", "cilium; id"]
    assert "not found" in chart.read("x", None, None, "helm", lambda argv: (1, "", "x not found"))["error"]
    assert chart.helm_version("/no/such/helm")["version"] is None
