# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles: argument_specs and defaults say the same, and every variable is used."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())


def read(path: Path) -> t.Any:
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def options(role: Path) -> dict[str, t.Any]:
    return read(role / "meta" / "argument_specs.yml")["argument_specs"]["main"].get("options", {})


def defaults(role: Path) -> dict[str, t.Any]:
    return read(role / "defaults" / "main.yml")


def texts(*folders: Path) -> str:
    """Everything that may use a variable: tasks, handlers, templates, playbooks, plugins."""
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".yml", ".j2", ".py")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files if "defaults" not in path.parts)


def uses(name: str, text: str) -> bool:
    return re.search(rf"(?<![\w]){re.escape(name)}(?![\w])", text) is not None


@pytest.fixture(params=ROLES, ids=lambda path: path.name)
def role(request: pytest.FixtureRequest) -> Path:
    return t.cast(Path, request.param)


def test_role_has_the_files_that_every_role_has(role: Path) -> None:
    for name in ("tasks/main.yml", "meta/argument_specs.yml", "defaults/main.yml"):
        assert (role / name).is_file(), f"roles/{role.name}/{name} is missing"


def test_every_default_has_a_specification(role: Path) -> None:
    assert set(defaults(role)) <= set(options(role))


def test_own_variables_have_the_prefix_of_the_role(role: Path) -> None:
    strange = [name for name in options(role) if not name.startswith((f"{role.name}_", "zerotrust_"))]
    assert not strange


def test_defaults_are_the_same_in_both_files(role: Path) -> None:
    """An own variable has its default in both files or, where unset has a meaning, in none."""
    for name, spec in options(role).items():
        if not name.startswith(f"{role.name}_") or spec.get("required"):
            continue
        if "{{" in str(defaults(role).get(name)):
            # An expression: the specification says it in words.
            assert "default" not in spec, f"{name}: a specification cannot hold an expression"
            continue
        assert ("default" in spec) == (name in defaults(role)), f"{name} has a default in one file only"
        assert spec.get("default") == defaults(role).get(name), f"{name}: two different defaults"


def test_every_option_is_described_and_typed(role: Path) -> None:
    for name, spec in options(role).items():
        assert spec.get("type"), f"{name} has no type"
        assert spec.get("description"), f"{name} has no description"


def test_every_variable_of_the_role_is_used(role: Path) -> None:
    text = "\n".join(texts(role / part) for part in ("tasks", "handlers", "templates", "vars"))
    text += texts(ROOT / "plugins", ROOT / "playbooks")
    other_defaults = {name: str(value) for name, value in defaults(role).items()}
    unused = [
        name
        for name in options(role)
        if name.startswith(f"{role.name}_")
        and not uses(name, text)
        and not any(uses(name, value) for other, value in other_defaults.items() if other != name)
    ]
    assert not unused


def test_every_variable_in_tasks_is_declared(role: Path) -> None:
    """A name with the role's prefix that no file sets is a misspelling."""
    text = texts(role / "tasks", role / "handlers", role / "templates")
    names = set(re.findall(rf"(?<![\w.'\"/]){re.escape(role.name)}_[a-z0-9_]+", text))
    declared = set(options(role)) | set(read(role / "vars" / "main.yml"))
    declared |= set(re.findall(r"^\s*(?:register|fact):\s*(\w+)", text, re.MULTILINE))
    declared |= set(re.findall(rf"^\s*({re.escape(role.name)}_\w+):", text, re.MULTILINE))
    declared |= set(re.findall(r"loop_var:\s*(\w+)", text))
    assert not names - declared
