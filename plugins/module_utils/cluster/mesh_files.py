# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files on the API host that an installation of Istio takes: charts, CRDs, the CA's files. No content of a key
is returned, and none goes anywhere but into the Secret."""

from __future__ import annotations

import base64
import hashlib
import os
import ssl
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster import chart, mesh, objects
from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import ApiError, Client, Json

CA_FILES = ("ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem")
SECRET = "cacerts"


class CaError(Exception):
    """The CA's files or Secret cannot be taken; one sentence with its code."""


def inspect(
    charts: t.Mapping[str, t.Mapping[str, str | None]],
    gateway_api_crds: str | None,
    cacerts: str | None,
    helm_binary: str,
) -> Json:
    """{"helm", "charts": {name: {version, values_yaml, error}}, "gateway_api": {version, error}|null,
    "cacerts": {fingerprint, error}|null}: what a plan has to know of the files before anything is changed.

    charts: chart -> {"ref", "repo", "version"}, those that are to be read.
    """
    result: Json = {"helm": chart.helm_version(helm_binary), "charts": {}, "gateway_api": None, "cacerts": None}
    for name, where in charts.items():
        result["charts"][name] = chart.read(str(where["ref"]), where.get("repo"), where.get("version"), helm_binary)
    if gateway_api_crds:
        try:
            found = mesh.gateway_api(objects.read_crds(gateway_api_crds))
            why = None if found and found["version"] else f"{gateway_api_crds} has no CRD of Gateways with its version"
            result["gateway_api"] = {"version": (found or {}).get("version"), "error": why}
        except ValueError as error:
            result["gateway_api"] = {"version": None, "error": str(error)}
    if cacerts:
        try:
            result["cacerts"] = {"fingerprint": fingerprint(read_ca(cacerts)), "error": None}
        except CaError as error:
            result["cacerts"] = {"fingerprint": None, "error": str(error)}
    return result


def read_ca(folder: str) -> dict[str, bytes]:
    """The four files of a CA for istiod, checked: all there, the key is the certificate's and nobody else reads it.

    Raises CaError; its text names files and never their content.
    """
    found: dict[str, bytes] = {}
    for name in CA_FILES:
        path = os.path.join(folder, name)
        try:
            with open(path, "rb") as stream:
                if name == "ca-key.pem" and os.fstat(stream.fileno()).st_mode & 0o077:
                    raise CaError(f"{path} can be read by others than its owner; set its mode to 0600")
                found[name] = stream.read()
        except OSError as error:
            raise CaError(f"{path} cannot be read: {error.strerror}") from error
    for name in ("ca-cert.pem", "cert-chain.pem"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # A password is never asked for: istiod takes no encrypted key.
            context.load_cert_chain(os.path.join(folder, name), os.path.join(folder, "ca-key.pem"), password=lambda: "")
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or "it is no PEM or the key is encrypted"
            raise CaError(
                f"{folder}: ca-key.pem is not the key of the first certificate of {name} ({reason})"
            ) from error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(os.path.join(folder, "root-cert.pem"))
    except (ssl.SSLError, ValueError) as error:
        raise CaError(f"{folder}/root-cert.pem holds no certificate") from error
    return found


def ensure_ca(client: Client, namespace: str, folder: str, dry_run: bool) -> bool:
    """Whether the Secret cacerts was (would be) made of the folder's files. Raises CaError, ApiError.

    An existing Secret is never overwritten: istiod would sign with another CA, and half of the mesh distrust the other.
    """
    files = read_ca(folder)
    path = f"/api/v1/namespaces/{namespace}/secrets"
    secret = client.get(f"{path}/{SECRET}")
    if secret is not None:
        data = secret.get("data") or {}
        differing = [
            name for name in CA_FILES if _digest(base64.b64decode(data.get(name) or "")) != _digest(files[name])
        ]
        if differing:
            raise CaError(
                f"ZT649: Secret {namespace}/{SECRET} exists and differs from {folder} in {', '.join(differing)}; "
                "it is never overwritten. Set istio_ambient_cacerts to the CA that is in use, or unset it."
            )
        return False
    if dry_run:
        return True
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": SECRET,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": objects.MANAGED_BY},
            "annotations": {mesh.CA_FINGERPRINT: fingerprint(files)},
        },
        "data": {name: base64.b64encode(content).decode() for name, content in files.items()},
    }
    try:
        client.request("POST", path, body=body)
    except ApiError as error:
        if error.status == 409:
            raise CaError(
                f"ZT649: Secret {namespace}/{SECRET} was made by another at this moment; run again."
            ) from error
        raise
    return True


def fingerprint(files: t.Mapping[str, bytes]) -> str:
    """SHA-256 of the CA's certificates, which are public: what a plan compares without reading the Secret."""
    return _digest(b"".join(files[name] for name in CA_FILES if name != "ca-key.pem"))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
