# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What identity a host has: the Workload API's answer, the agent and its own SVID, and the server.

Private keys in the Workload API's answer are dropped while it is parsed; no other file or answer read here has one.
"""

from __future__ import annotations

import base64
import calendar
import contextlib
import hashlib
import json
import os
import re
import tempfile
import textwrap
import time
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.spire.host import SpireError, read, run

# The fields that we want; every other one, the private key among them, does not outlive the parser.
_KEEP = {"svids", "spiffe_id", "x509_svid", "bundle", "hint"}


Json = dict[str, t.Any]


def observe(binary: str, socket: str, store: str, now: float) -> Json:
    """The result of svid_info without the server's part. now: the host's clock, epoch seconds.

    store: the agent's agent-data.json.
    """
    result: Json = {
        "schema": 2,
        "epoch": now,
        "state": "unknown",
        "error": None,
        "svids": [],
        "bundle_size": 0,
        "agent": {},
        "bundle": [],
        "server": None,
    }
    _fetch(result, binary, socket, now)
    agent: Json = {"service": service_state("agent"), "healthy": healthy(binary, socket)}
    agent["workload_api"] = True if result["state"] != "unknown" else agent["healthy"] and None
    agent["state"], agent["why"] = _judge(agent, result["error"])
    agent.update(svid=None, error=None)
    try:
        chain, authorities = stored(store)
        agent["svid"] = certificate(chain, authorities, now) if chain else None
        result["bundle"] = bundle(authorities, now)
    except SpireError as error:
        agent["error"] = str(error)
    result["agent"] = agent
    return result


def _judge(agent: t.Mapping[str, t.Any], error: str | None) -> tuple[str, str | None]:
    """("up" | "down" | "unknown", why)."""
    if agent["service"] not in ("active", "unknown"):
        return "down", f"spire-agent.service is {agent['service']}"
    if agent["healthy"] is False:
        return "down", error or "its health check fails"
    if agent["healthy"] is None or agent["workload_api"] is None or agent["service"] == "unknown":
        return "unknown", error or "it could not be asked"
    return "up", None


def _fetch(result: Json, binary: str, socket: str, now: float) -> None:
    argv = [binary, "api", "fetch", "x509", "-socketPath", socket, "-timeout", "5s", "-output", "json"]
    try:
        done = run(argv, timeout=15, check=False)
        if done.returncode:
            result["error"] = (done.stderr.strip() or "no message")[-400:]
            # the API's own answer for a caller without an identity; everything else is not knowing
            result["state"] = "denied" if "no identity issued" in result["error"] else "unknown"
            return
        answer = parse(done.stdout)
        del done
        bundles = {item["bundle"] for item in answer}
        result["bundle_size"] = sum(len(certificates(bundle)) for bundle in bundles)
        result["svids"] = [describe(item, now) for item in answer]
        result["state"] = "issued"
    except SpireError as error:
        result["error"] = str(error)


def stored(path: str) -> tuple[list[str], list[str]]:
    """The agent's own SVID with its chain, and its trust bundle, in PEM; empty before it has attested.

    Its store holds base64 of PEM, and certificates only: the key is in another file.
    """
    try:
        text = read(path)
        data = json.loads(text) if text else {}
        found = [
            [re.sub(r"\s*$", "\n", base64.b64decode(item).decode("ascii")) for item in data.get(name) or []]
            for name in ("svid", "bundle")
        ]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise SpireError(f"{path} cannot be read: {type(error).__name__}") from None
    return found[0], found[1]


def server(binary: str, socket: str, set_name: str, prefix: str, now: float) -> Json:
    """The server's part: its CA, bundle, entries and agents. What could not be read is None, and error says why.

    prefix: how the ids of the set's entries begin.
    """
    result: Json = {"service": service_state("server"), "healthy": healthy(binary, socket), "trust_domain": None}
    result.update(ca=None, bundle=[], entries=None, agents=None, error=None)

    def ask(*words: str) -> Json:
        done = run([binary, *words, "-socketPath", socket, "-output", "json"])
        try:
            return t.cast("Json", json.loads(done.stdout))
        except ValueError:
            raise SpireError(f"spire-server {' '.join(words)} gave no JSON") from None

    try:
        active = ask("localauthority", "x509", "show").get("active")
        if active:
            ends = int(active["expires_at"])
            result["ca"] = {
                "authority_id": active["authority_id"],
                "not_after": ends,
                "seconds_left": round(ends - now),
            }
        trust = ask("bundle", "show")
        result["trust_domain"] = trust["trust_domain"]
        result["bundle"] = bundle([_pem(base64.b64decode(one["asn1"])) for one in trust["x509_authorities"]], now)
        ids = [str(entry["id"]) for entry in ask("entry", "show").get("entries") or []]
        ours = sum(one.startswith(prefix) for one in ids)
        result["entries"] = {"set": set_name, "ours": ours, "total": len(ids)}
        result["agents"] = _agents(ask("agent", "list").get("agents") or [], now)
    except (SpireError, KeyError, TypeError, ValueError) as error:
        result["error"] = str(error) if isinstance(error, SpireError) else f"the server's answer lacks {error}"
    return result


def _agents(listed: t.Sequence[t.Mapping[str, t.Any]], now: float) -> Json:
    """Counts, and the hosts by the common name that x509pop attested."""
    hosts: Json = {}
    ends = [int(agent.get("x509svid_expires_at") or 0) for agent in listed]
    for agent, end in zip(listed, ends):
        names = [
            pair["value"][len("subject:cn:") :]
            for pair in agent.get("selectors") or []
            if pair["type"] == "x509pop" and pair["value"].startswith("subject:cn:")
        ]
        # a host that attested again with another certificate is listed twice: the living one counts
        if names and (names[0] not in hosts or hosts[names[0]]["not_after"] < end):
            hosts[names[0]] = {
                "spiffe_id": f"spiffe://{agent['id']['trust_domain']}{agent['id']['path']}",
                "not_after": end,
                "seconds_left": round(end - now),
                "banned": bool(agent.get("banned")),
            }
    return {
        "total": len(listed),
        "expired": sum(end <= now for end in ends),
        "banned": sum(bool(agent.get("banned")) for agent in listed),
        "hosts": hosts,
    }


def service_state(component: str) -> str:
    """What systemd says of the service, "unknown" where it says nothing."""
    try:
        return run(["systemctl", "is-active", f"spire-{component}.service"], check=False).stdout.strip() or "unknown"
    except SpireError:
        return "unknown"


def healthy(binary: str, socket: str) -> bool | None:
    """The program's own health check; None where it could not be run."""
    try:
        return run([binary, "healthcheck", "-socketPath", socket], check=False, timeout=20).returncode == 0
    except SpireError:
        return None


