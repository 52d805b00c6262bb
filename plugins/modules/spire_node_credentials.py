#!/usr/bin/python
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module spire_node_credentials."""

from __future__ import annotations

DOCUMENTATION = r"""
module: spire_node_credentials
short_description: Prepare what a host attests itself to the SPIRE server with
version_added: 0.2.0
description:
  - With O(method=x509pop), makes a private key where there is none, and a signing request where the host has no
    certificate of O(ca) for its name that is good for a third of O(days) still. The key never leaves the host.
  - With O(method=join_token), tells whether the agent needs a token, which is when it holds no SVID that is still good.
  - Run as root. Needs the C(openssl) program.
extends_documentation_fragment:
  - aicluster.zerotrust.attributes
  - aicluster.zerotrust.attributes.host
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  method:
    description: How the host attests.
    type: str
    choices: [x509pop, join_token]
    required: true
  name:
    description: Name of the host, the common name of its certificate.
    type: str
    required: true
  ca:
    description: Certificate of the CA for hosts, in PEM.
    type: str
    default: ""
  certificate:
    description:
      - Path of a certificate that the site has put on the host. It is checked against O(private_key), O(name) and
        O(ca), and nothing is made.
    type: str
    default: ""
  private_key:
    description: Path of its private key.
    type: str
    default: ""
  days:
    description: How long certificates are made for.
    type: int
    default: 365
seealso:
  - module: aicluster.zerotrust.spire_node_ca
author:
  - aicluster.zerotrust contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Prepare the host
  aicluster.zerotrust.spire_node_credentials:
    method: x509pop
    name: "{{ inventory_hostname }}"
  become: true
"""

RETURN = r"""
request:
  description: Signing request in PEM, empty where none is needed, and in check mode.
  returned: always
  type: str
reason:
  description: Why a certificate or a token is needed, empty where none is.
  returned: always
  type: str
token_needed:
  description: Whether the agent needs a join token.
  returned: always
  type: bool
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aicluster.zerotrust.plugins.module_utils.identity import render
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node import interpreter
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.spire import openssl, svid
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.spire.host import SpireError, run


def token_reason() -> str:
    """Why the agent needs a token, empty where it holds an SVID that has not ended."""
    try:
        chain, _bundle = svid.stored(render.STORE)
    except SpireError as error:
        return str(error)
    if not chain:
        return "the agent has never attested"
    ended = run(["openssl", "x509", "-noout", "-checkend", "0"], stdin=chain[0], check=False).returncode
    return "the SVID of the agent has ended" if ended else ""


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "method": {"type": "str", "choices": ["x509pop", "join_token"], "required": True},
            "name": {"type": "str", "required": True},
            "ca": {"type": "str", "default": ""},
            "certificate": {"type": "str", "default": ""},
            "private_key": {"type": "str", "default": ""},
            "days": {"type": "int", "default": 365},
        },
        supports_check_mode=True,
    )
    refusal = interpreter.too_old()
    if refusal:
        module.fail_json(msg=refusal)
    given = module.params
    request, changed = "", False
    try:
        run(["openssl", "version"])
        if given["method"] == "join_token":
            reason = token_reason()
        elif given["certificate"]:
            reason = ""
            found = openssl.unusable(given["certificate"], given["private_key"], given["name"], given["ca"] or None, 0)
            if found:
                raise SpireError(
                    f"spire_node_certificate {given['certificate']} cannot prove {given['name']} to the server: {found}"
                )
        else:
            changed = not os.path.exists(render.NODE_KEY)
            reason = "it has no key" if changed else ""
            if changed and not module.check_mode:
                openssl.make_key(render.NODE_KEY)
            if not changed:
                spare = given["days"] * 86400 // 3
                found = openssl.unusable(
                    render.NODE_CERTIFICATE, render.NODE_KEY, given["name"], given["ca"] or None, spare
                )
                reason = found or ""
            if reason and not module.check_mode:
                request = openssl.request(render.NODE_KEY, given["name"])
    except SpireError as error:
        module.fail_json(msg=str(error))
    needed = given["method"] == "join_token" and bool(reason)
    module.exit_json(changed=changed, request=request, reason=reason, token_needed=needed)


if __name__ == "__main__":
    main()
