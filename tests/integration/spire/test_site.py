# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook site with zerotrust_identity: spire: refused as a whole, or done; the second run changes nothing."""

from __future__ import annotations

import typing as t

import pytest

from .conftest import DOMAIN, ENTRIES, World

pytestmark = pytest.mark.slow

GIVEN: dict[str, t.Any] = {
    "zerotrust_identity": "spire",
    "zerotrust_trust_domain": DOMAIN,
    "spire_entries": ENTRIES,
    "spire_ca_ttl": "6m",
    "spire_svid_ttl": "1m",
    "spire_jwt_svid_ttl": "1m",
}


def test_a_bad_entry_ends_the_run_before_any_change(world: World) -> None:
    bad = {**ENTRIES[0], "selectors": ["unix:uid:0"]}
    run = world.site.play("site", extra={**GIVEN, "spire_entries": [bad]})
    assert run.rc != 0
    assert "1 blocker, nothing was changed" in run.output
    assert "ZT502" in run.output
    assert "spire_entries[0].selectors" in run.output
    assert not any(run.changed.values())


def test_site_keeps_identity_and_changes_nothing_the_second_time(world: World) -> None:
    first = world.site.play("site", extra=GIVEN)
    assert first.rc == 0, first.output[-4000:]
    section = world.site.report()["identity"]
    assert (section["state"], section["counts"]["ok"]) == ("ok", 3), section
    assert world.svid("gpu1", "trainer.service")["spiffe_id"] == f"spiffe://{DOMAIN}/trainer"
    second = world.site.play("site", extra=GIVEN)
    assert second.rc == 0, second.output[-4000:]
    assert second.changed == {"cp1": 0, "gpu1": 0, "gpu2": 0}
