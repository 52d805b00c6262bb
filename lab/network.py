# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The laboratory's networks on the host: two bridges with a /24 each, and a network namespace per node.

Names come from the laboratory's id, so that what a crash left behind is found without any state file.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import typing as t

from lab.common import LabError, run

# candidate ranges: (node network, management network)
_CANDIDATES = [(f"10.{88 + n // 256}.{n % 256}.0/24", f"10.{96 + n // 256}.{n % 256}.0/24") for n in range(8 * 256)]
_RESERVED = [ipaddress.ip_network(net) for net in ("10.244.0.0/16", "10.96.0.0/16")]
NODE_MTU_AT_START = 1500
LINK_MTU = 9000


def bridges(lab_id: str) -> tuple[str, str]:
    """Names of the node bridge and the management bridge."""
    return f"zt{lab_id}n", f"zt{lab_id}m"


def namespace(lab_id: str, node: str) -> str:
    return f"zt-{lab_id}-{node}"


def _used() -> list[ipaddress.IPv4Network]:
    """Every IPv4 network that the host has an address in or a route to."""
    used = []
    for link in json.loads(run(["ip", "-j", "-4", "addr"]).stdout or "[]"):
        for info in link.get("addr_info", []):
            used.append(ipaddress.ip_network(f"{info['local']}/{info['prefixlen']}", strict=False))
    for route in json.loads(run(["ip", "-j", "-4", "route", "show", "table", "all"]).stdout or "[]"):
        with contextlib.suppress(ValueError):
            network = ipaddress.ip_network(route.get("dst", ""), strict=False)
            if network.prefixlen > 0:
                used.append(network)
    return t.cast("list[ipaddress.IPv4Network]", used)


def free_subnets(used: list[ipaddress.IPv4Network] | None = None) -> tuple[str, str]:
    """The first pair of /24 that overlaps nothing that the host knows."""
    taken = (_used() if used is None else used) + _RESERVED
    for pair in _CANDIDATES:
        if not any(ipaddress.ip_network(net).overlaps(other) for net in pair for other in taken):
            return pair
    raise LabError("No free /24 was found in 10.88.0.0/13 and 10.96.0.0/13 for the laboratory's networks.")


def gateway(subnet: str) -> str:
    return str(ipaddress.ip_network(subnet)[1])


def links() -> set[str]:
    return set(os.listdir("/sys/class/net"))


def any_laboratory() -> bool:
    """Whether any laboratory's bridge is on this machine, of whatever state directory."""
    return any(re.fullmatch(r"zt[0-9a-f]{6}n", name) for name in links())


def namespaces(lab_id: str) -> list[str]:
    with contextlib.suppress(OSError):
        return sorted(name for name in os.listdir("/run/netns") if name.startswith(f"zt-{lab_id}-"))
    return []


def make_bridges(lab_id: str, subnets: tuple[str, str]) -> list[str]:
    """Make the bridges that are missing; returns their names."""
    made = []
    for bridge, subnet in zip(bridges(lab_id), subnets):
        if bridge in links():
            continue
        prefix = ipaddress.ip_network(subnet).prefixlen
        run(["ip", "link", "add", bridge, "mtu", str(LINK_MTU), "type", "bridge", "stp_state", "0"])
        run(["ip", "addr", "add", f"{gateway(subnet)}/{prefix}", "dev", bridge])
        run(["ip", "link", "set", bridge, "up"])
        made.append(bridge)
    return made


def make_namespace(lab_id: str, number: int, node: str, ip: str, mgmt_ip: str, gw: str) -> None:
    """A node's network: node0 and mgmt0 with addresses, their other ends on the bridges."""
    name = namespace(lab_id, node)
    remove_namespace(name)
    run(["ip", "netns", "add", name])
    for link, bridge, inside, address in (
        (f"zt{lab_id}n{number}", bridges(lab_id)[0], "node0", ip),
        (f"zt{lab_id}m{number}", bridges(lab_id)[1], "mgmt0", mgmt_ip),
    ):
        if link in links():
            run(["ip", "link", "del", link])
        # the host's end takes jumbo frames from the start: only the node's end is the user's to change
        run(["ip", "link", "add", link, "mtu", str(LINK_MTU), "type", "veth", "peer", "name", inside, "mtu",
             str(NODE_MTU_AT_START), "netns", name])  # fmt: skip
        run(["ip", "link", "set", link, "master", bridge, "up"])
        run(["ip", "-n", name, "addr", "add", f"{address}/24", "dev", inside])
        run(["ip", "-n", name, "link", "set", inside, "up"])
    run(["ip", "-n", name, "link", "set", "lo", "up"])
    run(["ip", "-n", name, "route", "add", "default", "via", gw, "dev", "node0"])


def remove_namespace(name: str) -> None:
    if os.path.exists(f"/run/netns/{name}"):
        run(["ip", "netns", "del", name])


def remove(lab_id: str) -> list[str]:
    """Remove every namespace and link of this laboratory; returns what there was."""
    gone = namespaces(lab_id)
    for name in gone:
        remove_namespace(name)
    for link in sorted(links()):
        if link.startswith(f"zt{lab_id}") and run(["ip", "link", "del", link], check=False).returncode == 0:
            gone.append(link)
    return gone
