# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registration entries as data: validation, SPIRE's own form, and the difference to what a server has.

Whose an entry is, is told by its id: ours are "aicluster.<set>.<digest>", and nothing else is ever changed or removed.
The digest is of parent, SPIFFE id and selectors, which SPIRE holds unique; so whatever else changes is an update.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.identity.names import (
    Problem,
    segment_problem,
    spiffe_id_problem,
)

OWNER = "aicluster"
_SET = re.compile(r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")
_DNS_NAME = re.compile(r"^(\*\.)?[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$")
_KEYS = {"spiffe_id", "host", "parent_id", "selectors", "x509_svid_ttl", "jwt_svid_ttl", "dns_names", "hint"}
_FLOODS = {"unix:uid:0", "unix:user:root", "unix:gid:0", "unix:group:root"}
MAX_TTL = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Entry:
    """One registration entry; TTLs in seconds, 0 for the server's default."""

    entry_id: str
    spiffe_id: str
    parent_id: str
    selectors: tuple[str, ...]
    x509_svid_ttl: int = 0
    jwt_svid_ttl: int = 0
    dns_names: tuple[str, ...] = ()
    hint: str = ""

    def data(self) -> dict[str, t.Any]:
        """The form that `spire-server entry create -data` and `update -data` read."""
        pairs = [selector.split(":", 1) for selector in self.selectors]
        return {
            "entry_id": self.entry_id,
            "spiffe_id": self.spiffe_id,
            "parent_id": self.parent_id,
            "selectors": [{"type": kind, "value": value} for kind, value in pairs],
            "x509_svid_ttl": self.x509_svid_ttl,
            "jwt_svid_ttl": self.jwt_svid_ttl,
            "dns_names": list(self.dns_names),
            "hint": self.hint,
        }

    def lines(self) -> list[str]:
        """For a diff: one line a field, those at their default left out."""
        fields = dataclasses.asdict(self)
        return [f"{name}: {value}\n" for name, value in fields.items() if value not in (0, (), "")]


@dataclasses.dataclass
class Changes:
    """What makes a server's entries equal to the wanted ones; foreign holds wanted ones that somebody else has made."""

    create: list[Entry] = dataclasses.field(default_factory=list)
    update: list[tuple[Entry, Entry]] = dataclasses.field(default_factory=list)
    delete: list[Entry] = dataclasses.field(default_factory=list)
    kept: list[Entry] = dataclasses.field(default_factory=list)
    foreign: list[tuple[Entry, Entry]] = dataclasses.field(default_factory=list)

    @property
    def any(self) -> bool:
        return bool(self.create or self.update or self.delete)


def host_id(trust_domain: str, host: str) -> str:
    """The SPIFFE id that stands for one host, whatever its agent attested with: the parent of its workloads."""
    return f"spiffe://{trust_domain}/host/{host}"


def prefix(set_name: str) -> str:
    return f"{OWNER}.{set_name}."


def set_problem(set_name: str) -> str | None:
    if _SET.match(set_name):
        return None
    return "a set has at most 32 lower case letters, digits and '-'"


def _entry_id(set_name: str, parent: str, spiffe_id: str, selectors: t.Sequence[str]) -> str:
    digest = hashlib.sha256("\0".join([parent, spiffe_id, *selectors]).encode()).hexdigest()[:32]
    return prefix(set_name) + digest


def host_alias(trust_domain: str, host: str, set_name: str) -> Entry:
    """The entry that gives the agent with the common name `host` (x509pop) the id of that host."""
    parent, spiffe_id = f"spiffe://{trust_domain}/spire/server", host_id(trust_domain, host)
    selectors = (f"x509pop:subject:cn:{host}",)
    return Entry(_entry_id(set_name, parent, spiffe_id, selectors), spiffe_id, parent, selectors)


def parse(
    data: t.Any,
    trust_domain: str,
    set_name: str,
    *,
    hosts: t.Collection[str] | None = None,
    attestors: t.Collection[str] = (),
    variable: str = "spire_entries",
    longest_ttl: int = MAX_TTL,
) -> tuple[list[Entry], list[Problem]]:
    """Entries from data (docs/spire.md), and every problem.

    hosts: names that `host` may have, None for any. attestors: kinds of selectors that an agent here gives, empty for
    any. longest_ttl: seconds that an SVID may live at most.
    """
    if not isinstance(data, (list, tuple)):
        return [], [Problem(variable, data, "a list of entries is expected")]
    entries: list[Entry] = []
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    for number, item in enumerate(data):
        where = f"{variable}[{number}]"
        found = _problems(item, where, trust_domain, hosts, attestors, longest_ttl)
        if found:
            problems += found
            continue
        parent = item.get("parent_id") or host_id(trust_domain, item["host"])
        selectors = tuple(sorted(item["selectors"]))
        entry = Entry(
            entry_id=_entry_id(set_name, parent, item["spiffe_id"], selectors),
            spiffe_id=item["spiffe_id"],
            parent_id=parent,
            selectors=selectors,
            x509_svid_ttl=item.get("x509_svid_ttl") or 0,
            jwt_svid_ttl=item.get("jwt_svid_ttl") or 0,
            # their order has a meaning: the first one becomes the common name
            dns_names=tuple(item.get("dns_names") or ()),
            hint=item.get("hint") or "",
        )
        if entry.entry_id in seen:
            remedy = f"{seen[entry.entry_id]} has the same parent, SPIFFE id and selectors; remove one of them"
            problems.append(Problem(where, item["spiffe_id"], remedy))
            continue
        seen[entry.entry_id] = where
        entries.append(entry)
    return entries, problems


def _problems(
    item: t.Any,
    where: str,
    trust_domain: str,
    hosts: t.Collection[str] | None,
    attestors: t.Collection[str],
    longest_ttl: int,
) -> list[Problem]:
    if not isinstance(item, dict):
        return [Problem(where, item, "an entry is a dictionary with spiffe_id, host or parent_id, and selectors")]
    problems = [
        Problem(f"{where}.{key}", item[key], f"there is no such field; the fields are {', '.join(sorted(_KEYS))}")
        for key in sorted(set(item) - _KEYS, key=str)
    ]
    reason = spiffe_id_problem(item.get("spiffe_id"), trust_domain)
    if reason is None and item["spiffe_id"].startswith((f"spiffe://{trust_domain}/spire/", host_id(trust_domain, ""))):
        reason = "/spire/ is SPIRE's own, and /host/ stands for hosts; take another path"
    if reason:
        problems.append(Problem(f"{where}.spiffe_id", item.get("spiffe_id"), reason))
    problems += _parent_problems(item, where, trust_domain, hosts)
    problems += _selector_problems(item.get("selectors"), f"{where}.selectors", attestors)
    for key in ("x509_svid_ttl", "jwt_svid_ttl"):
        value = item.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_TTL:
            problems.append(Problem(f"{where}.{key}", value, "whole seconds are expected, 0 for the server's default"))
        elif value > longest_ttl:
            remedy = f"the server promises at most {longest_ttl} s; lower it or raise spire_ca_ttl"
            problems.append(Problem(f"{where}.{key}", value, remedy))
    names = item.get("dns_names")
    if names is not None and not (isinstance(names, list) and all(_is_dns_name(name) for name in names)):
        problems.append(Problem(f"{where}.dns_names", names, "a list of DNS names is expected"))
    if not isinstance(item.get("hint") or "", str) or len(item.get("hint") or "") > 1024:
        problems.append(Problem(f"{where}.hint", item["hint"], "a text of at most 1024 characters is expected"))
    return problems


def _is_dns_name(name: t.Any) -> bool:
    return isinstance(name, str) and len(name) <= 253 and _DNS_NAME.match(name) is not None


def _parent_problems(
    item: t.Mapping[str, t.Any], where: str, trust_domain: str, hosts: t.Collection[str] | None
) -> list[Problem]:
    host, parent = item.get("host"), item.get("parent_id")
    if bool(host) == bool(parent):
        return [Problem(where, item.get("spiffe_id"), "exactly one of host and parent_id is needed")]
    if parent:
        reason = spiffe_id_problem(parent, trust_domain)
        return [Problem(f"{where}.parent_id", parent, reason)] if reason else []
    reason = segment_problem(host) if isinstance(host, str) else "the inventory name of a host is expected"
    if reason is None and hosts is not None and host not in hosts:
        reason = f"no such host is in the play; there are {', '.join(sorted(hosts)[:8])}{' ...' * (len(hosts) > 8)}"
    return [Problem(f"{where}.host", host, reason)] if reason else []


def _selector_problems(selectors: t.Any, where: str, attestors: t.Collection[str]) -> list[Problem]:
    if not isinstance(selectors, list) or not selectors:
        return [Problem(where, selectors, "a list of at least one selector is expected, such as systemd:id:x.service")]
    problems = []
    for number, selector in enumerate(selectors):
        reason = None
        if not isinstance(selector, str) or not re.match(r"^[a-z0-9_]+:.+$", selector):
            reason = "a selector is written type:value, such as unix:uid:1000"
        elif attestors and selector.split(":", 1)[0] not in attestors:
            reason = f"no attestor here gives it; spire_workload_attestors is {', '.join(sorted(attestors))}"
        elif selectors.count(selector) > 1:
            reason = "it is there twice"
        if reason:
            problems.append(Problem(f"{where}[{number}]", selector, reason))
    if not problems and set(selectors) <= _FLOODS:
        remedy = "every process of root would get it; add a selector such as systemd:id:x.service"
        problems.append(Problem(where, selectors, remedy))
    return problems


def from_server(items: t.Iterable[t.Mapping[str, t.Any]]) -> list[Entry]:
    """Entries of `spire-server entry show -output json` (its key "entries")."""

    def name(value: t.Mapping[str, t.Any]) -> str:
        return f"spiffe://{value['trust_domain']}{value['path']}"

    return [
        Entry(
            entry_id=item["id"],
            spiffe_id=name(item["spiffe_id"]),
            parent_id=name(item["parent_id"]),
            selectors=tuple(sorted(f"{pair['type']}:{pair['value']}" for pair in item["selectors"])),
            x509_svid_ttl=int(item.get("x509_svid_ttl") or 0),
            jwt_svid_ttl=int(item.get("jwt_svid_ttl") or 0),
            dns_names=tuple(item.get("dns_names") or ()),
            hint=item.get("hint") or "",
        )
        for item in items
    ]


def compare(wanted: t.Sequence[Entry], there: t.Sequence[Entry], set_name: str, *, prune: bool = True) -> Changes:
    """What to do. Entries that are not of the set are only looked at to find out who stands in the way."""
    changes = Changes()
    ours = {entry.entry_id: entry for entry in there if entry.entry_id.startswith(prefix(set_name))}
    others = {_identity(entry): entry for entry in there if entry.entry_id not in ours}
    for entry in wanted:
        present = ours.pop(entry.entry_id, None)
        if present == entry:
            changes.kept.append(entry)
        elif present:
            changes.update.append((present, entry))
        elif _identity(entry) in others:
            changes.foreign.append((entry, others[_identity(entry)]))
        else:
            changes.create.append(entry)
    if prune:
        changes.delete = list(ours.values())
    return changes


def _identity(entry: Entry) -> tuple[str, str, tuple[str, ...]]:
    return entry.parent_id, entry.spiffe_id, entry.selectors


def prune_refusal(changes: Changes) -> str | None:
    """Why a prune needs consent: hosts' or workloads' entries would all go, or more than a fifth. Else None."""
    wanted = [*changes.kept, *changes.create, *(new for _old, new in changes.update)]
    named = {(entry.parent_id, entry.spiffe_id) for entry in wanted}
    # other selectors for the same identity make another entry, but nothing is lost
    replaced = [entry for entry in changes.delete if (entry.parent_id, entry.spiffe_id) in named]
    staying = [*changes.kept, *(new for _old, new in changes.update), *replaced]
    for what, alias in (("hosts", True), ("workloads", False)):
        gone = sum(_is_alias(entry) == alias for entry in changes.delete if entry not in replaced)
        stay = sum(_is_alias(entry) == alias for entry in staying)
        if gone and not stay:
            return f"all {gone} entries of {what} in the set would be removed"
        if gone * 5 > gone + stay:
            return f"{gone} of the {gone + stay} entries of {what} in the set would be removed, more than a fifth"
    return None


def _is_alias(entry: Entry) -> bool:
    return entry.parent_id.endswith("/spire/server")
