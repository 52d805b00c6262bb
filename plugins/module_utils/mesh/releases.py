# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each Istio release needs of the cluster. Pure data and its look-up."""

from __future__ import annotations

import re
import typing as t

SOURCE_VERSION = "1.0.0"
"""Version of the charts in Istio's source tree: the release builder writes the real one."""


class Release(t.NamedTuple):
    """A minor release: the oldest Kubernetes it supports, and the Gateway API that it was built with.

    kubernetes: istioctl/pkg/install/k8sversion (1.30, 1.31), table of supported releases (1.29).
    gateway_api: sigs.k8s.io/gateway-api in its go.mod. istiod takes older bundles too and then ignores single kinds.
    """

    minor: tuple[int, int]
    kubernetes: tuple[int, int]
    gateway_api: tuple[int, int]


RELEASES: tuple[Release, ...] = (
    Release((1, 29), (1, 31), (1, 4)),
    Release((1, 30), (1, 32), (1, 5)),
    Release((1, 31), (1, 32), (1, 6)),
)


def find(version: str) -> Release | None:
    """The release of a version, None for one that is not in the table."""
    return next((release for release in RELEASES if release.minor == minor(version)), None)


def parse(text: str) -> tuple[int, int, int]:
    """(major, minor, patch) of "1.31.0", "v1.6.0" or "v1.34.1+k3s1"; (0, 0, 0) where there is none."""
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text.strip())
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else (0, 0, 0)


def minor(text: str) -> tuple[int, int]:
    """(major, minor) of a version."""
    return parse(text)[:2]


def dotted(numbers: t.Sequence[int]) -> str:
    """1.31 of (1, 31)."""
    return ".".join(str(number) for number in numbers)
