# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts show of SPIRE: agents, their SVIDs and trust bundles, and the server's word beside them (ZT530 to ZT541).

An agent is ok when its service runs, it says that it is healthy, its Workload API answered, and its own SVID stands in
its bundle, in the intended trust domain, with a life that is not about to end. What was not seen is unknown.
"""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.ledger import Ledger
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.model import Data

Section = dict[str, t.Any]
SOURCE = "svid_info"
RENEWAL = 0.25
"""SPIRE renews at half of a life; with less than this share left, a renewal did not happen."""
OWN = "the agent's own SVID"


def prove(intent: Data, part: Data, answers: Data, hosts: Data, now: float) -> tuple[list[Finding], Section]:
    """Findings and the report's section on identity.

    intent: Intent.to_dict(). part: the plan's "identity" (action, deployment, servers, hosts, trust_domain, entries).
    answers: {inventory name: result of svid_info}. hosts: as of wireguard.prove(). now: epoch seconds, for authorities.
    """
    if intent.get("identity") != "spire":
        why = "zerotrust_identity is none: no identity is kept or judged."
        return [], {"intended": "none", "state": "none", "why": why}
    name = str(intent.get("cluster_name") or "")
    ledger = Ledger(name)
    domain = str(part.get("trust_domain") or intent.get("trust_domain") or "")
    section: Section = {
        "intended": "spire",
        "deployment": part.get("deployment") or "hosts",
        "trust_domain": domain,
        "server": None,
        "agents": [],
        "authorities": [],
        "counts": {},
    }
    if section["deployment"] != "hosts":
        text = "SPIRE is kept in Kubernetes; what it issues was not observed"
        ledger.add("ZT539", "cluster", name or "cluster", text, state="unknown", source="plan")
        return ledger.settle(), {**section, "state": "unknown", "why": f"{text}."}

    server = _server(part, answers, hosts, ledger)
    names = sorted(part.get("hosts") or answers)
    rows = [_host(host, answers.get(host) or {}, hosts.get(host) or {}, domain, ledger, server) for host in names]
    authorities = _bundles(rows, answers, server, now, name or "cluster", ledger)
    counts = {state: sum(row["state"] == state for row in rows) for state in ("ok", "failed", "unknown", "excluded")}
    none = [row["host"] for row in rows if row["state"] == "ok" and not row["svids"]]
    if none and not any(row["svids"] for row in rows):
        text = f"{len(none)} agents answer and have no identity for root; what they issue to others was not seen"
        ledger.add("ZT532", "cluster", name or "cluster", text, observed=len(none), source=SOURCE)
    findings = ledger.settle()
    state = _state(counts, server, findings)
    judged = len(rows) - counts["excluded"]
    section.update(
        state=state,
        why=f"{counts['ok']} of {judged} agents run, are attested and hold a valid SVID of {domain}.",
        server=server,
        agents=rows,
        authorities=authorities,
        counts=counts,
    )
    return findings, section


def _state(counts: t.Mapping[str, int], server: Section | None, findings: t.Sequence[Finding]) -> str:
    severe = [finding for finding in findings if finding.severity in ("blocker", "fail")]
    if any(finding.state == "open" for finding in severe):
        return "failed"
    if severe or counts["unknown"] or not counts["ok"] or server is None or server["state"] != "ok":
        return "unknown"
    return "ok"


def _server(part: Data, answers: Data, hosts: Data, ledger: Ledger) -> Section | None:
    """The server's row; None where the plan names no server."""
    servers = [str(host) for host in part.get("servers") or ()]
    if not servers:
        return None
    host = servers[0]
    answer = (answers.get(host) or {}).get("server") or {}
    ca = answer.get("ca") or {}
    entries = answer.get("entries") or {}
    row: Section = {
        "host": host,
        "state": "ok",
        "why": "",
        "ca_seconds_left": ca.get("seconds_left"),
        "entries": entries.get("ours"),
        "entries_wanted": part.get("entries"),
        "agents": (answer.get("agents") or {}).get("total"),
        "finding": None,
    }
    wanted = part.get("entries")
    if answer.get("healthy") is False or answer.get("service") in ("inactive", "failed"):
        why = str(answer.get("error") or f"its service is {answer.get('service')}")
        text = f"The SPIRE server on {host} does not work: {why}"
        row.update(state="failed", why=why)
        row["finding"] = ledger.add("ZT540", "host", host, text, observed=why, expected="healthy", source=SOURCE)
    elif answer.get("healthy") is not True or answer.get("service") != "active":
        why = str(answer.get("error") or _unread(answers.get(host) or {}, hosts.get(host) or {}))
        row.update(state="unknown", why=why)
        text = f"The SPIRE server on {host} could not be observed: {why}"
        ledger.add("ZT542", "host", host, text, observed=why, state="unknown", source=SOURCE)
    elif wanted is not None and entries.get("ours") is not None and entries["ours"] < wanted:
        text = f"The server has {entries['ours']} of {wanted} registration entries of the set {entries.get('set')}"
        row.update(state="failed", why=text)
        ledger.add("ZT541", "host", host, text, observed=entries["ours"], expected=wanted, source=SOURCE)
    elif ca.get("seconds_left") is not None and ca["seconds_left"] <= 0:
        text = f"The server's own authority on {host} expired {span(-ca['seconds_left'])} ago"
        row.update(state="failed", why=text)
        row["finding"] = ledger.add("ZT538", "host", host, text, observed=ca, source=SOURCE)
    return row


