# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bulk server-side apply of a labelled set of policies, with drift check and prune.

Order: read everything once, decide everything (prune consent first), try all changes as a server-side dry run,
and only when the API server takes every one of them apply; prune last. One refusal means nothing was changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import (
    ApiError,
    Client,
    Json,
    concurrently,
)

MANAGER = "aicluster.zerotrust"
LABEL_SET = "aicluster.zerotrust/set"
LABEL_CLUSTER = "aicluster.zerotrust/cluster"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
PLURALS = {
    "CiliumNetworkPolicy": "ciliumnetworkpolicies",
    "CiliumClusterwideNetworkPolicy": "ciliumclusterwidenetworkpolicies",
    "AuthorizationPolicy": "authorizationpolicies",
    "PeerAuthentication": "peerauthentications",
}
APIS = {
    "CiliumNetworkPolicy": "cilium.io/v2",
    "CiliumClusterwideNetworkPolicy": "cilium.io/v2",
    "AuthorizationPolicy": "security.istio.io/v1",
    "PeerAuthentication": "security.istio.io/v1",
}
OWNERS = {"cilium.io/v2": "Cilium", "security.istio.io/v1": "Istio"}
CONDITIONS = {
    "CiliumNetworkPolicy": ("Valid",),
    "CiliumClusterwideNetworkPolicy": ("Valid",),
    "AuthorizationPolicy": ("ZtunnelAccepted", "WaypointAccepted"),
}
"""Types of the condition in which an engine says that it takes a policy. istiod writes none on a PeerAuthentication."""
PRUNE_SHARE = 5
"""More than one in this many of the living set is pruned only with consent."""

Key = tuple[str, str, str]  # kind, namespace ("" where cluster-wide), name


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why the set cannot be applied: a finding's code, the object (kind namespace/name), one sentence."""

    code: str
    object: str
    message: str

    def to_dict(self) -> Json:
        return dataclasses.asdict(self)


@dataclasses.dataclass
class Outcome:
    """What was done (or, in a dry run, would be): names of objects, and refusals. Refusals: nothing was changed,
    unless `partial`, where the API server refused a change that it had taken in the dry run. untried: the cluster
    does not know policies yet, so that nothing could even be tried. superseded: objects of this set in the words of
    the other engine, which were left."""

    created: list[str] = dataclasses.field(default_factory=list)
    updated: list[str] = dataclasses.field(default_factory=list)
    pruned: list[str] = dataclasses.field(default_factory=list)
    unchanged: int = 0
    refused: list[Refusal] = dataclasses.field(default_factory=list)
    partial: bool = False
    untried: bool = False
    superseded: list[str] = dataclasses.field(default_factory=list)
    diff: list[Json] = dataclasses.field(default_factory=list)

    @property
    def changed(self) -> bool:
        return bool(self.created or self.updated or self.pruned)


