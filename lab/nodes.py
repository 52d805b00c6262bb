# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes: systemd-nspawn containers from one tree, each with identity, keys and network of its own."""

from __future__ import annotations

import os
import pathlib
import re
import secrets
import shutil
import socket
import typing as t
import uuid

from lab import network, proc
from lab.common import LabError, run, wait_for, write_private

Node = dict[str, t.Any]
MAX_NODES = 50
CONTROL_PLANE = "cp1"
# the one node whose inventory name is not its Node name, as in many real inventories
INVENTORY_NAMES = {"gpu3": "rack7-gpu3"}


def plan(workers: int, subnets: tuple[str, str]) -> list[Node]:
    """The nodes of a laboratory: one control plane and the workers, addresses from .11 on."""
    names = [CONTROL_PLANE] + [f"gpu{n}" for n in range(1, workers + 1)]
    base, mgmt = (subnet.rpartition(".")[0] for subnet in subnets)
    return [
        {
            "name": name,
            "number": number,
            "inventory_name": INVENTORY_NAMES.get(name, name),
            "ip": f"{base}.{10 + number}",
            "mgmt_ip": f"{mgmt}.{10 + number}",
            "role": "control-plane" if number == 1 else "worker",
            "interface": "node0",
            "machine_id": uuid.uuid4().hex,
            "pod_cidr": f"10.244.{number}.0/24",
            "leader_pid": None,
            "leader_start": None,
            "process": None,
        }
        for number, name in enumerate(names, 1)
    ]


def make_keys(state: pathlib.Path, nodes: list[Node]) -> None:
    """The laboratory's SSH key, a host key per node, the password of opspw, known_hosts and ssh_config."""
    key = state / "id_ed25519"
    if not key.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "aicluster-zerotrust-lab", "-f", key])
    password = state / "opspw_password"
    if not password.exists():
        write_private(password, secrets.token_urlsafe(18) + "\n")
    public = key.with_suffix(".pub").read_text(encoding="utf-8")
    hosts = ["127.0.0.1 localhost", "::1 localhost"] + [f"{node['ip']} {node['name']}" for node in nodes]
    known = []
    config = []
    for node in nodes:
        seed = state / "nodes" / node["name"]
        seed.mkdir(parents=True, exist_ok=True, mode=0o700)
        host_key = seed / "ssh_host_ed25519_key"
        if not host_key.exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", node["name"], "-f", host_key])
        write_private(seed / "hostname", node["name"] + "\n", 0o644)
        write_private(seed / "hosts", "\n".join(hosts) + "\n", 0o644)
        write_private(seed / "authorized_keys", public, 0o644)
        write_private(seed / "password", f"opspw:{password.read_text(encoding='utf-8')}")
        kind, blob = host_key.with_suffix(".pub").read_text(encoding="utf-8").split()[:2]
        known.append(f"{node['ip']},{node['mgmt_ip']} {kind} {blob}")
        aliases = dict.fromkeys([node["name"], node["inventory_name"]])
        config += [f"Host {' '.join(aliases)}", f"  HostName {node['ip']}", ""]
    config += ["Host *", "  User ops", f"  IdentityFile {key}", "  IdentitiesOnly yes"]
    config += [f"  UserKnownHostsFile {state / 'known_hosts'}", "  StrictHostKeyChecking yes", "  LogLevel ERROR"]
    write_private(state / "known_hosts", "\n".join(known) + "\n", 0o600)
    write_private(state / "ssh_config", "\n".join(config) + "\n", 0o600)


def machine(lab_id: str, node: Node) -> str:
    return f"zt-{lab_id}-{node['name']}"


