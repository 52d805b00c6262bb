# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated policies: what the model allows is what the objects of both engines allow, by evaluators of their own."""

from __future__ import annotations

import copy
import itertools
import typing as t

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy import evaluate_cilium, evaluate_istio, model
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.evaluate import (
    Outside,
    Pod,
    Question,
    Special,
    evaluate,
)
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.options import Options
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.render import render

Json = dict[str, t.Any]

TRUST_DOMAIN = "td.example"
KNOWN = Options(
    trust_domain=TRUST_DOMAIN,
    cluster_cidrs=("10.0.0.0/16", "192.168.0.0/24"),
    cilium_version="1.20.2",
    cilium_authentication=True,
)
PODS = [
    Pod("a", (("app", "x"),), "one", "10.0.0.1", (("web", 80, "TCP"),)),
    Pod("a", (("app", "y"), ("tier", "t")), "two", "10.0.0.2", (("web", 8080, "TCP"), ("web", 53, "UDP"))),
    Pod("b", (("app", "x"),), "one", "10.0.1.1"),
    Pod("b", (("app", "y"),), "default", "10.0.1.2"),
]
OTHERS = [
    Special(("host",), "192.168.0.1"),
    Special(("remote-node", "kube-apiserver"), "192.168.0.2"),
    Outside("10.200.0.1"),
    Outside("203.0.113.5"),
    Outside("fd00::5"),
]
PORTS = [53, 80, 443, 8080]
REQUESTS = [
    (None, None),
    ("GET", "/charge"),
    ("POST", "/charge?id=1"),
    ("GET", "/images/a.png"),
    ("GET", "/chargex"),
    ("GET", "/images"),
]
EVERYTHING = [
    Question(source, destination, port, protocol, method, path, authenticated)
    for source, destination in itertools.product([*PODS, *OTHERS], [*PODS, *OTHERS])
    if isinstance(source, Pod) or isinstance(destination, Pod)
    for port, protocol in itertools.product(PORTS, ("TCP", "UDP"))
    for method, path in (REQUESTS if protocol == "TCP" else REQUESTS[:1])
    for authenticated in (False, True)
]
SETTINGS = settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)

QUESTIONS = st.integers(0, 60).map(lambda first: EVERYTHING[first::61])
"""A spread of all questions, about fifty at once."""

# Generated documents -----------------------------------------------------------------------------------------------

NAMESPACES = st.sampled_from(["a", "b"])
ACCOUNTS = st.sampled_from(["one", "two", "default"])
LABELS = st.sampled_from([{}, {"app": "x"}, {"app": "y"}, {"tier": "t"}, {"app": "y", "tier": "t"}])
NETWORKS = st.sampled_from(
    [
        {"cidr": "10.0.0.0/8"},
        {"cidr": "10.0.0.0/8", "except": ["10.200.0.0/24"]},
        {"cidr": "0.0.0.0/0"},
        {"cidr": "203.0.113.0/24"},
        {"cidr": "fd00::/8"},
    ]
)
IDS = st.builds(lambda ns, sa: {"spiffe_id": f"spiffe://{TRUST_DOMAIN}/ns/{ns}/sa/{sa}"}, NAMESPACES, ACCOUNTS)
HTTP = st.lists(
    st.sampled_from(
        [{"method": "GET"}, {"path": "/charge"}, {"method": "POST", "path": "/charge"}, {"path": "/images/*"}]
    ),
    min_size=1,
    max_size=2,
)
NUMBERS = st.sampled_from([80, 443, "8080", {"port": 80, "end_port": 100}, {"port": 53, "end_port": 80}])
ANY_PORTS = st.one_of(
    NUMBERS,
    st.sampled_from(["all", "web", {"port": 53, "protocol": "UDP"}, {"port": "all", "protocol": "UDP"}]),
    st.just({"port": "web", "protocol": "UDP"}),
)


def fields(**optional: t.Any) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries({}, optional=optional)


