# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attributes that every module of the collection states its support for."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and return what it would do, without changing the host or the cluster.
  diff_mode:
    description: Returns what it changed, or would change in check mode, when in diff mode.
  idempotent:
    description: Run again with the same options it changes nothing.
"""

    # For modules that only read.
    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - It only reads.
  diff_mode:
    support: N/A
    details:
      - It only reads.
  idempotent:
    support: full
    details:
      - It only reads.
"""

    # For modules that run on managed hosts with the standard library only.
    HOST = r"""
options: {}
requirements:
  - Linux
  - Python 3.9 or newer on the host (RHEL 8 has 3.6 by default, set C(ansible_python_interpreter) there)
attributes:
  platform:
    description: Operating systems that it runs on.
    platforms: Linux
    support: full
"""
