# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules across fields of the intent, the final chart values, and the kernels of the nodes.

Each rule is one small function over a Case; RULES is the list of all. What upstream says stands beside the rule.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent import mappings
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.model import Intent
from ansible_collections.aicluster.zerotrust.plugins.module_utils.mesh import cilium_below
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import cilium, kernel, versions
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan.hosts import HostState


@dataclasses.dataclass(frozen=True)
class Case:
    """What the rules judge: the effective intent, the final chart values, the hosts, and whether multus is there."""

    intent: Intent
    values: t.Mapping[str, t.Any]
    hosts: t.Sequence[HostState]
    multus: bool

    @property
    def encrypted(self) -> bool:
        return self.intent.transport_encryption == "wireguard"

    @property
    def observed(self) -> list[HostState]:
        return [host for host in self.hosts if host.node is not None and not host.excluded]

    def on(self, path: str) -> bool:
        return cilium.truth(mappings.get(self.values, path))

    def text(self, path: str) -> str:
        value = mappings.get(self.values, path)
        return "" if value is None else str(value)


def check(case: Case) -> list[Finding]:
    """Findings of all rules. A version that we do not know ends it: other rules depend on the version."""
    unsupported = list(_version(case))
    return unsupported or [finding for rule in RULES for finding in rule(case)]


def _version(case: Case) -> t.Iterator[Finding]:
    version = case.intent.cilium.version
    if versions.minor(version) not in versions.KNOWN_MINORS:
        yield _variable("ZT606", "cilium_version", f"cilium_version is {version}", version, ["1.19", "1.20"])


def _multus(case: Case) -> t.Iterator[Finding]:
    # cni.exclusive renames other CNI configurations (multus-cni issue 972).
    if case.multus and case.on("cni.exclusive"):
        yield _variable("ZT608", "cilium_cni_exclusive", "multus runs and cilium_cni_exclusive is true", True, False)


def _drop_needs_encryption(case: Case) -> t.Iterator[Finding]:
    if case.intent.drop_unencrypted.any and not case.encrypted:
        given = case.intent.transport_encryption
        message = f"zerotrust_drop_unencrypted is set and zerotrust_transport_encryption is {given}"
        yield _variable("ZT610", "zerotrust_drop_unencrypted", message, given, "wireguard")


def _strict_egress(case: Case) -> t.Iterator[Finding]:
    # One netip.ParsePrefix in the agent (pkg/option/config.go); the data path knows IPv4 only.
    if not case.intent.drop_unencrypted.egress:
        return
    v4, v6 = cilium.families(case.intent.pod_cidrs or ())
    if len(v4) != 1 or v6:
        given = list(case.intent.pod_cidrs or ())
        message = f"egress strict mode takes exactly one IPv4 pod CIDR, zerotrust_pod_cidrs is {given}"
        yield _variable("ZT611", "zerotrust_drop_unencrypted", message, given, "one IPv4 CIDR")


def _native_needs_cidr(case: Case) -> t.Iterator[Finding]:
    if case.intent.routing != "native":
        return
    v4, v6 = cilium.families(case.intent.pod_cidrs or ())
    if not v4 + v6 or len(v4) > 1 or len(v6) > 1:
        given = list(case.intent.pod_cidrs or ())
        message = (
            f"zerotrust_routing is native and zerotrust_pod_cidrs is {given}; one CIDR per address family is needed"
        )
        yield _variable("ZT612", "zerotrust_pod_cidrs", message, given, "one CIDR per family")


def _pool_needs_cidr(case: Case) -> t.Iterator[Finding]:
    # The chart's default pool is 10.0.0.0/8, in which most node networks lie.
    if case.intent.cilium.ipam_mode == "cluster-pool" and not case.intent.pod_cidrs:
        message = "cilium_ipam_mode is cluster-pool and zerotrust_pod_cidrs is unset; the chart would take 10.0.0.0/8"
        yield _variable("ZT612", "zerotrust_pod_cidrs", message, None, "the pool's CIDRs")


def _kube_proxy_needs_api(case: Case) -> t.Iterator[Finding]:
    if case.intent.cilium.kube_proxy_replacement and not case.text("k8sServiceHost"):
        message = "cilium_kube_proxy_replacement is true and cilium_k8s_service_host is unset"
        yield _variable("ZT613", "cilium_k8s_service_host", message, None, "the API server's address")


def _big_tcp(case: Case) -> t.Iterator[Finding]:
    # "BIG TCP is not supported with encryption enabled" (pkg/datapath/linux/bigtcp); tunnels: since 1.19, if the
    # kernel has a pending change.
    keys = [key for key in ("enableIPv4BIGTCP", "enableIPv6BIGTCP") if case.on(key)]
    for key in keys:
        if case.encrypted:
            yield _value("ZT614", key, f"{key} is on together with WireGuard", True, False)
        elif case.intent.routing != "native":
            message = f"{key} is on together with a tunnel, which needs a kernel change that no release may have"
            yield _value("ZT614", key, message, True, False, severity="warn")


