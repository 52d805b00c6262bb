# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of a laboratory: started so that they outlive the command, ended only when proved to be ours.

A process is ours when its recorded start time still fits its pid, or when it sits in the laboratory's own cgroup
(`.../zt-lab-<id>/...`, or a systemd unit `zt-lab-<id>-...`), which is how left-overs are found after a crash.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import re
import signal
import subprocess
import time
import typing as t

from lab.common import LabError, run, wait_for

Record = dict[str, t.Any]  # {"pid": int, "start": int (clock ticks since boot), "argv": [...], ...}

_ENTER = 'for d in $ZT_CGROUPS; do echo $$ > "$d/cgroup.procs" || exit 97; done; unset ZT_CGROUPS; exec "$@"'


def start_time(pid: int) -> int | None:
    """Start of a process in clock ticks since boot, or None where it does not run (a zombie does not)."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def alive(record: Record | None) -> bool:
    return record is not None and start_time(record["pid"]) == record["start"]


def record_of(pid: int, **extra: t.Any) -> Record:
    start = start_time(pid)
    if start is None:
        raise LabError(f"Process {pid} ended at once.")
    return {"pid": pid, "start": start, **extra}


def has_systemd() -> bool:
    return os.path.isdir("/run/systemd/system")


def _cgroup_mounts() -> list[pathlib.Path]:
    """Where a cgroup of our own has to be made: the v2 tree and, on v1 and hybrid, systemd's named one."""
    found = []
    for line in pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        before, _sep, after = line.partition(" - ")
        kind, _source, options = [*after.split(" "), "", ""][:3]
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            found.append(pathlib.Path(before.split(" ")[4]))
    return found


def make_cgroups(lab_id: str, name: str) -> list[str]:
    paths = [mount / f"zt-lab-{lab_id}" / name for mount in _cgroup_mounts()]
    for path in paths:
        path.mkdir(parents=True, exist_ok=True)
    return [str(path) for path in paths]


def remove_cgroups(lab_id: str, name: str | None = None) -> None:
    for mount in _cgroup_mounts():
        top = mount / f"zt-lab-{lab_id}"
        if name:
            top = top / name
        for folder, _dirs, _files in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def start(
    lab_id: str,
    name: str,
    argv: t.Sequence[str],
    log: pathlib.Path,
    *,
    env: t.Mapping[str, str] | None = None,
    cwd: str | None = None,
    delegate: bool = False,
) -> Record:
    """Start a process that outlives us and return its record.

    With systemd it becomes a transient service; elsewhere it gets a session and cgroups of its own.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    keep = {"argv": list(argv), "log": str(log), "env": dict(env or {}), "cwd": cwd}
    if has_systemd():
        unit = f"zt-lab-{lab_id}-{name}"
        run(["systemctl", "reset-failed", f"{unit}.service"], check=False)
        words = ["systemd-run", "--quiet", "--collect", f"--unit={unit}", "-p", f"StandardOutput=append:{log}"]
        words += ["-p", f"StandardError=append:{log}", "-p", "KillMode=mixed", "-p", "TimeoutStopSec=10"]
        words += ["-p", "Delegate=yes"] if delegate else []
        words += [f"--setenv={key}={value}" for key, value in (env or {}).items()]
        words += [f"--working-directory={cwd}"] if cwd else []
        run([*words, "--", *argv])
        pid = int(run(["systemctl", "show", "-p", "MainPID", "--value", f"{unit}.service"]).stdout.strip() or 0)
        if not pid:
            raise LabError(f"{name} ended at once; its log is {log}.")
        return record_of(pid, **keep)
    groups = make_cgroups(lab_id, name)
    with log.open("ab") as out:
        child = subprocess.Popen(
            ["sh", "-c", _ENTER, "sh", *argv],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            cwd=cwd or "/",
            env={**os.environ, **(env or {}), "ZT_CGROUPS": " ".join(groups)},
        )
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(0.05)
        raise LabError(f"{name} ended at once with status {child.returncode}; its log is {log}.")
    return record_of(child.pid, **keep)


def in_lab(pid: int, lab_id: str, name: str | None = None) -> bool:
    """Whether a process is in the laboratory's cgroups, or in those of one of its parts (a node, a component)."""
    try:
        text = pathlib.Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    part = rf"{re.escape(name)}(/|\.service|$)" if name else ""
    return re.search(rf"/zt-lab-{re.escape(lab_id)}[-/]{part}", text, re.M) is not None


def leftovers(lab_id: str, name: str | None = None) -> list[int]:
    """Pids of every process in those cgroups, whether recorded or not."""
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return [pid for pid in pids if in_lab(pid, lab_id, name) and start_time(pid)]


def _signal(pid: int, number: int, still_ours: t.Callable[[], bool]) -> None:
    """Send a signal by pidfd, so that a pid that was given away in between is never hit."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if still_ours():
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def kill(record: Record) -> None:
    """SIGKILL to a recorded process; does not wait."""
    _signal(record["pid"], signal.SIGKILL, lambda: alive(record))


def end(record: Record | None, seconds: float = 5, number: int = signal.SIGTERM) -> None:
    """End a recorded process: the signal first (0: it ends by itself), SIGKILL after the given time."""
    if not record or not alive(record):
        return
    for signo, patience in ((number, seconds), (signal.SIGKILL, 5.0)):
        _signal(record["pid"], signo, lambda: alive(record))
        stop = time.monotonic() + patience
        while time.monotonic() < stop:
            with contextlib.suppress(ChildProcessError, OSError):
                os.waitpid(record["pid"], os.WNOHANG)
            if not alive(record):
                return
            time.sleep(0.02)
    raise LabError(f"Process {record['pid']} does not end, not even by SIGKILL.")


def end_leftovers(lab_id: str, name: str | None = None) -> int:
    """Kill what is left in those cgroups; returns how many processes there were."""
    pids = leftovers(lab_id, name)
    for pid in pids:
        _signal(pid, signal.SIGKILL, functools.partial(in_lab, pid, lab_id, name))
    if pids:
        wait_for("the laboratory's processes to end", lambda: not leftovers(lab_id, name), 10, every=0.02)
    return len(pids)
