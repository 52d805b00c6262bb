# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""wireguard_info's provocation: whom, how fast, how long it waits, and what it says when something is missing."""

from __future__ import annotations

import errno
import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.netlink.wireguard import Device, Gone, Peer
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node import tunnel

NOW = 1_795_380_000.0


class World:
    """A device, a clock and what was sent. answer_after: seconds from a datagram to the handshake, None for never."""

    def __init__(self, peers: t.Sequence[Peer], answer_after: float | None = 0.1) -> None:
        self.device = Device("cilium_wg0", "userspace", "own", 51871, 0, list(peers))
        self.answer_after = answer_after
        self.now = NOW
        self.sent: list[tuple[float, str]] = []
        self.due: list[tuple[float, str]] = []
        self.reads = 0
        self.link = False

    def read(self, _name: str) -> Device:
        self.reads += 1
        for when, address in self.due:
            for peer in self.device.peers:
                if when <= self.now and address in [ip.split("/")[0] for ip in peer.allowed_ips]:
                    peer.last_handshake_epoch = when
        return self.device

    def send(self, device: str, address: str) -> None:
        assert device == "cilium_wg0"
        self.sent.append((self.now, address))
        if self.answer_after is not None:
            self.due.append((self.now + self.answer_after, address))

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def observe(self, **options: t.Any) -> dict[str, t.Any]:
        act = tunnel.Reader(
            read=self.read,
            send=self.send,
            exists=lambda _name: self.link,
            epoch=lambda: self.now,
            monotonic=lambda: self.now,
            sleep=self.sleep,
            random=lambda: 0.5,
        )
        return tunnel.observe("cilium_wg0", act=act, **options)


def idle(key: str, *ips: str, handshake: float = 0.0) -> Peer:
    return Peer(key, "10.0.0.2:51871", list(ips), handshake)


def test_reading_sends_nothing() -> None:
    world = World([idle("b", "10.0.0.3/32", "10.0.0.2/32"), idle("a", "10.0.0.9/32")])
    state = world.observe()
    assert (world.sent, state["provoked"], world.reads) == ([], [], 1)
    assert (state["present"], state["implementation"], state["error"]) == (True, "userspace", None)
    assert [peer["public_key"] for peer in state["peers"]] == ["a", "b"]
    assert state["peers"][1]["allowed_ips"] == ["10.0.0.2/32", "10.0.0.3/32"]


def test_only_idle_peers_are_provoked_and_the_state_after_is_returned() -> None:
    world = World([idle("a", "10.0.0.2/32"), idle("b", "10.0.0.3/32", handshake=NOW - 100), idle("c")])
    state = world.observe(provoke=True)
    assert [address for _when, address in world.sent] == ["10.0.0.2"]
    (provoked,) = state["provoked"]
    assert provoked == {"public_key": "a", "target": "10.0.0.2", "at": NOW, "sent": True, "error": None}
    after = {peer["public_key"]: peer["last_handshake_epoch"] for peer in state["peers"]}
    assert after["a"] > provoked["at"]
    assert state["before"]["a"]["last_handshake_epoch"] == 0.0
    assert state["epoch"] - NOW < 1, "it does not wait longer than it must"


def test_silent_peer_is_waited_for_as_long_as_asked() -> None:
    state = World([idle("a", "10.0.0.2/32")], answer_after=None).observe(provoke=True, wait=4.0)
    assert 4.0 <= state["epoch"] - NOW < 4.5
    assert state["peers"][0]["last_handshake_epoch"] == 0.0


def test_at_most_20_peers_a_second() -> None:
    world = World([idle(f"k{n}", f"10.0.{n}.2/32") for n in range(100)])
    world.observe(provoke=True)
    assert len(world.sent) == 100
    assert world.sent[-1][0] - world.sent[0][0] >= 99 / tunnel.PER_SECOND * 0.99


def test_named_targets_are_provoked_though_not_idle() -> None:
    world = World([idle("a", "10.0.0.2/32", handshake=NOW - 1), idle("b", "10.0.0.3/32")])
    state = world.observe(provoke=True, targets=[{"public_key": "a", "allowed_ip": "10.0.0.2/32"}])
    assert [entry["public_key"] for entry in state["provoked"]] == ["a"]


def test_received_bytes_are_an_answer_on_a_young_session() -> None:
    world = World([idle("a", "10.0.0.2/32", handshake=NOW - 1)], answer_after=None)
    real = world.send

    def send(device: str, address: str) -> None:
        real(device, address)
        world.device.peers[0].rx_bytes += 32

    world.send = send  # type: ignore[method-assign]
    state = world.observe(provoke=True, targets=[{"public_key": "a", "allowed_ip": "10.0.0.2/32"}])
    assert state["epoch"] == NOW
    assert state["before"]["a"]["rx_bytes"] == 0
    assert state["peers"][0]["rx_bytes"] == 32


def test_datagram_that_cannot_be_sent_is_said() -> None:
    world = World([idle("a", "fd00::2/128")])

    def refuse(_device: str, _address: str) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    world.send = refuse  # type: ignore[method-assign]
    state = world.observe(provoke=True)
    assert (state["provoked"][0]["sent"], state["provoked"][0]["error"]) == (False, "Network is unreachable")
    assert state["epoch"] == NOW, "nothing was sent, so nothing is waited for"


def test_wrong_target_is_said() -> None:
    state = World([]).observe(provoke=True, targets=[{"public_key": "a", "allowed_ip": "gpu1"}])
    assert state["provoked"][0]["sent"] is False
    assert "gpu1" in state["provoked"][0]["error"]


@pytest.mark.parametrize(
    ("allowed_ip", "address"),
    [
        ("10.0.0.2/32", "10.0.0.2"),
        ("10.0.0.2", "10.0.0.2"),
        ("10.244.1.0/24", "10.244.1.1"),
        ("10.244.1.7/24", "10.244.1.7"),
        ("10.0.0.2/31", "10.0.0.2"),
        ("fd00::/64", "fd00::1"),
        ("fd00::5/128", "fd00::5"),
    ],
)
def test_address_in(allowed_ip: str, address: str) -> None:
    assert tunnel.address_in(allowed_ip) == address


def test_ipv4_is_preferred() -> None:
    device = Device("x", "kernel", peers=[idle("a", "fd00::2/128", "10.0.0.2/32"), idle("b", "fd00::3/128")])
    assert [entry["allowed_ip"] for entry in tunnel.idle_targets(device, NOW)] == ["10.0.0.2/32", "fd00::3/128"]


def failing(world: World, error: Exception) -> dict[str, t.Any]:
    def read(_name: str) -> Device:
        raise error

    world.read = read  # type: ignore[method-assign]
    return world.observe()


def test_absent_device_is_no_error() -> None:
    state = failing(World([]), Gone(errno.ENODEV, "no userspace WireGuard device"))
    assert (state["present"], state["implementation"], state["error"]) == (False, None, None)


def test_interface_without_an_answer_is_unknown_and_not_absent() -> None:
    world = World([])
    world.link = True
    state = failing(world, Gone(errno.ENODEV, "nobody answers on its socket"))
    assert state["present"] is None
    assert "nobody answers" in state["error"]


@pytest.mark.parametrize("error", [PermissionError(1, "Operation not permitted"), ValueError("malformed")])
def test_failed_read_is_unknown_and_not_absent(error: Exception) -> None:
    state = failing(World([]), error)
    assert state["present"] is None
    assert state["error"]
