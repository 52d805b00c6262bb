# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real control plane (etcd, kube-apiserver, controller-manager, scheduler, kwok) for the tests of this folder.

Its files are in pytest's temporary directory; it is deleted at the end of the session.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import time
import typing as t

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from support.controlplane import control_plane

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import Client, connect
from lab import build
from lab.common import Steps

ROOT = pathlib.Path(__file__).resolve().parents[3]


class Cluster(t.NamedTuple):
    """kubeconfig path, an administrator's client, paths of helm and of the Cilium chart."""

    kubeconfig: str
    client: Client
    helm: str
    chart: str
    folder: pathlib.Path

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """helm with this cluster's kubeconfig."""
        done = subprocess.run(
            [self.helm, *argv],
            env={**os.environ, "KUBECONFIG": self.kubeconfig},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def helm_module(self, **arguments: t.Any) -> dict[str, t.Any]:
        """kubernetes.core.helm as Ansible runs it: its result."""
        arguments = {"kubeconfig": self.kubeconfig, "binary_path": self.helm, **arguments}
        done = subprocess.run(
            [
                *(sys.executable, "-m", "ansible", "adhoc", "localhost", "-i", "localhost,", "-c", "local"),
                *("-e", f"ansible_python_interpreter={sys.executable}"),
                *("-m", "kubernetes.core.helm", "-a", json.dumps(arguments)),
            ],
            env={**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1"},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert "=>" in done.stdout, done.stdout + done.stderr
        return t.cast("dict[str, t.Any]", json.loads(done.stdout.split("=>", 1)[1]))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Cluster]:
    tools = build.ensure(Steps(1))
    folder = tmp_path_factory.mktemp("kwok")
    with control_plane(tools, folder, "zt-api") as environment:
        kubeconfig = environment["KUBECONFIG"]
        client = connect(kubeconfig)
        install_crds(client, pathlib.Path(tools["cilium"]) / "crds" / "v2")
        for namespace in ("ai-workloads", "storage", "bench", "istio-system"):
            create(client, "/api/v1/namespaces", {"metadata": {"name": namespace}})
        yield Cluster(kubeconfig, client, tools["helm"], str(pathlib.Path(tools["cilium"]) / "chart"), folder)


def install_crds(client: Client, folder: pathlib.Path) -> None:
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for path in sorted(folder.glob("*.yaml")):
        create(client, crds, yaml.safe_load(path.read_text(encoding="utf-8")))
    wait(lambda: client.list_or_none("/apis/cilium.io/v2/ciliumnetworkpolicies") is not None)
    wait(lambda: client.list_or_none("/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies") is not None)
    wait(lambda: client.list_or_none("/apis/cilium.io/v2/ciliumnodes") is not None)


def create(client: Client, path: str, obj: dict[str, t.Any]) -> dict[str, t.Any]:
    return client.request("POST", path, body=obj)


def wait(condition: t.Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


class Result(t.NamedTuple):
    """What a module said: its result, and whether it failed."""

    data: dict[str, t.Any]
    failed: bool


@pytest.fixture
def module() -> t.Callable[..., Result]:
    """Call a module of the collection in this process, through its argument spec and exit: module(main, **args)."""

    def call(main: t.Callable[[], None], check: bool = False, diff: bool = False, **arguments: t.Any) -> Result:
        given = {**arguments, "_ansible_check_mode": check, "_ansible_diff": diff}
        out = io.StringIO()
        with patch_module_args(given), contextlib.redirect_stdout(out), pytest.raises(SystemExit) as ended:
            main()
        return Result(json.loads(out.getvalue().strip().splitlines()[-1]), bool(ended.value.code))

    return call


@pytest.fixture
def account(cluster: Cluster, tmp_path: pathlib.Path) -> t.Callable[..., str]:
    """A kubeconfig of a service account with roles: account("reader", roles=[(kind, name, namespace or None)])."""

    def make(name: str, roles: t.Sequence[tuple[str, str, str | None]]) -> str:
        name = f"{name}-{time.monotonic_ns()}"
        create(cluster.client, "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": name}})
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        for number, (kind, role, namespace) in enumerate(roles):
            body = {
                "metadata": {"name": f"{name}-{number}"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
            }
            path = f"{rbac}/namespaces/{namespace}/rolebindings" if namespace else f"{rbac}/clusterrolebindings"
            create(cluster.client, path, body)
        answer = create(cluster.client, f"/api/v1/namespaces/default/serviceaccounts/{name}/token", {"spec": {}})
        source = yaml.safe_load(pathlib.Path(cluster.kubeconfig).read_text(encoding="utf-8"))
        settings = next(entry["cluster"] for entry in source["clusters"] if entry["name"] in cluster_name(source))
        if "certificate-authority" in settings:
            settings = dict(settings)
            authority = pathlib.Path(settings.pop("certificate-authority")).read_bytes()
            settings["certificate-authority-data"] = base64.b64encode(authority).decode()
        target = tmp_path / f"{name}.kubeconfig"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "sa",
            "clusters": [{"name": "c", "cluster": settings}],
            "users": [{"name": "u", "user": {"token": answer["status"]["token"]}}],
            "contexts": [{"name": "sa", "context": {"cluster": "c", "user": "u"}}],
        }
        target.write_text(yaml.safe_dump(content), encoding="utf-8")
        return str(target)

    return make


def cluster_name(kubeconfig: dict[str, t.Any]) -> list[str]:
    current = kubeconfig["current-context"]
    return [entry["context"]["cluster"] for entry in kubeconfig["contexts"] if entry["name"] == current]


@pytest.fixture(scope="session")
def roles(cluster: Cluster) -> None:
    """The shipped RBAC manifests, applied."""
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    for path in sorted((ROOT / "docs" / "rbac").glob("*.yml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            namespace = document["metadata"].get("namespace")
            where = f"{rbac}/namespaces/{namespace}/roles" if namespace else f"{rbac}/clusterroles"
            create(cluster.client, where, document)
