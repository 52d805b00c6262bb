#!/usr/bin/env python3
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies Istio's charts and the Gateway API's CRDs out of the laboratory's pinned Go modules into a folder."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from lab import build  # noqa: E402

CHARTS = {
    "base": "base",
    "istiod": "istio-control/istio-discovery",
    "cni": "istio-cni",
    "ztunnel": "ztunnel",
}


def module(name: str) -> pathlib.Path:
    command = [build.go(print), "mod", "download", "-json", name]
    done = subprocess.run(
        command,
        cwd=ROOT / "lab" / "tools" / "istio",
        env=build.go_environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    return pathlib.Path(json.loads(done.stdout)["Dir"])


def main(target: pathlib.Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    istio = module("istio.io/istio") / "manifests" / "charts"
    for name, where in CHARTS.items():
        shutil.copytree(istio / where, target / name, copy_function=shutil.copyfile)
    crds = module("sigs.k8s.io/gateway-api") / "config" / "crd" / "standard"
    shutil.copytree(crds, target / "gateway-api", copy_function=shutil.copyfile)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