def apply(
    client: Client,
    objects: t.Sequence[Json],
    set_name: str,
    cluster_name: str,
    dry_run: bool,
    allow_prune: bool,
    want_diff: bool = False,
    writing: t.Callable[[], t.ContextManager[t.Any]] = contextlib.nullcontext,
) -> Outcome:
    """Make the cluster's set of policies equal to objects. Raises ApiError where it cannot even be read.

    objects: as policy.render gives them. dry_run: the API server tries (dryRun=All) and keeps nothing.
    allow_prune: consent to prune an empty set, more than a fifth, or a namespace's last policy.
    writing: entered around the writes only (the run's Lease): a set that is as it should be takes no Lease.
    """
    wrong = misfits(objects, set_name, cluster_name)
    if wrong:
        return Outcome(refused=wrong)
    desired = {key_of(obj): obj for obj in objects}
    try:
        ours, foreign = live(client, desired, set_name, cluster_name)
    except ApiError as error:
        if error.status != 404:
            raise
        kind = next((key[0] for key in sorted(desired)), "CiliumNetworkPolicy")
        why = f"the cluster has no {kind} API; install {OWNERS[APIS[kind]]} first (site.yml or mesh.yml)"
        unknown = Refusal("ZT705", f"policy set {set_name}", why)
        return Outcome(created=[label(key) for key in sorted(desired)], refused=[unknown], untried=True)
    outcome = Outcome(refused=[foreign_refusal(key, foreign[key]) for key in sorted(foreign)])
    stale = sorted(set(ours) - set(desired))
    old = superseded(desired, ours)
    if old and not (allow_prune and proved(desired, ours)):
        # Until the new engine is seen to enforce, the old one's rules are all that keeps anybody out.
        outcome.superseded = [label(key) for key in old]
        stale = [key for key in stale if key not in old]
        ours = {key: obj for key, obj in ours.items() if key not in old}
    if not allow_prune:
        outcome.refused += prune_refusals(desired, ours, stale)
    if outcome.refused:
        return outcome

    differing = [key for key in sorted(desired) if key not in ours or not equal(desired[key], ours[key])]
    tried = concurrently(lambda key: send(client, desired[key], dry_run=True), differing)
    outcome.refused = [answer for answer in tried if isinstance(answer, Refusal)]
    if outcome.refused:
        return outcome
    would: dict[Key, Json] = dict(zip(differing, t.cast("list[Json]", tried)))
    # What the server would hold must be what was asked for: other managers' fields are not removed by an apply.
    outcome.refused = [
        shared_refusal(key, would[key]) for key in differing if not covers(would[key].get("spec"), desired[key]["spec"])
    ]
    if outcome.refused:
        return outcome
    changing = [key for key in differing if key not in ours or content(would[key]) != content(ours[key])]
    outcome.created = [label(key) for key in changing if key not in ours]
    outcome.updated = [label(key) for key in changing if key in ours]
    outcome.unchanged = len(desired) - len(changing)
    outcome.pruned = [label(key) for key in stale]
    if want_diff:
        outcome.diff = [difference(key, ours.get(key), would[key]) for key in changing]
        outcome.diff += [difference(key, ours[key], None) for key in stale]
    if dry_run:
        return outcome

    if not changing and not stale:
        return outcome
    with writing():
        applied = concurrently(lambda key: send(client, desired[key], dry_run=False), changing)
        outcome.refused = [answer for answer in applied if isinstance(answer, Refusal)]
        if not outcome.refused:
            gone = concurrently(lambda key: remove(client, key, ours[key]), stale)
            outcome.refused = [answer for answer in gone if answer is not None]
    if outcome.refused:
        outcome.partial = True
        failed = {refusal.object for refusal in outcome.refused}
        outcome.created = [name for name in outcome.created if name not in failed]
        outcome.updated = [name for name in outcome.updated if name not in failed]
        kept = failed if failed & set(outcome.pruned) else set(outcome.pruned)
        outcome.pruned = [name for name in outcome.pruned if name not in kept]
    return outcome


# Pure decisions ----------------------------------------------------------------------------------------------------


def superseded(desired: t.Mapping[Key, Json], ours: t.Mapping[Key, Json]) -> list[Key]:
    """This set's objects of an engine in whose words nothing is wanted any more, while the other engine's is."""
    wanted = {APIS[kind] for kind, _, _ in desired}
    if not wanted:
        return []
    return sorted(key for key in ours if key not in desired and APIS[key[0]] not in wanted)


def proved(desired: t.Mapping[Key, Json], ours: t.Mapping[Key, Json]) -> bool:
    """Whether the whole set is in the cluster as it should be and its engine says of each object that it is in force.

    No word of the engine is no proof; on kinds of which it never says anything none is asked for.
    """
    if not all(key in ours and equal(obj, ours[key]) for key, obj in desired.items()):
        return False
    words = [[entry.get("status") for entry in said(key[0], ours[key])] for key in desired if key[0] in CONDITIONS]
    return all("True" in word and "False" not in word for word in words)


def said(kind: str, obj: Json) -> list[Json]:
    """The conditions in which the engine says whether it takes an object. One of an older generation is none: the
    engine has not read what is there now."""
    generation = str(obj["metadata"].get("generation"))
    return [
        entry
        for entry in (obj.get("status") or {}).get("conditions") or []
        if entry.get("type") in CONDITIONS[kind] and str(entry.get("observedGeneration") or generation) == generation
    ]


def key_of(obj: Json) -> Key:
    return obj["kind"], obj["metadata"].get("namespace") or "", obj["metadata"]["name"]


def label(key: Key) -> str:
    kind, namespace, name = key
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def is_ours(obj: Json, set_name: str, cluster_name: str) -> bool:
    labels = obj["metadata"].get("labels") or {}
    return (
        labels.get(LABEL_MANAGED_BY) == MANAGER
        and labels.get(LABEL_SET) == set_name
        and labels.get(LABEL_CLUSTER) == cluster_name
    )


