# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery of broken releases: real helm with Cilium's real chart, killed and failed, and the Helm module after it.

Without a Node `helm --wait` never ends, which is the middle of an install; a Node lets it end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster import helm, lease, recover
from ansible_collections.aicluster.zerotrust.plugins.modules import cluster_info, helm_recover

Call = t.Callable[..., t.Any]
SECRETS = helm.secrets_path("kube-system")
WIREGUARD = {"encryption": {"enabled": True, "type": "wireguard"}}
VALUES = {"operator": {"replicas": 1}, "envoy": {"enabled": False}, **WIREGUARD}
# With three replicas and no Node the operator is never ready.
NEVER = ["--wait", "--set", "operator.replicas=3"]
SET = ["--set", "operator.replicas=1,envoy.enabled=false,encryption.enabled=true,encryption.type=wireguard"]


class Release:
    """The release cilium in kube-system: helm as users run it, and its records."""

    def __init__(self, cluster: t.Any, call: Call) -> None:
        self.cluster = cluster
        self.call = call

    def upgrade(self, *more: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        argv = ["upgrade", "--install", "cilium", self.cluster.chart, "-n", "kube-system", *SET, *more]
        return t.cast("subprocess.CompletedProcess[str]", self.cluster.run(*argv, check=check))

    def kill_in_the_middle(self, status: str, *more: str) -> None:
        argv = [self.cluster.helm, "upgrade", "--install", "cilium", self.cluster.chart, "-n", "kube-system"]
        argv += [*SET, *NEVER, "--timeout", "5m", *more]
        environment = {**os.environ, "KUBECONFIG": self.cluster.kubeconfig}
        process = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while self.statuses()[-1:] != [status]:
            assert process.poll() is None, "helm ended before it could be killed"
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(1)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert self.statuses()[-1] == status

    def statuses(self) -> list[str]:
        found = self.cluster.client.list_all(SECRETS, labels="owner=helm,name=cilium", metadata_only=True)
        return [obj["metadata"]["labels"]["status"] for obj in sorted(found, key=helm.revision)]

    def recover(self, timeout_seconds: int = 0, **how: t.Any) -> t.Any:
        given = {"kubeconfig": self.cluster.kubeconfig, "release": "cilium", "namespace": "kube-system"}
        return self.call(helm_recover.main, timeout_seconds=timeout_seconds, **{**given, **how})

    def module(self, **values: t.Any) -> dict[str, t.Any]:
        return t.cast(
            "dict[str, t.Any]",
            self.cluster.helm_module(
                release_name="cilium",
                release_namespace="kube-system",
                chart_ref=self.cluster.chart,
                release_values={**VALUES, **values},
            ),
        )

    def kept(self) -> list[dict[str, t.Any]]:
        return t.cast(
            "list[dict[str, t.Any]]",
            self.cluster.client.list_all(SECRETS, fields=f"type={recover.KEPT_TYPE}"),
        )

    def uid(self) -> str:
        found = self.cluster.client.get("/apis/apps/v1/namespaces/kube-system/daemonsets/cilium")
        return t.cast(str, found["metadata"]["uid"])


@pytest.fixture
def release(cluster: t.Any, module: Call) -> t.Iterator[Release]:
    yield Release(cluster, module)
    client = cluster.client
    for labels in ("owner=helm,name=cilium", "aicluster.zerotrust/release=cilium"):
        client.request("DELETE", SECRETS, query={"labelSelector": labels})
    # A release without records leaves its objects; the next test must not find them.
    argv = ["template", "cilium", cluster.chart, "-n", "kube-system", *SET]
    rendered = cluster.folder / "rendered.yaml"
    rendered.write_text(cluster.run(*argv).stdout, encoding="utf-8")
    kubectl = [str(_kubectl()), "--kubeconfig", cluster.kubeconfig, "delete", "--ignore-not-found", "-f", str(rendered)]
    subprocess.run(kubectl, capture_output=True, timeout=60, check=False)


def _kubectl() -> t.Any:
    from lab import build

    return build.cached("kubectl")


def test_nothing_to_recover(release: Release) -> None:
    assert release.recover().data["steps"] == []
    release.upgrade()
    result = release.recover()
    assert (result.data["changed"], result.data["steps"]) == (False, [])
    assert release.statuses() == ["deployed"]


def test_killed_in_the_middle_of_an_install(cluster: t.Any, release: Release, module: Call) -> None:
    release.kill_in_the_middle("pending-install")
    before = release.uid()
    assert "another operation" in release.upgrade(check=False).stderr
    seen = module(cluster_info.main, kubeconfig=cluster.kubeconfig).data["cluster"]["release"]
    assert (seen["status"], seen["revision"], seen["values"]["encryption"]) == (
        "pending-install",
        1,
        {"enabled": True, "type": "wireguard"},
    )
    assert seen["config"]["enable-wireguard"] == "true"

    young = release.recover(timeout_seconds=3600)
    assert young.data["msg"].startswith("ZT618: release cilium revision 1 (pending-install) began ")
    checked = release.recover(check=True, diff=True)
    assert (checked.data["changed"], checked.data["steps"][0]["what"]) == (True, "remove")
    assert checked.data["diff"]["before"] == "revision 1: pending-install\n"
    assert release.statuses() == ["pending-install"], "check mode must not remove it"

    done = release.recover()
    assert [step["status"] for step in done.data["steps"]] == ["pending-install"]
    assert release.statuses() == []
    kept = release.kept()[0]
    assert kept["metadata"]["name"] == done.data["steps"][0]["kept_as"]
    assert helm.decode(kept)["info"]["status"] == "pending-install"
    assert "owner" not in kept["metadata"]["labels"]

    release.upgrade()
    assert release.statuses() == ["deployed"]
    assert release.uid() == before, "the DaemonSet is adopted, not made anew"
    assert release.recover().data["changed"] is False


def test_killed_in_the_middle_of_an_upgrade(release: Release) -> None:
    release.upgrade()
    before = release.uid()
    release.kill_in_the_middle("pending-upgrade", "--set", "debug.enabled=true")
    done = release.recover()
    assert [(step["revision"], step["what"]) for step in done.data["steps"]] == [(2, "remove"), (1, "supersede")]
    assert release.statuses() == ["superseded"]
    assert len(release.kept()) == 2
    release.upgrade("--set", "debug.enabled=true")
    assert release.statuses() == ["superseded", "deployed"]
    assert release.uid() == before


def test_a_failed_install_and_the_helm_module_after_it(release: Release) -> None:
    failed = release.upgrade(*NEVER, "--timeout", "2s", check=False)
    assert failed.returncode != 0
    assert release.statuses() == ["failed"]
    same = {"operator": {"replicas": 3}}
    blind = release.module(**same)
    assert blind["changed"] is False, "if this changes, upstream judges a failed release and recovery can go"
    release.recover()
    seeing = release.module(**same)
    assert seeing["changed"] is True, seeing
    assert release.statuses() == ["deployed"]
    assert release.module(**same)["changed"] is False


def test_after_a_failed_upgrade_the_old_values_are_applied_again(cluster: t.Any, release: Release) -> None:
    assert release.module()["changed"] is True
    bad = release.upgrade("--set", "debug.enabled=true", *NEVER, "--timeout", "2s", check=False)
    assert bad.returncode != 0
    assert release.statuses() == ["deployed", "failed"]

    def debug() -> str:
        data = cluster.client.get("/api/v1/namespaces/kube-system/configmaps/cilium-config")["data"]
        return t.cast(str, data["debug"])

    assert debug() == "true"
    release.recover()
    # The values of revision 1 again: by values alone nothing would differ, and debug would stay on.
    assert release.module()["changed"] is True
    assert debug() == "false"
    assert release.statuses()[-1] == "deployed"


def test_a_living_foreign_lease_is_respected(cluster: t.Any, release: Release) -> None:
    release.upgrade(*NEVER, "--timeout", "2s", check=False)
    lease.acquire(cluster.client, "run-1", 60, time.time())
    try:
        refused = release.recover(holder="run-2")
        assert refused.data["msg"].startswith("ZT618: ")
        assert "run run-1 holds the cluster's Lease" in refused.data["msg"]
        assert release.statuses() == ["failed"]
        assert release.recover(holder="run-1").data["changed"] is True
    finally:
        lease.release(cluster.client, "run-1", time.time())


def test_apply_role_installs_and_recovers(cluster: t.Any, release: Release, account: Call, roles: None) -> None:
    given = [
        ("ClusterRole", "aicluster-zerotrust-read", None),
        ("Role", "aicluster-zerotrust-read", "kube-system"),
        ("ClusterRole", "aicluster-zerotrust-apply", None),
    ]
    mine = Release(cluster._replace(kubeconfig=account("writer", given)), release.call)
    everything = "hubble.relay.enabled=true,hubble.ui.enabled=true,envoy.enabled=true"
    failed = mine.upgrade(*NEVER, "--timeout", "2s", "--set", everything, check=False)
    assert "context deadline exceeded" in failed.stderr, failed.stderr
    assert not mine.recover().failed
    mine.upgrade("--set", everything)
    assert mine.statuses() == ["deployed"]
    mine.upgrade("--set", f"{everything},debug.enabled=true")
    assert mine.statuses() == ["superseded", "deployed"]