def _unread(answer: Data, seen: Data) -> str:
    agent = answer.get("agent") or {}
    return str(agent.get("why") or answer.get("error") or seen.get("error") or "it was not asked")


def _host(host: str, answer: Data, seen: Data, domain: str, ledger: Ledger, server: Section | None) -> Section:
    agent: Data = answer.get("agent") or {}
    own: Data | None = agent.get("svid")
    row: Section = {
        "host": host,
        "state": "ok",
        "agent": str(agent.get("state") or "unknown"),
        "svids": len(answer.get("svids") or ()),
        "seconds_left": None,
        "lifetime": None,
        "serial": (own or {}).get("serial"),
        "why": "",
    }
    if seen.get("excluded"):
        return {**row, "state": "excluded", "agent": "unknown", "why": str(seen["excluded"])}
    if agent.get("state") == "down" or agent.get("healthy") is False:
        why = str(agent.get("why") or agent.get("error") or answer.get("error") or "it says that it is not healthy")
        text = f"The SPIRE agent on {host} does not work: {why}"
        root = ledger.add("ZT530", "host", host, text, observed=why, expected="a healthy agent", source=SOURCE)
        row.update(state="failed", why=why, agent="down")
        _svids(host, answer, domain, ledger, row, root)
        return row
    unseen = [
        what
        for what, known in (
            ("the agent's service", agent.get("service", "unknown") != "unknown"),
            ("its health", agent.get("healthy") is not None),
            ("its Workload API", agent.get("workload_api") is not None and answer.get("state") in ("issued", "denied")),
            (OWN, own is not None),
            ("its trust bundle", bool(answer.get("bundle"))),
        )
        if not known
    ]
    if agent.get("state") != "up" or unseen:
        why = _unread(answer, seen) if agent.get("state") != "up" else f"not seen: {', '.join(unseen)}"
        text = f"The identity of {host} could not be observed: {why}"
        ledger.add("ZT531", "host", host, text, observed=why, state="unknown", source=SOURCE)
        row.update(state="unknown", why=why)
    _svids(host, answer, domain, ledger, row, (server or {}).get("finding"))
    return row


