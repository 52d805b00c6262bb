# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan's Istio part: bad intents give one clear error each, and what is to be done is what is missing."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent import mappings
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.model import parse
from ansible_collections.aicluster.zerotrust.plugins.module_utils.mesh import values as mesh_values
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import mesh
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan.run import Plan, diff, summary
from ansible_collections.aicluster.zerotrust.tests.unit.plan import factory
from ansible_collections.aicluster.zerotrust.tests.unit.plan.factory import NOW, merge

CRDS = "/srv/gateway-api.yaml"
AMBIENT: dict[str, t.Any] = {
    "zerotrust_engine": "istio_ambient",
    "istio_ambient_gateway_api_crds": CRDS,
    "istio_ambient_namespaces": ["training"],
}
SOURCE = {
    "istio_ambient_chart_dir": "/srv/charts",
    "istio_ambient_hub": "r.example.org/i",
    "istio_ambient_tag": "1.31.0",
}
HELM = {"tool": "helm", "namespace": "istio-system"}
FILES: dict[str, t.Any] = {
    "helm": {"version": "v3.21.4", "error": None},
    "charts": {},
    "gateway_api": {"version": "v1.6.0", "error": None},
    "cacerts": None,
}


def space(name: str, labels: dict[str, str] | None = None, applied: t.Sequence[str] = ()) -> dict[str, t.Any]:
    return {"name": name, "labels": labels or {}, "applied": list(applied), "deleting": False}


NOTHING: dict[str, t.Any] = {
    "crds": [],
    "gateway_api": None,
    "releases": dict.fromkeys(("base", "istiod", "cni", "ztunnel")),
    "istiod": None,
    "cni": None,
    "ztunnel": None,
    "trust_domain": None,
    "cacerts": False,
    "cacerts_fingerprint": None,
    "root_strict": False,
    "namespaces": [space("default"), space("training"), space("inference")],
    "waypoints": [],
    "enrolled": {},
    "cni_policies": {},
    "read_errors": [],
}


def charts(version: str = "1.0.0") -> dict[str, t.Any]:
    return {name: {"version": version, "values_yaml": None, "error": None} for name in NOTHING["releases"]}


def plan(
    variables: t.Mapping[str, t.Any] | None = None,
    found: t.Mapping[str, t.Any] | None = None,
    files: t.Mapping[str, t.Any] | None = None,
    extra: t.Mapping[str, t.Any] | None = None,
    cluster: t.Mapping[str, t.Any] | None = None,
    **changes: t.Any,
) -> Plan:
    intent = factory.intent(extra, **{**AMBIENT, **(variables or {})})
    seen = {**(cluster or factory.cluster()), "mesh": merge(NOTHING, found or {})}
    return factory.plan(intent, found=seen, mesh_files=merge(FILES, files or {}), **changes)


def running(variables: t.Mapping[str, t.Any] | None = None, **found: t.Any) -> dict[str, t.Any]:
    """The mesh as a run with these variables leaves it."""
    intent = factory.intent(**{**AMBIENT, **(variables or {})})
    made = mesh_values.render(intent.istio_ambient, intent.trust_domain)

    def release(name: str) -> dict[str, t.Any]:
        return {
            "status": "deployed",
            "revision": 1,
            "chart_version": "1.31.0",
            "app_version": "1.31.0",
            "values": copy.deepcopy(made[name]),
            "updated_epoch": NOW - 86400,
            "namespace": "istio-system",
        }

    def workload(name: str) -> dict[str, t.Any]:
        return {"image": f"i/{name}:1.31.0", "desired": 2, "ready": 2, "managed_by": {**HELM, "release": name}}

    label = {"istio.io/dataplane-mode": "ambient"}
    base = {
        **NOTHING,
        "crds": ["authorizationpolicies.security.istio.io"],
        "gateway_api": {"version": "v1.6.0", "channel": "standard"},
        "releases": {name: release(name) for name in made},
        **{name: workload(name) for name in ("istiod", "cni", "ztunnel")},
        "trust_domain": "cluster.local",
        "namespaces": [space("default"), space("training", label, list(label)), space("inference")],
    }
    return merge(base, found)


