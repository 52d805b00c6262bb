# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What wireguard_info returns: the state of a WireGuard device, if wanted after its idle peers were provoked.

A peer without traffic has no handshake, which proves nothing. One datagram into the tunnel makes the device begin one.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import random
import socket
import time
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.netlink import wireguard

SCHEMA = 1
FRESH = 150.0  # seconds; a session in use renews its key every 120 s
PER_SECOND = 20
DISCARD = 9  # UDP port
_POLL = 0.25


@dataclasses.dataclass
class Reader:
    """What acts on the host; tests put their own functions here."""

    read: t.Callable[[str], wireguard.Device] = wireguard.read
    send: t.Callable[[str, str], None] | None = None
    exists: t.Callable[[str], bool] = lambda name: name in {found for _index, found in socket.if_nameindex()}
    epoch: t.Callable[[], float] = time.time
    monotonic: t.Callable[[], float] = time.monotonic
    sleep: t.Callable[[float], None] = time.sleep
    random: t.Callable[[], float] = random.random


def observe(
    name: str,
    provoke: bool = False,
    targets: t.Sequence[t.Mapping[str, str]] | None = None,
    wait: float = 4.0,
    act: Reader | None = None,
) -> dict[str, t.Any]:
    """State of the device in the shape that wireguard_info documents; never raises for what the host answers.

    targets: [{"public_key", "allowed_ip"}] to provoke; None: every peer whose last handshake is older than 150 s, at
    its first allowed IPv4 address, or IPv6 where it has no other.
    """
    act = act or Reader()
    result: dict[str, t.Any] = {
        "schema": SCHEMA,
        "device": name,
        "present": False,
        "implementation": None,
        "public_key": None,
        "listen_port": 0,
        "fwmark": 0,
        "epoch": act.epoch(),
        "peers": [],
        "provoked": [],
        "before": {},
        "error": None,
    }
    try:
        device = act.read(name)
        result["before"] = {peer.public_key: _counters(peer) for peer in device.peers}
        if provoke:
            chosen = idle_targets(device, result["epoch"]) if targets is None else list(targets)
            result["provoked"] = _provoke(act, name, chosen)
            device = _wait(act, name, device, result, wait)
    except wireguard.Gone as gone:
        result.update(epoch=act.epoch())
        if act.exists(name):  # an interface is there: that nothing answers for it does not say that it is no WireGuard
            result.update(present=None, error=f"interface {name} is there, but {gone.strerror}")
        return result
    except (OSError, ValueError) as error:
        # present stays unproved: whoever reads this must take the error for "unknown", not for "no device"
        result.update(epoch=act.epoch(), present=None, error=str(error))
        return result
    result.update(
        present=True,
        implementation=device.implementation,
        public_key=device.public_key,
        listen_port=device.listen_port,
        fwmark=device.fwmark,
        epoch=act.epoch(),
        peers=[peer.to_dict() for peer in sorted(device.peers, key=lambda peer: peer.public_key)],
    )
    return result


def idle_targets(device: wireguard.Device, now: float) -> list[dict[str, str]]:
    """Peers without a handshake in the last 150 s, each with the allowed IP to send to; not those that have none."""
    chosen = []
    for peer in device.peers:
        if now - peer.last_handshake_epoch > FRESH and peer.allowed_ips:
            first = next((ip for ip in peer.allowed_ips if ":" not in ip), peer.allowed_ips[0])
            chosen.append({"public_key": peer.public_key, "allowed_ip": first})
    return chosen


def address_in(allowed_ip: str) -> str:
    """The address to send to: of a network its first host, of a single address itself; raises ValueError."""
    network = ipaddress.ip_network(allowed_ip, strict=False)
    host_bits = network.max_prefixlen - network.prefixlen
    if host_bits > 1 and "/" in allowed_ip and ipaddress.ip_interface(allowed_ip).ip == network.network_address:
        return str(network.network_address + 1)
    return allowed_ip.split("/", 1)[0]


def send_datagram(device: str, address: str) -> None:
    """One UDP datagram to the discard port of the address, through the device whatever the routes say."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
        udp.sendto(b"\0", (address, DISCARD))


def _provoke(act: Reader, name: str, targets: t.Sequence[t.Mapping[str, str]]) -> list[dict[str, t.Any]]:
    """Sends to each target, in a random order and with random gaps, so that many hosts do not meet at one peer."""
    send = act.send or send_datagram
    provoked: list[dict[str, t.Any]] = []
    for target in sorted(targets, key=lambda _target: act.random()):
        if provoked:
            act.sleep((0.5 + act.random()) / PER_SECOND)
        entry: dict[str, t.Any] = {
            "public_key": target["public_key"],
            "target": target["allowed_ip"],
            "at": act.epoch(),
            "sent": False,
            "error": None,
        }
        provoked.append(entry)
        try:
            entry["target"] = address_in(target["allowed_ip"])
            send(name, entry["target"])
            entry["sent"] = True
        except OSError as error:
            entry["error"] = error.strerror or str(error)
        except ValueError as error:
            entry["error"] = str(error)
    return provoked


def _wait(
    act: Reader, name: str, device: wireguard.Device, result: t.Mapping[str, t.Any], wait: float
) -> wireguard.Device:
    """The device as soon as each peer provoked has a newer handshake or has received more, else after wait seconds."""
    before = result["before"]
    sent = {entry["public_key"] for entry in result["provoked"] if entry["sent"]} & set(before)
    if not sent:
        return device
    until = act.monotonic() + wait
    while True:
        device = act.read(name)
        answered = {peer.public_key for peer in device.peers if _is_newer(peer, before.get(peer.public_key))}
        if sent <= answered or act.monotonic() >= until:
            return device
        act.sleep(_POLL)


def _is_newer(peer: wireguard.Peer, before: t.Mapping[str, t.Any] | None) -> bool:
    if before is None:
        return True
    return bool(peer.last_handshake_epoch > before["last_handshake_epoch"] or peer.rx_bytes > before["rx_bytes"])


def _counters(peer: wireguard.Peer) -> dict[str, t.Any]:
    return {
        "last_handshake_epoch": peer.last_handshake_epoch,
        "rx_bytes": peer.rx_bytes,
        "tx_bytes": peer.tx_bytes,
    }
