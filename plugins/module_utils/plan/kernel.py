# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on one host: kernel, its options, FIPS, clock, cgroup. Unknown is kept apart from missing everywhere."""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.model import Intent
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan.hosts import Facts
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan.versions import parse_version

FLOOR = (5, 10)
RHEL_FLOOR = (4, 18)
CLOCK_TOLERANCE_SECONDS = 5.0

# Cilium's documented list (Documentation/operations/system_requirements.rst).
REQUIRED = (
    "CONFIG_BPF",
    "CONFIG_BPF_SYSCALL",
    "CONFIG_NET_CLS_BPF",
    "CONFIG_BPF_JIT",
    "CONFIG_NET_CLS_ACT",
    "CONFIG_NET_SCH_INGRESS",
    "CONFIG_CRYPTO_SHA1",
    "CONFIG_CRYPTO_USER_API_HASH",
    "CONFIG_CGROUPS",
    "CONFIG_CGROUP_BPF",
    "CONFIG_PERF_EVENTS",
    "CONFIG_SCHEDSTATS",
    "CONFIG_FIB_RULES",
)
TUNNEL = ("CONFIG_VXLAN",)
OPTIONAL = ("CONFIG_GENEVE", "CONFIG_NET_SCH_FQ")

_MODULES = {
    "CONFIG_NET_CLS_BPF": "cls_bpf",
    "CONFIG_NET_SCH_INGRESS": "sch_ingress",
    "CONFIG_VXLAN": "vxlan",
    "CONFIG_GENEVE": "geneve",
    "CONFIG_NET_SCH_FQ": "sch_fq",
}


def option(node: Facts, name: str) -> str:
    """State of a kernel option on a host: "present", "missing" or "unknown"."""
    config = node["kernel"].get("config") or {}
    value = (config.get("options") or {}).get(name)
    if value is not None and value != "n":
        return "present"
    if _MODULES.get(name) in (node.get("modules") or []):
        return "present"
    return "missing" if value == "n" and config.get("source") else "unknown"


def check_host(host: str, node: Facts, intent: Intent) -> list[Finding]:
    """All findings of one host's kernel and settings; clocks are judged apart (check_clock)."""
    return [
        *_version(host, node),
        *_options(host, node, intent),
        *_wireguard(host, node, intent),
        *_cgroup(host, node, intent),
    ]


def check_clock(host: str, node: Facts, earliest: float, latest: float) -> list[Finding]:
    """A host was observed between two moments of the controller's clock (epoch seconds); its own must lie there.

    What a slow observation may hide is at most the span between the two moments; the skew named is a lower bound.
    """
    clock = node.get("clock") or {}
    findings = []
    epoch = clock.get("epoch")
    if epoch is None:
        findings.append(_finding("ZT106", host, f"the clock of {host} could not be read", state="unknown"))
    else:
        behind, ahead = earliest - epoch, epoch - latest
        skew = max(behind, ahead)
        if skew > CLOCK_TOLERANCE_SECONDS:
            word = "behind" if behind > ahead else "ahead of"
            findings.append(
                _finding(
                    "ZT106",
                    host,
                    f"the clock of {host} is at least {skew:.0f} s {word} the controller's",
                    observed=round(epoch, 1),
                    expected=[round(earliest, 1), round(latest, 1)],
                )
            )
    if clock.get("synchronised") is not True:
        unknown = clock.get("synchronised") is None
        what = "it could not be read whether the clock is synchronised" if unknown else "the clock is not synchronised"
        findings.append(_finding("ZT107", host, f"{host}: {what}", state="unknown" if unknown else "open"))
    return findings


def kernel_at_least(node: Facts, floor: tuple[int, int]) -> bool:
    """Whether the running kernel's version is at least (major, minor)."""
    return parse_version(node["kernel"]["release"])[:2] >= floor


def _backported(node: Facts) -> bool:
    """RHEL 8.10 and its rebuilds: 4.18 with backports, which upstream documents as supported."""
    system = node.get("os") or {}
    family = {system.get("id"), *(system.get("id_like") or [])}
    version = parse_version(str(system.get("version_id") or ""))
    release = node["kernel"]["release"]
    return (
        bool(family & {"rhel", "centos", "rocky", "almalinux", "ol"})
        and (8, 10) <= version[:2] < (9, 0)
        and parse_version(release)[:2] == RHEL_FLOOR
        and ".el8" in release
    )


