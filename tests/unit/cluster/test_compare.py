# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy set against what the cluster has."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.apply import list_path
from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.compare import compare
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.options import labels

Json = dict[str, t.Any]


class Api:
    """A client whose lists are given; it has nothing that writes."""

    def __init__(self, *objects: Json) -> None:
        self.objects = objects

    def list_or_none(self, path: str) -> list[Json] | None:
        found = [obj for obj in self.objects if list_path(obj["kind"]) == path]
        return found or None


def wanted(name: str = "cart") -> Json:
    spec = {"action": "ALLOW", "rules": [{"from": [{"source": {"namespaces": ["shop"]}}]}]}
    meta = {"name": name, "namespace": "shop", "labels": labels("default", "lab")}
    return {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": meta, "spec": spec}


def live(name: str = "cart", status: str | None = "True", observed: str = "2") -> Json:
    """As istiod leaves it: the condition's observedGeneration is text there."""
    obj = copy.deepcopy(wanted(name))
    obj["metadata"]["generation"] = 2
    if status:
        condition = {"type": "ZtunnelAccepted", "status": status, "message": "said", "observedGeneration": observed}
        obj["status"] = {"conditions": [condition]}
    return obj


def asked(*there: Json, want: t.Sequence[Json] = ()) -> Json:
    return compare(t.cast("t.Any", Api(*there)), want or [wanted()], "default", "lab")


def test_a_set_that_is_there() -> None:
    assert asked(live()) == {
        "engine": "istio_ambient",
        "missing": [],
        "drifted": [],
        "foreign": [],
        "unchanged": 1,
        "extra": [],
        "conditions": {"accepted": 1, "refused": [], "unknown": 0},
    }


def test_what_is_missing_drifted_foreign_and_left_over() -> None:
    changed = live()
    changed["spec"]["rules"] = []
    alien = live("alien")
    alien["metadata"]["labels"] = {}
    old = {"kind": "CiliumNetworkPolicy", "metadata": {**wanted("old")["metadata"]}, "spec": {}}
    other = live("other")
    other["metadata"]["labels"] = labels("another", "lab")
    seen = asked(changed, alien, old, other, want=[wanted(), wanted("alien"), wanted("gone")])
    assert seen["missing"] == ["AuthorizationPolicy shop/gone"]
    assert seen["drifted"] == [{"object": "AuthorizationPolicy shop/cart", "fields": ["spec.rules"]}]
    assert seen["foreign"] == ["AuthorizationPolicy shop/alien"]
    # another set's object is none of ours; the old engine's is
    assert seen["extra"] == ["CiliumNetworkPolicy shop/old"]
    assert seen["unchanged"] == 0


@pytest.mark.parametrize(
    ("obj", "accepted", "refused", "unknown"),
    [
        (live(), 1, 0, 0),
        (live(status="False"), 0, 1, 0),
        (live(status=None), 0, 0, 1),
        (live(status="Unknown"), 0, 0, 1),
        # of an older generation: the engine has not read what is there now
        (live(observed="1"), 0, 0, 1),
        (live(status="False", observed="1"), 0, 0, 1),
    ],
)
def test_the_engines_word(obj: Json, accepted: int, refused: int, unknown: int) -> None:
    said = asked(obj)["conditions"]
    assert (said["accepted"], len(said["refused"]), said["unknown"]) == (accepted, refused, unknown)
