# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's side of an armed MTU change: inspect, noop, arm_and_apply, confirm, rollback, status.

All state lies in BASE/nic/<id>/ (root only); see rollback_program for its files and phases. Nothing is persisted: a
reboot gives the old MTU by itself, and the change's directory then says "rebooted".
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import stat
import time
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.change import (
    frozen,
    inspect,
    rollback_program,
    systemd,
)
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.change.inspect import Change, Refusal

BASE = "/var/lib/aicluster-zerotrust"
KEEP = 5
APPLY_AFTER = 1.0
NOOP_AFTER = 1.0
NOOP_WAIT = 15.0
OVERDUE = 30.0
LOCK_SECONDS = 10.0
BOOT_ID = "/proc/sys/kernel/random/boot_id"
_ID = re.compile(r"^[0-9a-z][0-9a-z-]{0,63}$")


class Refused(Exception):
    """The change must not begin, or cannot be confirmed. refusal has the code and one sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(code, message)


def parse_changes(raw: t.Iterable[t.Mapping[str, t.Any]]) -> list[Change]:
    """Changes of the module's argument; raises Refused where two name one interface."""
    changes = [Change(str(item["interface"]), int(item["mtu_from"]), int(item["mtu_to"])) for item in raw]
    names = [change.interface for change in changes]
    for name in names:
        if names.count(name) > 1:
            raise Refused("ZT901", f"{name} is named twice in the changes; name each interface once.")
    return changes


def inspect_changes(changes: t.Sequence[Change], accept_untested: bool) -> list[Change]:
    """The changes that are still to be made; raises Refused with the first reason against any of them."""
    try:
        found = inspect.observe(changes)
    except OSError as error:
        raise Refused("ZT201", f"The kernel did not list its interfaces: {error}.") from error
    for change in changes:
        refusal = inspect.judge(change, found[change.interface], accept_untested)
        if refusal:
            raise Refused(refusal.code, refusal.message)
    return [change for change in changes if _mtu(found, change) != change.mtu_to]


def refuse_undecided(check_mode: bool, base: str = BASE) -> None:
    """Raises Refused while a change on this host is neither confirmed nor rolled back: what it set may not stay.

    One whose timer should have fired long ago is restored first, except in check mode.
    """
    root = os.path.join(base, "nic")
    for name in _changes_of(root) if os.path.isdir(root) else []:
        if not check_mode:
            _finish_overdue(name, base)
        if _phase_now(os.path.join(root, name)) in _ACTIVE:
            raise Refused(
                "ZT208", f"Change {name} is being made on this host; wait until it is confirmed or rolled back."
            )


def noop(base: str = BASE) -> float:
    """Arms a rollback that only leaves its mark, by the same program and timer as a real one; waits until it fired.

    Returns the seconds that it took. Raises Refused (ZT206) where it did not fire: no change may then begin.
    """
    directory = _new_directory(base, f"noop-{secrets.token_hex(4)}")
    try:
        _place_program(directory)
        _touch(directory, "armed")
        begin = time.monotonic()
        _start(directory, "noop", NOOP_AFTER)
        while time.monotonic() - begin < NOOP_AFTER + NOOP_WAIT:
            if rollback_program.phase(directory) == "rolled-back":
                return time.monotonic() - begin
            time.sleep(0.05)
        raise Refused(
            "ZT206",
            f"A timer armed on this host did not run its program within {NOOP_AFTER + NOOP_WAIT:g} s, "
            "so a rollback could not be relied on; nothing was changed.",
        )
    finally:
        with contextlib.suppress(systemd.TimersMissing):
            systemd.stop_timer(_unit(directory, "noop"))
        shutil.rmtree(directory, ignore_errors=True)


def arm_and_apply(
    change_id: str, changes: t.Sequence[Change], deadline: int, accept_untested: bool, base: str = BASE
) -> dict[str, t.Any]:
    """Arms the rollback, then has the new MTU set by a timer of its own after APPLY_AFTER seconds; status() of it.

    Raises Refused before anything is changed: another change is armed, an interface is not as the plan saw it, the
    timer was not taken.
    """
    _check_id(change_id)
    root = _root(base)
    with rollback_program.locked(os.path.join(root, change_id), LOCK_SECONDS) as got:
        if not got:
            raise Refused("ZT208", "Another change is being made on this host; wait until it ends.")
        for name in _changes_of(root):
            _settle_reboot(os.path.join(root, name))
        refuse_undecided(True, base)
        todo = inspect_changes(changes, accept_untested)
        if [change.interface for change in todo] != [change.interface for change in changes]:
            raise Refused("ZT304", "An interface got its new MTU from another hand since the plan; run again.")
        directory = _new_directory(base, change_id)
        try:
            _prepare(directory, change_id, changes, deadline)
            _start(directory, "rollback", deadline)
            if not systemd.timer_is_waiting(_unit(directory, "rollback")):
                raise Refused("ZT206", "systemd took the rollback's timer but does not run it; nothing was changed.")
            # Until here nothing can change the interface: only an armed change is applied.
            _start(directory, "apply", APPLY_AFTER)
        except BaseException:
            if rollback_program.claim(directory, "armed", "rolled-back"):
                rollback_program.note(directory, "it could not be armed completely; nothing was changed")
                _stop_timers(directory)
            else:
                shutil.rmtree(directory, ignore_errors=True)
            raise
        prune(base)
    return status(change_id, base)