def _version(host: str, node: Facts) -> list[Finding]:
    if kernel_at_least(node, FLOOR) or _backported(node):
        return []
    release = node["kernel"]["release"]
    system = (node.get("os") or {}).get("pretty_name") or "unknown system"
    message = f"{host} runs kernel {release} ({system})"
    return [_finding("ZT101", host, message, observed=release, expected="5.10 or newer")]


def _options(host: str, node: Facts, intent: Intent) -> list[Finding]:
    if not kernel_at_least(node, FLOOR) and not _backported(node):
        # ZT101 is the root: what else an old kernel lacks helps nobody.
        return []
    wanted = REQUIRED + (TUNNEL if intent.routing == "vxlan" else ())
    state = {name: option(node, name) for name in wanted + OPTIONAL}
    missing = [name for name in wanted if state[name] == "missing"]
    unknown = [name for name in wanted if state[name] == "unknown"]
    optional = [name for name in OPTIONAL if state[name] == "missing"]
    btf = node["kernel"].get("btf")
    source = str((node["kernel"].get("config") or {}).get("source") or "no readable kernel configuration")
    findings = []
    if missing:
        message = f"{host} (kernel {node['kernel']['release']}) lacks {', '.join(missing)}"
        findings.append(_finding("ZT102", host, message, observed=missing, source=source))
    if unknown:
        # A 4.18 kernel is taken by its features only: there, not knowing them decides against it.
        severity = "" if kernel_at_least(node, FLOOR) else "blocker"
        message = f"{host}: {', '.join(unknown)} could not be determined ({source})"
        findings.append(
            _finding("ZT103", host, message, observed=unknown, state="unknown", severity=severity, source=source)
        )
    if optional:
        message = f"{host} lacks {', '.join(optional)}; what needs them cannot be switched on"
        findings.append(_finding("ZT110", host, message, observed=optional, source=source))
    if btf is not True:
        state_text = "open" if btf is False else "unknown"
        findings.append(_finding("ZT111", host, f"{host} has no /sys/kernel/btf/vmlinux", state=state_text))
    return findings


def _wireguard(host: str, node: Facts, intent: Intent) -> list[Finding]:
    if intent.transport_encryption != "wireguard":
        return []
    findings = []
    state = node["kernel"].get("wireguard") or "unknown"
    release = node["kernel"]["release"]
    if state == "missing":
        message = f"{host} (kernel {release}) has no WireGuard, built in or as a module"
        findings.append(_finding("ZT104", host, message, observed=state, expected="builtin, loaded or available"))
    elif state == "unknown":
        message = f"{host} (kernel {release}): whether the kernel has WireGuard could not be determined"
        findings.append(_finding("ZT104", host, message, observed=state, state="unknown"))
    fips = node["kernel"].get("fips")
    if fips:
        findings.append(_finding("ZT105", host, f"{host} runs in FIPS mode", observed=True, expected=False))
    elif fips is None:
        message = f"{host}: whether FIPS mode is on could not be read"
        findings.append(_finding("ZT105", host, message, state="unknown"))
    return findings


def _cgroup(host: str, node: Facts, intent: Intent) -> list[Finding]:
    version = (node.get("cgroup") or {}).get("version")
    if version == "v2":
        return []
    # kube-proxy replacement on cgroup v1 has cost RHEL 8.10 users their SSH (cilium issue 39204).
    severity = "blocker" if intent.cilium.kube_proxy_replacement and version != "hybrid" else ""
    message = f"{host} has cgroup {version or 'unknown'}"
    if severity:
        message += ", and cilium_kube_proxy_replacement is on"
    state = "open" if version else "unknown"
    return [_finding("ZT108", host, message, observed=version, expected="v2", severity=severity, state=state)]


def _finding(code: str, host: str, message: str, **details: t.Any) -> Finding:
    details.setdefault("source", "node_info")
    return Finding(code, Subject("host", host), message, **details)
