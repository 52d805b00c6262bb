# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every public variable of the collection, in one table.

The intent check, the documentation and the tests of the roles' argument_specs share it, so a variable that is
missing here is refused in an inventory (ZT902) and found by a test in a role.
"""

from __future__ import annotations

import difflib
import typing as t


class Variable(t.NamedTuple):
    """A variable: its name, who reads it ("intent" and "identity" once per cluster, "host" per host, "play" in
    playbooks, "result" set by the plays themselves), the values that it takes in words, its default in words,
    and what it is for."""

    name: str
    scope: str
    values: str
    default: str
    purpose: str


VARIABLES: tuple[Variable, ...] = (
    Variable("zerotrust_cluster_name", "intent", "name of at most 32 characters", "unset", "name of the cluster"),
    Variable("zerotrust_cluster_uid", "intent", "UID of the namespace kube-system", "unset", "pins the cluster"),
    Variable("zerotrust_kubeconfig", "play", "path", "unset", "kubeconfig on zerotrust_api_host"),
    Variable("zerotrust_context", "play", "context name", "current context", "context in the kubeconfig"),
    Variable("zerotrust_api_host", "play", "inventory name", "localhost", "the host that talks to the API"),
    Variable("zerotrust_hosts", "play", "host pattern", "kube_control_plane:kube_node", "the hosts of the cluster"),
    Variable("zerotrust_cni", "intent", "cilium, existing", "cilium", "who owns the pod network"),
    Variable("zerotrust_engine", "intent", "cilium, istio_ambient", "cilium", "who enforces policy"),
    Variable("zerotrust_transport_encryption", "intent", "wireguard, none", "wireguard", "encryption between nodes"),
    Variable(
        "zerotrust_workload_encryption",
        "intent",
        "none, istio_ambient",
        "by the engine",
        "encryption between workloads, TCP",
    ),
    Variable("zerotrust_drop_unencrypted", "intent", "{egress, ingress, mesh}: booleans", "all false", "strict mode"),
    Variable("zerotrust_routing", "intent", "native, vxlan", "vxlan", "how pod packets cross the node network"),
    Variable("zerotrust_pod_cidrs", "intent", "list of CIDRs", "unset", "pod address ranges"),
    Variable("zerotrust_service_cidrs", "intent", "list of CIDRs", "unset", "Service address ranges"),
    Variable("zerotrust_node_cidrs", "intent", "list of CIDRs", "unset", "node address ranges"),
    Variable("zerotrust_node_network_interfaces", "host", "list of names", "unset", "interfaces of the node network"),
    Variable("zerotrust_node_network_mtu", "host", "1280 to 65520", "unset", "MTU of the node network's interfaces"),
    Variable("zerotrust_node_name", "host", "Node name", "found by address", "the Node that this host is"),
    Variable("zerotrust_trust_domain", "intent", "DNS name", "unset", "SPIFFE trust domain"),
    Variable("zerotrust_identity", "intent", "spire, none", "none", "who issues identities"),
    Variable("zerotrust_policy_files", "intent", "directory", "unset", "policies, one or more a file"),
    Variable("zerotrust_policies", "intent", "list of policies", "empty", "policies, inline"),
    Variable(
        "zerotrust_registry", "intent", "host[:port][/path]", "unset", "mirror of the images, same paths below it"
    ),
    Variable("zerotrust_ca_bundle", "intent", "not yet", "unset", "certificates of an air-gapped site"),
    Variable("zerotrust_proxy_env", "intent", "not yet", "unset", "proxy environment of the controller"),
    Variable("zerotrust_maintenance", "intent", "{host: {reason, until}}", "empty", "hosts out of service"),
    Variable("zerotrust_max_unreachable", "intent", "number", "0; any for verify", "how many may be unreachable"),
    Variable("zerotrust_allow", "intent", "list of consents", "empty", "consent of this run, extra variables only"),
    Variable("zerotrust_change_id", "intent", "text", "unset", "change ticket, copied into the report"),
    Variable("zerotrust_accept", "intent", "list of entries", "empty", "accepted findings"),
    Variable("zerotrust_lab", "intent", "boolean", "false", "this inventory is a laboratory"),
    Variable("zerotrust_batches", "play", "serial", '[1, 2, "5%"]', "batches of host changes"),
    Variable("zerotrust_report_dir", "play", "directory", "outside the project", "where plans and reports go"),
    Variable("cilium_version", "intent", "version", "1.20.2", "Cilium's version"),
    Variable("cilium_chart_ref", "intent", "chart name, path or URL", "cilium", "the chart"),
    Variable("cilium_chart_repo", "intent", "URL", "https://helm.cilium.io", "its repository"),
    Variable("cilium_release", "intent", "name", "cilium", "Helm release"),
    Variable("cilium_namespace", "intent", "name", "kube-system", "its namespace"),
    Variable("cilium_kube_proxy_replacement", "intent", "boolean", "false", "Cilium serves Services, not kube-proxy"),
    Variable("cilium_k8s_service_host", "intent", "address", "unset", "API server for the agents"),
    Variable("cilium_k8s_service_port", "intent", "port", "6443", "its port"),
    Variable("cilium_cni_exclusive", "intent", "boolean", "true; false beside multus", "disable other CNI files"),
    Variable("cilium_ipam_mode", "intent", "kubernetes, cluster-pool", "kubernetes", "who gives pods addresses"),
    Variable("cilium_hubble_relay", "intent", "boolean", "false", "Hubble relay"),
    Variable("cilium_hubble_ui", "intent", "boolean", "false", "Hubble UI"),
    Variable("cilium_values", "intent", "chart values", "empty", "further chart values, checked key by key"),
    Variable("cilium_helm_binary", "intent", "path", "helm", "Helm 3 on zerotrust_api_host"),
    Variable("cilium_timeout_seconds", "intent", "60 to 3600", "600", "how long an installation may take"),
    Variable("istio_ambient_version", "intent", "version", "1.31.0", "Istio's version"),
    Variable("istio_ambient_chart_repo", "intent", "URL", "Istio's repository", "where the charts are"),
    Variable("istio_ambient_chart_dir", "intent", "path", "unset", "folder with base, istiod, cni, ztunnel instead"),
    Variable("istio_ambient_namespace", "intent", "name", "istio-system", "namespace of the mesh"),
    Variable("istio_ambient_hub", "intent", "registry path", "the charts'", "where the images are"),
    Variable("istio_ambient_tag", "intent", "image tag", "the charts'", "which images"),
    Variable("istio_ambient_platform", "intent", "k3s, openshift, ...", "unset", "platform, where the charts ask"),
    Variable("istio_ambient_gateway_api_crds", "intent", "path", "unset", "Gateway API CRDs to apply"),
    Variable("istio_ambient_cacerts", "intent", "path", "unset", "folder with the CA's four files"),
    Variable("istio_ambient_namespaces", "intent", "list of names", "unset", "namespaces in the mesh"),
    Variable("istio_ambient_waypoints", "intent", "{namespace: name}", "empty", "waypoints of your own"),
    Variable("istio_ambient_values", "intent", "{chart: values}", "empty", "further chart values"),
    Variable("istio_ambient_helm_binary", "intent", "path", "helm", "Helm 3 on zerotrust_api_host"),
    Variable("istio_ambient_timeout_seconds", "intent", "60 to 3600", "600", "how long an installation may take"),
    Variable("mtls_policy_stage", "intent", "observe, enforce", "observe", "try or apply policies"),
    Variable("mtls_policy_stages", "intent", "not yet", "empty", "another stage for a namespace"),
    Variable("mtls_policy_set", "intent", "label value", "default", "name of the set of policies, for pruning"),
    Variable("spire_hosts", "identity", "host pattern", "the hosts of the cluster", "who gets an agent"),
    Variable(
        "spire_server_group",
        "identity",
        "list of one host",
        "the group spire_server",
        "where the server runs",
    ),
    Variable("spire_server_address", "identity", "name or address", "its ansible_host", "where agents reach it"),
    Variable("spire_server_port", "identity", "port", "8081", "its port"),
    Variable("spire_server_binary", "identity", "path or https URL", "unset", "spire-server"),
    Variable("spire_server_sha256", "identity", "SHA-256", "unset", "its digest; needed with a URL"),
    Variable("spire_agent_binary", "identity", "path or https URL", "unset", "spire-agent"),
    Variable("spire_agent_sha256", "identity", "SHA-256", "unset", "its digest; needed with a URL"),
    Variable("spire_bin_dir", "identity", "path", "/usr/local/bin", "where programs go on hosts"),
    Variable("spire_download_dir", "identity", "path", "~/.cache/...", "where the controller keeps downloads"),
    Variable("spire_node_attestation", "identity", "x509pop, join_token", "x509pop", "how hosts prove themselves"),
    Variable("spire_node_ca", "identity", "role, site", "role", "who certifies hosts"),
    Variable("spire_node_certificate_days", "identity", "1 to 3650", "365", "life of the role's certificates"),
    Variable("spire_node_ca_bundle", "identity", "path", "unset", "the site's CA, on the server's host"),
    Variable("spire_node_certificate", "identity", "path", "unset", "the site's certificate, on each host"),
    Variable("spire_node_private_key", "identity", "path", "unset", "its key"),
    Variable("spire_ca_ttl", "identity", "duration", "24h", "life of SPIRE's CA"),
    Variable("spire_svid_ttl", "identity", "duration", "1h", "life of X.509 SVIDs"),
    Variable("spire_jwt_svid_ttl", "identity", "duration", "5m", "life of JWT SVIDs"),
    Variable("spire_agent_ttl", "identity", "duration", "as the SVIDs", "life of agents' SVIDs"),
    Variable("spire_availability_target", "identity", "duration", "unset", "how long SVIDs must last without a server"),
    Variable("spire_ca_key_type", "identity", "ec-p256, rsa-2048, ...", "ec-p256", "kind of the CA's key"),
    Variable("spire_upstream_authority", "identity", "{type: none or disk, ...}", "none", "who signs SPIRE's CA"),
    Variable("spire_workload_attestors", "identity", "list of unix, systemd", "both", "how workloads are recognised"),
    Variable("spire_log_level", "identity", "debug, info, warn, error", "info", "level of both logs"),
    Variable("spire_entries", "identity", "list of entries", "empty", "who gets which identity"),
    Variable("spire_entry_set", "identity", "name", "default", "name of the set of entries, for pruning"),
    Variable("spire_plan", "result", "", "", "work of the role spire"),
    Variable("spire_bundle", "result", "", "", "work of the role spire"),
    Variable("spire_site_ca", "result", "", "", "work of the role spire"),
    Variable("spire_node_ca_state", "result", "", "", "work of the role spire"),
    Variable("spire_credentials", "result", "", "", "work of the role spire"),
    Variable("spire_signed", "result", "", "", "work of the role spire"),
    Variable("spire_token", "result", "", "", "work of the role spire"),
    Variable("spire_component", "result", "", "", "work of the role spire"),
    Variable("spire_source", "result", "", "", "work of the role spire"),
    Variable("spire_program_there", "result", "", "", "work of the role spire"),
    Variable("spire_program_differs", "result", "", "", "work of the role spire"),
    Variable("spire_running", "result", "", "", "work of the role spire"),
    Variable("spire_server_service", "result", "", "", "work of the role spire"),
    Variable("spire_agent_service", "result", "", "", "work of the role spire"),
    Variable("zerotrust_identity_pattern", "result", "", "", "hosts of the playbook identity"),
    Variable("zerotrust_svid", "result", "", "", "registered svid_info result"),
    Variable("nic_tuning_accept_untested_hardware", "host", "boolean", "false", "write to NICs never tested"),
    Variable("nic_tuning_deadline", "play", "seconds", "60", "when a host rolls back unless confirmed"),
    Variable("nic_tuning_probe_targets", "play", "list of addresses", "peers and gateway", "where probes go"),
    Variable("nic_tuning_changes", "play", "list of changes", "from the plan", "what the role changes"),
    Variable("nic_tuning_result", "result", "", "", "registered nic_tuning result"),
    Variable("mtls_policy_file", "result", "", "", "work of the role mtls_policy"),
    Variable("mtls_policy_local", "result", "", "", "work of the role mtls_policy"),
    Variable("cilium_plan", "result", "", "", "work of the role cilium"),
    Variable("istio_ambient_plan", "result", "", "", "work of the role istio_ambient"),
    Variable("istio_ambient_work", "result", "", "", "work of the role istio_ambient"),
    Variable("istio_ambient_chart", "result", "", "", "work of the role istio_ambient"),
    Variable("istio_ambient_found", "result", "", "", "work of the role istio_ambient"),
    Variable("istio_ambient_holder", "result", "", "", "work of the role istio_ambient"),
    Variable("cilium_joined", "result", "", "", "work of the role cilium"),
    Variable("zerotrust_run", "result", "", "", "this run, set by the plan"),
    Variable("zerotrust_node", "result", "", "", "registered node_info result"),
    Variable("zerotrust_wireguard", "result", "", "", "registered wireguard_info result"),
    Variable("zerotrust_path", "result", "", "", "registered path_probe result"),
    Variable("zerotrust_plan", "result", "", "", "registered plan result"),
    Variable("zerotrust_verdict", "result", "", "", "registered verdict result"),
    Variable("zerotrust_cluster_roles", "result", "list of roles", "", "roles of the cluster play, set by playbooks"),
    Variable("zerotrust_cluster_role", "result", "", "", "loop variable of the cluster play"),
    Variable("zerotrust_mode", "result", "preflight, site, verify", "", "what the playbook is about to do"),
)

NAMES: frozenset[str] = frozenset(variable.name for variable in VARIABLES)
PREFIXES = ("zerotrust_", "cilium_", "istio_ambient_", "mtls_policy_", "nic_tuning_", "spire_")

# Other roles of a user's inventory have variables of this prefix, too (kubespray's cilium_tunnel_mode).
SHARED_PREFIXES = ("cilium_",)


def ours(name: str) -> bool:
    """Whether a variable has one of the collection's prefixes."""
    return name.startswith(PREFIXES)


def unknown_names(names: t.Iterable[str]) -> list[tuple[str, str | None]]:
    """Names with one of our prefixes that are in no table: (name, nearest known name or None), sorted."""
    found = sorted({name for name in names if ours(name) and name not in NAMES})
    return [(name, next(iter(difflib.get_close_matches(name, sorted(NAMES), n=1, cutoff=0.6)), None)) for name in found]


def by_scope(*scopes: str) -> list[str]:
    """Names of the variables of these scopes, in the order of the table."""
    return [variable.name for variable in VARIABLES if variable.scope in scopes]
