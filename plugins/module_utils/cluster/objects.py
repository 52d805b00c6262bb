# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server-side apply of single objects with this collection's own field manager, strict and never forced.

For what is neither a policy of a set (apply.py) nor a chart's: CRDs, Namespaces, waypoints. All of them are tried as
a dry run first, so that one refusal means nothing was changed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import (
    ApiError,
    Client,
    Json,
    concurrently,
)

# Not the manager of policies: each applies a part of an object as a whole, and would drop the other's.
MANAGER = "aicluster.zerotrust.mesh"
MANAGED_BY = "aicluster.zerotrust"
PROBES = "aicluster-zerotrust-ambient-probes"
CRD_GROUP = ".gateway.networking.k8s.io"

# apiVersion and kind -> plural; what this collection applies by itself, and nothing else.
PLURALS = {
    ("v1", "Namespace"): "namespaces",
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): "customresourcedefinitions",
    ("gateway.networking.k8s.io/v1", "Gateway"): "gateways",
    ("cilium.io/v2", "CiliumClusterwideNetworkPolicy"): "ciliumclusterwidenetworkpolicies",
}
_IGNORED = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")


@dataclasses.dataclass
class Outcome:
    """Names of objects that were (in a dry run: would be) changed or removed, and their diffs."""

    changed: list[str] = dataclasses.field(default_factory=list)
    removed: list[str] = dataclasses.field(default_factory=list)
    untried: list[str] = dataclasses.field(default_factory=list)
    diff: list[Json] = dataclasses.field(default_factory=list)


class Refused(Exception):
    """An object that the API server, or another owner, does not let us have; one sentence with its code."""


def path_of(obj: Json) -> str:
    """Request path of an object. Raises ValueError for a kind that is not applied here."""
    plural = PLURALS.get((str(obj.get("apiVersion")), str(obj.get("kind"))))
    if plural is None:
        raise ValueError(f"{obj.get('apiVersion')} {obj.get('kind')} is not applied by this module")
    version, meta = str(obj["apiVersion"]), obj["metadata"]
    root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    middle = f"/namespaces/{meta['namespace']}" if meta.get("namespace") else ""
    return f"{root}{middle}/{plural}/{meta['name']}"


def label(obj: Json) -> str:
    meta = obj["metadata"]
    return (
        f"{obj['kind']} {meta['namespace']}/{meta['name']}"
        if meta.get("namespace")
        else f"{obj['kind']} {meta['name']}"
    )


def applied_labels(meta: Json) -> set[str]:
    """Labels of an object's metadata that this collection applied (its managed fields say so)."""
    found: set[str] = set()
    for entry in meta.get("managedFields") or []:
        if entry.get("manager") == MANAGER and entry.get("operation") == "Apply":
            labels = ((entry.get("fieldsV1") or {}).get("f:metadata") or {}).get("f:labels") or {}
            found |= {name[2:] for name in labels if name.startswith("f:")}
    return found


def apply(client: Client, objects: t.Sequence[Json], dry_run: bool, *, must_exist: bool = False) -> Outcome:
    """Apply objects in their order; what is as it should be is not sent twice. Raises Refused, ApiError, ValueError.

    must_exist: objects that are not there are refused, not made. In a dry run an object whose namespace or kind is
    not there yet counts as changed and is named in `untried`.
    """
    outcome = Outcome()
    current = concurrently(lambda obj: client.get(path_of(obj)), objects)
    for obj, now in zip(objects, current):
        if now is None and must_exist:
            raise Refused(f"ZT646: {label(obj)} does not exist; create it first.")
    tried = concurrently(lambda obj: _try(client, obj), objects)
    changing = []
    for obj, now, would in zip(objects, current, tried):
        if would is None and not dry_run:
            raise Refused(f"ZT652: {label(obj)}: its kind or its namespace does not exist.")
        if would is not None and now is not None and _bare(would) == _bare(now):
            continue
        changing.append(obj)
        outcome.changed.append(label(obj))
        if would is None:
            outcome.untried.append(label(obj))
        outcome.diff.append(_difference(obj, now, would))
    if not dry_run:
        for obj in changing:
            _send(client, obj, dry_run=False)
    return outcome


