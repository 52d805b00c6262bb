# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Istio Ambient is asked for, and what is refused because it cannot say it or would say less."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.options import Options
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.render import render

Json = dict[str, t.Any]
KNOWN = {"trust_domain": "td.example", "cluster_cidrs": ("10.0.0.0/16", "192.168.0.0/24")}
LABELS = {
    "app.kubernetes.io/managed-by": "aicluster.zerotrust",
    "aicluster.zerotrust/set": "s",
    "aicluster.zerotrust/cluster": "c",
}
CHECKOUT = {"name": "checkout", "namespace": "shop", "to": {"labels": {"app": "checkout"}}}
FRONT = {"service_account": "front"}


def rendered(*documents: t.Any, **options: t.Any) -> tuple[list[Json], list[Finding]]:
    return render(
        documents, set_name="s", cluster_name="c", engine="istio_ambient", options=Options(**{**KNOWN, **options})
    )


def allow(*rules: Json, **fields: t.Any) -> Json:
    return {**CHECKOUT, "allow": list(rules), **fields}


def rule_of(rule: Json, **options: t.Any) -> Json:
    objects, findings = rendered(allow(rule), **options)
    assert [finding.code for finding in findings] == ["ZT707"], findings
    rules: list[Json] = objects[0]["spec"]["rules"]
    assert len(rules) == 1
    return rules[0]


def refusal(*documents: t.Any, **options: t.Any) -> Finding:
    _objects, findings = rendered(*documents, **options)
    refused = [finding for finding in findings if finding.blocks]
    assert [finding.code for finding in refused] == ["ZT701"], findings
    assert refused[0].remedy
    return refused[0]


def test_a_policy_for_ztunnel() -> None:
    objects, findings = rendered(allow({"from": FRONT, "ports": [8080, {"port": 9000, "end_port": 9002}]}))
    assert objects == [
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": "checkout", "namespace": "shop", "labels": LABELS},
            "spec": {
                "action": "ALLOW",
                "selector": {"matchLabels": {"app": "checkout"}},
                "rules": [
                    {
                        "from": [{"source": {"principals": ["td.example/ns/shop/sa/front"]}}],
                        "to": [{"operation": {"ports": ["8080", "9000", "9001", "9002"]}}],
                    }
                ],
            },
        }
    ]
    assert [finding.code for finding in findings] == ["ZT707"]
    assert "UDP" in findings[0].message


def test_peers() -> None:
    assert rule_of({"from": {}}) == {"from": [{"source": {"namespaces": ["shop"]}}]}
    assert rule_of({"from": {"namespace": "web"}}) == {"from": [{"source": {"namespaces": ["web"]}}]}
    assert rule_of({"from": {"spiffe_id": "spiffe://td.example/ns/web/sa/x"}}) == {
        "from": [{"source": {"principals": ["td.example/ns/web/sa/x"]}}]
    }
    assert rule_of({"from": FRONT}, trust_domain=None) == {
        "from": [{"source": {"principals": ["cluster.local/ns/shop/sa/front"]}}]
    }
    assert rule_of({"from": {"entity": "all"}}) == {}
    assert rule_of({"from": [FRONT, {"entity": "all"}], "ports": [80]}) == {"to": [{"operation": {"ports": ["80"]}}]}
    assert rule_of({"from": {"entity": "all"}, "authentication": "required"}) == {
        "from": [{"source": {"principals": ["*"]}}]
    }


def test_outside_addresses_are_neither_the_clusters_nor_anybody_with_an_identity() -> None:
    assert rule_of({"from": {"cidr": "10.0.0.0/8", "except": ["10.9.0.0/16"]}}) == {
        "from": [
            {
                "source": {
                    "ipBlocks": ["10.0.0.0/8"],
                    "notIpBlocks": ["10.9.0.0/16", "10.0.0.0/16"],
                    "notPrincipals": ["*"],
                }
            }
        ]
    }
    assert "notIpBlocks" not in rule_of({"from": {"cidr": "172.16.0.0/12"}})["from"][0]["source"]
    assert "notIpBlocks" not in rule_of({"from": {"cidr": "fd00::/8"}})["from"][0]["source"]


@pytest.mark.parametrize("ports", [[], ["all"], [{"port": 1, "end_port": 65535}], [80, "all"]])
def test_all_ports(ports: list[t.Any]) -> None:
    assert rule_of({"from": {"entity": "all"}, "ports": ports}) == {}


