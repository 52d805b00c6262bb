# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A laboratory of its own for the faults of an MTU change: two workers, SSH over the changed interface unless said."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import tempfile
import time
import typing as t

import pytest
from support.site import ROOT, Run, Site

from lab import state as lab_state

NAME = "nicfault"
OLD, NEW = 1500, 9000
# The role's own deadline: a busy machine takes its time. What waits for a rollback gives the shorter one.
PATIENT = 60
DEADLINE = 20
SLACK = 10  # seconds that a rollback may take beyond its deadline on a busy machine
STATE = "/var/lib/aicluster-zerotrust/nic"
NODES = ("gpu1", "gpu2")


def descendants(pid: int) -> list[int]:
    """Children of a process, and theirs."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    children = [int(text) for text in found.stdout.split()]
    return children + [below for child in children for below in descendants(child)]


@dataclasses.dataclass
class Started:
    """A playbook with all that it starts."""

    process: subprocess.Popen[str]

    def kill(self) -> None:
        """kill -9 for the controller, its workers (each has a session of its own) and their SSH clients."""
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate()

    def end(self, seconds: float = 300) -> Run:
        try:
            output, _none = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        return Run(self.process.returncode, output)


class World:
    """The laboratory, and what breaks it."""

    def __init__(self, site: Site, masters: str) -> None:
        self.site = site
        self.masters = masters
        self.state: dict[str, t.Any] = lab_state.need(site.name)
        self.nodes = {node["name"]: node for node in self.state["nodes"]}

    def on(self, node: str, script: str) -> str:
        """Output of a shell script on a node, past SSH."""
        pid = str(self.nodes[node]["leader_pid"])
        command = ["nsenter", "-a", "-t", pid, "sh", "-c", script]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def mtu(self, node: str) -> int:
        return int(self.on(node, "cat /sys/class/net/node0/mtu"))

    def set_mtu(self, node: str, mtu: int) -> None:
        self.on(node, f"ip link set node0 mtu {mtu}")

    def port(self, node: str) -> str:
        """The host's side of the node's node0."""
        return f"{self.state['bridge']}{self.nodes[node]['number']}"

    def link(self, name: str, *change: str) -> None:
        subprocess.run(["ip", "link", "set", name, *change], check=True)

    def wait(self, what: t.Callable[[], bool], seconds: float, text: str) -> float:
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            if what():
                return time.monotonic() - begin
            time.sleep(0.03)
        raise AssertionError(f"{text}: not within {seconds} s")

    def wait_mtu(self, node: str, mtu: int, seconds: float) -> float:
        return self.wait(lambda: self.mtu(node) == mtu, seconds, f"{node} has MTU {self.mtu(node)}, not {mtu}")

    def reachable(self, node: str) -> bool:
        command = ["ssh", "-F", self.state["ssh_config"], "-o", "ControlPath=none", "-o", "ConnectTimeout=20"]
        # 20 kB come back whole: a path that only takes small packets is not reachable.
        done = subprocess.run([*command, node, "head -c 20000 /dev/zero"], capture_output=True, timeout=60, check=False)
        return done.returncode == 0 and len(done.stdout) == 20000

    def start(self, target: str, old: int = OLD, new: int = NEW, *arguments: str, **extra: t.Any) -> Started:
        changes = [{"interface": "node0", "mtu_from": old, "mtu_to": new}]
        given = {"target": target, "nic_tuning_changes": changes, "nic_tuning_deadline": PATIENT, **extra}
        command = self.site.command("../tests/faults/nic/change", *arguments, extra=given)
        # An SSH master that an earlier run left open would hang: tests set MTUs under it, and its large segments
        # are then dropped in silence.
        masters = tempfile.mkdtemp(dir=self.masters)
        return Started(
            subprocess.Popen(
                command,
                cwd=ROOT,
                env={**self.site.environment, "ANSIBLE_SSH_CONTROL_PATH_DIR": masters},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
        )

    def run(self, target: str, old: int = OLD, new: int = NEW, *arguments: str, **extra: t.Any) -> Run:
        return self.start(target, old, new, *arguments, **extra).end()

    def mgmt(self, node: str) -> dict[str, str]:
        """SSH over the management network, which the change does not touch."""
        return {"ansible_host": self.nodes[node]["mgmt_ip"]}

    def armed(self, node: str) -> bool:
        return bool(self.on(node, f"ls {STATE}/2*/armed 2>/dev/null || true"))

    def undecided(self, node: str) -> str:
        return self.on(node, f"ls -d {STATE}/2*/armed {STATE}/2*/rolling-back 2>/dev/null || true")

    def repair(self) -> None:
        self.link(self.state["bridge"], "mtu", str(NEW))
        for node in self.nodes:
            self.link(self.port(node), "up")
            self.link(self.port(node), "mtu", str(NEW))


def outcome(run: Run) -> str:
    """The outcome that the last task, or the failed one, shows."""
    found = re.findall(r"outcome: (\w+)", run.output)
    return str(found[-1]) if found else ""


@pytest.fixture(scope="session")
def laboratory() -> t.Iterator[World]:
    if os.geteuid() != 0:
        pytest.skip("a laboratory needs root")
    site = Site(NAME)
    site.lab("up", "--nodes", "2")
    try:
        # Short: the path of a socket has at most 108 characters.
        with tempfile.TemporaryDirectory(prefix="ztcp", ignore_cleanup_errors=True) as masters:
            yield World(site, masters)
    finally:
        if not os.environ.get("ZEROTRUST_KEEP_LAB"):
            site.lab("down")


@pytest.fixture
def world(laboratory: World) -> t.Iterator[World]:
    """The laboratory with the old MTU everywhere; afterwards nothing is left armed, and everything is repaired."""
    laboratory.repair()
    for node in NODES:
        laboratory.set_mtu(node, OLD)
    try:
        yield laboratory
    finally:
        laboratory.repair()
        for node in NODES:
            laboratory.wait(lambda node=node: not laboratory.undecided(node), PATIENT + SLACK, f"{node}: half a state")
            assert laboratory.reachable(node), f"{node} is lost"
