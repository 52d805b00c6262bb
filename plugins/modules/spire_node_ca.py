#!/usr/bin/python
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module spire_node_ca."""

from __future__ import annotations

DOCUMENTATION = r"""
module: spire_node_ca
short_description: Keep the CA that SPIRE agents prove their hosts with, and sign their requests
version_added: 0.2.0
description:
  - Makes, once, a CA on the SPIRE server's host (ECDSA P-256, ten years). Its key is readable by root only and never
    leaves the host.
  - Signs requests of hosts. A request must be signed by its own key and ask for the common name of the host that it is
    given for.
  - A CA that is lost, or half of it, is refused and never made anew in silence, since all agents would have to attest
    again.
  - Run as root. Needs the C(openssl) program.
extends_documentation_fragment:
  - aicluster.zerotrust.attributes
  - aicluster.zerotrust.attributes.host
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - Certificates tell a reader nothing.
  idempotent:
    support: partial
    details:
      - Every request is signed again; M(aicluster.zerotrust.spire_node_credentials) makes one only when it is needed.
options:
  name:
    description: Common name of the CA when it is made.
    type: str
    default: SPIRE hosts
  requests:
    description: Requests in PEM by the names of hosts. Empty values are left out.
    type: dict
    default: {}
  days:
    description: How long the certificates are good.
    type: int
    default: 365
seealso:
  - module: aicluster.zerotrust.spire_node_credentials
author:
  - aicluster.zerotrust contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Keep the CA
  aicluster.zerotrust.spire_node_ca:
  become: true
  register: node_ca
"""

RETURN = r"""
ca:
  description: Certificate of the CA in PEM, empty in check mode where there is none yet.
  returned: always
  type: str
created:
  description: Whether the CA was made, or would be.
  returned: always
  type: bool
certificates:
  description: Certificates in PEM by the names of hosts. Empty in check mode.
  returned: always
  type: dict
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aicluster.zerotrust.plugins.module_utils.identity import render
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node import interpreter
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.spire import openssl
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.spire.host import SpireError, read


def lost() -> str | None:
    """Why the CA must not be made, None where it may be or is there complete."""
    key, certificate = os.path.exists(render.NODE_CA_KEY), os.path.exists(render.NODE_CA)
    if key and certificate:
        return None
    if certificate:
        return f"{render.NODE_CA} is there but its key {render.NODE_CA_KEY} is not: restore the key from your backup"
    in_use = render.NODE_CA in (read(render.CONFIG["server"]) or "")
    if in_use:
        return (
            f"the CA for hosts ({render.NODE_CA} and its key) is lost while the server uses it: restore both from your "
            f"backup. To begin anew, which every agent must attest again for, remove {render.CONFIG['server']}"
        )
    return None


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": "SPIRE hosts"},
            "requests": {"type": "dict", "default": {}},
            "days": {"type": "int", "default": 365},
        },
        supports_check_mode=True,
    )
    refusal = interpreter.too_old() or lost()
    if refusal:
        module.fail_json(msg=refusal)
    given = module.params
    requests = {name: csr for name, csr in sorted(given["requests"].items()) if csr}
    # A key without a certificate is what a broken first run leaves: it has signed nothing, and is replaced.
    created = read(render.NODE_CA) is None
    certificates: dict[str, str] = {}
    try:
        if not module.check_mode:
            if created:
                openssl.make_ca(render.NODE_CA_KEY, render.NODE_CA, given["name"])
            for name, csr in requests.items():
                certificates[name] = openssl.sign(csr, name, render.NODE_CA_KEY, render.NODE_CA, given["days"])
    except SpireError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=created or bool(requests), created=created, ca=read(render.NODE_CA) or "", certificates=certificates
    )


if __name__ == "__main__":
    main()
