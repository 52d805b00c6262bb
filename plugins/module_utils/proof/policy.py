# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the policies of the intent are in the cluster as they were written, and the engine takes them."""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.ledger import Ledger
from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.model import Data

Section = dict[str, t.Any]
SOURCE = "mtls_policy"
SHOWN = 50
"""Names in a finding; the section has all."""
CLUSTER_WIDE = "cluster-wide"


def prove(intent: Data, plan: Data, state: Data | None, error: str = "") -> tuple[list[Finding], Section]:
    """Findings ZT730 to ZT737 and the report's section on policy.

    plan: with policies (rendered objects) and policy (set). state: result of mtls_policy with stage compare (missing,
    drifted, foreign, unchanged, extra, conditions), None where it could not be had; error says why.
    """
    name = str(intent.get("cluster_name") or "")
    ledger = Ledger(name)
    objects = plan.get("policies") or []
    set_name = str((plan.get("policy") or {}).get("set") or "default")
    stages = _stages(intent, objects)
    section: Section = {
        "set": set_name,
        "engine": intent.get("engine") or "cilium",
        "state": "unknown",
        "why": "",
        "encrypts": encrypts(intent),
        "objects": len(objects),
        "stages": stages,
        "kinds": [],
        "missing": [],
        "drifted": [],
        "foreign": [],
        "extra": [],
        "conditions": {"accepted": 0, "refused": [], "unknown": 0},
    }
    if not objects:
        why = "The inventory has no policies: nothing is restricted by this collection."
        if not state or not state.get("extra"):
            return [], {**section, "state": "none", "why": why}
    if state is None:
        why = error or "the set was not compared"
        text = f"The policy set {set_name} in the cluster could not be read: {why}"
        ledger.add("ZT730", "object", f"policy set {set_name}", text, observed=why, state="unknown", source=SOURCE)
        section.update(why=why, kinds=_kinds(objects, None))
        return ledger.settle(), section
    section.update(
        missing=sorted(state.get("missing") or []),
        drifted=sorted(state.get("drifted") or [], key=lambda entry: str(entry["object"])),
        foreign=sorted(state.get("foreign") or [], key=str),
        extra=sorted(state.get("extra") or []),
        conditions={**section["conditions"], **(state.get("conditions") or {})},
        kinds=_kinds(objects, state),
    )
    _judge(section, set_name, ledger)
    findings = ledger.settle()
    severe = [finding for finding in findings if finding.severity in ("blocker", "fail")]
    failed = [finding for finding in severe if finding.state == "open"]
    enforced = sum(row["objects"] for row in stages if row["stage"] == "enforce")
    held = state.get("unchanged") is not None and int(state["unchanged"]) >= enforced
    if failed or severe:
        section["state"] = "failed" if failed else "unknown"
        section["why"] = "; ".join(finding.message for finding in (failed or severe)[:3])
    elif not enforced:
        section.update(state="observed", why="No namespace has the stage enforce: these policies deny nothing.")
    elif held:
        section.update(state="ok", why=f"{enforced} objects are in the cluster as they were written, and taken.")
    else:
        section["why"] = f"The comparison accounts for {state.get('unchanged')} of {enforced} objects."
        text = f"The policy set {set_name}: {section['why'][:1].lower()}{section['why'][1:]}"
        ledger.add("ZT730", "object", f"policy set {set_name}", text, state="unknown", source=SOURCE)
        findings = ledger.settle()
    return findings, section


def encrypts(intent: Data) -> str:
    """What encrypts the traffic that these policies allow, in one sentence."""
    transport = intent.get("transport_encryption")
    if intent.get("engine") == "istio_ambient":
        text = (
            "ztunnel carries TCP between enrolled workloads over mTLS, which is claimed by the mesh and not proved here"
        )
        below = "WireGuard encrypts what goes between nodes" if transport == "wireguard" else "nothing else encrypts"
        return f"{text}; {below}."
    if transport == "wireguard":
        return "A policy under WireGuard is identity-based access plus transport encryption between nodes, not mTLS."
    return "These policies are identity-based access and nothing more: no layer of this intent encrypts."


def stage_of(intent: Data, namespace: str) -> str:
    policy = intent.get("mtls_policy") or {}
    return str((policy.get("stages") or {}).get(namespace) or policy.get("stage") or "observe")


