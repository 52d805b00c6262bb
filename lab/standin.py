# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in for the Cilium agents and operator, as far as WireGuard between nodes goes.

It acts on the cluster's word only. Where a pod of the DaemonSet kube-system/cilium runs on a node, an "agent" of that
node reads cilium-config once, as a real agent does at its start: a changed ConfigMap has no effect until the pod is
replaced. With enable-wireguard it makes cilium_wg0, writes its key into its CiliumNode, and sets a peer for every other
CiliumNode in the API, each only when that CiliumNode changes. What somebody breaks in a kernel therefore stays broken
until the agent's pod is deleted or `lab heal` runs. Without the DaemonSet devices and CiliumNodes are removed.

Run as: python3 -m lab.standin STATE_DIRECTORY
"""

from __future__ import annotations

import datetime
import json
import pathlib
import sys
import time
import traceback
import typing as t

from lab import controlplane, nodes
from lab.api import Api
from lab.common import LabError, wait_for

DEVICE = "cilium_wg0"
PORT = 51871
FWMARK = "0xe00"
OVERHEAD = 95  # what Cilium 1.20 takes off the link's MTU for its device
ANNOTATION = "network.cilium.io/wg-pub-key"
LABEL = "aicluster.zerotrust/agent"
ENCRYPTION_KEY = 255  # how a CiliumNode says WireGuard
MANAGER = "lab-standin"
CILIUM_NODES = "/apis/cilium.io/v2/ciliumnodes"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
KUBE_SYSTEM = "/api/v1/namespaces/kube-system"
DAEMON_SET = "/apis/apps/v1/namespaces/kube-system/daemonsets/cilium"
KEY_FILE = f"/run/cilium-standin/{DEVICE}.key"
UNIT = "cilium-standin-wireguard.service"


def say(text: str) -> None:
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    print(f"{now} stand-in: {text}", flush=True)


class Peer(t.NamedTuple):
    """What a node is told about another one."""

    public_key: str
    endpoint: str
    allowed_ips: tuple[str, ...]


def peer_of(item: t.Mapping[str, t.Any], native: bool) -> Peer | None:
    """The peer that a CiliumNode stands for, or None where it has no key or no address (yet).

    With a tunnel all traffic is between node addresses; with native routing pod addresses travel as they are.
    """
    key = (item["metadata"].get("annotations") or {}).get(ANNOTATION)
    addresses = item["spec"].get("addresses") or []
    internal = [a["ip"] for a in addresses if a["type"] == "InternalIP"]
    if not key or not internal:
        return None
    allowed = [f"{internal[0]}/32"]
    if native:
        allowed += [f"{a['ip']}/32" for a in addresses if a["type"] == "CiliumInternalIP"]
        allowed += (item["spec"].get("ipam") or {}).get("podCIDRs") or []
    return Peer(key, f"{internal[0]}:{PORT}", tuple(sorted(allowed)))


def cilium_node(node: t.Mapping[str, t.Any], owner_uid: str, public_key: str | None) -> dict[str, t.Any]:
    """A CiliumNode as an agent of 1.20 writes it (compared with a capture by a test)."""
    prefix = node["pod_cidr"].rpartition(".")[0]
    metadata: dict[str, t.Any] = {
        "name": node["name"],
        # The one label that no agent writes: whoever shows this object's state can say whose it is.
        "labels": {"kubernetes.io/hostname": node["name"], "kubernetes.io/os": "linux", LABEL: "stand-in"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": node["name"], "uid": owner_uid}],
    }
    if public_key:
        metadata["annotations"] = {ANNOTATION: public_key}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNode",
        "metadata": metadata,
        "spec": {
            "addresses": [
                {"type": "InternalIP", "ip": node["ip"]},
                {"type": "CiliumInternalIP", "ip": f"{prefix}.{100 + node['number']}"},
            ],
            "alibaba-cloud": {},
            "azure": {},
            "bootid": node["boot_id"],
            "encryption": {"key": ENCRYPTION_KEY if public_key else 0},
            "eni": {},
            "health": {},
            "ingress": {},
            "ipam": {"podCIDRs": [node["pod_cidr"]], "pools": {}},
        },
    }


class Agent:
    """The agent of one node: what it read at its start, and which peers it has written."""

    def __init__(self, node: dict[str, t.Any], kernel: bool) -> None:
        self.node = node
        self.kernel = kernel
        self.pod_uid: str | None = None
        self.encrypts = False
        self.native = False
        self.fixed_mtu = 0
        self.written: dict[str, Peer] = {}
        self.fresh = True

    def inside(self, script: str, *args: str) -> str:
        """Run a shell script in the node; values are arguments, never part of the script."""
        done = nodes.nsenter(self.node, ["sh", "-esu", "--", *args], stdin=script, timeout=30)
        return t.cast(str, done.stdout)

    def _sysfs(self, path: str) -> pathlib.Path:
        return pathlib.Path(f"/proc/{self.node['leader_pid']}/root/sys/class/net/{path}")

    def has_device(self) -> bool:
        return self._sysfs(DEVICE).exists()

    def wanted_mtu(self) -> int:
        link = int(self._sysfs(f"{self.node['interface']}/mtu").read_text(encoding="utf-8"))
        return (self.fixed_mtu or link) - OVERHEAD

    def start(self, pod_uid: str, config: t.Mapping[str, str], api: Api) -> None:
        """What an agent does once: read its configuration, make or remove the device, write its CiliumNode."""
        self.encrypts = config.get("enable-wireguard") == "true"
        self.native = config.get("routing-mode") == "native"
        self.fixed_mtu = int(config.get("mtu") or 0)
        key = None
        if self.encrypts:
            key = self._make_device()
        else:
            self.remove_device()
        path = f"{CILIUM_NODES}/{self.node['name']}"
        uid = api.raw("GET", f"/api/v1/nodes/{self.node['name']}")["metadata"]["uid"]
        wanted = cilium_node(self.node, uid, key)
        # our own field manager: what a start without encryption leaves out, the server removes
        api.apply(path, json.dumps(wanted), MANAGER)
        self.written, self.fresh, self.pod_uid = {}, True, pod_uid
        say(f"agent of {self.node['name']} started: WireGuard {'on, key ' + key if key else 'off'}")

    def _make_device(self) -> str:
        if not self.has_device():
            if self.kernel:
                self.inside("ip link add $1 type wireguard", DEVICE)
            else:
                self.inside("systemctl start $1", UNIT)
                wait_for(f"{DEVICE} in {self.node['name']}", self._answers, 10)
        return self.inside(
            """umask 077
