# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands and files on a host, as the SPIRE modules need them: no shell, secrets in 0600 files only."""

from __future__ import annotations

import os
import pathlib
import subprocess
import tempfile
import typing as t


class SpireError(Exception):
    """One sentence that names what failed and the remedy; modules turn it into fail_json."""


def run(
    argv: t.Sequence[str], *, stdin: str | None = None, timeout: float = 60, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command and return it with its output; SpireError where it is missing, hangs or (with check) fails."""
    try:
        done = subprocess.run(
            list(argv), input=stdin, capture_output=True, text=True, timeout=timeout, check=False, env=_environment()
        )
    except FileNotFoundError as exc:
        raise SpireError(f"the command {argv[0]} is not on this host: install it") from exc
    except OSError as exc:
        raise SpireError(f"the command {argv[0]} cannot be run on this host: {exc.strerror}") from exc
    except subprocess.TimeoutExpired as exc:
        raise SpireError(f"`{' '.join(argv[:3])}` did not end within {timeout:.0f} s") from exc
    if check and done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-800:]
        raise SpireError(f"`{' '.join(argv[:3])}` failed with exit status {done.returncode}: {said}")
    return done


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def read(path: str) -> str | None:
    """A text file, None where there is none."""
    try:
        return pathlib.Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def write(path: str, text: str, mode: int) -> None:
    """Write a file atomically; it never has a wider mode than the given one. Its folder is made (0755) if missing."""
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=folder, prefix=".aicluster-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            os.fchmod(stream.fileno(), mode)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(part, path)
    except BaseException:
        os.unlink(part)
        raise