PEERS = st.one_of(
    fields(labels=LABELS, namespace=NAMESPACES, service_account=ACCOUNTS),
    IDS,
    NETWORKS,
    st.sampled_from(model.ENTITIES).map(lambda name: {"entity": name}),
)
MESH_PEERS = st.one_of(
    fields(namespace=NAMESPACES, service_account=ACCOUNTS),
    IDS,
    st.just({"entity": "all"}),
    NETWORKS,
)


@st.composite
def rule(
    draw: st.DrawFn, word: str, peers: st.SearchStrategy[Json], ports: st.SearchStrategy[t.Any], http: bool
) -> Json:
    entry: Json = {word: draw(st.lists(peers, min_size=1, max_size=2))}
    if http and draw(st.booleans()):
        return {**entry, "ports": draw(st.lists(NUMBERS, min_size=1, max_size=2)), "http": draw(HTTP)}
    if draw(st.booleans()):
        entry["ports"] = draw(st.lists(ports, min_size=1, max_size=2))
    if draw(st.integers(0, 3)) == 3:
        entry["authentication"] = "required"
    return entry


@st.composite
def document(draw: st.DrawFn) -> Json:
    """Any document of the model that Cilium takes."""
    namespace = draw(NAMESPACES)
    form = draw(
        st.sampled_from(["rules", "rules", "rules", "wide", "default", "dns", "probes", "metrics", "api_server"])
    )
    if form == "default":
        return {"namespace": namespace, "default": "deny", **draw(fields(directions=st.just(["ingress"])))}
    if form in ("dns", "probes", "api_server", "metrics"):
        found: Json = {"namespace": namespace, "preset": form, **draw(fields(isolate=st.booleans()))}
        if form == "dns":
            found["dns"] = {"namespace": "b", "labels": {"app": "y"}}
        if form == "metrics":
            found.update(draw(st.fixed_dictionaries({"from": PEERS, "ports": st.lists(NUMBERS, min_size=1)})))
        return found
    own, word = draw(st.sampled_from([("to", "from"), ("from", "to")]))
    isolate = draw(st.booleans())
    subject = draw(fields(labels=LABELS, service_account=ACCOUNTS))
    peers = PEERS
    if form == "wide":
        subject["namespace"] = namespace
        peers = PEERS.map(
            lambda peer: peer if set(peer) & {"cidr", "entity", "spiffe_id"} else {"namespace": "a", **peer}
        )
    allow = draw(st.lists(rule(word, peers, ANY_PORTS, isolate), max_size=3))
    where: Json = {"cluster_wide": True} if form == "wide" else {"namespace": namespace}
    return {**where, own: subject, "allow": allow, **({} if isolate else {"isolate": False})}


@st.composite
def mesh_document(draw: st.DrawFn) -> Json:
    """A document that Istio can say, mostly."""
    namespace = draw(NAMESPACES)
    form = draw(st.sampled_from(["rules", "rules", "rules", "rules", "default", "metrics", "dns", "open"]))
    if form == "default":
        found = {"namespace": namespace, "default": "deny", "directions": ["ingress"]}
        return {**found, **draw(fields(mtls=st.booleans()))}
    if form == "dns":
        return {"namespace": namespace, "preset": "dns"}
    if form == "open":
        return {"namespace": namespace, "from": {}, "isolate": False, "allow": [{"to": {"entity": "all"}}]}
    if form == "metrics":
        return {"namespace": namespace, "preset": "metrics", "from": {"namespace": "b"}, "ports": [8080]}
    allow = draw(st.lists(rule("from", MESH_PEERS, NUMBERS, False), max_size=3))
    return {"namespace": namespace, "to": {"labels": draw(LABELS)}, "allow": allow}


@st.composite
def waypoint_document(draw: st.DrawFn) -> Json:
    allow = draw(
        st.lists(rule("from", st.one_of(fields(namespace=NAMESPACES, service_account=ACCOUNTS), IDS), NUMBERS, True))
    )
    return {"namespace": draw(NAMESPACES), "to": {}, "allow": allow}


