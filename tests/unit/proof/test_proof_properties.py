# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever the cluster: healthy gives nothing, one fault gives its one root, two apart give both."""

from __future__ import annotations

import typing as t

import hypothesis
from hypothesis import strategies as st

from ansible_collections.aicluster.zerotrust.plugins.module_utils.proof.wireguard import prove
from ansible_collections.aicluster.zerotrust.tests.unit.proof import faults
from ansible_collections.aicluster.zerotrust.tests.unit.proof.clusters import Lab, healthy

SETTINGS = hypothesis.settings(max_examples=150, deadline=None)
LABS = st.builds(healthy, st.integers(2, 12), native=st.booleans(), dual=st.booleans())


def roots(lab: Lab) -> set[tuple[str, str]]:
    findings, pairs = prove(*lab.args())
    count = len(lab.names)
    assert len(pairs) == count * (count - 1)
    top = {f.id for f in findings if f.caused_by is None}
    assert all(f.caused_by in top for f in findings if f.caused_by)
    return {(f.code, str(f.subject)) for f in findings if f.caused_by is None}


@SETTINGS
@hypothesis.given(LABS)
def test_healthy_has_no_finding(lab: Lab) -> None:
    findings, pairs = prove(*lab.args())
    assert findings == []
    assert all(pair["verdict"] == "proved" for pair in pairs)


@SETTINGS
@hypothesis.given(LABS, st.sampled_from(faults.CATALOGUE), st.data())
def test_one_fault_has_one_root(lab: Lab, fault: t.Callable[..., faults.Root], data: t.Any) -> None:
    a, b = data.draw(st.permutations(lab.names))[:2]
    expected = fault(lab, a, b)
    assert roots(lab) == {expected}
    failed = [pair for pair in prove(*lab.args())[1] if pair["verdict"] != "proved"]
    assert failed or expected[0] in ("ZT403", "ZT411"), "these two harm no session by themselves"


@SETTINGS
@hypothesis.given(
    st.builds(healthy, st.integers(4, 12), native=st.booleans()),
    st.sampled_from(faults.CATALOGUE[:-1]),
    st.sampled_from(faults.CATALOGUE[:9]),
    st.data(),
)
def test_two_faults_apart_have_two_roots(lab: Lab, first: t.Any, second: t.Any, data: t.Any) -> None:
    a, b, c, d = data.draw(st.permutations(lab.names))[:4]
    expected = {second(lab, c, d), first(lab, a, b)}
    assert roots(lab) == expected
