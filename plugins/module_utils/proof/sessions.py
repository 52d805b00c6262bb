# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions: whether both ends of a pair show a handshake, and what a pair without one means."""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.ledger import Ledger
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.model import (
    EXCLUDED,
    NO_DEVICE,
    OBSERVED,
    NodeView,
)
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.peers import KERNEL

SESSION_SECONDS = 180
"""A WireGuard session is dropped after this time (REJECT_AFTER_TIME), so a younger handshake is a living session."""
CLOCK_SLACK_SECONDS = 2.0

FRESH, SILENT, IDLE, NO_PEER = "fresh", "silent", "idle", "no_peer"
ENDS_SESSION = frozenset(("ZT401", "ZT402", "ZT407", "ZT408", "ZT409", "ZT413"))
"""Roots after which no session of the pair can live, whatever an older handshake says."""

Pair = dict[str, t.Any]


def handshake(a: NodeView, b: NodeView) -> tuple[str, float | None]:
    """(state, age in seconds) of a's session with b as a's kernel shows it.

    fresh: a handshake within SESSION_SECONDS, or newer than the datagram that provoked it.
    silent: a datagram was sent into the tunnel and no session came. idle: nothing was sent, so nothing is known.
    """
    key = b.key
    if key is None or key not in a.peers:
        return NO_PEER, None
    age = a.handshake_age(key)
    provoked = a.provoked.get(key)
    last = float(a.peers[key].get("last_handshake_epoch") or 0)
    if age is not None and age < -CLOCK_SLACK_SECONDS:
        # The clock was set back: only a handshake that was not there before the provocation counts.
        before = ((a.wireguard.get("before") or {}).get(key) or {}).get("last_handshake_epoch")
        return (FRESH, 0.0) if before is not None and last > float(before) else (IDLE, None)
    if age is not None and (age <= SESSION_SECONDS or (provoked and last >= float(provoked.get("at") or 0))):
        return FRESH, max(age, 0.0)
    return (SILENT if provoked and provoked.get("sent") else IDLE), age


def judge_pairs(nodes: t.Mapping[str, NodeView], ledger: Ledger) -> list[Pair]:
    """The rows of all ordered pairs; adds ZT406 for pairs without a session."""
    rows: list[Pair] = []
    idle: list[str] = []
    ordered = list(nodes.values())
    for index, a in enumerate(ordered):
        for b in ordered[index + 1 :]:
            if EXCLUDED in (a.state, b.state):
                out = a if a.state == EXCLUDED else b
                why = f"{out.name} is out of service: {out.why}"
                rows += (_row(a, b, "excluded", None, why), _row(b, a, "excluded", None, why))
                continue
            there, back = handshake(a, b), handshake(b, a)
            if there[0] == FRESH and back[0] == FRESH and not _blamed(a, b, ledger):
                rows += (_row(a, b, "proved", there[1], ""), _row(b, a, "proved", back[1], ""))
                continue
            rows += _unproved(a, b, there, back, ledger, idle)
    if idle:
        ledger.add(
            "ZT406",
            "cluster",
            ledger.cluster or "cluster",
            f"{len(idle)} pairs of Nodes had no session, and nothing was sent to provoke one: first {idle[0]}",
            observed=len(idle),
            expected=0,
            state="unknown",
            remedy="Run verify with the provocation of idle peers switched on, or send traffic between the Nodes.",
            source=KERNEL,
        )
    rows.sort(key=lambda row: (row["from"], row["to"]))
    return rows


def _row(a: NodeView, b: NodeView, verdict: str, age: float | None, why: str) -> Pair:
    return {
        "from": a.name,
        "to": b.name,
        "verdict": verdict,
        "handshake_age_seconds": None if age is None else round(age, 1),
        "why": why,
    }


def _blamed(a: NodeView, b: NodeView, ledger: Ledger) -> bool:
    link = ledger.link
    return (a.name, b.name) in link or (b.name, a.name) in link or a.name in ledger.node or b.name in ledger.node


def _unproved(
    a: NodeView,
    b: NodeView,
    there: tuple[str, float | None],
    back: tuple[str, float | None],
    ledger: Ledger,
    idle: list[str],
) -> list[Pair]:
    blames = [ledger.link[pair] for pair in ((a.name, b.name), (b.name, a.name)) if pair in ledger.link]
    ended = [blame for blame in blames if ledger.findings[blame[0]].code in ENDS_SESSION]
    for node in (a, b):
        root = ledger.node.get(node.name)
        if node.state == NO_DEVICE and root:
            ended.append((root, f"{node.name} has no WireGuard device"))
        elif root:
            blames.append((root, ledger.findings[root].message))
    if ended:
        root, why = ended[0]
        _no_handshake(a, b, ledger, why, caused_by=root)
        return [_ended(a, b, ended, there), _ended(b, a, ended, back)]
    rows = []
    failing: list[str] = []
    for x, y, (state, age) in ((a, b, there), (b, a, back)):
        link = ledger.link.get((x.name, y.name))
        if x.state != OBSERVED:
            rows.append(_row(x, y, "unknown", None, f"{x.name} was not observed: {x.why}"))
        elif link:
            unknown = ledger.findings[link[0]].state == "unknown"
            rows.append(_row(x, y, "unknown" if unknown else "failed", age, link[1]))
        elif state == FRESH and y.state == OBSERVED:
            rows.append(_row(x, y, "proved", age, ""))
        elif y.state != OBSERVED:
            shown = "a session" if state == FRESH else "no session"
            rows.append(_row(x, y, "unknown", age, f"{y.name} was not observed ({x.name} shows {shown}): {y.why}"))
        elif state == SILENT:
            failing.append(f"{x.name} sent into the tunnel and no handshake with {y.name} came")
            rows.append(_row(x, y, "failed", age, failing[-1]))
        else:
            error = (x.provoked.get(str(y.key)) or {}).get("error")
            why = f"no session, and none could be provoked: {error}" if error else "idle, and nothing was sent"
            rows.append(_row(x, y, "unknown", age, why))
            if not blames:
                idle.append(f"{x.name} -> {y.name}")
    if failing:
        _no_handshake(a, b, ledger, "; ".join(failing), caused_by=blames[0][0] if blames else None)
    return rows


def _ended(x: NodeView, y: NodeView, ended: list[tuple[str, str]], session: tuple[str, float | None]) -> Pair:
    """A pair whose session cannot live. What an unobserved Node holds stays unknown."""
    if x.state not in (OBSERVED, NO_DEVICE):
        return _row(x, y, "unknown", None, f"{x.name} was not observed: {x.why}")
    return _row(x, y, "failed", session[1], ended[0][1])


def _no_handshake(a: NodeView, b: NodeView, ledger: Ledger, why: str, *, caused_by: str | None) -> None:
    ledger.add(
        "ZT406",
        "link",
        f"{a.name} <-> {b.name}",
        f"{a.name} and {b.name} complete no handshake: {why}",
        expected=f"a handshake within {SESSION_SECONDS} s or after a datagram into the tunnel",
        caused_by=caused_by,
        source=KERNEL,
    )