def over_our_cilium(variables: t.Mapping[str, t.Any] | None = None, **config: str) -> dict[str, t.Any]:
    """A cluster with the Cilium that a run with these variables leaves."""
    bare = factory.plan(
        factory.intent(**{**AMBIENT, **(variables or {})}), found={**factory.cluster(), "mesh": NOTHING}
    )
    return factory.installed(bare.document["cilium"]["values"], config)


def below(**config: str) -> dict[str, t.Any]:
    """A Cilium that another hand keeps."""
    found = factory.installed({"annotations": {}}, {"enable-wireguard": "true", "routing-mode": "tunnel", **config})
    return {**found, "release": None}


EXISTING = {"zerotrust_cni": "existing"}
BAD: list[tuple[str, dict[str, t.Any], dict[str, t.Any], dict[str, t.Any], str, str]] = [
    # what, variables, mesh found, files, code, subject
    ("release unknown", {"istio_ambient_version": "1.28.3"}, {}, {}, "ZT630", "istio_ambient_version"),
    ("release of the future", {"istio_ambient_version": "1.40.0"}, {}, {}, "ZT630", "istio_ambient_version"),
    (
        "no Gateway API",
        {"istio_ambient_gateway_api_crds": None},
        {},
        {"gateway_api": None},
        "ZT632",
        "istio_ambient_gateway_api_crds",
    ),
    (
        "CRDs' file missing",
        {},
        {},
        {"gateway_api": {"version": None, "error": f"{CRDS} cannot be read: no such file"}},
        "ZT634",
        "istio_ambient_gateway_api_crds",
    ),
    (
        "CRDs would go back",
        {},
        {"gateway_api": {"version": "v1.7.0", "channel": "standard"}},
        {},
        "ZT633",
        "istio_ambient_gateway_api_crds",
    ),
    (
        "chart folder missing",
        SOURCE,
        {},
        {"charts": {**charts(), "cni": {"version": None, "values_yaml": None, "error": "no /srv/charts/cni"}}},
        "ZT634",
        "istio_ambient_chart_dir",
    ),
    ("charts of another version", SOURCE, {}, {"charts": charts("1.30.4")}, "ZT901", "istio_ambient_version"),
    (
        "source charts without images",
        {**SOURCE, "istio_ambient_tag": None},
        {},
        {"charts": charts()},
        "ZT634",
        "istio_ambient_tag",
    ),
    (
        "no helm",
        {},
        {},
        {"helm": {"version": None, "error": "no such file"}},
        "ZT916",
        "istio_ambient_helm_binary",
    ),
    ("Helm 4", {}, {}, {"helm": {"version": "v4.0.1", "error": None}}, "ZT916", "istio_ambient_helm_binary"),
    ("mirror without hub", {"zerotrust_registry": "r.example.org"}, {}, {}, "ZT639", "istio_ambient_hub"),
    (
        "value of the intent",
        {"istio_ambient_values": {"istiod": {"meshConfig": {"trustDomain": "x"}}}},
        {},
        {},
        "ZT638",
        "istio_ambient_values.istiod.meshConfig.trustDomain",
    ),
    (
        "ambient switched off",
        {"istio_ambient_values": {"cni": {"ambient": {"enabled": False}}}},
        {},
        {},
        "ZT638",
        "istio_ambient_values.cni.ambient.enabled",
    ),
    (
        "key that the chart does not have",
        {"istio_ambient_values": {"ztunnel": {"loglevel": "debug"}}},
        {},
        {
            "charts": {
                "ztunnel": {
                    "version": "1.31.0",
                    "values_yaml": "_internal_defaults_do_not_set:\n  logLevel: info\n",
                    "error": None,
                }
            }
        },
        "ZT607",
        "istio_ambient_values.ztunnel.loglevel",
    ),
    (
        "CA's file missing",
        {"istio_ambient_cacerts": "/etc/ca"},
        {},
        {"cacerts": {"fingerprint": None, "error": "/etc/ca/ca-key.pem cannot be read: No such file"}},
        "ZT634",
        "istio_ambient_cacerts",
    ),
    (
        "another CA",
        {"istio_ambient_cacerts": "/etc/ca"},
        {"cacerts": True, "cacerts_fingerprint": "aa"},
        {"cacerts": {"fingerprint": "bb", "error": None}},
        "ZT649",
        "istio_ambient_cacerts",
    ),
    (
        "namespace mistyped",
        {"istio_ambient_namespaces": ["trainning"]},
        {},
        {},
        "ZT646",
        "istio_ambient_namespaces: trainning",
    ),
    (
        "namespace with sidecars",
        {},
        {"namespaces": [space("training", {"istio-injection": "enabled"})]},
        {},
        "ZT647",
        "istio_ambient_namespaces: training",
    ),
    (
        "namespace kept out by another hand",
        {},
        {"namespaces": [space("training", {"istio.io/dataplane-mode": "none"})]},
        {},
        "ZT647",
        "istio_ambient_namespaces: training",
    ),
    ("jump of two", {}, {"istiod": {"image": "i/pilot:1.29.1"}}, {}, "ZT640", "istio_ambient_version"),
    (
        "downgrade",
        {"istio_ambient_version": "1.30.4"},
        {"istiod": {"image": "i/pilot:1.31.0"}},
        {},
        "ZT640",
        "istio_ambient_version",
    ),
    (
        "trust domain of a running mesh",
        {"zerotrust_trust_domain": "new.example.org"},
        {"trust_domain": "cluster.local", "ztunnel": {"ready": 1}},
        {},
        "ZT641",
        "zerotrust_trust_domain",
    ),
    ("exclusive Cilium", {"cilium_cni_exclusive": True}, {}, {}, "ZT643", "cilium_cni_exclusive"),
    (
        "BPF masquerading",
        {"cilium_values": {"bpf": {"masquerade": True}}},
        {},
        {},
        "ZT643",
        "cilium_values.bpf.masquerade",
    ),
    (
        "sockets of pods load balanced",
        {"cilium_values": {"socketLB": {"hostNamespaceOnly": False}}},
        {},
        {},
        "ZT643",
        "cilium_values.socketLB.hostNamespaceOnly",
    ),
    (
        "BPF host routing",
        {"cilium_values": {"bpf": {"hostLegacyRouting": False}}},
        {},
        {},
        "ZT643",
        "cilium_values.bpf.hostLegacyRouting",
    ),
]


