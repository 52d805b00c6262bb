# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""report.json -> one HTML file without a single reference to the outside.

This file arranges the report for report.html.j2; every value is escaped there.
"""

from __future__ import annotations

import json
import pathlib
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.registry import CODES
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.identity import span
from ansible_collections.aicluster.zerotrust.plugins.module_utils.report.summary import consequences, deciding, roots

Data = t.Mapping[str, t.Any]
LARGEST_MATRIX = 64
LONGEST_TABLE = 40
"""Rows of a table; beyond them it shows what is not ok, and of that no more than this."""
SYMBOLS = {"proved": "✓", "failed": "✕", "unknown": "?", "excluded": "\u2013"}
STATES = {"pass": ("✓", "Pass"), "fail": ("✕", "Fail"), "unknown": ("?", "Unknown"), "refused": ("✕", "Refused")}


def render(report: Data) -> str:
    """The page as text. report: the dict of build() or build_refusal()."""
    import jinja2  # only here: module_utils must be importable without it

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["show"] = show
    environment.filters["span"] = span
    template = pathlib.Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(page(report))


def show(value: t.Any) -> str:
    """A value of observed or expected for a human."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(item, (str, int, float)) for item in value):
        return ", ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def page(report: Data) -> dict[str, t.Any]:
    """What the template needs, besides the report itself."""
    top = roots(report)
    face = "refused" if report["kind"] == "refusal" else report["verdict"]["state"]
    no_encryption = face == "pass" and "no encryption is intended" in report["verdict"]["text"]
    symbol, word = ("\u2013", "No encryption") if no_encryption else STATES[face]
    pairs = [pair for pair in report["pairs"] if pair["verdict"] != "excluded"]
    return {
        "report": report,
        "face": "none" if no_encryption else face,
        "symbol": symbol,
        "word": word,
        "scope": [f"{text[:1].upper()}{text[1:]}." for text in report["verdict"]["scope"].split("; ")],
        "problems": [finding for finding in top if deciding(finding)],
        "notes": [finding for finding in top if not deciding(finding) and finding["state"] != "accepted"],
        "accepted": groups([f for f in top if f["state"] == "accepted"], consequences(report)),
        "folded": consequences(report),
        "pair_count": len(pairs),
        "pairs_proved": sum(pair["verdict"] == "proved" for pair in pairs),
        "matrix": matrix(report["pairs"]),
        "symbols": SYMBOLS,
        "budget": budget(report["mtu"]),
        "identity": identity(report.get("identity")),
        "engine": engine(report.get("engine")),
        "policy": policy(report.get("policy")),
    }


def bounded(rows: t.Sequence[Data]) -> dict[str, t.Any]:
    """All rows of a short table; of a long one those that are not ok. Returns {"rows", "total", "hidden"}."""
    shown = rows if len(rows) <= LONGEST_TABLE else [row for row in rows if row["state"] != "ok"][:LONGEST_TABLE]
    return {"rows": shown, "total": len(rows), "hidden": len(rows) - len(shown)}


def identity(section: Data | None) -> dict[str, t.Any] | None:
    """The section with bounded tables; None where there is nothing to show."""
    if section is None:
        return None
    held = [
        row for row in section.get("agents") or () if row["seconds_left"] is not None and row["state"] != "excluded"
    ]
    first = min(held, key=lambda row: row["seconds_left"]) if held else None
    return {**section, "agents": bounded(section.get("agents") or ()), "first": first}


def engine(section: Data | None) -> dict[str, t.Any] | None:
    if section is None:
        return None
    names = {"cilium": "Cilium", "istio_ambient": "Istio Ambient", "none": "none"}
    tables = {name: bounded(section[name]) for name in ("namespaces", "waypoints")}
    return {**section, "title": names[section["engine"]], **tables}


def policy(section: Data | None) -> dict[str, t.Any] | None:
    """Stages that differ from the rest are what a reader looks for in a long list: the commonest is folded."""
    if section is None:
        return None
    counts: dict[str, int] = {}
    for row in section["stages"]:
        counts[row["stage"]] = counts.get(row["stage"], 0) + 1
    common = max(counts, key=lambda stage: counts[stage]) if counts else None
    stages = bounded([{**row, "state": "ok" if row["stage"] == common else "other"} for row in section["stages"]])
    differences = [
        *({"object": key, "word": "missing"} for key in section["missing"]),
        *({"object": entry["object"], "word": "differs"} for entry in section["drifted"]),
        *({"object": str(key), "word": "another's"} for key in section["foreign"]),
        *({"object": key, "word": "not intended"} for key in section["extra"]),
    ]
    cut = differences[:LONGEST_TABLE]
    return {
        **section,
        "stages": stages,
        "stage_counts": counts,
        "differences": cut,
        "more_differences": len(differences) - len(cut),
    }


