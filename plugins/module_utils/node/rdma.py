# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""RDMA devices and their ports.

Source: Documentation/ABI/stable/sysfs-class-infiniband of Linux.
"""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.tree import Tree

_CLASS = "/sys/class/infiniband"
MAX_DEVICES = 64


def observe_rdma(tree: Tree) -> list[dict[str, t.Any]]:
    """[{"name", "ports": [{"port", "state", "link_layer", "netdev"}]}] of every device; see node_info for the shape."""
    return [{"name": name, "ports": _ports(tree, name)} for name in tree.names(_CLASS)]


def _ports(tree: Tree, device: str) -> list[dict[str, t.Any]]:
    ports = []
    for port in tree.names(f"{_CLASS}/{device}/ports"):
        base = f"{_CLASS}/{device}/ports/{port}"
        state = tree.text(f"{base}/state", quiet=True)  # "4: ACTIVE"
        ports.append(
            {
                "port": int(port) if port.isdigit() else port,
                "state": state.rpartition(":")[2].strip() if state else None,
                "link_layer": tree.text(f"{base}/link_layer", quiet=True),
                # EINVAL where the first GID has no network device, as on InfiniBand
                "netdev": tree.text(f"{base}/gid_attrs/ndevs/0", quiet=True) or _parent(tree, device),
            }
        )
    return ports


def _parent(tree: Tree, device: str) -> str | None:
    """The network device that a software device (rxe, siw) was made on."""
    return tree.text(f"{_CLASS}/{device}/parent", quiet=True) or None