@pytest.mark.parametrize(
    ("variables", "found", "files", "code", "subject"), [c[1:] for c in BAD], ids=[c[0] for c in BAD]
)
def test_a_bad_intent_gives_one_clear_error_and_no_action(
    variables: dict[str, t.Any], found: dict[str, t.Any], files: dict[str, t.Any], code: str, subject: str
) -> None:
    keys = (
        "bpf:\n  masquerade: ~\n  hostLegacyRouting: ~\n  datapathMode: veth\nsocketLB:\n  hostNamespaceOnly: false\n"
    )
    made = plan(variables, found, files, chart={"version": "1.20.2", "values_yaml": keys, "error": None})
    assert [(one.code, one.subject.name) for one in made.blockers] == [(code, subject)]
    only = made.blockers[0]
    assert only.message
    assert only.remedy
    assert subject.split(".")[0].split(":")[0] in only.line()
    assert made.actions() == {"cilium": "none", "istio": "none", "policy": "none", "identity": "none", "nic": {}}
    assert made.document["istio"]["charts"] == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("istio_ambient_version", "latest"),
        ("istio_ambient_chart_dir", "charts"),
        ("istio_ambient_gateway_api_crds", "crds.yaml"),
        ("istio_ambient_cacerts", "ca"),
        ("istio_ambient_platform", "kubeadm"),
        ("istio_ambient_namespace", "Istio"),
        ("istio_ambient_namespaces", ["kube-system"]),
        ("istio_ambient_waypoints", {"training": 1}),
        ("istio_ambient_values", {"istio": {}}),
        ("zerotrust_workload_encryption", "none"),
    ],
)
def test_a_value_that_cannot_be_read_is_refused_before_anything_is(variable: str, value: t.Any) -> None:
    _, findings = parse({**factory.BASE, **AMBIENT, variable: value}, extra_vars={})
    assert [(one.code, one.subject.name) for one in findings] == [("ZT901", variable)]
    assert findings[0].blocks
    assert variable in findings[0].message
    assert findings[0].remedy


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"cni-exclusive": "true"}, "cni-exclusive"),
        ({"enable-bpf-masquerade": "true"}, "enable-bpf-masquerade"),
        ({"kube-proxy-replacement": "true"}, "bpf-lb-sock-hostns-only"),
        ({"datapath-mode": "netkit-l2"}, "datapath-mode"),
    ],
)
def test_each_key_of_a_cilium_that_is_not_ours_is_one_error(config: dict[str, str], key: str) -> None:
    made = plan(EXISTING, cluster=below(**config))
    assert [(one.code, one.subject.name) for one in made.blockers] == [("ZT642", f"cilium-config {key}")]
    assert key in made.blockers[0].message
    assert key in made.blockers[0].remedy


