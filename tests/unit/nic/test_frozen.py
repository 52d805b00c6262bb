# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a change must not alter. The DCB message is built here from the kernel's headers, not recorded on hardware."""

from __future__ import annotations

import pathlib
import struct

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.netlink.core import Malformed, pack_attribute
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.change import frozen


def message(pfc_enabled: int, requests: int, buffers: bytes = b"\1" * 8) -> bytes:
    pfc = struct.pack("=BBBxH2x", 8, pfc_enabled, 0, 0) + struct.pack("=16Q", requests, *range(15))
    nested = (
        pack_attribute(frozen.IEEE_ETS, b"\7" * 20)
        + pack_attribute(frozen.IEEE_PFC, pfc)
        + pack_attribute(10, buffers)
        + pack_attribute(frozen.IEEE_TRUST, b"\2")
    )
    return (
        struct.pack("=BBH", 0, frozen.DCB_CMD_IEEE_GET, 0)
        + pack_attribute(frozen.DCB_ATTR_IFNAME, b"eth0\0")
        + pack_attribute(frozen.DCB_ATTR_IEEE, nested)
    )


def test_counters_and_buffers_are_no_change() -> None:
    assert frozen.dcb_settings(message(8, 1)) == frozen.dcb_settings(message(8, 99, b"\2" * 8))


def test_pfc_is_a_change() -> None:
    before, after = frozen.dcb_settings(message(8, 1)), frozen.dcb_settings(message(0, 1))
    assert [text.split(":")[0] for text in frozen.differing({"eth0": before}, {"eth0": after})] == ["eth0 ieee.2"]


def test_a_cut_off_answer_is_malformed() -> None:
    with pytest.raises(Malformed):
        frozen.dcb_settings(b"\0")


def test_an_interface_that_is_gone_differs_and_a_new_one_does_not() -> None:
    assert frozen.differing({"eth0": {}}, {"eth1": {}}) == ["eth0 is gone"]


def test_devices_of_a_driver_are_read_and_virtual_functions_are_not(tmp_path: pathlib.Path) -> None:
    net = tmp_path / "class/net"
    for name in ("rail0", "vf0"):
        (net / name / "device").mkdir(parents=True)
    (net / "veth1").mkdir()
    (net / "vf0/device/physfn").mkdir()
    (net / "rail0/device/infiniband/mlx5_0").mkdir(parents=True)
    (net / "rail0/mtu").write_text("4200\n")
    (net / "rail0/qos").mkdir()
    (net / "rail0/qos/trust").write_text("dscp\n")
    found = frozen.settings(str(tmp_path), str(tmp_path))
    assert set(found) == {"rail0", "rdma"}
    assert (found["rail0"]["mtu"], found["rail0"]["qos/trust"]) == ("4200", "dscp")
    (net / "rail0/qos/trust").write_text("pcp\n")
    after = frozen.settings(str(tmp_path), str(tmp_path))
    assert frozen.differing(found, after) == ["rail0 qos/trust: dscp -> pcp"]


def test_the_loopback_has_neither_pause_nor_dcb() -> None:
    assert frozen.read_pause("lo") in ("ENOTSUP", "EOPNOTSUPP")
    assert set(frozen.read_dcb("lo")) == {"ieee"}
