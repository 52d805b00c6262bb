# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every part of the laboratory uses: the error, commands, paths, progress lines, locks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import subprocess
import sys
import time
import typing as t

REPO = pathlib.Path(__file__).resolve().parent.parent


class LabError(Exception):
    """Something the user can act on: one sentence, printed without a traceback."""


def cache_dir() -> pathlib.Path:
    """Tools and base trees: shared by all laboratories of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(base) / "aicluster-zerotrust"


def state_root() -> pathlib.Path:
    """The folder that holds one state directory per laboratory."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return pathlib.Path(base) / "aicluster-zerotrust" / "lab"


def run(
    argv: t.Sequence[str | os.PathLike[str]],
    *,
    check: bool = True,
    stdin: str | None = None,
    timeout: float = 60,
    env: t.Mapping[str, str] | None = None,
    cwd: os.PathLike[str] | str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command without a shell and return it with its output; LabError names it when it fails."""
    words = [os.fspath(word) for word in argv]
    try:
        done = subprocess.run(
            words, input=stdin, capture_output=True, text=True, timeout=timeout, env=env, cwd=cwd, check=False
        )
    except FileNotFoundError as exc:
        raise LabError(f"The command {words[0]!r} is not installed.") from exc
    except subprocess.TimeoutExpired as exc:
        raise LabError(f"`{' '.join(words)}` did not end within {timeout:.0f} s.") from exc
    if check and done.returncode:
        text = (done.stderr.strip() or done.stdout.strip())[-600:]
        raise LabError(f"`{' '.join(words)}` failed with exit status {done.returncode}: {text}")
    return done


class Steps:
    """Progress: `[ 12.3 s] step 3 of 8: text` on standard error; standard output stays for results."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.start = time.monotonic()

    def step(self, text: str) -> None:
        self.done += 1
        self.say(f"step {self.done} of {self.total}: {text}")

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.start:6.1f} s] {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def lock(path: pathlib.Path, busy: t.Callable[[], None] | None = None) -> t.Iterator[None]:
    """Hold an exclusive lock on a file; busy is called once when another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if busy:
                busy()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def wait_for(what: str, probe: t.Callable[[], bool], seconds: float, every: float = 0.1) -> None:
    """Poll until probe() is true; LabError names what was waited for."""
    end = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > end:
            raise LabError(f"Waited {seconds:.0f} s for {what} in vain.")
        time.sleep(every)


def write_private(path: pathlib.Path, text: str, mode: int = 0o600) -> None:
    """Write a file atomically with the given mode, never readable by others in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as handle:
        handle.write(text)
    os.chmod(part, mode)
    part.rename(path)
