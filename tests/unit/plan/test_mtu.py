# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import mtu


# Figures seen live: 8921 -> 8906 on 9001 with the step to 1.19.5 (cilium issue 47176, native routing).
@pytest.mark.parametrize(
    ("link", "version", "encryption", "routing", "ipv6", "pod", "device"),
    [
        (9001, "1.19.4", "wireguard", "native", False, 8921, 8921),
        (9001, "1.19.5", "wireguard", "native", False, 8906, 8906),
        (9000, "1.20.2", "wireguard", "vxlan", False, 8855, 8905),
        (9000, "1.20.2", "wireguard", "vxlan", True, 8835, 8905),
        (1500, "1.20.2", "wireguard", "vxlan", False, 1355, 1405),
        (1500, "1.20.2", "none", "vxlan", False, 1450, None),
        (1500, "1.20.2", "none", "native", False, 1500, None),
        (None, "1.20.2", "wireguard", "vxlan", False, None, None),
    ],
)
def test_budget(
    link: int | None, version: str, encryption: str, routing: str, ipv6: bool, pod: int | None, device: int | None
) -> None:
    found, findings = mtu.budget(link, version=version, encryption=encryption, routing=routing, ipv6_underlay=ipv6)
    assert (found["pod"], found["device"], findings) == (pod, device, [])


def test_too_small_names_what_is_needed() -> None:
    _found, findings = mtu.budget(1400, version="1.20.2", encryption="wireguard", routing="vxlan", ipv6_underlay=False)
    assert [f.code for f in findings] == ["ZT301"]
    assert "1425" in findings[0].remedy


@given(
    link=st.integers(1280, 65520),
    version=st.sampled_from(["1.19.0", "1.19.4", "1.19.5", "1.19.8", "1.20.0", "1.20.2"]),
    encryption=st.sampled_from(["wireguard", "none"]),
    routing=st.sampled_from(["vxlan", "native"]),
    ipv6=st.booleans(),
)
def test_budget_adds_up_and_refuses_exactly_below_1280(
    link: int, version: str, encryption: str, routing: str, ipv6: bool
) -> None:
    found, findings = mtu.budget(link, version=version, encryption=encryption, routing=routing, ipv6_underlay=ipv6)
    assert found["pod"] + found["tunnel_overhead"] + found["encryption_overhead"] == link
    assert found["tunnel_overhead"] in ((50, 70) if routing == "vxlan" else (0,))
    assert found["encryption_overhead"] in ((80, 95) if encryption == "wireguard" else (0,))
    assert bool(findings) == (found["pod"] < 1280)