def misfits(objects: t.Sequence[Json], set_name: str, cluster_name: str) -> list[Refusal]:
    """Objects that are no policies of this set: another kind, other labels, twice, or without what a key needs."""
    found = []
    seen: set[Key] = set()
    for index, obj in enumerate(objects):
        if not isinstance(obj, dict) or not isinstance(obj.get("metadata"), dict) or "name" not in obj["metadata"]:
            found.append(Refusal("ZT701", f"objects[{index}]", f"objects[{index}] is no Kubernetes object with a name"))
            continue
        if obj.get("kind") not in PLURALS or obj.get("apiVersion") != APIS[obj["kind"]] or "spec" not in obj:
            kind = f"{obj.get('apiVersion')} {obj.get('kind')}"
            wanted = ", ".join(sorted(PLURALS))
            found.append(
                Refusal("ZT701", f"objects[{index}]", f"objects[{index}] is {kind}; a set holds {wanted} with a spec")
            )
            continue
        key = key_of(obj)
        if (obj["kind"] == "CiliumClusterwideNetworkPolicy") == bool(key[1]):
            why = f"{label(key)} needs a namespace exactly if it is no cluster-wide one"
            found.append(Refusal("ZT701", label(key), why))
        elif key in seen:
            found.append(Refusal("ZT701", label(key), f"{label(key)} is in the set twice"))
        elif not is_ours(obj, set_name, cluster_name):
            why = f"{label(key)} does not carry the labels of set {set_name} of {cluster_name}"
            found.append(Refusal("ZT701", label(key), why))
        seen.add(key)
    return found


def equal(desired: Json, current: Json) -> bool:
    """Whether nothing has to be sent: same spec, and our labels and annotations are there with our values."""
    if not covers(current.get("spec"), desired["spec"]):
        return False
    return all(
        ((current["metadata"].get(field) or {}).get(name)) == value
        for field in ("labels", "annotations")
        for name, value in (desired["metadata"].get(field) or {}).items()
    )


def covers(current: t.Any, desired: t.Any) -> bool:
    """Whether a live spec says what the desired one does and nothing more, but for empty fields."""
    return bool(_bare(current) == _bare(desired))


def _bare(value: t.Any) -> t.Any:
    # An empty matchLabels and an absent one select the same; API servers and clients drop either.
    if isinstance(value, dict):
        bare = {name: _bare(item) for name, item in value.items()}
        return {name: item for name, item in bare.items() if item is not None and item != {}}
    if isinstance(value, list):
        return [_bare(item) for item in value]
    return value


def content(obj: Json) -> t.Any:
    """What a change of an object is judged by: spec, labels and annotations."""
    meta = obj["metadata"]
    return obj.get("spec"), meta.get("labels") or {}, meta.get("annotations") or {}


def prune_refusals(desired: t.Mapping[Key, Json], ours: t.Mapping[Key, Json], stale: t.Sequence[Key]) -> list[Refusal]:
    """Reasons not to prune `stale` without consent: the set is empty, a fifth is exceeded, a namespace would open."""
    if not stale:
        return []
    names = ", ".join(label(key) for key in stale[:5]) + (f" and {len(stale) - 5} more" if len(stale) > 5 else "")
    found = []
    if not desired:
        why = f"the set is empty, and all {len(stale)} policies of it would be removed"
        found.append(Refusal("ZT704", label(stale[0]), f"{why}: {names}; look at the set, or give consent with prune."))
    elif len(stale) * PRUNE_SHARE > len(ours):
        why = f"{len(stale)} of {len(ours)} policies would be removed, more than a fifth"
        found.append(Refusal("ZT704", label(stale[0]), f"{why}: {names}; look at the set, or give consent with prune."))
    left = {key[1] for key in desired}
    for namespace in sorted({key[1] for key in stale} - left):
        where = f"namespace {namespace}" if namespace else "the cluster-wide policies"
        first = next(key for key in stale if key[1] == namespace)
        found.append(
            Refusal(
                "ZT704",
                label(first),
                f"{where}: the last policy of the set there ({label(first)}) would be removed and nothing be enforced "
                "any more; give consent with prune if that is meant.",
            )
        )
    return found


def foreign_refusal(key: Key, obj: Json) -> Refusal:
    managers = sorted({entry.get("manager", "?") for entry in obj["metadata"].get("managedFields") or []})
    labels = obj["metadata"].get("labels") or {}
    if labels.get(LABEL_MANAGED_BY) == MANAGER:
        who = f"set {labels.get(LABEL_SET)} of cluster {labels.get(LABEL_CLUSTER)}"
    else:
        who = f"field managers: {', '.join(managers) or 'unknown'}"
    why = f"{label(key)} exists and is not of this set ({who}); rename ours or remove it."
    return Refusal("ZT706", label(key), why)


