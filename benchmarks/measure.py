# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks share; they run as scripts, so it stands beside them."""

from __future__ import annotations

import subprocess
import sys
import time


def timed(command: list[str]) -> tuple[float, str]:
    """Wall seconds and output of one command; ends the benchmark when it fails."""
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - start
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
    return seconds, done.stdout
