# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that all modules of the action group `cluster` share."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path of the kubeconfig on the host that runs the module.
      - Without it E(K8S_AUTH_KUBECONFIG), E(KUBECONFIG) and C(~/.kube/config) are tried in this order,
        then the service account of a Pod.
    type: path
  context:
    description:
      - Context in the kubeconfig. Without it E(K8S_AUTH_CONTEXT), else the kubeconfig's current context.
    type: str
requirements:
  - kubernetes (Python package) on the host that runs the module
attributes:
  check_mode:
    description: Can run in check mode and return what it would do, without changing the cluster.
"""
