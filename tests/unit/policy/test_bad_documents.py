# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Good policies with one thing broken, at random places: each gives one error with a remedy, or is still a policy."""

from __future__ import annotations

import copy
import json
import pathlib
import random
import typing as t

import jsonschema
import pytest
import yaml

from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy import load, model
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.options import Options
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.render import ENGINES, render

ROOT = pathlib.Path(__file__).resolve().parents[3]
SCHEMA = jsonschema.Draft202012Validator(json.loads((ROOT / "docs" / "policy.schema.json").read_text("utf-8")))
BLOCKS = [part.split("```", 1)[0] for part in (ROOT / "docs" / "policy.md").read_text("utf-8").split("```yaml\n")[1:]]
GOOD = [dict(document) for block in BLOCKS for document in load.parse_text(block, "policy.md")[0]]
JUNK: list[t.Any] = [
    *(None, True, 0, -1, 65536, 1.5, float("inf"), "", " ", "x" * 300, "UPPER", "a b", "*", "\u00e9", "\u00b2", "a\n"),
    *([], {}, [[]], [{}], [None], {"": ""}, {"a": None}, {1: 2}, "10.0.0.0/33", "10.0.0.1/8", "all", "required"),
    *("spiffe://", "spiffe://td/ns/a/sa/", "spiffe://td/workload"),
]
OPTIONS = Options("td", ("10.0.0.0/8",), "1.20.2", True, True, {"production": "waypoint"})


def places(value: t.Any, path: tuple[t.Any, ...] = ()) -> t.Iterator[tuple[t.Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def broken(chance: random.Random) -> t.Any:
    document: t.Any = copy.deepcopy(chance.choice(GOOD))
    path = chance.choice(list(places(document)))
    if not path:
        document[chance.choice(["too_much", "spec", "kind", "to", "from", "ports", "http", "default"])] = {}
        return document
    at = document
    for step in path[:-1]:
        at = at[step]
    kind = chance.randrange(4)
    if kind == 0:
        del at[path[-1]]
    elif kind == 1 and isinstance(at, dict):
        at[f"{path[-1]}s"] = at.pop(path[-1])
    else:
        at[path[-1]] = chance.choice(JUNK)
    return document


@pytest.mark.parametrize("seed", range(20))
def test_one_error_for_each_broken_document(seed: int) -> None:
    chance = random.Random(seed)
    bad = 0
    for _ in range(60):
        document = broken(chance)
        try:
            model.parse(document)
            refused = False
        except model.PolicyError:
            refused = True
            bad += 1
        for engine in ENGINES:
            objects, findings = render([document], set_name="s", cluster_name="c", engine=engine, options=OPTIONS)
            blocking = [finding for finding in findings if finding.blocks]
            assert len(blocking) <= 1
            if refused:
                assert objects == []
                assert [finding.code for finding in findings] == ["ZT701"], document
                assert findings[0].remedy
                assert findings[0].message
                assert not findings[0].subject.name.endswith(".")
            for finding in findings:
                json.dumps(finding.to_dict())
    assert bad >= 20


@pytest.mark.parametrize("seed", range(10))
def test_what_the_parser_takes_the_schema_takes(seed: int) -> None:
    chance = random.Random(1000 + seed)
    for _ in range(60):
        document = broken(chance)
        try:
            model.parse(document)
        except model.PolicyError:
            continue
        assert SCHEMA.is_valid([document]), document


def test_errors_of_engines_name_file_and_line_too() -> None:
    text = yaml.safe_dump([{"name": "a", "namespace": "n", "from": {}, "allow": []}], sort_keys=False)
    documents, _ = load.parse_text(text, "a.yml")
    _, findings = render(documents, set_name="s", cluster_name="c", engine="istio_ambient")
    assert [(finding.code, finding.subject.name, finding.source) for finding in findings if finding.blocks] == [
        ("ZT701", "a.yml[0].from", "a.yml:3")
    ]
