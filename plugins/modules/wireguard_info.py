#!/usr/bin/python
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module wireguard_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wireguard_info
short_description: Read the state of a WireGuard device, and provoke its idle peers
version_added: 0.1.0
description:
  - Reads a WireGuard device from the kernel (generic netlink), else from the socket of a userspace implementation such
    as wireguard-go. The C(wg) program is not needed.
  - Private and preshared keys are dropped while reading and are never in the result.
  - A peer without traffic has no handshake, which proves nothing. With O(provoke) the module B(sends traffic), one UDP
    datagram of one byte to the discard port (9) of each idle peer's allowed IP, from a socket bound to the device. It
    sends to about 20 peers a second, in random order, and then waits for their handshakes.
  - Run as root.
extends_documentation_fragment:
  - aicluster.zerotrust.attributes
  - aicluster.zerotrust.attributes.host
attributes:
  check_mode:
    support: full
    details:
      - It changes no setting. In check mode it sends nothing either, so RV(wireguard.provoked) is empty.
  diff_mode:
    support: N/A
    details:
      - It changes no setting.
  idempotent:
    support: full
    details:
      - It changes no setting. With O(provoke) it sends again only to peers that are idle again.
options:
  device:
    description: Name of the network interface.
    type: str
    default: cilium_wg0
  provoke:
    description: Send one datagram to each peer of O(provoke_targets), then read again.
    type: bool
    default: false
  provoke_targets:
    description:
      - Whom to provoke. By default every peer without a handshake in the last 150 seconds, at its first allowed IPv4
        address, or IPv6 where it has no other. A peer without allowed IPs cannot be sent to and is left out.
    type: list
    elements: dict
    suboptions:
      public_key:
        description: Public key of the peer.
        type: str
        required: true
      allowed_ip:
        description: Address, or network whose first address is taken.
        type: str
        required: true
  wait_seconds:
    description: How long to wait, after the last datagram, until each peer provoked has a newer handshake or has
      received more. It ends sooner when all have.
    type: float
    default: 4
seealso:
  - module: aicluster.zerotrust.node_info
author:
  - aicluster.zerotrust contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Read Cilium's WireGuard device, with its idle peers woken
  aicluster.zerotrust.wireguard_info:
    provoke: true
  register: zerotrust_wireguard
  become: true

- name: Only read another device
  aicluster.zerotrust.wireguard_info:
    device: wg0
  become: true
"""

RETURN = r"""
wireguard:
  description: The state of the device.
  returned: always
  type: dict
  contains:
    schema:
      description: Version of this shape.
      type: int
      returned: always
      sample: 1
    device:
      description: Name of the interface.
      type: str
      returned: always
    present:
      description: Whether there is such a device, V(null) where RV(wireguard.error) says why that is not known.
      type: bool
      returned: always
    implementation:
      description: V(kernel) or V(userspace), V(null) without a device.
      type: str
      returned: always
    public_key:
      description: The device's own public key, V(null) where it has none.
      type: str
      returned: always
    listen_port:
      description: UDP port.
      type: int
      returned: always
    fwmark:
      description: Mark of the packets that it sends, 0 for none.
      type: int
      returned: always
    epoch:
      description: Host clock when RV(wireguard.peers) was read.
      type: float
      returned: always
    peers:
      description: Peers after the provocation, with public_key, endpoint, allowed_ips, last_handshake_epoch (0 for
        none), rx_bytes, tx_bytes and keepalive (seconds, 0 for off).
      type: list
      elements: dict
      returned: always
    provoked:
      description: Datagrams, with public_key, target (address), at (host clock), sent and error.
      type: list
      elements: dict
      returned: always
    before:
      description: By public key last_handshake_epoch, rx_bytes and tx_bytes before the provocation.
      type: dict
      returned: always
    error:
      description: Why the device could not be read, V(null) where it was read or is surely absent.
      type: str
      returned: always
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node import interpreter, tunnel


def arguments() -> dict[str, t.Any]:
    target = {
        # no_log false: a public key is no secret, and Ansible suspects every name that ends in _key
        "public_key": {"type": "str", "required": True, "no_log": False},
        "allowed_ip": {"type": "str", "required": True},
    }
    return {
        "device": {"type": "str", "default": "cilium_wg0"},
        "provoke": {"type": "bool", "default": False},
        "provoke_targets": {"type": "list", "elements": "dict", "options": target},
        "wait_seconds": {"type": "float", "default": 4},
    }


def main() -> t.NoReturn:
    module = AnsibleModule(argument_spec=arguments(), supports_check_mode=True)
    refusal = interpreter.too_old()
    if refusal:
        module.fail_json(msg=refusal)
    params = module.params
    state = tunnel.observe(
        params["device"],
        provoke=params["provoke"] and not module.check_mode,
        targets=params["provoke_targets"],
        wait=params["wait_seconds"],
    )
    module.exit_json(changed=False, wireguard=state)


if __name__ == "__main__":
    main()
