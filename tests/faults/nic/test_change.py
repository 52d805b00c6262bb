# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MTU changes on real hosts, healthy and broken: no host is lost, and every one ends in one whole state."""

from __future__ import annotations

import os
import pathlib
import time

import pytest

from .conftest import DEADLINE, NEW, OLD, SLACK, STATE, World, outcome

LOG_SSH = """#!/bin/sh
printf '%s\\n' "$*" >> {log}
exec ssh "$@"
"""


def test_up_and_back_and_the_second_run_changes_nothing(world: World) -> None:
    predicted = world.run("gpu1", OLD, NEW, "--check", "--diff")
    assert predicted.rc == 0, predicted.output
    assert world.mtu("gpu1") == OLD
    raised = world.run("gpu1", OLD, NEW, "--diff", nic_tuning_deadline=2 * DEADLINE)
    ended = time.monotonic()
    assert (raised.rc, outcome(raised), world.mtu("gpu1")) == (0, "confirmed", NEW), raised.output
    diff = [line for line in raised.output.splitlines() if line.startswith(("+", "-"))]
    assert [line for line in predicted.output.splitlines() if line.startswith(("+", "-"))] == diff
    assert "+mtu 9000" in diff
    assert predicted.changed == raised.changed == {"gpu1": 1}
    again = world.run("gpu1")
    assert (again.rc, again.changed, world.mtu("gpu1")) == (0, {"gpu1": 0}, NEW)
    time.sleep(max(0, ended + 2 * DEADLINE + SLACK - time.monotonic()))
    assert world.mtu("gpu1") == NEW, "a confirmed change was rolled back"
    lowered = world.run("gpu1", NEW, OLD)
    assert (lowered.rc, outcome(lowered), world.mtu("gpu1")) == (0, "confirmed", OLD), lowered.output


def test_what_confirms_is_a_connection_without_a_master(world: World, tmp_path: pathlib.Path) -> None:
    log, program = tmp_path / "log", tmp_path / "ssh"
    program.write_text(LOG_SSH.format(log=log))
    os.chmod(program, 0o755)
    run = world.run("gpu1", ansible_ssh_executable=str(program))
    assert outcome(run) == "confirmed", run.output
    calls = log.read_text().splitlines()
    begin = next(number for number, call in enumerate(calls) if "-O check" in call)
    stop = max(number for number, call in enumerate(calls) if "-O stop" in call)
    assert begin < stop
    after = [call for call in calls[stop + 1 :] if "python" in call]
    assert len(after) >= 3, "status, path_probe and confirm each make a connection"
    fresh = [call for call in after if "ControlPath=none" in call]
    # What comes after the task (the next one) may use a master again; the three of ours did not.
    assert after[: len(fresh)] == fresh
    assert len(fresh) >= 3
    assert all(call.index("ControlMaster=no") < call.index("ControlMaster=auto") for call in fresh)


@pytest.mark.parametrize("moment", ["armed", "applied", "probing"])
def test_a_killed_controller_leaves_the_old_mtu_within_the_deadline(world: World, moment: str) -> None:
    started = world.start("gpu1", nic_tuning_deadline=DEADLINE)
    world.wait(lambda: world.armed("gpu1"), 90, "nothing was armed")
    begin = time.monotonic()
    if moment != "armed":
        world.wait_mtu("gpu1", NEW, DEADLINE)
    if moment == "probing":
        time.sleep(0.4)
    started.kill()
    world.wait(lambda: not world.undecided("gpu1"), DEADLINE + SLACK, "not decided")
    assert time.monotonic() - begin < DEADLINE + SLACK
    # A module that the host was running goes on when its SSH client dies: the last moment may see the confirmation.
    confirmed = world.on("gpu1", f"ls -td {STATE}/2* | head -1 | xargs ls").split().count("confirmed")
    assert moment == "probing" or not confirmed
    assert world.mtu("gpu1") == (NEW if confirmed else OLD)
    assert world.reachable("gpu1")


def test_a_broken_way_out_is_rolled_back_though_ssh_works_elsewhere(world: World) -> None:
    world.link(world.port("gpu1"), "mtu", str(OLD))
    run = world.run("gpu1", **world.mgmt("gpu1"))
    assert run.rc != 0
    assert outcome(run) == "rolled_back", run.output
    assert "ZT303" in run.output
    assert "no unfragmented packet of 9000 bytes went through node0" in run.output
    assert world.mtu("gpu1") == OLD


def test_a_broken_way_back_is_rolled_back(world: World) -> None:
    world.link(world.state["bridge"], "mtu", str(OLD))
    run = world.run("gpu1", **world.mgmt("gpu1"))
    assert (run.rc != 0, outcome(run), world.mtu("gpu1")) == (True, "rolled_back", OLD), run.output
    assert "in fragments of" in run.output


def test_a_path_that_swallows_large_packets_of_ssh_itself(world: World) -> None:
    world.link(world.port("gpu1"), "mtu", str(OLD))
    run = world.run("gpu1", nic_tuning_deadline=DEADLINE)
    assert (run.rc != 0, outcome(run), world.mtu("gpu1")) == (True, "rolled_back", OLD), run.output


def test_the_first_failure_ends_the_batches(world: World) -> None:
    before = world.on("gpu2", f"ls {STATE} 2>/dev/null || true")
    world.link(world.port("gpu1"), "mtu", str(OLD))
    run = world.run("gpu1:gpu2", nic_tuning_deadline=DEADLINE)
    assert run.rc != 0
    assert (world.mtu("gpu1"), world.mtu("gpu2")) == (OLD, OLD)
    assert world.on("gpu2", f"ls {STATE} 2>/dev/null || true") == before