def _stages(intent: Data, objects: t.Sequence[Data]) -> list[dict[str, t.Any]]:
    count: dict[str, int] = {}
    for obj in objects:
        namespace = str(obj["metadata"].get("namespace") or "")
        count[namespace] = count.get(namespace, 0) + 1
    return [
        {"namespace": namespace or CLUSTER_WIDE, "stage": stage_of(intent, namespace), "objects": number}
        for namespace, number in sorted(count.items())
    ]


def _kinds(objects: t.Sequence[Data], state: Data | None) -> list[dict[str, t.Any]]:
    """One row a kind: how many are wanted, and how many of these are missing or differ (None: not known)."""
    wanted: dict[str, int] = {}
    for obj in objects:
        wanted[str(obj["kind"])] = wanted.get(str(obj["kind"]), 0) + 1
    if state is None:
        return [{"kind": kind, "wanted": n, "missing": None, "drifted": None} for kind, n in sorted(wanted.items())]
    gone = [str(key).split(" ")[0] for key in state.get("missing") or []]
    differ = [str(entry["object"]).split(" ")[0] for entry in state.get("drifted") or []]
    return [
        {"kind": kind, "wanted": number, "missing": gone.count(kind), "drifted": differ.count(kind)}
        for kind, number in sorted(wanted.items())
    ]


def namespace_of(key: str) -> str:
    """ "CiliumNetworkPolicy ns/name" -> "ns"; cluster-wide ones have none."""
    place = str(key).partition(" ")[2]
    return place.partition("/")[0] if "/" in place else ""


def _judge(section: Section, set_name: str, ledger: Ledger) -> None:
    stage = {row["namespace"]: row["stage"] for row in section["stages"]}

    def enforced(key: str) -> bool:
        return stage.get(namespace_of(key) or CLUSTER_WIDE) == "enforce"

    fields = {str(entry["object"]): entry.get("fields") for entry in section["drifted"]}
    for code, keys, word in (
        ("ZT731", [key for key in section["missing"] if enforced(key)], "missing from the cluster"),
        ("ZT732", [key for key in fields if enforced(key)], "other than the intent says"),
    ):
        by_space: dict[str, list[str]] = {}
        for key in keys:
            by_space.setdefault(namespace_of(key) or CLUSTER_WIDE, []).append(key)
        for space, names in sorted(by_space.items()):
            first = f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
            text = f"{_count(len(names), 'policy', 'policies')} of {space} {word}: {first}"
            observed: t.Any = names[:SHOWN] if code == "ZT731" else {key: fields[key] for key in names[:SHOWN]}
            place = f"policies {set_name} of {space}"
            ledger.add(code, "object", place, text, observed=observed, expected="as written", source=SOURCE)
    for entry in section["foreign"]:
        # An object of ours in an observed namespace is not wanted there yet: its name's owner takes nothing away.
        key = str(entry.get("object") if isinstance(entry, dict) else entry)
        if enforced(key):
            text = f"{key} is not of this set: its owner is another"
            ledger.add("ZT733", "object", key, text, observed=entry, source=SOURCE)
    place = f"policy set {set_name}"
    if section["extra"]:
        names = section["extra"]
        first = f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
        text = f"{_count(len(names), 'object', 'objects')} of the set that the intent does not have: {first}"
        ledger.add("ZT734", "object", place, text, observed=names[:SHOWN], source=SOURCE)
    conditions = section["conditions"]
    for entry in conditions["refused"]:
        text = f"The engine does not take {entry['object']}: {entry['message']}"
        ledger.add("ZT735", "object", str(entry["object"]), text, observed=entry["message"], source=SOURCE)
    if conditions["unknown"]:
        text = f"Whether the engine takes {_count(conditions['unknown'], 'policy', 'policies')} is not known"
        ledger.add(
            "ZT736", "object", place, text, observed=conditions["unknown"], expected=0, state="unknown", source=SOURCE
        )
    idle = [row["namespace"] for row in section["stages"] if row["stage"] != "enforce"]
    if idle:
        first = f"{', '.join(idle[:5])}{' ...' if len(idle) > 5 else ''}"
        text = f"Policies of {_count(len(idle), 'namespace', 'namespaces')} deny nothing yet: {first}"
        ledger.add("ZT737", "object", place, text, observed=idle[:SHOWN], source="intent")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
