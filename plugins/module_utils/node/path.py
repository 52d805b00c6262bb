# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof that packets of a size pass through one interface to a target and back, without fragmentation.

ICMP echo with DF set (IP_PMTUDISC_PROBE: what the kernel remembers of the path's MTU is ignored), sent through the
interface by SO_BINDTODEVICE. A host answers an echo without DF, so the way back is proved by IP_RECVFRAGSIZE: it
tells how large the largest fragment was of a reply that came in pieces.

Sources: ip(7), raw(7), icmp(7), RFC 792, RFC 1191; include/uapi/linux/in.h.
"""

from __future__ import annotations

import dataclasses
import errno
import ipaddress
import os
import select
import socket
import struct
import time
import typing as t

IP_MTU_DISCOVER = 10
IP_PMTUDISC_PROBE = 3
IP_RECVFRAGSIZE = 25
SOL_RAW = 255
ICMP_FILTER = 1

ECHO_REPLY, UNREACHABLE, ECHO = 0, 3, 8
FRAGMENTATION_NEEDED = 4

IP_HEADER = 20
_ICMP = struct.Struct("!BBHHH")
_NONCE = 16
MIN_SIZE = 68  # what every IPv4 link carries
MAX_SIZE = 65535
_GAP = 0.002  # seconds between sends, so that 64 probes of 9000 bytes are no burst


@dataclasses.dataclass
class Probe:
    """The result for one target. error says why a packet was not sent or did not arrive, where something said so."""

    target: str
    sent: bool = False
    answered: bool = False
    forward_ok: bool = False
    reply_fragment_size: int | None = None
    backward_ok: bool = False
    error: str | None = None

    def to_dict(self) -> dict[str, t.Any]:
        return dataclasses.asdict(self)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pack_echo(identifier: int, sequence: int, nonce: bytes, size: int) -> bytes:
    """ICMP echo request whose IPv4 packet has exactly size bytes."""
    body = nonce + b"\xa5" * (size - IP_HEADER - _ICMP.size - len(nonce))
    head = _ICMP.pack(ECHO, 0, 0, identifier, sequence)
    return _ICMP.pack(ECHO, 0, checksum(head + body), identifier, sequence) + body


@dataclasses.dataclass(frozen=True)
class Reply:
    """What an ICMP packet says about our probes: of kind "echo" or "error"."""

    kind: str
    sequence: int
    length: int = 0  # bytes of the whole IPv4 packet
    error: str = ""


def parse_packet(packet: bytes, identifier: int, nonce: bytes) -> Reply | None:
    """What an IPv4 packet from a raw ICMP socket means for the probes with that identifier and nonce; None: nothing."""
    header = (packet[0] & 0xF) * 4 if packet else 0
    if header < IP_HEADER or len(packet) < header + _ICMP.size:
        return None
    kind, code, _sum, ident, sequence = _ICMP.unpack_from(packet, header)
    body = packet[header + _ICMP.size :]
    if kind == ECHO_REPLY:
        if ident != identifier or body[: len(nonce)] != nonce:
            return None
        return Reply("echo", sequence, length=len(packet))
    if kind != UNREACHABLE:
        return None
    inner = (body[0] & 0xF) * 4 if body else 0  # the packet that could not be delivered follows, at least 8 bytes of it
    if inner < IP_HEADER or len(body) < inner + _ICMP.size:
        return None
    inner_kind, _code, _sum, ident, lost = _ICMP.unpack_from(body, inner)
    if inner_kind != ECHO or ident != identifier:
        return None
    sender = socket.inet_ntoa(packet[12:16])
    if code == FRAGMENTATION_NEEDED:
        return Reply("error", lost, error=f"{sender} says that the next link takes {sequence} bytes at most")
    return Reply("error", lost, error=f"{sender} says that the target is unreachable (ICMP code {code})")


def probe(
    interface: str, targets: t.Sequence[str], size: int, count: int = 3, timeout: float = 1.0
) -> list[dict[str, t.Any]]:
    """Results of Probe.to_dict() for each target, in their order.

    Sends at most count packets to each target, all targets at once; after each round it waits timeout seconds for
    those that have not answered. size is the IPv4 packet's (the MTU to prove). Never raises for what the network or
    the host answers; ValueError where size or count are out of range.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size is {size}, it must be from {MIN_SIZE} to {MAX_SIZE}")
    if count < 1:
        raise ValueError(f"count is {count}, it must be 1 or more")
    probes = [Probe(target, error=_refusal(target)) for target in targets]
    open_probes = {number: found for number, found in enumerate(probes) if found.error is None}
    if open_probes:
        try:
            with _open(interface) as raw:
                _run(raw, open_probes, size, count, timeout)
        except OSError as error:
            for found in open_probes.values():
                if not found.answered:
                    found.error = found.error or f"{interface}: {error.strerror or error}"
    return [found.to_dict() for found in probes]


def _refusal(target: str) -> str | None:
    try:
        version = ipaddress.ip_address(target).version
    except ValueError:
        return f"{target} is no IP address"
    return "IPv6 is not in this version" if version == 6 else None


def _open(interface: str) -> socket.socket:
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMP)
    try:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        raw.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        raw.setsockopt(socket.IPPROTO_IP, IP_RECVFRAGSIZE, 1)
        wanted = (1 << ECHO_REPLY) | (1 << UNREACHABLE)
        raw.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("=I", ~wanted & 0xFFFFFFFF))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        raw.setblocking(False)
    except BaseException:
        raw.close()
        raise
    return raw


