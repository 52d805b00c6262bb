#!/usr/bin/env python3
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ratios of the playbooks to `ansible all -m ping`, measured in one run on the running laboratory.

Usage: benchmarks/site.py [--rounds N] [--inventory inventories/lab]
Prints medians in seconds, their ratio to ping, and the results per host of a no-change site.yml.
Goals, not limits: preflight 1.5, site.yml 6, 8 results per host.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys

from measure import timed

RECAP = re.compile(
    r"^(?P<host>\S+)\s+: ok=(?P<ok>\d+)\s+changed=(?P<changed>\d+)\s+unreachable=(?P<unreachable>\d+)"
    r"\s+failed=(?P<failed>\d+)\s+skipped=(?P<skipped>\d+)",
    re.M,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--inventory", default="inventories/lab")
    options = parser.parse_args()
    commands = {
        "ping": ["ansible", "all", "-i", options.inventory, "-m", "ping"],
        "setup": ["ansible", "all", "-i", options.inventory, "-m", "setup"],
        "preflight": ["ansible-playbook", "-i", options.inventory, "playbooks/preflight.yml"],
        "site, no change": ["ansible-playbook", "-i", options.inventory, "playbooks/site.yml"],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    output = ""
    for _round in range(options.rounds):
        # Interleaved, so that a busy minute of the machine falls on all of them.
        for name, command in commands.items():
            seconds, output = timed(command)
            taken[name].append(seconds)
    hosts = [match.groupdict() for match in RECAP.finditer(output)]
    if not hosts or any(int(host["changed"]) for host in hosts):
        sys.exit(f"site.yml changed something, or printed no recap: not a no-change run.\n{output[-2000:]}")
    ping = statistics.median(taken["ping"])
    for name, seconds in taken.items():
        low, median, high = min(seconds), statistics.median(seconds), max(seconds)
        print(f"{name:16} {median:6.2f} s (min {low:.2f}, max {high:.2f}), {median / ping:.2f} x ping")
    for host in hosts:
        results = sum(int(host[key]) for key in ("ok", "failed", "skipped", "unreachable"))
        print(f"results of site.yml on {host['host']}: {results}, of them {host['skipped']} skipped")


if __name__ == "__main__":
    main()
