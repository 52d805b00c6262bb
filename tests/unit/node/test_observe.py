# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""node_info's facts on made-up hosts."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node import observe as observing
from ansible_collections.aicluster.zerotrust.tests.unit.node import trees

WIREGUARD_BUILTIN = "kernel/drivers/net/wireguard/wireguard.ko\n"


@pytest.fixture(params=[trees.rhel8, trees.ubuntu24, trees.debian12], ids=["rhel8", "ubuntu24", "debian12"])
def any_host(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> trees.Host:
    host: trees.Host = request.param(tmp_path)
    return host


def by_name(node: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {found["name"]: found for found in node["interfaces"]}


def test_shape_is_the_same_everywhere(any_host: trees.Host) -> None:
    node = any_host.observe()
    assert set(node) == {
        *("schema", "hostname", "machine_id", "boot_id", "os", "kernel", "modules", "cgroup", "clock", "python"),
        *("systemd", "virtualization", "sysctls", "interfaces", "interfaces_skipped", "routes", "routes_skipped"),
        *("rdma", "rdma_skipped", "busy", "unknown"),
    }
    assert set(node["kernel"]) == {"release", "arch", "config", "btf", "lockdown", "fips", "wireguard"}
    assert node["unknown"] == []
    assert node == json.loads(json.dumps(node))


def test_rhel8(tmp_path: pathlib.Path) -> None:
    node = trees.rhel8(tmp_path).observe()
    assert node["os"] == {"id": "rhel", "version_id": "8.10", "pretty_name": "RHEL 8.10", "id_like": ["fedora"]}
    kernel = node["kernel"]
    assert kernel["release"] == "4.18.0-553.el8_10.x86_64"
    assert kernel["config"]["source"] == "/boot/config-4.18.0-553.el8_10.x86_64"
    assert kernel["config"]["options"]["CONFIG_BPF_SYSCALL"] == "y"
    assert kernel["config"]["options"]["CONFIG_WIREGUARD"] == "n", "said not to be set"
    assert kernel["config"]["options"]["CONFIG_NETKIT"] == "n", "not said at all"
    assert (kernel["wireguard"], kernel["fips"], kernel["lockdown"]) == ("missing", True, "integrity")
    assert node["cgroup"] == {"version": "v1"}, "Cilium's own cgroup2 mount does not make it hybrid"
    assert (node["systemd"], node["virtualization"]) == ("239", "none")
    assert node["clock"] == {"epoch": 1795380000.25, "synchronised": True}
    assert (node["machine_id"], node["hostname"]) == ("0123456789abcdef0123456789abcdef", "gpu1")
    assert node["sysctls"] == {"net.ipv4.ip_forward": "1"}


def test_ubuntu24_with_mlx5_and_rdma(tmp_path: pathlib.Path) -> None:
    node = trees.ubuntu24(tmp_path).observe()
    assert node["kernel"]["wireguard"] == "available"
    assert node["kernel"]["fips"] is False
    assert node["modules"] == ["mlx5_core", "mlx5_ib", "nvidia"]
    assert (node["cgroup"]["version"], node["systemd"]) == ("v2", "255")
    assert node["rdma"] == [
        {
            "name": "mlx5_1",
            "ports": [{"port": 1, "state": "ACTIVE", "link_layer": "Ethernet", "netdev": "ens2f0np0"}],
        }
    ]
    found = by_name(node)
    rail = found["ens2f0np0"]
    assert (rail["kind"], rail["driver"], rail["pci"]) == ("physical", "mlx5_core", "0000:98:00.0")
    assert (rail["rdma"], rail["is_vf"], rail["speed_mbit"]) == (["mlx5_1"], False, 400000)
    assert found["ens2f0v0"]["is_vf"] is True
    assert (found["ens1f0np0"]["rdma"], found["ens1f0np0"]["master"]) == ([], "bond0")
    assert (found["bond0.100"]["parent"], found["bond0.100"]["addresses"]) == ("bond0", ["10.0.0.21/24"])
    assert found["lxc1"]["parent"] is None, "the other end of a veth is not its parent"
    assert (found["cilium_wg0"]["kind"], found["cilium_wg0"]["driver"]) == ("wireguard", None)
    assert (found["lo"]["kind"], found["lo"]["addresses"]) == ("loopback", [])
    assert [route["dst"] for route in node["routes"]] == ["default", "10.0.0.0/24"]
    assert node["routes"][1]["mtu"] == 1400
    assert node["routes"][0]["interface"] == "bond0.100"


def test_debian12(tmp_path: pathlib.Path) -> None:
    node = trees.debian12(tmp_path).observe()
    assert node["kernel"]["config"]["source"] == "/proc/config.gz"
    assert node["kernel"]["wireguard"] == "loaded"
    assert node["kernel"]["fips"] is False, "a kernel without the file cannot be in FIPS mode"
    assert node["virtualization"] == "qemu"
    assert node["clock"]["synchronised"] is None


# What proves what, for a container-like node without a module tree and for one with it.
@pytest.mark.parametrize(
    ("config", "tree", "builtin", "families", "expected"),
    [
        ("y", False, "", {}, "builtin"),
        ("n", False, "", {}, "missing"),
        ("m", False, "", {}, "unknown"),
        (None, False, "", {}, "unknown"),
        (None, False, "", {"wireguard": 33}, "builtin"),
        (None, True, "", {}, "missing"),
        (None, True, WIREGUARD_BUILTIN, {}, "builtin"),
        ("m", True, "", {}, "missing"),
        ("m", True, "", {"wireguard": 33}, "builtin"),
    ],
)
def test_wireguard(
    tmp_path: pathlib.Path, config: str | None, tree: bool, builtin: str, families: dict[str, int], expected: str
) -> None:
    host = trees.rhel8(tmp_path)
    release = "4.18.0-553.el8_10.x86_64"
    host.remove(f"/boot/config-{release}")
    if config:
        host.write("/proc/config.gz", trees.gzip.compress(f"CONFIG_BPF=y\nCONFIG_WIREGUARD={config}\n".encode()))
    if tree:
        host.write(f"/lib/modules/{release}/modules.builtin", builtin)
    else:
        host.remove(f"/lib/modules/{release}/modules.builtin")
        host.remove(f"/lib/modules/{release}/modules.dep")
    host.families = families
    node = host.observe()
    assert node["kernel"]["wireguard"] == expected
    assert any(entry["what"] == "kernel WireGuard" for entry in node["unknown"]) == (expected == "unknown")


def test_module_of_another_tree_is_available_against_the_config(tmp_path: pathlib.Path) -> None:
    host = trees.rhel8(tmp_path)
    host.write("/lib/modules/4.18.0-553.el8_10.x86_64/modules.dep", "extra/wireguard/wireguard.ko:\n")
    assert host.observe()["kernel"]["wireguard"] == "available"


def test_no_config_is_unknown_and_not_missing_options(tmp_path: pathlib.Path) -> None:
    host = trees.rhel8(tmp_path)
    host.remove("/boot/config-4.18.0-553.el8_10.x86_64")
    node = host.observe()
    assert node["kernel"]["config"] == {"source": None, "options": {}}
    assert "kernel config" in [entry["what"] for entry in node["unknown"]]


@pytest.mark.parametrize("content", [b"no gzip", trees.gzip.compress(b"empty")])
def test_broken_config_is_passed_over(tmp_path: pathlib.Path, content: bytes) -> None:
    host = trees.rhel8(tmp_path)
    host.write("/proc/config.gz", content)
    node = host.observe()
    assert node["kernel"]["config"]["source"] == "/boot/config-4.18.0-553.el8_10.x86_64"
    assert "/proc/config.gz" in [entry["what"] for entry in node["unknown"]]


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        (trees.V1 + "34 31 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n", "hybrid"),
        ("", "none"),
        ("1 2 3\nrubbish - cgroup2\n", "none"),
    ],
)
def test_cgroup(tmp_path: pathlib.Path, mounts: str, expected: str) -> None:
    host = trees.debian12(tmp_path)
    host.write("/proc/self/mountinfo", mounts)
    assert host.observe()["cgroup"]["version"] == expected


