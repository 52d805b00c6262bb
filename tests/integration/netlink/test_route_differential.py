# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links, addresses and routes: ours against `ip -j` and pyroute2; MTU changes; path probes over a narrow path."""

from __future__ import annotations

import errno
import re
import socket
import typing as t

from ansible_collections.aicluster.zerotrust.tests.integration.netlink.conftest import Namespace

Make = t.Callable[[str], Namespace]


def furnish(namespace: Namespace) -> None:
    """Interfaces, addresses and routes of many kinds."""
    for arguments in (
        "link add br0 type bridge",
        "link add veth0 mtu 1450 type veth peer name veth1",
        "link set veth1 master br0",
        "link set br0 up",
        "link set veth0 up",
        "link set veth1 up",
        "address add 10.0.0.1/24 dev veth0",
        "address add 10.0.9.1 peer 10.0.9.2/32 dev veth0",
        "address add fd00::1/64 dev veth0 nodad",
        "route add default via 10.0.0.254 dev veth0 metric 100",
        "route add 10.1.0.0/16 via 10.0.0.253 dev veth0 mtu 1400",
        "route add 10.2.0.0/16 nexthop via 10.0.0.2 dev veth0 nexthop via 10.0.0.3 dev veth0",
        "route add 10.3.0.0/16 via inet6 fd00::9 dev veth0",
        "route add blackhole 10.4.0.0/16",
        "route add 10.5.0.0/16 dev veth0 table 2004",
        "-6 route add default via fd00::fe dev veth0",
        "-6 route add fd01::/48 via fd00::2 dev veth0 mtu 1300",
    ):
        namespace.ip(arguments)


def test_links_equal_ip(namespaces: Make) -> None:
    namespace = namespaces("a")
    furnish(namespace)
    theirs = namespace.ip_json("link show")
    ours = {link["name"]: link for link in namespace.python("route.links()")}
    names = {link["ifindex"]: link["ifname"] for link in theirs}
    assert set(ours) == {link["ifname"] for link in theirs}
    for link in theirs:
        found = ours[link["ifname"]]
        assert found["index"] == link["ifindex"]
        assert found["mtu"] == link["mtu"]
        assert (found["min_mtu"] or 0, found["max_mtu"] or 0) == (link.get("min_mtu", 0), link.get("max_mtu", 0))
        assert found["operstate"].upper() == link["operstate"]
        assert found["mac"] == link.get("address")
        assert found["kind"] == link.get("linkinfo", {}).get("info_kind")
        assert names.get(found["master"]) == link.get("master")
        assert names.get(found["link"]) == link.get("link")
        assert bool(found["flags"] & 1) == ("UP" in link["flags"])
    assert ours["veth1"]["master"] == ours["br0"]["index"]


def test_addresses_equal_ip(namespaces: Make) -> None:
    namespace = namespaces("a")
    furnish(namespace)
    theirs = {
        (link["ifindex"], info["local"], info["prefixlen"], info["scope"])
        for link in namespace.ip_json("address show")
        for info in link["addr_info"]
    }
    scopes = {0: "global", 253: "link", 254: "host"}
    ours = {(a["index"], a["address"], a["prefix"], scopes[a["scope"]]) for a in namespace.python("route.addresses()")}
    assert ours == theirs
    assert any(address == "10.0.9.1" for _index, address, _prefix, _scope in ours)


def routes_of_ip(namespace: Namespace, arguments: str, family: int) -> set[tuple[t.Any, ...]]:
    length = 32 if family == socket.AF_INET else 128
    found = set()
    for route in namespace.ip_json(f"{arguments} route show"):
        if route.get("type", "unicast") != "unicast":
            continue
        dst = route["dst"] if "/" in route["dst"] or route["dst"] == "default" else f"{route['dst']}/{length}"
        mtu = next((metric["mtu"] for metric in route.get("metrics", []) if "mtu" in metric), None)
        for hop in route.get("nexthops", [route]):
            gateway = hop.get("gateway") or hop.get("via", {}).get("host")
            found.add((family, dst, gateway, hop["dev"], mtu, route.get("metric", 0)))
    return found


def test_routes_equal_ip(namespaces: Make) -> None:
    namespace = namespaces("a")
    furnish(namespace)
    names = {link["index"]: link["name"] for link in namespace.python("route.links()")}
    ours = {
        (r["family"], r["dst"], r["gateway"], names[r["interface"]], r["mtu"], r["metric"])
        for r in namespace.python("route.routes()")
    }
    theirs = routes_of_ip(namespace, "-4", socket.AF_INET) | routes_of_ip(namespace, "-6", socket.AF_INET6)
    assert ours == theirs
    assert len([route for route in ours if route[1] == "10.2.0.0/16"]) == 2
    other = namespace.python("route.routes(2004)")
    assert [route["dst"] for route in other] == ["10.5.0.0/16"]
    assert namespace.python("route.routes(777)") == []


def test_route_dump_equals_pyroute2(namespaces: Make) -> None:
    """The same kernel read by pyroute2: a decoder that shares nothing with ours."""
    namespace = namespaces("a")
    furnish(namespace)
    theirs = namespace.python(
        "sorted([r['family'], (r.get_attr('RTA_DST') + '/' + str(r['dst_len'])) if r['dst_len'] else 'default',"
        " r.get_attr('RTA_GATEWAY'), r.get_attr('RTA_OIF'), r.get_attr('RTA_PRIORITY') or 0]"
        " for r in __import__('pyroute2').IPRoute().get_routes(table=254)"
        " if r['type'] == 1 and not r['flags'] & 0x200"
        " and not r.get_attr('RTA_MULTIPATH') and not r.get_attr('RTA_VIA'))"
    )
    ours = namespace.python(
        "sorted([r.family, r.dst, r.gateway, r.interface, r.metric] for r in route.routes()"
        " if r.dst not in ('10.2.0.0/16', '10.3.0.0/16'))"
    )
    assert sorted(map(str, ours)) == sorted(map(str, theirs))
    assert len(ours) >= 6