def parse(text: str) -> list[dict[str, str]]:
    """[{"spiffe_id", "x509_svid", "bundle", "hint"}] of the agent's JSON; certificates are base64 of joined DER."""

    def known(pairs: list[tuple[str, t.Any]]) -> dict[str, t.Any]:
        return {name: value for name, value in pairs if name in _KEEP}

    try:
        answer = json.loads(text, object_pairs_hook=known)
        items = answer["svids"] if isinstance(answer, dict) else answer[0]["svids"]
        return [{name: str(item.get(name) or "") for name in _KEEP - {"svids"}} for item in items]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        # no chained exception: its text could quote the answer
        raise SpireError("the agent's answer is not the JSON that SPIRE 1.15 gives") from None


def certificates(joined: str) -> list[str]:
    """PEM of each certificate in base64 of concatenated DER."""
    data = base64.b64decode(joined)
    found = []
    while data:
        length = _der_length(data)
        found.append(_pem(data[:length]))
        data = data[length:]
    return found


def _pem(data: bytes) -> str:
    body = "\n".join(textwrap.wrap(base64.b64encode(data).decode(), 64))
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"


def _der_length(data: bytes) -> int:
    """Bytes of the first DER SEQUENCE, its header included."""
    if len(data) < 2 or data[0] != 0x30:
        raise SpireError("the agent's answer holds what is not a certificate")
    if data[1] < 0x80:
        total = 2 + data[1]
    else:
        octets = data[1] & 0x7F
        total = 2 + octets + int.from_bytes(data[2 : 2 + octets], "big")
    if total > len(data):
        raise SpireError("the agent's answer holds a certificate that is cut off")
    return total


