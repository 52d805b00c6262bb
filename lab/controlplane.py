# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control plane: etcd, kube-apiserver, controller-manager and scheduler as processes, kwok as the kubelets.

kwokctl makes certificates and configuration and starts the components once; from then on we know their command
lines, restart what is missing and end them by pid and start time ourselves.
"""

from __future__ import annotations

import base64
import json
import os
import pathlib
import platform
import re
import shutil
import typing as t

from lab import proc
from lab.api import Api, ApiError
from lab.common import LabError, wait_for, write_private

SERVICE_CIDR = "10.96.0.0/16"
POD_CIDR = "10.244.0.0/16"
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok-controller")
Plane = dict[str, t.Any]  # {"port": int, "pki": str, "components": {name: Record}}


def cluster_dir(state: pathlib.Path) -> pathlib.Path:
    return state / "kwok" / "clusters" / "lab"


def _configuration(gateway: str) -> str:
    """kwokctl's configuration. (Its flag --extra-args panics when given twice, version 0.8.0.)"""
    extra = {
        "kube-apiserver": {
            "bind-address": "0.0.0.0",
            "advertise-address": gateway,
            "service-cluster-ip-range": SERVICE_CIDR,
        },
        "kube-controller-manager": {"service-cluster-ip-range": SERVICE_CIDR, "cluster-cidr": POD_CIDR},
    }
    patches = []
    for name, args in extra.items():
        # kwokctl overrides what it sets itself (bind-address), and adds the rest
        listed = [{"key": key, "value": value, "override": key == "bind-address"} for key, value in args.items()]
        patches.append({"name": name, "extraArgs": listed})
    document = {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokctlConfiguration",
        "options": {"bindAddress": "127.0.0.1", "kubeApiserverCertSANs": [gateway]},
        "componentsPatches": patches,
    }
    return json.dumps(document, indent=1) + "\n"


def create(lab_id: str, state: pathlib.Path, gateway: str, tools: t.Mapping[str, str]) -> Plane:
    """Create and start the control plane; the API server listens on all addresses, the rest on loopback."""
    shutil.rmtree(state / "kwok", ignore_errors=True)
    config = state / "kwok" / "config.yaml"
    write_private(config, _configuration(gateway))
    argv = [tools["kwokctl"], "create", "cluster", "--name", "lab", "--runtime", "binary", "--wait", "90s"]
    argv += ["--config", str(config), "--kubeconfig", str(state / "kwok" / "kubeconfig.kwokctl")]
    for flag, binary in (
        ("kube-apiserver", "kube-apiserver"),
        ("kube-controller-manager", "kube-controller-manager"),
        ("kube-scheduler", "kube-scheduler"),
        ("etcd", "etcd"),
        ("kwok-controller", "kwok"),
    ):
        argv += [f"--{flag}-binary", tools[binary]]
    argv += ["--kube-authorization", "--kube-admission"]
    kubectl_first = f"{pathlib.Path(tools['kubectl']).parent}:{os.environ.get('PATH', '')}"
    env = {"KWOK_WORKDIR": str(state / "kwok"), "PATH": kubectl_first}
    log = state / "logs" / "kwokctl.log"
    # run as a started process, so that the components that it leaves behind are in the laboratory's cgroup
    record = proc.start(lab_id, "control-plane", argv, log, env=env)
    wait_for("kwokctl to start the control plane", lambda: not proc.alive(record), 120)
    folder = cluster_dir(state)
    if not (folder / "pki" / "admin.crt").exists() or "Cluster is ready" not in log.read_text(encoding="utf-8"):
        raise LabError(f"kwokctl could not start the control plane; its log is {log}, the components' {folder}/logs.")
    components = {}
    for name in COMPONENTS:
        pid = int((folder / "pids" / f"{name}.pid").read_text(encoding="utf-8"))
        argv = pathlib.Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").rstrip("\0").split("\0")
        components[name] = proc.record_of(pid, argv=argv, cwd=str(folder), log=str(folder / "logs" / f"{name}.log"))
    port = re.search(r"--secure-port=(\d+)", " ".join(components["kube-apiserver"]["argv"]))
    if not port:
        raise LabError("kwokctl started a kube-apiserver without --secure-port.")
    return {"port": int(port[1]), "pki": str(folder / "pki"), "components": components}


