# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registration entries: what is refused, what is changed, and that nothing of others ever is."""

from __future__ import annotations

import dataclasses
import string
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.aicluster.zerotrust.plugins.module_utils.identity import entries
from ansible_collections.aicluster.zerotrust.plugins.module_utils.identity.entries import Entry

DOMAIN = "cluster.example"
GOOD: dict[str, t.Any] = {
    "spiffe_id": f"spiffe://{DOMAIN}/trainer",
    "host": "gpu1",
    "selectors": ["systemd:id:trainer.service", "unix:uid:0"],
}


def parse(*items: t.Any, set_name: str = "default") -> list[Entry]:
    kinds = ["unix", "systemd"]
    parsed, problems = entries.parse(list(items), DOMAIN, set_name, hosts=["cp1", "gpu1"], attestors=kinds)
    assert problems == []
    return parsed


BAD = [
    ({"spiffe_id": "spiffe://other.example/trainer"}, "spiffe_id", "begins with"),
    ({"spiffe_id": f"spiffe://{DOMAIN}/"}, "spiffe_id", "segment"),
    ({"spiffe_id": f"spiffe://{DOMAIN}/a//b"}, "spiffe_id", "segment"),
    ({"spiffe_id": f"spiffe://{DOMAIN}/a/../b"}, "spiffe_id", "segment"),
    ({"spiffe_id": f"spiffe://{DOMAIN}/a b"}, "spiffe_id", "segment"),
    ({"spiffe_id": f"spiffe://{DOMAIN}/{'a' * 2048}"}, "spiffe_id", "2048"),
    ({"spiffe_id": f"spiffe://{DOMAIN}/spire/agent/x"}, "spiffe_id", "SPIRE's own"),
    ({"spiffe_id": f"spiffe://{DOMAIN}/host/gpu1"}, "spiffe_id", "stands for hosts"),
    ({"spiffe_id": None}, "spiffe_id", "begins with"),
    ({"host": None}, "spire_entries[0]", "exactly one"),
    ({"parent_id": f"spiffe://{DOMAIN}/x"}, "spire_entries[0]", "exactly one"),
    ({"host": "gpu9"}, "host", "no such host"),
    ({"host": "a b"}, "host", "letters"),
    ({"host": 1}, "host", "inventory name"),
    ({"host": None, "parent_id": "gpu1"}, "parent_id", "begins with"),
    ({"selectors": []}, "selectors", "at least one"),
    ({"selectors": "unix:uid:1"}, "selectors", "list"),
    ({"selectors": ["uid"]}, "selectors[0]", "type:value"),
    ({"selectors": ["docker:label:x"]}, "selectors[0]", "no attestor"),
    ({"selectors": ["unix:uid:1", "unix:uid:1"]}, "selectors[0]", "twice"),
    ({"selectors": ["unix:uid:0"]}, "selectors", "every process of root"),
    ({"x509_svid_ttl": "1h"}, "x509_svid_ttl", "whole seconds"),
    ({"x509_svid_ttl": True}, "x509_svid_ttl", "whole seconds"),
    ({"jwt_svid_ttl": -1}, "jwt_svid_ttl", "whole seconds"),
    ({"dns_names": "a.b"}, "dns_names", "list of DNS names"),
    ({"dns_names": ["a b"]}, "dns_names", "list of DNS names"),
    ({"hint": 5}, "hint", "text"),
    ({"selector": ["unix:uid:1"]}, "selector", "no such field"),
]


@pytest.mark.parametrize(("change", "where", "text"), BAD, ids=[f"{index}-{case[1]}" for index, case in enumerate(BAD)])
def test_a_bad_entry_is_refused_by_name_and_remedy(change: dict[str, t.Any], where: str, text: str) -> None:
    parsed, problems = entries.parse(
        [{**GOOD, **change}], DOMAIN, "default", hosts=["gpu1"], attestors=["unix", "systemd"], longest_ttl=14400
    )
    assert parsed == []
    assert any(problem.variable.endswith(where) and text in problem.remedy for problem in problems), problems


def test_a_ttl_that_the_ca_cannot_promise_is_refused() -> None:
    _parsed, (problem,) = entries.parse([{**GOOD, "x509_svid_ttl": 14401}], DOMAIN, "default", longest_ttl=14400)
    assert "14400 s" in problem.remedy


def test_twins_are_refused_whatever_the_order_of_their_selectors() -> None:
    twin = {**GOOD, "selectors": GOOD["selectors"][::-1], "hint": "other"}
    parsed, (problem,) = entries.parse([GOOD, twin], DOMAIN, "default")
    assert len(parsed) == 1
    assert problem.variable == "spire_entries[1]"
    assert "spire_entries[0]" in problem.remedy