def test_an_empty_allow_is_a_policy_without_rules() -> None:
    assert rendered(allow())[0][0]["spec"] == {"action": "ALLOW", "selector": {"matchLabels": {"app": "checkout"}}}


def test_the_default_of_a_namespace_with_mutual_tls() -> None:
    default = {"name": "d", "namespace": "shop", "default": "deny", "directions": ["ingress"], "mtls": True}
    objects, _ = rendered(default)
    assert [(obj["kind"], obj["spec"]) for obj in objects] == [
        ("AuthorizationPolicy", {"action": "ALLOW"}),
        ("PeerAuthentication", {"mtls": {"mode": "STRICT"}}),
    ]
    assert [obj["kind"] for obj in rendered({**default, "mtls": False})[0]] == ["AuthorizationPolicy"]


def test_a_cluster_wide_policy_stands_in_the_namespace_of_its_pods() -> None:
    wide = {"name": "w", "cluster_wide": True, "to": {"namespace": "shop"}, "allow": []}
    assert rendered(wide)[0][0]["metadata"]["namespace"] == "shop"
    same = refusal(wide, {"name": "w", "namespace": "shop", "to": {}, "allow": []})
    assert "is the same object" in same.message


@pytest.mark.parametrize(
    "document",
    [
        {"name": "dns", "namespace": "shop", "preset": "dns"},
        {"name": "api", "namespace": "shop", "preset": "api_server"},
        {"name": "probes", "namespace": "shop", "preset": "probes"},
        {"name": "x", "namespace": "shop", "from": {}, "isolate": False, "allow": [{"to": {"cidr": "10.0.0.0/8"}}]},
    ],
)
def test_what_istio_never_takes_away_needs_no_object(document: Json) -> None:
    objects, findings = rendered(document)
    assert objects == []
    assert [finding.code for finding in findings] == ["ZT707"]


def test_isolating_probes_deny_everybody_else() -> None:
    objects, _ = rendered({"name": "probes", "namespace": "shop", "preset": "probes", "isolate": True})
    assert [obj["spec"] for obj in objects] == [{"action": "ALLOW"}]


def test_a_permission_is_added_only_to_what_is_isolated_already() -> None:
    metrics = {
        "name": "m",
        "namespace": "shop",
        "preset": "metrics",
        "to": {"labels": {"app": "checkout", "x": "y"}},
        "from": {"namespace": "mon"},
        "ports": [9100],
    }
    found = refusal(metrics)
    assert found.subject.name == "zerotrust_policies[0].isolate"
    assert "isolates the pods that it selects" in found.message
    objects, findings = rendered(metrics, allow())
    assert [obj["metadata"]["name"] for obj in objects] == ["checkout", "m"]
    assert [finding.code for finding in findings] == ["ZT707"]
    refusal(metrics, allow(to={"labels": {"app": "other"}}))
    refusal(metrics, allow(namespace="other"))


REFUSED: list[tuple[Json, str, str]] = [
    (allow({"from": {"labels": {"app": "front"}}}), "allow[0].from.labels", "not by its labels"),
    (allow({"from": {"entity": "world"}}), "allow[0].from.entity", "no word for this entity"),
    (allow({"from": {"entity": "cluster"}}), "allow[0].from.entity", "no word for this entity"),
    (allow({"from": FRONT, "ports": [{"port": 53, "protocol": "UDP"}]}), "allow[0].ports", "TCP only"),
    (allow({"from": FRONT, "ports": ["web"]}), "allow[0].ports", "by number"),
    (allow({"from": FRONT, "ports": [{"port": 1, "end_port": 101}]}), "allow[0].ports", "no port ranges"),
    (allow({"from": FRONT, "ports": [80], "http": [{"path": "/"}]}), "allow[0].http", "no waypoint"),
    (
        allow({"from": {"cidr": "10.0.0.0/8"}, "authentication": "required"}),
        "allow[0].from.cidr",
        "no identity to prove",
    ),
    (allow(to={"service_account": "x"}), "to.service_account", "by labels only"),
    (allow(namespace="istio-system"), "namespace", "every namespace"),
    ({"name": "x", "namespace": "shop", "from": {}, "allow": []}, "from", "only the receiver's ztunnel"),
    ({"name": "d", "namespace": "shop", "default": "deny"}, "directions", "only the receiver's ztunnel"),
    ({"name": "d", "namespace": "shop", "preset": "dns", "isolate": True}, "preset", "only the receiver's ztunnel"),
    (
        {"name": "t", "namespace": "shop", "preset": "pytorch", "job_labels": {"app": "t"}},
        "preset",
        "only the receiver's ztunnel",
    ),
]


