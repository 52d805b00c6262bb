# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action's own part: a connection that reuses nothing, and calls that end."""

from __future__ import annotations

import time
import types
import typing as t

import pytest
from ansible.playbook.play_context import PlayContext
from ansible.plugins.loader import connection_loader, init_plugin_loader

from ansible_collections.aicluster.zerotrust.plugins.action import nic_tuning as action


@pytest.fixture(scope="module")
def ssh() -> t.Any:
    init_plugin_loader()
    connection = connection_loader.get("ssh", PlayContext())
    connection.set_options(var_options={"ansible_ssh_args": "-F /tmp/config -o ControlMaster=auto -o ControlPersist=9"})
    return connection


def renew(connection: t.Any) -> None:
    connection.reset = lambda: None
    action.ActionModule._renew(types.SimpleNamespace(_connection=connection, _deadline=20))  # type: ignore[arg-type]


def test_a_renewed_ssh_connection_has_no_master(ssh: t.Any) -> None:
    renew(ssh)
    command = [part.decode() for part in ssh._build_command("ssh", "ssh", "host")]
    options = [part for part in command if part.startswith("Control")]
    # ssh takes the first value of an option; Ansible adds no ControlPath of its own where one is given.
    assert next(part for part in options if part.startswith("ControlMaster")) == "ControlMaster=no"
    assert [part for part in options if part.startswith("ControlPath")] == ["ControlPath=none"]
    assert "ConnectTimeout=5" in command
    assert command[command.index("-F") + 1] == "/tmp/config"


def test_a_call_that_hangs_ends() -> None:
    begin = time.monotonic()
    with pytest.raises(action._TimeOver), action._time_limit(1):
        time.sleep(10)
    assert time.monotonic() - begin < 9


def test_the_time_limit_leaves_no_alarm_behind() -> None:
    with action._time_limit(1):
        pass
    time.sleep(1.2)
