# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A laboratory of the tests' own, with a state directory of its own; skipped, and counted, without root."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from support.lab import Lab


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        for item in items:
            if pathlib.Path(item.path).parent == pathlib.Path(__file__).parent and "needs_root" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="the laboratory needs root"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs_root: starts a laboratory, which needs root")


@pytest.fixture(scope="session")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="session")
def lab(state_home: pathlib.Path) -> t.Iterator[Lab]:
    one = Lab("pytest-lab", state_home)
    one("up", "--nodes", "2")
    yield one
    one("down")
