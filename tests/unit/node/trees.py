# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Made-up hosts: directory trees with what procfs, sysfs and the disk of such a host say, and what its kernel answers.

Small, and after the layout of the real distributions; the values are of no real machine.
"""

from __future__ import annotations

import dataclasses
import gzip
import pathlib
import socket
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.netlink.route import Address, Link, Route
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.observe import Kernel, observe

COMMON_CONFIG = """
CONFIG_BPF=y
CONFIG_BPF_SYSCALL=y
CONFIG_BPF_JIT=y
CONFIG_NET_CLS_BPF=m
CONFIG_NET_CLS_ACT=y
CONFIG_NET_SCH_INGRESS=m
CONFIG_NET_SCH_FQ=m
CONFIG_CRYPTO_SHA1=y
CONFIG_CRYPTO_USER_API_HASH=m
CONFIG_CGROUPS=y
CONFIG_CGROUP_BPF=y
CONFIG_PERF_EVENTS=y
CONFIG_SCHEDSTATS=y
CONFIG_FIB_RULES=y
CONFIG_VXLAN=m
CONFIG_GENEVE=m
CONFIG_TUN=m
CONFIG_DEBUG_INFO_BTF=y
"""
V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = """31 23 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs ro
32 31 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
33 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
90 23 0:80 / /run/cilium/cgroupv2 rw - cgroup2 none rw
"""


@dataclasses.dataclass
class Host:
    """A tree below root and the kernel's answers."""

    root: pathlib.Path
    links: list[Link] = dataclasses.field(default_factory=list)
    addresses: list[Address] = dataclasses.field(default_factory=list)
    routes: list[Route] = dataclasses.field(default_factory=list)
    families: dict[str, int] = dataclasses.field(default_factory=lambda: {"nlctrl": 16})
    synchronised: bool | None = True

    def write(self, path: str, content: str | bytes = "") -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    def link(self, path: str, target: str) -> None:
        """A symbolic link; target as written in it."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(target)

    def remove(self, path: str) -> None:
        (self.root / path.lstrip("/")).unlink()

    def process(self, pid: int, comm: str, *held: str, arguments: str = "") -> None:
        self.write(f"/proc/{pid}/comm", comm[:15] + "\n")
        self.write(f"/proc/{pid}/cmdline", arguments.replace(" ", "\0"))
        (self.root / f"proc/{pid}/fd").mkdir(parents=True, exist_ok=True)
        for number, path in enumerate(held):
            self.link(f"/proc/{pid}/fd/{number}", path)

    def nic(self, name: str, pci: str, driver: str, rdma: str = "", pf: str = "") -> None:
        """The sysfs of a PCI network function."""
        base = f"/sys/devices/pci0000:00/0000:00:01.0/{pci}"
        self.write(f"{base}/net/{name}/speed", "400000\n")
        self.link(f"/sys/class/net/{name}", f"../../devices/pci0000:00/0000:00:01.0/{pci}/net/{name}")
        self.link(f"{base}/net/{name}/device", "../..")
        self.link(f"{base}/driver", f"../../../../bus/pci/drivers/{driver}")
        (self.root / "sys/bus/pci/drivers" / driver).mkdir(parents=True, exist_ok=True)
        if pf:
            self.link(f"{base}/physfn", f"../{pf}")
        if rdma:
            self.write(f"{base}/infiniband/{rdma}/ports/1/state", "4: ACTIVE\n")
            self.write(f"{base}/infiniband/{rdma}/ports/1/link_layer", "Ethernet\n")
            self.write(f"{base}/infiniband/{rdma}/ports/1/gid_attrs/ndevs/0", f"{name}\n")
            self.link(f"/sys/class/infiniband/{rdma}", f"../../devices/pci0000:00/0000:00:01.0/{pci}/infiniband/{rdma}")

    def observe(self) -> dict[str, t.Any]:
        ask = Kernel(
            links=lambda: self.links,
            addresses=lambda: self.addresses,
            routes=lambda: self.routes,
            families=lambda: self.families,
            synchronised=lambda: self.synchronised,
            epoch=lambda: 1795380000.25,
            machine=lambda: "x86_64",
        )
        return observe(str(self.root), ask)


def interface(index: int, name: str, **more: t.Any) -> Link:
    values: dict[str, t.Any] = {
        "type": 1,
        "flags": 0x1043,
        "mtu": 1500,
        "min_mtu": 68,
        "max_mtu": 9978,
        "mac": f"02:fc:00:00:00:{index % 256:02x}",
        "operstate": "up",
        "kind": None,
        "master": None,
        "link": None,
    }
    return Link(index=index, name=name, **{**values, **more})


def v4(index: int, address: str, prefix: int = 24, scope: int = 0) -> Address:
    return Address(index, socket.AF_INET, address, prefix, scope, 0)


def default_route(index: int, gateway: str = "10.0.0.1") -> Route:
    return Route(socket.AF_INET, "default", gateway, index, None, 100, 254)


def _base(root: pathlib.Path, release: str, os_release: str, config: str) -> Host:
    host = Host(root)
    host.write("/etc/os-release", os_release)
    host.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    host.write("/proc/sys/kernel/osrelease", release + "\n")
    host.write("/proc/sys/kernel/hostname", "gpu1\n")
    host.write("/proc/sys/kernel/random/boot_id", "5b4ee0f1-0000-4000-8000-000000000001\n")
    host.write("/proc/sys/net/ipv4/ip_forward", "1\n")
    host.write("/proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu vme de\n")
    host.write("/proc/modules", "ext4 1 0 - Live 0x0\n")
    host.write("/proc/1/comm", "systemd\n")
    host.write("/proc/1/cmdline", "/sbin/init\0")
    host.write("/dev/null", "")
    host.write("/sys/kernel/btf/vmlinux", "x")
    host.write("/run/systemd/system/x", "")
    host.write(f"/boot/config-{release}", COMMON_CONFIG + config)
    modules = f"/lib/modules/{release}"
    host.write(f"{modules}/modules.builtin", "kernel/fs/ext4/ext4.ko\n")
    host.write(f"{modules}/modules.dep", "kernel/net/netfilter/xt_wireguardish.ko:\nkernel/drivers/net/vxlan.ko.xz:\n")
    host.links = [interface(1, "lo", type=772, mac="00:00:00:00:00:00", operstate="unknown", mtu=65536)]
    host.addresses = [v4(1, "127.0.0.1", 8, scope=254)]
    return host


def rhel8(root: pathlib.Path) -> Host:
    """RHEL 8.10: 4.18 with back-ports, no WireGuard, cgroup v1, FIPS mode on."""
    release = "4.18.0-553.el8_10.x86_64"
    text = 'NAME="Red Hat Enterprise Linux"\nID="rhel"\nID_LIKE="fedora"\nVERSION_ID="8.10"\nPRETTY_NAME="RHEL 8.10"\n'
    host = _base(root, release, text, "# CONFIG_WIREGUARD is not set\nCONFIG_CRYPTO_FIPS=y\n")
    host.write("/proc/sys/crypto/fips_enabled", "1\n")
    host.write("/proc/self/mountinfo", V1)
    host.write("/usr/lib/systemd/libsystemd-shared-239.so", "")
    host.write("/sys/kernel/security/lockdown", "none [integrity] confidentiality\n")
    host.links.append(interface(2, "eno1"))
    host.nic("eno1", "0000:01:00.0", "ice")
    host.addresses.append(v4(2, "10.0.0.11"))
    return host


def ubuntu24(root: pathlib.Path) -> Host:
    """Ubuntu 24.04 GPU node: 6.8, mlx5 in a bond and as a RoCE rail, a VF, WireGuard on the disk."""
    release = "6.8.0-60-generic"
    text = 'PRETTY_NAME="Ubuntu 24.04.2 LTS"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n'
    host = _base(root, release, text, "CONFIG_WIREGUARD=m\nCONFIG_NETKIT=y\n")
    dependencies = "kernel/drivers/net/wireguard/wireguard.ko.zst: kernel/arch/x86/crypto/libblake2s-x86_64.ko.zst\n"
    host.write(f"/lib/modules/{release}/modules.dep", "kernel/drivers/net/vxlan/vxlan.ko.zst:\n" + dependencies)
    host.write("/proc/modules", "mlx5_ib 1 0 - Live 0x0\nmlx5_core 2 1 mlx5_ib, Live 0x0\nnvidia 1 0 - Live 0x0\n")
    host.write("/proc/sys/crypto/fips_enabled", "0\n")
    host.write("/proc/self/mountinfo", V2)
    host.write("/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-255.so", "")
    host.write("/sys/kernel/security/lockdown", "[none] integrity confidentiality\n")
    host.links += [
        interface(2, "ens1f0np0", master=6),
        interface(3, "ens2f0np0", mtu=4200),
        interface(4, "ens2f0v0"),
        interface(5, "cilium_wg0", kind="wireguard", type=65534, mac=None, mtu=1405),
        interface(6, "bond0", kind="bond"),
        interface(7, "bond0.100", kind="vlan", link=6),
        interface(8, "lxc1", kind="veth", link=2),
    ]
    host.nic("ens1f0np0", "0000:17:00.0", "mlx5_core")
    host.nic("ens2f0np0", "0000:98:00.0", "mlx5_core", rdma="mlx5_1")
    host.nic("ens2f0v0", "0000:98:00.2", "mlx5_core", pf="0000:98:00.0")
    host.addresses += [v4(7, "10.0.0.21"), v4(3, "172.16.1.21")]
    host.routes = [
        Route(socket.AF_INET, "10.0.0.0/24", None, 7, 1400, 0, 254),
        Route(socket.AF_INET6, "fe80::/64", None, 7, None, 256, 254),
        default_route(7),
    ]
    for device in ("nvidia0", "nvidiactl", "infiniband/uverbs0"):
        host.write(f"/dev/{device}")
    return host


def debian12(root: pathlib.Path) -> Host:
    """Debian 12 in a virtual machine: 6.1, WireGuard loaded, the config compressed in procfs."""
    release = "6.1.0-37-amd64"
    text = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n'
    host = _base(root, release, text, "")
    host.remove(f"/boot/config-{release}")
    host.write("/proc/config.gz", gzip.compress((COMMON_CONFIG + "CONFIG_WIREGUARD=m\n").encode()))
    host.write("/proc/modules", "wireguard 1 0 - Live 0x0\n")
    host.write("/proc/self/mountinfo", V2)
    host.write("/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so", "")
    host.write("/proc/cpuinfo", "flags\t\t: fpu hypervisor\n")
    host.write("/sys/class/dmi/id/sys_vendor", "QEMU\n")
    host.links.append(interface(2, "ens3"))
    host.nic("ens3", "0000:00:03.0", "virtio-pci")
    host.addresses.append(v4(2, "10.0.0.31"))
    host.synchronised = None
    return host
