# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's side with systemd and the kernel replaced: what is refused, what is kept, what a reboot leaves."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import stat

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.change import frozen, host, inspect, systemd
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.change import rollback_program as program

CHANGES = [inspect.Change("eth0", 1500, 9000)]


class World:
    """mtu is eth0's; timers are (unit, seconds, program) as armed; fires runs a timer's program here."""

    def __init__(self) -> None:
        self.mtu = 1500
        self.timers: list[tuple[str, float, list[str]]] = []
        self.stopped: list[str] = []
        self.noop_fires = True
        self.waiting = True
        self.frozen = {"eth0": {"pause": "0 1 1"}}

    def start_timer(self, unit: str, seconds: float, command: list[str]) -> None:
        self.timers.append((unit, seconds, list(command)))
        if "noop" in command and self.noop_fires:
            program.main(command[-2:])

    def fire(self, action: str) -> None:
        for _unit, _seconds, command in self.timers:
            if command[-2] == action:
                program.main(command[-2:])


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()

    def ioctl(request: int, interface: str, mtu: int) -> int:
        if request == program.SIOCSIFMTU:
            world.mtu = mtu
        return world.mtu

    def observe(changes: list[inspect.Change], sys_root: str = "/sys") -> dict[str, inspect.Interface]:
        return {"eth0": inspect.Interface("eth0", 0, world.mtu, 68, 9216, (), (), False)}

    monkeypatch.setattr(program, "_mtu_ioctl", ioctl)
    monkeypatch.setattr(inspect, "observe", observe)
    monkeypatch.setattr(systemd, "start_timer", world.start_timer)
    monkeypatch.setattr(systemd, "stop_timer", world.stopped.append)
    monkeypatch.setattr(systemd, "timer_is_waiting", lambda unit: world.waiting)
    monkeypatch.setattr(frozen, "settings", lambda: {k: dict(v) for k, v in world.frozen.items()})
    monkeypatch.setattr(host, "NOOP_WAIT", 0.3)
    monkeypatch.setattr(host, "NOOP_AFTER", 0.1)
    return world


@pytest.fixture
def base(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "lib")


def arm(base: str, name: str = "c1") -> dict[str, object]:
    return host.arm_and_apply(name, CHANGES, 60, False, base)


def test_the_noop_uses_the_program_and_the_timer_of_a_real_rollback(world: World, base: str) -> None:
    host.noop(base)
    arm(base)
    noop, rollback = world.timers[0][2], world.timers[1][2]
    assert [part for part in noop if "noop" not in part] == [part for part in rollback if "c1" not in part][:2]
    assert os.listdir(os.path.join(base, "nic")) == ["lock", "c1"] or sorted(os.listdir(base + "/nic")) == [
        "c1",
        "lock",
    ]


def test_a_noop_that_does_not_fire_is_refused(world: World, base: str) -> None:
    world.noop_fires = False
    with pytest.raises(host.Refused, match="did not run its program") as caught:
        host.noop(base)
    assert caught.value.refusal.code == "ZT206"


def test_the_rollback_is_armed_before_the_change(world: World, base: str) -> None:
    status = arm(base)
    assert [command[-2] for _unit, _seconds, command in world.timers] == ["rollback", "apply"]
    assert [seconds for _unit, seconds, _command in world.timers] == [60, 1.0]
    assert (status["phase"], status["applied"], world.mtu) == ("armed", False, 1500)


def test_the_state_is_for_root_only(world: World, base: str) -> None:
    arm(base)
    directory = os.path.join(base, "nic", "c1")
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    assert {stat.S_IMODE(os.stat(os.path.join(directory, name)).st_mode) for name in os.listdir(directory)} == {0o600}


def test_confirm_keeps_and_a_late_timer_does_nothing(world: World, base: str) -> None:
    arm(base)
    world.fire("apply")
    assert host.confirm("c1", base)["phase"] == "confirmed"
    assert "aicluster-zerotrust-nic-rollback-c1" in world.stopped
    world.fire("rollback")
    assert world.mtu == 9000


def test_confirm_before_the_change_was_made_rolls_back(world: World, base: str) -> None:
    arm(base)
    assert host.confirm("c1", base)["phase"] == "rolled-back"
    world.fire("apply")
    assert world.mtu == 1500


def test_confirm_rolls_back_when_pause_differs(world: World, base: str) -> None:
    arm(base)
    world.fire("apply")
    world.frozen["eth0"]["pause"] = "0 0 0"
    status = host.confirm("c1", base)
    assert (status["phase"], world.mtu) == ("rolled-back", 1500)
    assert "eth0 pause: 0 1 1 -> 0 0 0" in status["reason"]