def wait_established(client: Client, crds: t.Sequence[Json], deadline: float) -> None:
    """Until the API server serves the kinds of CRDs. deadline: of time.monotonic(). Raises Refused, ApiError."""
    for obj in crds:
        while True:
            now = client.get(path_of(obj)) or {}
            conditions = (now.get("status") or {}).get("conditions") or []
            if any(c.get("type") == "Established" and c.get("status") == "True" for c in conditions):
                break
            if time.monotonic() > deadline:
                raise Refused(f"ZT652: {label(obj)} was applied and is not established yet; look at its conditions.")
            time.sleep(0.2)


def remove(client: Client, objects: t.Sequence[Json], dry_run: bool) -> Outcome:
    """Delete objects that carry our label; one of another owner is left alone. Raises Refused, ApiError."""
    outcome = Outcome()
    for obj in objects:
        now = client.get(path_of(obj))
        if now is None or (now["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by") != MANAGED_BY:
            continue
        outcome.removed.append(label(obj))
        outcome.diff.append(_difference(obj, now, None))
        if not dry_run:
            client.request("DELETE", path_of(obj), body={"preconditions": {"uid": now["metadata"]["uid"]}})
    return outcome


def read_crds(path: str) -> list[Json]:
    """The Gateway API's CRDs in a YAML file, or in the *.yaml files of a folder; other objects there are left out.

    Raises ValueError where there is none or the path cannot be read.
    """
    import yaml

    try:
        files = [path]
        if os.path.isdir(path):
            files = [os.path.join(path, name) for name in sorted(os.listdir(path)) if name.endswith((".yaml", ".yml"))]
        found = []
        for name in files:
            with open(name, encoding="utf-8") as stream:
                found += [document for document in yaml.safe_load_all(stream) if isinstance(document, dict)]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    crds = []
    for document in found:
        name = (document.get("metadata") or {}).get("name") or ""
        if document.get("kind") == "CustomResourceDefinition" and name.endswith(CRD_GROUP):
            document.pop("status", None)
            crds.append(document)
    if not crds:
        raise ValueError(f"{path} holds no CRDs of the Gateway API (*{CRD_GROUP})")
    return crds


def _try(client: Client, obj: Json) -> Json | None:
    """The object as it would be, None where its kind or namespace does not exist."""
    try:
        return _send(client, obj, dry_run=True)
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def _send(client: Client, obj: Json, dry_run: bool) -> Json:
    try:
        return client.apply(path_of(obj), obj, MANAGER, dry_run=dry_run)
    except ApiError as error:
        if error.fatal or error.status == 404:
            raise
        if error.status == 409:
            raise Refused(
                f"ZT652: {label(obj)}: another manager owns what would change: {error.details}; let one tool own it."
            ) from error
        raise Refused(f"ZT652: {label(obj)}: the API server refuses it: {error.details}.") from error


def _bare(obj: Json) -> Json:
    meta = {name: value for name, value in obj["metadata"].items() if name not in _IGNORED}
    return {**{name: value for name, value in obj.items() if name != "status"}, "metadata": meta}


def _difference(obj: Json, before: Json | None, after: Json | None) -> Json:
    """One entry of Ansible's diff: labels and spec before and after. Of a CRD only its version: it has 10,000 lines."""

    def text(one: Json | None) -> str:
        if one is None:
            return ""
        shown: Json = {"labels": one["metadata"].get("labels") or {}}
        if one.get("kind") == "CustomResourceDefinition":
            shown = {"annotations": one["metadata"].get("annotations") or {}}
        elif one.get("spec") and one.get("kind") != "Namespace":
            shown["spec"] = one["spec"]
        return json.dumps(shown, indent=2, sort_keys=True) + "\n"

    header = label(obj)
    shown_after = after if after is not None else (obj if before is None else None)
    return {"before_header": header, "after_header": header, "before": text(before), "after": text(shown_after)}