def test_netkit_is_refused_below_ambient_on_kernels_that_have_it() -> None:
    keys = "bpf:\n  datapathMode: veth\n"
    hosts = [factory.host(n, node=factory.facts(n, kernel={"release": "6.12.0"})) for n in (1, 2)]
    values = {"cilium_values": {"bpf": {"datapathMode": "netkit"}}}
    made = plan(values, hosts=hosts, chart={"version": "1.20.2", "values_yaml": keys, "error": None})
    assert [(one.code, one.subject.name) for one in made.blockers] == [("ZT643", "cilium_values.bpf.datapathMode")]


def test_old_kubernetes_is_refused() -> None:
    made = plan(cluster=factory.cluster(server_version="v1.31.9+rke2r1"))
    assert [one.code for one in made.blockers] == ["ZT631"]
    assert plan({"istio_ambient_version": "1.29.6"}, cluster=factory.cluster(server_version="v1.31.9")).blockers == []


def test_first_run_installs_all_in_order() -> None:
    made = plan({**SOURCE, "istio_ambient_cacerts": "/etc/ca"}, files={"charts": charts(), "cacerts": {"error": None}})
    assert made.blockers == [], [one.line() for one in made.blockers]
    part = made.document["istio"]
    assert part["action"] == "install" == made.actions()["istio"]
    assert [(chart["name"], chart["action"]) for chart in part["charts"]] == [
        (name, "install") for name in ("base", "istiod", "cni", "ztunnel")
    ]
    assert {chart["ref"] for chart in part["charts"]} == {f"/srv/charts/{name}" for name in NOTHING["releases"]}
    # The charts of the source tree say 1.0.0, and that is what Helm will record.
    assert {chart["version"] for chart in part["charts"]} == {"1.0.0"}
    assert part["gateway_api"] == {"action": "apply", "path": CRDS}
    assert part["cacerts"] == {"action": "create", "dir": "/etc/ca"}
    assert part["namespaces"] == [{"name": "training", "labels": {"istio.io/dataplane-mode": "ambient"}}]
    below_us = made.document["cilium"]["values"]
    assert below_us["cni"]["exclusive"] is False
    assert below_us["socketLB"]["hostNamespaceOnly"] is True
    assert below_us["bpf"] == {"masquerade": False, "hostLegacyRouting": True}
    assert any(line.startswith("Istio Ambient: install") for line in summary(made))
    assert "ztunnel" in diff(made, {"mesh": NOTHING})["after"]


