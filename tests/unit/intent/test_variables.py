# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of variables against what roles and playbooks really have: a gap would refuse our own inventories."""

from __future__ import annotations

import pathlib
import re

import yaml

from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent import variables

ROOT = pathlib.Path(__file__).parents[3]
# The variables of the roles whose prefix is checked; others (report_, verify_, preflight_) are the roles' own.
CHECKED = ("zerotrust_", "cilium_", "istio_ambient_", "mtls_policy_", "nic_tuning_", "spire_")


def test_table_has_no_duplicates_and_one_prefix_each() -> None:
    names = [variable.name for variable in variables.VARIABLES]
    assert len(names) == len(set(names))
    assert all(name.startswith(CHECKED) for name in names)


def test_defaults_and_specs_of_roles_are_in_the_table() -> None:
    seen: set[str] = set()
    for path in ROOT.glob("roles/*/defaults/main.yml"):
        seen |= set(yaml.safe_load(path.read_text()) or {})
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for spec in yaml.safe_load(path.read_text())["argument_specs"].values():
            seen |= set(spec.get("options") or {})
    ours = {name for name in seen if name.startswith(CHECKED)}
    assert ours, "no role defaults were found"
    assert variables.unknown_names(ours) == []


def test_names_that_playbooks_and_roles_set_are_in_the_table() -> None:
    setting = re.compile(
        r"^\s*(?:register: |loop_var: )?((?:zerotrust|cilium|mtls_policy|nic_tuning)_\w+)(?::|$)", re.M
    )
    found: set[str] = set()
    for folder in ("playbooks", "roles"):
        for path in (ROOT / folder).rglob("*.yml"):
            if "meta" not in path.parts:
                found |= set(setting.findall(path.read_text()))
    assert found, "no playbook was found"
    assert variables.unknown_names(found) == []
