# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes docs/findings/ (one page per code, and an index) from the registry of codes.

--check writes nothing and fails when a page is missing, out of date or left over.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.registry import CODES

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "findings"

GROUPS = {
    "ZT1": "kernel and host",
    "ZT2": "NIC",
    "ZT3": "MTU and path",
    "ZT4": "encryption",
    "ZT5": "identity",
    "ZT6": "engine and version compatibility",
    "ZT7": "policy",
    "ZT8": "exposure",
    "ZT9": "intent and inventory",
}

SEVERITIES = {
    "blocker": "The run ends for all hosts before anything is changed.",
    "fail": "The verdict is fail.",
    "warn": "Shown; the verdict does not change.",
    "info": "Shown; the verdict does not change.",
}


def page(code: str) -> str:
    entry = CODES[code]
    lines = [
        f"# {entry.code} {entry.name}",
        "",
        f"**{entry.title}.**",
        "",
        f"- Severity: `{entry.severity}`. {SEVERITIES[entry.severity]}",
        f"- Group: {GROUPS[code[:3]]}",
        "",
        "## Why it matters",
        "",
        entry.why,
        "",
        "## What to do",
        "",
        entry.remedy,
    ]
    return "\n".join(lines) + "\n"


def index() -> str:
    lines = [
        "# Findings",
        "",
        "Each finding has one of these codes. A code keeps its meaning for ever. The severity below is the usual one;",
        "the finding itself says its own. A check that could not be made has the state `unknown`, never a pass.",
        "To accept a finding, with reason, owner and end date, see `zerotrust_accept`.",
    ]
    group = ""
    for code in sorted(CODES):
        if code[:3] != group:
            group = code[:3]
            lines += [
                "",
                f"## {group}xx: {GROUPS[group]}",
                "",
                "| code | name | severity | meaning |",
                "|---|---|---|---|",
            ]
        entry = CODES[code]
        lines.append(f"| [{code}]({code}.md) | {entry.name} | {entry.severity} | {entry.title} |")
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """File name -> text of the whole folder."""
    return {"README.md": index(), **{f"{code}.md": page(code) for code in CODES}}


def differences() -> list[str]:
    """Names of files that a run would write or remove."""
    wanted = pages()
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def main(argv: list[str]) -> int:
    names = differences()
    if argv == ["--check"]:
        for name in names:
            print(f"docs/findings/{name} is not what the registry says; run: make docs")
        return 1 if names else 0
    wanted = pages()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names:
        if name in wanted:
            (FOLDER / name).write_text(wanted[name], encoding="utf-8")
        else:
            (FOLDER / name).unlink()
    print(f"docs/findings: {len(wanted)} pages, {len(names)} written or removed")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
