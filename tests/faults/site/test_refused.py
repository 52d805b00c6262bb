# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml refuses, with one clear error, before any change on any host or in the cluster."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import typing as t

import pytest
from support.site import Run, Site, unreachable


def untouched(site: Site, run: Run) -> None:
    """Nothing changed: not in Ansible's count, not on the hosts, not in the cluster."""
    assert not any(run.changed.values()), run.output
    assert set(site.mtus().values()) == {"1500"}
    assert "cilium" not in site.api("get", "daemonset,secret,lease", "-n", "kube-system", "-o", "name")


def blockers(run: Run) -> list[str]:
    """The blockers that the plan printed, one line each."""
    return sorted(set(re.findall(r"\b(ZT\d{3}) blocker \[", run.output)))


def refused(
    site: Site, code: str, *needles: str, extra: dict[str, t.Any] | None = None, arguments: tuple[str, ...] = ()
) -> Run:
    run = site.play("site", *arguments, extra=extra)
    assert run.rc != 0, run.output
    assert blockers(run) == [code], run.output
    for needle in needles:
        assert needle in run.output, run.output
    untouched(site, run)
    return run


@pytest.mark.parametrize(
    ("code", "extra", "needles"),
    [
        ("ZT903", {"zerotrust_pod_cidrs": ["10.244.0.1/16"]}, ("zerotrust_pod_cidrs", "10.244.0.1/16")),
        ("ZT904", {"zerotrust_service_cidrs": ["10.244.0.0/20"]}, ("zerotrust_service_cidrs", "10.244.0.0/20")),
        ("ZT607", {"cilium_values": {"bpf": {"masquerad": True}}}, ("bpf.masquerad", "bpf.masquerade")),
        ("ZT902", {"zerotrust_routeing": "native"}, ("zerotrust_routeing", "zerotrust_routing")),
        ("ZT901", {"zerotrust_routing": "natve"}, ("zerotrust_routing", "natve")),
    ],
)
def test_bad_intent(fresh: Site, code: str, extra: dict[str, t.Any], needles: tuple[str, ...]) -> None:
    refused(fresh, code, *needles, extra=extra)


@pytest.mark.parametrize(
    ("second", "needles"),
    [
        ("[kube_node]\ngpu1 zerotrust_routing=native\n", ("zerotrust_routing", "native", "gpu1", "group_vars/all.yml")),
        ("[all:vars]\nzerotrust_hosts=kube_node\n", ("zerotrust_hosts", "-e zerotrust_hosts")),
    ],
    ids=["differs by host", "hosts in an inventory"],
)
def test_bad_inventory(fresh: Site, tmp_path: pathlib.Path, second: str, needles: tuple[str, ...]) -> None:
    inventory = tmp_path / "second.ini"
    inventory.write_text(second)
    refused(fresh, "ZT901", *needles, arguments=("-i", str(inventory)))


def test_limited_run_with_a_blocker(fresh: Site) -> None:
    refused(fresh, "ZT904", extra={"zerotrust_service_cidrs": ["10.244.0.0/20"]}, arguments=("--limit", "gpu1"))


def test_kernel_too_old(fresh: Site, tmp_path: pathlib.Path) -> None:
    # A real file in the node's own mount namespace says 5.4, as that host's /proc would.
    fresh.on(
        "gpu1",
        "sh",
        "-c",
        "echo 5.4.0-216-generic > /run/osrelease && mount --bind /run/osrelease /proc/sys/kernel/osrelease",
    )
    try:
        refused(fresh, "ZT101", "gpu1", "5.4.0-216-generic", "5.10")
    finally:
        fresh.on("gpu1", "umount", "/proc/sys/kernel/osrelease")


def test_what_the_laboratory_lacks_is_refused_unless_accepted(fresh: Site) -> None:
    run = fresh.play("site", extra={"zerotrust_accept": []})
    assert run.rc != 0, run.output
    assert "ZT104" in blockers(run), run.output
    untouched(fresh, run)


def test_unreachable_host(fresh: Site) -> None:
    with unreachable(fresh, "gpu2"):
        refused(fresh, "ZT912", "gpu2")


def test_no_api_server(fresh: Site, tmp_path: pathlib.Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    text = pathlib.Path(fresh.state["kubeconfig"]).read_text()
    kubeconfig.write_text(re.sub(r"server: .*", "server: https://127.0.0.1:1", text))
    refused(fresh, "ZT906", "https://127.0.0.1:1", extra={"zerotrust_kubeconfig": str(kubeconfig)})


def test_kubeconfig_missing(fresh: Site, tmp_path: pathlib.Path) -> None:
    refused(fresh, "ZT906", "nowhere", extra={"zerotrust_kubeconfig": str(tmp_path / "nowhere")})


def test_another_clusters_kubeconfig(fresh: Site) -> None:
    other = Site("other")
    other.lab("down")
    other.lab("up", "--nodes", "1")
    try:
        run = fresh.play(
            "site", extra={"zerotrust_kubeconfig": other.state["kubeconfig"], "zerotrust_context": "other"}
        )
        assert run.rc != 0, run.output
        assert "ZT908" in blockers(run), run.output
        untouched(fresh, run)
        untouched(other, run)
        uid = json.loads(fresh.api("get", "namespace", "kube-system", "-o", "json"))["metadata"]["uid"]
        refused(
            fresh,
            "ZT907",
            uid,
            extra={
                "zerotrust_kubeconfig": other.state["kubeconfig"],
                "zerotrust_context": "other",
                "zerotrust_cluster_uid": uid,
            },
        )
    finally:
        other.lab("down")


def test_existing_flannel(fresh: Site) -> None:
    labels = {"app": "flannel"}
    flannel = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "kube-flannel-ds", "namespace": "kube-flannel"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "kube-flannel", "image": "flannel.invalid/flannel:v0"}]},
            },
        },
    }
    fresh.api("create", "namespace", "kube-flannel")
    try:
        fresh.api("create", "-f", "-", data=flannel)
        refused(fresh, "ZT601", "flannel", "kube-flannel/kube-flannel-ds")
    finally:
        fresh.api("delete", "namespace", "kube-flannel")


def test_preflight_reads_only(fresh: Site) -> None:
    run = fresh.play("preflight")
    assert run.rc == 0, run.output
    untouched(fresh, run)


def test_check_mode_changes_nothing(fresh: Site) -> None:
    run = fresh.play("site", "--check", "--diff")
    assert run.rc == 0, run.output
    assert set(fresh.mtus().values()) == {"1500"}
    assert "cilium" not in fresh.api("get", "daemonset,secret,lease", "-n", "kube-system", "-o", "name")
    assert "+" in run.output


def test_helm_missing(fresh: Site, tmp_path: pathlib.Path) -> None:
    assert shutil.which("helm-that-is-not-there") is None
    refused(fresh, "ZT916", "helm-that-is-not-there", extra={"cilium_helm_binary": "helm-that-is-not-there"})
