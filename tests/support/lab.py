# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A laboratory as tests use it: its command line, its cluster, its nodes, and what it may not leave behind."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time
import typing as t

from lab import proc

REPO = pathlib.Path(__file__).resolve().parents[2]


class Lab:
    """The command line of one laboratory, as a user has it."""

    def __init__(self, name: str, state_home: pathlib.Path) -> None:
        self.name = name
        self.state = state_home / "aicluster-zerotrust" / "lab" / name
        self.env = {**os.environ, "XDG_STATE_HOME": str(state_home), "ZEROTRUST_LAB": name}

    def __call__(self, *words: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "lab", *words],
            cwd=REPO, env=self.env, input=stdin, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    @property
    def facts(self) -> dict[str, t.Any]:
        return json.loads((self.state / "state.json").read_text(encoding="utf-8"))

    def node(self, name: str) -> dict[str, t.Any]:
        return next(node for node in self.facts["nodes"] if node["name"] == name)

    def sudo(self, node: str, *words: str) -> str:
        return self("ssh", node, "--", "sudo", *words).stdout

    def kubectl(self, *words: str) -> str:
        argv = [self.facts["tools"]["kubectl"], "--kubeconfig", self.facts["kubeconfig"], *words]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120).stdout

    def api(self, *words: str) -> t.Any:
        return json.loads(self.kubectl("get", "-o", "json", *words))

    def helm(self, *words: str) -> str:
        argv = [self.facts["tools"]["helm"], "--kubeconfig", self.facts["kubeconfig"], "-n", "kube-system", *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=180)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def cilium(self, **values: str) -> None:
        """Install or upgrade the real chart and wait for every agent to run the new configuration."""
        facts = self.facts
        values = {
            "ipam.mode": "kubernetes",
            "kubeProxyReplacement": "true",
            "k8sServiceHost": facts["gateway"],
            "k8sServicePort": str(facts["control_plane"]["port"]),
            "rollOutCiliumPods": "true",
            **values,
        }
        pairs = ",".join(f"{key}={value}" for key, value in values.items())
        self.helm("upgrade", "--install", "cilium", facts["chart"], "--set", pairs, "--wait", "--timeout", "2m")
        self.kubectl("-n", "kube-system", "rollout", "status", "ds/cilium", "--timeout=120s")


def eventually(probe: t.Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if probe():
            return True
        time.sleep(0.2)
    return probe()


def traces(lab_id: str) -> list[str]:
    """Everything on the machine that carries the laboratory's id."""
    found = [f"link {name}" for name in os.listdir("/sys/class/net") if name.startswith(f"zt{lab_id}")]
    if os.path.isdir("/run/netns"):
        found += [f"netns {name}" for name in os.listdir("/run/netns") if lab_id in name]
    found += [f"folder {path}" for path in pathlib.Path("/run/systemd/nspawn").glob(f"*/zt-{lab_id}-*")]
    # a zombie (no start time) has ended, and waits for its parent only
    for entry in [e for e in os.listdir("/proc") if e.isdigit() and proc.start_time(int(e))]:
        for file in ("cgroup", "cmdline"):
            try:
                text = pathlib.Path(f"/proc/{entry}/{file}").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            if f"zt-lab-{lab_id}" in text or f"zt-{lab_id}-" in text:
                found.append(f"process {entry}: {text[:80]}")
    for line in pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        if f"zt-{lab_id}" in line or f"zt-lab-{lab_id}" in line:
            found.append(f"mount {line}")
    for folder, dirs, _files in os.walk("/sys/fs/cgroup"):
        found += [f"cgroup {folder}/{name}" for name in dirs if name == f"zt-lab-{lab_id}"]
    return found
