# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WireGuard state and provocation: ours against `wg show all dump`, on real tunnels."""

from __future__ import annotations

import base64
import subprocess
import time
import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.tests.integration.netlink.conftest import Namespace

Make = t.Callable[[str], Namespace]
DEVICE = "cilium_wg0"


def key_pair() -> tuple[str, str]:
    private = subprocess.run(["wg", "genkey"], capture_output=True, text=True, check=True).stdout.strip()
    public = subprocess.run(["wg", "pubkey"], input=private, capture_output=True, text=True, check=True).stdout.strip()
    return private, public


def configure(namespace: Namespace, private: str, *arguments: str) -> None:
    file = namespace.sockets / "private"
    file.touch(0o600)
    file.write_text(private + "\n")
    namespace.run("wg", "set", DEVICE, "private-key", str(file), "listen-port", "51871", *arguments)
    file.unlink()


def of_wg(namespace: Namespace) -> dict[str, t.Any]:
    """`wg show all dump` in our shape, without its two columns of secrets."""
    first, *rest = namespace.run("wg", "show", "all", "dump").splitlines()
    _device, _private, public, port, mark = first.split("\t")
    peers = []
    for line in rest:
        _device, key, _preshared, endpoint, allowed, handshake, received, sent, keepalive = line.split("\t")
        peers.append(
            {
                "public_key": key,
                "endpoint": None if endpoint == "(none)" else endpoint,
                "allowed_ips": [] if allowed == "(none)" else sorted(allowed.split(",")),
                "last_handshake_epoch": int(handshake),
                "rx_bytes": int(received),
                "tx_bytes": int(sent),
                "keepalive": 0 if keepalive == "off" else int(keepalive),
            }
        )
    mark_number = 0 if mark == "off" else int(mark, 0)
    return {"public_key": public, "listen_port": int(port), "fwmark": mark_number, "peers": peers}


def assert_equal(namespace: Namespace, implementation: str) -> dict[str, t.Any]:
    theirs = of_wg(namespace)
    ours = namespace.python(f"tunnel.observe('{DEVICE}')")
    assert isinstance(ours, dict)
    assert (ours["present"], ours["implementation"], ours["error"]) == (True, implementation, None)
    for key in ("public_key", "listen_port", "fwmark"):
        assert ours[key] == theirs[key]
    for peer in ours["peers"]:
        peer["last_handshake_epoch"] = int(peer["last_handshake_epoch"])
    assert ours["peers"] == sorted(theirs["peers"], key=lambda peer: str(peer["public_key"]))
    return ours


def furnish(namespace: Namespace, peers: int) -> str:
    """Configures a device that exists; returns the private key. Nothing is sent: there is no route to any endpoint."""
    private, _public = key_pair()
    arguments: list[str] = ["fwmark", "0xe00"]
    for number in range(peers):
        key = base64.b64encode((number + 1).to_bytes(32, "big")).decode()
        high, low = number // 250, number % 250 + 1
        ips = f"10.{high}.0.{low}/32,10.{128 + high}.{low}.0/24,fd00:{number:x}::/64"
        endpoint = f"192.168.{high}.{low}:51871" if number % 2 else f"[fd01::{number + 1:x}]:51871"
        arguments += ["peer", key, "allowed-ips", ips, "endpoint", endpoint]
    arguments += ["peer", base64.b64encode(b"\xfe" * 32).decode()]
    configure(namespace, private, *arguments)
    return private


def test_userspace_device_equals_wg_show(namespaces: Make) -> None:
    namespace = namespaces("a")
    namespace.wireguard_go(DEVICE)
    private = furnish(namespace, 300)
    ours = assert_equal(namespace, "userspace")
    assert len(ours["peers"]) == 301
    assert private not in str(ours)


def test_kernel_device_equals_wg_show(namespaces: Make) -> None:
    namespace = namespaces("a")
    made = subprocess.run(namespace.command("ip", "link", "add", DEVICE, "type", "wireguard"), capture_output=True)
    if made.returncode != 0:
        pytest.skip("this kernel has no WireGuard: its reader is tested on encoded bytes only")
    private = furnish(namespace, 300)
    ours = assert_equal(namespace, "kernel")
    assert len(ours["peers"]) == 301
    assert private not in str(ours)


def connected(namespaces: Make) -> tuple[Namespace, Namespace, str, str]:
    """Two namespaces with a tunnel between them that has not been used, and their public keys."""
    a, b = namespaces("a"), namespaces("b")
    a.ip(f"link add up0 type veth peer name up0 netns {b.name}")
    (private_a, public_a), (private_b, public_b) = key_pair(), key_pair()
    for side, number in ((a, 1), (b, 2)):
        side.ip(f"address add 10.0.0.{number}/24 dev up0")
        side.ip("link set up0 up")
        side.wireguard_go(DEVICE)
    configure(a, private_a, "peer", public_b, "endpoint", "10.0.0.2:51871", "allowed-ips", "10.0.0.2/32,10.244.2.0/24")
    configure(b, private_b, "peer", public_a, "endpoint", "10.0.0.1:51871", "allowed-ips", "10.0.0.1/32,10.244.1.0/24")
    for side in (a, b):
        side.ip(f"link set {DEVICE} up")
    return a, b, public_a, public_b


def test_provocation_makes_a_handshake(namespaces: Make) -> None:
    a, b, public_a, public_b = connected(namespaces)
    assert a.python(f"tunnel.observe('{DEVICE}')")["peers"][0]["last_handshake_epoch"] == 0, "nothing was sent yet"
    begun = time.time()
    state = a.python(f"tunnel.observe('{DEVICE}', provoke=True)")
    (peer,) = state["peers"]
    (provoked,) = state["provoked"]
    assert (provoked["public_key"], provoked["target"], provoked["sent"]) == (public_b, "10.0.0.2", True)
    assert peer["last_handshake_epoch"] >= provoked["at"] >= begun
    assert state["before"][public_b]["last_handshake_epoch"] == 0
    assert state["epoch"] - provoked["at"] < 3
    assert_equal(a, "userspace")
    assert b.python(f"tunnel.observe('{DEVICE}')")["peers"][0]["public_key"] == public_a
    again = a.python(f"tunnel.observe('{DEVICE}', provoke=True)")
    assert again["provoked"] == [], "a fresh session is left alone"


def test_wrong_key_gives_no_handshake(namespaces: Make) -> None:
    a, b, public_a, _public_b = connected(namespaces)
    _private, wrong = key_pair()
    b.run("wg", "set", DEVICE, "peer", public_a, "remove")
    b.run("wg", "set", DEVICE, "peer", wrong, "endpoint", "10.0.0.1:51871", "allowed-ips", "10.0.0.1/32")
    state = a.python(f"tunnel.observe('{DEVICE}', provoke=True, wait=1.5)")
    assert state["provoked"][0]["sent"]
    assert state["peers"][0]["last_handshake_epoch"] == 0
    assert state["epoch"] - state["provoked"][0]["at"] >= 1.5


def test_absent_device_and_foreign_interface(namespaces: Make) -> None:
    namespace = namespaces("a")
    absent = namespace.python(f"tunnel.observe('{DEVICE}')")
    assert (absent["present"], absent["error"]) == (False, None)
    namespace.ip(f"link add {DEVICE} type veth peer name other")
    foreign = namespace.python(f"tunnel.observe('{DEVICE}')")
    assert foreign["present"] is None
    assert DEVICE in foreign["error"]
