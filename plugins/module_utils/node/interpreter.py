# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python that runs on a managed host: what is too old, said once and the same everywhere.

What imports this parses on every Python 3.7 or newer. Older ones never come here: ansible-core's own wrapper of a
module is a SyntaxError to them, which explain_failure() recognises on the controller.
"""

from __future__ import annotations

import sys
import typing as t

MINIMUM = (3, 9)
REMEDY = (
    "install Python 3.9 or newer on the host and set ansible_python_interpreter to it"
    " (on RHEL 8: dnf install python3.11, then ansible_python_interpreter=/usr/bin/python3.11)"
)


def too_old(version: t.Sequence[int] | None = None) -> str | None:
    """The one error for a Python below 3.9, None for one that is new enough. version defaults to this Python's."""
    running = tuple(sys.version_info[:3] if version is None else version[:3])
    if running[:2] >= MINIMUM:
        return None
    return f"Python {'.'.join(map(str, running))} runs on this host, 3.9 or newer is needed: {REMEDY}"


def explain_failure(result: t.Mapping[str, t.Any]) -> str | None:
    """The same error for a module result that failed because a Python below 3.7 cannot parse ansible-core's wrapper.

    None for every other result.

    Python 3.6 says "future feature annotations is not defined"; Python 2 "invalid syntax" in an AnsiballZ file.
    """
    said = f"{result.get('module_stderr', '')}\n{result.get('module_stdout', '')}\n{result.get('exception', '')}"
    if "future feature annotations is not defined" in said or ("AnsiballZ_" in said and "SyntaxError" in said):
        return f"the Python of this host is too old for ansible-core itself, 3.9 or newer is needed: {REMEDY}"
    return None
