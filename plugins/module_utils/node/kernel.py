# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel is and can do: release, build options, BTF, lockdown, FIPS mode, WireGuard, modules, sysctls.

Sources: Documentation/kbuild/kbuild.rst (modules.builtin), modules.dep(5), kernel_lockdown(7), proc(5);
the options: Cilium's system requirements, "Linux Kernel" (Documentation/operations/system_requirements.rst).
"""

from __future__ import annotations

import re
import typing as t
import zlib

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.tree import Tree

OPTIONS = tuple(
    "CONFIG_" + name
    for name in (
        "BPF",
        "BPF_SYSCALL",
        "BPF_JIT",
        "NET_CLS_BPF",
        "NET_CLS_ACT",
        "NET_SCH_INGRESS",
        "NET_SCH_FQ",
        "CRYPTO_SHA1",
        "CRYPTO_USER_API_HASH",
        "CRYPTO_FIPS",
        "CGROUPS",
        "CGROUP_BPF",
        "PERF_EVENTS",
        "SCHEDSTATS",
        "FIB_RULES",
        "VXLAN",
        "GENEVE",
        "NETKIT",
        "WIREGUARD",
        "TUN",
        "DEBUG_INFO_BTF",
    )
)

_MODULE_NAMES = """
wireguard vxlan geneve tun veth bonding 8021q bridge br_netfilter nf_tables ip_tables ip_vs sch_fq sch_ingress cls_bpf
ip_set mlx5_core mlx5_ib bnxt_en bnxt_re ice irdma ib_core ib_uverbs ib_ipoib rdma_cm rdma_rxe siw
nvidia nvidia_peermem nv_peer_mem nvidia_uvm amdgpu
"""
MODULES = frozenset(_MODULE_NAMES.split())

SYSCTLS = (
    "net.ipv4.ip_forward",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.default.rp_filter",
    "net.ipv4.tcp_mtu_probing",
    "net.ipv4.ip_no_pmtu_disc",
    "net.ipv6.conf.all.forwarding",
    "net.ipv6.conf.all.disable_ipv6",
    "net.core.bpf_jit_enable",
    "net.core.default_qdisc",
    "net.bridge.bridge-nf-call-iptables",
    "kernel.unprivileged_bpf_disabled",
    "fs.inotify.max_user_instances",
    "fs.inotify.max_user_watches",
)

_MODULE_FILE = re.compile(rb"^[^\n:]*/wireguard\.ko(?:\.\w+)?(?::|$)", re.MULTILINE)


def observe_config(tree: Tree, release: str) -> dict[str, t.Any]:
    """{"source": file or None, "options": {option: "y", "m", "n" or its value}} for OPTIONS.

    In a readable config an option that is absent is "n"; where no config can be read options is empty.
    """
    for path in ("/proc/config.gz", f"/boot/config-{release}", f"/lib/modules/{release}/config"):
        data = tree.data(path)
        if data is None:
            continue
        try:
            # 47: zlib tells gzip by its header; the gzip module costs ten milliseconds of imports
            content = zlib.decompress(data, 47) if path.endswith(".gz") else data
        except zlib.error as error:
            tree.note(path, error)
            continue
        if b"CONFIG_" not in content:
            tree.note(path, "this is no kernel config")
            continue
        return {"source": path, "options": parse_config(content.decode("utf-8", "replace"))}
    tree.note("kernel config", f"none of /proc/config.gz, /boot/config-{release}, /lib/modules/{release}/config")
    return {"source": None, "options": {}}


def parse_config(content: str) -> dict[str, str]:
    """OPTIONS as a kernel config gives them; "n" for those that it does not set."""
    options = dict.fromkeys(OPTIONS, "n")
    for line in content.splitlines():
        name, equals, value = line.partition("=")
        if equals and name in options:
            options[name] = value.strip().strip('"')
    return options


def observe_wireguard(tree: Tree, release: str, options: t.Mapping[str, str], families: t.Collection[str]) -> str:
    """How the running kernel has WireGuard: builtin, loaded, available, missing or unknown.

    available: the module of this release lies on the disk. families: names of the generic netlink families.
    Without a module tree of this release (a container, a read-only image) the build options decide alone; they prove a
    built-in and a missing one, but not that a module can be loaded.
    """
    builtin_list = tree.data(f"/lib/modules/{release}/modules.builtin")
    module_list = tree.data(f"/lib/modules/{release}/modules.dep")
    option = options.get("CONFIG_WIREGUARD")
    if "wireguard" in loaded_modules(tree):
        return "loaded"
    if option == "y" or (builtin_list is not None and _MODULE_FILE.search(builtin_list)):
        return "builtin"
    if "wireguard" in families:
        return "builtin"  # it answers, and no loaded module is of that name
    if module_list is not None and _MODULE_FILE.search(module_list):
        return "available"
    if option == "n" or (module_list is not None and builtin_list is not None):
        return "missing"
    why = "it is built as a module" if option == "m" else "no kernel config"
    tree.note("kernel WireGuard", f"{why}, and /lib/modules/{release} cannot be read here")
    return "unknown"


def loaded_modules(tree: Tree) -> set[str]:
    """Names of all loaded modules."""
    content = tree.text("/proc/modules")
    return {line.split(" ", 1)[0] for line in content.splitlines()} if content else set()


def observe_btf(tree: Tree) -> bool | None:
    """Whether the kernel shows its type information to BPF; None where sysfs cannot be seen."""
    if tree.exists("/sys/kernel/btf/vmlinux"):
        return True
    if not tree.exists("/sys/kernel"):
        tree.note("BTF", "/sys/kernel is not there")
        return None
    return False


def observe_lockdown(tree: Tree) -> str | None:
    """none, integrity or confidentiality; None where the kernel has no lockdown or securityfs is not mounted."""
    found = re.search(r"\[(\w+)\]", tree.text("/sys/kernel/security/lockdown") or "")
    return found.group(1) if found else None


def observe_fips(tree: Tree) -> bool | None:
    """Whether the kernel runs in FIPS mode. A kernel that cannot has no such file: False. None if it cannot be read."""
    value = tree.text("/proc/sys/crypto/fips_enabled")
    if value is not None:
        return value != "0"
    if tree.exists("/proc/sys/crypto/fips_enabled") or not tree.exists("/proc/sys/kernel"):
        tree.note("FIPS mode", "/proc/sys/crypto/fips_enabled cannot be read")
        return None
    return False


def observe_sysctls(tree: Tree) -> dict[str, str]:
    """Values of SYSCTLS, without those that this kernel does not have."""
    values: dict[str, str] = {}
    for name in SYSCTLS:
        value = tree.text("/proc/sys/" + name.replace(".", "/"))
        if value is not None:
            values[name] = value
    return values
