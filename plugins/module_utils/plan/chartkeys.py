# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether extra chart values exist in the chart: Cilium's chart takes unknown and removed keys without a word."""

from __future__ import annotations

import difflib
import re
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.mappings import given
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan.cilium import OWNED

# Below these keys stand objects of Kubernetes or the user's own names, which the chart copies as they are.
_FREE = frozenset(
    [
        "affinity",
        "annotations",
        "commonLabels",
        "env",
        "extraConfig",
        "labels",
        "nodeSelector",
        "podAnnotations",
        "podLabels",
        "podSecurityContext",
        "resources",
        "securityContext",
        "updateStrategy",
    ]
)

# Read by templates of 1.19 and 1.20, but in values.yaml neither as a key nor as a comment.
_TEMPLATES_ONLY = ("nodePort.directRoutingDevice", "iptablesLockTimeout", "fragmentTracking", "logOptions")

_KEY = re.compile(r"^( *)([A-Za-z][\w-]*):(?: |$)")
_COMMENTED = re.compile(r"^( *)# ([a-z][A-Za-z0-9]*):(?: \S|$)")


class ChartKeys:
    """Keys of a chart: those of values.yaml, and those that stand there as a comment ("# hostNamespaceOnly: false")."""

    def __init__(self, values_yaml: str) -> None:
        """Raises ValueError where the text is no values.yaml."""
        import yaml  # only here: module_utils must be importable without it

        try:
            tree = yaml.safe_load(values_yaml)
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error
        if not isinstance(tree, dict):
            raise ValueError("values.yaml holds no mapping")
        self._tree: dict[str, t.Any] = tree
        self._commented = _commented_paths(values_yaml) | set(_TEMPLATES_ONLY)
        self._all = sorted(set(_paths(tree)) | self._commented)

    def unknown(self, values: t.Mapping[str, t.Any]) -> list[tuple[str, str | None]]:
        """Dotted paths in values that the chart does not have, each with the nearest path that it has."""
        return [(path, self._nearest(path)) for path in self._walk(values, self._tree, "")]

    def _walk(self, values: t.Mapping[str, t.Any], known: t.Mapping[str, t.Any], prefix: str) -> t.Iterator[str]:
        for key, value in values.items():
            path = f"{prefix}{key}"
            if path in self._commented:
                continue
            if key not in known:
                yield path
                continue
            below = known[key]
            free = key in _FREE or below is None or below == {} or not isinstance(value, t.Mapping)
            if free:
                continue
            if isinstance(below, t.Mapping):
                yield from self._walk(value, below, f"{path}.")
            else:
                yield from (f"{path}.{inner}" for inner in value)

    def _nearest(self, path: str) -> str | None:
        """The nearest path: same last name elsewhere in the same branch first, then the most similar text."""
        parent, _, name = path.rpartition(".")
        branch = [known for known in self._all if not parent or known.startswith(f"{parent}.")]
        same = [known for known in branch if known.rpartition(".")[2] == name]
        if same:
            return same[0]
        return next(iter(difflib.get_close_matches(path, self._all, n=1, cutoff=0.6)), None)


def check(values: t.Mapping[str, t.Any], chart: ChartKeys | None, version: str) -> list[Finding]:
    """ZT609 for what the intent decides, ZT607 for what the chart does not have, ZT917 where that cannot be told."""
    if not values:
        return []
    findings = [_owned(path, OWNED[path]) for path in sorted(OWNED) if given(values, path)]
    if chart is None:
        findings.append(
            Finding(
                "ZT917",
                Subject("variable", "cilium_values"),
                "cilium_values cannot be checked, since the chart's own values could not be read",
                source="chart",
            )
        )
        return findings
    for path, nearest in chart.unknown(values):
        if any(found.subject.name == f"cilium_values.{path}" for found in findings):
            continue
        hint = f"the nearest key is {nearest}" if nearest else "no key is near to it"
        findings.append(
            Finding(
                "ZT607",
                Subject("variable", f"cilium_values.{path}"),
                f"the chart of Cilium {version} has no key {path}; {hint}",
                observed=path,
                expected=nearest,
                source="chart",
            )
        )
    return findings


def _owned(path: str, variable: str) -> Finding:
    instead = f"set {variable}" if variable in OWNED.values() and "_" in variable.split(" ")[0] else variable
    return Finding(
        "ZT609",
        Subject("variable", f"cilium_values.{path}"),
        f"cilium_values sets {path}, which the intent decides",
        observed=path,
        expected=variable,
        remedy=f"Remove {path} from cilium_values; {instead}.",
        source="variables",
    )


def _paths(tree: t.Mapping[str, t.Any], prefix: str = "") -> t.Iterator[str]:
    for key, value in tree.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _paths(value, f"{prefix}{key}.")


def _commented_paths(text: str) -> set[str]:
    """Paths of commented keys: a comment that looks like a key, at the column where the key would stand."""
    found: set[str] = set()
    stack: list[tuple[int, str]] = []
    in_schema = False
    for line in text.splitlines():
        if line.strip() == "# @schema":
            in_schema = not in_schema
            continue
        key = _KEY.match(line)
        if key:
            indent = len(key[1])
            stack = [*(entry for entry in stack if entry[0] < indent), (indent, key[2])]
            continue
        commented = None if in_schema else _COMMENTED.match(line)
        if commented:
            indent = len(commented[1])
            above = [name for column, name in stack if column < indent]
            if commented[2] != "ref":
                found.add(".".join([*above, commented[2]]))
    return found
