# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rollback program: its state machine on a directory of a test, and the program itself on a real veth pair."""

from __future__ import annotations

import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.change import rollback_program as program

NAMES = ("eth0", "eth1")


class FakeKernel(program.Kernel):
    """Interfaces of a test. refuse: {(name, mtu): errno}; sleeping costs nothing but is counted."""

    def __init__(self, **mtus: int) -> None:
        self.mtus = dict(mtus)
        self.refuse: dict[tuple[str, int], int] = {}
        self.slept = 0

    def name(self, index: int, name: str) -> str:
        return name

    def mtu(self, interface: str) -> int:
        if interface not in self.mtus:
            raise OSError(19, "No such device")
        return self.mtus[interface]

    def set_mtu(self, interface: str, mtu: int) -> None:
        self.mtu(interface)
        if (interface, mtu) in self.refuse:
            raise OSError(self.refuse[interface, mtu], os.strerror(self.refuse[interface, mtu]))
        self.mtus[interface] = mtu

    def sleep(self, seconds: float) -> None:
        self.slept += 1
        if self.slept == 3:
            self.refuse.clear()  # what the kernel refused twice it takes the third time


@pytest.fixture
def change(tmp_path: pathlib.Path) -> str:
    directory = tmp_path / "nic" / "change"
    directory.mkdir(parents=True)
    changes = [{"interface": n, "index": i, "mtu_from": 1500, "mtu_to": 9000} for i, n in enumerate(NAMES)]
    (directory / "state.json").write_text(json.dumps({"changes": changes, "deadline": 5}))
    for name in ("armed", "not-applied"):
        (directory / name).touch()
    return str(directory)


def test_apply_then_confirm_keeps_the_new_mtu(change: str) -> None:
    kernel = FakeKernel(eth0=1500, eth1=1500)
    assert program.apply(change, kernel) == "armed"
    assert os.path.exists(os.path.join(change, "applied"))
    assert program.claim(change, "armed", "confirmed")
    assert program.restore(change, kernel, "too late") == "confirmed"
    assert kernel.mtus == {"eth0": 9000, "eth1": 9000}


def test_rollback_restores_and_no_later_apply_acts(change: str) -> None:
    kernel = FakeKernel(eth0=1500, eth1=1500)
    program.apply(change, kernel)
    assert program.restore(change, kernel, "not confirmed") == "rolled-back"
    assert program.read_reason(change) == "not confirmed"
    assert program.apply(change, kernel) == "rolled-back"
    assert not program.claim(change, "armed", "confirmed")
    assert kernel.mtus == {"eth0": 1500, "eth1": 1500}


def test_a_rollback_before_the_apply_keeps_it_from_acting(change: str) -> None:
    kernel = FakeKernel(eth0=1500, eth1=1500)
    assert program.restore(change, kernel, "asked for") == "rolled-back"
    assert program.apply(change, kernel) == "rolled-back"
    assert kernel.mtus == {"eth0": 1500, "eth1": 1500}


def test_a_refusal_in_the_middle_restores_what_was_set(change: str) -> None:
    kernel = FakeKernel(eth0=1500, eth1=1500)
    kernel.refuse["eth1", 9000] = 22
    assert program.apply(change, kernel) == "rolled-back"
    assert kernel.mtus == {"eth0": 1500, "eth1": 1500}
    assert "Invalid argument" in program.read_reason(change)


def test_the_value_of_another_hand_is_left_alone(change: str) -> None:
    kernel = FakeKernel(eth0=1500, eth1=4000)
    assert program.apply(change, kernel) == "rolled-back"
    assert kernel.mtus == {"eth0": 1500, "eth1": 4000}
    assert "another hand set eth1 to MTU 4000" in program.read_reason(change)


def test_restoring_is_tried_again_until_the_kernel_takes_it(change: str) -> None:
    kernel = FakeKernel(eth0=1500, eth1=1500)
    program.apply(change, kernel)
    kernel.refuse["eth0", 1500] = 16
    assert program.restore(change, kernel, "not confirmed") == "rolled-back"
    assert kernel.mtus == {"eth0": 1500, "eth1": 1500}
    assert kernel.slept == 3


