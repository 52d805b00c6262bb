# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.istio import ISTIO_CHARTS, IstioIntent
from ansible_collections.aicluster.zerotrust.plugins.module_utils.mesh import cilium_below, objects, releases, values

FIT = {
    "cni-exclusive": "false",
    "kube-proxy-replacement": "true",
    "bpf-lb-sock": "false",
    "bpf-lb-sock-hostns-only": "true",
    "enable-bpf-masquerade": "false",
    "enable-host-legacy-routing": "true",
    "datapath-mode": "veth",
}


def test_release_is_found_by_its_minor() -> None:
    found = releases.find("1.30.4")
    assert found is not None
    assert found.kubernetes == (1, 32)
    assert found.gateway_api == (1, 5)
    assert releases.find("1.28.10") is None
    assert releases.find("1.32.0") is None


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("v1.34.1+k3s1", (1, 34, 1)), ("1.6", (1, 6, 0)), ("latest", (0, 0, 0)), (" v1.6.0-rc.1", (1, 6, 0))],
)
def test_versions_are_read_as_they_are_written(text: str, numbers: tuple[int, int, int]) -> None:
    assert releases.parse(text) == numbers


def test_every_chart_is_ambient_and_marked() -> None:
    made = values.render(IstioIntent(), None)
    assert list(made) == list(ISTIO_CHARTS)
    for chart in made.values():
        assert chart["profile"] == "ambient"
        assert values.is_ours({"values": chart})
    assert "meshConfig" not in made["istiod"]
    assert all("hub" not in str(chart) for chart in made.values())


def test_images_namespace_platform_and_trust_domain_reach_the_charts_that_ask() -> None:
    istio = IstioIntent(hub="r.example.org/istio", tag="1.31.0", namespace="mesh", platform="openshift")
    made = values.render(istio, "cluster.example.org")
    assert made["istiod"]["global"] == {
        "istioNamespace": "mesh",
        "hub": "r.example.org/istio",
        "tag": "1.31.0",
        "platform": "openshift",
    }
    assert made["istiod"]["meshConfig"] == {"trustDomain": "cluster.example.org"}
    # OpenShift runs the node agents in kube-system, and istiod must know whom to trust there.
    assert made["istiod"]["trustedZtunnelNamespace"] == "kube-system" == values.namespace_of("ztunnel", istio)
    assert (made["ztunnel"]["hub"], made["ztunnel"]["tag"]) == ("r.example.org/istio", "1.31.0")
    assert made["ztunnel"]["istioNamespace"] == "mesh"


def test_extra_values_are_merged_below_what_the_intent_decides() -> None:
    istio = IstioIntent(values={"istiod": {"replicaCount": 2, "global": {"istioNamespace": "other"}}})
    made = values.render(istio, None)["istiod"]
    assert made["replicaCount"] == 2
    assert made["global"]["istioNamespace"] == "istio-system"


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        ({"replicaCount": 2}, []),
        ({"profile": "demo"}, ["profile"]),
        ({"global": {"tag": "x", "proxy": {}}}, ["global.tag"]),
        # A scalar in place of a branch takes all of it away.
        ({"meshConfig": None}, ["meshConfig.rootNamespace", "meshConfig.trustDomain"]),
        ({"defaults": {"hub": "x"}}, ["defaults"]),
    ],
)
def test_what_the_intent_decides_is_named(given: dict[str, t.Any], keys: list[str]) -> None:
    assert [key for key, _ in values.owned(given)] == keys


def test_rendered_values_of_a_cilium_are_fit() -> None:
    assert cilium_below.values() == {
        "cni": {"exclusive": False},
        "socketLB": {"hostNamespaceOnly": True},
        "bpf": {"masquerade": False, "hostLegacyRouting": True},
    }
    assert cilium_below.violations(FIT) == []
    assert cilium_below.violations({}) == []


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        ({"cni-exclusive": "true"}, ["cni-exclusive"]),
        ({"enable-bpf-masquerade": "true"}, ["enable-bpf-masquerade"]),
        ({"bpf-lb-sock-hostns-only": "false"}, ["bpf-lb-sock-hostns-only"]),
        ({"bpf-lb-sock-hostns-only": "false", "kube-proxy-replacement": "false"}, []),
        (
            {"bpf-lb-sock-hostns-only": "", "kube-proxy-replacement": "false", "bpf-lb-sock": "true"},
            ["bpf-lb-sock-hostns-only"],
        ),
        ({"datapath-mode": "netkit"}, ["datapath-mode"]),
        # The agent itself takes legacy routing as long as iptables masquerades.
        ({"enable-host-legacy-routing": "false"}, []),
        (
            {"enable-host-legacy-routing": "false", "enable-ipv4-masquerade": "false"},
            ["enable-host-legacy-routing"],
        ),
        (
            {"enable-host-legacy-routing": "false", "enable-ipv4-masquerade": "false", "kube-proxy-replacement": "f"},
            [],
        ),
    ],
)
def test_each_key_that_does_not_fit_is_named_once(change: dict[str, str], keys: list[str]) -> None:
    found = cilium_below.violations({**FIT, **change})
    assert [one.key for one in found] == keys
    assert all(one.why and one.chart_value and one.found != one.wanted for one in found)


def test_objects_of_namespaces() -> None:
    assert objects.namespace_labels(None) == {"istio.io/dataplane-mode": "ambient"}
    assert objects.namespace_labels("waypoint")["istio.io/use-waypoint"] == "waypoint"
    gateway = objects.waypoint("training")
    assert gateway["metadata"]["namespace"] == "training"
    assert gateway["spec"]["gatewayClassName"] == "istio-waypoint"


def test_rule_for_probes_isolates_nobody() -> None:
    spec = objects.probe_policy(ipv6=False)["spec"]
    assert spec["enableDefaultDeny"] == {"egress": False, "ingress": False}
    assert spec["ingress"] == [{"fromCIDR": ["169.254.7.127/32"]}]
    assert len(objects.probe_policy(ipv6=True)["spec"]["ingress"][0]["fromCIDR"]) == 2
