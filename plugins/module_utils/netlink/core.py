# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Netlink: messages and attributes to and from bytes, and one socket that asks the kernel.

The functions that pack and parse are pure; only Socket touches the kernel. Parsing is strict: a length that does
not fit raises Malformed, since half an answer read as a whole one would be a wrong observation.

Sources: netlink(7), include/uapi/linux/netlink.h, Documentation/userspace-api/netlink/intro.rst of Linux.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
import typing as t

NETLINK_ROUTE = 0
NETLINK_GENERIC = 16

NLM_F_REQUEST = 0x1
NLM_F_MULTI = 0x2
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_DUMP = 0x300
NLM_F_CAPPED = 0x100  # on an error: the request is not echoed after its header
NLM_F_ACK_TLVS = 0x200  # on an error: attributes follow

NLMSG_NOOP = 1
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSG_OVERRUN = 4

NLMSGERR_ATTR_MSG = 1

NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

SOL_NETLINK = 270
NETLINK_CAP_ACK = 10
NETLINK_EXT_ACK = 11
NETLINK_GET_STRICT_CHK = 12

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_INT = struct.Struct("=i")
_BUFFER = 1 << 17  # the kernel fills at most 32 kB per datagram of a dump
_TRIES = 5


class Malformed(ValueError):
    """Bytes that are not what the kernel's headers say: a length that is too small, too large or cut off."""


class NetlinkError(OSError):
    """The kernel refused a request. errno as usual; strerror carries the kernel's own text where it gave one."""


class Interrupted(Exception):
    """What a dump reads changed while it was read (NLM_F_DUMP_INTR); the answer may be inconsistent."""


class Message(t.NamedTuple):
    """One netlink message: type, flags, sequence number, port id, and the bytes after the header."""

    kind: int
    flags: int
    seq: int
    port: int
    payload: bytes


def align(length: int) -> int:
    """Length rounded up to netlink's four bytes."""
    return (length + 3) & ~3


def pack_attribute(kind: int, value: bytes) -> bytes:
    """One attribute with its padding."""
    length = _ATTRIBUTE.size + len(value)
    if length > 0xFFFF:
        raise ValueError(f"attribute {kind} of {len(value)} bytes does not fit its 16-bit length")
    return _ATTRIBUTE.pack(length, kind) + value + b"\0" * (align(length) - length)


def pack_message(kind: int, flags: int, seq: int, payload: bytes) -> bytes:
    """One message with its padding, sent by port 0 (the kernel fills in ours)."""
    length = _HEADER.size + len(payload)
    return _HEADER.pack(length, kind, flags, seq, 0) + payload + b"\0" * (align(length) - length)


def parse_messages(data: bytes) -> t.Iterator[Message]:
    """Yields the messages of one datagram; raises Malformed where a length does not fit."""
    offset = 0
    while offset < len(data):
        if len(data) - offset < _HEADER.size:
            raise Malformed(f"{len(data) - offset} bytes are left, a message header has {_HEADER.size}")
        length, kind, flags, seq, port = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            raise Malformed(f"message says {length} bytes, {len(data) - offset} are there")
        yield Message(kind, flags, seq, port, data[offset + _HEADER.size : offset + length])
        offset += align(length)


def parse_attributes(data: bytes) -> t.Iterator[tuple[int, bytes]]:
    """Yields (type without flags, value) of each attribute in order; raises Malformed where a length does not fit."""
    offset = 0
    while offset < len(data):
        if len(data) - offset < _ATTRIBUTE.size:
            raise Malformed(f"{len(data) - offset} bytes are left, an attribute header has {_ATTRIBUTE.size}")
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size or offset + length > len(data):
            raise Malformed(f"attribute {kind & NLA_TYPE_MASK} says {length} bytes, {len(data) - offset} are there")
        yield kind & NLA_TYPE_MASK, data[offset + _ATTRIBUTE.size : offset + length]
        offset += align(length)


def attribute_map(data: bytes) -> dict[int, bytes]:
    """Attributes by type; of a type given twice the last one stays (as nla_parse() of the kernel does)."""
    return dict(parse_attributes(data))


def number(value: bytes, size: int) -> int:
    """An unsigned number of exactly `size` bytes in the machine's order; raises Malformed on another length."""
    if len(value) != size:
        raise Malformed(f"a number of {size} bytes was expected, {len(value)} are there")
    return int.from_bytes(value, sys.byteorder)


def text(value: bytes) -> str:
    """A string with its closing zero, if any, taken off."""
    return value.split(b"\0", 1)[0].decode("utf-8", "replace")


