# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Ansible inventory of a running laboratory."""

from __future__ import annotations

import ctypes
import datetime
import functools
import gzip
import json
import os
import platform
import re
import typing as t

from lab.build import cached, istio_dir
from lab.common import REPO, run
from lab.state import State, directory
from lab.versions import ISTIO

ACCEPTED = REPO / "lab" / "accepted.json"


@functools.lru_cache(maxsize=1)
def kernel_wireguard() -> bool:
    """Whether `ip link add type wireguard` works here; tried on a name that nothing else uses."""
    probe = f"ztprobe{os.getpid() % 100000}"
    done = run(["ip", "link", "add", probe, "type", "wireguard"], check=False)
    if done.returncode == 0:
        run(["ip", "link", "del", probe], check=False)
    return done.returncode == 0


def kernel_options() -> dict[str, str] | None:
    """The running kernel's configuration, or None where it cannot be read."""
    for path, opener in ((f"/boot/config-{platform.release()}", open), ("/proc/config.gz", gzip.open)):
        try:
            with opener(path, "rt", encoding="utf-8") as handle:
                return dict(re.findall(r"^(CONFIG_\w+)=(\S+)", handle.read(), re.M))
        except OSError:
            continue
    return None


def clock_synchronised() -> bool:
    """adjtimex: true where the kernel does not report STA_UNSYNC."""
    buffer = (ctypes.c_long * 64)()
    return ctypes.CDLL(None, use_errno=True).adjtimex(buffer) not in (-1, 5)  # 5 is TIME_ERROR


def _holds(entry: t.Mapping[str, t.Any], wireguard: bool) -> bool:
    """Whether the reason for an entry of accepted.json exists on this machine."""
    condition = entry["when"]
    if condition == "cgroup_v1":
        return os.path.isdir("/sys/fs/cgroup/systemd") or os.path.isdir("/sys/fs/cgroup/memory")
    if condition == "clock_unsynchronised":
        return not clock_synchronised()
    if condition == "no_kernel_wireguard":
        return not wireguard
    if condition == "options_missing":
        config = kernel_options()
        return config is not None and any(option not in config for option in entry["observed"])
    if condition == "stand_in":
        return True  # kwok plays every kubelet, so what a pod's program would do is never done
    raise ValueError(f"unknown condition {condition!r} in {ACCEPTED}")


def accepted(hosts: t.Iterable[str], wireguard: bool) -> list[dict[str, t.Any]]:
    """Entries of zerotrust_accept: the fixed list of lab/accepted.json, spelled out for each host by name, or for the
    subjects that an entry names."""
    table = json.loads(ACCEPTED.read_text(encoding="utf-8"))
    until = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=table["valid_days"])).date()
    shared = {"owner": table["owner"], "until": until.isoformat()}
    entries = []
    for entry in table["findings"]:
        if _holds(entry, wireguard):
            kept = {key: value for key, value in entry.items() if key not in ("when", "subjects")}
            subjects = entry.get("subjects") or [f"host {host}" for host in hosts]
            entries += [{**kept, "subject": subject, **shared} for subject in subjects]
    return entries


def build(state: State) -> dict[str, t.Any]:
    """The inventory as Ansible's --list wants it."""
    folder = directory(state["name"])
    groups: dict[str, list[str]] = {"kube_control_plane": [], "kube_node": [], "etcd": [], "gpu_node": []}
    hostvars = {}
    for node in state["nodes"]:
        host = node["inventory_name"]
        if node["role"] == "control-plane":
            groups["kube_control_plane"].append(host)
            groups["etcd"].append(host)
        else:
            groups["kube_node"].append(host)
            groups["gpu_node"].append(host)
        hostvars[host] = {
            "ansible_host": node["ip"],
            "ansible_user": "ops",
            "ansible_ssh_private_key_file": state["ssh_key"],
            "ansible_ssh_common_args": (
                f"-o UserKnownHostsFile={folder / 'known_hosts'} -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
            ),
            # A laboratory that comes after this one may have the same addresses: its connections are others.
            "ansible_control_path": f"%(directory)s/zt-{node['machine_id'][:12]}-%%r",
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        if host != node["name"]:
            hostvars[host]["zerotrust_node_name"] = node["name"]
    variables = {
        "zerotrust_kubeconfig": state["kubeconfig"],
        "zerotrust_context": state["name"],
        "zerotrust_node_cidrs": [state["subnet"]],
        "zerotrust_report_dir": str(folder / "reports"),
        "zerotrust_accept": accepted(hostvars, state["kernel_wireguard"]),
        "cilium_helm_binary": state["tools"]["helm"],
        "cilium_chart_ref": state["chart"],
        "cilium_k8s_service_host": state["gateway"],
        "cilium_k8s_service_port": state["control_plane"]["port"],
        "istio_ambient_helm_binary": state["tools"]["helm"],
        "istio_ambient_chart_dir": str(istio_dir() / "charts"),
        "istio_ambient_gateway_api_crds": str(istio_dir() / "gateway-api"),
        # the charts of the source name images of a test registry; nothing here ever pulls one
        "istio_ambient_hub": "docker.io/istio",
        "istio_ambient_tag": ISTIO,
        "istio_ambient_namespaces": ["ai-workloads"],
        "lab_name": state["name"],
    }
    # optional tools, which nothing of the laboratory needs: their variables are there when they were built
    for name in ("spire-server", "spire-agent"):
        if cached(name).exists():
            variables[f"{name.replace('-', '_')}_binary"] = str(cached(name))
    return {
        "_meta": {"hostvars": hostvars},
        "all": {"children": ["ungrouped", *groups], "vars": variables},
        **{name: {"hosts": hosts} for name, hosts in groups.items()},
    }


def static_file(state: State) -> str:
    """The same inventory as one file with every variable in it, for use without the script (JSON is YAML)."""
    listing = build(state)
    hostvars = listing["_meta"]["hostvars"]
    children = {
        group: {"hosts": {host: hostvars[host] for host in listing[group]["hosts"]}}
        for group in listing["all"]["children"]
        if group in listing
    }
    return json.dumps({"all": {"vars": listing["all"]["vars"], "children": children}}, indent=2) + "\n"
