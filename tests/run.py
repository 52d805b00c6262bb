# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the tiers of tests and adds them up: python3 tests/run.py all, or the name of one tier.

Each tier says RUN or NOT RUN with its reason. The last line is "N passed, N failed, N skipped":
pytest's cases, Molecule's scenarios and the linters, one each. A tier that is not run counts as
one skipped, so that the line never looks more complete than the run was.
"all" runs parts side by side, as tests on laboratories wait more than they compute; what a part
printed comes in one piece when it ends. One tier alone prints as it goes.
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
OPTIONAL_TOOLS = ("spire", "istio")
GRACE_SECONDS = 60
LONG_OUTPUT_LINES = 150
SIGN_OF_LIFE_SECONDS = 30
# One clock for all processes of a run.
STARTED = float(os.environ.setdefault("ZEROTRUST_TEST_STARTED", str(time.monotonic())))
TOTAL = re.compile(r"(\d+) passed, (\d+) failed, (\d+) skipped")


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
        end([process])


def end(processes: t.Sequence[subprocess.Popen[t.Any]], grace: float = GRACE_SECONDS) -> None:
    """End process groups as Ctrl-C would, so that pytest's fixtures take their laboratories away; then for good."""
    running = [process for process in processes if process.poll() is None]
    for process in running:
        os.killpg(process.pid, signal.SIGINT)
    deadline = time.monotonic() + grace
    for process in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
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
    """Arguments that name folders of the tier choose them; the others go to pytest."""
    folders = [f"tests/{tier}/{name}" for name in extra if (ROOT / "tests" / tier / name).is_dir()]
    options = [name for name in extra if not (ROOT / "tests" / tier / name).is_dir()]
    with tempfile.TemporaryDirectory(prefix="zerotrust-test-") as folder:
        junit = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-rs", "--durations=5", f"--junitxml={junit}", *options]
        command += folders or [f"tests/{tier}"]
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
            if name in OPTIONAL_TOOLS and missing_tools("--with", name)[0] != 0:
                say(f"molecule {name}: NOT RUN, {name} is not built: python3 -m lab tools --with {name}")
                count.add(Count(skipped=1))
                continue
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


def missing_tools(*arguments: str) -> tuple[float | None, str]:
    """Minutes that making the laboratory's tools takes (0: all there, None: cannot be said), and what was said."""
    command = [sys.executable, "-m", "lab", "tools", "--check", *arguments]
    check = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if check.returncode == 0:
        return 0, ""
    said = ((check.stdout + check.stderr).strip() or "no output").splitlines()[-1]
    estimate = re.search(r"about (\d+) s\b", said)
    return (int(estimate.group(1)) / 60 if estimate else None), said


def tools_problem() -> tuple[str, bool]:
    """Why the laboratory's tools are not there ("" when they are or were made now), and whether that is a failure.

    Optional tools are made too while all builds together stay below the limit; tests that need one that is not there
    are skipped and say so.
    """
    minutes, said = missing_tools()
    if minutes is None:
        return f"the laboratory's tools cannot be had: {said}", False
    if minutes >= LONGEST_BUILD_MINUTES:
        return f"making the laboratory's tools takes about {minutes:.0f} min; run first: python3 -m lab tools", False
    timeout = (LONGEST_BUILD_MINUTES + 20) * 60
    if minutes:
        say(f"the laboratory's tools: {said}")
        if run([sys.executable, "-m", "lab", "tools"], timeout) != 0:
            return "the laboratory's tools could not be made (see above)", True
    for name in OPTIONAL_TOOLS:
        more, said = missing_tools("--with", name)
        if more == 0:
            continue
        command = f"python3 -m lab tools --with {name}"
        if more is None or minutes + more >= LONGEST_BUILD_MINUTES:
            why = said if more is None else f"{said}, with the other builds more than {LONGEST_BUILD_MINUTES} min"
            say(f"tests that need {name}: NOT RUN, {why}; run first: {command}")
            continue
        minutes += more
        say(f"optional tool {name}: {said}")
        if run([sys.executable, "-m", "lab", "tools", "--with", name], timeout) != 0:
            say(f"tests that need {name}: NOT RUN, it could not be made (see above)")
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


