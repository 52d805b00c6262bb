#!/usr/bin/python
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module istio_cacerts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: istio_cacerts
short_description: Give istiod the site's CA as the Secret cacerts
version_added: 0.1.0
description:
  - Reads the CA's four files on the host that it runs on and makes the Secret C(cacerts) of them. Their content goes to
    the API server and nowhere else, neither into results, nor into diffs or logs.
  - The files are checked first. All must be there, the key must be the certificates' and readable by its owner only.
  - An existing Secret is never overwritten. It is compared, and a differing one fails the task (ZT649).
extends_documentation_fragment: [aicluster.zerotrust.kubernetes]
attributes:
  check_mode:
    support: full
    description: Checks and compares, and says whether the Secret would be made.
  diff_mode:
    support: none
    description: What it writes is secret.
options:
  namespace:
    description: Namespace of istiod.
    type: str
    default: istio-system
  path:
    description: Folder with C(ca-cert.pem), C(ca-key.pem), C(root-cert.pem) and C(cert-chain.pem).
    type: path
    required: true
author:
  - aicluster.zerotrust contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Give istiod its CA
  aicluster.zerotrust.istio_cacerts:
    path: /etc/aicluster/istio-ca
"""

RETURN = r"""
secret:
  description: The Secret, as namespace and name.
  returned: success
  type: str
  sample: istio-system/cacerts
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster import mesh_files
from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import (
    CONNECTION_OPTIONS,
    ApiError,
    connect,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            "namespace": {"type": "str", "default": "istio-system"},
            "path": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        client = connect(given["kubeconfig"], given["context"])
        changed = mesh_files.ensure_ca(client, given["namespace"], given["path"], module.check_mode)
    except mesh_files.CaError as error:
        module.fail_json(msg=str(error))
    except ApiError as error:
        module.fail_json(msg=error.message)
    module.exit_json(changed=changed, secret=f"{given['namespace']}/{mesh_files.SECRET}")


if __name__ == "__main__":
    main()
