# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that a host's own timers run: apply an armed MTU change, or restore the old MTU.

It is copied to the host as one root-owned file and run with `python3 -I`, long after whoever started it may be dead:
so it uses the standard library only, and imports nothing of this collection.

A change is a directory with state.json and exactly one decision file, whose name is the phase:

    armed -> confirmed                     the controller came back and the path carries the new size
    armed -> rolling-back -> rolled-back   everything else

Phases change by rename(2) alone: of two who want to leave "armed" one wins, and a full disk stops nobody. The
directory's file not-applied becomes applied the same way once the new MTU is set. rolling-back is left only when
every interface has its old MTU, so a program that was killed in the middle is simply run again.

MTUs are read and written by ioctl (netdevice(7)), which works where /sys is read-only, as in containers.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
import sys
import time
import typing as t

SIOCGIFMTU = 0x8921
SIOCSIFMTU = 0x8922
_IFREQ = struct.Struct("=16si20x")

PHASES = ("armed", "confirmed", "rolling-back", "rolled-back", "rebooted")
LOCK_SECONDS = 10.0
RESTORE_SECONDS = 300.0


def _mtu_ioctl(request: int, interface: str, mtu: int) -> int:
    raw = interface.encode()
    if not 0 < len(raw) < 16:
        raise OSError(19, f"no interface {interface!r}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as handle:
        answer = fcntl.ioctl(handle, request, _IFREQ.pack(raw, mtu))
    return int(_IFREQ.unpack(answer)[1])


class Kernel:
    """The interfaces of this host. Tests put one of their own in its place."""

    def name(self, index: int, name: str) -> str:
        """The present name of the interface with that index (it may have been renamed), else the name itself."""
        try:
            return socket.if_indextoname(index)
        except OSError:
            return name

    def mtu(self, interface: str) -> int:
        """MTU in bytes; raises OSError (ENODEV) where there is no such interface."""
        return _mtu_ioctl(SIOCGIFMTU, interface, 0)

    def set_mtu(self, interface: str, mtu: int) -> None:
        """Sets the MTU in bytes; raises OSError with the kernel's errno."""
        _mtu_ioctl(SIOCSIFMTU, interface, mtu)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@contextlib.contextmanager
def locked(directory: str, seconds: float) -> t.Iterator[bool]:
    """Holds the lock of all changes of this host (the file "lock" beside the changes' directories).

    Yields whether it was got within that time. Restoring goes on without it: then rename decides alone.
    """
    path = os.path.join(os.path.dirname(os.path.abspath(directory)), "lock")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + seconds
        got = False
        while not got:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                got = True
            except OSError:
                if time.monotonic() >= end:
                    break
                time.sleep(0.05)
        yield got
    finally:
        os.close(handle)


def phase(directory: str) -> str:
    """The change's phase, "none" where there is no decision file."""
    for name in PHASES:
        if os.path.exists(os.path.join(directory, name)):
            return name
    return "none"


def claim(directory: str, old: str, new: str) -> bool:
    """Moves the change from one phase to another; False where somebody else was first. Atomic."""
    try:
        os.rename(os.path.join(directory, old), os.path.join(directory, new))
    except FileNotFoundError:
        return False
    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError:
        pass  # what the kernel holds decides while it runs; after a reboot the old MTU is there anyhow
    finally:
        os.close(handle)
    return True


def read_state(directory: str) -> dict[str, t.Any]:
    """state.json: {"schema", "id", "boot_id", "changes": [{"interface", "index", "mtu_from", "mtu_to"}], ...}."""
    with open(os.path.join(directory, "state.json"), encoding="utf-8") as handle:
        state: dict[str, t.Any] = json.load(handle)
    return state


def note(directory: str, reason: str) -> None:
    """Keeps the reason for what happened, once; the first reason stays. Never raises: it must not stop a rollback."""
    print(reason, file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):
        handle = os.open(os.path.join(directory, "reason"), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(reason)


def read_reason(directory: str) -> str:
    try:
        with open(os.path.join(directory, "reason"), encoding="utf-8") as handle:
            return handle.read()
    except OSError:
        return ""


def restore(directory: str, kernel: Kernel, reason: str, seconds: float = RESTORE_SECONDS) -> str:
    """Puts every interface back to its old MTU if the change was not confirmed; returns the phase in which it is then.

    Tries again for that long where the kernel refuses. An interface that is gone has nothing to be put back.
    """
    with locked(directory, LOCK_SECONDS):
        if not claim(directory, "armed", "rolling-back") and phase(directory) != "rolling-back":
            return phase(directory)
        changes = list(reversed(read_state(directory)["changes"]))
        end = time.monotonic() + seconds
        while True:
            left = [text for text in (_restore_one(kernel, change) for change in changes) if text]
            if not left:
                break
            if time.monotonic() >= end:
                note(directory, f"{reason}; could not restore: {'; '.join(left)}")
                return phase(directory)
            kernel.sleep(1.0)
        claim(directory, "rolling-back", "rolled-back")
        note(directory, reason)
        return phase(directory)


def _restore_one(kernel: Kernel, change: t.Mapping[str, t.Any]) -> str:
    """ "" when the interface has its old MTU or is gone, else what is in the way."""
    name = kernel.name(change["index"], change["interface"])
    try:
        if kernel.mtu(name) != change["mtu_from"]:
            kernel.set_mtu(name, change["mtu_from"])
        return "" if kernel.mtu(name) == change["mtu_from"] else f"{name} does not keep MTU {change['mtu_from']}"
    except OSError as error:
        return "" if error.errno in (6, 19) else f"{name}: {error.strerror}"  # ENXIO, ENODEV: gone


def apply(directory: str, kernel: Kernel) -> str:
    """Sets the new MTU of an armed change, or restores the old one where that fails; returns the phase."""
    reason = ""
    with locked(directory, LOCK_SECONDS) as got:
        if phase(directory) != "armed":
            return phase(directory)
        if not got:
            reason = "another program holds the lock of this host's NIC changes"
        else:
            reason = _apply_all(directory, kernel)
    return restore(directory, kernel, reason) if reason else phase(directory)


def _apply_all(directory: str, kernel: Kernel) -> str:
    """ "" when every interface has its new MTU, else why not."""
    changes = read_state(directory)["changes"]
    try:
        for change in changes:
            found = kernel.mtu(change["interface"])
            if found != change["mtu_from"]:
                # Nothing was written yet, and the other hand's value is not ours to undo.
                claim(directory, "armed", "rolled-back")
                note(directory, f"another hand set {change['interface']} to MTU {found}; nothing was written")
                return ""
        for change in changes:
            kernel.set_mtu(change["interface"], change["mtu_to"])
        for change in changes:
            found = kernel.mtu(change["interface"])
            if found != change["mtu_to"]:
                return f"{change['interface']} has MTU {found} after it was set to {change['mtu_to']}"
    except OSError as error:
        return f"the kernel refused the new MTU: {error.strerror}"
    claim(directory, "not-applied", "applied")
    return ""


def main(arguments: t.Sequence[str]) -> int:
    """`apply DIR`, `rollback DIR` or `noop DIR`; exit status 0 where the host is complete in one state."""
    action, directory = arguments
    if not os.path.isdir(directory):
        return 0  # long decided and cleaned up
    if action == "noop":
        # The proof that this host's timers run this program: the rename that a rollback would do.
        claim(directory, "armed", "rolled-back")
        return 0
    if action == "apply":
        return 0 if apply(directory, Kernel()) != "rolling-back" else 1
    deadline = read_state(directory)["deadline"]
    reason = f"the change was not confirmed within {deadline} s"
    return 0 if restore(directory, Kernel(), reason) != "rolling-back" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