def confirm(change_id: str, base: str = BASE) -> dict[str, t.Any]:
    """Claims the change for the new state, once the kernel has it and nothing frozen differs; status() of it.

    The rename decides against the rollback's timer. Where a check fails, the old state is restored and status() says
    so; whoever asks must read the phase.
    """
    directory = _existing(change_id, base)
    reason = ""
    with rollback_program.locked(directory, LOCK_SECONDS) as got:
        if rollback_program.phase(directory) == "armed":
            reason = _against(directory) if got else "another program holds the lock of this host's NIC changes"
            if not reason:
                rollback_program.claim(directory, "armed", "confirmed")
    if reason:
        return rollback(change_id, reason, base)
    _stop_timers(directory)
    return status(change_id, base)


def rollback(change_id: str, reason: str, base: str = BASE) -> dict[str, t.Any]:
    """Restores the old state now, if the change was not confirmed; status() of it."""
    directory = _existing(change_id, base)
    now = rollback_program.restore(directory, rollback_program.Kernel(), reason, seconds=5.0)
    if now != "rolling-back":
        _stop_timers(directory)
    return status(change_id, base)


def status(change_id: str, base: str = BASE) -> dict[str, t.Any]:
    """{"id","phase","applied","reason","interfaces":{name: MTU|None},"changes":[..],"frozen_differs":[..]}.

    phase is one of rollback_program.PHASES, or "none" where the host knows no such change.
    """
    _check_id(change_id)
    directory = os.path.join(base, "nic", change_id)
    if not os.path.isdir(directory):
        return {
            "id": change_id,
            "phase": "none",
            "applied": False,
            "reason": "",
            "interfaces": {},
            "changes": [],
            "frozen_differs": [],
        }
    phase = _settle_reboot(directory)
    state = rollback_program.read_state(directory)
    return {
        "id": change_id,
        "phase": phase,
        "applied": os.path.exists(os.path.join(directory, "applied")),
        "reason": rollback_program.read_reason(directory),
        "interfaces": {change["interface"]: _kernel_mtu(change) for change in state["changes"]},
        "changes": state["changes"],
        "frozen_differs": frozen.differing(state["frozen"], frozen.settings()),
    }


def prune(base: str = BASE, keep: int = KEEP) -> None:
    """Removes the directories of decided changes but the newest few; an undecided one stays. Under the lock."""
    root = _root(base)
    decided = [name for name in _changes_of(root) if rollback_program.phase(os.path.join(root, name)) not in _ACTIVE]
    decided.sort(key=lambda name: os.stat(os.path.join(root, name, "state.json")).st_mtime_ns)
    for name in decided[: max(0, len(decided) - keep)]:
        shutil.rmtree(os.path.join(root, name), ignore_errors=True)


_ACTIVE = ("armed", "rolling-back")


def _against(directory: str) -> str:
    """Why an armed change must not be confirmed, or ""."""
    state = rollback_program.read_state(directory)
    if not os.path.exists(os.path.join(directory, "applied")):
        return "the new MTU was not set yet when the change was to be confirmed"
    for change in state["changes"]:
        found = _kernel_mtu(change)
        if found != change["mtu_to"]:
            return f"{change['interface']} has MTU {found}, not {change['mtu_to']}"
    differs = frozen.differing(state["frozen"], frozen.settings())
    return f"the change altered what it must not: {'; '.join(differs[:3])}" if differs else ""


def _prepare(directory: str, change_id: str, changes: t.Sequence[Change], deadline: int) -> None:
    """Writes everything that the programs need, the decision file last."""
    found = inspect.observe(changes)
    state = {
        "schema": 1,
        "id": change_id,
        "boot_id": _boot_id(),
        "created": time.time(),
        "armed_at": time.monotonic(),
        "deadline": deadline,
        "changes": [
            {"interface": c.interface, "index": _index(found, c), "mtu_from": c.mtu_from, "mtu_to": c.mtu_to}
            for c in changes
        ],
        "frozen": frozen.settings(),
    }
    _place_program(directory)
    _write(directory, "state.json", json.dumps(state, indent=1, sort_keys=True))
    _touch(directory, "not-applied")
    _touch(directory, "armed")


