# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planned values through the real chart of Cilium and a real Helm: what counts is the cilium-config."""

from __future__ import annotations

import functools
import itertools
import pathlib
import subprocess
import typing as t

import pytest
import yaml

from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent import mappings
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import chartkeys, cilium
from ansible_collections.aicluster.zerotrust.tests.unit.plan import factory
from lab import build


@functools.lru_cache(maxsize=1)
def _tools() -> tuple[str, pathlib.Path]:
    """(helm, chart) of the laboratory's cache, or the test is skipped with the reason."""
    helm, chart = build.cached("helm"), build.chart_dir() / "chart"
    if not helm.exists() or not chart.is_dir():
        pytest.skip("helm or the chart is not in the tool cache: run python3 -m lab tools")
    return str(helm), chart


def _template(values: dict[str, t.Any], folder: pathlib.Path) -> list[dict[str, t.Any]]:
    """The objects that the chart makes of these values."""
    helm, chart = _tools()
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    command = [helm, "template", "cilium", str(chart), "--namespace", "kube-system", "--values", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [entry for entry in yaml.safe_load_all(done.stdout) if entry]


def _config(values: dict[str, t.Any], folder: pathlib.Path) -> dict[str, str]:
    objects = _template(values, folder)
    daemonset = next(o for o in objects if o["kind"] == "DaemonSet" and o["metadata"]["name"] == "cilium")
    assert daemonset["metadata"]["annotations"][cilium.MARKER[0]] == cilium.MARKER[1]
    assert "cilium.io/cilium-configmap-checksum" in daemonset["spec"]["template"]["metadata"]["annotations"]
    config = next(o for o in objects if o["kind"] == "ConfigMap" and o["metadata"]["name"] == "cilium-config")
    return t.cast("dict[str, str]", config["data"])


def _values(**variables: t.Any) -> dict[str, t.Any]:
    return cilium.render(
        factory.intent(**variables), devices=["eno1", "node0"], direct_device="node0", multus=False, node_count=3
    )


@pytest.mark.parametrize(
    ("routing", "encryption", "replacement"),
    list(itertools.product(("vxlan", "native"), ("wireguard", "none"), (True, False))),
)
def test_values_give_the_configuration_that_is_meant(
    routing: str, encryption: str, replacement: bool, tmp_path: pathlib.Path
) -> None:
    values = _values(
        zerotrust_routing=routing,
        zerotrust_transport_encryption=encryption,
        cilium_kube_proxy_replacement=replacement,
        cilium_k8s_service_host="10.0.0.250",
    )
    config = _config(values, tmp_path)
    assert config["devices"] == "eno1 node0"
    assert config["direct-routing-device"] == "node0"
    assert config.get("enable-wireguard", "false") == str(encryption == "wireguard").lower()
    assert config["routing-mode"] == ("tunnel" if routing == "vxlan" else "native")
    assert config["tunnel-protocol"] == "vxlan"
    assert config.get("ipv4-native-routing-cidr") == (None if routing == "vxlan" else "10.244.0.0/16")
    assert config["auto-direct-node-routes"] == str(routing == "native").lower()
    assert config["kube-proxy-replacement"] == str(replacement).lower()
    assert config["cni-exclusive"] == "true"
    assert config["ipam"] == "kubernetes"
    assert "mtu" not in config
    # What we expect to find on a running cluster is what the chart writes.
    assert {key: config.get(key) for key in cilium.config(values)} == cilium.config(values)


def test_strict_mode_reaches_the_configuration(tmp_path: pathlib.Path) -> None:
    config = _config(_values(zerotrust_drop_unencrypted={"egress": True, "ingress": True}), tmp_path)
    assert config["enable-encryption-strict-mode-egress"] == "true"
    assert config["encryption-strict-egress-cidr"] == "10.244.0.0/16"
    assert config["encryption-strict-egress-allow-remote-node-identities"] == "true"
    assert config["enable-encryption-strict-mode-ingress"] == "true"


def test_cluster_pool_and_dual_stack(tmp_path: pathlib.Path) -> None:
    values = _values(cilium_ipam_mode="cluster-pool", zerotrust_pod_cidrs=["10.244.0.0/16", "fd00:1::/104"])
    config = _config(values, tmp_path)
    assert config["cluster-pool-ipv4-cidr"] == "10.244.0.0/16"
    assert config["cluster-pool-ipv6-cidr"] == "fd00:1::/104"
    assert config["enable-ipv6"] == "true"


def test_the_chart_takes_a_removed_key_in_silence_and_we_do_not(tmp_path: pathlib.Path) -> None:
    removed = {"encryption": {"strictMode": {"enabled": True}}}
    config = _config(mappings.merge(_values(), removed), tmp_path)
    assert not [key for key in config if "strict" in key]
    keys = chartkeys.ChartKeys((_tools()[1] / "values.yaml").read_text())
    assert keys.unknown(removed) == [("encryption.strictMode.enabled", "encryption.strictMode.egress.enabled")]


def test_all_that_we_render_is_in_the_chart() -> None:
    keys = chartkeys.ChartKeys((_tools()[1] / "values.yaml").read_text())
    for routing in ("vxlan", "native"):
        drop = {"egress": True, "ingress": True}
        values = _values(
            zerotrust_routing=routing,
            zerotrust_drop_unencrypted=drop,
            zerotrust_cluster_name="lab",
            cilium_ipam_mode="cluster-pool",
            cilium_k8s_service_host="h",
        )
        assert keys.unknown(values) == []


def test_keys_that_stand_in_the_chart_as_comments_are_known() -> None:
    keys = chartkeys.ChartKeys((_tools()[1] / "values.yaml").read_text())
    commented = {"socketLB": {"hostNamespaceOnly": True}, "loadBalancer": {"mode": "snat", "dsrDispatch": "geneve"}}
    assert keys.unknown({**commented, "policyAuditMode": True}) == []


def test_every_image_comes_from_the_mirror(tmp_path: pathlib.Path) -> None:
    values = _values(
        zerotrust_registry="registry.example:5000/mirror",
        cilium_hubble_relay=True,
        cilium_hubble_ui=True,
        cilium_values={"nodeinit": {"enabled": True}, "preflight": {"enabled": True}},
    )
    images = [image for entry in _template(values, tmp_path) for image in _images(entry)]
    assert len(set(images)) >= 6
    assert [image for image in images if not image.startswith("registry.example:5000/mirror/cilium/")] == []
    # without the variable none does, so the check above can fail
    plain = [image for entry in _template(_values(), tmp_path) for image in _images(entry)]
    assert [image for image in plain if image.startswith("registry.example")] == []


def _images(part: t.Any) -> t.Iterator[str]:
    """Every text under a key "image", wherever it is."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "image" and isinstance(value, str):
                yield value
            yield from _images(value)
    elif isinstance(part, list):
        for value in part:
            yield from _images(value)