def remove_propagate(lab_id: str) -> None:
    """nspawn's folders for mounts made later. It removes them itself, but refuses where /run is no tmpfs: and then
    refuses the next machine of that name, too."""
    for folder in pathlib.Path("/run/systemd/nspawn/propagate").glob(f"zt-{lab_id}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def start(lab_id: str, node: Node, base: pathlib.Path, state: pathlib.Path, gw: str) -> None:
    """Make the node's network and boot it; the record of the process goes into node["process"]."""
    shutil.rmtree(f"/run/systemd/nspawn/propagate/{machine(lab_id, node)}", ignore_errors=True)
    network.make_namespace(lab_id, node["number"], node["name"], node["ip"], node["mgmt_ip"], gw)
    argv = [
        "systemd-nspawn", "--quiet", f"--directory={base}", f"--machine={machine(lab_id, node)}",
        "--register=no", "--keep-unit", "--boot", "--volatile=overlay", "--settings=no",
        f"--network-namespace-path=/run/netns/{network.namespace(lab_id, node['name'])}",
        # not the clock, the modules nor the devices of the host
        "--capability=all", "--drop-capability=CAP_SYS_TIME,CAP_SYS_MODULE,CAP_SYS_RAWIO",
        "--bind=/dev/net/tun", f"--bind-ro={state / 'nodes' / node['name']}:/etc/lab",
        f"--hostname={node['name']}", f"--uuid={uuid.UUID(node['machine_id'])}",
        "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=passive",
    ]  # fmt: skip
    # "network": sysctls under net/ are the node's own and writable, the others are the host's and are not
    node["process"] = proc.start(
        lab_id,
        node["name"],
        argv,
        state / "logs" / f"{node['name']}.log",
        env={"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
        delegate=True,
    )


def _children(pid: int) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = pathlib.Path(f"/proc/{entry}/stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            if int(fields.rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry))
    return found


def find_leader(node: Node) -> int | None:
    """PID (on the host) of the node's init: the child of nspawn that is 1 in its own PID namespace."""
    for pid in _children(node["process"]["pid"]):
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        except OSError:
            continue
        line = next((line for line in status.splitlines() if line.startswith("NSpid:")), "")
        if len(line.split()) == 3 and line.split()[2] == "1":
            return pid
    return None


def ssh_answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            connection.settimeout(2)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _why(log: pathlib.Path) -> str:
    """The line of a node's log that says most: the last failure, else the last line."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(encoding="utf-8", errors="replace"))
    lines = [line for line in text.splitlines() if line.strip() and "disk file system under" not in line]
    failures = [line for line in lines if "Failed" in line and "symlink" not in line]
    return (failures or lines or ["no message"])[-1].strip()


def wait_ready(node: Node, seconds: float = 60) -> None:
    """Wait until sshd speaks on the node's address, and record the leader."""

    def ready() -> bool:
        if not proc.alive(node["process"]):
            log = pathlib.Path(node["process"]["log"])
            raise LabError(f"Node {node['name']} ended while it booted: {_why(log)} (log: {log}).")
        return ssh_answers(node["ip"])

    wait_for(f"sshd on node {node['name']} ({node['ip']})", ready, seconds)
    leader = find_leader(node)
    if leader is None:
        raise LabError(f"Node {node['name']} answers, but its init process was not found.")
    node["leader_pid"] = leader
    node["leader_start"] = proc.start_time(leader)
    node["boot_id"] = read_in_node(node, "/proc/sys/kernel/random/boot_id").strip()


def read_in_node(node: Node, path: str) -> str:
    return pathlib.Path(f"/proc/{node['leader_pid']}/root{path}").read_text(encoding="utf-8")


def running(node: Node) -> bool:
    return proc.alive(node.get("process")) and leader_runs(node)


def leader_runs(node: Node) -> bool:
    return bool(node.get("leader_pid")) and proc.start_time(node["leader_pid"]) == node["leader_start"]


def nsenter(node: Node, argv: t.Sequence[str], **options: t.Any) -> t.Any:
    """Run a command inside the node."""
    if not leader_runs(node):
        raise LabError(f"Node {node['name']} does not run any more.")
    return run(["nsenter", "-t", str(node["leader_pid"]), "-m", "-u", "-i", "-n", "-p", "--", *argv], **options)


def stop(lab_id: str, stopped: t.Sequence[Node]) -> None:
    """End nodes at once: their disks are overlays in memory, so there is nothing to flush.

    The init is killed first: nspawn then ends by itself and cleans up, which it cannot do when it is killed.
    """
    for node in stopped:
        if leader_runs(node):
            proc.kill({"pid": node["leader_pid"], "start": node["leader_start"]})
    for node in stopped:
        proc.end(node.get("process"), seconds=3, number=0)
        proc.end_leftovers(lab_id, node["name"])  # an init outlives a killed nspawn
        network.remove_namespace(network.namespace(lab_id, node["name"]))
        proc.remove_cgroups(lab_id, node["name"])
        node.update(process=None, leader_pid=None, leader_start=None)
