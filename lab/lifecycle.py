# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""up and down: what makes a laboratory, verifies one that runs, and takes it away."""

from __future__ import annotations

import concurrent.futures
import pathlib
import shutil
import sys
import typing as t

from lab import base, build, controlplane, inventory, machine, network, nodes, proc, state
from lab.common import REPO, LabError, Steps, cache_dir, lock, wait_for

State = state.State


def _alone(name: str) -> t.ContextManager[None]:
    """One command at a time on a laboratory. The lock's file stays: removing it would let two commands in."""
    busy = f"waiting for another command on {name}"
    return lock(cache_dir() / "locks" / state.lab_id(name), lambda: print(busy, file=sys.stderr))


def up(name: str, workers: int | None) -> State:
    """Start the laboratory, or verify a running one and start only what is missing there."""
    machine.check_root()
    state.check_name(name)
    with _alone(name):
        steps = Steps(7)
        steps.step("the machine")
        machine.check_disk()
        machine.check_packages(steps.say)
        machine.check_kernel(steps.say)
        steps.step("tools")
        tools = build.ensure(steps)
        steps.step("the nodes' Debian tree")
        tree = base.ensure(steps.say)
        current = state.load(name)
        if current is not None and not current.get("complete"):
            steps.say("an earlier `up` did not end: removing what it left")
            _remove(name, steps.say)
            current = None
        if current is None:
            current = _prepare(name, 3 if workers is None else workers, tools, steps.say)
        elif workers is not None and workers + 1 != len(current["nodes"]):
            raise LabError(f"Laboratory {name} runs with {len(current['nodes']) - 1} workers: run `down` first.")
        _start(current, tree, tools, steps)
        return current


def _prepare(name: str, workers: int, tools: dict[str, str], say: t.Callable[[str], None]) -> State:
    """Take names and subnets; from here on `down` finds everything."""
    if not 1 <= workers < nodes.MAX_NODES:
        raise LabError(f"--nodes must be 1 to {nodes.MAX_NODES - 1} workers, not {workers}.")
    lab_id = state.lab_id(name)
    _remove(name, say)  # left-overs of a laboratory whose state was lost
    folder = state.directory(name)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    with lock(cache_dir() / ".network.lock"):  # two laboratories must not take the same subnets
        subnets = network.free_subnets()
        network.make_bridges(lab_id, subnets)
    planned = nodes.plan(workers, subnets)
    current: State = {
        "schema": 1,
        "name": name,
        "id": lab_id,
        "complete": False,
        "repo": str(REPO),
        "subnet": subnets[0],
        "mgmt_subnet": subnets[1],
        "bridge": network.bridges(lab_id)[0],
        "mgmt_bridge": network.bridges(lab_id)[1],
        "gateway": network.gateway(subnets[0]),
        "nodes": planned,
        "kubeconfig": str(folder / "kubeconfig"),
        "ssh_key": str(folder / "id_ed25519"),
        "ssh_config": str(folder / "ssh_config"),
        "opspw_password_file": str(folder / "opspw_password"),
        "pod_cidr": controlplane.POD_CIDR,
        "service_cidr": controlplane.SERVICE_CIDR,
        "tools": tools,
        "chart": str(pathlib.Path(tools["cilium"]) / "chart"),
        "kernel_wireguard": inventory.kernel_wireguard(),
        "control_plane": None,
        "standin": None,
    }
    state.save(current)
    nodes.make_keys(folder, planned)
    return current


def _start(current: State, tree: pathlib.Path, tools: dict[str, str], steps: Steps) -> None:
    folder, lab_id = state.directory(current["name"]), current["id"]
    made = network.make_bridges(lab_id, (current["subnet"], current["mgmt_subnet"]))
    machine.raise_inotify(steps.say)
    dead = [node for node in current["nodes"] if made or not nodes.running(node)]
    steps.step(f"{len(dead)} of {len(current['nodes'])} nodes to boot" if dead else "all nodes run")
    nodes.stop(lab_id, dead)
    for node in dead:
        nodes.start(lab_id, node, tree, folder, current["gateway"])
    state.save(current)
    with concurrent.futures.ThreadPoolExecutor(max_workers=16) as pool:
        waits = [pool.submit(nodes.wait_ready, node) for node in dead]
        steps.step("control plane")
        _control_plane(current, folder, tools, steps)
        for wait in waits:
            wait.result()
    state.save(current)
    steps.step(f"{len(current['nodes'])} Node objects")
    api = controlplane.client(current["control_plane"])
    wait_for("the API server", api.ready, 60)
    controlplane.register_nodes(api, current["nodes"])
    controlplane.make_namespaces(api, ["ai-workloads"])
    names = {node["name"] for node in current["nodes"]}
    wait_for("the Nodes to be Ready", lambda: names <= controlplane.ready_nodes(api), 60, every=0.2)
    steps.step("stand-in for the Cilium agents")
    if dead:  # its agents hold on to the inits of nodes that are gone
        proc.end(current["standin"])
    start_standin(current)
    current["complete"] = True
    state.save(current)
    steps.say(f"laboratory {current['name']} is up")


