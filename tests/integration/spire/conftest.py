# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A laboratory with SPIRE on its nodes. Skipped without root, and where SPIRE is not built (it takes ten minutes)."""

from __future__ import annotations

import json
import os
import subprocess
import time
import typing as t

import pytest
from support.site import ROOT, Run, Site

from lab import build
from lab import state as lab_state

NAME = "spireit"
DOMAIN = "lab.example"
PROGRAMS = ("spire-server", "spire-agent")
ENTRIES = [
    {
        "spiffe_id": f"spiffe://{DOMAIN}/{name}",
        "host": host,
        "selectors": [f"systemd:id:{name}.service"],
        "x509_svid_ttl": 30,
    }
    for name, host in (("trainer", "gpu1"), ("stranger", "gpu1"), ("storage", "gpu2"))
]
FETCH = "/usr/local/bin/spire-agent api fetch x509 -socketPath /run/spire-agent/api.sock -timeout 5s"


class World:
    """The laboratory, the playbook, and what runs on the nodes."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.nodes = {node["name"]: node for node in lab_state.need(site.name)["nodes"]}

    def on(
        self, node: str, script: str, check: bool = True, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A shell script on a node, past SSH."""
        argv = ["nsenter", "-a", "-t", str(self.nodes[node]["leader_pid"]), "sh", "-c", script]
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=check, timeout=120)

    def put(self, node: str, path: str, text: str, mode: str = "0644") -> None:
        self.on(node, f"mkdir -p $(dirname {path}) && umask 077 && cat > {path} && chmod {mode} {path}", stdin=text)

    def wipe(self) -> None:
        """Takes SPIRE away from all nodes, so that the next run is a first one."""
        for node in self.nodes:
            self.on(
                node,
                "systemctl disable --now spire-agent spire-server 2>/dev/null; rm -rf /etc/spire /var/lib/spire "
                "/etc/systemd/system/spire-*.service /usr/local/bin/spire-*; systemctl daemon-reload",
            )

    def play(self, *arguments: str, environment: t.Mapping[str, str] | None = None, **extra: t.Any) -> Run:
        given = {
            "zerotrust_trust_domain": DOMAIN,
            "spire_server_binary": str(build.cached("spire-server")),
            "spire_agent_binary": str(build.cached("spire-agent")),
            "spire_entries": ENTRIES,
            "spire_ca_ttl": "6m",
            "spire_svid_ttl": "1m",
            "spire_jwt_svid_ttl": "1m",
            **extra,
        }
        command = self.site.command("identity", *arguments, extra=given)
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**self.site.environment, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        return Run(done.returncode, done.stdout + done.stderr)

    def fetch(self, node: str, unit: str) -> subprocess.CompletedProcess[str]:
        """What a unit of that name gets from the Workload API."""
        return self.on(node, f"systemd-run --quiet --pipe --wait --collect --unit={unit} {FETCH}", check=False)

    def svid(self, node: str, unit: str) -> dict[str, t.Any]:
        """The SVID that a unit gets: its id, and the serial of its certificate.

        An agent learns of a new entry when it next asks its server (every five seconds), so a refusal is asked again.
        """
        command = f"systemd-run --quiet --pipe --wait --collect --unit={unit} {FETCH} -output json"
        deadline = time.monotonic() + 60
        done = self.on(node, command, check=False)
        while done.returncode != 0 and time.monotonic() < deadline:
            time.sleep(1)
            done = self.on(node, command, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        answer = json.loads(done.stdout)
        (one,) = (answer if isinstance(answer, dict) else answer[0])["svids"]
        return {"spiffe_id": one["spiffe_id"], "certificate": one["x509_svid"]}


@pytest.fixture(scope="session")
def world() -> t.Iterator[World]:
    if os.geteuid() != 0:
        pytest.skip("a laboratory needs root")
    if not all(build.cached(name).exists() for name in PROGRAMS):
        pytest.skip("SPIRE is not built: python3 -m lab tools --with spire")
    site = Site(NAME)
    site.lab("up", "--nodes", "2")
    try:
        yield World(site)
    finally:
        if not os.environ.get("ZEROTRUST_KEEP_LAB"):
            site.lab("down")
