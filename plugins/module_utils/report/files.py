# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a run: private to their owner, whole or not there at all."""

from __future__ import annotations

import json
import os
import pathlib
import tempfile
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.report.html import render

Data = t.Mapping[str, t.Any]


def write_private(path: pathlib.Path, text: str) -> None:
    """Write text to path with mode 0600, by way of a temporary file in the same folder."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def write_report(directory: str | os.PathLike[str], report: Data, evidence: Data | None = None) -> dict[str, str]:
    """Write report.json, report.html and, where given, evidence.json into the run's directory (0700).

    Returns {"dir", "json", "html"} as paths. Raises OSError where the directory cannot be written.
    """
    folder = pathlib.Path(directory)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if evidence is not None:
        write_private(folder / "evidence.json", json.dumps(evidence, indent=1, sort_keys=True) + "\n")
    write_private(folder / "report.json", json.dumps(report, indent=1, sort_keys=True) + "\n")
    write_private(folder / "report.html", render(report))
    return {"dir": str(folder), "json": str(folder / "report.json"), "html": str(folder / "report.html")}


def link_latest(report_dir: str | os.PathLike[str], run_dir: str | os.PathLike[str]) -> str:
    """Point <report_dir>/latest at the run's directory, at once. Returns the link's path."""
    link = pathlib.Path(report_dir) / "latest"
    target = os.path.relpath(run_dir, report_dir)
    fresh = link.with_name(f".latest.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target, target_is_directory=True)
    os.replace(fresh, link)
    return str(link)