@dataclasses.dataclass
class Part:
    """A tier, or some folders of it, run by a process of its own."""

    tier: str
    arguments: tuple[str, ...] = ()
    count: Count | None = None
    process: subprocess.Popen[str] | None = None
    log: Path | None = None
    begun: float = 0.0
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return " ".join((self.tier, *self.arguments))

    def start(self, folder: Path) -> None:
        self.begun = time.monotonic()
        self.log = folder / self.name.replace(" ", "-")
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                command_of(self), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )

    def finish(self) -> None:
        """Print what it printed, all of it unless it is long and good, and take its last line as its count."""
        assert self.log is not None
        assert self.process is not None
        self.seconds = time.monotonic() - self.begun
        lines = self.log.read_text(errors="replace").rstrip().splitlines()
        found = TOTAL.fullmatch(lines[-1]) if lines else None
        self.count = Count(*map(int, found.groups())) if found else Count(failed=1)
        if bool(self.count.failed) != bool(self.process.returncode):
            self.count.failed = max(1, self.count.failed)
        if found is None:
            lines.append(f"{self.name} ended with status {self.process.returncode} and no total: one failure")
        shown = lines
        if not self.count.failed and len(lines) > LONG_OUTPUT_LINES:
            shown = [line for line in lines if line.startswith("==> ")]
        print(f"\n--- {self.name}: {self.count} in {self.seconds:.0f} s ---")
        print("\n".join(shown), end="\n\n", flush=True)


def command_of(part: Part) -> list[str]:
    return [sys.executable, __file__, part.tier, *part.arguments]


def lanes() -> list[list[Part]]:
    """Parts that run one after the other, and lanes of them that run side by side."""
    faults = sorted({path.parent.name for path in (ROOT / "tests" / "faults").glob("*/test_*.py")})
    return [
        [Part("molecule")],
        *([Part("faults", (folder,))] for folder in faults),
        [Part("lint"), Part("unit"), Part("integration")],
    ]


def run_lanes(queues: list[list[Part]]) -> list[Part]:
    """Run the first of each lane, then the next of it, until all have ended; returns them in the order of TIERS."""
    everything = [part for queue in queues for part in queue]
    running: list[Part] = []
    said = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="zerotrust-test-") as folder:
        try:
            while running or any(queues):
                for queue in queues:
                    if queue and queue[0].process is None:
                        queue[0].start(Path(folder))
                        running.append(queue[0])
                for part in [part for part in running if part.process is not None and part.process.poll() is not None]:
                    part.finish()
                    running.remove(part)
                    queues = [queue[1:] if part in queue[:1] else queue for queue in queues]
                if running and time.monotonic() - said >= SIGN_OF_LIFE_SECONDS:
                    said = time.monotonic()
                    say("running: " + ", ".join(f"{part.name} ({said - part.begun:.0f} s)" for part in running))
                time.sleep(0.2)
        except BaseException:
            # Each of them gives its own processes their time, and takes a laboratory down.
            end([part.process for part in running if part.process is not None], 3 * GRACE_SECONDS)
            for part in running:
                part.finish()
            raise
    return sorted(everything, key=lambda part: TIERS.index(part.tier))


def run_all() -> list[tuple[str, Count, float]]:
    """Name, count and seconds of every tier or part of one."""
    results = []
    runnable = []
    for tier in TIERS:
        reason = reason_not_to_run(tier)
        if reason:
            say(f"{tier}: NOT RUN, {reason}")
            results.append((tier, Count(skipped=1), 0.0))
        else:
            runnable.append(tier)
    if set(runnable) & set(NEED_ROOT):
        # Once, before several parts would each want to make them.
        reason, failure = tools_problem()
        if reason:
            for tier in [tier for tier in runnable if tier in NEED_ROOT]:
                say(f"{tier}: NOT RUN, {reason}")
                results.append((tier, Count(failed=int(failure), skipped=int(not failure)), 0.0))
            runnable = [tier for tier in runnable if tier not in NEED_ROOT]
    for tier in runnable:
        say(f"{tier}: RUN")
    queues = [[part for part in queue if part.tier in runnable] for queue in lanes()]
    for part in run_lanes([queue for queue in queues if queue]):
        results.append((part.name, part.count or Count(failed=1), part.seconds))
    return results


def main(argv: t.Sequence[str]) -> int:
    if not argv or argv[0] not in (*TIERS, "all") or (argv[0] == "all" and argv[1:]):
        print(f"usage: run.py all | {' | '.join(TIERS)} [arguments of the tier]", file=sys.stderr)
        return 2
    # Ended from outside, this still ends what it started. A shell's background job ignores SIGINT, and so would pytest.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Also where nobody activated the environment: tests start ansible-playbook by its name.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if argv[0] == "all":
        results = run_all()
    else:
        begun = time.monotonic()
        count = run_tier(argv[0], argv[1:])
        results = [(argv[0], count, time.monotonic() - begun)]
    total = Count()
    print()
    for name, count, seconds in results:
        say(f"{name}: {count} in {seconds:.0f} s")
        total.add(count)
    print(total, flush=True)
    return 1 if total.failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
