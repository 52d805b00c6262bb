# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node import kernel as observed
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import kernel
from ansible_collections.aicluster.zerotrust.tests.unit.plan import factory

RHEL8 = {
    "os": {"id": "rhel", "version_id": "8.10", "pretty_name": "RHEL 8.10", "id_like": ["fedora"]},
    "kernel": {"release": "4.18.0-553.el8_10.x86_64"},
}


def _options(**states: str) -> dict[str, t.Any]:
    return {"kernel": {"config": {"options": {f"CONFIG_{name}": value for name, value in states.items()}}}}


# what differs from a healthy host -> code, severity, state of the findings
CASES: list[tuple[str, dict[str, t.Any], list[tuple[str, str, str]]]] = [
    ("healthy", {}, []),
    ("old", {"kernel": {"release": "5.4.0-150-generic"}}, [("ZT101", "blocker", "open")]),
    ("old, nothing else is said", {"kernel": {"release": "5.4.0", "btf": False}}, [("ZT101", "blocker", "open")]),
    ("5.10 is the floor", {"kernel": {"release": "5.10.0-33-amd64"}}, []),
    ("RHEL 8.10 by its features", RHEL8, []),
    (
        "RHEL 8.9 is too old",
        factory.merge(RHEL8, {"os": {"version_id": "8.9"}}),
        [("ZT101", "blocker", "open")],
    ),
    ("Debian with 4.18", {"kernel": {"release": "4.18.0-3-amd64"}}, [("ZT101", "blocker", "open")]),
    (
        "RHEL 8.10 without a feature",
        factory.merge(RHEL8, _options(CGROUP_BPF="n")),
        [("ZT102", "blocker", "open")],
    ),
    (
        "RHEL 8.10 unread decides against it",
        factory.merge(RHEL8, {"kernel": {"config": {"source": None, "options": None}}}),
        [("ZT103", "blocker", "unknown")],
    ),
    ("missing", _options(SCHEDSTATS="n", BPF="n"), [("ZT102", "blocker", "open")]),
    (
        "unread is unknown, not missing",
        {"kernel": {"config": {"source": None, "options": None}}},
        [("ZT103", "warn", "unknown")],
    ),
    ("a loaded module proves its option", factory.merge(_options(VXLAN="n"), {"modules": ["vxlan"]}), []),
    ("no vxlan with tunnel", _options(VXLAN="n"), [("ZT102", "blocker", "open")]),
    ("optional", _options(GENEVE="n"), [("ZT110", "warn", "open")]),
    ("no BTF", {"kernel": {"btf": False}}, [("ZT111", "warn", "open")]),
    ("no WireGuard", {"kernel": {"wireguard": "missing"}}, [("ZT104", "blocker", "open")]),
    ("WireGuard unknown", {"kernel": {"wireguard": "unknown"}}, [("ZT104", "blocker", "unknown")]),
    ("WireGuard loaded", {"kernel": {"wireguard": "loaded"}}, []),
    ("FIPS", {"kernel": {"fips": True}}, [("ZT105", "blocker", "open")]),
    ("FIPS unknown", {"kernel": {"fips": None}}, [("ZT105", "blocker", "unknown")]),
    ("cgroup v1", {"cgroup": {"version": "v1"}}, [("ZT108", "warn", "open")]),
    ("cgroup hybrid", {"cgroup": {"version": "hybrid"}}, [("ZT108", "warn", "open")]),
]


@pytest.mark.parametrize(("changes", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_host(changes: dict[str, t.Any], expected: list[tuple[str, str, str]]) -> None:
    findings = kernel.check_host("gpu1", factory.facts(1, **changes), factory.intent())
    assert [(finding.code, finding.severity, finding.state) for finding in findings] == expected
    assert all("gpu1" in finding.message and str(finding.subject) == "host gpu1" for finding in findings)


def test_missing_options_are_listed_in_one_finding() -> None:
    found = kernel.check_host("gpu1", factory.facts(1, **_options(SCHEDSTATS="n", BPF="n")), factory.intent())
    assert found[0].observed == ["CONFIG_BPF", "CONFIG_SCHEDSTATS"]


def test_without_wireguard_neither_kernel_nor_fips_matter() -> None:
    node = factory.facts(1, kernel={"wireguard": "missing", "fips": True})
    assert kernel.check_host("gpu1", node, factory.intent(zerotrust_transport_encryption="none")) == []


def test_native_routing_needs_no_vxlan() -> None:
    node = factory.facts(1, **_options(VXLAN="n"))
    assert kernel.check_host("gpu1", node, factory.intent(zerotrust_routing="native")) == []


def test_kube_proxy_replacement_on_cgroup_v1_blocks() -> None:
    node = factory.facts(1, cgroup={"version": "v1"})
    found = kernel.check_host("gpu1", node, factory.intent(cilium_kube_proxy_replacement=True))
    assert [(f.code, f.severity) for f in found] == [("ZT108", "blocker")]


@pytest.mark.parametrize(
    ("offset", "code"), [(-3600, "ZT106"), (-8.5, "ZT106"), (-2, None), (0, None), (4, None), (6, "ZT106")]
)
def test_clock_must_lie_within_the_span_of_the_observation(offset: float, code: str | None) -> None:
    node = factory.facts(1, clock={"epoch": factory.NOW + offset, "synchronised": True})
    found = kernel.check_clock("gpu1", node, factory.NOW - 3, factory.NOW)
    assert [f.code for f in found] == ([code] if code else [])


@pytest.mark.parametrize(("synchronised", "state"), [(False, "open"), (None, "unknown")])
def test_clock_not_kept_in_step(synchronised: bool | None, state: str) -> None:
    node = factory.facts(1, clock={"epoch": factory.NOW, "synchronised": synchronised})
    found = kernel.check_clock("gpu1", node, factory.NOW - 3, factory.NOW)
    assert [(f.code, f.state) for f in found] == [("ZT107", state)]


def test_every_option_of_the_rules_is_read_from_hosts() -> None:
    wanted = {*kernel.REQUIRED, *kernel.TUNNEL, *kernel.OPTIONAL, "CONFIG_NETKIT"}
    assert wanted <= set(observed.OPTIONS)
