# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The typed intent: what the inventory asks for, validated as one document before anything is touched.

Only this file turns variables into intent. None stands for "unset"; preflight and verify take an unset value from the
cluster, site from the cluster that runs or from the defaults (see plan/effective.py).
"""

from __future__ import annotations

import dataclasses
import datetime
import re
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent import accept as acceptance
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.istio import IstioIntent
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.istio import parse as parse_istio
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.reader import Reader, boolean, overlaps
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.variables import SHARED_PREFIXES, unknown_names

CONSENTS = ("link_reset", "agent_restart", "enforce", "adopt", "prune", "busy_hosts")
MTU_LOW, MTU_HIGH = 1280, 65520

# Values that the design names and this version does not do yet: refused, never half done.
_NOT_YET: dict[str, dict[str, str]] = {
    "mtls_policy_stage": {"audit": "ZT624"},
    "zerotrust_transport_encryption": {"ipsec": "ZT624"},
    "zerotrust_routing": {"geneve": "ZT624"},
    "zerotrust_workload_encryption": {"cilium_ztunnel": "ZT624"},
}

# Variables that the design names and this version gives no effect: refused rather than ignored.
_FORESEEN = dict.fromkeys(
    ("zerotrust_ca_bundle", "zerotrust_proxy_env"),
    "Remove it; give Helm its certificates and proxy in the environment of zerotrust_api_host.",
)
_FORESEEN["mtls_policy_stages"] = "Remove it; mtls_policy_stage is the stage of the whole set."


@dataclasses.dataclass(frozen=True)
class DropUnencrypted:
    """zerotrust_drop_unencrypted; None stands for unset."""

    egress: bool | None = None
    ingress: bool | None = None
    mesh: bool | None = None

    @property
    def any(self) -> bool:
        return bool(self.egress or self.ingress or self.mesh)


@dataclasses.dataclass(frozen=True)
class CiliumIntent:
    """The variables with the prefix cilium_. cni_exclusive None means that the plan decides."""

    version: str = "1.20.2"
    chart_ref: str = "cilium"
    chart_repo: str | None = "https://helm.cilium.io/"
    release: str = "cilium"
    namespace: str = "kube-system"
    kube_proxy_replacement: bool = False
    k8s_service_host: str | None = None
    k8s_service_port: int = 6443
    cni_exclusive: bool | None = None
    ipam_mode: str = "kubernetes"
    hubble_relay: bool = False
    hubble_ui: bool = False
    values: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    helm_binary: str = "helm"
    timeout_seconds: int = 600


@dataclasses.dataclass(frozen=True)
class PolicyIntent:
    """The variables with the prefix mtls_policy_."""

    stage: str = "observe"
    set_name: str = "default"


@dataclasses.dataclass(frozen=True)
class Intent:
    """The intent of a cluster; fields are the public variables without their prefix zerotrust_."""

    cluster_name: str | None = None
    cluster_uid: str | None = None
    cni: str | None = None
    engine: str | None = None
    transport_encryption: str | None = None
    workload_encryption: str | None = None
    drop_unencrypted: DropUnencrypted = DropUnencrypted()
    routing: str | None = None
    pod_cidrs: tuple[str, ...] | None = None
    service_cidrs: tuple[str, ...] | None = None
    node_cidrs: tuple[str, ...] | None = None
    node_network_mtu: int | None = None
    trust_domain: str | None = None
    identity: str | None = None
    registry: str | None = None
    policy_files: str | None = None
    policies: tuple[dict[str, t.Any], ...] = ()
    maintenance: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    max_unreachable: int | None = None
    allow: tuple[str, ...] = ()
    change_id: str | None = None
    accept: tuple[dict[str, t.Any], ...] = ()
    lab: bool = False
    cilium: CiliumIntent = CiliumIntent()
    istio_ambient: IstioIntent = dataclasses.field(default_factory=IstioIntent)
    mtls_policy: PolicyIntent = PolicyIntent()

    def allows(self, consent: str) -> bool:
        """Whether this run has the consent; asking for one that does not exist is a programming error."""
        if consent not in CONSENTS:
            raise ValueError(f"{consent!r} is none of {CONSENTS}")
        return consent in self.allow

    def to_dict(self) -> dict[str, t.Any]:
        """Plain JSON types only; tuples become lists."""
        return t.cast("dict[str, t.Any]", _plain(dataclasses.asdict(self)))


@dataclasses.dataclass(frozen=True)
class HostIntent:
    """What the inventory says of one host. mtu is in bytes; None leaves the interface as it is."""

    name: str
    node_name: str | None = None
    interfaces: tuple[str, ...] = ()
    mtu: int | None = None
    accept_untested_hardware: bool = False


def parse(variables: t.Mapping[str, t.Any], *, extra_vars: t.Mapping[str, t.Any]) -> tuple[Intent, list[Finding]]:
    """The intent from templated variables, and all that is wrong with them (never an exception).

    extra_vars are the run's extra variables (-e, survey): the only place where consent counts outside a laboratory.
    """
    reader = Reader(variables)
    findings: list[Finding] = _unknown(variables)
    lab = bool(reader.flag("zerotrust_lab", False))
    accept, accept_findings = acceptance.check_entries(reader.mappings("zerotrust_accept") or [])
    pod = reader.cidrs("zerotrust_pod_cidrs")
    service = reader.cidrs("zerotrust_service_cidrs")
    node = reader.cidrs("zerotrust_node_cidrs")
    intent = Intent(
        cluster_name=_cluster_name(reader),
        cluster_uid=_uid(reader),
        cni=reader.choice("zerotrust_cni", ("cilium", "existing")),
        engine=reader.choice("zerotrust_engine", ("cilium", "istio_ambient")),
        transport_encryption=_built(reader, "zerotrust_transport_encryption", ("wireguard", "none")),
        workload_encryption=_built(reader, "zerotrust_workload_encryption", ("none", "istio_ambient")),
        drop_unencrypted=_drop(reader),
        routing=_built(reader, "zerotrust_routing", ("native", "vxlan")),
        pod_cidrs=pod,
        service_cidrs=service,
        node_cidrs=node,
        node_network_mtu=reader.integer("zerotrust_node_network_mtu", MTU_LOW, MTU_HIGH),
        trust_domain=_trust_domain(reader),
        identity=reader.choice("zerotrust_identity", ("spire", "none")),
        registry=_registry(reader),
        policy_files=reader.text("zerotrust_policy_files"),
        policies=tuple(reader.mappings("zerotrust_policies") or ()),
        maintenance=_maintenance(reader),
        max_unreachable=reader.integer("zerotrust_max_unreachable", 0, 100000),
        allow=_allow(reader, extra_vars, lab),
        change_id=reader.text("zerotrust_change_id"),
        accept=tuple(accept),
        lab=lab,
        cilium=_cilium(reader),
        istio_ambient=parse_istio(reader),
        mtls_policy=_policy(reader),
    )
    _workload(reader, intent)
    for name, remedy in _FORESEEN.items():
        if reader.raw(name):
            reader.bad(name, reader.raw(name), "this version does not do that", code="ZT624", remedy=remedy)
    findings += reader.findings + accept_findings
    findings += _overlaps(
        {
            "zerotrust_pod_cidrs": pod or (),
            "zerotrust_service_cidrs": service or (),
            "zerotrust_node_cidrs": node or (),
        }
    )
    return intent, findings


def parse_host(hostname: str, hostvars: t.Mapping[str, t.Any]) -> tuple[HostIntent, list[Finding]]:
    """The intent of one host, from its own templated variables; findings name host and variable."""
    reader = Reader(hostvars)
    interfaces = reader.strings("zerotrust_node_network_interfaces") or ()
    odd = [name for name in interfaces if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,14}", name)]
    if odd:
        # Cilium would take eth+ as a pattern and !eth0 as an exclusion; a pattern can match an RDMA rail.
        reader.bad(
            "zerotrust_node_network_interfaces",
            list(interfaces),
            f"{', '.join(odd)} is no interface name (patterns are not taken)",
            remedy="Name each interface in full, as `ip link` shows it.",
        )
        interfaces = ()
    host = HostIntent(
        name=hostname,
        node_name=reader.text("zerotrust_node_name"),
        interfaces=tuple(interfaces),
        mtu=reader.integer("zerotrust_node_network_mtu", MTU_LOW, MTU_HIGH),
        accept_untested_hardware=bool(reader.flag("nic_tuning_accept_untested_hardware", False)),
    )
    return host, [
        dataclasses.replace(
            found,
            subject=Subject("variable", f"{found.subject.name} of {hostname}"),
            message=f"{hostname}: {found.message}",
        )
        for found in reader.findings
    ]


def excluded_hosts(intent: Intent, today: datetime.date) -> dict[str, str]:
    """Hosts in maintenance on that day, with the reason as text; an entry ends with its `until`."""
    return {
        host: f"{entry['reason']} (until {entry['until']})"
        for host, entry in intent.maintenance.items()
        if datetime.date.fromisoformat(entry["until"]) >= today
    }


def _unknown(variables: t.Mapping[str, t.Any]) -> list[Finding]:
    findings = []
    for name, nearest in unknown_names(variables):
        shared = name.startswith(SHARED_PREFIXES)
        hint = f"did you mean {nearest}?" if nearest else "no name is near to it"
        findings.append(
            Finding(
                "ZT902",
                Subject("variable", name),
                f"{name} is no variable of this collection; {hint}",
                observed=name,
                expected=nearest,
                # kubespray and others have cilium_ variables, so a name that we do not know may well be theirs.
                severity="warn" if shared else "",
                source="variables",
            )
        )
    return findings


def _built(reader: Reader, name: str, built: t.Sequence[str]) -> str | None:
    """A choice of which some values are named in the design and not built: those are refused with their own code."""
    value = reader.raw(name)
    code = _NOT_YET.get(name, {}).get(value) if isinstance(value, str) else None
    if code is None:
        return reader.choice(name, built)
    remedy = f"Set {name} to one of: {', '.join(built)}."
    reader.bad(name, value, "this version does not do that", code=code, remedy=remedy)
    return None


def _cluster_name(reader: Reader) -> str | None:
    name = reader.text("zerotrust_cluster_name")
    if name is not None and not re.fullmatch(r"([a-z0-9][-a-z0-9]{0,30})?[a-z0-9]", name):
        reader.bad(
            "zerotrust_cluster_name",
            name,
            "Cilium takes at most 32 lower-case letters, digits and inner hyphens",
            remedy="Choose such a name, for example gpu-cluster-1.",
        )
        return None
    return name


def _uid(reader: Reader) -> str | None:
    uid = reader.text("zerotrust_cluster_uid")
    if uid is not None and not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", uid):
        reader.bad(
            "zerotrust_cluster_uid",
            uid,
            "it is no UID",
            remedy="Take it from `kubectl get namespace kube-system -o jsonpath={.metadata.uid}`.",
        )
        return None
    return uid.lower() if uid else None


def _trust_domain(reader: Reader) -> str | None:
    name = reader.text("zerotrust_trust_domain")
    if name is not None and not re.fullmatch(r"[a-z0-9._-]{1,255}", name):
        reader.bad(
            "zerotrust_trust_domain",
            name,
            "a SPIFFE trust domain has lower-case letters, digits, dots, hyphens and underscores only",
            remedy="Write it without scheme and path, for example cluster.example.org.",
        )
        return None
    return name


def _registry(reader: Reader) -> str | None:
    name = reader.text("zerotrust_registry")
    if name is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9._-]+)*", name):
        reader.bad(
            "zerotrust_registry",
            name,
            "it is no registry with an optional path",
            remedy="Write it without scheme, for example registry.example.org:5000/mirror.",
        )
        return None
    return name


def _drop(reader: Reader) -> DropUnencrypted:
    name = "zerotrust_drop_unencrypted"
    given = reader.mapping(name)
    if given is None:
        return DropUnencrypted()
    flags: dict[str, bool] = {}
    for key, value in given.items():
        flag = boolean(value)
        if key not in ("egress", "ingress", "mesh") or flag is None:
            reader.bad(
                name,
                given,
                f"{key}: {value!r} is not understood",
                remedy="Write {egress: true|false, ingress: true|false, mesh: false}.",
            )
            return DropUnencrypted()
        flags[key] = flag
    if flags.get("mesh"):
        reader.bad(name, given, "mesh is not in this version", code="ZT624", remedy="Set mesh: false.")
        flags["mesh"] = False
    return DropUnencrypted(**flags)


def _maintenance(reader: Reader) -> dict[str, dict[str, str]]:
    name = "zerotrust_maintenance"
    result: dict[str, dict[str, str]] = {}
    for host, entry in (reader.mapping(name) or {}).items():
        reason = entry.get("reason") if isinstance(entry, t.Mapping) else None
        until = str(entry.get("until", "")) if isinstance(entry, t.Mapping) else ""
        try:
            until = datetime.date.fromisoformat(until[:10]).isoformat()
        except ValueError:
            until = ""
        if not reason or not until:
            reader.bad(
                name,
                {host: entry},
                "reason and until (a date) are needed",
                remedy=f"Write {host}: {{reason: text, until: 2026-12-31}}.",
            )
            return {}
        result[host] = {"reason": str(reason), "until": until}
    return result


def _allow(reader: Reader, extra_vars: t.Mapping[str, t.Any], lab: bool) -> tuple[str, ...]:
    name = "zerotrust_allow"
    given = reader.strings(name) or ()
    unknown = [consent for consent in given if consent not in CONSENTS]
    if unknown:
        reader.bad(
            name,
            list(given),
            f"{', '.join(unknown)} is no consent",
            remedy=f"Consents are: {', '.join(CONSENTS)}.",
        )
        return ()
    if given and not lab and name not in extra_vars:
        reader.bad(
            name,
            list(given),
            "consent counts for one run only, so an inventory cannot give it",
            code="ZT905",
            remedy=f"Remove it from the inventory and give it with -e {name}={','.join(given)} or by a survey.",
        )
        return ()
    return tuple(sorted(set(given)))


def _cilium(reader: Reader) -> CiliumIntent:
    version = reader.text("cilium_version", "1.20.2") or "1.20.2"
    version = version[1:] if version.startswith("v") else version
    if not re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?", version):
        reader.bad("cilium_version", version, "a version of three numbers is expected", remedy="Write it as 1.20.2.")
        version = "1.20.2"
    chart_ref = reader.text("cilium_chart_ref", "cilium") or "cilium"
    hubble_relay = bool(reader.flag("cilium_hubble_relay", False))
    hubble_ui = bool(reader.flag("cilium_hubble_ui", False))
    if hubble_ui and not hubble_relay:
        reader.bad("cilium_hubble_ui", True, "it needs Hubble's relay", remedy="Set cilium_hubble_relay to true, too.")
    return CiliumIntent(
        version=version,
        chart_ref=chart_ref,
        chart_repo=_chart_repo(reader, chart_ref),
        release=reader.text("cilium_release", "cilium") or "cilium",
        namespace=reader.text("cilium_namespace", "kube-system") or "kube-system",
        kube_proxy_replacement=bool(reader.flag("cilium_kube_proxy_replacement", False)),
        k8s_service_host=reader.text("cilium_k8s_service_host"),
        k8s_service_port=reader.integer("cilium_k8s_service_port", 1, 65535) or 6443,
        cni_exclusive=reader.flag("cilium_cni_exclusive"),
        ipam_mode=reader.choice("cilium_ipam_mode", ("kubernetes", "cluster-pool"), "kubernetes") or "kubernetes",
        hubble_relay=hubble_relay,
        hubble_ui=hubble_ui,
        values=reader.mapping("cilium_values") or {},
        helm_binary=reader.text("cilium_helm_binary", "helm") or "helm",
        timeout_seconds=reader.integer("cilium_timeout_seconds", 60, 3600) or 600,
    )


def _chart_repo(reader: Reader, chart_ref: str) -> str | None:
    """The repository; none for a path or an OCI reference, where Helm refuses one, unless it is set on purpose."""
    default = None if "/" in chart_ref or chart_ref.endswith(".tgz") else "https://helm.cilium.io/"
    return reader.text("cilium_chart_repo", default)


def _workload(reader: Reader, intent: Intent) -> None:
    """Workload encryption is ztunnel's, so it comes with Istio's engine or not at all."""
    name = "zerotrust_workload_encryption"
    if intent.workload_encryption == "istio_ambient" and intent.engine != "istio_ambient":
        reader.bad(
            name,
            "istio_ambient",
            f"zerotrust_engine is {intent.engine or 'cilium'}, and ztunnel comes with the engine istio_ambient only",
            remedy="Set zerotrust_engine to istio_ambient, or zerotrust_workload_encryption to none.",
        )
    if intent.workload_encryption == "none" and intent.engine == "istio_ambient":
        reader.bad(
            name,
            "none",
            "zerotrust_engine is istio_ambient, and ztunnel encrypts what it carries",
            remedy="Remove the variable or set it to istio_ambient.",
        )


def _policy(reader: Reader) -> PolicyIntent:
    set_name = reader.text("mtls_policy_set", "default") or "default"
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", set_name):
        reader.bad("mtls_policy_set", set_name, "it is no Kubernetes label value", remedy="Use letters and digits.")
        set_name = "default"
    stage = _built(reader, "mtls_policy_stage", ("observe", "enforce")) or "observe"
    return PolicyIntent(stage=stage, set_name=set_name)


def _overlaps(groups: t.Mapping[str, t.Sequence[str]]) -> list[Finding]:
    findings: dict[str, Finding] = {}
    for name, network, other_name, other in overlaps(groups):
        pair = name if name == other_name else f"{name} and {other_name}"
        if pair in findings:
            findings[pair].observed.append([network, other])
            continue
        findings[pair] = Finding(
            "ZT904",
            Subject("variable", pair),
            f"{network} of {name} and {other} of {other_name} share addresses",
            observed=[[network, other]],
            source="variables",
        )
    return list(findings.values())


def _plain(value: t.Any) -> t.Any:
    if isinstance(value, t.Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
