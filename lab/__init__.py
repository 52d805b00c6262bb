# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The laboratory: real systemd nodes, a real Kubernetes API server, and a stand-in for the Cilium agents.

Standard library only, so that it runs before any virtual environment exists. docs/lab.md is its manual.
"""
