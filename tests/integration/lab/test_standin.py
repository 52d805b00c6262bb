# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in obeys the cluster's word: driven by the real chart, checked in the nodes and against a capture."""

from __future__ import annotations

import pytest
from support.lab import Lab, eventually

pytestmark = pytest.mark.needs_root

NODES = ("cp1", "gpu1", "gpu2")
ANNOTATION = "network.cilium.io/wg-pub-key"
PROVOKE = (
    "import socket,sys;s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);"
    "s.setsockopt(socket.SOL_SOCKET,socket.SO_BINDTODEVICE,b'cilium_wg0');s.sendto(b'x',(sys.argv[1],9))"
)


def devices(lab: Lab) -> list[str]:
    return [node for node in NODES if "cilium_wg0" in lab("ssh", node, "--", "ip -br link").stdout]


def keys(lab: Lab) -> dict[str, str]:
    """Annotated key by Node name."""
    items = lab.api("ciliumnodes")["items"]
    return {i["metadata"]["name"]: i["metadata"].get("annotations", {}).get(ANNOTATION, "") for i in items}


def peers(lab: Lab, node: str) -> dict[str, tuple[str, list[str]]]:
    """{public key: (endpoint, allowed IPs)} as the device says."""
    lines = lab.sudo(node, "wg", "show", "cilium_wg0", "dump").splitlines()[1:]
    return {f[0]: (f[2], sorted(f[3].split(","))) for f in (line.split("\t") for line in lines)}


def wanted(lab: Lab, node: str, native: bool) -> dict[str, tuple[str, list[str]]]:
    answer = {}
    for other in lab.facts["nodes"]:
        if other["name"] != node:
            prefix = other["pod_cidr"].rpartition(".")[0]
            pods = [other["pod_cidr"], f"{prefix}.{100 + other['number']}/32"] if native else []
            answer[keys(lab)[other["name"]]] = (f"{other['ip']}:51871", sorted([f"{other['ip']}/32", *pods]))
    return answer


def settled(lab: Lab, native: bool = False) -> bool:
    return eventually(lambda: all(peers(lab, node) == wanted(lab, node, native) for node in NODES))


@pytest.fixture(scope="module")
def encrypted(lab: Lab) -> Lab:
    lab.cilium(**{"encryption.enabled": "true", "encryption.type": "wireguard", "routingMode": "tunnel"})
    assert eventually(lambda: devices(lab) == list(NODES))
    return lab


def test_nothing_before_cilium_is_installed(lab: Lab) -> None:
    assert devices(lab) == []
    assert lab.api("crd")["items"] == []


def test_tunnel_mode(encrypted: Lab) -> None:
    assert settled(encrypted)
    shown = encrypted.sudo("gpu1", "wg", "show", "cilium_wg0")
    assert "listening port: 51871" in shown
    assert "fwmark: 0xe00" in shown
    names = {item["metadata"]["name"] for item in encrypted.api("crd")["items"]}
    assert {"ciliumnodes.cilium.io", "ciliumnetworkpolicies.cilium.io", "ciliumendpoints.cilium.io"} <= names


def test_ciliumnode_has_the_form_of_a_real_agents(encrypted: Lab) -> None:
    item = encrypted.api("ciliumnode", "gpu1")
    node = encrypted.node("gpu1")
    # keys and values of the recording cilium-1.20.2/ciliumnodes.json (two real agents, tunnel routing)
    assert item["spec"] == {
        "addresses": [
            {"type": "InternalIP", "ip": node["ip"]},
            {"type": "CiliumInternalIP", "ip": "10.244.2.102"},
        ],
        "alibaba-cloud": {},
        "azure": {},
        "bootid": node["boot_id"],
        "encryption": {"key": 255},
        "eni": {},
        "health": {},
        "ingress": {},
        "ipam": {"podCIDRs": ["10.244.2.0/24"], "pools": {}},
    }
    owner = item["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"]) == ("Node", encrypted.api("node", "gpu1")["metadata"]["uid"])
    labels = dict(item["metadata"]["labels"])
    assert labels.pop("aicluster.zerotrust/agent") == "stand-in", "the only thing that no real agent writes"
    assert labels == {"kubernetes.io/hostname": "gpu1", "kubernetes.io/os": "linux"}


def test_handshakes_are_real(encrypted: Lab) -> None:
    assert settled(encrypted)
    key = keys(encrypted)["gpu2"]

    def handshake() -> int:
        lines = encrypted.sudo("gpu1", "wg", "show", "cilium_wg0", "latest-handshakes").splitlines()
        return {k: int(v) for k, v in (line.split("\t") for line in lines)}[key]

    encrypted("ssh", "gpu1", "--", f'sudo python3 -c "{PROVOKE}" {encrypted.node("gpu2")["ip"]}')
    assert eventually(lambda: handshake() > 0, 15)  # WireGuard repeats a lost initiation after 5 s


