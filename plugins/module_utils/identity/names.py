# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SPIFFE names and SPIRE's durations: parsing and the rules between TTLs. Pure, standard library only."""

from __future__ import annotations

import re
import typing as t

_TRUST_DOMAIN = re.compile(r"^[a-z0-9._-]{1,255}$")
_SEGMENT = re.compile(r"^[A-Za-z0-9._-]+$")
_DURATION_PART = re.compile(r"(\d+)([hms])")
_DURATION = re.compile(r"^(\d+[hms])+$")
_SECONDS = {"h": 3600, "m": 60, "s": 1}

# pkg/server/ca/manager: a CA is activated when a sixth of its life is left, at most seven days before its end; an SVID
# that lives longer than that is cut short without a word but a line in the log.
ACTIVATION_DIVISOR = 6
ACTIVATION_CAP = 7 * 86400
# cmd/spire-agent/cli/run: availability_target is refused below 24 h; pkg/common/rotationutil: below 12 h between it and
# the SVID's life it is silently ignored.
MINIMUM_AVAILABILITY = 24 * 3600
AVAILABILITY_GRACE = 12 * 3600


class Problem(t.NamedTuple):
    """One thing that is wrong: the variable (with the path inside it), the value, what is expected or to be done."""

    variable: str
    value: t.Any
    remedy: str

    def line(self) -> str:
        return f"{self.variable} is {self.value!r}: {self.remedy}"


def seconds(duration: str) -> int | None:
    """Seconds of a Go duration made of hours, minutes and seconds ("1h30m"), None where it is none or zero."""
    if not isinstance(duration, str) or not _DURATION.match(duration):
        return None
    return sum(int(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(duration)) or None


def words(count: int) -> str:
    """Seconds as SPIRE writes durations: 14400 -> "4h", 5400 -> "1h30m"."""
    parts = [(count // 3600, "h"), (count % 3600 // 60, "m"), (count % 60, "s")]
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def trust_domain_problem(name: t.Any) -> str | None:
    """Why a value is no trust domain (SPIFFE-ID, section 2.1), None when it is one."""
    if not name:
        return "the trust domain is needed, as a DNS-like name such as cluster.example"
    if not isinstance(name, str) or not _TRUST_DOMAIN.match(name):
        return "a trust domain has lower case letters, digits, '.', '-' and '_' only, and no scheme"
    return None


def spiffe_id_problem(value: t.Any, trust_domain: str) -> str | None:
    """Why a value is no SPIFFE id of a workload in the trust domain, None when it is one."""
    start = f"spiffe://{trust_domain}/"
    if not isinstance(value, str) or not value.startswith(start):
        return f"a SPIFFE id of this trust domain begins with {start}"
    if len(value.encode()) > 2048:
        return "a SPIFFE id has at most 2048 bytes"
    for segment in value[len(start) :].split("/"):
        if not _SEGMENT.match(segment) or segment in (".", ".."):
            return f"the segment {segment!r} must be letters, digits, '.', '-' or '_', and not '.' or '..'"
    return None


def segment_problem(value: str) -> str | None:
    """Why a host name cannot be a segment of a SPIFFE id (or a common name), None when it can."""
    if not _SEGMENT.match(value) or value in (".", "..") or len(value) > 64:
        return "it must be at most 64 letters, digits, '.', '-' or '_' to be part of a SPIFFE id and a certificate"
    return None


def longest_svid(ca_ttl: int) -> int:
    """The longest SVID life in seconds that a CA of this life can promise."""
    return min(ca_ttl // ACTIVATION_DIVISOR, ACTIVATION_CAP)


def ttl_problems(ttls: t.Mapping[str, t.Any]) -> list[Problem]:
    """The rules between durations.

    ttls: {"spire_ca_ttl", "spire_svid_ttl", "spire_jwt_svid_ttl", "spire_agent_ttl", "spire_availability_target"},
    Go durations as text; agent TTL and availability target may be "" (SPIRE's own choice).
    """
    problems: list[Problem] = []
    known: dict[str, int] = {}
    for name, value in ttls.items():
        if value == "" and name in ("spire_agent_ttl", "spire_availability_target"):
            continue
        count = seconds(value)
        if count is None:
            problems.append(Problem(name, value, "a duration such as 1h, 90m or 1h30m is expected"))
        else:
            known[name] = count
    ca = known.get("spire_ca_ttl")
    for name in ("spire_svid_ttl", "spire_jwt_svid_ttl", "spire_agent_ttl"):
        life = known.get(name)
        if ca is None or life is None or life <= longest_svid(ca):
            continue
        if life > ACTIVATION_CAP:
            remedy = f"SPIRE promises no SVID more than {words(ACTIVATION_CAP)}; set it to that or less"
        else:
            remedy = (
                f"with spire_ca_ttl {ttls['spire_ca_ttl']} SPIRE promises at most {words(longest_svid(ca))} and cuts "
                f"longer ones short; lower it, or raise spire_ca_ttl to {words(life * ACTIVATION_DIVISOR)}"
            )
        problems.append(Problem(name, ttls[name], remedy))
    target = known.get("spire_availability_target")
    if target is not None:
        if target < MINIMUM_AVAILABILITY:
            remedy = f"spire-agent takes nothing below {words(MINIMUM_AVAILABILITY)}; raise it or leave it empty"
            problems.append(Problem("spire_availability_target", ttls["spire_availability_target"], remedy))
        elif "spire_svid_ttl" in known and known["spire_svid_ttl"] < target + AVAILABILITY_GRACE:
            remedy = (
                f"it holds only when SVIDs live {words(AVAILABILITY_GRACE)} longer; raise spire_svid_ttl from "
                f"{ttls['spire_svid_ttl']} to {words(target + AVAILABILITY_GRACE)}, or leave it empty"
            )
            problems.append(Problem("spire_availability_target", ttls["spire_availability_target"], remedy))
    return problems
