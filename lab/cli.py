# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: python3 -m lab up | down | status | inventory | ssh | logs | tools | heal"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys

from lab import build, inventory, lifecycle, state, versions
from lab.common import LabError, Steps


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python3 -m lab", description="The laboratory; its manual is docs/lab.md.")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")

    def command(name: str, text: str, named: bool = True) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        if named:
            sub.add_argument("--name", default=state.default_name(), help="the laboratory (ZEROTRUST_LAB, else demo)")
        return sub

    command("up", "start a laboratory, or what is missing of it").add_argument(
        "--nodes", type=int, help="number of workers beside one control plane (3)"
    )
    command("down", "take a laboratory away")
    command("status", "what runs").add_argument("--json", action="store_true")
    listing = command("inventory", "the Ansible inventory")
    listing.add_argument("--list", action="store_true", help="as a dynamic inventory prints it (default)")
    listing.add_argument("--write", metavar="FILE", help="write one static inventory file instead")
    shell = command("ssh", "a shell or a command on a node")
    shell.add_argument("node")
    shell.add_argument("words", nargs=argparse.REMAINDER, metavar="command")
    command("logs", "logs of nodes, control plane and stand-in").add_argument("which", nargs="?")
    command("heal", "let the stand-in program all peers again, as restarted agents would")
    tools = command("tools", "build the tools and print their paths", named=False)
    tools.add_argument(
        "--check",
        action="store_true",
        help="only say what is missing and how long it would take; exit status 1 if any is",
    )
    tools.add_argument(
        "--with",
        dest="optional",
        metavar="TOOL",
        choices=[tool.name for tool in versions.OPTIONAL],
        help="build this optional tool instead, which `up` does not need: %(choices)s",
    )
    return top


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    try:
        if args.command != "tools":
            state.check_name(args.name)
        return int(globals()[f"_{args.command}"](args) or 0)
    except LabError as exc:
        print(f"lab: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted; `up` goes on from here, `down` removes what there is", file=sys.stderr)
        return 130


def _up(args: argparse.Namespace) -> None:
    current = lifecycle.up(args.name, args.nodes)
    print(f"kubeconfig: {current['kubeconfig']}")
    print(f"inventory:  ZEROTRUST_LAB={args.name} ansible -i inventories/lab ...")
    print(f"nodes:      {', '.join(n['inventory_name'] for n in current['nodes'])} (python3 -m lab ssh NODE)")


def _down(args: argparse.Namespace) -> None:
    gone = lifecycle.down(args.name)
    print(f"laboratory {args.name} is down" if gone else f"laboratory {args.name} was not up; nothing was left of it")


def _status(args: argparse.Namespace) -> int:
    answer = lifecycle.status(args.name)
    if args.json:
        print(json.dumps(answer, indent=1))
    else:
        print(f"laboratory {args.name}: {answer['state']}")
        for node in answer.get("nodes", []):
            answers = "ssh answers" if node["ssh"] else "DOES NOT ANSWER"
            print(f"  {node['inventory_name']:12} {node['ip']:15} {answers}")
        for component, runs in answer.get("control_plane", {}).items():
            print(f"  {component:28} {'runs' if runs else 'DOES NOT RUN'}")
        if "wireguard" in answer:
            runs = "runs" if answer["stand-in for the Cilium agents"] else "DOES NOT RUN"
            print(f"  {'stand-in for Cilium agents':28} {runs}, WireGuard by {answer['wireguard']}")
    return {"up": 0, "down": 3}.get(answer["state"], 1)


def _inventory(args: argparse.Namespace) -> None:
    current = state.need(args.name)
    if args.write:
        pathlib.Path(args.write).write_text(inventory.static_file(current), encoding="utf-8")
    else:
        print(json.dumps(inventory.build(current), indent=1))


def _ssh(args: argparse.Namespace) -> None:
    current = state.need(args.name)
    if args.node not in {name for node in current["nodes"] for name in (node["name"], node["inventory_name"])}:
        raise LabError(f"Laboratory {args.name} has no node {args.node!r}.")
    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    sys.stdout.flush()
    os.execvp("ssh", ["ssh", "-F", current["ssh_config"], args.node, *words])


def _logs(args: argparse.Namespace) -> None:
    folder = state.directory(state.need(args.name)["name"])
    files = {path.stem: path for path in [*folder.glob("logs/*.log"), *folder.glob("kwok/clusters/lab/logs/*.log")]}
    if args.which is None:
        for name, path in sorted(files.items()):
            print(f"{name:26} {path}")
    elif args.which in files:
        sys.stdout.write(files[args.which].read_text(encoding="utf-8", errors="replace"))
    else:
        raise LabError(f"There is no log {args.which!r}; there are {', '.join(sorted(files))}.")


def _heal(args: argparse.Namespace) -> None:
    lifecycle.heal(args.name)
    print("the stand-in programs all peers again")


def _tools(args: argparse.Namespace) -> int:
    if args.optional and not args.check:
        for name, path in build.ensure_optional(args.optional, Steps(1)).items():
            print(f"{name:26} {path}")
        return 0
    absent, seconds = build.missing(args.optional)
    if args.check:
        missing = f"missing: {' '.join(absent)}; about {seconds} s to build on two cores"
        print(missing if absent else "all tools are cached")
        return 1 if absent else 0
    for name, path in build.ensure(Steps(1)).items():
        print(f"{name:26} {path}")
    return 0