def test_bare_root_never_raises_and_says_what_is_unknown(tmp_path: pathlib.Path) -> None:
    node = trees.Host(tmp_path).observe()
    unknown = {entry["what"] for entry in node["unknown"]}
    assert {"kernel config", "kernel WireGuard", "distribution", "FIPS mode", "BTF", "busy"} <= unknown
    assert node["kernel"]["fips"] is None
    assert node["kernel"]["btf"] is None
    assert node["kernel"]["wireguard"] == "unknown"
    assert node["busy"] == {"gpu_processes": None, "verbs_users": None, "slurm_steps": None}


def test_kernel_that_refuses_is_unknown(tmp_path: pathlib.Path) -> None:
    def refuse() -> t.Any:
        raise OSError(1, "Operation not permitted")

    trees.debian12(tmp_path)
    ask = observing.Kernel(refuse, refuse, refuse, refuse, refuse)
    node = observing.observe(str(tmp_path), ask)
    assert {"links", "addresses", "routes", "generic netlink families", "clock"} <= {u["what"] for u in node["unknown"]}
    assert (node["interfaces"], node["clock"]["synchronised"]) == ([], None)


def test_busy(tmp_path: pathlib.Path) -> None:
    host = trees.ubuntu24(tmp_path)
    host.process(100, "python3", "/dev/nvidiactl", "/dev/nvidia0", "/dev/infiniband/uverbs0", "/tmp/x")
    host.process(101, "python3", "/dev/nvidia0", "socket:[4711]")
    host.process(102, "ib_write_bw", "/dev/infiniband/uverbs0")
    host.process(103, "nvidia-persistenced", "/dev/nvidia0")
    host.process(104, "slurmstepd", arguments="slurmstepd: [42.batch]")
    host.process(105, "slurmstepd", arguments="/usr/sbin/slurmstepd infinity")
    host.process(106, "bash", "/dev/null", "/home/u/dev/nvidia0")
    assert host.observe()["busy"] == {"gpu_processes": 2, "verbs_users": 2, "slurm_steps": 1}


