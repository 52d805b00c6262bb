# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What readers paste from articles: refused as printed, with the field and the reason, and right when corrected."""

from __future__ import annotations

import typing as t

import pytest
import yaml

from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy import evaluate_cilium, evaluate_istio, load
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.evaluate import Pod, Question
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.options import Options
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.render import render

Json = dict[str, t.Any]

TRAINING = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: pytorch, namespace: ai-workloads}
spec:
  endpointSelector: {matchLabels: {role: worker}}
  ingress:
    - fromEndpoints: [{matchLabels: {role: pytorch-master}}]
      authentication: {mode: required}
      toPorts: [{ports: [{port: "29500", protocol: TCP}]}]
"""
STRICT = """\
apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata: {name: default, namespace: e-commerce}
spec: {mode: STRICT}
"""
CHECKOUT = """\
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: checkout}
spec:
  endpointSelector: {matchLabels: {app: checkout}}
  ingress:
    - fromEndpoints: [{matchLabels: {app: frontend}}]
      toPorts:
        - ports: [{port: "8080", protocol: TCP}]
          rules: {http: [{method: POST, path: /charge}]}
      authentication:
        mode: required
        spiffe: {trustDomain: cluster.local, identity: "spiffe://cluster.local/ns/production/sa/frontend"}
"""


def render_text(text: str, engine: str = "cilium", **options: t.Any) -> tuple[list[Json], list[t.Any]]:
    documents, wrong = load.parse_text(text, "pasted.yml")
    assert wrong == []
    return render(documents, set_name="s", cluster_name="c", engine=engine, options=Options(**options))


def without(text: str, *paths: tuple[t.Any, ...]) -> Json:
    manifest: Json = yaml.safe_load(text)
    for path in paths:
        at: t.Any = manifest
        for step in path[:-1]:
            at = at[step]
        del at[path[-1]]
    return manifest


@pytest.mark.parametrize(
    ("text", "subject", "source", "observed", "words"),
    [
        (TRAINING, "pasted.yml[0].kind", "pasted.yml:2", "CiliumNetworkPolicy", "a manifest for the API server"),
        (STRICT, "pasted.yml[0].spec.mode", "pasted.yml:4", "STRICT", "it is spec.mtls.mode"),
        (
            CHECKOUT,
            "pasted.yml[0].spec.ingress[0].authentication.spiffe",
            "pasted.yml:13",
            {"trustDomain": "cluster.local", "identity": "spiffe://cluster.local/ns/production/sa/frontend"},
            "Cilium has no field authentication.spiffe",
        ),
        (
            yaml.safe_dump(without(CHECKOUT, ("spec", "ingress", 0, "authentication")), sort_keys=False),
            "pasted.yml[0].spec.endpointSelector",
            "pasted.yml:6",
            {"app": "checkout"},
            "in every namespace",
        ),
        ("apiVersion: v1\n", "pasted.yml[0].apiVersion", "pasted.yml:1", None, "no policy of this collection"),
        ("kind: [1]\nspec: 5\n", "pasted.yml[0].kind", "pasted.yml:1", [1], "no policy of this collection"),
    ],
)
def test_a_pasted_manifest_is_refused_once_with_field_and_reason(
    text: str, subject: str, source: str, observed: t.Any, words: str
) -> None:
    objects, findings = render_text(text)
    assert objects == []
    assert [(found.code, found.subject.name, found.source) for found in findings] == [("ZT701", subject, source)]
    assert findings[0].observed == observed
    assert words in findings[0].message
    assert findings[0].remedy


@pytest.mark.parametrize(
    ("text", "words"), [(STRICT, "spec has the field mode"), (CHECKOUT, "authentication has the field spiffe")]
)
def test_no_evaluator_answers_for_fields_that_nothing_reads(text: str, words: str) -> None:
    pod = Pod("e-commerce", (("app", "checkout"),))
    evaluator: t.Any = evaluate_istio if "istio" in text else evaluate_cilium
    with pytest.raises(ValueError, match=words):
        evaluator.evaluate([yaml.safe_load(text)], Question(pod, pod, 8080))


def test_the_training_policy_as_printed_hangs_the_job_and_the_preset_does_not() -> None:
    master = Pod("ai-workloads", (("job", "llm"), ("role", "pytorch-master")))
    worker = Pod("ai-workloads", (("job", "llm"), ("role", "worker")))
    stranger = Pod("ai-workloads", (("job", "other"),))
    printed = [without(TRAINING, ("spec", "ingress", 0, "authentication"))]
    corrected, findings = render_text("{name: llm, namespace: ai-workloads, preset: pytorch, job_labels: {job: llm}}")
    assert [found.code for found in findings] == ["ZT707"]
    for source, destination, port, before, after in [
        (master, worker, 29500, True, True),
        (worker, worker, 41234, False, True),  # NCCL, Gloo: any port
        (master, worker, 41234, False, True),
        (worker, master, 29500, True, True),
        (stranger, master, 29500, True, False),  # printed: nothing protects the master
        (stranger, worker, 41234, False, False),
    ]:
        question = Question(source, destination, port)
        assert evaluate_cilium.evaluate(printed, question).allowed is before, question
        assert evaluate_cilium.evaluate(corrected, question).allowed is after, question


def test_authentication_as_printed_blocks_where_nothing_authenticates() -> None:
    question = Question(
        Pod("ai-workloads", (("role", "pytorch-master"),)), Pod("ai-workloads", (("role", "worker"),)), 29500
    )
    assert not evaluate_cilium.evaluate([yaml.safe_load(TRAINING)], question).allowed
    _, findings = render_text(
        "{name: p, namespace: n, to: {labels: {role: worker}}, allow: "
        "[{from: {labels: {role: pytorch-master}}, ports: [29500], authentication: required}]}"
    )
    assert [found.code for found in findings if found.blocks] == ["ZT701"]
    assert "blocks every connection" in findings[0].message


CORRECTED = """\
name: checkout
namespace: production
to: {labels: {app: checkout}}
allow:
  - from: {spiffe_id: spiffe://cluster.local/ns/production/sa/frontend}
    ports: [8080]
    http: [{method: POST, path: /charge}]
"""


def test_the_checkout_policy_is_for_one_namespace_and_one_identity() -> None:
    checkout = Pod("production", (("app", "checkout"),))
    front = Pod("production", (("app", "frontend"),), "frontend")
    elsewhere = Pod("staging", (("app", "frontend"),), "frontend")
    printed = [without(CHECKOUT, ("spec", "ingress", 0, "authentication"))]
    corrected, findings = render_text(CORRECTED, trust_domain="cluster.local")
    assert [found.code for found in findings] == ["ZT707"]
    for source, method, path, before, after in [
        (front, "POST", "/charge", True, True),
        (front, "GET", "/charge", False, False),
        (front, "POST", "/refund", False, False),
        (elsewhere, "POST", "/charge", True, False),
    ]:
        question = Question(source, checkout, 8080, "TCP", method, path)
        assert evaluate_cilium.evaluate(printed, question).allowed is before, question
        assert evaluate_cilium.evaluate(corrected, question).allowed is after, question


def test_strict_mutual_tls_in_the_field_that_exists() -> None:
    objects, _ = render_text(
        "{name: default, namespace: e-commerce, default: deny, directions: [ingress], mtls: true}", "istio_ambient"
    )
    assert [obj["spec"] for obj in objects if obj["kind"] == "PeerAuthentication"] == [{"mtls": {"mode": "STRICT"}}]
