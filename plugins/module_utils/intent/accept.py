# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Acceptance of findings: which entries are valid, and what they do to the findings of a run.

An acceptance names exactly one code and one subject; there are no wildcards, and it ends on a date.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.registry import CODES

_KINDS = ("host", "node", "link", "object", "variable", "cluster")
_REQUIRED = ("code", "subject", "reason", "owner", "until")

# Accepting these would not take a risk, it would make the run wrong: another cluster, another owner, a half-known plan.
_NEVER = frozenset(
    ["ZT112", "ZT601", "ZT602", "ZT604", "ZT605", "ZT607", "ZT609", "ZT618", "ZT621", "ZT623", "ZT624"]
    + ["ZT701", "ZT704", "ZT705", "ZT706"]
    + [code for code in CODES if code.startswith("ZT9") and code != "ZT909"]
)


def check_entries(entries: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[list[dict[str, t.Any]], list[Finding]]:
    """Valid entries of zerotrust_accept (until as ISO text) and one ZT913 for each that is not.

    An optional key `observed` (a list) narrows an entry: it accepts only what is in that list, so that a new missing
    kernel option, say, is not covered by last year's acceptance.
    """
    valid: list[dict[str, t.Any]] = []
    findings: list[Finding] = []
    for index, entry in enumerate(entries):
        problem = _problem(entry)
        if problem:
            findings.append(
                Finding(
                    "ZT913",
                    Subject("variable", f"zerotrust_accept[{index}]"),
                    f"zerotrust_accept[{index}] cannot be used: {problem}",
                    observed={key: str(value) for key, value in entry.items()},
                    source="variables",
                )
            )
            continue
        clean: dict[str, t.Any] = {key: str(entry[key]) for key in _REQUIRED}
        clean["until"] = _date(entry["until"]).isoformat()  # type: ignore[union-attr]
        if entry.get("observed") is not None:
            clean["observed"] = list(entry["observed"])
        valid.append(clean)
    return valid, findings


def apply_acceptance(
    findings: t.Iterable[Finding], accept: t.Sequence[t.Mapping[str, t.Any]], today: datetime.date
) -> list[Finding]:
    """Findings, those accepted that an entry names exactly. An expired entry accepts nothing and gives one ZT914."""
    current: dict[tuple[str, str], t.Mapping[str, t.Any]] = {}
    expired: list[Finding] = []
    for entry in accept:
        if datetime.date.fromisoformat(entry["until"]) < today:
            expired.append(
                Finding(
                    "ZT914",
                    Subject("variable", f"zerotrust_accept {entry['code']} {entry['subject']}"),
                    f"{entry['owner']} accepted {entry['code']} of {entry['subject']} until {entry['until']}",
                    observed=entry["until"],
                    source="variables",
                )
            )
        else:
            current[(entry["code"], entry["subject"])] = entry
    result = []
    for finding in findings:
        match = current.get((finding.code, str(finding.subject)))
        if match is not None and _covers(match, finding):
            accepted = {key: str(match[key]) for key in ("reason", "owner", "until")}
            finding = dataclasses.replace(finding, state="accepted", accepted=accepted)
        result.append(finding)
    return result + expired


def _covers(entry: t.Mapping[str, t.Any], finding: Finding) -> bool:
    allowed = entry.get("observed")
    if allowed is None:
        return True
    seen = finding.observed if isinstance(finding.observed, (list, tuple)) else [finding.observed]
    return all(item in allowed for item in seen)


def _problem(entry: t.Mapping[str, t.Any]) -> str | None:
    missing = [key for key in _REQUIRED if entry.get(key) in (None, "")]
    if missing:
        return f"{', '.join(missing)} missing"
    unknown = sorted(set(entry) - set(_REQUIRED) - {"observed"})
    if unknown:
        return f"unknown key {', '.join(unknown)}"
    code, subject = str(entry["code"]), str(entry["subject"])
    if code not in CODES:
        return f"there is no code {code}"
    if code in _NEVER:
        return f"{code} ({CODES[code].title}) cannot be accepted, it must be repaired"
    if any(sign in subject for sign in "*?["):
        return f"subject {subject!r} has a wildcard; name one subject"
    kind, _, name = subject.partition(" ")
    if kind not in _KINDS or not name:
        return f"subject {subject!r} is not written as in the finding, such as 'host gpu1'"
    if _date(entry["until"]) is None:
        return f"until {entry['until']!r} is no date such as 2026-12-31"
    if entry.get("observed") is not None and not isinstance(entry["observed"], (list, tuple)):
        return "observed is not a list"
    return None


def _date(value: t.Any) -> datetime.date | None:
    if isinstance(value, datetime.datetime):
        return value.date()
    if isinstance(value, datetime.date):
        return value
    try:
        return datetime.date.fromisoformat(str(value))
    except ValueError:
        return None
