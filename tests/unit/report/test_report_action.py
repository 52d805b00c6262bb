# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action verdict: from registered results to files, with the API module replaced by its answer."""

from __future__ import annotations

import json
import pathlib
import types
import typing as t

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.aicluster.zerotrust.plugins.action import verdict as action
from ansible_collections.aicluster.zerotrust.tests.unit.proof import faults
from ansible_collections.aicluster.zerotrust.tests.unit.proof.clusters import Lab, healthy
from ansible_collections.aicluster.zerotrust.tests.unit.report.cases import run_of


def call(
    lab: Lab, folder: pathlib.Path, answer: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch, **arguments: t.Any
) -> dict[str, t.Any]:
    """Run the action as Ansible does; results are registered as the modules return them."""
    _evidence, plan = run_of(lab)
    run = folder / "reports" / "run1"
    run.mkdir(parents=True)
    (run / "plan.json").write_text(json.dumps(plan))
    hostvars = {}
    for host, seen in lab.hosts.items():
        if seen["error"]:
            hostvars[host] = {"zerotrust_wireguard": {"unreachable": True, "msg": seen["error"]}}
        else:
            hostvars[host] = {
                "zerotrust_node": {"node": seen["node"]},
                "zerotrust_wireguard": {"wireguard": seen["wireguard"]},
            }
    plugin = action.ActionModule.__new__(action.ActionModule)
    plugin._task = types.SimpleNamespace(args=arguments, check_mode=False, async_val=0)  # type: ignore[assignment]
    plugin._templar = types.SimpleNamespace(template=lambda value: value)  # type: ignore[assignment]
    monkeypatch.setattr(action.ActionBase, "run", lambda self, tmp, task_vars: {})
    asked: dict[str, t.Any] = {}

    def execute(module_name: str, module_args: dict[str, t.Any], task_vars: t.Any) -> dict[str, t.Any]:
        asked.update(name=module_name, args=module_args)
        return answer

    monkeypatch.setattr(plugin, "_execute_module", execute)
    variables = {
        "zerotrust_run": {"id": "r", "dir": str(run), "plan_sha256": "x", "mode": "verify"},
        "zerotrust_kubeconfig": "/k",
        "hostvars": hostvars,
    }
    result = plugin.run(None, variables)
    assert asked["name"] == "aicluster.zerotrust.cluster_info"
    assert asked["args"]["kubeconfig"] == "/k"
    return result


def test_pass_writes_all_files(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = healthy(3)
    result = call(lab, tmp_path, {"cluster": lab.cluster}, monkeypatch, fail_on=["fail", "unknown"])
    assert result["verdict"]["state"] == "pass"
    assert not result.get("failed")
    assert result["changed"] is False
    assert (tmp_path / "reports" / "latest" / "evidence.json").exists()
    assert result["report"]["html"] in result["summary"]


def test_unreachable_host_is_unknown_and_fails_where_asked(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = healthy(3)
    faults.unreachable(lab, "n1", "n2")
    result = call(lab, tmp_path, {"cluster": lab.cluster}, monkeypatch, fail_on=["unknown"])
    assert result["failed"]
    assert "ZT412" in result["msg"]
    assert "unreachable: unreachable" in result["msg"]


def test_api_that_does_not_answer_is_unknown(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = call(healthy(3), tmp_path, {"failed": True, "msg": "connection refused"}, monkeypatch)
    assert result["verdict"]["state"] == "unknown"
    assert "connection refused" in result["summary"]
    assert not result.get("failed")


def test_without_a_plan_there_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = action.ActionModule.__new__(action.ActionModule)
    plugin._task = types.SimpleNamespace(args={}, check_mode=False)  # type: ignore[assignment]
    plugin._templar = types.SimpleNamespace(template=lambda value: value)  # type: ignore[assignment]
    monkeypatch.setattr(action.ActionBase, "run", lambda self, tmp, task_vars: {})
    with pytest.raises(AnsibleActionFail, match="zerotrust_run is not set"):
        plugin.run(None, {})


@pytest.mark.parametrize(
    ("hostvars", "error"),
    [
        ({}, "the host was not part of this run"),
        ({"v": {"unreachable": True, "msg": "timed out"}}, "unreachable: timed out"),
        ({"v": {"failed": True, "msg": "no root"}}, "no root"),
        ({"v": {"skipped": True}}, "the module gave no result"),
    ],
)
def test_results_that_hold_nothing(hostvars: dict[str, t.Any], error: str) -> None:
    assert action.observed(hostvars, "v", "wireguard") == (None, error)


def test_start_is_read_from_the_run_id() -> None:
    assert action.started_of("20261122T201500Z-1f3a") == "2026-11-22T20:15:00Z"
    assert action.started_of("mine") is None


def test_git_commit_outside_of_a_checkout(tmp_path: pathlib.Path) -> None:
    assert action.git_commit(str(tmp_path)) is None
    assert action.git_commit(None) is None