def test_confirm_after_the_rollback_says_rolled_back(world: World, base: str) -> None:
    arm(base)
    world.fire("apply")
    world.fire("rollback")
    assert host.confirm("c1", base)["phase"] == "rolled-back"
    assert world.mtu == 1500


def test_a_second_change_is_refused_while_one_is_armed(world: World, base: str) -> None:
    arm(base)
    with pytest.raises(host.Refused, match="Change c1 is being made"):
        arm(base, "c2")
    assert len(world.timers) == 2


def test_a_change_that_a_reboot_interrupted_blocks_nobody(
    world: World, base: str, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    arm(base)
    boot = tmp_path / "boot_id"
    boot.write_text("another\n")
    monkeypatch.setattr(host, "BOOT_ID", str(boot))
    assert host.status("c1", base)["phase"] == "rebooted"
    assert arm(base, "c2")["phase"] == "armed"


def test_a_change_whose_timer_was_stopped_is_restored_by_the_next_one(
    world: World, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm(base)
    world.fire("apply")
    with pytest.raises(host.Refused, match="Change c1 is being made"):
        host.refuse_undecided(False, base)
    monkeypatch.setattr(host, "OVERDUE", -60.0)
    with pytest.raises(host.Refused, match="Change c1 is being made"):
        host.refuse_undecided(True, base)
    assert world.mtu == 9000, "check mode wrote"
    host.refuse_undecided(False, base)
    assert host.status("c1", base)["phase"] == "rolled-back"
    assert world.mtu == 1500


def test_looking_for_undecided_changes_makes_nothing(base: str) -> None:
    host.refuse_undecided(False, base)
    assert not os.path.exists(base)


def test_a_timer_that_does_not_wait_refuses_before_the_change(world: World, base: str) -> None:
    world.waiting = False
    with pytest.raises(host.Refused, match="does not run it"):
        arm(base)
    assert [command[-2] for _unit, _seconds, command in world.timers] == ["rollback"]
    assert world.mtu == 1500
    assert host.status("c1", base)["phase"] == "rolled-back"


def test_an_interface_changed_since_the_plan_is_refused(world: World, base: str) -> None:
    world.mtu = 4000
    with pytest.raises(host.Refused, match="another hand"):
        arm(base)
    assert not world.timers


def test_a_base_that_others_may_write_is_refused(world: World, base: str) -> None:
    os.makedirs(base)
    os.chmod(base, 0o777)
    with pytest.raises(host.Refused, match="only root may write"):
        arm(base)


def test_a_full_disk_refuses_before_the_change(world: World, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def full(handle: int) -> None:
        if os.readlink(f"/proc/self/fd/{handle}").endswith("state.json"):
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(host.os, "fsync", full)
    with pytest.raises(host.Refused, match="No space left on device"):
        arm(base)
    assert not world.timers
    assert not os.path.exists(os.path.join(base, "nic", "c1"))


def test_the_last_five_decided_changes_are_kept(world: World, base: str) -> None:
    for number in range(8):
        arm(base, f"c{number}")
        world.fire("apply")
        host.rollback(f"c{number}", "test", base)
        world.timers.clear()
    arm(base, "c8")
    names = sorted(name for name in os.listdir(os.path.join(base, "nic")) if name != "lock")
    assert names == ["c3", "c4", "c5", "c6", "c7", "c8"]


@pytest.mark.parametrize("bad", ["../x", "", "A", "a/b", "-x"])
def test_a_change_id_is_a_plain_name(base: str, bad: str) -> None:
    with pytest.raises(host.Refused):
        host.status(bad, base)


def test_an_unknown_change_is_none(base: str) -> None:
    assert host.status("c9", base)["phase"] == "none"


def test_two_changes_of_one_interface_are_refused() -> None:
    one = dataclasses.asdict(CHANGES[0])
    with pytest.raises(host.Refused, match="named twice"):
        host.parse_changes([one, one])


def test_the_timer_command_outlives_the_session_and_bears_a_kill() -> None:
    command = systemd.timer_command("/usr/bin/systemd-run", "u", 60, ["python3", "-I", "/p", "rollback", "/d"])
    assert command[-6:] == ["--", "python3", "-I", "/p", "rollback", "/d"]
    assert {"--on-active=60s", "--timer-property=AccuracySec=100ms", "--property=Restart=on-failure"} <= set(command)
