# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real control plane without nodes; kwok plays the kubelets."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import typing as t


@contextlib.contextmanager
def control_plane(tools: t.Mapping[str, str], folder: pathlib.Path, name: str) -> t.Iterator[dict[str, str]]:
    """The environment with KUBECONFIG of a cluster that is ready; it and all its processes are gone afterwards.

    tools: as lab.build.ensure() gives them. name: made unique by the process.
    """
    kubeconfig = folder / "kubeconfig"
    path = f"{pathlib.Path(tools['kubectl']).parent}:{os.environ.get('PATH', '')}"
    environment = {**os.environ, "KWOK_WORKDIR": str(folder / "work"), "PATH": path, "KUBECONFIG": str(kubeconfig)}
    base = [tools["kwokctl"], "--name", f"{name}-{os.getpid()}"]
    where = ["--kubeconfig", str(kubeconfig)]
    argv = [*base, "create", "cluster", "--runtime", "binary", "--wait", "90s", *where]
    argv += ["--kube-authorization", "--kube-admission", "--kwok-controller-binary", tools["kwok"]]
    for flag in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"):
        argv += [f"--{flag}-binary", tools[flag]]
    try:
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        yield environment
    finally:
        delete = [*base, "delete", "cluster", *where]
        subprocess.run(delete, env=environment, capture_output=True, timeout=60, check=False)
