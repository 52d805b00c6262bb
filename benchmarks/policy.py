#!/usr/bin/env python3
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies from a directory through playbooks/policy.yml, beside kubectl and an empty module, in one run.

Usage: ZEROTRUST_LAB=demo benchmarks/policy.py [--count 1000]
Needs a running laboratory with Cilium installed (make demo). The set is called "benchmark" and is pruned at the end.
Goals, not limits: 4 s first and 2 s unchanged for the whole ansible-playbook run with 1,000 policies.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from measure import timed

from lab import state


def policy(number: int) -> dict[str, object]:
    """A policy of the model and, as its fields are few, easy to write as an object of Cilium by hand."""
    return {
        "name": f"app-{number}",
        "namespace": "ai-workloads",
        "to": {"labels": {"app": f"app-{number}"}},
        "allow": [{"from": {"labels": {"app": "client"}}, "ports": [1024 + number]}],
    }


def manifest(number: int) -> dict[str, object]:
    """The same rule as a CiliumNetworkPolicy for kubectl."""
    port = {"port": str(1024 + number), "protocol": "TCP"}
    rule = {"fromEndpoints": [{"matchLabels": {"app": "client"}}], "toPorts": [{"ports": [port]}]}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": f"kubectl-{number}", "namespace": "ai-workloads"},
        "spec": {"endpointSelector": {"matchLabels": {"app": f"kubectl-{number}"}}, "ingress": [rule]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=1000)
    count = parser.parse_args().count
    found = state.need(state.default_name())
    with tempfile.TemporaryDirectory(prefix="zerotrust-bench-") as name:
        folder = pathlib.Path(name)
        full, empty = folder / "full", folder / "empty"
        full.mkdir()
        empty.mkdir()
        for number in range(count):
            (full / f"{number:04}.yml").write_text(json.dumps(policy(number)))
        objects = folder / "objects.json"
        items = [manifest(number) for number in range(count)]
        objects.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        shared = {
            "mtls_policy_set": "benchmark",
            "mtls_policy_stage": "enforce",
            "zerotrust_allow": ["enforce", "prune"],
        }

        def ours(files: pathlib.Path) -> list[str]:
            extra = json.dumps({**shared, "zerotrust_policy_files": str(files)})
            return ["ansible-playbook", "-i", "inventories/lab", "playbooks/policy.yml", "-e", extra]

        kubectl = [found["tools"]["kubectl"], "--kubeconfig", found["kubeconfig"]]
        server_side = [*kubectl, "apply", "--server-side", "-f", str(objects)]
        module = ["ansible", "localhost", "-i", "localhost,", "-c", "local", "-m", "ping"]
        # discovery may find a version manager's shim, which is no interpreter
        module += ["-e", f"ansible_python_interpreter={sys.executable}"]
        rows = [
            ("an empty module (ping)", timed(module)[0]),
            ("policy.yml without policies", timed(ours(empty))[0]),
            ("policy.yml, first", timed(ours(full))[0]),
            ("policy.yml, unchanged", timed(ours(full))[0]),
            ("kubectl apply --server-side, first", timed(server_side)[0]),
            ("kubectl apply --server-side, unchanged", timed(server_side)[0]),
        ]
        timed(ours(empty))
        timed([*kubectl, "delete", "--wait=false", "-f", str(objects)])
    base = rows[0][1]
    print(f"{count} policies")
    for label, seconds in rows:
        print(f"{label:40} {seconds:6.2f} s, {seconds / base:5.2f} x an empty module")


if __name__ == "__main__":
    main()
