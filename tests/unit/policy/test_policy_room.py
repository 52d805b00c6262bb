# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy room: model, files with positions, rendering, rank-to-rank; and the JSON Schema against the parser."""

from __future__ import annotations

import copy
import json
import pathlib
import typing as t

import jsonschema
import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy import load, model
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.render import render

SCHEMA = json.loads((pathlib.Path(__file__).resolve().parents[3] / "docs" / "policy.schema.json").read_text("utf-8"))

ARTICLE = {
    "name": "pytorch",
    "namespace": "ai-workloads",
    "to": {"labels": {"role": "worker"}},
    "allow": [{"from": {"labels": {"role": "pytorch-master"}}, "ports": [{"port": 29500, "protocol": "TCP"}]}],
}
TRAINER = {
    "name": "trainer",
    "namespace": "ai-workloads",
    "preset": "pytorch",
    "job_labels": {"app": "train"},
    "rendezvous_port": 29501,
    "storage": [{"cidr": "10.9.0.0/24", "ports": [2049]}],
}
WIDE = {
    "name": "wide",
    "cluster_wide": True,
    "from": {"namespace": "a", "service_account": "sa"},
    "allow": [
        {"to": [{"entity": "kube-apiserver"}, {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}], "ports": ["all"]},
        {"to": {"namespace": "b", "labels": {"k8s-app": "x"}}, "ports": [{"port": 1, "end_port": 9}, "web"]},
    ],
}
DNS = {"name": "dns", "namespace": "ai-workloads", "preset": "dns"}
SHOP = {
    "name": "checkout",
    "namespace": "production",
    "to": {"labels": {"app": "checkout"}},
    "allow": [
        {
            "from": {"spiffe_id": "spiffe://cluster.local/ns/production/sa/frontend"},
            "ports": [8080],
            "http": [{"method": "POST", "path": "/charge"}, {"path": "/v1.0/*"}],
        }
    ],
}
DEFAULT = {"name": "default", "namespace": "n", "default": "deny"}
PROBES = {"name": "probes", "namespace": "n", "preset": "probes", "ports": [8080]}
METRICS = {"name": "metrics", "namespace": "n", "preset": "metrics", "from": {"namespace": "mon"}, "ports": [9400]}
API = {"name": "api", "namespace": "n", "preset": "api_server", "from": {"service_account": "operator"}}
DENY = {"name": "deny", "namespace": "n", "to": {}, "allow": []}
GOOD = [ARTICLE, TRAINER, WIDE, DNS, SHOP, DEFAULT, PROBES, METRICS, API, DENY]

