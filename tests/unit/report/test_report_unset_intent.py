# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.aicluster.zerotrust.plugins.module_utils.report.verdict import judge


def test_nothing_encrypted_is_a_pass_only_where_the_inventory_says_so() -> None:
    """A nightly verify without an intent must notice that encryption was switched off."""
    assert judge([], [], scope="s", encryption="none").state == "pass"
    silent = judge([], [], scope="s", encryption="none", intended=False)
    assert silent.state == "unknown"
    assert "zerotrust_transport_encryption" in silent.text
