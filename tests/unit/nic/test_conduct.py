# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side against a host that is simulated around the real rollback program."""

from __future__ import annotations

import contextlib
import json
import pathlib
import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.change import conduct
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.change import rollback_program as program

DEADLINE = 60
OLD, NEW = 1500, 9000


class Kernel(program.Kernel):
    def __init__(self) -> None:
        self.value = OLD

    def name(self, index: int, name: str) -> str:
        return name

    def mtu(self, interface: str) -> int:
        return self.value

    def set_mtu(self, interface: str, mtu: int) -> None:
        self.value = mtu


class Host:
    """One host with a clock of its own: timers fire when time passes. The fields are what a test breaks."""

    def __init__(self, root: pathlib.Path) -> None:
        self.directory = root / "nic" / "change"
        self.directory.parent.mkdir(parents=True)
        self.kernel = Kernel()
        self.now = 0.0
        self.timers: list[tuple[float, str]] = []
        self.path_ok = True
        self.fail_calls: set[int] = set()  # numbers of the calls that raise before they act
        self.lose_answers: set[int] = set()  # numbers of the calls that act and raise then
        self.cut_when_applied = False
        self.noop_fires = True
        self.calls: list[str] = []
        self.renewed = 0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.fire()

    def fire(self) -> None:
        due = sorted(timer for timer in self.timers if timer[0] <= self.now)
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for _at, action in due:
            if action == "apply":
                program.apply(str(self.directory), self.kernel)
            else:
                program.restore(str(self.directory), self.kernel, "not confirmed in time")

    def renew(self) -> None:
        self.renewed += 1

    def call(self, module: str, arguments: t.Mapping[str, t.Any]) -> conduct.Result:
        number = len(self.calls)
        self.calls.append(arguments.get("state", module))
        self.sleep(0.4)
        cut = self.cut_when_applied and self.kernel.value == NEW
        if number in self.fail_calls or cut:
            self.sleep(4)
            raise conduct.CallFailed("connection timed out")
        result = self.path(arguments) if module == "path_probe" else self.nic(arguments)
        if number in self.lose_answers:
            raise conduct.CallFailed("broken pipe")
        return result

    def path(self, arguments: t.Mapping[str, t.Any]) -> conduct.Result:
        probe = {"target": "192.0.2.1", "sent": True, "answered": self.path_ok, "forward_ok": self.path_ok}
        probe.update(backward_ok=self.path_ok, reply_fragment_size=None, error=None)
        return {"path": {"interface": "eth0", "size": arguments["size"], "probes": [probe]}}

    def nic(self, arguments: t.Mapping[str, t.Any]) -> conduct.Result:
        state = arguments["state"]
        if state == "noop":
            if self.noop_fires:
                return {"noop_seconds": 1.0}
            return {"failed": True, "refusal": {"code": "ZT206", "message": "no timers"}}
        if state == "arm_and_apply":
            self.directory.mkdir()
            change = {"interface": "eth0", "index": 0, "mtu_from": OLD, "mtu_to": NEW}
            (self.directory / "state.json").write_text(json.dumps({"changes": [change], "deadline": DEADLINE}))
            for name in ("not-applied", "armed"):
                (self.directory / name).touch()
            self.timers += [(self.now + 1, "apply"), (self.now + DEADLINE, "rollback")]
        if state == "confirm" and self.kernel.value == NEW:
            program.claim(str(self.directory), "armed", "confirmed")
        if state == "rollback":
            program.restore(str(self.directory), self.kernel, arguments["reason"])
        phase = program.phase(str(self.directory)) if self.directory.exists() else "none"
        applied = (self.directory / "applied").exists()
        reason = program.read_reason(str(self.directory))
        status = {"phase": phase, "applied": applied, "reason": reason, "interfaces": {"eth0": self.kernel.value}}
        return {"status": status}

    def run(self) -> conduct.Outcome:
        wanted = conduct.Wanted(
            "change", [{"interface": "eth0", "mtu_from": OLD, "mtu_to": NEW}], {"eth0": ["192.0.2.1"]}, DEADLINE
        )
        return conduct.Conductor(wanted, self.call, self.renew, self.clock, self.sleep).run()


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Host:
    return Host(tmp_path)


def test_a_healthy_change_is_confirmed_after_a_new_connection_and_a_probe(host: Host) -> None:
    outcome = host.run()
    assert outcome.state == "confirmed"
    assert host.kernel.value == NEW
    assert host.calls[:2] == ["noop", "arm_and_apply"]
    assert host.calls[-2:] == ["path_probe", "confirm"]
    assert host.renewed == 1
    host.sleep(2 * DEADLINE)
    assert host.kernel.value == NEW


def test_nothing_is_armed_when_the_noop_does_not_fire(host: Host) -> None:
    host.noop_fires = False
    outcome = host.run()
    assert (outcome.state, outcome.code) == ("refused", "ZT206")
    assert host.calls == ["noop"]


def test_a_broken_path_is_rolled_back_at_once(host: Host) -> None:
    host.path_ok = False
    outcome = host.run()
    assert (outcome.state, outcome.code) == ("rolled_back", "ZT208")
    assert host.kernel.value == OLD
    assert host.now < DEADLINE / 2
    assert "no unfragmented packet of 9000 bytes went through eth0" in outcome.text
    assert "192.0.2.1: no answer" in outcome.text


def test_a_host_that_is_cut_off_restores_itself_and_is_reported(host: Host) -> None:
    host.cut_when_applied = True
    outcome = host.run()
    assert outcome.state == "rolled_back"
    assert host.kernel.value == OLD
    assert "connection timed out" in outcome.text
    assert "confirm" not in host.calls


def test_a_host_that_never_comes_back_is_unknown_not_passed(host: Host) -> None:
    host.fail_calls = set(range(2, 1000))
    outcome = host.run()
    assert outcome.state == "unknown"
    assert host.kernel.value == OLD


@pytest.mark.parametrize("kind", ["fail_calls", "lose_answers"])
@pytest.mark.parametrize("number", range(1, 8))
def test_one_lost_call_anywhere_ends_in_one_whole_state_that_is_told(host: Host, kind: str, number: int) -> None:
    setattr(host, kind, {number})
    outcome = host.run()
    host.sleep(2 * DEADLINE)
    assert {"confirmed": NEW, "rolled_back": OLD, "refused": OLD}[outcome.state] == host.kernel.value


@pytest.mark.parametrize("number", range(1, 8))
def test_a_controller_that_dies_anywhere_leaves_the_old_state_unless_it_had_confirmed(host: Host, number: int) -> None:
    class Killed(BaseException):
        pass

    real = host.call

    def call(module: str, arguments: t.Mapping[str, t.Any]) -> conduct.Result:
        if len(host.calls) == number:
            raise Killed
        return real(module, arguments)

    host.call = call  # type: ignore[method-assign]
    with contextlib.suppress(Killed):
        host.run()
    host.sleep(2 * DEADLINE)
    assert host.kernel.value == (NEW if "confirm" in host.calls else OLD)


def test_a_noop_that_could_not_be_run_ends_before_anything(host: Host) -> None:
    host.fail_calls = {0}
    with pytest.raises(conduct.CallFailed):
        host.run()
    assert host.kernel.value == OLD