def test_nobody_is_busy(tmp_path: pathlib.Path) -> None:
    assert trees.ubuntu24(tmp_path).observe()["busy"] == {"gpu_processes": 0, "verbs_users": 0, "slurm_steps": 0}


def test_files_of_others_that_may_not_be_read_are_unknown(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = trees.ubuntu24(tmp_path)
    host.process(100, "python3", "/dev/nvidia0")
    real = observing.busy.os.listdir

    def listdir(path: str) -> list[str]:
        if path.endswith("/100/fd"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(observing.busy.os, "listdir", listdir)
    node = host.observe()
    assert node["busy"] == {"gpu_processes": None, "verbs_users": None, "slurm_steps": 0}
    assert "busy" in [entry["what"] for entry in node["unknown"]]


def test_pod_interfaces_are_counted_but_not_the_one_with_the_default_route(tmp_path: pathlib.Path) -> None:
    host = trees.debian12(tmp_path)
    host.links += [trees.interface(100 + n, f"lxc{n}", kind="veth") for n in range(200)]
    host.links += [trees.interface(400 + n, f"vlan{n}", kind="vlan", link=2) for n in range(32)]
    host.addresses.append(trees.v4(105, "10.9.9.9", 32))
    host.routes = [trees.default_route(110)]
    node = host.observe()
    names = set(by_name(node))
    assert node["interfaces_skipped"] == {"veth": 198}
    assert {"lxc5", "lxc10", "vlan31", "ens3"} <= names
    assert len(names) == 2 + 2 + 32


def test_service_addresses_of_ipvs_are_bounded(tmp_path: pathlib.Path) -> None:
    host = trees.debian12(tmp_path)
    host.links.append(trees.interface(50, "kube-ipvs0", kind="dummy"))
    host.addresses += [trees.v4(50, f"10.96.{n // 256}.{n % 256}", 32) for n in range(3000)]
    found = by_name(host.observe())["kube-ipvs0"]
    assert (len(found["addresses"]), found["addresses_skipped"]) == (32, 2968)


def test_worst_host_fits_in_64_kb(tmp_path: pathlib.Path) -> None:
    host = trees.debian12(tmp_path)
    index = 10
    for kind in ("veth", "vlan", "dummy", "macvlan", "ipvlan", "bridge", "tun", "vxlan", "geneve", "ifb"):
        for n in range(40):
            index += 1
            host.links.append(trees.interface(index, f"{kind}-number{n}", kind=kind))
            if n < 20:
                host.addresses += [trees.v4(index, f"10.{n}.{index % 256}.{last}", 32) for last in range(40)]
    host.routes = [trees.Route(2, f"10.{n // 256}.{n % 256}.0/24", "10.0.0.1", 2, None, 0, 254) for n in range(1000)]
    node = host.observe()
    assert len(json.dumps(node)) <= observing.MAX_BYTES
    assert node["routes_skipped"] >= 936
    assert "part of the facts" in [entry["what"] for entry in node["unknown"]]
    assert "ens3" in by_name(node), "what the node network needs is kept"


def test_kept_virtual_interfaces_never_push_out_physical_ones(tmp_path: pathlib.Path) -> None:
    host = trees.debian12(tmp_path)
    for number in range(300):
        host.links.insert(0, trees.interface(10 + number, f"dummy{number}", kind=f"kind{number % 20}"))
        host.addresses += [trees.v4(10 + number, f"10.{number % 256}.0.{last}", 32) for last in range(32)]
    node = host.observe()
    assert len(json.dumps(node)) <= observing.MAX_BYTES
    assert "ens3" in by_name(node)


def test_this_host_is_observed_within_its_budget() -> None:
    """Real files and a real kernel: cheap, complete, and nothing that cannot travel as JSON."""
    observing.observe()
    begun = observing.time.process_time()
    node = observing.observe()
    assert observing.time.process_time() - begun < 0.3
    assert len(json.dumps(node)) <= observing.MAX_BYTES
    assert "lo" in by_name(node)