def _svids(host: str, answer: Data, domain: str, ledger: Ledger, row: Section, cause: str | None) -> None:
    """Judges the agent's own SVID and those that root got; one finding of each code for a host."""
    wrong: dict[str, list[str]] = {}
    untried: list[str] = []
    own = (answer.get("agent") or {}).get("svid")
    for svid, name in [*([(own, OWN)] if own else []), *((s, str(s["spiffe_id"])) for s in answer.get("svids") or ())]:
        life, left = svid["not_after"] - svid["not_before"], svid["seconds_left"]
        if row["seconds_left"] is None or left < row["seconds_left"]:
            row.update(seconds_left=left, lifetime=life)
        if left <= 0:
            wrong.setdefault("ZT533", []).append(f"{name} expired {span(-left)} ago")
        elif left < life * RENEWAL:
            wrong.setdefault("ZT534", []).append(f"{name} has {span(left)} of {span(life)} left and was not renewed")
        if not str(svid["spiffe_id"]).startswith(f"spiffe://{domain}/"):
            wrong.setdefault("ZT536", []).append(f"{name} is {svid['spiffe_id']}, the trust domain is to be {domain}")
        if svid.get("verified") is False and left > 0:
            wrong.setdefault("ZT535", []).append(f"{name} does not stand in the bundle: {svid.get('why')}")
        elif svid.get("verified") is None:
            untried.append(f"{name} was not verified: {svid.get('why')}")
    for code, texts in sorted(wrong.items()):
        # Who renews is the server: its fault explains what ran out, not what is wrong in itself.
        caused = cause if code in ("ZT533", "ZT534") else None
        text = f"{host}: {'; '.join(texts)}"
        ledger.add(code, "host", host, text, observed=texts, caused_by=caused, source=SOURCE)
    if wrong:
        row.update(state="failed", why="; ".join(text for texts in wrong.values() for text in texts))
    elif untried and row["state"] == "ok":
        row.update(state="unknown", why="; ".join(untried))
        text = f"The identity of {host} could not be judged: {row['why']}"
        ledger.add("ZT531", "host", host, text, observed=untried, state="unknown", source=SOURCE)


def _bundles(
    rows: t.Sequence[Section], answers: Data, server: Section | None, now: float, subject: str, ledger: Ledger
) -> list[dict[str, t.Any]]:
    """Authorities with the number of hosts that hold each; findings where hosts have none in common or all expired."""
    held: dict[str, dict[str, t.Any]] = {}
    sets: dict[frozenset[str], list[str]] = {}
    for row in rows:
        bundle = [] if row["state"] == "excluded" else (answers.get(row["host"]) or {}).get("bundle") or []
        for authority in bundle:
            entry = held.setdefault(
                authority["sha256"], {"sha256": authority["sha256"], "not_after": authority["not_after"], "hosts": 0}
            )
            entry["hosts"] += 1
        if not bundle:
            continue
        sets.setdefault(frozenset(authority["sha256"] for authority in bundle), []).append(row["host"])
        last = max(authority["not_after"] for authority in bundle)
        if last <= now and row["agent"] == "up":
            text = f"All authorities in the bundle of {row['host']} have expired, the last {span(now - last)} ago"
            row.update(state="failed", why=text)
            cause = (server or {}).get("finding")
            ledger.add("ZT538", "host", row["host"], text, observed=last, caused_by=cause, source=SOURCE)
    if len(sets) > 1:
        common = frozenset.intersection(*sets)
        groups = sorted(sets.values(), key=lambda names: (-len(names), names))
        said = "; ".join(f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''}" for names in groups[:5])
        text = f"Hosts hold {len(sets)} different trust bundles ({said})"
        # With an authority in common they still know each other: a rotation is on its way.
        severity = "warn" if common else ""
        observed = {names[0]: len(names) for names in groups}
        ledger.add("ZT537", "cluster", subject, text, observed=observed, severity=severity, source=SOURCE)
    return sorted(held.values(), key=lambda entry: (-entry["hosts"], entry["sha256"]))


def span(seconds: float) -> str:
    """Seconds for a human, two parts at most: "59 min", "1 h 20 min", "3 d 4 h"."""
    whole = int(seconds)
    for size, unit, next_size, next_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // next_size
            return f"{whole // size} {unit}{f' {rest} {next_unit}' if rest and unit != 'min' else ''}"
    return f"{whole} s"
