# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the proof knows of one Node: the API's word about it and its own kernel's, side by side."""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

PORT = 51871
"""UDP port of Cilium's WireGuard device (pkg/wireguard/types)."""

OBSERVED, UNOBSERVED, NO_DEVICE, EXCLUDED = "observed", "unobserved", "no_device", "excluded"

Data = t.Mapping[str, t.Any]
Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


@dataclasses.dataclass
class NodeView:
    """One Node. key is what its peers must hold: the kernel's key, or the annotated one where no kernel was read."""

    name: str
    host: str | None
    state: str
    why: str
    unreadable: bool
    ips: list[str]
    endpoints: frozenset[str]
    required: frozenset[str]
    kernel_key: str | None
    annotated_key: str | None
    in_cilium: bool
    wireguard: Data
    peers: dict[str, Data]
    provoked: dict[str, Data]
    pod_cidrs: list[str]
    own_networks: list[Network]
    known_addresses: dict[str, bool] = dataclasses.field(default_factory=dict)

    @property
    def key(self) -> str | None:
        return self.kernel_key or self.annotated_key

    def owns(self, prefix: str) -> bool:
        """Whether an allowed IP ("10.0.0.1/32") may be this Node's: its addresses, and what lies in its pod CIDRs."""
        known = self.known_addresses.get(prefix)
        if known is None:
            known = self.known_addresses[prefix] = _inside(prefix, self.own_networks)
        return known

    def handshake_age(self, key: str) -> float | None:
        """Seconds since the last handshake with the peer of that key, by this host's clock; None: there is none."""
        last = float(self.peers[key].get("last_handshake_epoch") or 0)
        return float(self.wireguard.get("epoch") or 0) - last if last else None


def _network(prefix: str) -> Network | None:
    try:
        return ipaddress.ip_network(prefix, strict=False)
    except ValueError:
        return None


def _inside(prefix: str, networks: t.Iterable[Network]) -> bool:
    wanted = _network(prefix)
    return wanted is not None and any(
        wanted.version == network.version and wanted.subnet_of(network)  # type: ignore[arg-type]
        for network in networks
    )


def covered(prefixes: t.Iterable[str], by: t.Iterable[str]) -> list[str]:
    """Those of prefixes that no network of `by` covers."""
    networks = [network for network in map(_network, by) if network is not None]
    return [prefix for prefix in prefixes if not _inside(prefix, networks)]


def host_prefix(address: str) -> str:
    """ "10.0.0.1" -> "10.0.0.1/32"."""
    return f"{address}/{128 if ':' in address else 32}"


def socket_address(address: str, port: int = PORT) -> str:
    """How wireguard_info writes an endpoint: IPv6 in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def config_flag(config: Data, key: str) -> bool:
    """A boolean of cilium-config, whose values are all strings."""
    return str(config.get(key, "")).lower() == "true"


def native_routing(intent: Data, config: Data) -> bool:
    """What runs decides; the intent only where cilium-config does not say."""
    mode = config.get("routing-mode") or intent.get("routing")
    return mode == "native" or config_flag(config, "wireguard-track-all-ips-fallback")


def views(intent: Data, cluster: Data, hosts: Data, matching: Data) -> dict[str, NodeView]:
    """All Nodes of the cluster by name, with what is known of each."""
    cilium = cluster.get("cilium") or {}
    config = cilium.get("config") or {}
    native = native_routing(intent, config)
    families = tuple(
        family for family, key in ((4, "enable-ipv4"), (6, "enable-ipv6")) if config.get(key, "true") != "false"
    )
    cilium_nodes = {entry["name"]: entry for entry in cilium.get("nodes") or []}
    host_of = {node: host for host, node in matching.items() if node}
    return {
        node["name"]: _view(
            node, cilium_nodes.get(node["name"]), host_of.get(node["name"]), hosts, native=native, families=families
        )
        for node in cluster.get("nodes") or []
    }


def _view(
    node: Data, cilium: Data | None, host: str | None, hosts: Data, *, native: bool, families: tuple[int, ...]
) -> NodeView:
    evidence: Data = hosts.get(host) or {} if host is not None else {}
    wireguard: Data = evidence.get("wireguard") or {}
    state, why, unreadable = _state(host, evidence)
    said: Data = cilium or {}
    addresses = list(said.get("internal_ips") or node.get("internal_ips") or [])
    ips = [address for address in addresses if (6 if ":" in address else 4) in families]
    pod_cidrs = list(said.get("pod_cidrs") or node.get("pod_cidrs") or [])
    cilium_ips = [host_prefix(address) for address in said.get("cilium_ips") or []]
    required = {host_prefix(address) for address in ips}
    if native:
        required.update(pod_cidrs, cilium_ips)
    own = [*map(host_prefix, addresses), *cilium_ips, *pod_cidrs]
    read = state == OBSERVED
    return NodeView(
        name=node["name"],
        host=host,
        state=state,
        why=why,
        unreadable=unreadable,
        ips=ips,
        endpoints=frozenset(socket_address(address) for address in ips),
        required=frozenset(required),
        kernel_key=wireguard.get("public_key") if read else None,
        annotated_key=said.get("wg_pub_key"),
        in_cilium=cilium is not None,
        wireguard=wireguard,
        peers={peer["public_key"]: peer for peer in wireguard.get("peers") or []} if read else {},
        provoked={entry["public_key"]: entry for entry in wireguard.get("provoked") or []},
        pod_cidrs=pod_cidrs,
        own_networks=[network for network in map(_network, own) if network is not None],
    )


def _state(host: str | None, evidence: Data) -> tuple[str, str, bool]:
    """(state, why, whether the host answered and only WireGuard could not be read)."""
    if host is None:
        return UNOBSERVED, "no host of the inventory is this Node", False
    if evidence.get("excluded"):
        return EXCLUDED, str(evidence["excluded"]), False
    wireguard = evidence.get("wireguard")
    if wireguard is None:
        return UNOBSERVED, str(evidence.get("error") or "the host was not part of this run"), False
    if wireguard.get("error"):
        return UNOBSERVED, str(wireguard["error"]), True
    if not wireguard.get("present"):
        return NO_DEVICE, f"there is no device {wireguard.get('device', 'cilium_wg0')}", False
    return OBSERVED, "", False
