# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Workload API gives: certificates and bundle. Private keys in its answer are dropped while it is parsed."""

from __future__ import annotations

import base64
import calendar
import contextlib
import json
import os
import re
import tempfile
import textwrap
import time
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.spire.host import SpireError, run

# The fields that we want; every other one, the private key among them, does not outlive the parser.
_KEEP = {"svids", "spiffe_id", "x509_svid", "bundle", "hint"}


def observe(binary: str, socket: str, now: float) -> dict[str, t.Any]:
    """The result of svid_info. now: the host's clock, epoch seconds."""
    result: dict[str, t.Any] = {"schema": 1, "state": "unknown", "error": None, "svids": [], "bundle_size": 0}
    argv = [binary, "api", "fetch", "x509", "-socketPath", socket, "-timeout", "5s", "-output", "json"]
    try:
        done = run(argv, timeout=15, check=False)
        if done.returncode:
            result["error"] = (done.stderr.strip() or "no message")[-400:]
            # the API's own answer for a caller without an identity; everything else is not knowing
            result["state"] = "denied" if "no identity issued" in result["error"] else "unknown"
            return result
        answer = parse(done.stdout)
        del done
        bundles = {item["bundle"] for item in answer}
        result["bundle_size"] = sum(len(certificates(bundle)) for bundle in bundles)
        result["svids"] = [describe(item, now) for item in answer]
        result["state"] = "issued"
    except SpireError as error:
        result["error"] = str(error)
    return result


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
        body = "\n".join(textwrap.wrap(base64.b64encode(data[:length]).decode(), 64))
        found.append(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
        data = data[length:]
    return found


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


def describe(item: t.Mapping[str, str], now: float) -> dict[str, t.Any]:
    chain, bundle = certificates(item["x509_svid"]), certificates(item["bundle"])
    if not chain:
        raise SpireError("the agent's answer holds an SVID without a certificate")
    argv = ["openssl", "x509", "-noout", "-serial", "-dates", "-ext", "subjectAltName"]
    said = run(argv, stdin=chain[0]).stdout
    verified, why = _verify(chain, bundle)
    uris = re.findall(r"URI:([^,\s]+)", said)
    if uris != [item["spiffe_id"]]:
        verified, why = False, f"the certificate is for {uris}"
    ends = _epoch(said, "notAfter")
    return {
        "spiffe_id": item["spiffe_id"],
        "hint": item["hint"],
        "serial": _field(said, "serial").lower(),
        "not_before": _epoch(said, "notBefore"),
        "not_after": ends,
        "seconds_left": round(ends - now),
        "chain_length": len(chain),
        "verified": verified,
        "why": why,
    }


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
