# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The laboratory itself: what `up` gives, what survives a crash, what `down` leaves."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess

import pytest
from support.lab import REPO, Lab, eventually, traces

pytestmark = pytest.mark.needs_root


def test_status_says_up(lab: Lab) -> None:
    answer = json.loads(lab("status", "--json").stdout)
    assert answer["state"] == "up"
    assert [node["name"] for node in answer["nodes"]] == ["cp1", "gpu1", "gpu2"]
    assert all(answer["control_plane"].values())
    assert len(answer["control_plane"]) == 5


def test_nodes_are_machines_of_their_own(lab: Lab) -> None:
    facts = [
        lab.sudo(name, "sh", "-c", "'hostname; cat /etc/machine-id; systemctl is-system-running; id -un'").split()
        for name in ("cp1", "gpu1", "gpu2")
    ]
    assert [fact[0] for fact in facts] == ["cp1", "gpu1", "gpu2"]
    assert [fact[1] for fact in facts] == [node["machine_id"] for node in lab.facts["nodes"]]
    assert len({fact[1] for fact in facts}) == 3
    assert [fact[2:] for fact in facts] == [["running", "root"]] * 3
    keys = {line.split()[2] for line in (lab.state / "known_hosts").read_text(encoding="utf-8").splitlines()}
    assert len(keys) == 3, "every node has its own host key"


def test_a_wrong_host_key_is_refused(lab: Lab, tmp_path: pathlib.Path) -> None:
    lines = (lab.state / "known_hosts").read_text(encoding="utf-8").splitlines()
    first, second = (line.split() for line in lines[:2])
    swapped = tmp_path / "known_hosts"
    swapped.write_text(f"{first[0]} {second[1]} {second[2]}\n", encoding="utf-8")
    argv = ["ssh", "-F", lab.facts["ssh_config"], "-o", f"UserKnownHostsFile={swapped}", "cp1", "true"]
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 255


def test_the_two_users(lab: Lab) -> None:
    password = (lab.state / "opspw_password").read_text(encoding="utf-8")
    assert (lab.state / "opspw_password").stat().st_mode & 0o777 == 0o600
    ssh = ["ssh", "-F", lab.facts["ssh_config"], "opspw@gpu1"]
    without = subprocess.run([*ssh, "sudo -n true"], capture_output=True, check=False)
    assert without.returncode != 0, "opspw has to give a password"
    given = subprocess.run([*ssh, "sudo -S id -u"], input=password, capture_output=True, text=True, check=False)
    assert given.stdout.strip() == "0", given.stderr


def test_a_node_cannot_set_the_clock_or_the_host(lab: Lab) -> None:
    assert lab("ssh", "gpu1", "--", "sudo date -s '2030-01-01'", check=False).returncode != 0
    assert lab("ssh", "gpu1", "--", "sudo sh -c 'echo 1 > /proc/sys/kernel/panic'", check=False).returncode != 0
    assert lab("ssh", "gpu1", "--", "sudo sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'").returncode == 0


def test_stopping_a_service_on_one_node_leaves_the_others(lab: Lab) -> None:
    lab.sudo("gpu1", "systemctl", "stop", "dbus.socket", "dbus.service", "systemd-logind")
    assert lab.sudo("gpu2", "systemctl", "is-active", "systemd-logind", "dbus").split() == ["active", "active"]
    lab.sudo("gpu1", "systemctl", "start", "dbus.socket", "systemd-logind")


def test_node_objects_are_the_real_nodes(lab: Lab) -> None:
    items = {item["metadata"]["name"]: item for item in lab.api("nodes")["items"]}
    assert set(items) == {"cp1", "gpu1", "gpu2"}
    for node in lab.facts["nodes"]:
        item = items[node["name"]]
        assert {"type": "InternalIP", "address": node["ip"]} in item["status"]["addresses"]
        assert item["status"]["nodeInfo"]["machineID"] == node["machine_id"]
        assert item["status"]["nodeInfo"]["kernelVersion"] == os.uname().release
        assert (
            item["status"]["nodeInfo"]["bootID"]
            == lab.sudo(node["name"], "cat", "/proc/sys/kernel/random/boot_id").strip()
        )
        assert item["spec"]["podCIDRs"] == [node["pod_cidr"]]
        ready = [c["status"] for c in item["status"]["conditions"] if c["type"] == "Ready"]
        assert ready == ["True"]
    assert "node-role.kubernetes.io/control-plane" in items["cp1"]["metadata"]["labels"]


def test_the_api_server_is_real_and_guarded(lab: Lab) -> None:
    assert json.loads(lab.kubectl("get", "--raw", "/version"))["minor"] == "36"
    argv = [lab.facts["tools"]["kubectl"], "--kubeconfig", lab.facts["kubeconfig"]]
    done = subprocess.run([*argv, "--as", "somebody", "get", "nodes"], capture_output=True, text=True, check=False)
    assert "Forbidden" in done.stderr, "RBAC is on"
    service = lab.api("service", "kubernetes")
    assert service["spec"]["clusterIP"] == "10.96.0.1"


