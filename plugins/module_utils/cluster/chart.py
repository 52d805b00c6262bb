# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chart and the helm binary as the API host sees them: a directory is read, anything else is asked of helm."""

from __future__ import annotations

import os
import subprocess
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import Json

SECONDS = 120
Run = t.Callable[[list[str]], tuple[int, str, str]]


def run_command(argv: list[str]) -> tuple[int, str, str]:
    """(exit status, stdout, stderr) of a command without a shell; 127 where it is not there, 124 after SECONDS."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
    except OSError as error:
        return 127, "", str(error)
    except subprocess.TimeoutExpired:
        return 124, "", f"no answer within {SECONDS} s"
    return done.returncode, done.stdout, done.stderr


def helm_version(binary: str, run: Run = run_command) -> Json:
    """{"version": "v3.21.4"|null, "error": null|str} of the helm binary."""
    code, out, err = run([binary, "version", "--template", "{{.Version}}"])
    if code:
        return {"version": None, "error": f"{binary} version: {(err or out).strip() or f'exit status {code}'}"}
    return {"version": out.strip(), "error": None}


def read(ref: str, repo: str | None, version: str | None, binary: str, run: Run = run_command) -> Json:
    """{"version", "values_yaml", "error"} of a chart; on an error the first two are null.

    ref: a directory, an archive, oci://..., or a name in repo (URL). version pins what a repo gives.
    values_yaml: text of the chart's values.yaml.
    """
    try:
        if os.path.isdir(ref):
            with open(os.path.join(ref, "Chart.yaml"), encoding="utf-8") as stream:
                chart = stream.read()
            with open(os.path.join(ref, "values.yaml"), encoding="utf-8") as stream:
                values = stream.read()
        else:
            chart, values = (_show(part, ref, repo, version, binary, run) for part in ("chart", "values"))
    except (OSError, ValueError) as error:
        return {"version": None, "values_yaml": None, "error": f"the chart {ref} cannot be read: {error}"}
    found = chart_version(chart)
    if not found:
        return {"version": None, "values_yaml": None, "error": f"the chart {ref} has no version in its Chart.yaml"}
    return {"version": found, "values_yaml": values, "error": None}


def chart_version(text: str) -> str | None:
    """`version` of the text of a Chart.yaml, or None."""
    import yaml

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    found = data.get("version") if isinstance(data, dict) else None
    return str(found) if found else None


def _show(part: str, ref: str, repo: str | None, version: str | None, binary: str, run: Run) -> str:
    argv = [binary, "show", part]
    if repo:
        argv += ["--repo", repo]
    if version:
        argv += ["--version", version]
    code, out, err = run([*argv, "--", ref])
    if code:
        raise ValueError((err or out).strip() or f"{binary} show {part} ended with status {code}")
    return out
