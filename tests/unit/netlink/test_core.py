# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages, attributes and the socket's conduct, on bytes made here."""

from __future__ import annotations

import errno
import socket
import struct
import sys
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.aicluster.zerotrust.plugins.module_utils.netlink import core


def message(kind: int, payload: bytes = b"", flags: int = 0, seq: int = 1) -> bytes:
    return core.pack_message(kind, flags, seq, payload)


class Kernel:
    """A socket's place: gives out datagrams in turn; an exception among them is raised."""

    def __init__(self, *answers: t.Any) -> None:
        self.answers = list(answers)
        self.sent: list[bytes] = []
        self.closed = 0

    def sendto(self, data: bytes, _address: object) -> None:
        self.sent.append(data)

    def recvmsg(self, _size: int) -> tuple[bytes, list[object], int, tuple[int, int]]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        data, flags, port = answer if isinstance(answer, tuple) else (answer, 0, 0)
        return data, [], flags, (port, 0)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., tuple[core.Socket, Kernel]]:
    def make(*answers: t.Any) -> tuple[core.Socket, Kernel]:
        kernel = Kernel(*answers)
        monkeypatch.setattr(core.Socket, "_open", lambda self: kernel)
        return core.Socket(core.NETLINK_ROUTE), kernel

    return make


DONE = struct.pack("=i", 0)


@given(st.lists(st.tuples(st.integers(0, core.NLA_TYPE_MASK), st.binary(max_size=70)), max_size=8))
def test_attributes_come_back_as_packed(attributes: list[tuple[int, bytes]]) -> None:
    packed = b"".join(core.pack_attribute(kind, value) for kind, value in attributes)
    assert len(packed) % 4 == 0
    assert list(core.parse_attributes(packed)) == attributes


@given(st.binary(max_size=64))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    for parse in (core.parse_messages, core.parse_attributes):
        try:
            list(parse(data))
        except core.Malformed:
            continue


@pytest.mark.parametrize("length", [0, 3, 9, 0xFFFF])
def test_attribute_with_a_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(core.Malformed):
        list(core.parse_attributes(struct.pack("=HH", length, 1) + b"abcd"))


@pytest.mark.parametrize("length", [0, 15, 21])
def test_message_with_a_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(core.Malformed):
        list(core.parse_messages(struct.pack("=IHHII", length, 16, 0, 1, 0) + b"abcd"))


def test_flags_are_taken_off_an_attribute_type() -> None:
    assert core.attribute_map(core.pack_attribute(core.NLA_F_NESTED | 8, b"x")) == {8: b"x"}


def test_number_of_another_size_is_refused() -> None:
    assert core.number(b"\x01\x00\x00\x00", 4) == int.from_bytes(b"\x01\x00\x00\x00", sys.byteorder)
    with pytest.raises(core.Malformed):
        core.number(b"\x01\x00", 4)


def test_dump_ends_at_done_and_spans_datagrams(ask: t.Callable[..., t.Any]) -> None:
    netlink, _kernel = ask(
        message(16, b"a", core.NLM_F_MULTI) + message(16, b"b", core.NLM_F_MULTI),
        message(16, b"c", core.NLM_F_MULTI),
        message(core.NLMSG_DONE, DONE, core.NLM_F_MULTI),
    )
    assert [m.payload for m in netlink.dump(18, b"")] == [b"a", b"b", b"c"]


def test_answers_to_others_and_from_others_are_left_out(ask: t.Callable[..., t.Any]) -> None:
    netlink, _kernel = ask(
        message(16, b"old", seq=0),
        (message(16, b"forged"), 0, 4711),
        message(16, b"right") + message(core.NLMSG_DONE, DONE),
    )
    assert [m.payload for m in netlink.dump(18, b"")] == [b"right"]


