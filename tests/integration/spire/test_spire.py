# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SPIRE on a laboratory's nodes: who gets an identity and who does not, restarts, rotation, and what stays secret."""

from __future__ import annotations

import time

import pytest

from .conftest import DOMAIN, ENTRIES, World

pytestmark = pytest.mark.slow

HEALTHY = (
    "for i in $(seq 60); do /usr/local/bin/spire-{0} healthcheck -socketPath /run/spire-{0}/api.sock && exit 0; "
    "sleep 0.5; done; exit 1"
)


@pytest.fixture(scope="module")
def spire(world: World) -> World:
    run = world.play("-vvv")
    assert run.rc == 0, run.output[-4000:]
    assert "PRIVATE KEY" not in run.output
    return world


def test_only_the_unit_that_an_entry_names_gets_an_identity(spire: World) -> None:
    assert spire.svid("gpu1", "trainer.service")["spiffe_id"] == f"spiffe://{DOMAIN}/trainer"
    assert spire.svid("gpu2", "storage.service")["spiffe_id"] == f"spiffe://{DOMAIN}/storage"
    # the right name of a unit on the wrong host, and another unit on the right one
    for node, unit in (("gpu2", "trainer.service"), ("gpu1", "other.service")):
        denied = spire.fetch(node, unit)
        assert denied.returncode != 0
        assert "no identity issued" in denied.stderr + denied.stdout


def test_the_second_run_changes_nothing(spire: World) -> None:
    run = spire.play()
    assert run.rc == 0, run.output[-4000:]
    assert run.changed == {"cp1": 0, "gpu1": 0, "gpu2": 0}


def test_a_bad_variable_ends_the_run_before_any_change(spire: World) -> None:
    run = spire.play(spire_svid_ttl="2m")
    assert run.rc != 0
    assert "with spire_ca_ttl 6m SPIRE promises at most 1m" in run.output
    assert not any(run.changed.values())


def test_an_empty_list_of_entries_removes_none(spire: World) -> None:
    # consent of the laboratory's inventory is link_reset, agent_restart and enforce, not prune
    run = spire.play(spire_entries=[])
    assert run.rc != 0
    assert f"all {len(ENTRIES)} entries of workloads in the set would be removed" in run.output
    assert spire.svid("gpu1", "trainer.service")["spiffe_id"] == f"spiffe://{DOMAIN}/trainer"


def test_restarts_lose_no_identity(spire: World) -> None:
    spire.on("gpu1", "systemctl restart spire-agent && " + HEALTHY.format("agent"))
    assert spire.svid("gpu1", "trainer.service")["spiffe_id"] == f"spiffe://{DOMAIN}/trainer"
    spire.on("cp1", "systemctl stop spire-server")
    try:
        # while there is no server, agents give what they hold
        assert spire.svid("gpu1", "trainer.service")["spiffe_id"] == f"spiffe://{DOMAIN}/trainer"
    finally:
        spire.on("cp1", "systemctl start spire-server && " + HEALTHY.format("server"))


def test_svids_rotate_three_times(spire: World) -> None:
    seen = {spire.svid("gpu1", "trainer.service")["certificate"]}
    end = time.monotonic() + 200
    while len(seen) < 4 and time.monotonic() < end:
        time.sleep(3)
        seen.add(spire.svid("gpu1", "trainer.service")["certificate"])
    assert len(seen) >= 4


def test_secrets_are_for_their_owner_only(spire: World) -> None:
    names = "-name '*.key' -o -name keys.json -o -name agent-data.json"
    find = f"find /etc/spire /var/lib/spire -type f \\( {names} \\)"
    for node, least in (("cp1", 3), ("gpu1", 2)):
        files = spire.on(node, f"{find} -printf '%m %p\\n'").stdout.split("\n")[:-1]
        assert len(files) >= least
        assert [line for line in files if not line.startswith("600 ")] == []
    # the key of the CA for hosts has one place
    assert spire.on("gpu1", "ls /etc/spire/node-ca", check=False).returncode != 0


def test_a_lost_ca_for_hosts_is_refused_and_not_made_anew(spire: World) -> None:
    spire.on("cp1", "mv /etc/spire/node-ca /var/tmp/node-ca")
    try:
        run = spire.play()
        assert run.rc != 0
        assert "restore both from your backup" in run.output
        assert spire.on("cp1", "ls /etc/spire/node-ca", check=False).returncode != 0
    finally:
        spire.on("cp1", "mv /var/tmp/node-ca /etc/spire/node-ca")
