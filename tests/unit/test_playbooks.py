# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks: a run that finds no host is an error, not a success without a proof."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
K3S = "[server]\ncp1\n[agent]\ngpu1\n"


@pytest.mark.parametrize("inventory", ["", K3S, f"{K3S}[all:vars]\nzerotrust_hosts=server:agent\n"])
def test_no_host_in_the_pattern(tmp_path: Path, inventory: str) -> None:
    hosts = tmp_path / "hosts.ini"
    hosts.write_text(inventory, encoding="utf-8")
    playbook = Path(sys.executable).with_name("ansible-playbook")
    ran = subprocess.run(
        [playbook, "-i", hosts, ROOT / "playbooks/verify.yml"],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "HOME": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode != 0
    assert "No host of this run is in the pattern kube_control_plane:kube_node" in ran.stdout + ran.stderr
