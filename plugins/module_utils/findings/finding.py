# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Finding: the one unit in which every room of the collection says what it saw.

A finding names what is wrong (code), where (subject), what was observed and expected,
and what to do. It travels as a plain dict (to_dict) through results and report.json.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.registry import CODES

SEVERITIES = ("blocker", "fail", "warn", "info")
STATES = ("open", "accepted", "unknown")


@dataclasses.dataclass(frozen=True)
class Subject:
    """What a finding is about: kind is host, link, object, variable or cluster; name is unique in its kind."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclasses.dataclass
class Finding:
    """One finding. severity and remedy default to the registry's for the code.

    caused_by holds the id of the root finding whose consequence this is, or None for a root.
    A state of "unknown" means that the check could not be made; it is never a pass.
    """

    code: str
    subject: Subject
    message: str
    observed: t.Any = None
    expected: t.Any = None
    remedy: str = ""
    severity: str = ""
    state: str = "open"
    source: str = ""
    caused_by: str | None = None
    accepted: dict[str, str] | None = None
    cluster: str = ""

    def __post_init__(self) -> None:
        entry = CODES[self.code]
        self.severity = self.severity or entry.severity
        self.remedy = self.remedy or entry.remedy
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity {self.severity!r} of {self.code} is none of {SEVERITIES}")
        if self.state not in STATES:
            raise ValueError(f"state {self.state!r} of {self.code} is none of {STATES}")

    @property
    def id(self) -> str:
        """Stable over runs: from cluster, code and subject, never from observed values."""
        key = "\0".join((self.cluster, self.code, self.subject.kind, self.subject.name))
        return hashlib.sha256(key.encode()).hexdigest()[:12]

    @property
    def blocks(self) -> bool:
        """Whether a change must not begin: an open or unknown blocker."""
        return self.severity == "blocker" and self.state != "accepted"

    def to_dict(self) -> dict[str, t.Any]:
        return {
            "id": self.id,
            "code": self.code,
            "name": CODES[self.code].name,
            "severity": self.severity,
            "state": self.state,
            "subject": {"kind": self.subject.kind, "name": self.subject.name},
            "message": self.message,
            "observed": self.observed,
            "expected": self.expected,
            "remedy": self.remedy,
            "source": self.source,
            "caused_by": self.caused_by,
            "accepted": self.accepted,
        }

    def line(self) -> str:
        """One human line: code, subject, message, remedy."""
        text = f"{self.code} {self.severity} [{self.subject}] {self.message}"
        return f"{text} -> {self.remedy}" if self.remedy else text


def from_dict(data: t.Mapping[str, t.Any], cluster: str = "") -> Finding:
    """Inverse of to_dict; raises KeyError where a required key is missing."""
    return Finding(
        code=data["code"],
        subject=Subject(data["subject"]["kind"], data["subject"]["name"]),
        message=data["message"],
        observed=data.get("observed"),
        expected=data.get("expected"),
        remedy=data.get("remedy", ""),
        severity=data.get("severity", ""),
        state=data.get("state", "open"),
        source=data.get("source", ""),
        caused_by=data.get("caused_by"),
        accepted=data.get("accepted"),
        cluster=cluster,
    )


def ordered(findings: t.Iterable[Finding]) -> list[Finding]:
    """Findings in the order of the report: worst first, then code and subject."""
    return sorted(
        findings,
        key=lambda f: (SEVERITIES.index(f.severity), f.code, f.subject.kind, f.subject.name),
    )


def canonical(data: t.Any) -> str:
    """Canonical JSON text: sorted keys, no blanks; the form whose SHA-256 a plan carries."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
