# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Version numbers of kernels and of Cilium, as tuples that compare."""

from __future__ import annotations

import re

KNOWN_MINORS = ((1, 19), (1, 20))


def parse_version(text: str) -> tuple[int, int, int]:
    """(major, minor, patch) of "1.20.2", "v1.20.2" or "1.20.0-pre.1"; (0, 0, 0) where there is none."""
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text.strip())
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else (0, 0, 0)


def minor(text: str) -> tuple[int, int]:
    """(major, minor) of a version."""
    return parse_version(text)[:2]
