# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The linters, by name: tests/run.py runs them, `make lint ARGS="ruff mypy"` some of them."""

from __future__ import annotations

import sys


def checks() -> dict[str, list[str]]:
    """Name -> command, run in the checkout; a status other than 0 is a failure."""
    python = sys.executable
    return {
        "ruff": [python, "-m", "ruff", "check"],
        "format": [python, "-m", "ruff", "format", "--check"],
        "mypy": [python, "-m", "mypy"],
        "yamllint": [python, "-m", "yamllint", "--strict", "."],
        "ansible-lint": [python, "-m", "ansiblelint", "--offline", "-q", "--nocolor"],
        "changelog": ["antsibull-changelog", "lint"],
        "findings": [python, "tools/findings_pages.py", "--check"],
        "places": [python, "tools/places.py"],
    }