def start_missing(lab_id: str, plane: Plane) -> list[str]:
    """Start the components that do not run, in order; returns their names."""
    started = []
    for name in COMPONENTS:
        record = plane["components"][name]
        if not proc.alive(record):
            new = proc.start(lab_id, f"cp-{name}", record["argv"], pathlib.Path(record["log"]), cwd=record["cwd"])
            plane["components"][name] = new
            started.append(name)
    if started:
        api = client(plane)
        wait_for("the API server to be ready", api.ready, 60, every=0.2)
    return started


def client(plane: Plane) -> Api:
    return Api("127.0.0.1", plane["port"], pathlib.Path(plane["pki"]))


def stop(plane: Plane) -> None:
    """End the components, etcd last."""
    for name in reversed(COMPONENTS):
        proc.end(plane["components"].get(name), seconds=0.3)


def write_kubeconfig(path: pathlib.Path, name: str, gateway: str, plane: Plane) -> None:
    """A self-contained kubeconfig; its server is the bridge's address, which host and nodes both reach."""

    def data(file: str) -> str:
        return base64.b64encode((pathlib.Path(plane["pki"]) / file).read_bytes()).decode()

    text = f"""apiVersion: v1
kind: Config
current-context: {name}
clusters:
- name: {name}
  cluster:
    server: https://{gateway}:{plane["port"]}
    certificate-authority-data: {data("ca.crt")}
contexts:
- name: {name}
  context: {{cluster: {name}, user: {name}}}
users:
- name: {name}
  user:
    client-certificate-data: {data("admin.crt")}
    client-key-data: {data("admin.key")}
"""
    write_private(path, text)


def node_object(node: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The Node of one laboratory node. kwok keeps the addresses and nodeInfo that it finds."""
    labels = {
        "kubernetes.io/hostname": node["name"],
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64" if platform.machine() == "x86_64" else "arm64",
    }
    if node["role"] == "control-plane":
        labels["node-role.kubernetes.io/control-plane"] = ""
    info = {
        "architecture": labels["kubernetes.io/arch"],
        "operatingSystem": "linux",
        "machineID": node["machine_id"],
        "systemUUID": node["machine_id"],
        "bootID": node.get("boot_id", ""),
        "kernelVersion": platform.release(),
        "osImage": "Debian GNU/Linux 12 (bookworm)",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node["name"], "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "spec": {"podCIDR": node["pod_cidr"], "podCIDRs": [node["pod_cidr"]]},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": node["ip"]},
                {"type": "Hostname", "address": node["name"]},
            ],
            "nodeInfo": {
                # kwok's own: it says kwok-<version> there
                **dict.fromkeys(("containerRuntimeVersion", "kubeletVersion", "kubeProxyVersion"), ""),
                **info,
            },
        },
    }


def register_nodes(api: Api, nodes: t.Iterable[t.Mapping[str, t.Any]]) -> None:
    """Create the Node objects that are missing; one that is there learns the boot id, as after a reboot."""
    for node in nodes:
        try:
            api.post("/api/v1/nodes", node_object(node))
        except ApiError as exc:
            if exc.status != 409:
                raise
            boot = {"status": {"nodeInfo": {"bootID": node["boot_id"]}}}
            api.merge(f"/api/v1/nodes/{node['name']}/status", boot)


def make_namespaces(api: Api, names: t.Iterable[str]) -> None:
    """Namespaces that the laboratory's policies are in, as a user's workloads would have them."""
    for name in names:
        try:
            api.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        except ApiError as exc:
            if exc.status != 409:
                raise


def ready_nodes(api: Api) -> set[str]:
    found = set()
    for item in api.raw("GET", "/api/v1/nodes")["items"]:
        states = {c["type"]: c["status"] for c in item.get("status", {}).get("conditions") or []}
        if states.get("Ready") == "True":
            found.add(item["metadata"]["name"])
    return found
