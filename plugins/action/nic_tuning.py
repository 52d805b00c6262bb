# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action nic_tuning: conducts an armed MTU change from the controller.

The module of the same name acts on the host; module_utils/node/change/conduct.py decides. This file gives it a way to
run modules, and a new connection: Ansible's own connection plugin, but no reused SSH master.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
import threading
import time
import typing as t

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.change.conduct import (
    CallFailed,
    Conductor,
    Outcome,
    Wanted,
)
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.change.targets import default_targets

COLLECTION = "aicluster.zerotrust"
# The first value of an option counts for ssh: these come before whatever the user's ssh_args say.
NEW_CONNECTION = (
    "-o ControlMaster=no -o ControlPath=none -o ControlPersist=no -o ServerAliveInterval=2 -o ServerAliveCountMax=3"
)
CONNECT_SECONDS = 5
CALL_SECONDS = 25


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        self._vars = task_vars or {}
        arguments = dict(self._task.args)
        if arguments.get("state", "changed") != "changed":
            return {**result, **self._execute_module(f"{COLLECTION}.nic_tuning", arguments, task_vars=task_vars)}
        inspected = self._execute_module(
            f"{COLLECTION}.nic_tuning", {**arguments, "state": "inspect"}, task_vars=task_vars
        )
        if inspected.get("failed") or inspected.get("unreachable"):
            refusal = inspected.get("refusal")
            if refusal:
                inspected["findings"] = self._findings(Outcome("refused", refusal["code"], refusal["message"], {}, ()))
                inspected["outcome"] = "refused"
            return {**result, **inspected}
        todo = inspected["todo"]
        result.update(changed=bool(todo), todo=todo, findings=[])
        if not todo:
            return result
        result["diff"] = [_diff(change) for change in todo]
        wanted = self._wanted(arguments, todo)
        self._deadline = wanted.deadline
        missing = sorted(name for name, targets in wanted.targets.items() if not targets)
        if missing:
            return self._ended(result, Outcome("refused", "ZT303", _no_target(missing), {}, ()))
        if self._task.check_mode:
            return result
        try:
            outcome = Conductor(wanted, self._call, self._renew).run()
        except CallFailed as error:
            text = f"The host gave no answer before anything was armed ({error}); nothing was changed."
            outcome = Outcome("refused", "ZT206", text, {}, ())
        return self._ended(result, outcome)

    def _wanted(self, arguments: dict[str, t.Any], todo: list[dict[str, t.Any]]) -> Wanted:
        named = [str(target) for target in arguments.get("probe_targets") or ()]
        return Wanted(
            change_id=arguments.get("change_id") or _new_id(),
            changes=todo,
            targets={change["interface"]: named or self._default_targets(change) for change in todo},
            deadline=int(arguments.get("deadline", 60)),
            accept_untested=bool(arguments.get("accept_untested_hardware", False)),
        )

    def _default_targets(self, change: dict[str, t.Any]) -> list[str]:
        """From what preflight registered of this host and, if it has no gateway there, of the others."""
        return default_targets(change["interface"], change["mtu_to"], _facts(self._vars), self._peers())

    def _peers(self) -> t.Iterator[dict[str, t.Any]]:
        hostvars, me = self._vars.get("hostvars", {}), self._vars.get("inventory_hostname")
        names = [name for name in self._vars.get("groups", {}).get("all", ()) if name != me]
        for name in names:
            yield _facts(hostvars[name])

    def _call(self, module: str, arguments: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """One module run, bounded in time; raises CallFailed whatever happens to the connection."""
        try:
            with _time_limit(CALL_SECONDS):
                result = self._execute_module(f"{COLLECTION}.{module}", dict(arguments), task_vars=self._vars)
        except _TimeOver:
            raise CallFailed(f"{module} gave no answer within {CALL_SECONDS} s") from None
        except AnsibleConnectionFailure as error:
            raise CallFailed(_one_line(error)) from error
        except AnsibleError as error:
            raise CallFailed(f"{module}: {_one_line(error)}") from error
        if result.get("unreachable"):
            raise CallFailed(str(result.get("msg", "unreachable")))
        return t.cast("dict[str, t.Any]", result)

    def _renew(self) -> None:
        """Ends the connection in use and has every later call make one of its own."""
        connection = self._connection
        with contextlib.suppress(AttributeError, AnsibleError, OSError), _time_limit(CONNECT_SECONDS):
            connection.reset()  # ends ssh's master: later tasks must not meet a dead one either
        if connection.transport == "ssh":
            old = connection.get_option("ssh_args") or ""
            connection.set_option("ssh_args", f"{NEW_CONNECTION} {old}")
            # Several tries must fit into the deadline, also through a slow jump host.
            patience = max(CONNECT_SECONDS, self._deadline // 4)
            connection.set_option("timeout", min(patience, connection.get_option("timeout")))
            connection.set_option("reconnection_retries", 0)

    def _ended(self, result: dict[str, t.Any], outcome: Outcome) -> dict[str, t.Any]:
        result.update(
            outcome=outcome.state,
            status=outcome.status,
            probes=list(outcome.probes),
            findings=self._findings(outcome),
        )
        if outcome.state == "confirmed":
            return result
        result.update(
            failed=True,
            changed=outcome.state == "unknown",
            msg="\n".join(_line(finding) for finding in result["findings"]),
        )
        if outcome.state != "unknown":
            result.pop("diff", None)
        return result

    def _findings(self, outcome: Outcome) -> list[dict[str, t.Any]]:
        """One ZT303 for each interface whose path is too small, and the outcome's own, as their consequence."""
        if outcome.state == "confirmed":
            return []
        host = self._vars.get("inventory_hostname", "")
        found = []
        for path in outcome.probes:
            if any(probe["forward_ok"] and probe["backward_ok"] for probe in path["probes"]):
                continue
            targets = ", ".join(probe["target"] for probe in path["probes"])
            found.append(
                Finding(
                    "ZT303",
                    Subject("link", f"{host} -> {targets}"),
                    f"The path through {path['interface']} does not carry {path['size']} bytes both ways.",
                    observed=path["probes"],
                    expected={"size": path["size"]},
                    source="path_probe",
                )
            )
        root = found[0].id if found else None
        found.append(
            Finding(
                outcome.code,
                Subject("host", host),
                outcome.text,
                observed=outcome.status.get("interfaces"),
                source="nic_tuning",
                caused_by=root,
            )
        )
        return [finding.to_dict() for finding in found]


class _TimeOver(Exception):
    pass


@contextlib.contextmanager
def _time_limit(seconds: int) -> t.Iterator[None]:
    """Raises _TimeOver in the body after that time. A connection through a path that swallows large packets can hang
    for minutes. Left to the task's own timeout where that is set (it uses the same signal)."""
    usable = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGALRM) in (
        signal.SIG_DFL,
        None,
    )
    if not usable:
        yield
        return

    def over(_signal: int, _frame: t.Any) -> None:
        raise _TimeOver

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _new_id() -> str:
    return f"{time.strftime('%Y%m%dt%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"


def _facts(variables: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """node_info's facts in a host's variables, {} where the host was not observed."""
    registered = variables.get("zerotrust_node") or {}
    return dict(registered.get("node") or {})


def _diff(change: t.Mapping[str, t.Any]) -> dict[str, str]:
    name = change["interface"]
    return {
        "before_header": name,
        "after_header": name,
        "before": f"mtu {change['mtu_from']}\n",
        "after": f"mtu {change['mtu_to']}\n",
    }


def _no_target(interfaces: list[str]) -> str:
    return (
        f"Nobody is known who could prove the new MTU on {', '.join(interfaces)}: no default gateway there, and no "
        "other host in its network takes that size yet. Set nic_tuning_probe_targets to an address that does."
    )


def _line(finding: t.Mapping[str, t.Any]) -> str:
    return f"{finding['code']}: {finding['message']} {finding['remedy']}"


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
