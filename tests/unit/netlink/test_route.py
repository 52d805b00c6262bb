# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links, addresses and routes from bytes that pyroute2 encoded: an encoder that shares nothing with our parser."""

from __future__ import annotations

import socket
import typing as t

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from ansible_collections.aicluster.zerotrust.plugins.module_utils.netlink import core, route


def encode(message: t.Any, attributes: t.Sequence[tuple[str, t.Any]], **fields: t.Any) -> bytes:
    """Payload of one message, without netlink's header."""
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = list(attributes)
    message.encode()
    return bytes(message.data)[16:]


def test_link() -> None:
    payload = encode(
        ifinfmsg(),
        [
            ("IFLA_IFNAME", "vlan100"),
            ("IFLA_MTU", 9000),
            ("IFLA_MIN_MTU", 0),
            ("IFLA_MAX_MTU", 65535),
            ("IFLA_ADDRESS", "02:fc:00:00:00:01"),
            ("IFLA_OPERSTATE", "UP"),
            ("IFLA_LINK", 4),
            ("IFLA_MASTER", 7),
            ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "vlan"), ("IFLA_INFO_DATA", {"attrs": []})]}),
        ],
        index=12,
        ifi_type=1,
        flags=0x1043,
    )
    link = route.parse_link(payload)
    assert link == route.Link(12, "vlan100", 1, 0x1043, 9000, None, 65535, "02:fc:00:00:00:01", "up", "vlan", 7, 4)
    assert link.up


def test_link_of_another_namespace_has_no_link() -> None:
    payload = encode(
        ifinfmsg(), [("IFLA_IFNAME", "eth0"), ("IFLA_LINK", 4), ("IFLA_LINK_NETNSID", 0)], index=2, ifi_type=1
    )
    link = route.parse_link(payload)
    assert link.link is None
    assert not link.up


def test_address_with_a_peer_is_the_local_one() -> None:
    payload = encode(
        ifaddrmsg(),
        [("IFA_ADDRESS", "10.0.0.2"), ("IFA_LOCAL", "10.0.0.1"), ("IFA_FLAGS", 0x200)],
        family=socket.AF_INET,
        prefixlen=32,
        index=3,
        scope=0,
    )
    assert route.parse_address(payload) == route.Address(3, socket.AF_INET, "10.0.0.1", 32, 0, 0x200)


def test_address_v6() -> None:
    payload = encode(
        ifaddrmsg(), [("IFA_ADDRESS", "fd00::1")], family=socket.AF_INET6, prefixlen=64, index=3, scope=253
    )
    assert route.parse_address(payload) == route.Address(3, socket.AF_INET6, "fd00::1", 64, 253, 0)


def test_address_of_another_family_is_left_out() -> None:
    assert route.parse_address(encode(ifaddrmsg(), [], family=17, prefixlen=8, index=1)) is None


def test_default_route_with_mtu() -> None:
    payload = encode(
        rtmsg(),
        [
            ("RTA_TABLE", 254),
            ("RTA_GATEWAY", "192.0.2.1"),
            ("RTA_OIF", 4),
            ("RTA_PRIORITY", 100),
            ("RTA_METRICS", {"attrs": [("RTAX_MTU", 1400)]}),
        ],
        family=socket.AF_INET,
        dst_len=0,
        table=254,
        type=1,
    )
    assert route.parse_route(payload) == [route.Route(socket.AF_INET, "default", "192.0.2.1", 4, 1400, 100, 254)]


def test_table_above_255_is_in_its_attribute() -> None:
    payload = encode(
        rtmsg(),
        [("RTA_TABLE", 2004), ("RTA_DST", "10.1.0.0"), ("RTA_OIF", 4)],
        family=socket.AF_INET,
        dst_len=16,
        table=252,
        type=1,
    )
    assert route.parse_route(payload) == [route.Route(socket.AF_INET, "10.1.0.0/16", None, 4, None, 0, 2004)]


def test_multipath_gives_each_next_hop() -> None:
    payload = encode(
        rtmsg(),
        [
            ("RTA_TABLE", 254),
            ("RTA_DST", "10.1.0.0"),
            (
                "RTA_MULTIPATH",
                [
                    {"hops": 0, "oif": 4, "attrs": [("RTA_GATEWAY", "192.0.2.1")]},
                    {"hops": 0, "oif": 5, "attrs": [("RTA_GATEWAY", "192.0.2.9")]},
                ],
            ),
        ],
        family=socket.AF_INET,
        dst_len=16,
        table=254,
        type=1,
    )
    hops = [(found.gateway, found.interface) for found in route.parse_route(payload)]
    assert hops == [("192.0.2.1", 4), ("192.0.2.9", 5)]


def test_v4_over_a_v6_gateway() -> None:
    payload = encode(
        rtmsg(),
        [("RTA_DST", "10.1.0.0"), ("RTA_OIF", 4), ("RTA_VIA", {"family": socket.AF_INET6, "addr": "fe80::1"})],
        family=socket.AF_INET,
        dst_len=16,
        table=254,
        type=1,
    )
    assert route.parse_route(payload)[0].gateway == "fe80::1"


@pytest.mark.parametrize("fields", [{"type": 2}, {"type": 6}, {"type": 1, "flags": route.RTM_F_CLONED}])
def test_local_blackhole_and_cached_routes_are_none(fields: dict[str, int]) -> None:
    payload = encode(rtmsg(), [("RTA_DST", "10.1.0.1")], family=socket.AF_INET, dst_len=32, table=254, **fields)
    assert route.parse_route(payload) == []


def test_mtu_request_is_what_pyroute2_encodes() -> None:
    theirs = encode(ifinfmsg(), [("IFLA_MTU", 9000)], index=12)
    assert route.mtu_request(12, 9000) == theirs


@pytest.mark.parametrize("parse", [route.parse_link, route.parse_address, route.parse_route])
def test_cut_off_header_is_refused(parse: t.Callable[[bytes], object]) -> None:
    with pytest.raises(core.Malformed):
        parse(b"\x02\x00\x00")


def test_next_hop_that_is_too_long_is_refused() -> None:
    payload = encode(rtmsg(), [], family=socket.AF_INET, dst_len=0, table=254, type=1)
    bad = core.pack_attribute(route.RTA_MULTIPATH, b"\xff\x00\x00\x00\x04\x00\x00\x00")
    with pytest.raises(core.Malformed):
        route.parse_route(payload + bad)
