# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which namespaces need a waypoint: those with policies that have HTTP rules, which ztunnel cannot enforce."""

from __future__ import annotations

import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy import istio, model


def namespaces(documents: t.Sequence[t.Any]) -> list[str]:
    """Namespaces of the documents that can be parsed (render says what is wrong with the others), sorted."""
    found = set()
    for document in documents:
        try:
            policy = model.parse(document)
        except model.PolicyError:
            continue
        if any(rule.http for rule in policy.ingress or ()):
            found.add(istio.namespace_of(policy))
    return sorted(found - {""})