def named(documents: list[Json]) -> list[Json]:
    return [{"name": f"p{index}", **found} for index, found in enumerate(documents)]


def objects_of(documents: list[Json], engine: str, options: Options = KNOWN) -> tuple[list[Json], bool]:
    objects, findings = render(documents, set_name="s", cluster_name="c", engine=engine, options=options)
    return objects, any(finding.blocks for finding in findings)


# Cilium ------------------------------------------------------------------------------------------------------------


def differences_of_cilium(
    documents: list[Json], objects: list[Json], questions: t.Sequence[Question]
) -> list[Question]:
    policies = [model.parse(found) for found in documents]
    asks = any(rule.authentication for policy in policies for rule in (*(policy.ingress or ()), *(policy.egress or ())))
    found = []
    for question in questions:
        wanted, seen = evaluate(policies, question).allowed, evaluate_cilium.evaluate(objects, question).allowed
        # Of two rules that allow, Cilium takes the stricter authentication: it may deny then, never allow more.
        if seen != wanted and not (asks and not question.authenticated and not seen):
            found.append(question)
    return found


@SETTINGS
@given(st.lists(document(), min_size=1, max_size=4), QUESTIONS)
def test_cilium_allows_what_the_model_allows(documents: list[Json], questions: list[Question]) -> None:
    documents = named(documents)
    objects, refused = objects_of(documents, "cilium")
    assert not refused
    assert differences_of_cilium(documents, objects, questions) == []


CASE = named(
    [
        {
            "namespace": "a",
            "to": {"labels": {"app": "x"}},
            "allow": [
                {"from": [{"namespace": "b", "labels": {"app": "x"}}, {"cidr": "203.0.113.0/24"}], "ports": [80]},
                {"from": {"labels": {"app": "y"}}, "ports": [8080], "http": [{"path": "/charge"}]},
            ],
        },
        {"namespace": "a", "from": {"service_account": "two"}, "allow": [{"to": {}}]},
    ]
)


def test_the_case_is_the_same_everywhere_for_every_question() -> None:
    assert differences_of_cilium(CASE, objects_of(CASE, "cilium")[0], EVERYTHING) == []


def _drop(*path: t.Any) -> t.Callable[[list[Json]], None]:
    def change(objects: list[Json]) -> None:
        at: t.Any = objects
        for step in path[:-1]:
            at = at[step]
        del at[path[-1]]

    return change


@pytest.mark.parametrize(
    "change",
    [
        _drop(0, "spec", "ingress", 1, "toPorts"),
        _drop(0, "spec", "ingress", 1, "fromEndpoints", 0, "matchLabels", "k8s:io.kubernetes.pod.namespace"),
        _drop(0, "spec", "ingress", 1, "fromEndpoints", 0, "matchLabels", "app"),
        _drop(0, "spec", "ingress", 0),
        _drop(0, "spec", "ingress", 2, "toPorts", 0, "rules"),
        _drop(0, "spec", "ingress"),
        _drop(1, "spec", "endpointSelector", "matchLabels", "k8s:io.cilium.k8s.policy.serviceaccount"),
        lambda objects: objects[1]["spec"].update(enableDefaultDeny={"egress": False}),
    ],
)
def test_the_comparison_notices_an_object_that_says_something_else(change: t.Callable[[list[Json]], None]) -> None:
    objects = copy.deepcopy(objects_of(CASE, "cilium")[0])
    change(objects)
    assert differences_of_cilium(CASE, objects, EVERYTHING)


# Istio -------------------------------------------------------------------------------------------------------------


def differences_of_istio(documents: list[Json], objects: list[Json], questions: t.Sequence[Question]) -> list[Question]:
    policies = [model.parse(found) for found in documents]
    found = []
    for asked in questions:
        if asked.protocol != "TCP" or not isinstance(asked.destination, Pod):
            continue
        proved = isinstance(asked.source, Pod) and asked.source.enrolled
        question = Question(asked.source, asked.destination, asked.port, "TCP", asked.method, asked.path, proved)
        seen = evaluate_istio.evaluate(objects, question, trust_domain=TRUST_DOMAIN).allowed
        if seen != evaluate(policies, question).allowed:
            found.append(question)
    return found