def test_second_run_has_nothing_to_do_and_shows_nothing() -> None:
    found = over_our_cilium()
    made = plan(found=running(), cluster=found)
    assert made.blockers == [], [one.line() for one in made.blockers]
    assert made.actions() == {"cilium": "none", "istio": "none", "policy": "none", "identity": "none", "nic": {}}
    shown = diff(made, {**found, "mesh": running()})
    assert (shown["before"], shown["after"]) == ("", "")


def test_wireguard_below_is_valid_and_its_price_is_said() -> None:
    made = plan()
    double = [one for one in made.findings if one.code == "ZT645"]
    assert [one.severity for one in double] == ["info"]
    none = plan({"zerotrust_transport_encryption": "none"})
    assert all(one.code != "ZT645" for one in none.findings)


def _changed() -> dict[str, t.Any]:
    return {"istio_ambient_values": {"ztunnel": {"logLevel": "debug"}}}


def test_a_change_of_a_running_mesh_needs_consent() -> None:
    found = over_our_cilium()
    without = plan(_changed(), running(), cluster=found)
    assert without.document["istio"]["action"] == "left"
    assert [one.code for one in without.findings if one.code == "ZT636"] == ["ZT636"]
    given = plan(_changed(), running(), cluster=found, extra={"zerotrust_allow": ["agent_restart"]})
    actions = {chart["name"]: chart["action"] for chart in given.document["istio"]["charts"]}
    assert actions == {"base": "none", "istiod": "none", "cni": "none", "ztunnel": "upgrade"}


def test_nothing_is_installed_beside_what_was_left() -> None:
    found = running()
    found["releases"]["cni"] = found["cni"] = None
    made = plan(_changed(), found, cluster=over_our_cilium())
    assert {chart["action"] for chart in made.document["istio"]["charts"]} == {"none", "left"}


def test_broken_releases_are_recovered_and_young_ones_waited_for() -> None:
    found = running()
    found["releases"]["istiod"].update(status="failed")
    allowed = {"zerotrust_allow": ["agent_restart"]}
    made = plan(found=found, cluster=over_our_cilium(), extra=allowed)
    assert {c["name"]: c["action"] for c in made.document["istio"]["charts"]}["istiod"] == "recover"
    found["releases"]["istiod"].update(status="pending-upgrade", updated_epoch=NOW - 30)
    young = plan(found=found, cluster=over_our_cilium(), extra=allowed)
    assert [one.code for one in young.blockers] == ["ZT637"]
    found["releases"]["istiod"].update(updated_epoch=NOW - 3600)
    assert plan(found=found, cluster=over_our_cilium(), extra=allowed).document["istio"]["action"] == "recover"


def test_a_workload_that_another_hand_removed_is_recovered() -> None:
    found = running()
    found["ztunnel"] = None
    made = plan(found=found, cluster=over_our_cilium(), extra={"zerotrust_allow": ["agent_restart"]})
    assert {c["name"]: c["action"] for c in made.document["istio"]["charts"]}["ztunnel"] == "recover"


@pytest.mark.parametrize("how", ["helm of another hand", "istioctl"])
def test_an_istio_of_another_hand_is_observed_only(how: str) -> None:
    found = running()
    if how == "istioctl":
        found["releases"] = dict.fromkeys(found["releases"])
        for part in ("istiod", "cni", "ztunnel"):
            found[part]["managed_by"] = {"tool": "unknown"}
    else:
        for release in found["releases"].values():
            release["values"] = {"profile": "ambient"}
    made = plan(found=found, cluster=over_our_cilium())
    assert [one.code for one in made.findings if one.code == "ZT635"] == ["ZT635"]
    assert made.blockers == []
    assert {chart["action"] for chart in made.document["istio"]["charts"]} == {"left"}
    assert made.actions()["istio"] in ("none", "left")