def groups(accepted: t.Sequence[Data], folded: t.Mapping[str, t.Sequence[Data]]) -> list[dict[str, t.Any]]:
    """Accepted findings that one decision covers (same code, reason, owner, end) in one row with all its subjects."""
    rows: dict[tuple[str, ...], dict[str, t.Any]] = {}
    for finding in accepted:
        decision = finding["accepted"] or {}
        reason, owner, until = (str(decision.get(key, "not given")) for key in ("reason", "owner", "until"))
        row = rows.setdefault(
            (finding["code"], reason, owner, until),
            {
                "code": finding["code"],
                "title": CODES[finding["code"]].title,
                "reason": reason,
                "owner": owner,
                "until": until,
                "names": [],
                "details": [],
            },
        )
        row["names"].append(finding["subject"]["name"])
        row["details"] += [finding["message"], *(child["message"] for child in folded.get(finding["id"], ()))]
    return list(rows.values())


def matrix(pairs: t.Sequence[Data]) -> dict[str, t.Any]:
    """Rows of cells for all ordered pairs. Of a large cluster only Nodes with a pair that is not proved are shown."""
    nodes = sorted({pair["from"] for pair in pairs} | {pair["to"] for pair in pairs})
    total = len(nodes)
    if total > LARGEST_MATRIX:
        harmed: dict[str, int] = {}
        for pair in pairs:
            if pair["verdict"] in ("failed", "unknown"):
                for end in (pair["from"], pair["to"]):
                    harmed[end] = harmed.get(end, 0) + 1
        worst = sorted(harmed, key=lambda node: (-harmed[node], node))[:LARGEST_MATRIX]
        nodes = sorted(worst)
    shown = set(nodes)
    cells = {(pair["from"], pair["to"]): pair for pair in pairs if pair["from"] in shown and pair["to"] in shown}
    rows = [(a, [(b, _cell(cells.get((a, b)))) for b in nodes]) for a in nodes]
    size = "large" if len(nodes) <= 8 else "medium" if len(nodes) <= 20 else "small"
    suffix = common_domain(nodes)
    labels = {node: node[: len(node) - len(suffix)] for node in nodes}
    return {"nodes": nodes, "labels": labels, "suffix": suffix, "rows": rows, "total": total, "size": size}


def common_domain(names: t.Sequence[str]) -> str:
    """What all names end with, from a dot on: ".example.net"; empty where there is nothing."""
    if len(names) < 2:
        return ""
    parts = [name.split(".")[1:] for name in names]
    common: list[str] = []
    for column in zip(*(reversed(part) for part in parts)):
        if len(set(column)) > 1:
            break
        common.insert(0, column[0])
    return "." + ".".join(common) if common else ""


def _cell(pair: Data | None) -> dict[str, str] | None:
    if pair is None:
        return None
    text = f"{pair['from']} → {pair['to']}: {pair['verdict']}"
    if pair["handshake_age_seconds"] is not None:
        text += f", handshake {pair['handshake_age_seconds']:.0f} s ago"
    if pair["why"]:
        text += f" ({pair['why']})"
    return {"verdict": pair["verdict"], "symbol": SYMBOLS[pair["verdict"]], "text": text}


def budget(mtu: Data) -> dict[str, t.Any] | None:
    """The parts of a packet on the link, in bytes; None where there is no plan of it."""
    if not mtu.get("link") or mtu.get("pod") is None:
        return None
    parts = [
        {"name": "Pod", "bytes": mtu["pod"], "kind": "pod"},
        {"name": "Tunnel", "bytes": mtu.get("tunnel_overhead") or 0, "kind": "tunnel"},
        {"name": "WireGuard", "bytes": mtu.get("encryption_overhead") or 0, "kind": "wireguard"},
    ]
    return {"link": mtu["link"], "parts": [part for part in parts if part["bytes"]]}
