# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of a host that are armed first: the host itself restores its old state unless the change is confirmed.

rollback_program is the program that the host's timers run; frozen, inspect, systemd and host are the module's side.
"""
