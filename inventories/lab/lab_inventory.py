#!/usr/bin/env python3
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dynamic inventory of the laboratory named by ZEROTRUST_LAB (default: demo). Works from any directory."""

from __future__ import annotations

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from lab import inventory, state
from lab.common import LabError


def main(argv: list[str]) -> int:
    """Print the inventory for --list; --host has nothing to add, since _meta holds all host variables."""
    if "--host" in argv:
        print("{}")
        return 0
    try:
        print(json.dumps(inventory.build(state.need(state.default_name())), indent=1))
    except LabError as exc:
        print(f"lab: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
