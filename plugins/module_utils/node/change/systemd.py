# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transient timers of the host's own systemd: they outlive the SSH session and the controller."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import typing as t

COMMAND_SECONDS = 20


class TimersMissing(Exception):
    """This host cannot run a timer of ours; the text says why in one sentence."""


def timer_command(systemd_run: str, unit: str, seconds: float, program: t.Sequence[str]) -> list[str]:
    """The systemd-run command that starts a program once, that many seconds from now (pure).

    The no-op, the change and the rollback all use it, so that what is seen to fire is what will fire. A program that
    is killed is started again; it must bear that. The unit goes away by itself.
    """
    return [
        systemd_run,
        "--quiet",
        "--collect",
        f"--unit={unit}",
        f"--on-active={seconds:g}s",
        "--timer-property=AccuracySec=100ms",
        "--property=Restart=on-failure",
        "--property=RestartSec=2s",
        "--property=OOMScoreAdjust=-900",
        "--",
        *program,
    ]


def python_program(path: str, *arguments: str) -> list[str]:
    """The command that runs a program of the standard library with this very interpreter, isolated (-I)."""
    return [sys.executable, "-I", path, *arguments]


def start_timer(unit: str, seconds: float, program: t.Sequence[str]) -> None:
    """Arms a transient timer; raises TimersMissing where systemd does not run or refuses."""
    if not os.path.isdir("/run/systemd/system"):
        raise TimersMissing("systemd does not run on this host, so there is no timer that could restore the old state")
    systemd_run = shutil.which("systemd-run")
    if not systemd_run:
        raise TimersMissing("systemd-run is not on this host, so no timer can be armed")
    done = _run(timer_command(systemd_run, unit, seconds, program))
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise TimersMissing(f"systemd-run refused to arm a timer: {said[-1] if said else done.returncode}")


def timer_is_waiting(unit: str) -> bool:
    """Whether the timer is active, by systemd's own word."""
    return _run(["systemctl", "is-active", "--quiet", f"{unit}.timer"]).returncode == 0


def stop_timer(unit: str) -> None:
    """Stops a timer. One that is gone is no error: what it would start finds the change decided and does nothing."""
    _run(["systemctl", "stop", f"{unit}.timer"])


def _run(command: t.Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TimersMissing(f"{os.path.basename(command[0])} did not answer: {error}") from error
