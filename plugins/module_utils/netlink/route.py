# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links, addresses and routes of the host, and the one change to a link that the collection makes: its MTU.

Pure parsers (parse_link, parse_address, parse_route) beside the readers that feed them.

Sources: rtnetlink(7), include/uapi/linux/{rtnetlink,if_link,if_addr}.h, Documentation/netlink/specs/rt-link.yaml.
"""

from __future__ import annotations

import dataclasses
import errno
import socket
import struct
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.netlink.core import (
    NETLINK_ROUTE,
    Malformed,
    NetlinkError,
    Socket,
    attribute_map,
    number,
    pack_attribute,
    parse_attributes,
    text,
)

RTM_NEWLINK = 16
RTM_GETLINK = 18
RTM_NEWADDR = 20
RTM_GETADDR = 22
RTM_NEWROUTE = 24
RTM_GETROUTE = 26

RT_TABLE_MAIN = 254
RTN_UNICAST = 1
RTM_F_CLONED = 0x200
RTEXT_FILTER_SKIP_STATS = 8

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER = 1, 3, 4, 5, 10
IFLA_OPERSTATE, IFLA_LINKINFO, IFLA_EXT_MASK, IFLA_LINK_NETNSID = 16, 18, 29, 37
IFLA_MIN_MTU, IFLA_MAX_MTU = 50, 51
IFLA_INFO_KIND = 1
IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_METRICS, RTA_MULTIPATH, RTA_TABLE, RTA_VIA = 1, 4, 5, 6, 8, 9, 15, 18
RTAX_MTU = 2

OPERSTATES = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")
IFF_UP = 0x1

_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")
_NEXTHOP = struct.Struct("=HBBi")


@dataclasses.dataclass(frozen=True)
class Link:
    """One network interface. kind is what the kernel calls it (IFLA_INFO_KIND) and None for a device of a driver.

    type is the ARPHRD number (1 Ethernet, 772 loopback, 65534 none). master and link are interface indexes;
    link is None where it is in another network namespace. min_mtu and max_mtu are None on kernels before 4.19 and
    where the driver sets none (0).
    """

    index: int
    name: str
    type: int
    flags: int
    mtu: int
    min_mtu: int | None
    max_mtu: int | None
    mac: str | None
    operstate: str
    kind: str | None
    master: int | None
    link: int | None

    @property
    def up(self) -> bool:
        """Whether the administrator set it up; whether it carries, operstate says."""
        return bool(self.flags & IFF_UP)


@dataclasses.dataclass(frozen=True)
class Address:
    """One address of an interface: the local one where it has a peer. scope 0 is global, 253 link, 254 host."""

    index: int
    family: int
    address: str
    prefix: int
    scope: int
    flags: int


@dataclasses.dataclass(frozen=True)
class Route:
    """One next hop of a unicast route; a multipath route gives several. dst is "default" or a prefix "10.0.0.0/24"."""

    family: int
    dst: str
    gateway: str | None
    interface: int | None
    mtu: int | None
    metric: int
    table: int


def parse_link(payload: bytes) -> Link:
    """Link of one RTM_NEWLINK message; raises Malformed."""
    _family, kind, index, flags, _change = _head(_IFINFO, payload)
    attributes = attribute_map(payload[_IFINFO.size :])
    info = attribute_map(attributes.get(IFLA_LINKINFO, b""))
    mac = attributes.get(IFLA_ADDRESS, b"")
    state = number(attributes[IFLA_OPERSTATE], 1) if IFLA_OPERSTATE in attributes else 0
    return Link(
        index=index,
        name=text(attributes[IFLA_IFNAME]) if IFLA_IFNAME in attributes else "",
        type=kind,
        flags=flags,
        mtu=_u32(attributes, IFLA_MTU) or 0,
        min_mtu=_u32(attributes, IFLA_MIN_MTU) or None,
        max_mtu=_u32(attributes, IFLA_MAX_MTU) or None,
        mac=mac.hex(":") if mac else None,
        operstate=OPERSTATES[state] if state < len(OPERSTATES) else "unknown",
        kind=text(info[IFLA_INFO_KIND]) if IFLA_INFO_KIND in info else None,
        master=_u32(attributes, IFLA_MASTER) or None,
        link=None if IFLA_LINK_NETNSID in attributes else _u32(attributes, IFLA_LINK) or None,
    )


def parse_address(payload: bytes) -> Address | None:
    """Address of one RTM_NEWADDR message, None for a family other than IP; raises Malformed."""
    family, prefix, flags, scope, index = _head(_IFADDR, payload)
    attributes = attribute_map(payload[_IFADDR.size :])
    raw = attributes.get(IFA_LOCAL, attributes.get(IFA_ADDRESS))
    if family not in (socket.AF_INET, socket.AF_INET6) or raw is None:
        return None
    wide = _u32(attributes, IFA_FLAGS)
    return Address(index, family, _ip(family, raw), prefix, scope, flags if wide is None else wide)


def parse_route(payload: bytes) -> list[Route]:
    """Next hops of one RTM_NEWROUTE message; empty where it is no unicast route or a cached one; raises Malformed."""
    family, length, _src, _tos, table8, _protocol, _scope, kind, flags = _head(_RTMSG, payload)
    if family not in (socket.AF_INET, socket.AF_INET6) or kind != RTN_UNICAST or flags & RTM_F_CLONED:
        return []
    attributes = attribute_map(payload[_RTMSG.size :])
    dst = f"{_ip(family, attributes[RTA_DST])}/{length}" if RTA_DST in attributes and length else "default"
    table = _u32(attributes, RTA_TABLE)
    metrics = attribute_map(attributes.get(RTA_METRICS, b""))

    def hop(hop_attributes: t.Mapping[int, bytes], interface: int | None) -> Route:
        return Route(
            family=family,
            dst=dst,
            gateway=_gateway(family, hop_attributes),
            interface=interface,
            mtu=_u32(metrics, RTAX_MTU),
            metric=_u32(attributes, RTA_PRIORITY) or 0,
            table=table8 if table is None else table,
        )

    if RTA_MULTIPATH not in attributes:
        return [hop(attributes, _u32(attributes, RTA_OIF))]
    return [hop(found, index) for index, found in _nexthops(attributes[RTA_MULTIPATH])]


def links() -> list[Link]:
    """All links of this network namespace, in the kernel's order; raises NetlinkError."""
    payload = _IFINFO.pack(0, 0, 0, 0, 0) + pack_attribute(IFLA_EXT_MASK, struct.pack("=I", RTEXT_FILTER_SKIP_STATS))
    with Socket(NETLINK_ROUTE) as netlink:
        return [parse_link(m.payload) for m in netlink.dump(RTM_GETLINK, payload) if m.kind == RTM_NEWLINK]