def test_no_list_is_refused() -> None:
    for value in ("x", {"a": 1}, None):
        assert entries.parse(value, DOMAIN, "default")[1]


def test_a_host_is_the_parent_of_its_workloads() -> None:
    (entry,) = parse(GOOD)
    alias = entries.host_alias(DOMAIN, "gpu1", "default")
    assert entry.parent_id == alias.spiffe_id == f"spiffe://{DOMAIN}/host/gpu1"
    assert alias.parent_id == f"spiffe://{DOMAIN}/spire/server"
    assert alias.selectors == ("x509pop:subject:cn:gpu1",)


def test_the_second_comparison_finds_nothing() -> None:
    wanted = [entries.host_alias(DOMAIN, "gpu1", "default"), *parse(GOOD)]
    assert entries.compare(wanted, [], "default").create == wanted
    again = entries.compare(wanted, wanted, "default")
    assert not again.any
    assert again.kept == wanted


def test_what_is_not_of_the_identity_is_an_update() -> None:
    (old,), (new,) = parse(GOOD), parse({**GOOD, "x509_svid_ttl": 600})
    changes = entries.compare([new], [old], "default")
    assert changes.update == [(old, new)]
    assert not changes.create
    assert not changes.delete


def test_entries_of_others_are_never_touched_and_stand_in_the_way_by_name() -> None:
    (wanted,) = parse(GOOD)
    hand_made = dataclasses.replace(wanted, entry_id="6d7e0d21-made-by-hand")
    other_set = parse({**GOOD, "host": "cp1"}, set_name="default-2")
    changes = entries.compare([wanted], [hand_made, *other_set], "default")
    assert changes.foreign == [(wanted, hand_made)]
    assert not changes.any


NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=3)
ITEMS = st.lists(NAMES, unique=True, max_size=8).map(
    lambda names: [{**GOOD, "spiffe_id": f"spiffe://{DOMAIN}/w/{name}"} for name in names]
)


@given(ITEMS, ITEMS, ITEMS)
def test_applying_the_changes_gives_what_is_wanted_and_keeps_others(
    before: list[dict[str, t.Any]], after: list[dict[str, t.Any]], others: list[dict[str, t.Any]]
) -> None:
    there = [*parse(*before), *parse(*({**item, "host": "cp1"} for item in others), set_name="theirs")]
    wanted = parse(*after)
    changes = entries.compare(wanted, there, "default")
    gone = {entry.entry_id for entry in changes.delete}
    result = {entry.entry_id for entry in [*there, *changes.create] if entry.entry_id not in gone}
    assert result == {entry.entry_id for entry in [*wanted, *there] if entry in wanted or "theirs" in entry.entry_id}
    if gone:
        assert (entries.prune_refusal(changes) is not None) == (len(gone) * 5 > len(before))


def test_a_prune_of_hosts_is_counted_apart_from_one_of_workloads() -> None:
    hosts = [entries.host_alias(DOMAIN, f"gpu{number}", "default") for number in range(20)]
    work = parse(GOOD)

    def refusal(wanted: list[Entry], there: list[Entry]) -> str | None:
        return entries.prune_refusal(entries.compare(wanted, there, "default"))

    assert "all 1 entries of workloads" in str(refusal(hosts, [*hosts, *work]))
    assert "all 20 entries of hosts" in str(refusal(work, [*hosts, *work]))
    assert refusal([*hosts[1:], *work], [*hosts, *work]) is None
    assert refusal([*hosts, *work], []) is None


def test_other_selectors_for_the_same_identity_need_no_consent() -> None:
    old, new = parse(GOOD), parse({**GOOD, "selectors": ["systemd:id:other.service"]})
    changes = entries.compare(new, old, "default")
    assert (changes.create, changes.delete) == (new, old)
    assert entries.prune_refusal(changes) is None


def test_data_and_answer_of_the_server_are_the_same_entry() -> None:
    (entry,) = parse({**GOOD, "x509_svid_ttl": 60, "dns_names": ["b.example", "a.example"], "hint": "h"})
    data = entry.data()
    trust_domain, path = entry.spiffe_id[len("spiffe://") :].split("/", 1)
    _domain, parent = entry.parent_id[len("spiffe://") :].split("/", 1)
    answer = {
        **data,
        "id": data["entry_id"],
        "spiffe_id": {"trust_domain": trust_domain, "path": f"/{path}"},
        "parent_id": {"trust_domain": trust_domain, "path": f"/{parent}"},
    }
    assert entries.from_server([answer]) == [entry]


def test_a_selector_value_may_hold_colons() -> None:
    (entry,) = parse({**GOOD, "selectors": ["unix:sha256:a:b"]})
    assert entry.data()["selectors"] == [{"type": "unix", "value": "sha256:a:b"}]
