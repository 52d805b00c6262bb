# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page and the files: schema, escaping, no reference to the outside, modes."""

from __future__ import annotations

import html.parser
import json
import pathlib
import typing as t

import jsonschema
import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject
from ansible_collections.aicluster.zerotrust.plugins.module_utils.report.files import link_latest, write_report
from ansible_collections.aicluster.zerotrust.plugins.module_utils.report.html import common_domain, matrix, render
from ansible_collections.aicluster.zerotrust.tests.unit.proof import faults
from ansible_collections.aicluster.zerotrust.tests.unit.proof.clusters import Lab, healthy
from ansible_collections.aicluster.zerotrust.tests.unit.report.cases import refusal, report_of, whole

SCHEMA = json.loads((pathlib.Path(__file__).parents[3] / "docs" / "report.schema.json").read_text())


class Page(html.parser.HTMLParser):
    """Collects texts and attributes, and checks that tags close."""

    VOID = ("meta", "br", "link", "img", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def broken(fault: t.Callable[..., t.Any]) -> dict[str, t.Any]:
    lab = healthy(4)
    fault(lab, "n1", "n2")
    return report_of(lab)


def spoil(evidence: dict[str, t.Any], plan: dict[str, t.Any]) -> None:
    """Something wrong in each section."""
    evidence["identity"]["n1"]["agent"].update(state="down", why="no socket", healthy=False)
    evidence["identity"]["n2"]["agent"]["svid"].update(seconds_left=500, not_after=0, not_before=-3600)
    mesh = evidence["cluster"]["mesh"]
    mesh["ztunnel"]["ready"] = 2
    mesh["enrolled"]["shop"]["redirected"] = 1
    mesh["waypoints"][0]["programmed"] = False
    evidence["policy_state"].update(
        missing=["AuthorizationPolicy shop/cart"],
        drifted=[{"object": "AuthorizationPolicy shop/api", "fields": ["spec.rules"]}],
        extra=["AuthorizationPolicy shop/old"],
        unchanged=1,
    )


CASES = {
    "pass": lambda: report_of(healthy(4)),
    "single node": lambda: report_of(healthy(1)),
    "fail": lambda: broken(faults.key_replaced),
    "unknown": lambda: broken(faults.unreachable),
    "off": lambda: broken(faults.switched_off),
    "refused": refusal,
    "everything": lambda: whole(healthy(4)),
    "everything broken": lambda: whole(healthy(4), spoil),
    "large": lambda: whole(healthy(50)),
}


@pytest.mark.parametrize("case", CASES)
def test_every_case_has_the_schema_and_a_whole_page(case: str) -> None:
    report = CASES[case]()
    jsonschema.validate(report, SCHEMA)
    page = Page(render(report))
    for finding in report["findings"]:
        assert finding["message"] in page.text
    urls = [value for name, value in page.attributes if name in ("src", "href", "action", "srcset")]
    assert urls == []
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert "://" not in render(report)
    assert "url(" not in render(report)
    assert "@import" not in render(report)


def test_sections_say_what_was_seen_and_what_was_not() -> None:
    text = Page(render(whole(healthy(4)))).text
    assert "4 of 4 agents run, are attested and hold a valid SVID of lab.example.org" in text
    assert "That TCP between enrolled workloads is encrypted is the mesh's own word" in text
    assert "claimed by the mesh and not proved here" in text
    text = Page(render(whole(healthy(4), spoil))).text
    assert "ztunnel is ready on 2 of 4 nodes" in text
    assert "AuthorizationPolicy shop/old: not intended" in text
    text = Page(render(report_of(healthy(4)))).text
    assert "zerotrust_identity is none" in text
    assert "Trust domain" not in text


def test_sections_of_a_large_cluster_show_exceptions_only() -> None:
    text = Page(render(whole(healthy(50)))).text
    assert "0 of 50 hosts, all of them ok" in text

    def one(evidence: dict[str, t.Any], plan: dict[str, t.Any]) -> None:
        evidence["identity"]["n7"]["agent"].update(healthy=False)

    text = Page(render(whole(healthy(50), one))).text
    assert "1 of 50 hosts: those that are not ok" in text


def test_words_of_the_verdict() -> None:
    assert ">✓</i>Pass" in render(CASES["pass"]())
    assert ">✕</i>Fail" in render(CASES["fail"]())
    assert ">?</i>Unknown" in render(CASES["unknown"]())
    assert ">✕</i>Refused" in render(CASES["refused"]())
    lab = healthy(2)
    lab.cluster["cilium"]["config"]["enable-wireguard"] = "false"
    assert ">\u2013</i>No encryption" in render(report_of(lab, transport_encryption="none"))


def test_everything_is_escaped() -> None:
    bad = "<script>alert(1)</script>\"'"
    lab = healthy(2)
    text = json.dumps([lab.intent, lab.cluster, lab.hosts, lab.matching]).replace('"n0"', json.dumps(bad))
    report = report_of(
        Lab(*json.loads(text)), plan_findings=[Finding("ZT801", Subject("host", bad), bad, observed={bad: bad})]
    )
    report["provenance"]["change_id"] = bad
    page = Page(render(report))
    assert "script" not in page.tags
    assert bad in page.text


def test_consequences_are_folded_under_their_root() -> None:
    report = CASES["fail"]()
    text = render(report)
    assert text.count('class="card fail"') == 1
    assert text.index("consequences of this") < text.index("ZT406")


def test_large_clusters_show_the_harmed_nodes_only() -> None:
    lab = healthy(70)
    faults.key_replaced(lab, "n3", "n8")
    pairs = report_of(lab)["pairs"]
    shown = matrix(pairs)
    assert shown["total"] == 70
    assert shown["nodes"] == ["n3", "n8"]
    assert shown["rows"][0][1][1][1]["verdict"] == "failed"


@pytest.mark.parametrize(
    ("names", "suffix"),
    [
        (["a.x.net", "b.x.net"], ".x.net"),
        (["a.y.net", "b.x.net"], ".net"),
        (["a", "b.x"], ""),
        (["a.x"], ""),
        (["x", "x.x"], ""),
    ],
)
def test_common_domain(names: list[str], suffix: str) -> None:
    assert common_domain(names) == suffix


def test_files_are_private_and_latest_moves(tmp_path: pathlib.Path) -> None:
    for run in ("one", "two"):
        paths = write_report(tmp_path / run, CASES["pass"](), {"schema": 1})
        link = link_latest(tmp_path, tmp_path / run)
    folder = tmp_path / "two"
    assert pathlib.Path(link).resolve() == folder.resolve()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in folder.iterdir()} == {"evidence.json", "report.html", "report.json"}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    assert json.loads(pathlib.Path(paths["json"]).read_text())["kind"] == "proof"