def test_a_broken_peer_stays_broken_until_its_agent_restarts(encrypted: Lab) -> None:
    assert settled(encrypted)
    key = keys(encrypted)["gpu2"]
    wrong = encrypted.sudo("gpu1", "wg", "genkey").strip()
    ip = encrypted.node("gpu2")["ip"]
    encrypted.sudo("gpu1", "wg", "set", "cilium_wg0", "peer", key, "remove", "peer", wrong, "allowed-ips", f"{ip}/32")
    assert not eventually(lambda: key in peers(encrypted, "gpu1"), 3)
    pods = encrypted.api("pods", "-n", "kube-system", "-l", "k8s-app=cilium")["items"]
    pod = next(p["metadata"]["name"] for p in pods if p["spec"]["nodeName"] == "gpu1")
    encrypted.kubectl("-n", "kube-system", "delete", "pod", pod)
    assert settled(encrypted), peers(encrypted, "gpu1")


def test_heal_writes_all_peers_again(encrypted: Lab) -> None:
    encrypted.sudo("gpu2", "wg", "set", "cilium_wg0", "peer", keys(encrypted)["cp1"], "remove")
    encrypted("heal")
    assert settled(encrypted)


def test_a_stale_annotation_misleads_the_others(encrypted: Lab) -> None:
    """Peers come from the API, as real agents take them: Cilium's issue 47565."""
    real = keys(encrypted)["gpu2"]
    stale = encrypted.sudo("gpu2", "sh", "-c", "'wg genkey | wg pubkey'").strip()
    encrypted.kubectl("annotate", "--overwrite", "ciliumnode", "gpu2", f"{ANNOTATION}={stale}")
    assert eventually(lambda: stale in peers(encrypted, "gpu1") and real not in peers(encrypted, "gpu1"))
    assert encrypted.sudo("gpu2", "wg", "show", "cilium_wg0", "public-key").strip() == real
    encrypted("heal")
    assert settled(encrypted)
    assert keys(encrypted)["gpu2"] == real


def test_device_mtu_follows_the_link(encrypted: Lab) -> None:
    assert "mtu 1405" in encrypted.sudo("gpu1", "ip", "link", "show", "cilium_wg0")
    encrypted.sudo("gpu1", "ip", "link", "set", "node0", "mtu", "9000")
    try:
        assert eventually(lambda: "mtu 8905" in encrypted.sudo("gpu1", "ip", "link", "show", "cilium_wg0"))
    finally:
        encrypted.sudo("gpu1", "ip", "link", "set", "node0", "mtu", "1500")


def test_a_configmap_alone_changes_nothing_until_agents_restart(encrypted: Lab) -> None:
    def set_wireguard(value: str) -> None:
        patch = f'{{"data":{{"enable-wireguard":"{value}"}}}}'
        encrypted.kubectl("-n", "kube-system", "patch", "cm", "cilium-config", "--type=merge", "-p", patch)

    set_wireguard("false")
    assert not eventually(lambda: devices(encrypted) != list(NODES), 3)
    set_wireguard("true")


def test_native_routing(encrypted: Lab) -> None:
    values = {"encryption.enabled": "true", "encryption.type": "wireguard", "routingMode": "native"}
    encrypted.cilium(**values, ipv4NativeRoutingCIDR="10.244.0.0/16")
    assert settled(encrypted, native=True), peers(encrypted, "gpu1")


def test_encryption_off_removes_devices_and_annotations(encrypted: Lab) -> None:
    encrypted.cilium(**{"encryption.enabled": "false", "routingMode": "tunnel"})
    assert eventually(lambda: devices(encrypted) == [])
    assert eventually(lambda: keys(encrypted) == dict.fromkeys(NODES, ""))
    assert encrypted.api("ciliumnode", "gpu1")["spec"]["encryption"].get("key", 0) == 0


def test_uninstall_removes_devices_and_ciliumnodes(encrypted: Lab) -> None:
    encrypted.cilium(**{"encryption.enabled": "true", "encryption.type": "wireguard", "routingMode": "tunnel"})
    assert eventually(lambda: devices(encrypted) == list(NODES))
    encrypted.helm("uninstall", "cilium", "--wait")
    assert eventually(lambda: devices(encrypted) == [])
    assert eventually(lambda: encrypted.api("ciliumnodes")["items"] == [])
