# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of policies against what the cluster has: one paged list of each kind, and no write, not even a dry run."""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster import apply
from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import Client, Json, concurrently


def compare(client: Client, objects: t.Sequence[Json], set_name: str, cluster_name: str) -> Json:
    """{"engine", "missing", "drifted", "foreign", "unchanged", "extra", "conditions"}; names are "Kind namespace/name".

    Raises ApiError where a list could not be read: half a comparison would be a wrong one. A kind that the server does
    not know has no objects.
    """
    desired = {apply.key_of(obj): obj for obj in objects}
    kinds = sorted(apply.PLURALS)
    lists = concurrently(lambda kind: client.list_or_none(apply.list_path(kind)) or [], kinds)
    found = {
        (kind, obj["metadata"].get("namespace") or "", obj["metadata"]["name"]): obj
        for kind, listed in zip(kinds, lists)
        for obj in listed
    }
    ours = {key for key, obj in found.items() if apply.is_ours(obj, set_name, cluster_name)}
    there = sorted(set(desired) & ours)
    drifted = [(key, fields(desired[key], found[key])) for key in there if not apply.equal(desired[key], found[key])]
    return {
        "engine": "istio_ambient"
        if any(key[0] in ("AuthorizationPolicy", "PeerAuthentication") for key in desired)
        else "cilium",
        "missing": [apply.label(key) for key in sorted(set(desired) - set(found))],
        "drifted": [{"object": apply.label(key), "fields": names} for key, names in drifted],
        "foreign": [apply.label(key) for key in sorted((set(desired) & set(found)) - ours)],
        "unchanged": len(there) - len(drifted),
        "extra": [apply.label(key) for key in sorted(ours - set(desired))],
        "conditions": conditions({key: found[key] for key in there}),
    }


def fields(desired: Json, current: Json) -> list[str]:
    """The top fields that differ: "spec.egress", "labels", "annotations"."""
    wanted, has = desired.get("spec") or {}, current.get("spec") or {}
    differing = [f"spec.{key}" for key in sorted({*wanted, *has}) if not apply.covers(has.get(key), wanted.get(key))]
    for part in ("labels", "annotations"):
        seen = current["metadata"].get(part) or {}
        if any(seen.get(name) != value for name, value in (desired["metadata"].get(part) or {}).items()):
            differing.append(part)
    return differing


def conditions(found: t.Mapping[apply.Key, Json]) -> Json:
    """{"accepted": n, "refused": [{"object", "message"}], "unknown": n} from the engine's own word on each object."""
    accepted = unknown = 0
    refused = []
    for key, obj in sorted(found.items()):
        if key[0] not in apply.CONDITIONS:
            continue
        words = apply.said(key[0], obj)
        against = [entry for entry in words if entry.get("status") == "False"]
        if against:
            refused.append({"object": apply.label(key), "message": str(against[0].get("message") or "no reason given")})
        elif any(entry.get("status") == "True" for entry in words):
            accepted += 1
        else:
            unknown += 1
    return {"accepted": accepted, "refused": refused, "unknown": unknown}