def _control_plane(current: State, folder: pathlib.Path, tools: dict[str, str], steps: Steps) -> None:
    if current["control_plane"] is None:
        with lock(cache_dir() / ".ports.lock"):  # kwokctl looks for free ports: two at once would find the same
            current["control_plane"] = controlplane.create(current["id"], folder, current["gateway"], tools)
        state.save(current)
    else:
        started = controlplane.start_missing(current["id"], current["control_plane"])
        if started:
            steps.say(f"  restarted: {', '.join(started)}")
    controlplane.write_kubeconfig(
        pathlib.Path(current["kubeconfig"]), current["name"], current["gateway"], current["control_plane"]
    )


def start_standin(current: State) -> bool:
    """Start the stand-in's process if it does not run; returns whether it was started."""
    if proc.alive(current["standin"]):
        return False
    folder = state.directory(current["name"])
    argv = [sys.executable, "-m", "lab.standin", str(folder)]
    env = {"PYTHONPATH": str(REPO), "PYTHONUNBUFFERED": "1"}
    log = folder / "logs" / "standin.log"
    current["standin"] = proc.start(current["id"], "standin", argv, log, env=env, cwd=str(REPO))
    return True


def heal(name: str) -> None:
    """Restart the stand-in: as if every agent restarted, it reads the configuration and writes all peers again."""
    machine.check_root()
    current = state.need(name)
    proc.end(current["standin"])
    start_standin(current)
    state.save(current)


def down(name: str) -> list[str]:
    """Take the laboratory away, whatever state it is in; returns what there was."""
    machine.check_root()
    state.check_name(name)
    with _alone(name):
        gone = _remove(name, lambda _text: None)
        machine.restore_inotify()
    return gone


def _remove(name: str, say: t.Callable[[str], None]) -> list[str]:
    lab_id, folder = state.lab_id(name), state.directory(name)
    gone: list[str] = []
    try:
        current = state.load(name)
    except LabError:
        current = None
    if current:
        proc.end(current.get("standin"), seconds=2)
        if current.get("control_plane"):
            controlplane.stop(current["control_plane"])
        nodes.stop(lab_id, current["nodes"])
        gone.append(f"{len(current['nodes'])} nodes")
    left = proc.end_leftovers(lab_id)
    gone += [f"{left} processes"] if left else []
    gone += network.remove(lab_id)
    nodes.remove_propagate(lab_id)
    proc.remove_cgroups(lab_id)
    if folder.exists():
        shutil.rmtree(folder)
        gone.append(str(folder))
    if gone:
        say(f"removed: {', '.join(gone)}")
    return gone


def status(name: str) -> dict[str, t.Any]:
    """What runs of a laboratory; "state" is up, degraded or down."""
    current = state.load(name)
    if current is None:
        return {"name": name, "state": "down"}
    plane = current["control_plane"]
    answer: dict[str, t.Any] = {
        "name": name,
        "kubeconfig": current["kubeconfig"],
        "ssh_config": current["ssh_config"],
        "server": f"https://{current['gateway']}:{plane['port']}" if plane else None,
        "wireguard": "kernel" if current["kernel_wireguard"] else "wireguard-go (userspace)",
        "nodes": [
            {
                "name": node["name"],
                "inventory_name": node["inventory_name"],
                "ip": node["ip"],
                "running": nodes.running(node),
                "ssh": nodes.running(node) and nodes.ssh_answers(node["ip"]),
            }
            for node in current["nodes"]
        ],
        "control_plane": {c: proc.alive(r) for c, r in plane["components"].items()} if plane else {},
        "stand-in for the Cilium agents": proc.alive(current["standin"]),
    }
    good = current["complete"] and plane and all(answer["control_plane"].values()) and proc.alive(current["standin"])
    good = good and all(node["ssh"] for node in answer["nodes"]) and controlplane.client(plane).ready()
    answer["state"] = "up" if good else "degraded"
    return answer
