# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ICMP packets of path_probe: built, recognised, refused."""

from __future__ import annotations

import socket
import struct

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node import path

NONCE = b"n" * 16


def ipv4(payload: bytes, source: str = "192.0.2.1") -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, 1, 0)
    return head + socket.inet_aton(source) + socket.inet_aton("192.0.2.2") + payload


def reply(request: bytes) -> bytes:
    return ipv4(b"\0" + request[1:])


@pytest.mark.parametrize("size", [68, 1400, 1501, 9000])
def test_request_makes_a_packet_of_the_size_with_a_right_checksum(size: int) -> None:
    packet = path.pack_echo(7, 1, NONCE, size)
    assert len(packet) + path.IP_HEADER == size
    assert packet[0] == path.ECHO
    assert path.checksum(packet) == 0


def test_checksum_of_rfc_1071() -> None:
    assert path.checksum(bytes.fromhex("0001f203f4f5f6f7")) == ~0xDDF2 & 0xFFFF


def test_reply_is_recognised() -> None:
    packet = reply(path.pack_echo(7, 3, NONCE, 1400))
    assert path.parse_packet(packet, 7, NONCE) == path.Reply("echo", 3, length=1400)


@pytest.mark.parametrize(("identifier", "nonce"), [(8, NONCE), (7, b"m" * 16)])
def test_reply_to_another_is_nothing(identifier: int, nonce: bytes) -> None:
    assert path.parse_packet(reply(path.pack_echo(7, 3, NONCE, 1400)), identifier, nonce) is None


def test_own_request_seen_again_is_nothing() -> None:
    assert path.parse_packet(ipv4(path.pack_echo(7, 3, NONCE, 100)), 7, NONCE) is None


def test_router_that_cannot_forward_is_named() -> None:
    lost = ipv4(path.pack_echo(7, 3, NONCE, 9000), source="192.0.2.2")[:28]
    packet = ipv4(struct.pack("!BBHHH", 3, 4, 0, 0, 1500) + lost, source="10.0.0.254")
    found = path.parse_packet(packet, 7, NONCE)
    assert found is not None
    assert (found.kind, found.sequence) == ("error", 3)
    assert "10.0.0.254" in found.error
    assert "1500" in found.error


def test_error_about_a_foreign_packet_is_nothing() -> None:
    lost = ipv4(path.pack_echo(8, 3, NONCE, 100))[:28]
    assert path.parse_packet(ipv4(struct.pack("!BBHHH", 3, 1, 0, 0, 0) + lost), 7, NONCE) is None


@pytest.mark.parametrize("length", [0, 1, 19, 27])
def test_short_packets_are_nothing(length: int) -> None:
    assert path.parse_packet(reply(path.pack_echo(7, 3, NONCE, 100))[:length], 7, NONCE) is None


@pytest.mark.parametrize("size", [67, 65536])
def test_size_out_of_range_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=str(size)):
        path.probe("lo", ["127.0.0.1"], size)


def test_targets_that_are_no_ipv4_address_are_refused_one_by_one() -> None:
    v6, wrong = path.probe("lo", ["fd00::1", "gpu1"], 100)
    assert v6["error"] == "IPv6 is not in this version"
    assert "gpu1" in wrong["error"]
    assert not v6["sent"]
    assert not wrong["forward_ok"]


@pytest.mark.parametrize(
    ("fragment", "length", "ok", "word"),
    [(None, 1500, True, None), (1400, 1500, False, "1400"), (None, 1400, False, "1400")],
)
def test_way_back(fragment: int | None, length: int, ok: bool, word: str | None) -> None:
    found = path.Probe("192.0.2.1", sent=True)
    path._judge(found, path.Reply("echo", 0, length=length), fragment, 1500)
    assert (found.answered, found.forward_ok, found.backward_ok) == (True, True, ok)
    assert found.reply_fragment_size == fragment
    assert (found.error is None) == ok
    assert word is None or word in str(found.error)