def test_a_node_reaches_the_api_server_by_its_certificate(lab: Lab) -> None:
    facts = lab.facts
    script = (
        "import ssl,sys,urllib.request as u;"
        f"c=ssl.create_default_context(cadata=sys.stdin.read());"
        f"print(u.urlopen('https://{facts['gateway']}:{facts['control_plane']['port']}/readyz',context=c).read().decode())"
    )
    authority = pathlib.Path(facts["control_plane"]["pki"], "ca.crt").read_text(encoding="utf-8")
    done = lab("ssh", "cp1", "--", f'python3 -c "{script}"', stdin=authority)
    assert done.stdout.strip() == "ok"


def test_links_start_small_and_take_jumbo_frames(lab: Lab) -> None:
    assert "mtu 1500" in lab.sudo("gpu1", "ip", "link", "show", "node0")
    for node in ("gpu1", "gpu2"):
        lab.sudo(node, "ip", "link", "set", "node0", "mtu", "9000")
    try:
        ip = lab.node("gpu2")["ip"]
        lab.sudo("gpu1", "ping", "-c1", "-W2", "-Mdo", "-s8972", ip)
    finally:
        for node in ("gpu1", "gpu2"):
            lab.sudo(node, "ip", "link", "set", "node0", "mtu", "1500")


def test_inventory_works_from_any_directory(lab: Lab, tmp_path: pathlib.Path) -> None:
    script = REPO / "inventories" / "lab" / "lab_inventory.py"
    done = subprocess.run([script, "--list"], cwd=tmp_path, env=lab.env, capture_output=True, text=True, check=True)
    listing = json.loads(done.stdout)
    assert listing["kube_control_plane"]["hosts"] == ["cp1"]
    assert listing["gpu_node"]["hosts"] == ["gpu1", "gpu2"]
    subjects = [entry["subject"] for entry in listing["all"]["vars"]["zerotrust_accept"]]
    named = {"object policy set default", "cluster lab"}
    assert [subject for subject in subjects if not subject.startswith("host ") and subject not in named] == []
    assert not any("*" in subject for subject in subjects)
    assert json.loads(lab("inventory", "--list").stdout)["_meta"] == listing["_meta"]
    absent = subprocess.run(
        [script, "--list"], env={**lab.env, "ZEROTRUST_LAB": "nobody"}, capture_output=True, text=True
    )
    assert absent.returncode == 1
    assert "lab up --name nobody" in absent.stderr


def test_up_on_a_running_laboratory_changes_nothing(lab: Lab) -> None:
    before = lab.facts
    lab("up")
    assert lab.facts == before
    assert "run `down` first" in lab("up", "--nodes", "5", check=False).stderr


@pytest.mark.parametrize("victim", ["node", "kube-apiserver", "etcd", "standin"])
def test_up_starts_what_a_crash_took(lab: Lab, victim: str) -> None:
    facts = lab.facts
    record = {
        "node": lab.node("gpu2")["process"],
        "standin": facts["standin"],
        **facts["control_plane"]["components"],
    }[victim]
    os.kill(record["pid"], signal.SIGKILL)
    assert eventually(lambda: lab("status", check=False).returncode == 1)
    lab("up")
    assert lab("status").returncode == 0
    for node, old in zip(lab.facts["nodes"], facts["nodes"]):
        same = node["process"] == old["process"]
        assert same != (victim == "node" and node["name"] == "gpu2"), "only what was gone is started"
    boot_id = lab.sudo("gpu2", "cat", "/proc/sys/kernel/random/boot_id").strip()
    assert lab.api("node", "gpu2")["status"]["nodeInfo"]["bootID"] == boot_id


def test_two_laboratories_side_by_side_then_a_crash(lab: Lab, state_home: pathlib.Path) -> None:
    other = Lab("pytest-other", state_home)
    other("up", "--nodes", "1")
    try:
        assert other.facts["subnet"] != lab.facts["subnet"]
        assert other.facts["control_plane"]["port"] != lab.facts["control_plane"]["port"]
        assert lab("status").returncode == 0
        assert other("status").returncode == 0
        uid = other.api("namespace", "kube-system")["metadata"]["uid"]
        assert uid != lab.api("namespace", "kube-system")["metadata"]["uid"]
        # a crash that loses the state file: the next `up` clears what is left, by its names and cgroups
        lab_id = other.facts["id"]
        (other.state / "state.json").unlink()
        assert traces(lab_id)
        other("up", "--nodes", "1")
        assert other("status").returncode == 0
        assert other.api("namespace", "kube-system")["metadata"]["uid"] != uid
    finally:
        other("down")
    assert traces(lab_id) == []
    assert not other.state.exists()
    assert lab("status").returncode == 0, "the first laboratory did not notice"


def test_down_after_a_crash_in_the_middle_of_up(state_home: pathlib.Path) -> None:
    broken = Lab("pytest-broken", state_home)
    argv = ["python3", "-m", "lab", "up", "--nodes", "1"]
    with subprocess.Popen(argv, cwd=REPO, env=broken.env, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if "control plane" in line:
                break
        child.kill()
    lab_id = broken.facts["id"]
    assert traces(lab_id)
    broken("down")
    assert traces(lab_id) == []
    assert not broken.state.exists()
    assert "nothing was left" in broken("down").stdout


def test_a_foreign_pid_is_not_killed(state_home: pathlib.Path) -> None:
    from lab import proc

    with subprocess.Popen(["sleep", "60"]) as child:
        record = proc.record_of(child.pid)
        proc.end({**record, "start": record["start"] - 1})  # the pid was given to another process since
        assert child.poll() is None
        proc.end(record)
        assert proc.start_time(child.pid) is None
