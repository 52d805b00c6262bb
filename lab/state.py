# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of one laboratory: one directory, one state.json, written whole and atomically."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import typing as t

from lab.common import LabError, state_root, write_private

State = dict[str, t.Any]


def check_name(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", name):
        raise LabError(f"The laboratory's name {name!r} must be lower-case letters, digits and dashes, at most 31.")
    return name


def default_name() -> str:
    return os.environ.get("ZEROTRUST_LAB") or "demo"


def directory(name: str) -> pathlib.Path:
    return state_root() / name


def lab_id(name: str) -> str:
    """Six hex digits that name this laboratory's links, cgroups and machines; they differ by state directory too."""
    return hashlib.sha256(str(directory(name)).encode()).hexdigest()[:6]


def load(name: str) -> State | None:
    path = directory(name) / "state.json"
    try:
        return t.cast(State, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except ValueError as exc:
        raise LabError(f"{path} is damaged ({exc}): run `python3 -m lab down --name {name}`.") from exc


def need(name: str) -> State:
    state = load(name)
    if state is None:
        raise LabError(f"There is no laboratory {name!r}: start it with `python3 -m lab up --name {name}`.")
    return state


def save(state: State) -> None:
    write_private(directory(state["name"]) / "state.json", json.dumps(state, indent=1) + "\n")
