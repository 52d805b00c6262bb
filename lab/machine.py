# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machine must have before a laboratory can start; each lack is one sentence."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import typing as t

from lab import network
from lab.common import LabError, cache_dir, state_root, write_private

# command -> Debian package
NEEDED = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "ssh-keygen": "openssh-client",
    "ssh": "openssh-client",
    "nsenter": "util-linux",
}
FREE_BYTES = 3e9
INOTIFY = pathlib.Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_INSTANCES = 8192
INOTIFY_KEPT = "inotify.before"


def check_root() -> None:
    if not sys.platform.startswith("linux"):
        raise LabError(f"The laboratory needs Linux (systemd-nspawn, bridges); this is {sys.platform}.")
    if os.geteuid() != 0:
        raise LabError("The laboratory needs root (bridges, containers): run the command with sudo.")


def check_disk() -> None:
    for folder in (cache_dir(), state_root()):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < FREE_BYTES:
            raise LabError(f"{folder} has {free / 1e9:.1f} GB of free disk; the laboratory needs 3 GB.")


def missing_packages() -> list[str]:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return sorted({package for command, package in NEEDED.items() if not shutil.which(command, path=path)})


def check_packages(say: t.Callable[[str], None]) -> None:
    """Install the Debian packages that are missing; where that fails, the command to type is the message."""
    missing = missing_packages()
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing]
    typed = f"apt-get update && apt-get install --no-install-recommends {' '.join(missing)}"
    if not shutil.which("apt-get"):
        raise LabError(f"These commands are missing, and this is no Debian to install them on: {' '.join(missing)}.")
    say(f"installing Debian packages: {' '.join(missing)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for argv in (command, ["apt-get", "update", "--quiet"], command):
        if subprocess.run(argv, capture_output=True, env=env, check=False).returncode == 0 and not missing_packages():
            return
    raise LabError(f"The Debian packages {' '.join(missing)} could not be installed: run `{typed}`.")


def check_kernel(say: t.Callable[[str], None]) -> None:
    """/dev/net/tun, and a note where a firewall would stand between the nodes."""
    if not pathlib.Path("/dev/net/tun").exists():
        subprocess.run(["modprobe", "tun"], capture_output=True, check=False)
    if not pathlib.Path("/dev/net/tun").exists():
        raise LabError("There is no /dev/net/tun: load the kernel module tun.")
    filtered = pathlib.Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if filtered.exists() and filtered.read_text(encoding="utf-8").strip() == "1" and shutil.which("iptables"):
        done = subprocess.run(["iptables", "-S", "FORWARD"], capture_output=True, text=True, check=False)
        if done.stdout.startswith("-P FORWARD DROP"):
            say("note: iptables drops forwarded packets and sees bridged ones (often Docker's doing); nodes may not")
            say("      reach each other: `sysctl net.bridge.bridge-nf-call-iptables=0` lets bridges alone")


def raise_inotify(say: t.Callable[[str], None]) -> None:
    """Each systemd takes about ten inotify instances of root's; the kernel's default of 128 boots a dozen nodes.

    The old value is kept, and set again when the last laboratory of the machine goes.
    """
    before = int(INOTIFY.read_text(encoding="utf-8"))
    if before >= INOTIFY_INSTANCES:
        return
    kept = cache_dir() / INOTIFY_KEPT
    if not kept.exists():
        write_private(kept, f"{before}\n")
    try:
        INOTIFY.write_text(f"{INOTIFY_INSTANCES}\n", encoding="utf-8")
        say(f"fs.inotify.max_user_instances is {INOTIFY_INSTANCES} while laboratories run ({before} before)")
    except OSError as exc:
        say(f"note: fs.inotify.max_user_instances stays {before} ({exc}); about {before // 10} nodes can boot")


def restore_inotify() -> None:
    kept = cache_dir() / INOTIFY_KEPT
    if kept.exists() and not network.any_laboratory():
        INOTIFY.write_text(kept.read_text(encoding="utf-8"), encoding="utf-8")
        kept.unlink()
