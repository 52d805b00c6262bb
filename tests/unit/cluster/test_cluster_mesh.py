# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cluster_info says of Istio, the objects beside the charts, and the CA's files."""

from __future__ import annotations

import base64
import json
import pathlib
import subprocess
import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster import mesh, mesh_files, objects
from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import Client
from ansible_collections.aicluster.zerotrust.plugins.module_utils.mesh import objects as planned


class Answer(t.NamedTuple):
    status: int
    data: bytes


class Api:
    """Answers by method and path; keeps the requests. An apply gives back what was sent, merged over what is there."""

    def __init__(self, there: dict[str, t.Any]) -> None:
        self.there = there
        self.requests: list[tuple[str, str, t.Any]] = []

    def request(self, method: str, url: str, body: bytes | None = None, **_how: t.Any) -> Answer:
        path, _, query = url.removeprefix("https://api:6443").partition("?")
        sent = json.loads(body) if body else None
        self.requests.append((method, f"{path}?{query}" if "dryRun" in query else path, sent))
        found = self.there.get(path)
        if isinstance(found, Answer):
            return found
        if method == "PATCH":
            assert "fieldManager=aicluster.zerotrust.mesh" in query
            assert "force=false" in query
            merged = {**(found or {}), **sent}
            if "dryRun" not in query:
                self.there[path] = merged
            return Answer(200, json.dumps(merged).encode())
        if method == "POST":
            return Answer(201, body or b"{}")
        if found is None:
            return Answer(404, b'{"message":"not found","reason":"NotFound"}')
        return Answer(200, json.dumps(found).encode())

    @property
    def client(self) -> Client:
        return Client("https://api:6443/", "kubeconfig k, context c", self, dict)

    def writes(self) -> list[str]:
        return [f"{method} {path}" for method, path, _ in self.requests if method != "GET" and "dryRun" not in path]


LABELS = {"istio.io/dataplane-mode": "ambient"}


def namespace(labels: dict[str, str]) -> dict[str, t.Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "training", "labels": labels}}


def test_the_two_rooms_mean_the_same_names() -> None:
    assert objects.PROBES == planned.PROBES
    assert planned.waypoint("n")["metadata"]["labels"]["app.kubernetes.io/managed-by"] == objects.MANAGED_BY


def test_an_object_that_is_as_it_should_be_is_not_written() -> None:
    api = Api({"/api/v1/namespaces/training": namespace(LABELS)})
    assert objects.apply(api.client, [namespace(LABELS)], dry_run=False, must_exist=True).changed == []
    assert api.writes() == []


def test_a_dry_run_writes_nothing_and_says_what_would_be() -> None:
    api = Api({"/api/v1/namespaces/training": namespace({})})
    done = objects.apply(api.client, [namespace(LABELS)], dry_run=True, must_exist=True)
    assert done.changed == ["Namespace training"]
    assert api.writes() == []
    assert "ambient" in done.diff[0]["after"]
    assert "ambient" not in done.diff[0]["before"]
    objects.apply(api.client, [namespace(LABELS)], dry_run=False, must_exist=True)
    assert api.writes() == ["PATCH /api/v1/namespaces/training"]


def test_a_namespace_that_is_not_there_is_not_made_by_a_label() -> None:
    api = Api({})
    with pytest.raises(objects.Refused, match="ZT646: Namespace training does not exist"):
        objects.apply(api.client, [namespace(LABELS)], dry_run=False, must_exist=True)
    assert api.writes() == []


def test_another_owner_is_named_and_nothing_is_changed() -> None:
    conflict = Answer(409, b'{"message":"conflict with \\"argocd\\": .metadata.labels","reason":"Conflict"}')

    class Conflict(Api):
        def request(self, method: str, url: str, body: bytes | None = None, **how: t.Any) -> Answer:
            answer = super().request(method, url, body, **how)
            return conflict if method == "PATCH" else answer

    api = Conflict({"/api/v1/namespaces/training": namespace({})})
    with pytest.raises(objects.Refused, match=r"ZT652: Namespace training: another manager owns .*argocd"):
        objects.apply(api.client, [namespace(LABELS)], dry_run=False, must_exist=True)
    assert api.writes() == []