def _run(raw: socket.socket, probes: t.Mapping[int, Probe], size: int, count: int, timeout: float) -> None:
    identifier = int.from_bytes(os.urandom(2), "big")
    nonce = os.urandom(_NONCE)
    for _round in range(count):
        waiting = {number for number, found in probes.items() if not found.answered}
        for number in sorted(waiting):
            _send(raw, probes[number], pack_echo(identifier, number & 0xFFFF, nonce, size))
            _receive(raw, probes, waiting, identifier, nonce, size, time.monotonic() + _GAP)
        waiting = {number for number in waiting if probes[number].sent}
        _receive(raw, probes, waiting, identifier, nonce, size, time.monotonic() + timeout)
        if not waiting:
            return
    for found in probes.values():
        if found.sent and not found.answered and found.error is None:
            found.error = f"no answer to {count} packets of {size} bytes"


def _send(raw: socket.socket, found: Probe, packet: bytes) -> None:
    try:
        raw.sendto(packet, (found.target, 0))
        found.sent = True
    except OSError as error:
        if error.errno == errno.EMSGSIZE:
            found.error = f"packets of {len(packet) + IP_HEADER} bytes are larger than the MTU of the interface"
        else:
            found.error = error.strerror or str(error)


def _receive(
    raw: socket.socket,
    probes: t.Mapping[int, Probe],
    waiting: set[int],
    identifier: int,
    nonce: bytes,
    size: int,
    until: float,
) -> None:
    """Takes replies until that time (monotonic) or until waiting, from which it takes who answered, is empty."""
    while waiting:
        left = until - time.monotonic()
        if left <= 0 or not select.select([raw], [], [], left)[0]:
            return
        try:
            packet, ancillary, _flags, sender = raw.recvmsg(1 << 16, 64)
        except BlockingIOError:
            continue
        reply = parse_packet(packet, identifier, nonce)
        found = probes.get(reply.sequence) if reply else None
        if reply is None or found is None:
            continue
        if reply.kind == "error":
            found.error = found.error or reply.error
        elif sender[0] == found.target:
            _judge(found, reply, _fragment_size(ancillary), size)
            waiting.discard(reply.sequence)


def _judge(found: Probe, reply: Reply, fragment: int | None, size: int) -> None:
    found.answered = True
    found.forward_ok = True  # it had DF set: what arrived there arrived whole
    found.reply_fragment_size = fragment
    found.backward_ok = fragment is None and reply.length == size
    if fragment is not None:
        found.error = f"the reply came in fragments of at most {fragment} bytes"
    elif reply.length != size:
        found.error = f"the reply has {reply.length} bytes, not {size}"
    else:
        found.error = None


def _fragment_size(ancillary: t.Sequence[tuple[int, int, bytes]]) -> int | None:
    """Largest fragment of the packet, None where it came whole (the kernel then says nothing)."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == IP_RECVFRAGSIZE and len(data) >= 4:
            return int(struct.unpack_from("=i", data)[0]) or None
    return None
