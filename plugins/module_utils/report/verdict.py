# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict of a run, always with its scope. Unknown is never a pass."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.coverage import BETWEEN_NODES

Data = t.Mapping[str, t.Any]
DECIDING = ("blocker", "fail")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """state: pass, fail or unknown; accepted: number of accepted roots; scope: what it rests on; text: one line."""

    state: str
    accepted: int
    scope: str
    text: str

    def to_dict(self) -> dict[str, t.Any]:
        return dataclasses.asdict(self)


def root_findings(findings: t.Sequence[Finding]) -> list[Finding]:
    """Those that no other finding of the list explains. A caused_by that leads nowhere hides nothing."""
    ids = {finding.id for finding in findings}
    return [finding for finding in findings if finding.caused_by not in ids]


def judge(
    findings: t.Sequence[Finding],
    pairs: t.Sequence[Data],
    *,
    scope: str,
    encryption: str,
    intended: bool = True,
    mesh: bool = False,
) -> Verdict:
    """Roots decide. encryption is what is intended ("wireguard", "none", ..): with none, a pass says so.

    intended: whether the inventory says it; where only the cluster does, "none" is no pass, or a nightly verify would
    not notice that encryption was switched off. mesh: whether workloads are to be encrypted by a mesh, which this
    version does not prove: the finding of that is unknown, and where it is accepted the pass says what it rests on.
    """
    roots = root_findings(findings)
    accepted = sum(root.state == "accepted" for root in roots)
    deciding = [root for root in roots if root.severity in DECIDING]
    failed = sum(root.state == "open" for root in deciding)
    unknown = sum(root.state == "unknown" for root in deciding)
    open_pairs = [pair for pair in pairs if pair["verdict"] in ("failed", "unknown")]
    # Whether somebody accepted that pairs are as they are; an accepted kernel option says nothing of them.
    pardoned = any(root.state == "accepted" and root.code.startswith("ZT4") and root.code != "ZT416" for root in roots)
    nothing = encryption != "none" and bool(pairs) and all(pair["verdict"] == "excluded" for pair in pairs)
    if failed:
        state, text = "fail", f"fail: {_count(failed, 'finding')}"
        text += f", {unknown} unknown" if unknown else ""
    elif unknown or (open_pairs and not pardoned) or nothing:
        # Beyond the findings this is a safety net: a pair that is not proved and that no accepted finding accounts
        # for is no pass, nor is a cluster of which no pair was judged.
        state = "unknown"
        what = _count(unknown, "thing") if unknown else _count(len(open_pairs), "pair")
        text = f"unknown: {what} could not be judged" if unknown or open_pairs else "unknown: no pair was judged"
    elif encryption == "none" and not intended:
        state = "unknown"
        text = (
            "unknown: nothing encrypts between the nodes, and the inventory does not say whether it should "
            "(set zerotrust_transport_encryption to wireguard or none)"
        )
    elif encryption == "none" and mesh:
        state, text = "pass", "pass, resting on the mesh's word: nothing else encrypts between the nodes"
    elif encryption == "none":
        state, text = "pass", "no encryption is intended: nothing to prove, traffic between nodes is in clear"
    else:
        state, text = "pass", "pass"
    if accepted:
        text += f" with {accepted} accepted"
    return Verdict(state, accepted, scope, f"{text} ({scope})")


def scope_of(
    intent: Data, encryption: str, node_count: int, pairs: t.Sequence[Data], hosts: Data, coverage: t.Sequence[Data]
) -> str:
    """What was judged and what is not covered, in one sentence.

    "pod to pod across nodes, 3 of 4 nodes, 6 of 6 ordered pairs proved, 1 node in maintenance; in clear: ..."
    """
    out = sum(bool(evidence.get("excluded")) for evidence in hosts.values())
    seen = sum(
        bool(evidence.get("wireguard")) and not evidence["wireguard"].get("error") and not evidence.get("excluded")
        for evidence in hosts.values()
    )
    judged = [pair for pair in pairs if pair["verdict"] != "excluded"]
    parts = ["pod to pod across nodes", f"{min(seen, node_count)} of {node_count} nodes"]
    if judged:
        proved = sum(pair["verdict"] == "proved" for pair in judged)
        parts.append(f"{proved} of {len(judged)} ordered pairs proved")
    elif encryption == "none":
        parts.append("no encryption is intended")
    else:
        parts.append("no pair of nodes to judge")
    if out:
        parts.append(f"{_count(out, 'node')} in maintenance")
    text = ", ".join(parts)
    # The pairs are told above; this is about all other traffic.
    others = [row for row in coverage if row["class"] != BETWEEN_NODES]
    clear = [_lower(row["class"]) for row in others if row["state"] == "clear"]
    unknown = [_lower(row["class"]) for row in others if row["state"] == "unknown"]
    if clear:
        text += "; in clear: " + ", ".join(clear)
    if unknown:
        text += "; not known: " + ", ".join(unknown)
    return text


def beside(sections: t.Mapping[str, Data | None]) -> str:
    """What else was judged, as the end of a scope: "; beside the pairs: Cilium agent ready 4 of 4, .."."""
    parts = []
    engine, identity, policy = (sections.get(name) or {} for name in ("engine", "identity", "policy"))
    agents = [row for row in engine.get("components") or () if row["desired"] is not None]
    if agents:
        parts += [f"{row['name']} ready {row['ready']} of {row['desired']}" for row in agents]
    if identity.get("counts"):
        counts = identity["counts"]
        parts.append(f"identity of {counts['ok']} of {sum(counts.values()) - counts['excluded']} hosts")
    if policy.get("objects"):
        stages = {row["stage"] for row in policy["stages"]}
        parts.append(f"{_count(policy['objects'], 'policy object')} with stage {', '.join(sorted(stages))}")
    return f"; beside the pairs: {', '.join(parts)}" if parts else ""


def _lower(text: str) -> str:
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
