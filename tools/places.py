# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No file of the project may name the machine that it was written on.

Looked for: the checkout's path, the home folder, and the hosts of package indexes and proxies
that this environment is configured with. The list comes from the
environment, so it holds on every developer's machine without naming any.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "GOPROXY", "GOSUMDB", "HTTP_PROXY", "HTTPS_PROXY")


def configured_hosts() -> set[str]:
    """Hosts of indexes and proxies in the environment and in pip's and Go's own configuration."""
    texts = [os.environ.get(name, "") + " " + os.environ.get(name.lower(), "") for name in VARIABLES]
    for command in ([sys.executable, "-m", "pip", "config", "list"], ["go", "env", "GOPROXY", "GOSUMDB"]):
        try:
            texts.append(subprocess.run(command, capture_output=True, text=True, timeout=30).stdout)
        except (OSError, subprocess.TimeoutExpired):
            continue
    urls = re.findall(r"https?://[^\s,|'\"]+", " ".join(texts))
    hosts = {urllib.parse.urlsplit(url).hostname or "" for url in urls}
    return hosts - {"", "localhost", "127.0.0.1"}


def forbidden() -> list[str]:
    return sorted({f"{ROOT}", f"{Path.home()}/", *configured_hosts()})


def project_files() -> list[Path]:
    """Everything that is or could be committed."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]


def pattern_of(words: list[str]) -> re.Pattern[bytes]:
    """Any of the words, whole: /a/b is not found in /a/bc, nor example.org in docs.example.org."""
    parts = [re.escape(word.encode()) + (b"" if word.endswith("/") else rb"(?![\w-])") for word in words]
    return re.compile(rb"(?<![\w.})-])(?:" + b"|".join(parts) + rb")")


def main() -> int:
    pattern = pattern_of([word for word in forbidden() if word.strip("/")])
    found = 0
    for path in project_files():
        for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
            match = pattern.search(line)
            if match:
                found += 1
                print(f"{path.relative_to(ROOT)}:{number}: names this machine: {match.group().decode()}")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
