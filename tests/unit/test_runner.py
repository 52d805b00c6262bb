# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner of the tests: what it counts, and that it cannot call a broken run green."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def runner() -> t.Any:
    spec = importlib.util.spec_from_file_location("zerotrust_runner", ROOT / "tests" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses looks its module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_junit_cases_are_counted_by_outcome(runner: t.Any, tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    junit.write_text(
        "<testsuites><testsuite>"
        "<testcase name='a'/><testcase name='b'><failure/></testcase>"
        "<testcase name='c'><error/></testcase><testcase name='d'><skipped/></testcase>"
        "</testsuite></testsuites>"
    )
    assert runner.count_junit(junit) == runner.Count(passed=1, failed=2, skipped=1)


def test_pytest_that_cannot_start_is_a_failure(runner: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "run", lambda *_: 4)
    assert runner.pytest_tier("unit", []).failed == 1


def test_a_run_ended_by_its_timeout_is_a_failure(runner: t.Any) -> None:
    assert runner.run(["sleep", "30"], 0.2) == 124


def test_tiers_that_need_root_are_named_and_counted_as_skipped(runner: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner.os, "geteuid", lambda: 1000)
    for tier in runner.NEED_ROOT:
        assert "needs root" in runner.reason_not_to_run(tier)
        assert runner.run_tier(tier, []) == runner.Count(skipped=1)


@pytest.mark.parametrize(
    ("status", "said", "reason", "made"),
    [
        (0, "all tools are cached\n", "", False),
        (1, "missing: etcd; about 90 s to build on two cores\n", "", True),
        (1, "missing: etcd; about 3000 s to build on two cores\n", "takes about 50 min", False),
        (1, "There is no Go.\n", "There is no Go.", False),
    ],
)
def test_tools_are_made_when_that_is_quick(
    runner: t.Any, monkeypatch: pytest.MonkeyPatch, status: int, said: str, reason: str, made: bool
) -> None:
    done = subprocess.CompletedProcess([], status, said, "")
    made_by: list[t.Sequence[str]] = []
    monkeypatch.setattr(runner.subprocess, "run", lambda *_, **__: done)
    monkeypatch.setattr(runner, "run", lambda command, _: made_by.append(command) or 0)
    problem, failure = runner.tools_problem()
    assert reason in problem
    assert bool(problem) == bool(reason)
    assert not failure
    assert bool(made_by) is made


def test_a_scenario_whose_tool_is_not_built_is_not_run_and_counted_as_skipped(
    runner: t.Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "run", lambda *_: 0)
    monkeypatch.setattr(runner, "missing_tools", lambda *_: (10.0, "missing"))
    assert runner.molecule_tier(["spire", "verify"]) == runner.Count(passed=1, skipped=1)
    assert "molecule spire: NOT RUN, spire is not built" in capfd.readouterr().out
    monkeypatch.setattr(runner, "missing_tools", lambda *_: (0, ""))
    assert runner.molecule_tier(["spire", "verify"]) == runner.Count(passed=2)


def printing(text: str, status: int = 0) -> list[str]:
    return [sys.executable, "-c", f"print({text!r}); raise SystemExit({status})"]


def test_exit_status_follows_failures(runner: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "run_tier", lambda *_: runner.Count(passed=3))
    assert runner.main(["unit"]) == 0
    monkeypatch.setattr(runner, "run_tier", lambda *_: runner.Count(passed=3, failed=1))
    assert runner.main(["unit"]) == 1
    assert runner.main(["nonsense"]) == 2
    assert runner.main(["all", "-k"]) == 2


def test_parts_side_by_side_are_added_up(
    runner: t.Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "reason_not_to_run", lambda tier: "no reason" if tier == "integration" else "")
    monkeypatch.setattr(runner, "tools_problem", lambda: ("", False))
    monkeypatch.setattr(runner, "command_of", lambda part: printing(f"I am {part.name}\n2 passed, 0 failed, 1 skipped"))
    parts = sum(part.tier != "integration" for lane in runner.lanes() for part in lane)
    assert runner.main(["all"]) == 0
    said = capfd.readouterr().out
    assert said.splitlines()[-1] == f"{2 * parts} passed, 0 failed, {parts + 1} skipped"
    assert "integration: NOT RUN, no reason" in said
    assert "I am unit" in said


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("1 passed, 1 failed, 0 skipped", 1),
        ("1 passed, 0 failed, 0 skipped", 1),
        ("no total", 0),
        ("", 143),
    ],
)
def test_a_part_that_fails_or_ends_without_a_total_is_a_failure_and_shown_in_full(
    runner: t.Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], text: str, status: int
) -> None:
    long = "line\n" * (2 * runner.LONG_OUTPUT_LINES)
    monkeypatch.setattr(runner, "command_of", lambda _: printing(long + text, status))
    (part,) = runner.run_lanes([[runner.Part("unit")]])
    assert part.count.failed == 1
    assert capfd.readouterr().out.count("line\n") == 2 * runner.LONG_OUTPUT_LINES


def test_a_lane_goes_on_after_a_failure_and_what_runs_is_said(
    runner: t.Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    slow = [sys.executable, "-c", "import time; time.sleep(1); print('1 passed, 0 failed, 0 skipped')"]
    monkeypatch.setattr(runner, "SIGN_OF_LIFE_SECONDS", 0.3)
    monkeypatch.setattr(runner, "command_of", lambda part: slow if part.tier == "unit" else printing("", 1))
    lint, unit = runner.run_lanes([[runner.Part("lint"), runner.Part("unit")]])
    assert (lint.count.failed, unit.count) == (1, runner.Count(passed=1))
    assert "running: unit (" in capfd.readouterr().out


def test_interrupted_it_ends_what_it_started(runner: t.Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mark = tmp_path / "ended"
    code = f"import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt: open({str(mark)!r}, 'w')"
    part = runner.Part("unit")
    monkeypatch.setattr(runner, "command_of", lambda _: [sys.executable, "-c", code])

    def interrupt(_text: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "SIGN_OF_LIFE_SECONDS", 0.5)
    monkeypatch.setattr(runner, "say", interrupt)
    with pytest.raises(KeyboardInterrupt):
        runner.run_lanes([[part]])
    assert mark.exists()
