# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest
from support.site import Site


@pytest.fixture(scope="session")
def fresh() -> t.Iterator[Site]:
    """A laboratory on which nothing was ever installed; tests that use it must be refused."""
    site = Site("fresh")
    site.lab("down")
    site.lab("up", "--nodes", "2")
    yield site
    site.lab("down")


@pytest.fixture(scope="session")
def site() -> t.Iterator[Site]:
    """A laboratory on which site.yml has run twice."""
    site = Site("site")
    site.lab("down")
    site.lab("up", "--nodes", "3")
    first = site.play("site")
    assert first.rc == 0, first.output
    assert any(first.changed.values())
    second = site.play("site")
    assert second.rc == 0, second.output
    assert not any(second.changed.values()), second.output
    yield site
    site.lab("down")
