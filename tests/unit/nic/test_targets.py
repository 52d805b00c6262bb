# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom to ask whether the path carries a size."""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.change.targets import default_targets

GATEWAY = {"dst": "default", "gateway": "192.0.2.1", "interface": "eth0", "mtu": None}


def facts(address: str, mtu: int, *routes: dict[str, t.Any]) -> dict[str, t.Any]:
    interface = {"name": "eth0", "mtu": mtu, "addresses": [address, "fe80::1/64"]}
    return {"interfaces": [interface], "routes": list(routes)}


def test_the_gateway_of_that_interface_comes_first() -> None:
    peers = [facts("192.0.2.3/24", 9000)]
    assert default_targets("eth0", 9000, facts("192.0.2.2/24", 1500, GATEWAY), peers) == ["192.0.2.1"]


def test_a_gateway_of_another_interface_proves_nothing() -> None:
    other = {**GATEWAY, "interface": "mgmt0"}
    peers = [facts("192.0.2.3/24", 9000), facts("192.0.2.4/24", 1500), facts("198.51.100.5/24", 9000)]
    assert default_targets("eth0", 9000, facts("192.0.2.2/24", 1500, other), peers) == ["192.0.2.3"]


def test_lowering_asks_peers_of_any_size_but_four_at_most() -> None:
    peers = [facts(f"192.0.2.{number}/24", 9000) for number in range(10, 20)]
    assert len(default_targets("eth0", 1500, facts("192.0.2.2/24", 9000), peers)) == 4


def test_nobody_is_found_where_nobody_takes_the_size() -> None:
    assert default_targets("eth0", 9000, facts("192.0.2.2/24", 1500), [facts("192.0.2.3/24", 1500), {}]) == []


def test_ipv6_gateways_are_left_out_since_the_probe_does_not_know_them() -> None:
    six = {**GATEWAY, "gateway": "fe80::1"}
    assert default_targets("eth0", 9000, facts("192.0.2.2/24", 1500, six, GATEWAY), []) == ["192.0.2.1"]


def test_an_unobserved_host_has_no_targets() -> None:
    assert default_targets("eth0", 9000, {}, [facts("192.0.2.3/24", 9000)]) == []
