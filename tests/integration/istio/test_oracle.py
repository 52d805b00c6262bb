# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real istiod makes of our policies, compared with what our evaluator and the model say of them.

For each case the objects are applied strictly, and three things are compared: which policies each pod has, what each
was converted to, and who may reach whom by them. The last is decided by a second reading of ztunnel's rules (below).
"""

from __future__ import annotations

import base64
import functools
import ipaddress
import json
import time
import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import ApiError
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy import evaluate_istio, model
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.evaluate import (
    Outside,
    Party,
    Pod,
    Question,
    evaluate,
)
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.options import Options
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.render import render

from .conftest import ENROLLED, PODS, Mesh, wait

Json = dict[str, t.Any]
PORTS = (80, 8080, 9001)
OUTSIDE = ("203.0.113.9", "203.0.113.77", "198.51.100.1")
X, Y = {"labels": {"app": "x"}}, {"labels": {"app": "y"}}
CLUSTER = ("10.0.0.0/8", "192.0.2.0/24")


def document(*rules: Json, to: Json | None = None, namespace: str = "a", **fields: t.Any) -> Json:
    return {"name": "p", "namespace": namespace, "to": X if to is None else to, "allow": list(rules), **fields}


def rule(*peers: Json, **fields: t.Any) -> Json:
    return {"from": list(peers), **fields}


ONE, TWO = {"service_account": "one"}, {"service_account": "two"}
FROM_B = {"namespace": "b"}
DEFAULT: Json = {"name": "p", "namespace": "a", "default": "deny", "directions": ["ingress"]}
DOCUMENTS: dict[str, list[Json]] = {
    "a service account": [document(rule(ONE))],
    "an account of another namespace": [document(rule({"namespace": "b", **ONE}))],
    "a namespace": [document(rule(FROM_B))],
    "the own namespace": [document(rule({}))],
    "a namespace outside of the mesh": [document(rule({"namespace": "c"}))],
    "a SPIFFE id": [document(rule({"spiffe_id": "spiffe://cluster.local/ns/b/sa/two"}))],
    "two peers": [document(rule(ONE, FROM_B))],
    "two rules": [document(rule(ONE, ports=[80]), rule(FROM_B, ports=[8080]))],
    "a port": [document(rule(FROM_B, ports=[80]))],
    "ports": [document(rule(FROM_B, ports=[80, 8080]))],
    "a range of ports": [document(rule(FROM_B, ports=[{"port": 9000, "end_port": 9002}]))],
    "all TCP ports": [document(rule(FROM_B, ports=["all"]))],
    "nobody": [document()],
    "nobody in a namespace": [document(to={})],
    "a whole namespace": [document(rule(ONE), to={})],
    "labels that no pod has": [document(rule(ONE), to={"labels": {"app": "z"}})],
    "two labels": [document(rule(TWO), to={"labels": {"app": "x", "tier": "back"}})],
    "two policies of a pod": [document(rule(ONE)), document(rule(FROM_B, ports=[80])) | {"name": "q"}],
    "policies of two pods": [document(rule(ONE)), document(rule(TWO), to=Y) | {"name": "q"}],
    "policies of two namespaces": [document(rule(FROM_B)), document(rule(ONE), namespace="b")],
    "a namespace and a pod of it": [document(to={}), document(rule(FROM_B)) | {"name": "q"}],
    "everybody": [document(rule({"entity": "all"}))],
    "everybody on a port": [document(rule({"entity": "all"}, ports=[8080]))],
    "whoever has proved who it is": [document(rule({"entity": "all"}, authentication="required"))],
    "an address range": [document(rule({"cidr": "203.0.113.0/24"}))],
    "an address range with an exception": [
        document(rule({"cidr": "203.0.113.0/24", "except": ["203.0.113.64/26"]}, ports=[80]))
    ],
    "an address": [document(rule({"cidr": "203.0.113.9/32"}))],
    "any address outside of the cluster": [document(rule({"cidr": "0.0.0.0/0"}))],
    "an account and an address range": [document(rule(ONE, {"cidr": "203.0.113.0/24"}))],
    "mutual TLS of a namespace": [DEFAULT | {"mtls": True}],
    "mutual TLS and a permission": [DEFAULT | {"mtls": True}, document(rule(FROM_B, ports=[80])) | {"name": "q"}],
    "mutual TLS and everybody": [DEFAULT | {"mtls": True}, document(rule({"entity": "all"})) | {"name": "q"}],
    "an addition": [document(to={}), document(rule(TWO, ports=[80]), isolate=False) | {"name": "q"}],
    "a default": [DEFAULT],
    "a default and a permission": [DEFAULT, document(rule(FROM_B, ports=[80])) | {"name": "q"}],
    "preset metrics": [
        document(rule(ONE)),
        {"name": "q", "namespace": "a", "preset": "metrics", "to": X, "from": {**FROM_B, **TWO}, "ports": [9001]},
    ],
    "preset probes": [document(rule(ONE)), {"name": "q", "namespace": "a", "preset": "probes", "to": X, "ports": [80]}],
}


def authorization(name: str = "p", namespace: str = "a", **spec: t.Any) -> Json:
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def peers(namespace: str, mode: str, **spec: t.Any) -> Json:
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": namespace},
        "spec": {"mtls": {"mode": mode}, **spec},
    }


FROM: Json = {"from": [{"source": {"namespaces": ["b"]}}]}
SELECT: Json = {"selector": {"matchLabels": {"app": "x"}}}
GET: Json = {"to": [{"operation": {"methods": ["GET"], "ports": ["80"]}}]}
WAYPOINT: Json = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "waypoint", "namespace": "a", "labels": {"istio.io/waypoint-for": "service"}},
    "spec": {
        "gatewayClassName": "istio-waypoint",
        "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}],
    },
}
TARGET: Json = {"targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "waypoint"}]}
# Objects as others may have written them: what our evaluator says of a cluster's policies has to hold for these too.
OBJECTS: dict[str, list[Json]] = {
    "deny a namespace": [authorization(action="DENY", rules=[FROM], **SELECT)],
    "deny before allow": [authorization(rules=[{}], **SELECT), authorization("q", action="DENY", rules=[FROM])],
    "deny everybody": [authorization(action="DENY", rules=[{}])],
    "allow all": [authorization(rules=[{}])],
    "all but a namespace": [authorization(rules=[{"from": [{"source": {"notNamespaces": ["b"]}}]}])],
    "all but an account": [
        authorization(rules=[{"from": [{"source": {"notPrincipals": ["cluster.local/ns/b/sa/one"]}}]}])
    ],
    "a prefix of principals": [authorization(rules=[{"from": [{"source": {"principals": ["cluster.local/ns/b/*"]}}]}])],
    "a suffix of principals": [authorization(rules=[{"from": [{"source": {"principals": ["*/sa/two"]}}]}])],
    "any principal": [authorization(rules=[{"from": [{"source": {"principals": ["*"]}}]}])],
    "a policy of the whole mesh": [authorization(namespace="istio-system", rules=[FROM])],
    "a policy of the whole mesh with a selector": [authorization(namespace="istio-system", rules=[FROM], **SELECT)],
    "HTTP in an ALLOW, without a waypoint": [authorization(rules=[{**FROM, **GET}], **SELECT)],
    "HTTP in one of two rules": [authorization(rules=[{**FROM, **GET}, FROM], **SELECT)],
    "HTTP in a DENY, without a waypoint": [authorization(action="DENY", rules=[{**FROM, **GET}], **SELECT)],
    "STRICT for the mesh": [peers("istio-system", "STRICT")],
    "STRICT for a namespace": [peers("a", "STRICT")],
    "PERMISSIVE in a STRICT mesh": [peers("istio-system", "STRICT"), peers("a", "PERMISSIVE")],
    "STRICT and a policy": [peers("a", "STRICT"), authorization(rules=[FROM], **SELECT)],
    "HTTP at a waypoint": [WAYPOINT, authorization(rules=[{**FROM, **GET}], **TARGET)],
}


# A ztunnel's decision, read anew from istio/ztunnel src/state.rs and src/rbac.rs -----------------------------------


def text_matches(item: Json, value: str | None) -> bool:
    if value is None:
        return False
    if "exact" in item:
        return bool(value == item["exact"])
    if "prefix" in item:
        return value.startswith(item["prefix"])
    if "suffix" in item:
        return value.endswith(item["suffix"])
    return value != ""


def block_matches(item: Json, ip: str) -> bool:
    network = f"{ipaddress.ip_address(base64.b64decode(item['address']))}/{item.get('length', 0)}"
    return ipaddress.ip_address(ip) in ipaddress.ip_network(network)


def one_matches(match: Json, identity: str | None, ip: str, port: int) -> bool:
    namespace = identity.split("/ns/")[1].split("/")[0] if identity else None
    fields: dict[str, t.Callable[[t.Any], bool]] = {
        "namespaces": lambda item: text_matches(item, namespace),
        "principals": lambda item: text_matches(item, identity),
        "sourceIps": lambda item: block_matches(item, ip),
        "destinationPorts": lambda item: bool(item == port),
    }
    seen = 0
    for name, test in fields.items():
        for key, positive in ((name, True), (f"not{name[0].upper()}{name[1:]}", False)):
            if match.get(key):
                seen += 1
                if any(test(item) for item in match[key]) != positive:
                    return False
    assert seen == len(match), f"a field of {match} is not known to this reading"
    return True


def policy_matches(policy: Json, identity: str | None, ip: str, port: int) -> bool:
    for group in policy.get("groups") or []:
        rules = group.get("rules") or []
        if all(
            not part.get("matches")
            or any(match and one_matches(match, identity, ip, port) for match in part["matches"])
            for part in rules
        ):
            return True
    return False


def admits(policies: t.Sequence[Json], identity: str | None, ip: str, port: int) -> bool:
    denies = [policy for policy in policies if policy.get("action") == "DENY"]
    allows = [policy for policy in policies if policy.get("action") != "DENY"]
    if any(policy_matches(policy, identity, ip, port) for policy in denies):
        return False
    return not allows or any(policy_matches(policy, identity, ip, port) for policy in allows)


# What istiod says --------------------------------------------------------------------------------------------------


def effective(seen: Json, name: str) -> dict[str, Json]:
    """Policies that a ztunnel uses for a pod: of its scope, and those that its workload lists."""
    workload = next(found for found in seen["workloads"] if found["name"] == name)
    listed = set(workload.get("authorizationPolicies") or [])
    found = {}
    for policy in seen["policies"] or []:
        key = f"{policy['namespace']}/{policy['name']}"
        scope = policy.get("scope", "GLOBAL")
        of_scope = scope == "GLOBAL" or (scope == "NAMESPACE" and policy["namespace"] == workload["namespace"])
        if of_scope or key in listed:
            found[key] = policy
    # istiod tells workloads before policies; whoever compares waits until nothing is missing.
    return {**found, **{key: {"missing": True} for key in listed - set(found)}}


def pods(mesh: Mesh) -> dict[str, Pod]:
    addresses = mesh.addresses()
    return {
        name: Pod(namespace, tuple(sorted(labels.items())), account, addresses[name], enrolled=namespace in ENROLLED)
        for name, (namespace, labels, account) in PODS.items()
    }


def plain(value: t.Any) -> t.Any:
    """Without order of lists, empty fields and the defaults that /debug/ambientz leaves out."""
    if isinstance(value, t.Mapping):
        kept = {key: plain(item) for key, item in value.items()}
        return {
            key: item
            for key, item in kept.items()
            if item not in (0, "GLOBAL", "ALLOW") and (item or key == "presence")
        }
    if isinstance(value, list):
        return sorted((plain(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


def expected(objects: t.Sequence[Json], pod: Pod) -> dict[str, t.Any]:
    ours = [obj for obj in objects if obj["kind"] in ("AuthorizationPolicy", "PeerAuthentication")]
    return {f"{found['namespace']}/{found['name']}": plain(found) for found in evaluate_istio.attached(ours, pod)}


def questions(parties: t.Mapping[str, Pod]) -> t.Iterator[tuple[str, Question]]:
    sources: list[Party] = [*parties.values(), *(Outside(ip) for ip in OUTSIDE)]
    for name, destination in parties.items():
        for source in sources:
            for port in PORTS:
                proved = isinstance(source, Pod) and source.enrolled
                if destination.enrolled and source is not destination:
                    yield name, Question(source, destination, port, authenticated=proved)


def compare(mesh: Mesh, objects: t.Sequence[Json], documents: t.Sequence[Json] = ()) -> None:
    parties = pods(mesh)
    wanted = {name: expected(objects, pod) for name, pod in parties.items()}
    for obj in objects:
        mesh.apply(obj)
    seen: Json = {}

    def attached() -> dict[str, t.Any]:
        nonlocal seen
        seen = mesh.ambientz()
        return {name: {key: plain(item) for key, item in effective(seen, name).items()} for name in parties}

    # istiod takes the objects some milliseconds after the API server; what it says has to stay so
    end = time.monotonic() + 20
    same = 0
    while same < 3 and time.monotonic() < end:
        same = same + 1 if attached() == wanted else 0
        time.sleep(0.1)
    assert attached() == wanted
    policies = [model.parse(found) for found in documents]
    for name, question in questions(parties):
        source, identity = question.source, None
        if isinstance(source, Pod) and source.enrolled:
            identity = f"cluster.local/ns/{source.namespace}/sa/{source.service_account}"
        real = admits(list(effective(seen, name).values()), identity, source.ip, question.port)
        at_waypoint = any("targetRefs" in obj["spec"] for obj in objects)
        if not at_waypoint:
            assert evaluate_istio.evaluate(objects, question).allowed == real, question
        if policies:
            # who is not in the mesh has proved nothing: ztunnel may refuse what the model allows, never the reverse
            may_be_less = isinstance(source, Pod) and not source.enrolled
            allowed = evaluate(policies, question).allowed
            assert allowed == real or (may_be_less and allowed), question


def accepted(mesh: Mesh, obj: Json) -> bool:
    conditions = (mesh.read(obj).get("status") or {}).get("conditions") or []
    return any(found["type"] == "ZtunnelAccepted" and found["status"] == "True" for found in conditions)


@pytest.fixture
def clean(mesh: Mesh) -> t.Iterator[list[Json]]:
    """Objects that the test puts in here are gone afterwards, for istiod too."""
    objects: list[Json] = []
    yield objects
    for obj in objects:
        mesh.delete(obj)
    wait(lambda: not mesh.ambientz()["policies"], 15, "istiod to forget the policies")


@pytest.mark.parametrize("documents", DOCUMENTS.values(), ids=DOCUMENTS)
def test_istiod_makes_of_our_policies_what_the_model_says(mesh: Mesh, clean: list[Json], documents: list[Json]) -> None:
    options = Options("cluster.local", CLUSTER)
    objects, findings = render(documents, set_name="s", cluster_name="c", engine="istio_ambient", options=options)
    assert not [found for found in findings if found.blocks]
    clean += objects
    compare(mesh, objects, documents)
    for obj in objects:
        if obj["kind"] == "AuthorizationPolicy":
            wait(functools.partial(accepted, mesh, obj), 10, "ZtunnelAccepted")


@pytest.mark.parametrize("objects", OBJECTS.values(), ids=OBJECTS)
def test_istiod_makes_of_other_objects_what_our_evaluator_says(
    mesh: Mesh, clean: list[Json], objects: list[Json]
) -> None:
    clean += objects
    compare(mesh, objects)


FINER = {
    "one workload": [peers("a", "STRICT", **SELECT)],
    "one port": [peers("a", "PERMISSIVE", **SELECT, portLevelMtls={"8080": {"mode": "STRICT"}})],
}


@pytest.mark.parametrize("objects", FINER.values(), ids=FINER)
def test_our_evaluator_refuses_to_speak_of_finer_mutual_tls(mesh: Mesh, clean: list[Json], objects: list[Json]) -> None:
    """istiod makes policies of these for the chosen pod; ours are never so, and our evaluator says that it cannot."""
    clean += objects
    for obj in objects:
        mesh.apply(obj)
    parties = pods(mesh)
    wait(lambda: bool(effective(mesh.ambientz(), "x")), 10, "istiod to convert it")
    seen = mesh.ambientz()
    assert not effective(seen, "y")
    found = list(effective(seen, "x").values())
    assert admits(found, "cluster.local/ns/b/sa/one", parties["bx"].ip, 8080)
    assert not admits(found, None, parties["cx"].ip, 8080)
    with pytest.raises(ValueError, match="not known here"):
        evaluate_istio.attached(objects, parties["x"])


BAD = {
    "a DENY without rules": (authorization(action="DENY", **SELECT), "rules"),
    "an empty source": (authorization(rules=[{"from": [{"source": {"principals": [""]}}]}]), "Principals"),
    "selector and target": (authorization(rules=[{}], **SELECT, **TARGET), "targetRefs"),
    "a port by name": (authorization(rules=[{"to": [{"operation": {"ports": ["http"]}}]}]), "port"),
    "an unknown field": (
        {**peers("a", "STRICT"), "spec": {"mode": "STRICT"}},
        "spec.mode",
    ),
}


@pytest.mark.parametrize(("obj", "word"), BAD.values(), ids=BAD)
def test_the_real_check_refuses(mesh: Mesh, clean: list[Json], obj: Json, word: str) -> None:
    clean.append(obj)
    with pytest.raises(ApiError, match=word) as refused:
        mesh.apply(obj)
    assert refused.value.status in (400, 422)  # 400: istiod and strict decoding, 422: rules in the CRD
