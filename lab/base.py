# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Debian tree that all nodes boot from: made once by mmdebstrap, cached by the hash of its recipe."""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import subprocess
import typing as t

from lab.common import REPO, LabError, cache_dir, lock, run

SUITE = "bookworm"  # systemd 252: newer ones refuse the cgroup v1 hosts that this laboratory also runs on
PACKAGES = [
    "systemd",
    "systemd-sysv",
    "dbus",
    "python3",
    "iproute2",
    "ethtool",
    "openssh-server",
    "openssl",
    "sudo",
    "wireguard-tools",
    "wireguard-go",
    "iputils-ping",
    "procps",
    "kmod",
]
FILES = REPO / "lab" / "files"
# host path in lab/files -> path and mode in the tree
INSTALL = {
    "lab-node": ("usr/local/sbin/lab-node", 0o755),
    "lab-node.service": ("etc/systemd/system/lab-node.service", 0o644),
    "cilium-standin-wireguard.service": ("etc/systemd/system/cilium-standin-wireguard.service", 0o644),
    "sshd.conf": ("etc/ssh/sshd_config.d/lab.conf", 0o644),
    "sudoers": ("etc/sudoers.d/lab", 0o440),
}
COMMANDS = (
    "useradd -m -s /bin/bash -u 1000 ops",
    "useradd -m -s /bin/bash -u 1001 opspw",
    "systemctl enable lab-node.service ssh.service",
    "systemctl mask systemd-resolved.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer "
    "e2scrub_all.timer systemd-timesyncd.service",
    "rm -f /etc/ssh/ssh_host_* /etc/hostname /var/lib/dbus/machine-id",
    "truncate -s 0 /etc/machine-id",
)


def recipe_hash() -> str:
    digest = hashlib.sha256()
    for part in (SUITE, *PACKAGES, *COMMANDS, *(f"{k}:{v}" for k, v in sorted(INSTALL.items()))):
        digest.update(part.encode() + b"\0")
    for name in sorted(INSTALL):
        digest.update((FILES / name).read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def tree() -> pathlib.Path:
    return cache_dir() / "base" / recipe_hash()


def ensure(say: t.Callable[[str], None]) -> pathlib.Path:
    """The tree's path; made on the first call (about 40 s, 270 MB)."""
    target = tree()
    if target.exists():
        return target
    with lock(target.parent / ".lock", lambda: say("  waiting for another mmdebstrap")):
        if target.exists():
            return target
        for old in target.parent.glob(".*.part"):  # of a killed run: we hold the lock, so nobody uses it
            shutil.rmtree(old, ignore_errors=True)
        say(f"  mmdebstrap: a minimal Debian {SUITE} with {len(PACKAGES)} packages, about 40 s, once")
        part = target.with_name(f".{target.name}.part")
        argv = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        argv += ['--aptopt=APT::Install-Recommends "false"', SUITE, str(part)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(part, ignore_errors=True)
            raise LabError(
                "mmdebstrap could not make the nodes' Debian tree (is the Debian mirror reachable?): "
                + (done.stderr.strip().splitlines() or ["no message"])[-1]
            )
        for name, (path, mode) in INSTALL.items():
            place = part / path
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(FILES / name, place)
            place.chmod(mode)
        for command in COMMANDS:
            run(["chroot", part, "/bin/sh", "-c", command], env={**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        part.rename(target)
    return target