def test_only_our_own_objects_are_removed() -> None:
    gateway = planned.waypoint("training")
    gateway["metadata"]["uid"] = "u"
    foreign = {**gateway, "metadata": {**gateway["metadata"], "labels": {}}}
    path = "/apis/gateway.networking.k8s.io/v1/namespaces/training/gateways/waypoint"
    api = Api({path: foreign})
    assert objects.remove(api.client, [gateway], dry_run=False).removed == []
    api = Api({path: gateway})
    assert objects.remove(api.client, [gateway], dry_run=True).removed == ["Gateway training/waypoint"]
    assert api.writes() == []
    objects.remove(api.client, [gateway], dry_run=False)
    assert api.writes() == [f"DELETE {path}"]


def test_crds_of_the_gateway_api_are_taken_out_of_a_file_or_folder(tmp_path: pathlib.Path) -> None:
    crd = "kind: CustomResourceDefinition\nmetadata: {name: gateways.gateway.networking.k8s.io}\n"
    other = "kind: CustomResourceDefinition\nmetadata: {name: widgets.example.org}\n"
    (tmp_path / "a.yaml").write_text(f"{crd}---\n{other}---\nkind: ConfigMap\nmetadata: {{name: x}}\n")
    for path in (tmp_path, tmp_path / "a.yaml"):
        assert [one["metadata"]["name"] for one in objects.read_crds(str(path))] == [
            "gateways.gateway.networking.k8s.io"
        ]
    (tmp_path / "b.yaml").write_text(other)
    with pytest.raises(ValueError, match="holds no CRDs of the Gateway API"):
        objects.read_crds(str(tmp_path / "b.yaml"))
    with pytest.raises(ValueError, match="cannot be read"):
        objects.read_crds(str(tmp_path / "c.yaml"))


# Reducers ----------------------------------------------------------------------------------------------------------


def test_labels_that_we_applied_are_told_from_others() -> None:
    fields = {"f:metadata": {"f:labels": {"f:istio.io/dataplane-mode": {}}}}
    meta = {
        "name": "training",
        "labels": {**LABELS, "istio-injection": "disabled", "team": "x"},
        "managedFields": [
            {"manager": objects.MANAGER, "operation": "Apply", "fieldsV1": fields},
            {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {"f:team": {}}}}},
        ],
    }
    found = mesh.space({"metadata": meta})
    assert found["labels"] == {**LABELS, "istio-injection": "disabled"}
    assert found["applied"] == ["istio.io/dataplane-mode"]


def test_pods_of_an_enrolled_namespace_are_counted() -> None:
    def pod(phase: str = "Running", redirected: bool = False, host: bool = False) -> dict[str, t.Any]:
        annotations = {"ambient.istio.io/redirection": "enabled"} if redirected else {}
        return {"metadata": {"annotations": annotations}, "spec": {"hostNetwork": host}, "status": {"phase": phase}}

    pages = [[pod(redirected=True), pod(host=True)], [pod(), pod("Succeeded", redirected=True)]]
    assert mesh.pods_of(pages) == {"pods": 3, "redirected": 1, "host_network": 1}


def test_the_gateway_apis_version_stands_on_its_crd() -> None:
    notes = {
        "gateway.networking.k8s.io/bundle-version": "v1.6.0",
        "gateway.networking.k8s.io/channel": "standard",
    }
    crd = {"metadata": {"name": "gateways.gateway.networking.k8s.io", "annotations": notes}}
    assert mesh.gateway_api([crd]) == {"version": "v1.6.0", "channel": "standard"}
    assert mesh.gateway_api([{"metadata": {"name": "gateways.networking.istio.io"}}]) is None


