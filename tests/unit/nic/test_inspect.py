# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an interface must be before its MTU may change."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.netlink.route import Link
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.change import inspect

GOOD = inspect.Interface("eth0", 2, 1500, 68, 9216, ("ixgbe",), (), False)
CHANGE = inspect.Change("eth0", 1500, 9000)


def link(name: str, mtu: int = 1500) -> Link:
    return Link(2, name, 1, 1, mtu, 68, 9216, None, "up", None, None, None)


def test_a_good_interface_is_not_refused() -> None:
    assert inspect.judge(CHANGE, GOOD, False) is None


@pytest.mark.parametrize(
    ("found", "code", "words"),
    [
        (None, "ZT201", "no interface eth0"),
        (dataclasses.replace(GOOD, rdma=("mlx5_0",)), "ZT202", "mlx5_0"),
        (dataclasses.replace(GOOD, is_vf=True), "ZT202", "virtual function"),
        (dataclasses.replace(GOOD, drivers=("mlx5_core",)), "ZT203", "nic_tuning_accept_untested_hardware"),
        (dataclasses.replace(GOOD, max_mtu=1500), "ZT204", "1280 to 1500"),
        (dataclasses.replace(GOOD, mtu=4000), "ZT304", "another hand"),
    ],
)
def test_refusals(found: inspect.Interface | None, code: str, words: str) -> None:
    refusal = inspect.judge(CHANGE, found, False)
    assert refusal
    assert refusal.code == code
    assert words in refusal.message


def test_below_1280_is_refused_since_ipv6_addresses_would_be_lost() -> None:
    refusal = inspect.judge(inspect.Change("eth0", 1500, 1200), GOOD, False)
    assert refusal
    assert refusal.code == "ZT204"


def test_the_wanted_mtu_is_never_refused() -> None:
    rail = dataclasses.replace(GOOD, mtu=9000, rdma=("mlx5_0",))
    assert inspect.judge(CHANGE, rail, False) is None


def test_untested_hardware_can_be_accepted_but_rdma_cannot() -> None:
    assert inspect.judge(CHANGE, dataclasses.replace(GOOD, drivers=("mlx5_core",)), True) is None
    assert inspect.judge(CHANGE, dataclasses.replace(GOOD, rdma=("mlx5_0",)), True)


def tree(root: pathlib.Path) -> str:
    """bond0 on eth0 (plain) and eth1 (RDMA by its PCI device); vlan5 on bond0; eth2 a VF; eth3 with soft RoCE."""
    net = root / "class/net"
    for name in ("bond0", "vlan5"):
        (net / name).mkdir(parents=True)
    for name in ("eth0", "eth1", "eth2", "eth3"):
        (net / name / "device").mkdir(parents=True)
    for lower in ("eth0", "eth1"):
        (net / "bond0" / f"lower_{lower}").symlink_to(net / lower)
    (net / "vlan5/lower_bond0").symlink_to(net / "bond0")
    (net / "eth1/device/infiniband/mlx5_0").mkdir(parents=True)
    (net / "eth2/device/physfn").mkdir()
    rxe = root / "class/infiniband/rxe0"
    (rxe / "ports/1/gid_attrs/ndevs").mkdir(parents=True)
    (rxe / "ports/1/gid_attrs/ndevs/0").write_text("eth3\n")
    return str(root)


def test_rdma_is_found_through_bond_and_vlan(tmp_path: pathlib.Path) -> None:
    root = tree(tmp_path)
    found = inspect.read("vlan5", [link("vlan5")], root)
    assert found
    assert found.rdma == ("mlx5_0",)
    assert inspect.below("vlan5", root) == ["vlan5", "bond0", "eth0", "eth1"]


def test_rdma_is_found_by_the_gid_table_and_a_vf_by_its_parent(tmp_path: pathlib.Path) -> None:
    root = tree(tmp_path)
    assert inspect.rdma_devices("eth3", root) == ["rxe0"]
    found = inspect.read("eth2", [link("eth2")], root)
    assert found
    assert found.is_vf
    plain = inspect.read("eth0", [link("eth0")], root)
    assert plain
    assert (plain.rdma, plain.is_vf) == ((), False)


def test_an_unknown_interface_is_none(tmp_path: pathlib.Path) -> None:
    assert inspect.read("eth9", [link("eth0")], tree(tmp_path)) is None
