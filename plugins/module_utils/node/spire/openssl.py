# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys and certificates of hosts by the openssl program: private keys stay in 0600 files."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.spire.host import SpireError, read, run, write

# A configuration of our own: the system's may add extensions, or be missing.
_CONFIG = """[req]
distinguished_name = dn
[dn]
[ca]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[host]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
"""
CA_DAYS = 3650


def make_key(path: str) -> None:
    """An ECDSA P-256 key in a 0600 file; the program writes it, so that it is in no memory of ours."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    part = f"{path}.{os.getpid()}"
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", part])
        os.chmod(part, 0o600)
        os.rename(part, path)
    except BaseException:
        os.unlink(part)
        raise


def make_ca(key: str, certificate: str, name: str) -> None:
    """A self-signed CA for hosts, good for ten years. The certificate is written last."""
    os.makedirs(os.path.dirname(key), mode=0o755, exist_ok=True)
    make_key(key)
    with _config() as config:
        argv = ["openssl", "req", "-x509", "-new", "-sha256", "-config", config, "-extensions", "ca", "-key", key]
        made = run([*argv, "-subj", f"/CN={name}", "-days", str(CA_DAYS)])
    write(certificate, made.stdout, 0o644)


def request(key: str, name: str) -> str:
    """A certificate signing request (PEM) with the common name, signed by the key: the proof that its maker has it."""
    with _config() as config:
        return run(["openssl", "req", "-new", "-sha256", "-config", config, "-key", key, "-subj", f"/CN={name}"]).stdout


def sign(csr: str, name: str, ca_key: str, ca_certificate: str, days: int) -> str:
    """The certificate (PEM) for a request. SpireError where its signature or its common name is not the host's."""
    seen = run(["openssl", "req", "-verify", "-noout", "-subject", "-nameopt", "RFC2253"], stdin=csr, check=False)
    subject = re.search(r"^subject\s*=\s*(.*)$", seen.stdout, re.MULTILINE)
    if seen.returncode or "verify OK" not in seen.stdout + seen.stderr:
        raise SpireError(f"the signing request of {name} is not signed by its own key; nothing was signed for it")
    if not subject or subject[1].strip() != f"CN={name}":
        asked = subject[1].strip() if subject else "nothing"
        raise SpireError(f"the signing request of {name} asks for {asked!r}; nothing was signed for it")
    with _config() as config:
        argv = ["openssl", "x509", "-req", "-sha256", "-CA", ca_certificate, "-CAkey", ca_key, "-days", str(days)]
        argv += ["-set_serial", f"0x{secrets.token_hex(16)}", "-extfile", config, "-extensions", "host"]
        return run(argv, stdin=csr).stdout


def public_key(path: str, certificate: bool) -> str:
    if certificate:
        return run(["openssl", "x509", "-in", path, "-noout", "-pubkey"]).stdout
    return run(["openssl", "pkey", "-in", path, "-pubout"]).stdout


def unusable(certificate: str, key: str, name: str, ca: str | None, spare_seconds: int) -> str | None:
    """Why the host needs another certificate, None when it has a good one for that long. ca: PEM of the CA."""
    if read(certificate) is None:
        return "it has none"
    try:
        if public_key(certificate, True) != public_key(key, False):
            return "it is for another key"
        argv = ["openssl", "x509", "-in", certificate, "-noout"]
        subject = run([*argv, "-subject", "-nameopt", "RFC2253"]).stdout.split("=", 1)[-1].strip()
        if subject != f"CN={name}":
            return f"it is for {subject!r}"
        # intermediate certificates may follow the host's own
        verify = ["openssl", "verify", "-CAfile", "/dev/stdin", "-untrusted", certificate, certificate]
        if ca and run(verify, stdin=ca, check=False).returncode:
            return "it is not of the server's CA for hosts, or has expired"
        if run([*argv, "-checkend", str(spare_seconds)], check=False).returncode:
            return f"it ends within {spare_seconds // 86400} days" if spare_seconds else "it has ended"
    except SpireError as error:
        return f"it cannot be read ({error})"
    return None


class _config:
    """A temporary openssl configuration file as a context manager."""

    def __enter__(self) -> str:
        handle, self._path = tempfile.mkstemp(prefix="aicluster-openssl-")
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(_CONFIG)
        return self._path

    def __exit__(self, *_error: t.Any) -> None:
        os.unlink(self._path)
