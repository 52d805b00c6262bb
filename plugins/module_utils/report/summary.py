# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The few lines at the end of a playbook."""

from __future__ import annotations

import typing as t

Data = t.Mapping[str, t.Any]


def roots(report: Data) -> list[Data]:
    """The findings that no other finding of the report explains, in the report's order."""
    ids = {finding["id"] for finding in report["findings"]}
    return [finding for finding in report["findings"] if finding.get("caused_by") not in ids]


def consequences(report: Data) -> dict[str, list[Data]]:
    """The folded findings by the id of their root."""
    folded: dict[str, list[Data]] = {}
    for finding in report["findings"]:
        if finding.get("caused_by"):
            folded.setdefault(finding["caused_by"], []).append(finding)
    return folded


def deciding(finding: Data) -> bool:
    """Whether this root makes the verdict fail or unknown."""
    return finding["severity"] in ("blocker", "fail") and finding["state"] in ("open", "unknown")


def summary(report: Data, path: str = "") -> str:
    """Verdict with scope, each deciding root in a line, counts of the rest, path of the report."""
    lines = [report["verdict"]["text"]]
    top = roots(report)
    for finding in filter(deciding, top):
        subject = f"{finding['subject']['kind']} {finding['subject']['name']}"
        mark = "unknown" if finding["state"] == "unknown" else finding["severity"]
        lines.append(f"{finding['code']} {mark} [{subject}] {finding['message']} -> {finding['remedy']}")
    notes = [finding for finding in top if finding["state"] == "open" and finding["severity"] in ("warn", "info")]
    if notes:
        codes = ", ".join(sorted({finding["code"] for finding in notes}))
        lines.append(f"{len(notes)} note{'s' if len(notes) > 1 else ''} that do not decide: {codes}")
    if path:
        lines.append(f"Report: {path}")
    return "\n".join(lines)
