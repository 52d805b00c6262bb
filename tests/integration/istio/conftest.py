# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real API server and a real istiod, which is asked what ztunnels would get. There is no data path.

Skipped where istiod is not built (it takes seven minutes).
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import subprocess
import time
import typing as t
import urllib.request

import pytest
import yaml
from support.controlplane import control_plane

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import ApiError, Client, connect
from lab import build
from lab.common import Steps

Json = dict[str, t.Any]
ENROLLED = ("a", "b")
PODS = {  # name -> namespace, labels, service account
    "x": ("a", {"app": "x", "tier": "back"}, "one"),
    "y": ("a", {"app": "y"}, "two"),
    "bx": ("b", {"app": "x"}, "one"),
    "by": ("b", {"app": "y"}, "two"),
    "cx": ("c", {"app": "x"}, "one"),  # its namespace is not in the mesh
}
PLURALS = {
    "AuthorizationPolicy": "/apis/security.istio.io/v1/namespaces/{}/authorizationpolicies",
    "PeerAuthentication": "/apis/security.istio.io/v1/namespaces/{}/peerauthentications",
    "Gateway": "/apis/gateway.networking.k8s.io/v1/namespaces/{}/gateways",
}


class Mesh:
    """A client of the API server, and what istiod has made of the objects there."""

    def __init__(self, client: Client, debug: int) -> None:
        self.client = client
        self.debug = debug

    def ambientz(self) -> Json:
        """What a ztunnel would be given: workloads and policies."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.debug}/debug/ambientz", timeout=10) as answer:
            return t.cast("Json", json.load(answer))

    def addresses(self) -> dict[str, str]:
        return {
            name: self.client.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")["status"]["podIP"]
            for name, (namespace, _labels, _account) in PODS.items()
        }

    def apply(self, obj: Json) -> None:
        """Strictly: a field that the CRD does not know is an error."""
        path = PLURALS[obj["kind"]].format(obj["metadata"]["namespace"])
        self.client.request("POST", path, {"fieldValidation": "Strict"}, obj)

    def read(self, obj: Json) -> Json:
        path = PLURALS[obj["kind"]].format(obj["metadata"]["namespace"])
        return self.client.get(f"{path}/{obj['metadata']['name']}") or {}

    def delete(self, obj: Json) -> None:
        path = PLURALS[obj["kind"]].format(obj["metadata"]["namespace"])
        with contextlib.suppress(ApiError):
            self.client.request("DELETE", f"{path}/{obj['metadata']['name']}")


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait(condition: t.Callable[[], bool], seconds: float = 30, what: str = "it") -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Mesh]:
    if not build.cached("pilot-discovery").exists():
        pytest.skip("istiod is not built: python3 -m lab tools --with istio")
    tools = build.ensure(Steps(1))
    folder = tmp_path_factory.mktemp("istiod")
    with contextlib.ExitStack() as stack:
        environment = stack.enter_context(control_plane(tools, folder, "zt-istio"))
        kubeconfig = environment["KUBECONFIG"]
        client = connect(kubeconfig)
        http, grpc, secure, https, monitoring = free_ports(5)
        _install(client, pathlib.Path(tools["istio"]), tools["helm"], environment, https)
        _pods(client)
        meshconfig = folder / "mesh.yaml"
        meshconfig.write_text(yaml.safe_dump({"trustDomain": "cluster.local", "rootNamespace": "istio-system"}))
        argv = [str(build.cached("pilot-discovery")), "discovery", "--kubeconfig", kubeconfig]
        argv += ["--meshConfig", str(meshconfig), "--httpAddr", f"127.0.0.1:{http}", "--grpcAddr", f"127.0.0.1:{grpc}"]
        argv += ["--secureGRPCAddr", f"127.0.0.1:{secure}", "--httpsAddr", f"127.0.0.1:{https}"]
        argv += ["--monitoringAddr", f"127.0.0.1:{monitoring}", "--ctrlz_port", "0"]
        settings = {
            "PILOT_ENABLE_AMBIENT": "true",
            "POD_NAMESPACE": "istio-system",
            "POD_NAME": "istiod-test",
            "CLUSTER_ID": "Kubernetes",
            "REVISION": "default",
            # the API server asks it by this name, so its certificate has to have it
            "ISTIOD_CUSTOM_HOST": "127.0.0.1",
        }
        log = stack.enter_context((folder / "istiod.log").open("wb"))
        process = subprocess.Popen(argv, env={**environment, **settings}, stdout=log, stderr=log, cwd=folder)
        stack.callback(process.wait, 20)
        stack.callback(process.terminate)
        found = Mesh(client, http)
        wait(lambda: process.poll() is not None or _ready(found), 60, "istiod")
        # istiod turns it from Ignore to Fail once it answers
        wait(lambda: _checks(client), 60, "the check of objects by istiod")
        assert process.poll() is None, (folder / "istiod.log").read_text(errors="replace")[-2000:]
        yield found


def _ready(mesh: Mesh) -> bool:
    try:
        names = {workload["name"] for workload in mesh.ambientz()["workloads"] or []}
    except (OSError, ValueError, KeyError):
        return False
    return set(PODS) <= names


def _checks(client: Client) -> bool:
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/istiod-default-validator"
    found = client.get(path) or {"webhooks": [{"failurePolicy": None}]}
    return all(hook["failurePolicy"] == "Fail" for hook in found["webhooks"])


def _install(client: Client, files: pathlib.Path, helm: str, environment: dict[str, str], port: int) -> None:
    """Gateway API, and the chart with Istio's CRDs and its check of objects, which asks our istiod."""
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for path in sorted((files / "gateway-api").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if document["kind"] == "CustomResourceDefinition":  # not the policy on their upgrades
                client.request("POST", crds, body=document)
    argv = [helm, "install", "istio-base", str(files / "charts" / "base"), "-n", "istio-system", "--create-namespace"]
    argv += ["--set", f"base.validationURL=https://127.0.0.1:{port}/validate"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    wait(lambda: client.list_or_none("/apis/security.istio.io/v1/authorizationpolicies") is not None)


def _pods(client: Client) -> None:
    annotations = {"kwok.x-k8s.io/node": "fake"}
    client.request("POST", "/api/v1/nodes", body={"metadata": {"name": "n1", "annotations": annotations}})
    for namespace in sorted({namespace for namespace, _labels, _account in PODS.values()}):
        labels = {"istio.io/dataplane-mode": "ambient"} if namespace in ENROLLED else {}
        client.request("POST", "/api/v1/namespaces", body={"metadata": {"name": namespace, "labels": labels}})
        for account in ("one", "two"):
            path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
            client.request("POST", path, body={"metadata": {"name": account}})
    for name, (namespace, labels, account) in PODS.items():
        body = {
            "metadata": {
                "name": name,
                "labels": labels,
                # what istio-cni writes when a pod is in the mesh
                "annotations": {"ambient.istio.io/redirection": "enabled"} if namespace in ENROLLED else {},
            },
            "spec": {
                "nodeName": "n1",
                "serviceAccountName": account,
                "containers": [{"name": "c", "image": "example.invalid/none"}],
            },
        }
        client.request("POST", f"/api/v1/namespaces/{namespace}/pods", body=body)

    def running() -> bool:
        pods = client.list_all("/api/v1/pods")
        return all(pod["status"].get("podIP") for pod in pods if pod["metadata"]["name"] in PODS)

    wait(running, 30, "the pods")