def test_over_a_cilium_that_does_not_fit_yet_nothing_is_installed() -> None:
    found = over_our_cilium()
    found["release"]["values"] = merge(found["release"]["values"], {"cni": {"exclusive": True}})
    found["cilium"]["config"]["cni-exclusive"] = found["release"]["config"]["cni-exclusive"] = "true"
    without = plan(cluster=found)
    assert without.document["cilium"]["left"]
    assert without.document["istio"]["action"] == "left"
    given = plan(cluster=found, extra={"zerotrust_allow": ["agent_restart"]})
    assert given.actions()["cilium"] == "upgrade"
    assert given.actions()["istio"] == "install"


def test_leaving_the_mesh_needs_consent() -> None:
    label = {"istio.io/dataplane-mode": "ambient"}
    spaces = [space("training", label, list(label)), space("inference", label, list(label)), space("other", label)]
    without = plan(found={**running(), "namespaces": spaces}, cluster=over_our_cilium())
    assert without.document["istio"]["namespaces"] == []
    left = [one for one in without.findings if one.code == "ZT636"]
    assert len(left) == 1
    assert "inference" in left[0].message
    given = plan(
        found={**running(), "namespaces": spaces}, cluster=over_our_cilium(), extra={"zerotrust_allow": ["prune"]}
    )
    # `other` was enrolled by another hand and stays.
    assert given.document["istio"]["namespaces"] == [{"name": "inference", "labels": {}}]


def test_waypoints_only_where_l7_is_asked_and_the_namespace_is_in_the_mesh() -> None:
    made = plan(found=running(), cluster=over_our_cilium(), l7=["training"])
    part = made.document["istio"]
    assert [obj["metadata"]["namespace"] for obj in part["waypoints"]] == ["training"]
    assert part["namespaces"][0]["labels"]["istio.io/use-waypoint"] == "waypoint"
    outside = plan(found=running(), cluster=over_our_cilium(), l7=["inference"])
    assert [one.subject.name for one in outside.findings if one.code == "ZT648"] == [
        "istio_ambient_namespaces: inference"
    ]
    assert outside.document["istio"]["waypoints"] == []
    own = plan({"istio_ambient_waypoints": {"training": "edge"}}, running(), cluster=over_our_cilium(), l7=["training"])
    assert own.document["istio"]["waypoints"] == []
    assert own.document["istio"]["namespaces"][0]["labels"]["istio.io/use-waypoint"] == "edge"


def test_probes_get_a_way_only_where_policies_may_isolate() -> None:
    policies = {"cni_policies": {"NetworkPolicy": {"training": 1}}}
    found = over_our_cilium()
    assert plan(found=running(), cluster=found).document["istio"]["probe_policy"] is None
    elsewhere = running(cni_policies={"NetworkPolicy": {"inference": 1}})
    assert plan(found=elsewhere, cluster=found).document["istio"]["probe_policy"] is None
    made = plan(found=running(**policies), cluster=found)
    assert made.document["istio"]["probe_policy"]["kind"] == "CiliumClusterwideNetworkPolicy"
    # Over a Cilium of another hand it is said and not done.
    theirs = plan(EXISTING, running(**policies), cluster=below())
    assert [one.code for one in theirs.findings if one.code == "ZT644"] == ["ZT644"]
    assert theirs.document["istio"]["probe_policy"] is None


def test_a_limited_run_and_a_preflight_plan_nothing() -> None:
    for changes in ({"limited": True}, {"mode": "preflight"}):
        made = plan(**changes)
        assert made.document["istio"]["action"] == "none"
        assert made.document["istio"]["charts"] == []


def test_engine_cilium_has_no_istio_part() -> None:
    made = factory.plan()
    assert made.document["istio"] == mesh.nothing(factory.intent())
    assert mappings.get(made.document["cilium"]["values"], "cni.exclusive") is True
