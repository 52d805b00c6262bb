# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the tiers of tests and adds them up: python3 tests/run.py all, or names of tiers.

Each tier says RUN or NOT RUN with its reason. The last line is "N passed, N failed, N skipped":
pytest's cases, Molecule's scenarios and the linters, one each. A tier that is not run counts as
one skipped, so that the line never looks more complete than the run was.
Exit status: 0 nothing failed, 1 something failed, 2 wrong usage.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing as t
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIERS = ("lint", "unit", "integration", "faults", "molecule")
NEED_ROOT = ("integration", "faults", "molecule")
LONGEST_BUILD_MINUTES = 40
TIER_TIMEOUT_SECONDS = {"lint": 900, "unit": 900, "integration": 2400, "faults": 2400, "molecule": 2400}
MOLECULE_LAB = "mol"
STARTED = time.monotonic()


@dataclasses.dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other: Count) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def say(text: str) -> None:
    seconds = int(time.monotonic() - STARTED)
    print(f"==> [{seconds // 60:02d}:{seconds % 60:02d}] {text}", flush=True)


def run(command: t.Sequence[str], timeout: float, env: t.Mapping[str, str] | None = None) -> int:
    """Run in an own process group, output passing through; the whole group ends at the timeout (status 124)."""
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **(env or {})}, start_new_session=True)
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        say(f"{command[0]} took longer than {timeout:.0f} s and is ended")
        return 124
    finally:
        # Also on Ctrl-C: no playbook may go on behind the user's back.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def count_junit(path: Path) -> Count:
    """Cases of a JUnit file; an error (a fixture or a file that does not import) counts as failed."""
    total = Count()
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            total.failed += 1
        elif "skipped" in kinds:
            total.skipped += 1
        else:
            total.passed += 1
    return total


def pytest_tier(tier: str, extra: t.Sequence[str]) -> Count:
    with tempfile.TemporaryDirectory(prefix="zerotrust-test-") as folder:
        junit = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", f"tests/{tier}", f"--junitxml={junit}", *extra]
        status = run(command, TIER_TIMEOUT_SECONDS[tier])
        count = count_junit(junit) if junit.exists() else Count()
    # 0 passed, 1 tests failed (counted); everything else is a run that did not come to its end.
    if status not in (0, 1) or count == Count():
        say(f"pytest ended with status {status}, {count}: counted as one failure")
        count.failed += 1
    return count


def lint_tier(extra: t.Sequence[str]) -> Count:
    sys.path.insert(0, str(ROOT / "tools"))
    import lint  # type: ignore[import-not-found]

    count = Count()
    checks = lint.checks()
    unknown = sorted(set(extra) - set(checks))
    if unknown:
        raise SystemExit(f"unknown check {', '.join(unknown)}; known: {', '.join(checks)}")
    for name, command in checks.items():
        if extra and name not in extra:
            continue
        begun = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        good = done.returncode == 0
        say(f"lint {name}: {'ok' if good else 'FAILED'} ({time.monotonic() - begun:.1f} s)")
        if not good:
            print(done.stdout.rstrip(), flush=True)
        count.add(Count(passed=int(good), failed=int(not good)))
    return count


def scenarios() -> list[str]:
    return sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))


def molecule_tier(extra: t.Sequence[str]) -> Count:
    unknown = sorted(set(extra) - set(scenarios()))
    if unknown:
        raise SystemExit(f"unknown scenario {', '.join(unknown)}; known: {', '.join(scenarios())}")
    env = {"ZEROTRUST_LAB": MOLECULE_LAB, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    count = Count()
    # All scenarios share one laboratory: their create step finds it there, this ends it.
    try:
        for name in extra or scenarios():
            begun = time.monotonic()
            command = [sys.executable, "-m", "molecule", "-c", "molecule/base.yml", "test", "-s", name]
            good = run(command, TIER_TIMEOUT_SECONDS["molecule"], env) == 0
            say(f"molecule {name}: {'ok' if good else 'FAILED'} ({time.monotonic() - begun:.0f} s)")
            count.add(Count(passed=int(good), failed=int(not good)))
    finally:
        if not os.environ.get("ZEROTRUST_KEEP_LAB"):
            say("molecule: the laboratory goes down")
            run([sys.executable, "-m", "lab", "down", "--name", MOLECULE_LAB], 120)
    return count


def tools_problem() -> tuple[str, bool]:
    """Why the laboratory's tools are not there ("" when they are or were made now), and whether that is a failure."""
    check = subprocess.run([sys.executable, "-m", "lab", "tools", "--check"], cwd=ROOT, capture_output=True, text=True)
    if check.returncode == 0:
        return "", False
    said = (check.stdout + check.stderr).strip() or "no output"
    estimate = re.search(r"about (\d+) s\b", said)
    if estimate is None:
        return f"the laboratory's tools cannot be had: {said.splitlines()[-1]}", False
    minutes = int(estimate.group(1)) / 60
    if minutes >= LONGEST_BUILD_MINUTES:
        return f"making the laboratory's tools takes about {minutes:.0f} min; run first: python3 -m lab tools", False
    say(f"the laboratory's tools: {said.splitlines()[-1]}")
    if run([sys.executable, "-m", "lab", "tools"], (LONGEST_BUILD_MINUTES + 20) * 60) != 0:
        return "the laboratory's tools could not be made (see above)", True
    return "", False


def reason_not_to_run(tier: str) -> str:
    """Empty when the tier can run here."""
    if tier in NEED_ROOT and os.geteuid() != 0:
        return "needs root (nodes are systemd-nspawn containers)"
    if tier in NEED_ROOT and not shutil.which("systemd-nspawn"):
        return "needs systemd-nspawn (Debian package systemd-container)"
    if tier == "molecule" and not scenarios():
        return "there are no scenarios"
    if tier in ("unit", "integration", "faults") and not any((ROOT / "tests" / tier).rglob("test_*.py")):
        return "there are no tests"
    return ""


def run_tier(tier: str, extra: t.Sequence[str]) -> Count:
    reason = reason_not_to_run(tier)
    if reason:
        say(f"{tier}: NOT RUN, {reason}")
        return Count(skipped=1)
    if tier in NEED_ROOT:
        reason, failure = tools_problem()
        if reason:
            say(f"{tier}: NOT RUN, {reason}")
            return Count(failed=int(failure), skipped=int(not failure))
    say(f"{tier}: RUN")
    if tier == "lint":
        return lint_tier(extra)
    if tier == "molecule":
        return molecule_tier(extra)
    return pytest_tier(tier, extra)


def main(argv: t.Sequence[str]) -> int:
    if not argv or argv[0] not in (*TIERS, "all"):
        print(f"usage: run.py all | {' | '.join(TIERS)} [arguments of the tier]", file=sys.stderr)
        return 2
    tiers = TIERS if argv[0] == "all" else (argv[0],)
    # Ended from outside, this still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    total = Count()
    lines = []
    for tier in tiers:
        begun = time.monotonic()
        count = run_tier(tier, argv[1:])
        lines.append(f"{tier}: {count} in {time.monotonic() - begun:.0f} s")
        total.add(count)
    print()
    for line in lines:
        say(line)
    print(total, flush=True)
    return 1 if total.failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