@pytest.mark.parametrize(
    ("data", "domain"),
    [({"mesh": "trustDomain: a.example\n"}, "a.example"), ({"mesh": ""}, "cluster.local"), ({}, "cluster.local")],
)
def test_trust_domain_of_the_mesh(data: dict[str, str], domain: str) -> None:
    assert mesh.trust_domain({"data": data}) == domain
    assert mesh.trust_domain(None) is None


def test_strict_for_the_whole_mesh_has_no_selector() -> None:
    spec = {"mtls": {"mode": "STRICT"}}
    assert mesh.strict({"spec": spec})
    assert not mesh.strict({"spec": {**spec, "selector": {"matchLabels": {"a": "b"}}}})
    assert not mesh.strict({"spec": {"mtls": {"mode": "PERMISSIVE"}}})


# The CA's files ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("ca")
    for name in ("a", "b"):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def folder_of(made: pathlib.Path, target: pathlib.Path, key: str = "a") -> str:
    for name in ("ca-cert.pem", "root-cert.pem", "cert-chain.pem"):
        (target / name).write_text((made / "a.pem").read_text())
    (target / "ca-key.pem").write_text((made / f"{key}.key").read_text())
    (target / "ca-key.pem").chmod(0o600)
    return str(target)


def test_the_cas_files_are_checked_and_never_quoted(made: pathlib.Path, tmp_path: pathlib.Path) -> None:
    folder = folder_of(made, tmp_path)
    assert set(mesh_files.read_ca(folder)) == set(mesh_files.CA_FILES)
    shown = mesh_files.inspect({}, None, folder, "/nonexistent/helm")
    assert shown["cacerts"]["error"] is None
    assert (made / "a.key").read_text().splitlines()[1] not in json.dumps(shown)
    (tmp_path / "ca-key.pem").chmod(0o640)
    with pytest.raises(mesh_files.CaError, match="set its mode to 0600"):
        mesh_files.read_ca(folder)
    folder_of(made, tmp_path, key="b")
    with pytest.raises(mesh_files.CaError, match=r"ca-key.pem is not the key of the first certificate of ca-cert.pem"):
        mesh_files.read_ca(folder)
    folder_of(made, tmp_path)
    (tmp_path / "root-cert.pem").write_text("no certificate")
    with pytest.raises(mesh_files.CaError, match=r"root-cert.pem holds no certificate"):
        mesh_files.read_ca(folder)
    (tmp_path / "cert-chain.pem").unlink()
    with pytest.raises(mesh_files.CaError, match=r"cert-chain.pem cannot be read"):
        mesh_files.read_ca(folder)


SECRET = "/api/v1/namespaces/istio-system/secrets/cacerts"


def test_the_secret_is_made_once_and_never_overwritten(made: pathlib.Path, tmp_path: pathlib.Path) -> None:
    folder = folder_of(made, tmp_path)
    api = Api({})
    assert mesh_files.ensure_ca(api.client, "istio-system", folder, dry_run=True)
    assert api.writes() == []
    assert mesh_files.ensure_ca(api.client, "istio-system", folder, dry_run=False)
    assert api.writes() == ["POST /api/v1/namespaces/istio-system/secrets"]
    secret = api.requests[-1][2]
    again = Api({SECRET: secret})
    assert not mesh_files.ensure_ca(again.client, "istio-system", folder, dry_run=False)
    # What a plan compares without reading the Secret.
    assert mesh.ca_fingerprint([secret]) == mesh_files.inspect({}, None, folder, "helm")["cacerts"]["fingerprint"]
    other = base64.b64encode(b"another").decode()
    differing = Api({SECRET: {**secret, "data": {**secret["data"], "ca-key.pem": other}}})
    with pytest.raises(mesh_files.CaError, match=r"ZT649: .* differs from .* in ca-key.pem; it is never overwritten"):
        mesh_files.ensure_ca(differing.client, "istio-system", folder, dry_run=False)
    assert differing.writes() == []
