# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SPIRE on a laboratory's nodes: who gets an identity, mutual TLS across rotations and restarts, what stays secret."""

from __future__ import annotations

import json
import pathlib
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


PORT = 9443
STORAGE, TRAINER = f"spiffe://{DOMAIN}/storage", f"spiffe://{DOMAIN}/trainer"
PEER = "/var/tmp/peer.py"


def connections(spire: World, log: str) -> list[dict[str, str | None]]:
    text = spire.on("gpu1", f"cat {log}", check=False).stdout
    return [json.loads(line) for line in text.split("\n")[:-1]]


def test_mutual_tls_outlives_rotations_and_restarts_without_a_failed_connection(spire: World) -> None:
    for node in ("gpu1", "gpu2"):
        spire.put(node, PEER, (pathlib.Path(__file__).parent / "peer.py").read_text(encoding="utf-8"))
    address = spire.nodes["gpu2"]["ip"]
    client = f"python3 {PEER} client {address} {PORT} {STORAGE}"
    try:
        spire.on("gpu2", f"systemd-run --quiet --collect --unit=storage python3 {PEER} server {PORT} {TRAINER}")
        spire.on("gpu2", f"for i in $(seq 60); do ss -ltn | grep -q :{PORT} && exit 0; sleep 0.5; done; exit 1")
        spire.on("gpu1", f"systemd-run --quiet --collect --unit=trainer {client} /run/trainer.log")
        spire.on("gpu1", f"systemd-run --quiet --collect --unit=stranger {client} /run/stranger.log")
        end, restarted, seen = time.monotonic() + 150, False, connections(spire, "/run/trainer.log")
        while time.monotonic() < end:
            time.sleep(2)
            seen = connections(spire, "/run/trainer.log")
            serials = [{line.get(side) for line in seen} for side in ("client", "server")]
            if min(map(len, serials)) >= 4 and restarted:
                break
            if min(map(len, serials)) >= 2 and not restarted:
                # what workloads hold stays good while an agent or the server restarts
                spire.on("gpu1", "systemctl restart spire-agent && " + HEALTHY.format("agent"))
                spire.on("cp1", "systemctl restart spire-server && " + HEALTHY.format("server"))
                restarted = True
        strangers = connections(spire, "/run/stranger.log")
    finally:
        spire.on("gpu1", "systemctl stop trainer stranger", check=False)
        spire.on("gpu2", "systemctl stop storage", check=False)
    print(f"{len(seen)} connections, serials {[len(one) for one in serials]}, {len(strangers)} refused")
    assert [line for line in seen if line["error"]] == []
    assert min(map(len, serials)) >= 4, serials
    assert len(seen) > 100
    # the same program with another identity of the trust domain is never served
    assert len(strangers) > 100
    assert [line for line in strangers if not line["error"]] == []


def test_without_a_certificate_there_is_no_connection(spire: World) -> None:
    address = spire.nodes["gpu2"]["ip"]
    unit = "systemd-run --quiet --collect --unit=storage"
    try:
        spire.on("gpu2", f"{unit} python3 {PEER} server {PORT} {TRAINER}")
        spire.on("gpu2", f"for i in $(seq 60); do ss -ltn | grep -q :{PORT} && exit 0; sleep 0.5; done; exit 1")
        command = f"timeout 10 openssl s_client -connect {address}:{PORT} -quiet -ign_eof </dev/null"
        done = spire.on("gpu1", command, check=False)
        assert "certificate required" in done.stderr
        assert done.stdout == ""
    finally:
        spire.on("gpu2", "systemctl stop storage", check=False)


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
