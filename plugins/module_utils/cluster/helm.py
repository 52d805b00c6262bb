# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Helm 3 left in the cluster: one Secret per revision of a release (its default storage driver).

The Secret's data.release is base64 (Kubernetes) of base64 of gzip of JSON; labels name, owner, status, version.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import Client, Json
from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.lease import epoch

PENDING = ("pending-install", "pending-upgrade", "pending-rollback")


def secrets_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets"


def newest(client: Client, release: str, namespace: str) -> Json | None:
    """The Secret of the release's newest revision, or None where Helm knows no such release.

    Only metadata is listed; one Secret is read in full. Raises ApiError.
    """
    found = client.list_all(secrets_path(namespace), labels=f"owner=helm,name={release}", metadata_only=True)
    if not found:
        return None
    last = max(found, key=revision)
    return client.get(f"{secrets_path(namespace)}/{last['metadata']['name']}")


def revision(secret: Json) -> int:
    """The revision that a release Secret holds; 0 where its label is no number."""
    text = ((secret.get("metadata") or {}).get("labels") or {}).get("version", "")
    return int(text) if text.isdigit() else 0


def decode(secret: Json) -> Json:
    """The release record of a Secret. Raises ValueError where it is none."""
    try:
        raw = base64.b64decode(base64.b64decode(secret["data"]["release"]))
        record = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    except (KeyError, TypeError, ValueError, EOFError, OSError, binascii.Error) as error:
        name = (secret.get("metadata") or {}).get("name", "?")
        raise ValueError(f"the Secret {name} holds no readable Helm release ({error})") from error
    if not isinstance(record, dict):
        raise ValueError("a Helm release record is no JSON object")
    return record


def summary(secret: Json) -> Json:
    """The contract's `release` of a Secret: status, revision, chart and application version, values, config.

    values are the user's own (not merged with the chart's); config is the cilium-config that the manifest has.
    Raises ValueError where the Secret holds no release.
    """
    record = decode(secret)
    info = record.get("info") or {}
    metadata = (record.get("chart") or {}).get("metadata") or {}
    return {
        "status": str(info.get("status", "unknown")),
        "revision": int(record.get("version") or revision(secret)),
        "chart_version": metadata.get("version"),
        "app_version": metadata.get("appVersion"),
        "values": record.get("config") or {},
        "updated_epoch": epoch(str(info.get("last_deployed") or "")),
        "config": manifest_config(str(record.get("manifest") or "")),
        "description": str(info.get("description") or ""),
        "secret": secret["metadata"]["name"],
    }


def manifest_config(manifest: str) -> Json | None:
    """data of the ConfigMap cilium-config in a rendered manifest, or None where it has none."""
    import yaml

    for part in ("\n" + manifest).split("\n---"):
        # A manifest has some hundred kilobytes; only the document in question is parsed.
        if "name: cilium-config" not in part or "kind: ConfigMap" not in part:
            continue
        try:
            document = yaml.safe_load(part)
        except yaml.YAMLError:
            return None
        if isinstance(document, dict) and (document.get("metadata") or {}).get("name") == "cilium-config":
            return document.get("data") or {}
    return None


def encode(record: Json) -> str:
    """A release record as a Secret's data.release; inverse of decode()."""
    packed = gzip.compress(json.dumps(record, separators=(",", ":")).encode(), mtime=0)
    return base64.b64encode(base64.b64encode(packed)).decode()
