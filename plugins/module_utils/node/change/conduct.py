# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of an armed MTU change on one host: prove the timers, arm, come back anew, probe, confirm.

conduct() knows nothing of Ansible: it is given a function that runs a module on the host and one that forgets the
present connection. Whatever raises CallFailed leaves the host to its own rollback.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t

MARGIN = 3.0  # seconds before the deadline after which nothing new is begun
GRACE = 30.0  # seconds after the deadline in which the host's own rollback is awaited
ROUNDS = 3  # probes before the path counts as broken: a link may need seconds to come back
PAUSE = 1.0

Result = t.Mapping[str, t.Any]


class CallFailed(Exception):
    """A module could not be run or gave no answer; the text says why."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What to change on one host. changes as the plan has them; targets by interface; sizes in bytes, times in s."""

    change_id: str
    changes: t.Sequence[t.Mapping[str, t.Any]]
    targets: t.Mapping[str, t.Sequence[str]]
    deadline: int
    accept_untested: bool = False
    probe_count: int = 2
    probe_timeout_ms: int = 1000


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How it ended. state: confirmed, rolled_back, refused (nothing was changed) or unknown (host not reached again).

    code is one of the registry and "" where confirmed; text is one sentence; probes are path_probe's last results.
    """

    state: str
    code: str
    text: str
    status: Result
    probes: t.Sequence[Result]


class Conductor:
    """One change on one host. call(module, arguments) -> result, raises CallFailed; renew() drops the connection."""

    def __init__(
        self,
        wanted: Wanted,
        call: t.Callable[[str, t.Mapping[str, t.Any]], Result],
        renew: t.Callable[[], None],
        clock: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self._wanted = wanted
        self._call = call
        self._renew = renew
        self._clock = clock
        self._sleep = sleep
        self._probes: list[Result] = []

    def run(self) -> Outcome:
        """Makes the change and returns how it ended; raises CallFailed only before anything was armed."""
        refused = self._refused(self._nic("noop"))
        if refused:
            return refused
        begin = self._clock()  # before the host's own clock begins: ours ends first
        last = ""
        try:
            refused = self._refused(self._nic("arm_and_apply"))
            if refused:
                return refused
        except CallFailed as error:
            last = str(error)  # it may be armed or not; the host will say
        self._renew()
        ended, last = self._confirm(begin + self._wanted.deadline - MARGIN, last)
        return ended or self._await_rollback(begin + self._wanted.deadline + GRACE, last)

    def _confirm(self, end: float, last: str) -> tuple[Outcome | None, str]:
        """Until the end: probes and confirms, or has it rolled back. None where the host was not reached in time."""
        rounds = 0
        while self._clock() < end:
            try:
                status = self._status("status")
                if status["phase"] not in ("armed", "none"):
                    return self._outcome(status), last
                if status["phase"] == "none" or not status["applied"]:
                    self._sleep(0.3)
                    continue
                self._probes = self._probe()
                broken = self._broken()
                if not broken:
                    return self._outcome(self._status("confirm")), last
                rounds += 1
                last = broken
                if rounds == ROUNDS:
                    return self._outcome(self._status("rollback", reason=broken)), last
            except CallFailed as error:
                last = str(error)
            self._sleep(PAUSE)
        return None, last

    def _await_rollback(self, end: float, last: str) -> Outcome:
        """Not confirmed in time: the host restores itself; asks it until it says so."""
        status: Result = {}
        while self._clock() < end:
            try:
                status = self._status("status")
                if status["phase"] == "none":
                    text = f"The connection broke before anything was armed ({last}); nothing was changed."
                    return Outcome("refused", "ZT208", text, status, ())
                if status["phase"] not in ("armed", "rolling-back"):
                    return self._outcome(status, last)
            except CallFailed as error:
                last = str(error)
            self._sleep(PAUSE)
        text = (
            f"The host was not reached over a new connection ({last}); its own rollback was due "
            f"{self._wanted.deadline} s after the change, and could not be seen."
        )
        return Outcome("unknown", "ZT208", text, status, tuple(self._probes))

    def _nic(self, state: str, **more: t.Any) -> Result:
        wanted = self._wanted
        return self._call(
            "nic_tuning",
            {
                "state": state,
                "changes": list(wanted.changes),
                "change_id": wanted.change_id,
                "deadline": wanted.deadline,
                "accept_untested_hardware": wanted.accept_untested,
                **more,
            },
        )

    def _status(self, state: str, **more: t.Any) -> Result:
        result = self._nic(state, **more)
        if "status" not in result:
            raise CallFailed(str(result.get("msg", "the host gave no status")))
        return t.cast(Result, result["status"])

    def _refused(self, result: Result) -> Outcome | None:
        if not result.get("failed"):
            return None
        refusal = result.get("refusal")
        if not refusal:
            raise CallFailed(str(result.get("msg", "the module failed")))
        return Outcome("refused", refusal["code"], refusal["message"], {}, ())

    def _probe(self) -> list[Result]:
        """One result of path_probe per changed interface. Raises CallFailed where the host is not reached."""
        found = []
        for change in self._wanted.changes:
            result = self._call(
                "path_probe",
                {
                    "interface": change["interface"],
                    "targets": list(self._wanted.targets[change["interface"]]),
                    "size": change["mtu_to"],
                    "count": self._wanted.probe_count,
                    "timeout_ms": self._wanted.probe_timeout_ms,
                },
            )
            if "path" not in result:
                raise CallFailed(f"path_probe: {result.get('msg', 'no result')}")
            found.append(t.cast(Result, result["path"]))
        return found

    def _broken(self) -> str:
        """ "" where on each changed interface at least one target answered both ways at the new size, else why not."""
        reasons = []
        for path in self._probes:
            if not any(probe["forward_ok"] and probe["backward_ok"] for probe in path["probes"]):
                tried = ", ".join(f"{probe['target']}: {_why(probe)}" for probe in path["probes"])
                reasons.append(
                    f"no unfragmented packet of {path['size']} bytes went through {path['interface']} "
                    f"and back ({tried})"
                )
        return "; ".join(reasons)

    def _outcome(self, status: Result, last: str = "") -> Outcome:
        if status["phase"] == "confirmed":
            return Outcome("confirmed", "", "", status, tuple(self._probes))
        where = ", ".join(f"{name} has MTU {mtu}" for name, mtu in sorted(status["interfaces"].items()))
        if status["phase"] == "rolling-back":
            text = f"The host could not put its old state back yet: {status['reason'] or last} ({where})."
            return Outcome("unknown", "ZT208", text, status, tuple(self._probes))
        reason = status["reason"] or last or "the host was started anew"
        if last and last not in reason:
            reason = f"{reason}; {last}"
        return Outcome("rolled_back", "ZT208", f"Rolled back, {where}: {reason}.", status, tuple(self._probes))


def _why(probe: Result) -> str:
    if probe.get("error"):
        return str(probe["error"])
    if not probe["answered"]:
        return "no answer"
    return f"the reply came back in fragments of {probe['reply_fragment_size']} bytes"
