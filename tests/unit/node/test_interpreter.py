# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pythons that are too old get one error that names the variable to set."""

from __future__ import annotations

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node import interpreter


@pytest.mark.parametrize("version", [(3, 8, 18), (3, 6, 8), (2, 7, 18)])
def test_old(version: tuple[int, ...]) -> None:
    said = interpreter.too_old(version)
    assert said is not None
    assert "ansible_python_interpreter" in said
    assert ".".join(map(str, version)) in said


@pytest.mark.parametrize("version", [(3, 9, 0), (3, 14, 1)])
def test_new_enough(version: tuple[int, ...]) -> None:
    assert interpreter.too_old(version) is None
    assert interpreter.too_old() is None


@pytest.mark.parametrize(
    "stderr",
    [  # as ansible-core 2.19 returns them from Python 3.6 and 2.7
        '  File "/home/ops/.ansible/tmp/x/AnsiballZ_node_info.py", line 3\n    from __future__ import annotations\n'
        "    ^\nSyntaxError: future feature annotations is not defined\n",
        '  File "/home/ops/.ansible/tmp/x/AnsiballZ_node_info.py", line 40\n    zip_data: str,\n            ^\n'
        "SyntaxError: invalid syntax\n",
    ],
)
def test_wrapper_that_an_old_python_cannot_parse(stderr: str) -> None:
    said = interpreter.explain_failure({"failed": True, "module_stderr": stderr, "rc": 1})
    assert said is not None
    assert "ansible_python_interpreter" in said


def test_other_failures_are_not_explained() -> None:
    assert interpreter.explain_failure({"failed": True, "module_stderr": "sudo: a password is required\n"}) is None
    assert interpreter.explain_failure({}) is None
