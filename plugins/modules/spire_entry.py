#!/usr/bin/python
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module spire_entry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: spire_entry
short_description: Make a set of SPIRE registration entries equal to the given one
version_added: 0.2.0
description:
  - Compares all entries of one set with those that the server has, in one call, and creates, updates and removes what
    differs. Entries are ours by their id, which begins with C(aicluster) and the set's name; no other is ever changed.
  - Everything is checked before the first change. What is removed is removed last.
  - Run as root on the server's host. It talks to the server by its C(spire-server) program and private socket.
extends_documentation_fragment:
  - aicluster.zerotrust.attributes
  - aicluster.zerotrust.attributes.host
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  entries:
    description:
      - The entries, each with C(spiffe_id), C(selectors) (list of C(type:value)), and either C(host) (name of a host
        that is known to the server by O(hosts) or by its join token) or C(parent_id). Further C(x509_svid_ttl),
        C(jwt_svid_ttl) (seconds), C(dns_names) and C(hint).
    type: list
    elements: dict
    required: true
  trust_domain:
    description: Trust domain of the server.
    type: str
    required: true
  hosts:
    description: Hosts whose agents attest by x509pop; each gets an entry that makes C(spiffe://DOMAIN/host/NAME) of it.
    type: list
    elements: str
    default: []
  set_name:
    description: Name of the set. Entries of other sets are never touched.
    type: str
    default: default
  prune:
    description: Remove entries of the set that are not wanted.
    type: bool
    default: true
  allow_prune:
    description: Consent to remove all entries of hosts or of workloads in the set, or more than a fifth of them.
    type: bool
    default: false
  binary:
    description: Path of C(spire-server).
    type: path
    default: /usr/local/bin/spire-server
  socket:
    description: Private socket of the server.
    type: path
    default: /run/spire-server/api.sock
author:
  - aicluster.zerotrust contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Who gets which identity
  aicluster.zerotrust.spire_entry:
    trust_domain: cluster.example
    hosts: [gpu1]
    entries:
      - spiffe_id: spiffe://cluster.example/trainer
        host: gpu1
        selectors: ["systemd:id:trainer.service"]
  become: true
"""

RETURN = r"""
created:
  description: SPIFFE ids of the entries that were created.
  returned: always
  type: list
  elements: str
updated:
  description: SPIFFE ids of the entries that were changed.
  returned: always
  type: list
  elements: str
removed:
  description: SPIFFE ids of the entries that were removed.
  returned: always
  type: list
  elements: str
unchanged:
  description: How many were as they should be.
  returned: always
  type: int
"""

import json
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aicluster.zerotrust.plugins.module_utils.identity import entries as room
from ansible_collections.aicluster.zerotrust.plugins.module_utils.identity.names import (
    Problem,
    segment_problem,
    trust_domain_problem,
)
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node import interpreter
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.spire.host import SpireError, run


def wanted(given: t.Mapping[str, t.Any]) -> list[room.Entry]:
    """The checked entries, those of hosts first. SpireError names every problem."""
    domain, set_name = given["trust_domain"], given["set_name"]
    problems = []
    for variable, reason in (
        ("trust_domain", trust_domain_problem(domain)),
        ("set_name", room.set_problem(set_name)),
    ):
        if reason:
            problems.append(Problem(variable, given[variable], reason))
    problems += [Problem("hosts", host, reason) for host in given["hosts"] if (reason := segment_problem(host))]
    parsed, found = room.parse(given["entries"], domain, set_name, variable="entries")
    if problems or found:
        raise SpireError("; ".join(problem.line() for problem in [*problems, *found]))
    return [*(room.host_alias(domain, host, set_name) for host in sorted(set(given["hosts"]))), *parsed]


class Server:
    def __init__(self, binary: str, socket: str) -> None:
        self.binary, self.socket = binary, socket

    def _call(self, *words: str, data: t.Any = None) -> dict[str, t.Any]:
        argv = [self.binary, "entry", *words, "-socketPath", self.socket, "-output", "json"]
        done = run(argv, stdin=None if data is None else json.dumps(data), check=False)
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            said = (done.stderr.strip() or done.stdout.strip())[-600:] or f"exit status {done.returncode}"
            raise SpireError(f"spire-server entry {words[0]} failed: {said}") from None
        bad = [
            result["status"].get("message", "")
            for result in answer.get("results", [])
            if result.get("status", {}).get("code", 0) != 0
        ]
        if bad or done.returncode:
            raise SpireError(f"spire-server entry {words[0]} refused {len(bad)} entries: {'; '.join(bad[:5])}")
        return answer

    def entries(self) -> list[room.Entry]:
        return room.from_server(self._call("show").get("entries") or [])

    def change(self, verb: str, items: t.Sequence[room.Entry]) -> None:
        if items:
            self._call(verb, "-data", "-", data={"entries": [entry.data() for entry in items]})

    def delete(self, items: t.Sequence[room.Entry]) -> None:
        if items:
            self._call("delete", "-file", "-", data={"ids": [entry.entry_id for entry in items]})


def diff(changes: room.Changes) -> dict[str, str]:
    pairs = [(None, new) for new in changes.create] + list(changes.update) + [(old, None) for old in changes.delete]
    sides = ["".join("".join([*entry.lines(), "\n"]) for entry in side if entry) for side in zip(*pairs)] or ["", ""]
    return {"before": sides[0], "after": sides[1]}


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "entries": {"type": "list", "elements": "dict", "required": True},
            "trust_domain": {"type": "str", "required": True},
            "hosts": {"type": "list", "elements": "str", "default": []},
            "set_name": {"type": "str", "default": "default"},
            "prune": {"type": "bool", "default": True},
            "allow_prune": {"type": "bool", "default": False},
            "binary": {"type": "path", "default": "/usr/local/bin/spire-server"},
            "socket": {"type": "path", "default": "/run/spire-server/api.sock"},
        },
        supports_check_mode=True,
    )
    given = module.params
    server = Server(given["binary"], given["socket"])
    begun = False
    try:
        refusal = interpreter.too_old()
        if refusal:
            raise SpireError(refusal)
        changes = room.compare(wanted(given), server.entries(), given["set_name"], prune=given["prune"])
        if changes.foreign:
            raise SpireError(
                "; ".join(
                    f"{new.spiffe_id} with the same parent and selectors is there already as {old.entry_id}, which "
                    f"is not of the set {given['set_name']}: remove it, or leave it out here"
                    for new, old in changes.foreign
                )
            )
        reason = room.prune_refusal(changes)
        if reason and not given["allow_prune"]:
            raise SpireError(f"{reason}: nothing was changed; to do it, consent to prune in this run")
        if not module.check_mode:
            begun = changes.any
            server.change("create", changes.create)
            server.change("update", [new for _old, new in changes.update])
            server.delete(changes.delete)
    except SpireError as error:
        module.fail_json(msg=str(error), changed=begun)
    result: dict[str, t.Any] = {
        "changed": changes.any,
        "created": [entry.spiffe_id for entry in changes.create],
        "updated": [new.spiffe_id for _old, new in changes.update],
        "removed": [entry.spiffe_id for entry in changes.delete],
        "unchanged": len(changes.kept),
    }
    if module._diff:
        result["diff"] = diff(changes)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
