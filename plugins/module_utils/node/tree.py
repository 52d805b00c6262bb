# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads of a host's files below a root directory, which is "/" on a host and a made-up tree in tests.

A file that is not there is an answer (None). A file that is there and cannot be read is not: it is noted in
Tree.unknown, so that a rule can tell "missing" from "unknown".
"""

from __future__ import annotations

import os
import typing as t

T = t.TypeVar("T")


class Tree:
    """Files below root. unknown collects {"what", "why"} of every read that failed."""

    def __init__(self, root: str = "/") -> None:
        self.root = root.rstrip("/")
        self.unknown: list[dict[str, str]] = []

    def note(self, what: str, why: object) -> None:
        """Notes that something could not be observed, and why."""
        entry = {"what": what, "why": str(why)[:300]}
        if entry not in self.unknown:
            self.unknown.append(entry)

    def path(self, path: str) -> str:
        """The real place of a path as the host names it."""
        return self.root + path

    def exists(self, path: str) -> bool:
        return os.path.exists(self.path(path))

    def data(self, path: str, quiet: bool = False, limit: int = -1) -> bytes | None:
        """Content of a file (at most limit bytes), None where it is not there or cannot be read.

        quiet: a failure is not noted; for files of sysfs that answer EINVAL where they have nothing to say.
        """
        try:
            with open(self.path(path), "rb") as file:
                return file.read(limit)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if not quiet:
                self.note(path, error.strerror or error)
            return None

    def text(self, path: str, quiet: bool = False, limit: int = -1) -> str | None:
        """As data(), as text without the blanks around it."""
        found = self.data(path, quiet, limit)
        return None if found is None else found.decode("utf-8", "replace").strip()

    def names(self, path: str) -> list[str]:
        """Sorted names in a directory; empty where it is not there or cannot be read."""
        try:
            return sorted(os.listdir(self.path(path)))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self.note(path, error.strerror or error)
            return []

    def target(self, path: str) -> str | None:
        """What a symbolic link points to, as written in it; None where there is no link."""
        try:
            return os.readlink(self.path(path))
        except OSError:
            return None

    def real(self, path: str) -> str:
        """Path with all links of it followed (those of sysfs are relative)."""
        return os.path.realpath(self.path(path))

    def attempt(self, what: str, default: T, function: t.Callable[[], T]) -> T:
        """Result of function, or default with a note where it raises.

        An observation must not end because one part of a host is not as expected; hence every Exception is caught.
        """
        try:
            return function()
        except Exception as error:  # noqa: BLE001
            self.note(what, f"{type(error).__name__}: {error}")
            return default