def shared_refusal(key: Key, obj: Json) -> Refusal:
    """Another manager added fields to the spec that an apply without force leaves in place."""
    managers = sorted(
        {
            entry.get("manager", "?")
            for entry in obj["metadata"].get("managedFields") or []
            if "f:spec" in (entry.get("fieldsV1") or {}) and entry.get("manager") != MANAGER
        }
    )
    return Refusal(
        "ZT706",
        label(key),
        f"{label(key)} holds fields of its spec that are not of this set, owned by {', '.join(managers) or 'unknown'}; "
        "let one tool own the object: remove these fields, or the object, and run again.",
    )


def difference(key: Key, before: Json | None, after: Json | None) -> Json:
    """One entry of Ansible's diff: JSON text of spec and labels before and after."""

    def text(obj: Json | None) -> str:
        if obj is None:
            return ""
        shown = {"labels": obj["metadata"].get("labels") or {}, "spec": obj.get("spec")}
        return json.dumps(shown, indent=2, sort_keys=True) + "\n"

    return {"before_header": label(key), "after_header": label(key), "before": text(before), "after": text(after)}


# Requests ----------------------------------------------------------------------------------------------------------


def live(
    client: Client, desired: t.Mapping[Key, Json], set_name: str, cluster_name: str
) -> tuple[dict[Key, Json], dict[Key, Json]]:
    """(this set's objects, foreign objects that have a desired object's name), from one paged list of each kind.

    The list is not narrowed by label: an apply on a foreign object of the same name would merge into it.
    """
    ours: dict[Key, Json] = {}
    foreign: dict[Key, Json] = {}

    absent: dict[str, ApiError] = {}

    def read(kind: str) -> None:
        try:
            for page in client.pages(list_path(kind)):
                for obj in page:
                    key = (kind, obj["metadata"].get("namespace") or "", obj["metadata"]["name"])
                    if is_ours(obj, set_name, cluster_name):
                        ours[key] = obj
                    elif key in desired:
                        foreign[key] = obj
        except ApiError as error:
            if error.status != 404:
                raise
            absent[kind] = error

    concurrently(read, sorted(PLURALS))
    # The kinds of an engine that is not installed hold nothing; those that are wanted must be there.
    missing = [kind for kind in sorted(absent) if any(key[0] == kind for key in desired)]
    if missing or len(absent) == len(PLURALS):
        raise absent[missing[0] if missing else min(absent)]
    return ours, foreign


def list_path(kind: str) -> str:
    return f"/apis/{APIS[kind]}/{PLURALS[kind]}"


def path_of(key: Key) -> str:
    kind, namespace, name = key
    middle = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{APIS[kind]}{middle}/{PLURALS[kind]}/{name}"


def send(client: Client, obj: Json, dry_run: bool) -> Json | Refusal:
    """One server-side apply: strict, own manager, never forced. The object that results, or why not."""
    key = key_of(obj)
    try:
        return client.apply(path_of(key), obj, MANAGER, dry_run=dry_run)
    except ApiError as error:
        if error.fatal:
            raise
        return refusal(key, error)


def refusal(key: Key, error: ApiError) -> Refusal:
    """An API server's answer as Refusal: conflicts are ZT706, missing rights ZT911, everything else ZT705."""
    name = label(key)
    if error.status == 409:
        fields = [str(cause.get("field")) for cause in error.causes if cause.get("field")]
        whose = error.details or "conflict"
        named = f" (fields {', '.join(fields)})" if fields else ""
        return Refusal(
            "ZT706", name, f"{name}: another manager owns fields of it{named}: {whose}; let one tool own the object."
        )
    if error.status == 403 and error.reason == "Forbidden" and "is forbidden: User" in error.details:
        return Refusal("ZT911", name, f"{name}: {error.details}; bind the ClusterRole that docs/rbac describes.")
    if error.status == 404 and "namespaces" in error.details:
        return Refusal("ZT705", name, f"{name}: {error.details}; create the namespace first.")
    if error.status == 404:
        owner = OWNERS[APIS[key[0]]]
        return Refusal("ZT705", name, f"{name}: the API server has no such resource; install {owner}'s CRDs first.")
    return Refusal("ZT705", name, f"{name}: the API server refuses it: {error.details}.")


def remove(client: Client, key: Key, obj: Json) -> Refusal | None:
    """Delete exactly the object that was read: one that changed since, or was made anew, is left alone."""
    meta = obj["metadata"]
    body = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]},
    }
    try:
        client.request("DELETE", path_of(key), body=body)
    except ApiError as error:
        if error.fatal:
            raise
        if error.status == 404:
            return None
        return refusal(key, error)
    return None