@pytest.mark.parametrize(("document", "path", "word"), REFUSED, ids=[word for _, _, word in REFUSED])
def test_what_istio_cannot_say_is_refused_with_the_reason(document: Json, path: str, word: str) -> None:
    found = refusal(document)
    assert found.subject.name == f"zerotrust_policies[0].{path}"
    assert word in found.message
    assert rendered(document)[0] == []


def test_addresses_where_nobody_can_tell_them_from_the_clusters() -> None:
    document = allow({"from": {"cidr": "10.0.0.0/8"}})
    assert "are not known" in refusal(document, cluster_cidrs=None).message
    strict = {"name": "d", "namespace": "shop", "default": "deny", "directions": ["ingress"], "mtls": True}
    assert "have none" in refusal(document, strict).message
    rendered_elsewhere, _ = rendered(document, {**strict, "namespace": "other"})
    assert len(rendered_elsewhere) == 3


# Waypoints ---------------------------------------------------------------------------------------------------------

HTTP = {
    "name": "charge",
    "namespace": "shop",
    "to": {},
    "allow": [{"from": FRONT, "ports": [8080], "http": [{"method": "POST", "path": "/charge"}, {"path": "/img/*"}]}],
}
GATEWAY = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "waypoint"}


def test_http_is_for_the_waypoint_and_its_pods_take_no_other_connection() -> None:
    other = {"name": "plain", "namespace": "shop", "to": {}, "allow": [{"from": {}, "ports": [9000]}]}
    objects, findings = rendered(HTTP, other, waypoints={"shop": "waypoint"})
    assert [finding.code for finding in findings] == ["ZT707"]
    assert {obj["metadata"]["name"]: obj["spec"] for obj in objects} == {
        "charge": {
            "action": "ALLOW",
            "targetRefs": [GATEWAY],
            "rules": [
                {
                    "from": [{"source": {"principals": ["td.example/ns/shop/sa/front"]}}],
                    "to": [
                        {"operation": {"ports": ["8080"], "methods": ["POST"], "paths": ["/charge"]}},
                        {"operation": {"ports": ["8080"], "paths": ["/img/*"]}},
                    ],
                }
            ],
        },
        "plain": {
            "action": "ALLOW",
            "targetRefs": [GATEWAY],
            "rules": [
                {"from": [{"source": {"namespaces": ["shop"]}}], "to": [{"operation": {"ports": ["9000"]}}]},
            ],
        },
        "zerotrust-waypoint-only": {
            "action": "ALLOW",
            "rules": [{"from": [{"source": {"principals": ["td.example/ns/shop/sa/waypoint"]}}]}],
        },
    }


def test_a_waypoint_that_no_policy_needs_changes_nothing() -> None:
    plain = allow({"from": FRONT})
    assert rendered(plain, waypoints={"shop": "waypoint"}) == rendered(plain)


@pytest.mark.parametrize(
    ("document", "word"),
    [
        (allow({"from": FRONT}), "cannot tell pods by their labels"),
        ({**HTTP, "name": "b", "allow": [{"from": {"entity": "all"}}]}, "of the mesh only"),
        ({**HTTP, "name": "b", "allow": [{"from": {"cidr": "172.16.0.0/12"}}]}, "of the mesh only"),
        ({**HTTP, "name": "zerotrust-waypoint-only"}, "take no other connections"),
    ],
)
def test_what_a_waypoint_cannot_do_is_refused(document: Json, word: str) -> None:
    assert word in refusal(HTTP, document, waypoints={"shop": "waypoint"}).message


def test_an_engine_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="no engine calico"):
        render([], set_name="s", cluster_name="c", engine="calico")


@pytest.mark.parametrize(("root", "refused"), [("istio-system", False), ("ai-workloads", True)])
def test_a_policy_in_the_namespace_of_the_mesh_would_be_one_for_every_pod(root: str, refused: bool) -> None:
    document = {
        "name": "api",
        "namespace": "ai-workloads",
        "to": {"labels": {"app": "api"}},
        "allow": [{"from": {"namespace": "ai-workloads", "service_account": "client"}, "ports": [80]}],
    }
    options = Options(root_namespace=root)
    _objects, findings = render([document], set_name="s", cluster_name="c", engine="istio_ambient", options=options)
    assert [finding.code for finding in findings if finding.blocks] == (["ZT701"] if refused else [])