def test_a_host_that_cannot_restore_says_so_and_is_not_called_complete(change: str) -> None:
    kernel = FakeKernel(eth0=1500, eth1=1500)
    program.apply(change, kernel)
    kernel.refuse["eth0", 1500] = 16
    assert program.restore(change, kernel, "not confirmed", seconds=0.0) == "rolling-back"
    assert "could not restore: eth0" in program.read_reason(change)
    kernel.refuse.clear()
    assert program.restore(change, kernel, "again") == "rolled-back"
    assert kernel.mtus == {"eth0": 1500, "eth1": 1500}


def test_a_rollback_killed_in_the_middle_is_finished_by_the_next_one(change: str) -> None:
    kernel = FakeKernel(eth0=1500, eth1=9000)
    os.rename(os.path.join(change, "armed"), os.path.join(change, "rolling-back"))
    assert program.restore(change, kernel, "again") == "rolled-back"
    assert kernel.mtus == {"eth0": 1500, "eth1": 1500}


def test_an_interface_that_is_gone_does_not_stop_the_others(change: str) -> None:
    kernel = FakeKernel(eth0=1500, eth1=1500)
    program.apply(change, kernel)
    del kernel.mtus["eth1"]
    assert program.restore(change, kernel, "not confirmed") == "rolled-back"
    assert kernel.mtus == {"eth0": 1500}


def test_a_reason_that_cannot_be_written_stops_no_rollback(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel(eth0=1500, eth1=1500)
    program.apply(change, kernel)
    real = os.open

    def full(path: str, flags: int, *more: int) -> int:
        if str(path).endswith("reason"):
            raise OSError(28, "No space left on device")
        return real(path, flags, *more)

    monkeypatch.setattr(program.os, "open", full)
    assert program.restore(change, kernel, "not confirmed") == "rolled-back"
    assert kernel.mtus == {"eth0": 1500, "eth1": 1500}


def test_of_many_who_claim_exactly_one_wins(change: str) -> None:
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda i: program.claim(change, "armed", ("confirmed", "rolling-back")[i % 2]), range(64)))
    assert won.count(True) == 1


def test_a_lock_that_is_held_delays_but_never_prevents_the_rollback(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "LOCK_SECONDS", 0.2)
    kernel = FakeKernel(eth0=9000, eth1=9000)
    with program.locked(change, 1.0) as got:
        assert got
        begin = time.monotonic()
        assert program.restore(change, kernel, "not confirmed") == "rolled-back"
    assert time.monotonic() - begin >= 0.2
    assert kernel.mtus == {"eth0": 1500, "eth1": 1500}


def test_nothing_is_applied_while_another_holds_the_lock(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "LOCK_SECONDS", 0.2)
    kernel = FakeKernel(eth0=1500, eth1=1500)
    with program.locked(change, 1.0):
        assert program.apply(change, kernel) == "rolled-back"
    assert kernel.mtus == {"eth0": 1500, "eth1": 1500}


def _veth() -> bool:
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"):
        return False
    script = "ip link add va type veth peer name vb"
    return subprocess.run(["unshare", "--net", "sh", "-c", script], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _veth(), reason="needs root and a kernel with veth")
@pytest.mark.parametrize("action", ["rollback", "apply"])
def test_the_program_itself_on_real_interfaces(change: str, action: str) -> None:
    changes = [{"interface": n, "index": 0, "mtu_from": 1500, "mtu_to": 9000} for n in ("va", "vb")]
    path = pathlib.Path(change)
    (path / "state.json").write_text(json.dumps({"changes": changes, "deadline": 5}))
    shutil.copy(program.__file__, path / "rollback.py")
    before = 9000 if action == "rollback" else 1500
    script = (
        f"ip link add va mtu {before} type veth peer name vb mtu {before} && "
        f"{sys.executable} -I {path}/rollback.py {action} {path} && cat /proc/net/dev >/dev/null && ip -o link"
    )
    done = subprocess.run(["unshare", "--net", "sh", "-c", script], capture_output=True, text=True, check=True)
    after = 1500 if action == "rollback" else 9000
    assert done.stdout.count(f"mtu {after} ") == 2
    assert program.phase(change) == ("rolled-back" if action == "rollback" else "armed")


def test_the_noop_leaves_its_mark(change: str) -> None:
    done = subprocess.run([sys.executable, "-I", program.__file__, "noop", change], check=False)
    assert done.returncode == 0
    assert program.phase(change) == "rolled-back"


def test_the_program_needs_nothing_but_the_standard_library() -> None:
    text = pathlib.Path(program.__file__).read_text(encoding="utf-8")
    assert "ansible" not in text.replace("aicluster.zerotrust contributors", "")
