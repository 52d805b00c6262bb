#!/bin/bash
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Makes .venv in the checkout: a virtual environment with the pinned requirements, and in it the
# collection under the name by which Ansible and Python import it. With a stamp of the inputs'
# digest, a second run only compares it. Arguments name what else is needed (Debian packages):
#   tools/setup.sh [lab] [test]

set -euo pipefail
cd "$(dirname "$0")/.."

stop() {
    echo "setup: $*" >&2
    exit 2
}

step() {
    printf '==> setup: %s (%d s)\n' "$1" "$SECONDS"
}

[ "$(uname -s)" = Linux ] || stop "this needs Linux; this machine runs $(uname -s)."

# --- Debian packages -------------------------------------------------------------------------
lab_packages="systemd-container mmdebstrap iproute2 openssh-client util-linux procps ca-certificates"
test_packages="wireguard-tools ethtool"

missing_packages() {
    local name
    for name in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
    done
}

# Installs the named packages, or stops with one sentence that names what to do.
need_packages() {
    local missing log
    command -v dpkg-query >/dev/null || {
        echo "==> setup: no dpkg here; these Debian packages must have their counterpart: $*"
        return
    }
    missing=$(missing_packages "$@" | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || stop "Debian packages are missing; run: sudo apt-get install --no-install-recommends $missing"
    step "installing Debian packages: $missing"
    log=$(mktemp)
    # shellcheck disable=SC2086  # a list of names
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
        tail -5 "$log" >&2
        rm -f "$log"
        stop "apt-get could not install $missing(see above); check the network and /etc/apt/sources.list."
    fi
    rm -f "$log"
}

packages=""
for what in "$@"; do
    case "$what" in
        lab)
            [ "$(id -u)" = 0 ] || stop "the laboratory needs root (bridges, containers): run make with sudo."
            packages="$packages $lab_packages"
            ;;
        test) packages="$packages $test_packages" ;;
        *) stop "unknown argument $what; known: lab test." ;;
    esac
done
# shellcheck disable=SC2086
[ -z "$packages" ] || need_packages $packages

# --- Python ----------------------------------------------------------------------------------
# ansible-core 2.19 runs on 3.11, 3.12 and 3.13.
usable() {
    "$1" -c 'import sys; raise SystemExit(not ((3, 11) <= sys.version_info[:2] <= (3, 13)))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-} /usr/bin/python3 python3 python3.11 python3.12 python3.13; do
        if command -v "$candidate" >/dev/null && usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
}

link=.venv/collections/ansible_collections/aicluster/zerotrust
# The checkout's path is part of the stamp: scripts of a virtual environment hold it.
wanted=$(cat requirements.txt requirements-dev.txt constraints.txt tools/setup.sh <(pwd -P) <(echo "${PYTHON:-}") | sha256sum)
if [ -f .venv/stamp ] && [ "$(cat .venv/stamp)" = "$wanted" ] && [ -e "$link/galaxy.yml" ]; then
    exit 0
fi

python=$(find_python)
[ -n "$python" ] || stop "no Python 3.11, 3.12 or 3.13 was found; install one (Debian 12: apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python3 setup."
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    need_packages python3-venv
    "$python" -c 'import ensurepip, venv' 2>/dev/null || stop "$python has no venv and ensurepip modules; install them or name another: make PYTHON=/path/to/python3 setup."
fi

[ -w . ] || stop "$(pwd) must be writable: .venv is made in it."

free=$(df -Pk . | awk 'NR == 2 {print int($4 / 1024)}')
[ "$free" -ge 1500 ] || stop "the virtual environment needs 1500 MB of disk; $free MB are free in $(pwd)."

step "making .venv with $("$python" --version)"
rm -rf .venv
"$python" -m venv .venv

step "installing the pinned Python packages, about a minute"
log=.venv/pip.log
if ! .venv/bin/python -m pip install --disable-pip-version-check --no-input -r requirements-dev.txt -c constraints.txt >"$log" 2>&1; then
    grep -m 3 -E '^(ERROR|WARNING: Retrying)' "$log" >&2 || tail -3 "$log" >&2
    stop "pip could not install the requirements (whole log: $log); it needs the network and a Python package index, the default one or yours in PIP_INDEX_URL."
fi

# Python finds the collection by a path file, Ansible by collections_path in ansible.cfg.
mkdir -p "$(dirname "$link")"
ln -sfn ../../../.. "$link"
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "../../../collections" >"$site/aicluster_zerotrust.pth"

echo "$wanted" >.venv/stamp
step "done"