def _netkit(case: Case) -> t.Iterator[Finding]:
    mode = case.text("bpf.datapathMode")
    if not mode.startswith("netkit"):
        return
    for host in case.observed:
        node = host.node or {}
        state = kernel.option(node, "CONFIG_NETKIT")
        release = node["kernel"]["release"]
        if not kernel.kernel_at_least(node, (6, 8)) or state == "missing":
            message = f"bpf.datapathMode is {mode}; {host.name} runs {release}, CONFIG_NETKIT {state}"
            yield _host("ZT615", host, message, release, "6.8 or newer with CONFIG_NETKIT")
        elif state == "unknown":
            message = f"bpf.datapathMode is {mode}; whether {host.name} has CONFIG_NETKIT could not be determined"
            yield _host("ZT615", host, message, release, "CONFIG_NETKIT", state="unknown")


def _bandwidth_manager(case: Case) -> t.Iterator[Finding]:
    if not case.on("bandwidthManager.enabled"):
        return
    for host in case.observed:
        node = host.node or {}
        state = kernel.option(node, "CONFIG_NET_SCH_FQ")
        if state != "present":
            message = f"bandwidthManager is on; CONFIG_NET_SCH_FQ of {host.name} is {state}"
            yield _host("ZT616", host, message, state, "present", state="open" if state == "missing" else "unknown")
        elif case.on("bandwidthManager.bbr") and not kernel.kernel_at_least(node, (5, 18)):
            message = f"bandwidthManager.bbr needs Linux 5.18; {host.name} runs {node['kernel']['release']}"
            yield _host("ZT616", host, message, node["kernel"]["release"], "5.18 or newer")


def _node_encryption(case: Case) -> t.Iterator[Finding]:
    if case.on("encryption.nodeEncryption"):
        yield _value("ZT617", "encryption.nodeEncryption", "encryption.nodeEncryption is on", True, False)


def _strict_ingress(case: Case) -> t.Iterator[Finding]:
    # values.yaml of 1.19: "only WireGuard and tunnelling"; of 1.20: "requires WireGuard encryption".
    before = versions.minor(case.intent.cilium.version) < (1, 20)
    if case.intent.drop_unencrypted.ingress and before and case.intent.routing == "native":
        message = (
            f"ingress strict mode of Cilium {case.intent.cilium.version} needs a tunnel, zerotrust_routing is native"
        )
        yield _variable("ZT619", "zerotrust_drop_unencrypted", message, "native", "vxlan")


def _mutual_authentication(case: Case) -> t.Iterator[Finding]:
    for key in ("authentication.enabled", "authentication.mutual.spire.enabled"):
        if case.on(key):
            yield _value("ZT620", key, f"{key} is on", True, False)
            return


def _acceleration(case: Case) -> t.Iterator[Finding]:
    # encryption-wireguard.rst: north-south load balancing is not encrypted with XDP acceleration.
    mode = case.text("loadBalancer.acceleration")
    if case.encrypted and mode not in ("", "disabled"):
        key = "loadBalancer.acceleration"
        yield _value("ZT622", key, f"{key} is {mode} together with WireGuard", mode, "disabled")


def _ambient(case: Case) -> t.Iterator[Finding]:
    """Below Istio Ambient: what the user sets against what it needs (mesh/cilium_below.py says why)."""
    if case.intent.engine != "istio_ambient":
        return
    given = case.intent.cilium.values
    reason = "zerotrust_engine is istio_ambient"
    if case.intent.cilium.cni_exclusive:
        message = f"cilium_cni_exclusive is true and {reason}: Cilium would take istio-cni's configuration away"
        yield _variable("ZT643", "cilium_cni_exclusive", message, True, False)
    for path, wanted in cilium_below.REQUIRED.items():
        value = mappings.get(given, path)
        if value is not None and path not in cilium.OWNED and cilium.truth(value) != wanted:
            yield _value("ZT643", path, f"{path} is {value} and {reason}", value, wanted)
    mode = str(mappings.get(given, "bpf.datapathMode") or "veth")
    if mode != "veth":
        yield _value("ZT643", "bpf.datapathMode", f"bpf.datapathMode is {mode} and {reason}", mode, "veth")


RULES: tuple[t.Callable[[Case], t.Iterator[Finding]], ...] = (
    _multus,
    _drop_needs_encryption,
    _strict_egress,
    _native_needs_cidr,
    _pool_needs_cidr,
    _kube_proxy_needs_api,
    _big_tcp,
    _netkit,
    _bandwidth_manager,
    _node_encryption,
    _strict_ingress,
    _mutual_authentication,
    _acceleration,
    _ambient,
)


def _variable(code: str, name: str, message: str, observed: t.Any, expected: t.Any) -> Finding:
    subject = Subject("variable", name)
    return Finding(code, subject, message, observed=observed, expected=expected, source="variables")


def _value(code: str, key: str, message: str, observed: t.Any, expected: t.Any, severity: str = "") -> Finding:
    finding = _variable(code, f"cilium_values.{key}", message, observed, expected)
    return dataclasses.replace(finding, severity=severity or finding.severity)


def _host(code: str, host: HostState, message: str, observed: t.Any, expected: t.Any, state: str = "open") -> Finding:
    subject = Subject("host", host.name)
    return Finding(code, subject, message, observed=observed, expected=expected, state=state, source="node_info")
