# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings while they are joined: which one is the root of which, and what may explain a failing pair."""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject


class Ledger:
    """Collects findings of one cluster; `node` and `link` say which root explains what fails there."""

    def __init__(self, cluster: str) -> None:
        self.cluster = cluster
        self.findings: dict[str, Finding] = {}
        self.node: dict[str, str] = {}
        self.link: dict[tuple[str, str], tuple[str, str]] = {}

    def add(self, code: str, kind: str, name: str, message: str, **more: t.Any) -> str:
        """Add a finding and return its id. caused_by and others are passed on to Finding."""
        finding = Finding(code, Subject(kind, name), message, cluster=self.cluster, **more)
        return self.findings.setdefault(finding.id, finding).id

    def blame_node(self, node: str, root: str) -> None:
        """The first root found for a Node explains what fails with it."""
        self.node.setdefault(node, root)

    def blame_link(self, a: str, b: str, root: str, why: str) -> None:
        """The same for what fails between a and b because of what a's kernel holds."""
        self.link.setdefault((a, b), (root, why))

    def settle(self) -> list[Finding]:
        """All findings; every caused_by points at a root, never at another consequence."""
        for finding in self.findings.values():
            seen = {finding.id}
            while finding.caused_by in self.findings and finding.caused_by not in seen:
                seen.add(finding.caused_by)
                above = self.findings[finding.caused_by].caused_by
                if above is None:
                    break
                finding.caused_by = above
        return list(self.findings.values())