def raise_error(message: Message) -> None:
    """Raises NetlinkError where an NLMSG_ERROR or NLMSG_DONE message carries an error; returns on success (0)."""
    if len(message.payload) < _INT.size:
        if message.kind == NLMSG_DONE:
            return  # an end without a status, as older kernels send it
        raise Malformed("an error message without its error number")
    (code,) = _INT.unpack_from(message.payload)
    if code >= 0:
        return
    reason = os.strerror(-code)
    said = _error_text(message)
    raise NetlinkError(-code, f"{reason}: {said}" if said else reason)


def _error_text(message: Message) -> str:
    """The kernel's own text in an error message (extended acknowledgement), or ""."""
    if not message.flags & NLM_F_ACK_TLVS:
        return ""
    offset = _INT.size
    if message.kind == NLMSG_ERROR:  # the request's header follows, and the whole request unless capped
        if len(message.payload) < offset + _HEADER.size:
            return ""
        (length,) = struct.unpack_from("=I", message.payload, offset)
        offset += _HEADER.size if message.flags & NLM_F_CAPPED else align(length)
    try:
        return text(attribute_map(message.payload[offset:]).get(NLMSGERR_ATTR_MSG, b""))
    except Malformed:
        return ""  # the error number is what counts; its text is a help


class Socket:
    """A netlink socket for one protocol (NETLINK_ROUTE, NETLINK_GENERIC); a context manager, for one thread."""

    def __init__(self, protocol: int, timeout: float = 10.0) -> None:
        self._protocol = protocol
        self._timeout = timeout
        self._seq = 0
        self._socket = self._open()

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def change(self, kind: int, payload: bytes, flags: int = 0) -> None:
        """Sends a request and waits for its acknowledgement. Never repeated; raises NetlinkError on refusal."""
        self._send(kind, flags | NLM_F_ACK, payload)
        self._receive()

    def ask(self, kind: int, payload: bytes) -> list[Message]:
        """The answer to a question that is no dump, without its acknowledgement; raises NetlinkError on refusal."""
        self._send(kind, NLM_F_ACK, payload)
        return self._receive()

    def dump(self, kind: int, payload: bytes) -> list[Message]:
        """All messages of a dump, repeated where it was interrupted or the socket's buffer overran.

        Raises NetlinkError on refusal, or with EAGAIN where five tries gave no consistent answer.
        """
        for _try in range(_TRIES):
            try:
                self._send(kind, NLM_F_DUMP, payload)
                return self._receive()
            except Interrupted:
                continue
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._socket.close()  # what was lost cannot be told; begin again with an empty buffer
                self._socket = self._open()
        raise NetlinkError(errno.EAGAIN, f"the kernel's tables changed during each of {_TRIES} dumps")

    def _open(self) -> socket.socket:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, self._protocol)
        try:
            opened.settimeout(self._timeout)
            opened.bind((0, 0))
            for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
                # An older kernel may lack one: then errors have no text, dumps are not filtered; we filter ourselves.
                with contextlib.suppress(OSError):
                    opened.setsockopt(SOL_NETLINK, option, 1)
        except BaseException:
            opened.close()
            raise
        return opened

    def _send(self, kind: int, flags: int, payload: bytes) -> None:
        self._seq += 1
        self._socket.sendto(pack_message(kind, flags | NLM_F_REQUEST, self._seq, payload), (0, 0))

    def _receive(self) -> list[Message]:
        """The answer to the last request: until its acknowledgement, or the end of its dump."""
        answer: list[Message] = []
        interrupted = False
        while True:
            # Python itself repeats a call that a signal cut off (EINTR, PEP 475).
            data, _ancillary, flags, sender = self._socket.recvmsg(_BUFFER)
            if flags & socket.MSG_TRUNC:
                raise Malformed(f"a datagram of more than {_BUFFER} bytes")
            if sender[0] != 0:
                continue  # not from the kernel
            for message in parse_messages(data):
                if message.seq != self._seq:
                    continue  # left over from a request that was given up
                interrupted |= bool(message.flags & NLM_F_DUMP_INTR)
                if message.kind in (NLMSG_ERROR, NLMSG_DONE):
                    raise_error(message)
                    if interrupted:
                        raise Interrupted
                    return answer
                if message.kind == NLMSG_OVERRUN:
                    raise NetlinkError(errno.ENOBUFS, "netlink overrun")
                if message.kind != NLMSG_NOOP:
                    answer.append(message)
