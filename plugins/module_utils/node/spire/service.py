# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A SPIRE service on a host: its files compared, validated by SPIRE itself, written, and the service restarted.

One path for check mode and the run: plan() decides, apply() does it, so that they cannot differ.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
import time
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.spire.host import SpireError, read, run, write


@dataclasses.dataclass(frozen=True)
class File:
    """A file that the service needs; restart says whether the service must see a change at once."""

    path: str
    text: str
    mode: int
    restart: bool = True


@dataclasses.dataclass(frozen=True)
class Service:
    """component "server" or "agent"; mark is the first line of every unit and configuration of ours."""

    component: str
    binary: str
    config: File
    unit: File
    others: tuple[File, ...]
    socket: str
    mark: str

    @property
    def name(self) -> str:
        return f"spire-{self.component}.service"


@dataclasses.dataclass(frozen=True)
class Todo:
    write: tuple[tuple[File, str], ...]  # file, and what it holds now
    restart: bool
    enable: bool
    reasons: tuple[str, ...]
    disrupts: bool = False  # whether a service that runs would be restarted

    @property
    def changed(self) -> bool:
        return bool(self.write or self.restart or self.enable)


def refusal(service: Service) -> str | None:
    """Another owner of the service, by name."""
    for file in (service.unit, service.config):
        text = read(file.path)
        if text is not None and not text.startswith(service.mark):
            return f"{file.path} was not written by this collection: move the other SPIRE away, or remove that file"
    shown = run(["systemctl", "show", "-p", "FragmentPath", "--value", service.name], check=False).stdout.strip()
    if shown and shown != service.unit.path:
        return f"{service.name} is another one, from {shown}: remove it first"
    return None


def plan(service: Service, *, binary_changed: bool = False, token: bool = False) -> Todo:
    """What differs from the wanted state. token: there is one to be used, for which the agent must start."""
    files = (service.config, service.unit, *service.others)
    differing = tuple((file, read(file.path) or "") for file in files if not _same(file))
    reasons = [f"{file.path} changes" for file, _old in differing if file.restart]
    if token:
        reasons.append("it is to attest with a join token")
    if binary_changed:
        reasons.append("another binary")
    elif not differing and _older_than_binary(service):
        reasons.append("the running process is older than its binary")
    disrupts = bool(reasons) and not token
    if run(["systemctl", "is-active", "--quiet", service.name], check=False).returncode:
        reasons.append("it does not run")
        disrupts = False
    enable = run(["systemctl", "is-enabled", "--quiet", service.name], check=False).returncode != 0
    return Todo(differing, bool(reasons), enable, tuple(reasons), disrupts)


def without_restart(todo: Todo) -> Todo:
    """What may be done to a running service without consent: only what it reads anew by itself."""
    harmless = tuple((file, old) for file, old in todo.write if not file.restart)
    return dataclasses.replace(todo, write=harmless, restart=False, disrupts=False)


def in_place(files: t.Sequence[File]) -> bool:
    return all(_same(file) for file in files)


def _same(file: File) -> bool:
    try:
        mode = os.stat(file.path).st_mode & 0o7777
    except FileNotFoundError:
        return False
    return read(file.path) == file.text and mode == file.mode


def _older_than_binary(service: Service) -> bool:
    """Whether the process runs a program that was replaced under it, by a run that ended before its restart."""
    pid = run(["systemctl", "show", "-p", "MainPID", "--value", service.name], check=False).stdout.strip()
    try:
        return pid not in ("", "0") and os.readlink(f"/proc/{pid}/exe").endswith(" (deleted)")
    except OSError:
        return False


def validate(service: Service) -> None:
    """Let SPIRE itself check the configuration, from a file beside its later place.

    It opens the files that the configuration names, so certificates must be there before.
    """
    folder = os.path.dirname(service.config.path)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    handle, path = tempfile.mkstemp(dir=folder, prefix=".validate-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(service.config.text)
        done = run([service.binary, "validate", "-config", path], check=False)
    finally:
        os.unlink(path)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-800:]
        raise SpireError(f"spire-{service.component} refuses the configuration, the present one stays: {said}")


def apply(service: Service, todo: Todo, *, token: str, token_path: str, drop_in: str, stale: str, wait: float) -> float:
    """Do what plan() found; returns the seconds until the service was healthy.

    Order: what the configuration names, SPIRE's own check of it, configuration and unit, restart.

    With a token: stale is the agent's store, which is removed, since an expired SVID in it cannot be renewed.
    """
    for wave in (service.others, (service.config, service.unit)):
        for file, _old in todo.write:
            if file in wave:
                write(file.path, file.text, file.mode)
        if wave == service.others and todo.restart:
            validate(service)
    extra = f"/run/systemd/system/{service.name}.d/join-token.conf"
    try:
        if token:
            _forget(stale)
            write(token_path, token, 0o600)
            write(extra, drop_in, 0o644)
        run(["systemctl", "daemon-reload"])
        if todo.enable:
            run(["systemctl", "enable", service.name])
        start = time.monotonic()
        if todo.restart:
            run(["systemctl", "restart", service.name])
        wait_healthy(service, wait)
        return time.monotonic() - start
    finally:
        if token:
            _forget(token_path, extra)
            run(["systemctl", "daemon-reload"], check=False)


def _forget(*paths: str) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def healthy(service: Service) -> bool:
    argv = [service.binary, "healthcheck", "-socketPath", service.socket]
    return run(argv, check=False, timeout=20).returncode == 0


def wait_healthy(service: Service, seconds: float) -> None:
    """SpireError with the last lines of its log when the service is not healthy in time."""
    end = time.monotonic() + seconds
    while not healthy(service):
        if time.monotonic() > end:
            raise SpireError(
                f"{service.name} is not healthy after {seconds:.0f} s. Its last words: {last_words(service)}"
            )
        time.sleep(0.5)


def last_words(service: Service) -> str:
    log = run(["journalctl", "-u", service.name, "-n", "40", "-o", "cat", "--no-pager"], check=False).stdout
    bad = [line for line in log.splitlines() if "level=error" in line or "level=warn" in line or "ailed" in line]
    return " | ".join((bad or log.splitlines())[-3:])[-900:] or "(none)"


def diff(todo: Todo) -> list[dict[str, t.Any]]:
    """Before and after of each file. None of them is a secret."""
    return [
        {"before_header": file.path, "after_header": file.path, "before": old, "after": file.text}
        for file, old in todo.write
    ]