# (what is changed in ARTICLE, path of the error, a word of why or remedy)
BAD: list[tuple[dict[str, t.Any], str, str]] = [
    ({"name": None}, "name", "missing"),
    ({"name": "UPPER"}, "name", "small letters"),
    ({"namespace": None}, "namespace", "missing"),
    ({"namespace": "a.b"}, "namespace", "no namespace"),
    ({"nmespace": "x"}, "nmespace", "did you mean namespace"),
    ({"from": {}}, "to", "one direction"),
    ({"cluster_wide": "yes"}, "cluster_wide", "true or false"),
    ({"cluster_wide": True}, "namespace", "in no namespace"),
    ({"preset": "tensor"}, "preset", "api_server, dns, metrics, probes, pytorch"),
    ({"preset": ["dns"]}, "preset", "no such preset"),
    ({"allow": None}, "allow", "missing"),
    ({"allow": {"from": {}}}, "allow", "no list"),
    ({"to": {"namespace": "b"}}, "to.namespace", "remove it here"),
    ({"to": {"labels": {"a": 1}}}, "to.labels.a", "quoted"),
    ({"to": {"labels": {"-a": "b"}}}, "to.labels.-a", "label key"),
    ({"allow": [{"to": {}}]}, "allow[0].to", "from, ports"),
    ({"allow": [{"from": []}]}, "allow[0].from", "allows nobody"),
    ({"allow": [{"from": {"entity": "mars"}}]}, "allow[0].from.entity", "no such entity"),
    ({"allow": [{"from": {"entity": "all", "labels": {}}}]}, "allow[0].from", "one list entry"),
    ({"allow": [{"from": {"cidr": "10.0.0.1/8"}}]}, "allow[0].from.cidr", "host bits"),
    ({"allow": [{"from": {"cidr": 5}}]}, "allow[0].from.cidr", "no CIDR"),
    ({"allow": [{"from": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/9"]}}]}, "allow[0].from.except[0]", "within"),
    ({"allow": [{"from": {}, "ports": [0]}]}, "allow[0].ports[0].port", "1 to 65535"),
    ({"allow": [{"from": {}, "ports": [70000]}]}, "allow[0].ports[0].port", "1 to 65535"),
    ({"allow": [{"from": {}, "ports": [True]}]}, "allow[0].ports[0].port", "no port"),
    ({"allow": [{"from": {}, "ports": ["A_B"]}]}, "allow[0].ports[0].port", "neither"),
    ({"allow": [{"from": {}, "ports": [{"port": 9, "end_port": 8}]}]}, "allow[0].ports[0].end_port", "not below"),
    ({"allow": [{"from": {}, "ports": [{"port": 9, "protocol": "tcp"}]}]}, "allow[0].ports[0].protocol", "TCP"),
    ({"allow": [{"from": {}, "ports": ["\u00b2"]}]}, "allow[0].ports[0].port", "no port"),
    ({"isolate": "no"}, "isolate", "true or false"),
    ({"to": {"labels": {"io.kubernetes.pod.namespace": "b"}}}, "to.labels.io.kubernetes.pod.namespace", "namespace"),
    ({"to": {"spiffe_id": "spiffe://td/ns/a/sa/b"}}, "to.spiffe_id", "give service_account instead"),
    ({"allow": [{"from": {"spiffe_id": "spiffe://td/workload/trainer"}}]}, "allow[0].from.spiffe_id", "/ns/NAMESPACE"),
    ({"allow": [{"from": {"spiffe_id": "spiffe://td/ns/A_B/sa/b"}}]}, "allow[0].from.spiffe_id", "no namespace"),
    ({"allow": [{"from": {"spiffe_id": "spiffe://td/ns/a/sa/b", "namespace": "a"}}]}, "allow[0].from.namespace", "one"),
    ({"allow": [{"from": {}, "ports": [80], "http": []}]}, "allow[0].http", "allows no request"),
    ({"allow": [{"from": {}, "ports": [80], "http": [{}]}]}, "allow[0].http[0]", "names no request"),
    ({"allow": [{"from": {}, "ports": [80], "http": [{"method": "post"}]}]}, "allow[0].http[0].method", "as GET"),
    ({"allow": [{"from": {}, "ports": [80], "http": [{"path": "/a.*b"}]}]}, "allow[0].http[0].path", "regular"),
    ({"allow": [{"from": {}, "ports": [80], "http": [{"path": "/a?b=c"}]}]}, "allow[0].http[0].path", "query"),
    ({"allow": [{"from": {}, "http": [{"path": "/a"}]}]}, "allow[0].ports", "TCP ports"),
    ({"allow": [{"from": {}, "ports": ["all"], "http": [{"path": "/a"}]}]}, "allow[0].ports", "TCP ports"),
    (
        {"allow": [{"from": {}, "ports": [{"port": 80, "protocol": "UDP"}], "http": [{"path": "/a"}]}]},
        "allow[0].ports",
        "named TCP ports",
    ),
    (
        {"isolate": False, "allow": [{"from": {}, "ports": [80], "http": [{"path": "/a"}]}]},
        "isolate",
        "denies the other requests",
    ),
    ({"allow": [{"from": {}, "authentication": "spire"}]}, "allow[0].authentication", "none or required"),
    (
        {"allow": [{"from": {}, "authentication": {"spiffe": {"identity": "x"}}}]},
        "allow[0].authentication",
        "no such authentication",
    ),
    ({"default": "deny"}, "to", "known here: name, namespace, default"),
    ({"default": "deny", "to": None, "allow": None, "directions": ["in"]}, "directions[0]", "ingress, egress"),
    ({"default": "deny", "to": None, "allow": None, "directions": []}, "directions", "denies nothing"),
    ({"default": "allow", "to": None, "allow": None}, "default", "write deny"),
    ({"default": "deny", "to": None, "allow": None, "mtls": "strict"}, "mtls", "true or false"),
    ({"preset": "metrics", "to": None, "allow": None, "ports": [9100]}, "from", "missing"),
    ({"preset": "metrics", "to": None, "allow": None, "from": {}, "ports": []}, "ports", "every port"),
    ({"preset": "probes", "allow": None, "from": {}}, "from", "known here"),
    ({"preset": "api_server", "to": None, "allow": None, "ports": [0]}, "ports[0].port", "1 to 65535"),
]
# What JSON Schema does not say: CIDR arithmetic, and the order of a range.
BEYOND_SCHEMA = {"allow[0].from.cidr", "allow[0].from.except[0]", "allow[0].ports[0].end_port"}


def changed(change: dict[str, t.Any]) -> dict[str, t.Any]:
    document = {**copy.deepcopy(ARTICLE), **change}
    return {key: value for key, value in document.items() if value is not None}


@pytest.mark.parametrize("document", GOOD, ids=lambda document: document["name"])
def test_good_documents_are_taken_by_parser_and_schema(document: dict[str, t.Any]) -> None:
    assert model.parse(document).name == document["name"]
    jsonschema.Draft202012Validator(SCHEMA).validate([document])


@pytest.mark.parametrize(("change", "path", "word"), BAD, ids=[f"{path}-{word}" for _, path, word in BAD])
def test_bad_documents_are_refused_by_path_value_and_remedy(change: dict[str, t.Any], path: str, word: str) -> None:
    document = changed(change)
    with pytest.raises(model.PolicyError) as raised:
        model.parse(document)
    assert raised.value.path == path
    assert word in f"{raised.value.why} {raised.value.remedy}"
    if path not in BEYOND_SCHEMA:
        assert not jsonschema.Draft202012Validator(SCHEMA).is_valid([document])


def test_a_line_end_is_no_part_of_a_name() -> None:
    # Not for the schema: the pattern's $ is the end in JavaScript, and Python's jsonschema takes a line end before it.
    with pytest.raises(model.PolicyError, match="no name"):
        model.parse(changed({"name": "line\n"}))


@pytest.mark.parametrize("value", [None, 5, "text", [], {1: 2}])
def test_what_is_no_mapping_is_refused(value: t.Any) -> None:
    with pytest.raises(model.PolicyError):
        model.parse(value)


def test_a_cluster_wide_policy_needs_namespaces_in_every_selector() -> None:
    document = {"name": "w", "cluster_wide": True, "to": {"labels": {"app": "checkout"}}, "allow": []}
    with pytest.raises(model.PolicyError, match=r"to\.namespace.*every namespace"):
        model.parse(document)
    allow = [{"from": {"labels": {"a": "b"}}}]
    document = {"name": "w", "cluster_wide": True, "to": {"namespace": "a"}, "allow": allow}
    with pytest.raises(model.PolicyError, match=r"allow\[0\]\.from\.namespace"):
        model.parse(document)


def test_the_pytorch_preset_needs_labels_of_the_job() -> None:
    with pytest.raises(model.PolicyError, match="every pod of the namespace"):
        model.parse({**TRAINER, "job_labels": {}})


def rendered(*documents: t.Any) -> tuple[list[dict[str, t.Any]], list[t.Any]]:
    return render(documents, set_name="s", cluster_name="c")


def codes(findings: list[t.Any]) -> list[str]:
    return [finding.code for finding in findings]


def test_the_articles_policy_as_cilium_object() -> None:
    objects, findings = rendered(ARTICLE)
    assert objects == [
        {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumNetworkPolicy",
            "metadata": {
                "name": "pytorch",
                "namespace": "ai-workloads",
                "labels": {
                    "app.kubernetes.io/managed-by": "aicluster.zerotrust",
                    "aicluster.zerotrust/set": "s",
                    "aicluster.zerotrust/cluster": "c",
                },
            },
            "spec": {
                "endpointSelector": {"matchLabels": {"role": "worker"}},
                "ingress": [
                    {
                        "fromEndpoints": [{"matchLabels": {"role": "pytorch-master"}}],
                        "toPorts": [{"ports": [{"port": "29500", "protocol": "TCP"}]}],
                    }
                ],
            },
        }
    ]
    assert codes(findings) == ["ZT702", "ZT707"]
    assert findings[0].subject.name == "policy ai-workloads/pytorch"


def test_the_pytorch_preset_has_all_that_training_needs_and_no_warning() -> None:
    objects, findings = rendered(TRAINER)
    assert codes(findings) == ["ZT707"]
    spec = objects[0]["spec"]
    job = [{"matchLabels": {"app": "train"}}]
    every = [{"ports": [{"port": "0", "protocol": "TCP"}]}]
    rendezvous = [{"ports": [{"port": "29501", "protocol": "TCP"}]}]
    assert spec["ingress"] == [
        {"fromEndpoints": job, "toPorts": every},
        {"fromEndpoints": job, "toPorts": rendezvous},
    ]
    dns = {"k8s-app": "kube-dns", "k8s:io.kubernetes.pod.namespace": "kube-system"}
    assert spec["egress"] == [
        {"toEndpoints": job, "toPorts": every},
        {"toEndpoints": job, "toPorts": rendezvous},
        {
            "toEndpoints": [{"matchLabels": dns}],
            "toPorts": [{"ports": [{"port": "53", "protocol": "UDP"}, {"port": "53", "protocol": "TCP"}]}],
        },
        {
            "toCIDRSet": [{"cidr": "10.9.0.0/24"}],
            "toPorts": [{"ports": [{"port": "2049", "protocol": "TCP"}]}],
        },
    ]


def test_kinds_of_peers_become_rules_of_their_own() -> None:
    objects, _ = rendered(WIDE)
    spec = objects[0]["spec"]
    assert objects[0]["kind"] == "CiliumClusterwideNetworkPolicy"
    assert "namespace" not in objects[0]["metadata"]
    assert spec["endpointSelector"]["matchLabels"] == {
        "k8s:io.kubernetes.pod.namespace": "a",
        "k8s:io.cilium.k8s.policy.serviceaccount": "sa",
    }
    every = [{"ports": [{"port": "0", "protocol": "TCP"}]}]
    assert spec["egress"][:2] == [
        {"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}], "toPorts": every},
        {"toEntities": ["kube-apiserver"], "toPorts": every},
    ]
    assert spec["egress"][2]["toPorts"] == [
        {"ports": [{"port": "1", "protocol": "TCP", "endPort": 9}, {"port": "web", "protocol": "TCP"}]}
    ]


def test_dns_preset_does_not_cut_off_the_rest() -> None:
    assert rendered(DNS)[0][0]["spec"]["enableDefaultDeny"] == {"egress": False, "ingress": False}
    assert "enableDefaultDeny" not in rendered({**DNS, "isolate": True})[0][0]["spec"]


def test_an_empty_allow_isolates() -> None:
    assert rendered(DENY)[0][0]["spec"]["ingress"] == [{}]


def test_rank_to_rank_by_another_policy_of_the_set_silences_the_warning() -> None:
    workers = {"labels": {"role": "worker"}}
    ranks = {
        "name": "ranks",
        "namespace": "ai-workloads",
        "to": workers,
        "allow": [{"from": workers, "ports": [{"port": 1, "end_port": 65535}]}],
    }
    assert codes(rendered(ARTICLE, ranks)[1]) == ["ZT707"]
    for wrong in (
        {**ranks, "namespace": "other"},
        {**ranks, "allow": [{"from": workers, "ports": [29500]}]},
        {**ranks, "allow": [{"from": {"labels": {"role": "worker", "x": "y"}}, "ports": ["all"]}]},
        {**ranks, "to": {"labels": {"role": "worker", "x": "y"}}},
        {**ranks, "allow": [{"from": workers, "ports": [{"port": "all", "protocol": "UDP"}]}]},
    ):
        assert "ZT702" in codes(rendered(ARTICLE, wrong)[1]), wrong


def test_pods_of_a_training_operator_are_known_by_their_labels() -> None:
    job = {"labels": {"training.kubeflow.org/job-name": "llm"}}
    policy = {"name": "p", "namespace": "n", "to": job, "allow": [{"from": {"entity": "host"}, "ports": [8080]}]}
    assert "ZT702" in codes(rendered(policy)[1])
    assert "ZT702" not in codes(rendered({**policy, "isolate": False})[1])
    assert "ZT702" not in codes(rendered({**policy, "to": {"labels": {"app": "web"}}})[1])


def test_a_bad_document_is_a_finding_and_the_others_are_rendered() -> None:
    objects, findings = rendered(changed({"nmespace": "x"}), TRAINER)
    assert [obj["metadata"]["name"] for obj in objects] == ["trainer"]
    assert findings[0].code == "ZT701"
    assert findings[0].blocks
    assert findings[0].subject.name == "zerotrust_policies[0].nmespace"


def test_the_same_name_twice_is_refused() -> None:
    objects, findings = rendered(TRAINER, TRAINER)
    assert len(objects) == 1
    assert "has the same name" in findings[0].message


def test_objects_do_not_depend_on_the_order_of_documents() -> None:
    assert rendered(*GOOD)[0] == rendered(*reversed(GOOD))[0]


def test_no_policies_no_findings() -> None:
    assert rendered() == ([], [])


# Files -------------------------------------------------------------------------------------------------------------

TEXT = """\
- name: a
  namespace: n
  to: {labels: {app: a}}
  allow:
    - from:
        entity: mars
      ports: [80]
---
name: b
namespace: n
to: {}
allow:
  - from: {}
    ports:
      - 80
      - port: 99999
"""


def test_errors_name_file_and_line_of_the_field() -> None:
    documents, findings = load.parse_text(TEXT, "team/a.yml")
    assert findings == []
    found = rendered(*documents)[1]
    assert [(finding.subject.name, finding.source) for finding in found] == [
        ("team/a.yml[0].allow[0].from.entity", "team/a.yml:6"),
        ("team/a.yml[1].allow[0].ports[1].port", "team/a.yml:16"),
    ]


def test_a_missing_field_is_at_what_should_hold_it() -> None:
    documents, _ = load.parse_text("\n- name: a\n  to: {}\n  allow: []\n", "f.yml")
    assert rendered(*documents)[1][0].source == "f.yml:2"


@pytest.mark.parametrize(
    ("text", "word", "source"),
    [
        ("- name: a\n  name: b\n", "name is there twice", "f.yml:2"),
        ("a: [1\n", "not valid YAML", "f.yml:2"),
        ("- 5\n", "no policy but int", "f.yml:1"),
        ("- &x {name: *x}\n", "alias", "f.yml:1"),
        ("- !!python/object:os.system {}\n", "not valid YAML", "f.yml:1"),
    ],
)
def test_files_that_cannot_be_taken(text: str, word: str, source: str) -> None:
    _documents, findings = load.parse_text(text, "f.yml")
    assert codes(findings) == ["ZT701"]
    assert word in findings[0].message
    assert findings[0].source == source


def test_a_directory_is_read_in_order_and_hidden_files_are_not(tmp_path: pathlib.Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.yml").write_text("- {name: b}\n")
    (tmp_path / "a.yaml").write_text("- {name: a}\n")
    (tmp_path / "sub" / "c.yml").write_text("name: c\n")
    (tmp_path / ".hidden.yml").write_text("[")
    (tmp_path / "note.txt").write_text("[")
    (tmp_path / "empty.yml").write_text("")
    documents, findings = load.directory(str(tmp_path))
    assert findings == []
    assert [(document["name"], load.origin(document)) for document in documents] == [
        ("a", "a.yaml[0]"),
        ("b", "b.yml[0]"),
        ("c", "sub/c.yml[0]"),
    ]
    assert [document["name"] for document in load.directory(str(tmp_path / "b.yml"))[0]] == ["b"]


def test_a_directory_that_is_not_there_is_a_blocker(tmp_path: pathlib.Path) -> None:
    documents, findings = load.directory(str(tmp_path / "none"))
    assert documents == []
    assert findings[0].blocks
    assert findings[0].subject.name == "zerotrust_policy_files"


def test_the_examples_of_the_documentation_are_taken() -> None:
    """docs/policy.md: every YAML block parses, and the first block raises the warning that the text says."""
    text = (pathlib.Path(__file__).resolve().parents[3] / "docs" / "policy.md").read_text("utf-8")
    blocks = [part.split("```", 1)[0] for part in text.split("```yaml\n")[1:]]
    assert len(blocks) == 5
    documents = []
    for block in blocks:
        found, wrong = load.parse_text(block, "policy.md")
        assert wrong == []
        jsonschema.Draft202012Validator(SCHEMA).validate([dict(document) for document in found])
        documents += found
    findings = rendered(*documents)[1]
    assert [(finding.code, finding.subject.name) for finding in findings] == [
        ("ZT702", "policy ai-workloads/rendezvous"),
        ("ZT707", "policy set s"),
    ]