mkdir -p "${2%/*}"
[ -s "$2" ] || wg genkey > "$2"
wg set "$1" private-key "$2" listen-port "$3" fwmark "$4"
ip link set "$1" mtu "$5" up
wg pubkey < "$2"
""",
            *(DEVICE, KEY_FILE, str(PORT), FWMARK, str(self.wanted_mtu())),
        ).strip()

    def _answers(self) -> bool:
        socket = pathlib.Path(f"/proc/{self.node['leader_pid']}/root/run/wireguard/{DEVICE}.sock")
        return self.has_device() and socket.exists()

    def remove_device(self) -> None:
        if self.has_device():
            self.inside('systemctl stop "$2" || true; [ ! -e "/sys/class/net/$1" ] || ip link del "$1"', DEVICE, UNIT)
            say(f"{DEVICE} of {self.node['name']} removed")
        self.written = {}

    def follow(self, others: t.Mapping[str, t.Mapping[str, t.Any]]) -> None:
        """Write the peers whose CiliumNodes changed, and the device's MTU when the link's changed."""
        if not self.encrypts or not self.has_device():
            return
        mtu = self.wanted_mtu()
        if int(self._sysfs(f"{DEVICE}/mtu").read_text(encoding="utf-8")) != mtu:
            self.inside('ip link set "$1" mtu "$2"', DEVICE, str(mtu))
        found = {name: peer_of(item, self.native) for name, item in others.items() if name != self.node["name"]}
        wanted = {name: peer for name, peer in found.items() if peer}
        keys = {peer.public_key for peer in wanted.values()}
        words: list[str] = []
        if self.fresh:  # a started agent removes peers that no CiliumNode stands for
            old = set(self.inside('wg show "$1" peers', DEVICE).split())
        else:
            old = {peer.public_key for name, peer in self.written.items() if wanted.get(name) != peer}
        for key in sorted(old - keys):
            words += ["peer", key, "remove"]
        for name, peer in sorted(wanted.items()):
            if self.fresh or self.written.get(name) != peer:
                words += ["peer", peer.public_key, "endpoint", peer.endpoint, "allowed-ips", ",".join(peer.allowed_ips)]
        if words:
            self.inside('wg set "$@"', DEVICE, *words)
            say(f"peers of {self.node['name']} written: {len(wanted)} in all")
        self.written, self.fresh = wanted, False


class Standin:
    """All agents of one laboratory, and what the operator does for them."""

    def __init__(self, state: t.Mapping[str, t.Any], api: Api) -> None:
        self.api = api
        self.crds = pathlib.Path(state["tools"]["cilium"]) / "crds"
        self.agents = {node["name"]: Agent(node, state["kernel_wireguard"]) for node in state["nodes"]}
        self.installed: bool | None = None

    def step(self) -> None:
        installed = self.api.get(DAEMON_SET) is not None
        if installed != self.installed:
            say("DaemonSet kube-system/cilium is there" if installed else "no DaemonSet kube-system/cilium")
        if not installed and self.installed is not False:
            self.uninstall()
        self.installed = installed
        if not installed:
            return
        config_map = self.api.get(f"{KUBE_SYSTEM}/configmaps/cilium-config")
        if config_map is None:
            return
        self.make_crds()
        pods = self.api.raw("GET", f"{KUBE_SYSTEM}/pods?labelSelector=k8s-app%3Dcilium&resourceVersion=0")["items"]
        for pod in pods:
            agent = self.agents.get(pod["spec"].get("nodeName", ""))
            runs = pod["status"].get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")
            if agent and runs and agent.pod_uid != pod["metadata"]["uid"]:
                agent.start(pod["metadata"]["uid"], config_map.get("data") or {}, self.api)
        items = {i["metadata"]["name"]: i for i in self.api.raw("GET", f"{CILIUM_NODES}?resourceVersion=0")["items"]}
        for agent in self.agents.values():
            if agent.pod_uid:
                agent.follow(items)

    def make_crds(self) -> None:
        """Apply Cilium's CRDs from its source module, as its operator does, when they are not there."""
        if self.api.get(f"{CRDS}/ciliumnodes.cilium.io"):
            return
        names = []
        for path in sorted(self.crds.glob("v2*/*.yaml")):
            names.append(f"{path.stem}.cilium.io")
            self.api.apply(f"{CRDS}/{names[-1]}", path.read_bytes(), MANAGER)

        def served() -> bool:
            status = self.api.raw("GET", f"{CRDS}/{names[-1]}").get("status", {})
            return any(c["type"] == "Established" and c["status"] == "True" for c in status.get("conditions") or [])

        wait_for("the CRDs to be established", served, 30)
        wait_for("the API of CiliumNodes", lambda: self.api.get(CILIUM_NODES) is not None, 30)
        say(f"{len(names)} CRDs applied")

    def uninstall(self) -> None:
        for agent in self.agents.values():
            agent.remove_device()
            agent.pod_uid = None
        for item in (self.api.get(CILIUM_NODES) or {}).get("items", []):
            self.api.delete(f"{CILIUM_NODES}/{item['metadata']['name']}")
            say(f"CiliumNode {item['metadata']['name']} removed")


def main(argv: list[str]) -> None:
    state = json.loads((pathlib.Path(argv[0]) / "state.json").read_text(encoding="utf-8"))
    standin = Standin(state, controlplane.client(state["control_plane"]))
    implementation = "the kernel" if state["kernel_wireguard"] else "wireguard-go"
    say(f"started for {len(standin.agents)} nodes, WireGuard by {implementation}")
    last = ""
    while True:
        try:
            standin.step()
            last = ""
        except (LabError, OSError) as exc:
            if str(exc) != last:
                say(f"will try again: {exc}")
            last = str(exc)
        except Exception:  # noqa: BLE001 - an agent that dies of one odd object is no use; the log has it all
            say("unexpected, will try again:\n" + traceback.format_exc())
            time.sleep(5)
        time.sleep(0.5)


if __name__ == "__main__":
    main(sys.argv[1:])