def _mtu(found: t.Mapping[str, inspect.Interface | None], change: Change) -> int | None:
    interface = found[change.interface]
    return interface.mtu if interface else None


def _index(found: t.Mapping[str, inspect.Interface | None], change: Change) -> int:
    interface = found[change.interface]
    if interface is None or interface.mtu != change.mtu_from:
        raise Refused("ZT304", f"{change.interface} changed while its rollback was prepared; nothing was changed.")
    return interface.index


def _kernel_mtu(change: t.Mapping[str, t.Any]) -> int | None:
    kernel = rollback_program.Kernel()
    try:
        return kernel.mtu(kernel.name(change["index"], change["interface"]))
    except OSError:
        return None


def _phase_now(directory: str) -> str:
    """The phase; "rebooted" for an undecided change of an earlier boot: its timers are gone and its MTU, too."""
    phase = rollback_program.phase(directory)
    if phase in _ACTIVE and rollback_program.read_state(directory)["boot_id"] != _boot_id():
        return "rebooted"
    return phase


def _settle_reboot(directory: str) -> str:
    """_phase_now(), and that a reboot interrupted the change is kept."""
    phase = _phase_now(directory)
    if phase == "rebooted":
        for active in _ACTIVE:
            rollback_program.claim(directory, active, "rebooted")
    return phase


def _finish_overdue(change_id: str, base: str) -> None:
    """Restores what a change left whose timer did not fire though its time is long over (somebody stopped it)."""
    directory = os.path.join(base, "nic", change_id)
    if _settle_reboot(directory) in _ACTIVE:
        state = rollback_program.read_state(directory)
        if time.monotonic() > state["armed_at"] + state["deadline"] + OVERDUE:
            rollback(change_id, "its timer did not fire; the next change restored the old state", base)


def _boot_id() -> str:
    with open(BOOT_ID, encoding="ascii") as handle:
        return handle.read().strip()


def _unit(directory: str, action: str) -> str:
    return f"aicluster-zerotrust-nic-{action}-{os.path.basename(directory)}"


def _start(directory: str, action: str, seconds: float) -> None:
    command = systemd.python_program(os.path.join(directory, "rollback.py"), action, directory)
    try:
        systemd.start_timer(_unit(directory, action), seconds, command)
    except systemd.TimersMissing as error:
        raise Refused("ZT206", f"{str(error)[:1].upper()}{str(error)[1:]}; nothing was changed.") from error


def _stop_timers(directory: str) -> None:
    for action in ("rollback", "apply"):
        with contextlib.suppress(systemd.TimersMissing):
            systemd.stop_timer(_unit(directory, action))


def _place_program(directory: str) -> None:
    """Copies the rollback program: from the archive in which a module runs, or from the checkout."""
    loader = t.cast(t.Any, rollback_program.__loader__)
    source: str = loader.get_source(rollback_program.__name__)
    if not source:
        raise Refused("ZT206", "The rollback program's source is not readable; nothing was changed.")
    _write(directory, "rollback.py", source)


def _root(base: str) -> str:
    """BASE/nic, made if need be; raises Refused where somebody other than root could write there."""
    root = os.path.join(base, "nic")
    for path in (base, root):
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
            found = os.lstat(path)
        except OSError as error:
            raise Refused("ZT206", f"{path} cannot be made for the rollback: {error.strerror}.") from error
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise Refused("ZT206", f"{path} is not a directory that only root may write; the rollback must lie there.")
    return root


def _new_directory(base: str, change_id: str) -> str:
    directory = os.path.join(_root(base), change_id)
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        raise Refused("ZT208", f"Change {change_id} was made on this host already; run again for a new one.") from None
    except OSError as error:
        raise Refused("ZT206", f"{directory} cannot be made for the rollback: {error.strerror}.") from error
    return directory


def _existing(change_id: str, base: str) -> str:
    _check_id(change_id)
    directory = os.path.join(base, "nic", change_id)
    if not os.path.isdir(directory):
        raise Refused("ZT208", f"This host knows no change {change_id}.")
    return directory


def _check_id(change_id: str) -> None:
    if not _ID.match(change_id):
        raise Refused("ZT901", f"{change_id!r} is no change id: small letters, digits and hyphens, at most 64.")


def _changes_of(root: str) -> list[str]:
    return sorted(name for name in os.listdir(root) if os.path.exists(os.path.join(root, name, "state.json")))


def _write(directory: str, name: str, text: str) -> None:
    path = os.path.join(directory, name)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise Refused("ZT206", f"{path} cannot be written for the rollback: {error.strerror}.") from error


def _touch(directory: str, name: str) -> None:
    _write(directory, name, "")
