# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that node_info returns, in one call that only reads.

It starts no process, loads no module and writes nothing. What cannot be read becomes an entry of "unknown".
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import time
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.netlink import generic, route
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node import busy, interfaces, kernel, rdma, system
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.tree import Tree

SCHEMA = 1
MAX_BYTES = 64 * 1024


@dataclasses.dataclass
class Kernel:
    """What is asked of the kernel itself and not of a file; tests put their own functions here."""

    links: t.Callable[[], list[route.Link]] = route.links
    addresses: t.Callable[[], list[route.Address]] = route.addresses
    routes: t.Callable[[], list[route.Route]] = route.routes
    families: t.Callable[[], t.Mapping[str, int]] = generic.families
    synchronised: t.Callable[[], bool | None] = system.clock_synchronised
    epoch: t.Callable[[], float] = time.time
    machine: t.Callable[[], str] = lambda: os.uname().machine


def observe(root: str = "/", ask: Kernel | None = None) -> dict[str, t.Any]:
    """The facts of this host in the shape that node_info documents; at most 64 kB as JSON. Never raises."""
    tree = Tree(root)
    ask = ask or Kernel()
    node = _observe(tree, ask)
    node["unknown"] = tree.unknown[:64]
    _fit(node)
    return node


def _observe(tree: Tree, ask: Kernel) -> dict[str, t.Any]:
    release = tree.text("/proc/sys/kernel/osrelease") or ""
    config: dict[str, t.Any] = tree.attempt(
        "kernel config", {"source": None, "options": {}}, lambda: kernel.observe_config(tree, release)
    )
    families: t.Mapping[str, int] = tree.attempt("generic netlink families", {}, ask.families)
    links: list[route.Link] = tree.attempt("links", [], ask.links)
    addresses: list[route.Address] = tree.attempt("addresses", [], ask.addresses)
    routes: list[route.Route] = tree.attempt("routes", [], ask.routes)
    devices: list[dict[str, t.Any]] = tree.attempt("RDMA devices", [], lambda: rdma.observe_rdma(tree))
    nothing: tuple[list[dict[str, t.Any]], dict[str, int]] = ([], {})
    shown, skipped = tree.attempt(
        "interfaces", nothing, lambda: interfaces.observe_interfaces(tree, links, addresses, routes, devices)
    )
    shown_routes, skipped_routes = interfaces.observe_routes(routes, {link.index: link.name for link in links})
    distribution: dict[str, t.Any] = tree.attempt("distribution", {}, lambda: system.observe_os(tree))
    unknown_busy: dict[str, int | None] = {"gpu_processes": None, "verbs_users": None, "slurm_steps": None}
    node: dict[str, t.Any] = {
        "schema": SCHEMA,
        "hostname": tree.text("/proc/sys/kernel/hostname"),
        "machine_id": tree.text("/etc/machine-id"),
        "boot_id": tree.text("/proc/sys/kernel/random/boot_id"),
        "os": distribution,
        "kernel": {
            "release": release,
            "arch": ask.machine(),
            "config": config,
            "btf": kernel.observe_btf(tree),
            "lockdown": kernel.observe_lockdown(tree),
            "fips": kernel.observe_fips(tree),
            "wireguard": tree.attempt(
                "kernel WireGuard",
                "unknown",
                lambda: kernel.observe_wireguard(tree, release, config["options"], families),
            ),
        },
        "modules": sorted(kernel.loaded_modules(tree) & kernel.MODULES),
        "cgroup": {"version": system.observe_cgroup(tree)},
        "clock": {"epoch": ask.epoch(), "synchronised": tree.attempt("clock", None, ask.synchronised)},
        "python": platform.python_version(),
        "systemd": tree.attempt("systemd version", None, lambda: system.observe_systemd(tree)),
        "virtualization": tree.attempt("virtualization", None, lambda: system.observe_virtualization(tree)),
        "sysctls": kernel.observe_sysctls(tree),
        "interfaces": shown,
        "interfaces_skipped": skipped,
        "routes": shown_routes,
        "routes_skipped": skipped_routes,
        "rdma": devices[: rdma.MAX_DEVICES],
        "rdma_skipped": max(0, len(devices) - rdma.MAX_DEVICES),
        "busy": tree.attempt("busy", unknown_busy, lambda: busy.observe_busy(tree)),
    }
    return node


def _fit(node: dict[str, t.Any]) -> None:
    """Leaves out what matters least until the facts fit, and says so in "unknown".

    The parts have bounds of their own; this is for a host that is at all of them at once.
    """
    if len(json.dumps(node)) <= MAX_BYTES:
        return
    node["unknown"].append({"what": "part of the facts", "why": f"they were more than {MAX_BYTES} bytes"})
    for item in [i for i in node["interfaces"] if not i["addresses"] and i["kind"] != "physical"] + [
        i for i in node["interfaces"] if not i["addresses"] and i["is_vf"]
    ]:
        node["interfaces"].remove(item)
        group = "vf" if item["is_vf"] else item["kind"]
        node["interfaces_skipped"][group] = node["interfaces_skipped"].get(group, 0) + 1
        if len(json.dumps(node)) <= MAX_BYTES:
            return
    for key in ("routes", "rdma"):
        while node[key] and len(json.dumps(node)) > MAX_BYTES:
            node[key].pop()
    node["interfaces"].sort(key=lambda item: item["kind"] != "physical" or item["is_vf"])  # what is kept comes first
    while node["interfaces"] and len(json.dumps(node)) > MAX_BYTES:
        node["interfaces"].pop()