def test_ssh_that_is_cut_off_and_comes_back_after_the_rollback(world: World) -> None:
    started = world.start("gpu1", nic_tuning_deadline=DEADLINE)
    world.wait(lambda: world.armed("gpu1"), 90, "nothing was armed")
    begin = time.monotonic()
    world.link(world.port("gpu1"), "down")
    world.wait_mtu("gpu1", NEW, DEADLINE)
    world.wait_mtu("gpu1", OLD, DEADLINE + SLACK)
    assert DEADLINE - 5 < time.monotonic() - begin < DEADLINE + SLACK
    world.link(world.port("gpu1"), "up")
    run = started.end()
    assert (run.rc != 0, outcome(run)) == (True, "rolled_back"), run.output
    assert "not confirmed within" in run.output


def test_ssh_that_never_comes_back_is_unknown_and_the_host_is_whole(world: World) -> None:
    started = world.start("gpu1", nic_tuning_deadline=DEADLINE)
    world.wait(lambda: world.armed("gpu1"), 90, "nothing was armed")
    world.link(world.port("gpu1"), "down")
    run = started.end()
    assert (run.rc != 0, outcome(run)) == (True, "unknown"), run.output
    assert "its own rollback was due" in run.output
    assert world.mtu("gpu1") == OLD


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("", "systemd-run is not on this host"),
        ("exit 1", "refused to arm a timer"),
        ("exit 0", "did not run its program"),
    ],
)
def test_a_host_without_timers_is_refused_before_the_change(world: World, broken: str, words: str) -> None:
    world.on("gpu1", "mv /usr/bin/systemd-run /usr/bin/systemd-run.off")
    if broken:
        world.on("gpu1", f"printf '#!/bin/sh\\n{broken}\\n' > /usr/bin/systemd-run; chmod 755 /usr/bin/systemd-run")
    try:
        run = world.run("gpu1")
    finally:
        world.on("gpu1", "mv /usr/bin/systemd-run.off /usr/bin/systemd-run")
    assert (run.rc != 0, outcome(run)) == (True, "refused"), run.output
    assert "ZT206" in run.output
    assert words.lower() in " ".join(run.output.split()).lower()
    assert world.mtu("gpu1") == OLD


@pytest.mark.parametrize("option", ["size=8k,nr_inodes=40", "ro"])
def test_a_full_or_readonly_disk_is_refused_before_the_change(world: World, option: str) -> None:
    base = STATE.rsplit("/", 1)[0]
    world.on("gpu1", f"mkdir -p -m 700 {base} && mount -t tmpfs -o mode=700,{option} tmpfs {base}")
    try:
        run = world.run("gpu1")
    finally:
        world.on("gpu1", f"umount {base}")
    assert (run.rc != 0, outcome(run)) == (True, "refused"), run.output
    assert "ZT206" in run.output
    assert world.mtu("gpu1") == OLD


def test_an_interface_that_another_hand_changed_since_the_plan_is_refused(world: World) -> None:
    world.set_mtu("gpu1", 4000)
    run = world.run("gpu1")
    assert (run.rc != 0, outcome(run), world.mtu("gpu1")) == (True, "refused", 4000), run.output
    assert "another hand" in run.output


def test_another_hand_in_the_last_second_keeps_its_value(world: World) -> None:
    started = world.start("gpu1")
    world.wait(lambda: world.armed("gpu1"), 90, "nothing was armed")
    world.set_mtu("gpu1", 4000)
    run = started.end()
    assert (run.rc != 0, outcome(run), world.mtu("gpu1")) == (True, "rolled_back", 4000), run.output
    assert "another hand" in run.output


def test_of_two_runs_at_once_the_second_is_refused(world: World) -> None:
    world.link(world.port("gpu1"), "mtu", str(OLD))  # keeps the first one busy: it probes several times
    first = world.start("gpu1", **world.mgmt("gpu1"))
    world.wait(lambda: world.armed("gpu1"), 90, "nothing was armed")
    second = world.run("gpu1", **world.mgmt("gpu1"))
    assert second.rc != 0
    assert outcome(second) == "refused", second.output
    assert outcome(first.end()) == "rolled_back"
    assert world.mtu("gpu1") == OLD


def test_the_state_is_for_root_only_and_few_are_kept(world: World) -> None:
    modes = world.on("gpu1", f"find {STATE} -type d -printf '%m\\n' -o -type f -printf '%m\\n' | sort -u")
    assert set(modes.split()) <= {"700", "600"}
    assert world.on("gpu1", f"stat -c %U {STATE}") == "root"
    assert int(world.on("gpu1", f"ls -d {STATE}/2* | wc -l")) <= 6


def test_without_a_gateway_peers_prove_the_size_and_without_peers_it_is_refused(world: World) -> None:
    route = world.on("gpu1", "ip -4 route show default")
    world.on("gpu1", "ip -4 route del default")
    try:
        refused = world.run("gpu1:gpu2", batch=2)
        assert (refused.rc != 0, world.mtu("gpu1")) == (True, OLD), refused.output
        assert "nic_tuning_probe_targets" in refused.output
        # gpu2 has a gateway: it was changed in the same batch, and is the peer that takes the size by now.
        assert world.mtu("gpu2") == NEW
        proved = world.run("gpu1:gpu2", batch=2)
    finally:
        world.on("gpu1", f"ip -4 route replace {route}")
    assert (proved.rc, proved.changed, world.mtu("gpu1")) == (0, {"gpu1": 1, "gpu2": 0}, NEW), proved.output
