# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses what a change could disturb: GPUs, RDMA verbs, Slurm.

Users of verbs inside the kernel (NFS over RDMA, Lustre) hold no file and are not seen here.
Source: proc(5); comm names are cut to 15 characters.
"""

from __future__ import annotations

import os

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.tree import Tree

# Daemons that hold a GPU open on every host and compute nothing on it.
_GPU_DAEMONS = frozenset(
    name[:15]
    for name in ("nvidia-persistenced", "nv-fabricmanager", "nv-hostengine", "dcgm-exporter", "nvidia-device-plugin")
)


def observe_busy(tree: Tree) -> dict[str, int | None]:
    """{"gpu_processes", "verbs_users", "slurm_steps"}: numbers of processes; None where it could not be determined."""
    devices = tree.names("/dev")
    if not devices:
        tree.note("busy", "/dev is empty or cannot be read")
    gpus = any(_is_gpu(f"/dev/{name}") for name in devices)
    verbs = any(name.startswith("uverbs") for name in tree.names("/dev/infiniband"))
    counts: dict[str, int | None] = {
        "gpu_processes": 0 if devices else None,
        "verbs_users": 0 if devices else None,
        "slurm_steps": 0,
    }
    processes = [name for name in tree.names("/proc") if name.isdigit()]
    if not processes:
        tree.note("busy", "/proc shows no process")
        return dict.fromkeys(counts)
    for process in processes:
        name = tree.text(f"/proc/{process}/comm", quiet=True)
        if name == "slurmstepd" and not _is_slurm_keeper(tree, process):
            _count(counts, "slurm_steps")
        if not gpus and not verbs:
            continue
        held = _held(tree, process)
        if held is None:  # not ours to read: nothing is known of what it holds
            counts.update({key: None for key, there in (("gpu_processes", gpus), ("verbs_users", verbs)) if there})
            continue
        if name not in _GPU_DAEMONS and any(map(_is_gpu, held)):
            _count(counts, "gpu_processes")
        if any(path.startswith("/dev/infiniband/uverbs") for path in held):
            _count(counts, "verbs_users")
    return counts


def _count(counts: dict[str, int | None], key: str) -> None:
    number = counts[key]
    counts[key] = None if number is None else number + 1


def _is_gpu(path: str) -> bool:
    """NVIDIA's devices, and AMD's kfd, which every ROCm process opens."""
    return path.startswith("/dev/nvidia") or path == "/dev/kfd"


def _is_slurm_keeper(tree: Tree, process: str) -> bool:
    """Whether it is the "slurmstepd infinity" that Slurm keeps for its cgroup on an idle host."""
    return b"infinity" in (tree.data(f"/proc/{process}/cmdline", quiet=True) or b"").split(b"\0")


def _held(tree: Tree, process: str) -> set[str] | None:
    """Paths that the process has open; empty where it has ended, None where it may not be read."""
    base = tree.path(f"/proc/{process}/fd")
    held: set[str] = set()
    try:
        for name in os.listdir(base):
            try:
                held.add(os.readlink(f"{base}/{name}"))
            except FileNotFoundError:
                continue  # closed in between
    except (FileNotFoundError, ProcessLookupError):
        return set()
    except PermissionError as error:
        tree.note("busy", f"open files of processes: {error.strerror}")
        return None
    return held