@SETTINGS
@given(st.lists(mesh_document(), min_size=1, max_size=4), QUESTIONS)
def test_istio_allows_what_the_model_allows(documents: list[Json], questions: list[Question]) -> None:
    documents = named(documents)
    objects, refused = objects_of(documents, "istio_ambient")
    assume(not refused)
    assert differences_of_istio(documents, objects, questions) == []


@SETTINGS
@given(st.lists(document(), min_size=1, max_size=3), QUESTIONS)
def test_what_istio_takes_of_any_policies_it_takes_whole(documents: list[Json], questions: list[Question]) -> None:
    """Of policies that were not written with Istio in mind most are refused; what is not refused means the same."""
    kept: list[Json] = []
    for found in named(documents):
        if not objects_of([*kept, found], "istio_ambient")[1]:
            kept.append(found)
    # The kubelet is not asked about: its probes pass without any object.
    asked = [question for question in questions if not isinstance(question.source, Special)]
    assert differences_of_istio(kept, objects_of(kept, "istio_ambient")[0], asked) == []


@SETTINGS
@given(
    st.lists(waypoint_document(), min_size=1, max_size=3),
    QUESTIONS,
)
def test_waypoints_allow_what_the_model_allows(documents: list[Json], questions: list[Question]) -> None:
    documents = named(documents)
    options = Options(TRUST_DOMAIN, waypoints={"a": "waypoint", "b": "waypoint"})
    objects, refused = objects_of(documents, "istio_ambient", options)
    assert not refused
    assert differences_of_istio(documents, objects, questions) == []


def test_pods_outside_of_the_mesh_get_no_more_than_the_model_allows() -> None:
    documents = named(
        [
            {"namespace": "a", "to": {"labels": {"app": "x"}}, "allow": [{"from": {"namespace": "b"}}]},
            {"namespace": "a", "to": {"labels": {"app": "y"}}, "allow": [{"from": {"cidr": "10.0.0.0/8"}}]},
        ]
    )
    stranger = Pod("b", (("app", "x"),), "one", "10.0.1.9", enrolled=False)
    questions = [Question(stranger, pod, 80) for pod in PODS[:2]]
    assert all(evaluate([model.parse(found) for found in documents], question).allowed for question in questions[:1])
    objects, _ = objects_of(documents, "istio_ambient")
    assert not any(evaluate_istio.evaluate(objects, question).allowed for question in questions)


MESH_CASE = named(
    [
        {
            "namespace": "a",
            "to": {"labels": {"app": "x"}},
            "allow": [{"from": [{"service_account": "two"}, {"cidr": "10.0.0.0/8"}], "ports": [80]}],
        },
        {"namespace": "b", "default": "deny", "directions": ["ingress"], "mtls": True},
        {"namespace": "b", "to": {"labels": {"app": "x"}}, "allow": [{"from": {"entity": "all"}, "ports": [80]}]},
    ]
)


@pytest.mark.parametrize(
    "change",
    [
        _drop(0, "spec", "selector"),
        _drop(0, "spec", "rules"),
        _drop(0, "spec", "rules", 0, "to"),
        _drop(0, "spec", "rules", 0, "from", 0),
        _drop(0, "spec", "rules", 0, "from", 1, "source", "notIpBlocks"),
        _drop(1),
        _drop(3),
    ],
)
def test_the_comparison_notices_an_istio_object_that_says_something_else(
    change: t.Callable[[list[Json]], None],
) -> None:
    objects = copy.deepcopy(objects_of(MESH_CASE, "istio_ambient")[0])
    # A pod without an identity, with an address of the cluster.
    questions = [*EVERYTHING, Question(Special(("host",), "10.0.0.9"), PODS[0], 80)]
    assert differences_of_istio(MESH_CASE, objects, questions) == []
    change(objects)
    assert differences_of_istio(MESH_CASE, objects, questions)