def test_families_equal_genl(namespaces: Make) -> None:
    namespace = namespaces("a")
    theirs = re.findall(r"Name: (\S+)\s+ID: 0x([0-9a-f]+)", namespace.run("genl", "ctrl", "list"))
    assert namespace.python("generic.families()") == {name: int(number, 16) for name, number in theirs}
    assert len(theirs) > 1


def test_many_links_span_datagrams(namespaces: Make) -> None:
    namespace = namespaces("a")
    for number in range(60):
        namespace.ip(f"link add v{number} type veth peer name p{number}")
    assert len(namespace.python("route.links()")) == 121


def test_mtu_is_set_and_refused_as_by_ip(namespaces: Make) -> None:
    namespace = namespaces("a")
    furnish(namespace)
    namespace.python("route.set_link_mtu('veth0', 1400)")
    assert namespace.ip_json("link show veth0")[0]["mtu"] == 1400
    index = namespace.ip_json("link show veth0")[0]["ifindex"]
    namespace.python(f"route.set_link_mtu({index}, 9000)")
    assert namespace.ip_json("link show veth0")[0]["mtu"] == 9000
    kind, number, text = namespace.python("attempt(route.set_link_mtu, 'veth0', 66000)")
    assert (kind, number) == ("NetlinkError", errno.EINVAL)
    assert "mtu greater than device maximum" in text
    assert namespace.python("attempt(route.set_link_mtu, 'nope', 1400)")[1] == errno.ENODEV
    assert namespace.ip_json("link show veth0")[0]["mtu"] == 9000


def test_path_probe_over_a_narrow_path(namespaces: Make) -> None:
    """a - router - b, where the way to b is narrow, then the way back is."""
    a, router, b = namespaces("a"), namespaces("r"), namespaces("b")
    for side, name, net in ((a, "ra", "10.1.0"), (b, "rb", "10.2.0")):
        router.ip(f"link add {name} mtu 9000 type veth peer name up0 mtu 9000 netns {side.name}")
        router.ip(f"address add {net}.254/24 dev {name}")
        router.ip(f"link set {name} up")
        side.ip(f"address add {net}.1/24 dev up0")
        side.ip("link set up0 up")
        side.ip(f"route add default via {net}.254")
    router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")

    def probe(size: int, target: str = "10.2.0.1") -> dict[str, t.Any]:
        found = a.python(f"path.probe('up0', ['{target}'], {size}, count=2, timeout=0.4)")[0]
        assert isinstance(found, dict)
        return found

    whole = probe(9000)
    assert (whole["forward_ok"], whole["backward_ok"], whole["error"]) == (True, True, None)

    too_large = probe(9001)
    assert (too_large["sent"], too_large["forward_ok"]) == (False, False)
    assert "larger than the MTU of the interface" in too_large["error"]

    router.ip("link set rb mtu 1500")  # the router cannot pass it on: it says so
    narrow = probe(9000)
    assert (narrow["sent"], narrow["answered"], narrow["forward_ok"], narrow["backward_ok"]) == (
        True,
        False,
        False,
        False,
    )
    assert "1500 bytes at most" in narrow["error"]
    assert probe(1500)["backward_ok"]

    router.ip("link set rb mtu 9000")
    b.ip("route replace default via 10.2.0.254 mtu 1500")  # b answers in fragments
    back = probe(9000)
    assert (back["answered"], back["forward_ok"], back["backward_ok"]) == (True, True, False)
    assert back["reply_fragment_size"] is not None
    assert 1400 <= back["reply_fragment_size"] <= 1500

    assert probe(1500, "10.2.0.77")["answered"] is False


def test_path_probe_goes_through_its_interface_only(namespaces: Make) -> None:
    """A second, wide way to the target must not prove anything about the narrow one."""
    a, b = namespaces("a"), namespaces("b")
    for name, net, mtu in (("wide0", "10.1.0", 9000), ("narrow0", "10.2.0", 1500)):
        a.ip(f"link add {name} mtu {mtu} type veth peer name {name} mtu {mtu} netns {b.name}")
        a.ip(f"address add {net}.1/24 dev {name}")
        b.ip(f"address add {net}.2/24 dev {name}")
        a.ip(f"link set {name} up")
        b.ip(f"link set {name} up")
    wide, narrow = (a.python(f"path.probe('{name}', ['10.1.0.2'], 9000, 1, 0.4)[0]") for name in ("wide0", "narrow0"))
    assert wide["backward_ok"]
    assert not narrow["sent"]
    assert not narrow["forward_ok"]


def test_node_facts_in_a_namespace(namespaces: Make) -> None:
    namespace = namespaces("a")
    furnish(namespace)
    node = namespace.python("observe.observe()")
    found = {item["name"]: item for item in node["interfaces"]}
    assert found["veth0"]["addresses"] == ["10.0.0.1/24", "10.0.9.1/32", "fd00::1/64"]
    assert found["veth1"]["master"] == "br0"
    assert node["routes"][0]["dst"] == "default"
