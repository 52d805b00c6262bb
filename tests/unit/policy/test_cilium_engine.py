# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Cilium is asked for HTTP, authentication, SPIFFE ids, defaults and presets; and what it is not asked for."""

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent import model as intent_model
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy import options as policy_options
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.load import parse_text
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.options import Options
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.render import render

Json = dict[str, t.Any]
SERVES = {"name": "p", "namespace": "n", "to": {"labels": {"app": "checkout"}}}


def rendered(*documents: t.Any, **options: t.Any) -> tuple[list[Json], list[Finding]]:
    return render(documents, set_name="s", cluster_name="c", options=Options(**options))


def serves(**rule: t.Any) -> Json:
    return {**SERVES, "allow": [{"from": {"labels": {"app": "frontend"}}, "ports": [8080], **rule}]}


def test_http_rules_are_whole_expressions_for_literal_paths() -> None:
    objects, findings = rendered(serves(http=[{"method": "POST", "path": "/v1.0/charge"}, {"path": "/v1.0/img/*"}]))
    assert [finding.code for finding in findings] == ["ZT707"]
    assert objects[0]["spec"]["ingress"] == [
        {
            "fromEndpoints": [{"matchLabels": {"app": "frontend"}}],
            "toPorts": [
                {
                    "ports": [{"port": "8080", "protocol": "TCP"}],
                    "rules": {
                        "http": [
                            {"method": "POST", "path": r"/v1\.0/charge(\?.*)?"},
                            {"path": r"/v1\.0/img/.*"},
                        ]
                    },
                }
            ],
        }
    ]
    exact = objects[0]["spec"]["ingress"][0]["toPorts"][0]["rules"]["http"][0]["path"]
    assert re.fullmatch(exact, "/v1.0/charge?id=1")
    assert not re.fullmatch(exact, "/v1x0/charge")
    assert not re.fullmatch(exact, "/v1.0/charges")


def test_http_without_the_proxy_is_refused() -> None:
    objects, findings = rendered(serves(http=[{"path": "/"}]), cilium_l7=False)
    assert objects == []
    assert [(finding.code, finding.subject.name) for finding in findings if finding.blocks] == [
        ("ZT701", "zerotrust_policies[0].allow[0].http")
    ]


def test_authentication_is_refused_where_it_would_block_everything() -> None:
    text = "- name: p\n  namespace: n\n  to: {}\n  allow:\n    - from: {}\n      authentication: required\n"
    documents, _ = parse_text(text, "a.yml")
    objects, findings = rendered(*documents)
    refused = findings[0]
    assert objects == []
    assert (refused.code, refused.source, refused.observed) == ("ZT701", "a.yml:6", "required")
    assert "blocks every connection" in refused.message


@pytest.mark.parametrize(("version", "given"), [("1.21.0", True), ("v1.21.0-pre.0", True), (None, True), ("x", True)])
def test_authentication_is_refused_where_cilium_has_it_no_more(version: str | None, given: bool) -> None:
    objects, findings = rendered(serves(authentication="required"), cilium_version=version, cilium_authentication=given)
    assert objects == []
    assert "gone from Cilium 1.21" in findings[0].message


def test_authentication_is_rendered_as_deprecated_where_cilium_has_it() -> None:
    objects, findings = rendered(serves(authentication="required"), cilium_version="1.20.2", cilium_authentication=True)
    assert objects[0]["spec"]["ingress"][0]["authentication"] == {"mode": "required"}
    assert [(finding.code, finding.subject.name) for finding in findings] == [
        ("ZT620", "policy n/p"),
        ("ZT707", "policy set s"),
    ]
    assert "authentication" not in rendered(serves(authentication="none"))[0][0]["spec"]["ingress"][0]


def test_a_spiffe_id_is_namespace_and_service_account_of_this_trust_domain() -> None:
    peer = {"spiffe_id": "spiffe://td.example/ns/shop/sa/front"}
    document = {**SERVES, "allow": [{"from": peer}]}
    objects, _ = rendered(document, trust_domain="td.example")
    assert objects[0]["spec"]["ingress"] == [
        {
            "fromEndpoints": [
                {
                    "matchLabels": {
                        "k8s:io.kubernetes.pod.namespace": "shop",
                        "k8s:io.cilium.k8s.policy.serviceaccount": "front",
                    }
                }
            ]
        }
    ]
    for other in (None, "cluster.local"):
        objects, findings = rendered(document, trust_domain=other)
        assert objects == []
        assert "trust domain td.example" in findings[0].message
        assert findings[0].subject.name == "zerotrust_policies[0].allow[0].from.spiffe_id"


def test_the_default_of_a_namespace_denies_both_directions() -> None:
    default = {"name": "d", "namespace": "n", "default": "deny"}
    assert rendered(default)[0][0]["spec"] == {
        "endpointSelector": {"matchLabels": {}},
        "ingress": [{}],
        "egress": [{}],
    }
    assert "egress" not in rendered({**default, "directions": ["ingress"]})[0][0]["spec"]


def test_mutual_tls_is_not_what_a_policy_of_cilium_gives() -> None:
    objects, findings = rendered({"name": "d", "namespace": "n", "default": "deny", "mtls": True})
    assert objects == []
    assert "encrypts nothing" in findings[0].message


def test_presets_only_add_permissions() -> None:
    objects, findings = rendered(
        {"name": "probes", "namespace": "n", "preset": "probes", "ports": [8080]},
        {"name": "metrics", "namespace": "n", "preset": "metrics", "from": {"namespace": "mon"}, "ports": [9400]},
        {"name": "api", "namespace": "n", "preset": "api_server"},
    )
    assert [finding.code for finding in findings] == ["ZT707"]
    specs = {obj["metadata"]["name"]: obj["spec"] for obj in objects}
    assert all(spec["enableDefaultDeny"] == {"egress": False, "ingress": False} for spec in specs.values())
    assert specs["probes"]["ingress"] == [
        {"fromEntities": ["host"], "toPorts": [{"ports": [{"port": "8080", "protocol": "TCP"}]}]}
    ]
    assert specs["metrics"]["ingress"][0]["fromEndpoints"] == [
        {"matchLabels": {"k8s:io.kubernetes.pod.namespace": "mon"}}
    ]
    assert specs["api"]["egress"] == [
        {"toEntities": ["kube-apiserver"], "toPorts": [{"ports": [{"port": "6443", "protocol": "TCP"}]}]}
    ]


def test_what_the_intent_says_of_the_cluster() -> None:
    variables: Json = {
        "zerotrust_cluster_name": "c",
        "zerotrust_cni": "cilium",
        "zerotrust_trust_domain": "td.example",
        "zerotrust_pod_cidrs": ["10.0.0.0/16"],
        "zerotrust_node_cidrs": ["192.168.0.0/24"],
    }
    found = policy_options.from_intent(intent_model.parse(variables, extra_vars={})[0])
    assert found == Options("td.example", ("10.0.0.0/16", "192.168.0.0/24"), "1.20.2")
    variables["cilium_values"] = {
        "l7Proxy": False,
        "authentication": {"enabled": True, "mutual": {"spire": {"enabled": True}}},
    }
    del variables["zerotrust_node_cidrs"]
    found = policy_options.from_intent(intent_model.parse(variables, extra_vars={})[0])
    assert found == Options("td.example", None, "1.20.2", True, False)
    variables["zerotrust_cni"] = "existing"
    found = policy_options.from_intent(intent_model.parse(variables, extra_vars={})[0])
    assert (found.cilium_version, found.cilium_authentication) == (None, False)