def test_interrupted_dump_is_repeated(ask: t.Callable[..., t.Any]) -> None:
    netlink, kernel = ask(
        message(16, b"half", core.NLM_F_DUMP_INTR) + message(core.NLMSG_DONE, DONE),
        message(16, b"whole", seq=2) + message(core.NLMSG_DONE, DONE, seq=2),
    )
    assert [m.payload for m in netlink.dump(18, b"")] == [b"whole"]
    assert len(kernel.sent) == 2


def test_interruption_told_only_at_the_end_counts(ask: t.Callable[..., t.Any]) -> None:
    netlink, kernel = ask(
        message(16, b"half") + message(core.NLMSG_DONE, DONE, core.NLM_F_DUMP_INTR),
        message(core.NLMSG_DONE, DONE, seq=2),
    )
    assert netlink.dump(18, b"") == []
    assert len(kernel.sent) == 2


def test_dump_that_never_holds_still_is_an_error(ask: t.Callable[..., t.Any]) -> None:
    netlink, _kernel = ask(*(message(core.NLMSG_DONE, DONE, core.NLM_F_DUMP_INTR, seq=n) for n in range(1, 9)))
    with pytest.raises(core.NetlinkError) as caught:
        netlink.dump(18, b"")
    assert caught.value.errno == errno.EAGAIN


def test_overrun_begins_again_with_a_new_socket(ask: t.Callable[..., t.Any]) -> None:
    netlink, kernel = ask(
        message(16, b"lost"),
        OSError(errno.ENOBUFS, "no buffer space"),
        message(16, b"all", seq=2) + message(core.NLMSG_DONE, DONE, seq=2),
    )
    assert [m.payload for m in netlink.dump(18, b"")] == [b"all"]
    assert kernel.closed == 1


def test_cut_off_datagram_is_refused(ask: t.Callable[..., t.Any]) -> None:
    netlink, _kernel = ask((message(16, b"part"), socket.MSG_TRUNC, 0))
    with pytest.raises(core.Malformed):
        netlink.dump(18, b"")


@pytest.mark.parametrize("capped", [True, False])
def test_refusal_carries_the_kernels_own_text(ask: t.Callable[..., t.Any], capped: bool) -> None:
    request = message(16, b"12345")
    echoed = request[:16] if capped else request
    tlv = core.pack_attribute(core.NLMSGERR_ATTR_MSG, b"mtu greater than device maximum\0")
    flags = core.NLM_F_ACK_TLVS | (core.NLM_F_CAPPED if capped else 0)
    netlink, kernel = ask(message(core.NLMSG_ERROR, struct.pack("=i", -errno.EINVAL) + echoed + tlv, flags))
    with pytest.raises(core.NetlinkError, match="mtu greater than device maximum") as caught:
        netlink.change(16, b"")
    assert caught.value.errno == errno.EINVAL
    assert len(kernel.sent) == 1, "a change is never sent twice"


def test_refusal_without_text(ask: t.Callable[..., t.Any]) -> None:
    netlink, _kernel = ask(message(core.NLMSG_ERROR, struct.pack("=i", -errno.EPERM) + b"\0" * 16))
    with pytest.raises(core.NetlinkError) as caught:
        netlink.change(16, b"")
    assert caught.value.errno == errno.EPERM


def test_dump_that_ends_with_an_error_is_one(ask: t.Callable[..., t.Any]) -> None:
    netlink, _kernel = ask(message(16, b"part") + message(core.NLMSG_DONE, struct.pack("=i", -errno.ENODEV)))
    with pytest.raises(core.NetlinkError) as caught:
        netlink.dump(18, b"")
    assert caught.value.errno == errno.ENODEV


def test_acknowledgement_is_success(ask: t.Callable[..., t.Any]) -> None:
    netlink, kernel = ask(message(core.NLMSG_ERROR, struct.pack("=i", 0) + b"\0" * 16))
    netlink.change(16, b"payload")
    sent = next(core.parse_messages(kernel.sent[0]))
    assert sent.flags == core.NLM_F_REQUEST | core.NLM_F_ACK
    assert sent.payload == b"payload"
