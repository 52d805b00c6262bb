#!/usr/bin/python
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module node_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_info
short_description: Read what a host is, kernel, network interfaces, RDMA, clock and who uses it
version_added: 0.1.0
description:
  - Reads in one call what preflight, plan and report need to know of a host, from procfs, sysfs and netlink.
  - It starts no process, loads no kernel module and writes nothing. The result has at most 64 kB.
  - What cannot be read is named in RV(node.unknown) and never fails the task. A value of V(null) stands for unknown,
    a file that is not there for what its absence means.
  - Run as root. Others cannot see whose files are open, so RV(node.busy) is partly V(null) for them.
extends_documentation_fragment:
  - aicluster.zerotrust.attributes
  - aicluster.zerotrust.attributes.info
  - aicluster.zerotrust.attributes.host
options:
  controller_epoch:
    description:
      - Seconds since the epoch by the controller's clock when it sent the task.
      - Given back as C(clock.controller_epoch); the plan judges the clock of the host by it.
    type: float
seealso:
  - module: aicluster.zerotrust.wireguard_info
  - module: aicluster.zerotrust.path_probe
author:
  - aicluster.zerotrust contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Read what the host is
  aicluster.zerotrust.node_info:
  register: zerotrust_node
  become: true
"""

RETURN = r"""
node:
  description: The facts of the host.
  returned: always
  type: dict
  contains:
    schema:
      description: Version of this shape.
      type: int
      returned: always
      sample: 1
    hostname:
      description: Name that the kernel has.
      type: str
      returned: always
    machine_id:
      description: Content of /etc/machine-id, by which the host is recognised as a Node.
      type: str
      returned: always
    boot_id:
      description: Differs after each boot.
      type: str
      returned: always
    os:
      description: Values id, version_id, pretty_name and id_like (a list) of os-release.
      type: dict
      returned: always
    kernel:
      description:
        - Values release, arch, config (source and options), btf, lockdown, fips and wireguard.
        - In a config that was read, an option that is not set is V(n). Where none was read options is empty and source
          is V(null).
        - The value of wireguard is V(builtin), V(loaded), V(available) (a module of this kernel is on the disk),
          V(missing) or V(unknown).
      type: dict
      returned: always
    modules:
      description: Loaded kernel modules, only those that the collection has a rule or a message about.
      type: list
      elements: str
      returned: always
    cgroup:
      description: Value version is V(v1), V(v2), V(hybrid) or V(none).
      type: dict
      returned: always
    clock:
      description:
        - Values epoch (seconds, host clock) and synchronised.
        - A clock is synchronised while the kernel's estimate of its error is below 16 seconds, as systemd judges it.
      type: dict
      returned: always
    python:
      description: Version of the Python that ran the module.
      type: str
      returned: always
    systemd:
      description: Version of the running systemd, V(null) where another init runs.
      type: str
      returned: always
    virtualization:
      description: Container manager or hypervisor, V(none) on bare metal, V(null) where it cannot be told.
      type: str
      returned: always
    sysctls:
      description: Values by name, without those that this kernel does not have.
      type: dict
      returned: always
    interfaces:
      description:
        - Network interfaces with name, index, mac, mtu, min_mtu, max_mtu, operstate, kind, driver, pci, is_vf, rdma
          (names of RDMA devices), master, parent, addresses and speed_mbit.
        - The value of kind is what the kernel calls it, or V(physical) (a device of a driver), V(loopback), V(virtual).
        - Loopback addresses and IPv6 link-local ones are left out; above 32 addresses the rest is counted in
          addresses_skipped.
        - rdma names the devices of the interface itself. A bond or VLAN over an RDMA interface has its own list.
      type: list
      elements: dict
      returned: always
    interfaces_skipped:
      description:
        - Number of interfaces left out, by kind. Of a virtual kind (and of V(vf)) with more than 32 members only those
          with an address or a default route are described.
      type: dict
      returned: always
    routes:
      description: At most 64 unicast routes of the main table, default first, with dst, family, gateway, interface,
        mtu and metric. A multipath route gives one entry for each next hop.
      type: list
      elements: dict
      returned: always
    routes_skipped:
      description: Number of routes beyond those.
      type: int
      returned: always
    rdma:
      description: At most 64 RDMA devices with name and ports (port, state, link_layer, netdev).
      type: list
      elements: dict
      returned: always
    rdma_skipped:
      description: Number of RDMA devices beyond those.
      type: int
      returned: always
    busy:
      description:
        - Numbers of processes in gpu_processes, verbs_users and slurm_steps, V(0) where the host has no such device,
          V(null) where it could not be determined.
        - Daemons that hold every GPU open (nvidia-persistenced, fabric manager, DCGM, device plugin) are not counted.
          Users of RDMA inside the kernel, such as NFS, hold no file and are not seen.
      type: dict
      returned: always
    unknown:
      description: What could not be observed, with what and why.
      type: list
      elements: dict
      returned: always
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node import interpreter
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.observe import observe


def main() -> t.NoReturn:
    module = AnsibleModule(argument_spec={"controller_epoch": {"type": "float"}}, supports_check_mode=True)
    refusal = interpreter.too_old()
    if refusal:
        module.fail_json(msg=refusal)
    node = observe()
    if module.params["controller_epoch"] is not None:
        node["clock"]["controller_epoch"] = module.params["controller_epoch"]
    module.exit_json(changed=False, node=node)


if __name__ == "__main__":
    main()
