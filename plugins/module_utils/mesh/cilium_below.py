# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Cilium below Istio Ambient must be, as chart values to set and as keys of cilium-config to find.

The first three conditions are Istio's own (operator/pkg/apis/validation). Host routing and netkit are Cilium's: BPF
host routing hands packets past the stack in which the pods' redirection stands (cilium issue 36022).
"""

from __future__ import annotations

import typing as t

# Chart values that make a Cilium fit; nobody may set others (rule in plan/rules_cilium.py).
REQUIRED: dict[str, t.Any] = {
    "cni.exclusive": False,
    "socketLB.hostNamespaceOnly": True,
    "bpf.masquerade": False,
    "bpf.hostLegacyRouting": True,
}


class Violation(t.NamedTuple):
    """A key of cilium-config that does not fit: what it says, what it must say, why, and the chart value to set."""

    key: str
    found: str
    wanted: str
    why: str
    chart_value: str


def values() -> dict[str, t.Any]:
    """REQUIRED as nested chart values."""
    result: dict[str, t.Any] = {}
    for path, value in REQUIRED.items():
        branch, name = path.split(".")
        result.setdefault(branch, {})[name] = value
    return result


def violations(config: t.Mapping[str, t.Any]) -> list[Violation]:
    """What in an effective cilium-config does not fit, each key once. A missing key has the agent's default."""

    def text(key: str, default: str = "false") -> str:
        return str(config.get(key) or default).lower()

    found = []
    if text("cni-exclusive") == "true":
        why = "Cilium would take istio-cni's configuration away again and again"
        found.append(Violation("cni-exclusive", "true", "false", why, "cni.exclusive=false"))
    replaces = text("kube-proxy-replacement") in ("true", "strict")
    if (text("bpf-lb-sock") == "true" or replaces) and text("bpf-lb-sock-hostns-only") != "true":
        # kube-proxy-replacement switches socket load balancing on by itself (pkg/kpr).
        because = "kube-proxy-replacement" if replaces else "bpf-lb-sock"
        why = f"{because} is on, so pods' connections get their backend before ztunnel sees the Service"
        key = "bpf-lb-sock-hostns-only"
        found.append(Violation(key, text(key), "true", why, "socketLB.hostNamespaceOnly=true"))
    masquerades = text("enable-bpf-masquerade") == "true"
    if masquerades:
        why = "the kubelet's probes to enrolled pods get no answer (istio issue 52208)"
        found.append(Violation("enable-bpf-masquerade", "true", "false", why, "bpf.masquerade=false"))
    mode = str(config.get("datapath-mode") or "veth")
    if mode.startswith("netkit"):
        why = "netkit needs BPF host routing, which hands packets past the pods' redirection"
        found.append(Violation("datapath-mode", mode, "veth", why, "bpf.datapathMode=veth"))
    elif (
        text("enable-host-legacy-routing") != "true"
        and replaces
        and not masquerades
        and text("enable-ipv4-masquerade", "true") == "false"
    ):
        # In all other cases the agent takes the legacy routing by itself (pkg/kpr/initializer).
        why = "BPF host routing hands packets past the pods' redirection"
        key = "enable-host-legacy-routing"
        found.append(Violation(key, text(key), "true", why, "bpf.hostLegacyRouting=true"))
    return found
