# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A laboratory with the playbooks run on it as a user runs them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECAP = re.compile(r"^(?P<host>\S+)\s+: ok=\d+\s+changed=(?P<changed>\d+)\s+unreachable=\d+\s+failed=\d+", re.M)


@dataclasses.dataclass
class Run:
    """One ansible-playbook run: exit status, all output, and the recap's counts by host."""

    rc: int
    output: str

    @property
    def changed(self) -> dict[str, int]:
        return {m["host"]: int(m["changed"]) for m in RECAP.finditer(self.output)}


class Site:
    """Commands on one laboratory of this name; nothing outside of it is touched."""

    def __init__(self, name: str) -> None:
        self.name = name
        own = {"ZEROTRUST_LAB": name, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        self.environment = {**os.environ, **own}

    def lab(self, *arguments: str) -> str:
        """Output of one lab command; raises CalledProcessError with its output shown."""
        done = subprocess.run(
            [sys.executable, "-m", "lab", *arguments, "--name", self.name],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"lab {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    @property
    def state(self) -> dict[str, t.Any]:
        """The laboratory's own record: nodes with their leader_pid, kubeconfig, tools."""
        home = pathlib.Path(os.environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local/state")
        text = (home / "aicluster-zerotrust/lab" / self.name / "state.json").read_text()
        return t.cast("dict[str, t.Any]", json.loads(text))

    def command(self, playbook: str, *arguments: str, extra: dict[str, t.Any] | None = None) -> list[str]:
        command = ["ansible-playbook", "-i", "inventories/lab", f"playbooks/{playbook}.yml", *arguments]
        return [*command, "-e", json.dumps(extra)] if extra else command

    def play(self, playbook: str, *arguments: str, extra: dict[str, t.Any] | None = None) -> Run:
        done = subprocess.run(
            self.command(playbook, *arguments, extra=extra),
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Run(done.returncode, done.stdout)

    def on(self, node: str, *command: str) -> str:
        """Output of a command on a node, run as root there; fails the test when the command fails."""
        done = subprocess.run(
            ["nsenter", "-a", "-t", str(self.node(node)["leader_pid"]), *command],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{node}: {' '.join(command)}: {done.stderr}"
        return done.stdout.strip()

    def node(self, name: str) -> dict[str, t.Any]:
        return next(node for node in self.state["nodes"] if name in (node["name"], node["inventory_name"]))

    def api(self, *arguments: str, data: t.Any = None) -> str:
        """kubectl with the lab's own kubeconfig."""
        state = self.state
        command = [state["tools"]["kubectl"], "--kubeconfig", state["kubeconfig"], *arguments]
        done = subprocess.run(
            command, input=None if data is None else json.dumps(data), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def mtus(self) -> dict[str, str]:
        return {node["name"]: self.on(node["name"], "cat", "/sys/class/net/node0/mtu") for node in self.state["nodes"]}

    def report(self) -> dict[str, t.Any]:
        """The newest report.json of this laboratory."""
        path = pathlib.Path(self.report_dir()) / "latest" / "report.json"
        return t.cast("dict[str, t.Any]", json.loads(path.read_text()))

    def report_dir(self) -> str:
        done = subprocess.run(
            ["ansible-inventory", "-i", "inventories/lab", "--host", "cp1"],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return t.cast("str", json.loads(done.stdout)["zerotrust_report_dir"])

    def roots(self) -> list[dict[str, t.Any]]:
        """Open root findings of the newest report that make it fail or unknown."""
        return [
            finding
            for finding in self.report()["findings"]
            if finding["caused_by"] is None
            and finding["severity"] in ("blocker", "fail")
            and finding["state"] != "accepted"
        ]


@contextlib.contextmanager
def unreachable(site: Site, node: str) -> t.Iterator[None]:
    """The node takes no SSH: the listener and the sessions of earlier runs, which Ansible would reuse, are ended."""
    site.on(node, "systemctl", "stop", "ssh")
    site.on(node, "sh", "-c", "pkill -x sshd || true")
    try:
        yield
    finally:
        site.on(node, "systemctl", "start", "ssh")