def link(name: str) -> Link:
    """The link of that name; raises NetlinkError with ENODEV where there is none."""
    for found in links():
        if found.name == name:
            return found
    raise NetlinkError(errno.ENODEV, f"no interface {name}")


def addresses() -> list[Address]:
    """All IPv4 and IPv6 addresses of this network namespace; raises NetlinkError."""
    with Socket(NETLINK_ROUTE) as netlink:
        answer = netlink.dump(RTM_GETADDR, _IFADDR.pack(0, 0, 0, 0, 0))
    parsed = (parse_address(m.payload) for m in answer if m.kind == RTM_NEWADDR)
    return [address for address in parsed if address is not None]


def routes(table: int = RT_TABLE_MAIN) -> list[Route]:
    """The unicast routes of one table, IPv4 first; raises NetlinkError.

    IPv6 is asked for by itself, and left out where the kernel has none.
    """
    result: list[Route] = []
    with Socket(NETLINK_ROUTE) as netlink:
        for family in (socket.AF_INET, socket.AF_INET6):
            request = _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0) + pack_attribute(RTA_TABLE, struct.pack("=I", table))
            try:
                answer = netlink.dump(RTM_GETROUTE, request)
            except NetlinkError as error:
                # ENOENT: no such table in this family; EOPNOTSUPP: no such family
                if error.errno in (errno.ENOENT, errno.EOPNOTSUPP, errno.EAFNOSUPPORT):
                    continue
                raise
            for message in answer:
                if message.kind == RTM_NEWROUTE:
                    result += [route for route in parse_route(message.payload) if route.table == table]
    return result


def mtu_request(index: int, mtu: int) -> bytes:
    """Payload of the RTM_NEWLINK that sets the MTU of the link with that index (pure)."""
    return _IFINFO.pack(socket.AF_UNSPEC, 0, index, 0, 0) + pack_attribute(IFLA_MTU, struct.pack("=I", mtu))


def set_link_mtu(interface: int | str, mtu: int) -> None:
    """Sets the MTU (bytes) of an interface given by index or name.

    Raises NetlinkError: ENODEV for an unknown interface, EINVAL with the kernel's text for an MTU outside its limits,
    EPERM without CAP_NET_ADMIN. It does not say so where the MTU was already that.
    """
    index = interface if isinstance(interface, int) else _index(interface)
    with Socket(NETLINK_ROUTE) as netlink:
        netlink.change(RTM_NEWLINK, mtu_request(index, mtu))


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError as error:
        raise NetlinkError(errno.ENODEV, f"no interface {name}") from error


def _head(layout: struct.Struct, payload: bytes) -> tuple[t.Any, ...]:
    if len(payload) < layout.size:
        raise Malformed(f"a header of {layout.size} bytes was expected, {len(payload)} are there")
    return layout.unpack_from(payload)


def _u32(attributes: t.Mapping[int, bytes], kind: int) -> int | None:
    return number(attributes[kind], 4) if kind in attributes else None


def _ip(family: int, raw: bytes) -> str:
    if len(raw) != (4 if family == socket.AF_INET else 16):
        raise Malformed(f"an address of {len(raw)} bytes")
    return socket.inet_ntop(family, raw)


def _gateway(family: int, attributes: t.Mapping[int, bytes]) -> str | None:
    if RTA_GATEWAY in attributes:
        return _ip(family, attributes[RTA_GATEWAY])
    if RTA_VIA in attributes:  # a gateway of the other family: u16 family, then the address
        via = attributes[RTA_VIA]
        if len(via) < 2:
            raise Malformed("RTA_VIA without its family")
        return _ip(number(via[:2], 2), via[2:])
    return None


def _nexthops(data: bytes) -> t.Iterator[tuple[int, dict[int, bytes]]]:
    """(interface index, attributes) of each struct rtnexthop."""
    offset = 0
    while offset < len(data):
        if len(data) - offset < _NEXTHOP.size:
            raise Malformed("a cut-off next hop")
        length, _flags, _hops, index = _NEXTHOP.unpack_from(data, offset)
        if length < _NEXTHOP.size or offset + length > len(data):
            raise Malformed(f"next hop says {length} bytes, {len(data) - offset} are there")
        yield index, dict(parse_attributes(data[offset + _NEXTHOP.size : offset + length]))
        offset += (length + 3) & ~3