def describe(item: t.Mapping[str, str], now: float) -> Json:
    chain, authorities = certificates(item["x509_svid"]), certificates(item["bundle"])
    if not chain:
        raise SpireError("the agent's answer holds an SVID without a certificate")
    found = certificate(chain, authorities, now)
    if found["spiffe_id"] != item["spiffe_id"]:
        found.update(verified=False, why=f"the certificate is for {found['spiffe_id']}")
    return {**found, "spiffe_id": item["spiffe_id"], "hint": item["hint"]}


def certificate(chain: list[str], bundle: list[str], now: float) -> Json:
    """An X.509 SVID, and whether it leads to the bundle."""
    argv = ["openssl", "x509", "-noout", "-serial", "-dates", "-ext", "subjectAltName"]
    said = run(argv, stdin=chain[0]).stdout
    verified, why = _verify(chain, bundle)
    uris = re.findall(r"URI:([^,\s]+)", said)
    if len(uris) != 1:
        verified, why = False, f"the certificate is for {uris}"
    ends = _epoch(said, "notAfter")
    return {
        "spiffe_id": ", ".join(uris),
        "serial": _field(said, "serial").lower(),
        "not_before": _epoch(said, "notBefore"),
        "not_after": ends,
        "seconds_left": round(ends - now),
        "chain_length": len(chain),
        "verified": verified,
        "why": why,
    }


def bundle(pems: t.Sequence[str], now: float) -> list[Json]:
    """The authorities of a trust bundle, by the digest of their DER."""
    found = []
    for pem in pems:
        ends = _epoch(run(["openssl", "x509", "-noout", "-dates"], stdin=pem).stdout, "notAfter")
        digest = hashlib.sha256(base64.b64decode("".join(pem.split("-----")[2].split()))).hexdigest()
        found.append({"sha256": digest, "not_after": ends, "seconds_left": round(ends - now)})
    return sorted(found, key=lambda one: str(one["sha256"]))


def _field(said: str, name: str) -> str:
    found = re.search(rf"^{name}=(.*)$", said, re.MULTILINE)
    if not found:
        raise SpireError(f"openssl did not tell {name} of the SVID")
    return found[1].strip()


def _epoch(said: str, name: str) -> int:
    return calendar.timegm(time.strptime(_field(said, name), "%b %d %H:%M:%S %Y %Z"))


def _verify(chain: list[str], bundle: list[str]) -> tuple[bool | None, str | None]:
    """Whether openssl finds a path from the SVID to the bundle; certificates are public, so files may hold them."""
    if not bundle:
        return False, "no bundle came with it"
    with contextlib.ExitStack() as stack:
        paths = [stack.enter_context(_file("".join(pems))) for pems in (bundle, chain[1:]) if pems]
        argv = ["openssl", "verify", "-CAfile", paths[0], *(["-untrusted", paths[1]] if len(paths) > 1 else [])]
        try:
            done = run(argv, stdin=chain[0], check=False)
        except SpireError as error:
            return None, str(error)
    if done.returncode:
        return False, (done.stderr.strip() or done.stdout.strip())[-300:]
    return True, None


@contextlib.contextmanager
def _file(text: str) -> t.Iterator[str]:
    handle, path = tempfile.mkstemp(prefix="aicluster-svid-")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(text)
        yield path
    finally:
        os.unlink(path)
