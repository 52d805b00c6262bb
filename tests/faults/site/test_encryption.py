# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Break something real on a running laboratory: verify says exactly what, and passes again after the repair."""

from __future__ import annotations

import base64
import json
import os
import typing as t

import pytest
from support.site import Site, unreachable


def key() -> str:
    """A public key that belongs to nobody (32 random bytes, base64)."""
    return base64.b64encode(os.urandom(32)).decode()


def peers(site: Site, node: str) -> dict[str, dict[str, str]]:
    """Peers of a node by address of their endpoint, from the wg program: key, endpoint, allowed."""
    found = {}
    for line in site.on(node, "wg", "show", "cilium_wg0", "dump").splitlines()[1:]:
        public, _psk, endpoint, allowed, *_rest = line.split("\t")
        found[endpoint.rsplit(":", 1)[0]] = {"key": public, "endpoint": endpoint, "allowed": allowed}
    return found


def replace_key(site: Site, on: str, of: str) -> tuple[str, str]:
    """Gives `on` a wrong key for `of`; returns the right and the wrong key."""
    peer = peers(site, on)[site.node(of)["ip"]]
    wrong = key()
    site.on(on, "wg", "set", "cilium_wg0", "peer", peer["key"], "remove")
    site.on(on, "wg", "set", "cilium_wg0", "peer", wrong, "endpoint", peer["endpoint"], "allowed-ips", peer["allowed"])
    return peer["key"], wrong


@pytest.fixture
def healthy(site: Site) -> t.Iterator[Site]:
    """The site before the fault passes; after the test it is healed and passes again."""
    before = site.play("verify")
    assert before.rc == 0, before.output
    yield site
    site.lab("heal")
    after = site.play("verify")
    assert after.rc == 0, after.output
    assert not any(after.changed.values())


def test_wrong_key_of_one_peer(healthy: Site) -> None:
    right, wrong = replace_key(healthy, "gpu1", "gpu2")
    run = healthy.play("verify")
    assert run.rc != 0, run.output
    roots = healthy.roots()
    assert [(root["code"], root["subject"]["name"]) for root in roots] == [("ZT401", "gpu1 -> gpu2")], roots
    assert right in json.dumps(roots[0]["expected"])
    assert wrong in json.dumps(roots[0]["observed"])
    assert roots[0]["remedy"]
    for word in ("ZT401", "gpu1", "gpu2", right, wrong):
        assert word in run.output


def test_two_faults_are_two_roots(healthy: Site) -> None:
    replace_key(healthy, "gpu1", "gpu2")
    healthy.on("gpu3", "ip", "link", "delete", "cilium_wg0")
    run = healthy.play("verify")
    assert run.rc != 0, run.output
    assert sorted(root["code"] for root in healthy.roots()) == ["ZT401", "ZT407"], healthy.roots()


def test_endpoint_elsewhere(healthy: Site) -> None:
    peer = peers(healthy, "cp1")[healthy.node("gpu1")["ip"]]
    # WireGuard follows its peers: any packet from gpu1 (a keepalive, a new handshake) puts the right endpoint back.
    # Only a run that the fault outlived says something about verify.
    for _attempt in range(4):
        healthy.on("cp1", "wg", "set", "cilium_wg0", "peer", peer["key"], "endpoint", "192.0.2.1:51871")
        run = healthy.play("verify")
        if "192.0.2.1" in peers(healthy, "cp1"):
            break
    assert run.rc != 0, run.output
    assert [(root["code"], root["subject"]["name"]) for root in healthy.roots()] == [("ZT404", "cp1 -> gpu1")]


def test_stale_annotation(healthy: Site) -> None:
    """The fault that restored machines showed: the API holds another key than the node's kernel."""
    healthy.api("annotate", "ciliumnode", "gpu2", "--overwrite", f"network.cilium.io/wg-pub-key={key()}")
    run = healthy.play("verify")
    assert run.rc != 0, run.output
    assert [(root["code"], root["subject"]["name"]) for root in healthy.roots()] == [("ZT408", "gpu2")], healthy.roots()


def test_node_not_reachable_is_unknown(site: Site) -> None:
    with unreachable(site, "gpu2"):
        run = site.play("verify")
        assert run.rc != 0, run.output
        assert site.report()["verdict"]["state"] == "unknown"
        assert {root["code"] for root in site.roots()} == {"ZT412"}
    assert site.play("verify").rc == 0


def test_encryption_off_in_the_intent(site: Site) -> None:
    """The stand-in acts on the cluster's word only: without encryption in it, nothing encrypts, and verify says so."""
    off = site.play("site", extra={"zerotrust_transport_encryption": "none"})
    assert off.rc == 0, off.output
    assert site.report()["verdict"]["state"] == "pass"
    assert "no encryption" in site.report()["verdict"]["text"].lower()
    run = site.play("verify")
    assert run.rc != 0, run.output
    assert [root["code"] for root in site.roots()] == ["ZT409"], site.roots()
    back = site.play("site")
    assert back.rc == 0, back.output
    assert site.report()["verdict"]["state"] == "pass"
