# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Helm release that was left behind is recovered by the next site.yml; the Helm module alone would say unchanged."""

from __future__ import annotations

import base64
import gzip
import json
import time

from support.site import Site


def newest(site: Site) -> tuple[str, dict[str, object]]:
    """Name of the newest release Secret and its decoded record."""
    items = json.loads(site.api("get", "secret", "-n", "kube-system", "-l", "owner=helm,name=cilium", "-o", "json"))[
        "items"
    ]
    secret = max(items, key=lambda item: int(item["metadata"]["labels"]["version"]))
    record = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
    return secret["metadata"]["name"], record


def rewrite(site: Site, status: str, age_seconds: int) -> None:
    """Makes the newest release look as a killed helm leaves it, that many seconds ago."""
    name, record = newest(site)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - age_seconds))
    record["info"].update(status=status, last_deployed=stamp)  # type: ignore[attr-defined]
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(record).encode()))).decode()
    patch = {
        "metadata": {"labels": {"status": status, "modifiedAt": str(int(time.time() - age_seconds))}},
        "data": {"release": packed},
    }
    site.api("patch", "secret", name, "-n", "kube-system", "--type=merge", "--patch-file=/dev/stdin", data=patch)


def test_failed_release_is_recovered(site: Site) -> None:
    rewrite(site, "failed", 30)
    run = site.play("site")
    assert run.rc == 0, run.output
    assert newest(site)[1]["info"]["status"] == "deployed"  # type: ignore[index]
    again = site.play("site")
    assert again.rc == 0, again.output
    assert not any(again.changed.values()), again.output


def test_pending_release_is_recovered_when_old(site: Site) -> None:
    rewrite(site, "pending-upgrade", 3600)
    run = site.play("site")
    assert run.rc == 0, run.output
    assert newest(site)[1]["info"]["status"] == "deployed"  # type: ignore[index]


def test_pending_release_is_left_alone_when_young(site: Site) -> None:
    rewrite(site, "pending-upgrade", 5)
    run = site.play("site")
    assert run.rc != 0, run.output
    assert "ZT618" in run.output
    assert newest(site)[1]["info"]["status"] == "pending-upgrade"  # type: ignore[index]
    rewrite(site, "deployed", 5)
    assert site.play("verify").rc == 0


def test_another_runs_lease_is_respected(site: Site) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "aicluster-zerotrust", "namespace": "kube-system"},
        "spec": {"holderIdentity": "another-run", "leaseDurationSeconds": 600, "acquireTime": now, "renewTime": now},
    }
    site.api("delete", "lease", "aicluster-zerotrust", "-n", "kube-system", "--ignore-not-found")
    site.api("create", "-f", "-", data=lease)
    try:
        run = site.play("site", extra={"cilium_hubble_relay": True})
        assert run.rc != 0, run.output
        assert "ZT623" in run.output
        assert "another-run" in run.output
    finally:
        site.api("delete", "lease", "aicluster-zerotrust", "-n", "kube-system")


def test_drift_behind_the_release_is_repaired(site: Site) -> None:
    """Another hand changes cilium-config; the release's record says deployed and its values are equal."""
    patch = {"data": {"enable-wireguard": "false"}}
    site.api("patch", "configmap", "cilium-config", "-n", "kube-system", "--type", "merge", "-p", json.dumps(patch))
    before = site.play("verify")
    assert before.rc != 0, before.output
    assert [root["code"] for root in site.roots()] == ["ZT409"], site.roots()
    run = site.play("site")
    assert run.rc == 0, run.output
    again = site.play("site")
    assert again.rc == 0, again.output
    assert not any(again.changed.values()), again.output
