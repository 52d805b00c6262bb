# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nested mappings, as chart values are: merge them, and look at a dotted path."""

from __future__ import annotations

import typing as t


def merge(base: t.Mapping[str, t.Any], over: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Deep merge of mappings; anything else in `over` replaces."""
    result = dict(base)
    for key, value in over.items():
        mine = result.get(key)
        both = isinstance(mine, t.Mapping) and isinstance(value, t.Mapping)
        result[key] = merge(t.cast("dict[str, t.Any]", mine), value) if both else value
    return result


def get(values: t.Any, path: str) -> t.Any:
    """Value at a dotted path, None where a step is missing."""
    for step in path.split("."):
        values = values.get(step) if isinstance(values, t.Mapping) else None
    return values


def given(values: t.Mapping[str, t.Any], path: str) -> bool:
    """Whether values say anything at or below a path; a scalar above it counts, too, since it replaces the branch."""
    found: t.Any = values
    for step in path.split("."):
        if not isinstance(found, t.Mapping):
            return True
        if step not in found:
            return False
        found = found[step]
    return True
