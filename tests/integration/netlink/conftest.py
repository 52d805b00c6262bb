# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network namespaces for the differential tests, and a way to run our readers inside one."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time
import typing as t

import pytest


def collections_path() -> str:
    """The directory that holds ansible_collections, from where this process imports it."""
    import ansible_collections.aicluster.zerotrust.plugins.module_utils as found

    return str(pathlib.Path(next(iter(found.__path__))).absolute().parents[4])


class Namespace:
    """One network namespace with a mount namespace's worth of /run/wireguard of its own."""

    def __init__(self, name: str, folder: pathlib.Path) -> None:
        self.name = name
        self.sockets = folder / name
        self.sockets.mkdir()
        self.processes: list[subprocess.Popen[bytes]] = []
        subprocess.run(["ip", "netns", "add", name], check=True)
        self.ip("link set lo up")

    def command(self, *words: str) -> list[str]:
        """The command, run in the namespace with its own directory of WireGuard sockets."""
        script = 'mkdir -p /run/wireguard && mount --bind "$0" /run/wireguard && exec "$@"'
        return ["ip", "netns", "exec", self.name, "sh", "-c", script, str(self.sockets), *words]

    def run(self, *words: str) -> str:
        done = subprocess.run(self.command(*words), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def ip(self, arguments: str) -> str:
        return self.run("ip", *arguments.split())

    def ip_json(self, arguments: str) -> t.Any:
        return json.loads(self.run("ip", "-j", "-d", *arguments.split()) or "[]")

    def python(self, code: str) -> t.Any:
        """The value that the expression has in the namespace; it may use the modules named below."""
        head = (
            "import dataclasses, json\n"
            "from ansible_collections.aicluster.zerotrust.plugins.module_utils.netlink import core, generic, route,"
            " wireguard\n"
            "from ansible_collections.aicluster.zerotrust.plugins.module_utils.node import path, tunnel, observe\n"
            "def plain(value):\n"
            "    return dataclasses.asdict(value)\n"
            "def attempt(function, *values):\n"
            "    try:\n"
            "        function(*values)\n"
            "    except Exception as error:\n"
            "        return type(error).__name__, getattr(error, 'errno', None), str(error)\n"
        )
        return json.loads(self.run(sys.executable, "-c", f"{head}print(json.dumps({code}, default=plain))"))

    def wireguard_go(self, device: str) -> None:
        environment = {**os.environ, "WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "error"}
        process = subprocess.Popen(
            self.command("wireguard-go", device),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self.processes.append(process)
        for _attempt in range(600):
            if (self.sockets / f"{device}.sock").exists():
                return
            if process.poll() is not None:
                assert process.stderr is not None
                raise AssertionError(f"wireguard-go ended: {process.stderr.read().decode()}")
            time.sleep(0.05)
        raise AssertionError("wireguard-go made no socket within 30 s")

    def close(self) -> None:
        for process in self.processes:
            process.terminate()
            process.communicate(timeout=10)
        subprocess.run(["ip", "netns", "delete", self.name], check=False)


@pytest.fixture
def namespaces(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[t.Callable[[str], Namespace]]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    monkeypatch.setenv("PYTHONPATH", collections_path())
    made: list[Namespace] = []

    def make(letter: str) -> Namespace:
        namespace = Namespace(f"zt-net-{os.getpid()}-{letter}", tmp_path)
        made.append(namespace)
        return namespace

    yield make
    for namespace in made:
        namespace.close()
