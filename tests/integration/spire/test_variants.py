# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other ways to SPIRE: join tokens, an authority of one's own, the site's certificates, programs by URL, consent."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import json
import os
import pathlib
import re
import ssl
import subprocess
import threading
import typing as t

import pytest

from lab import build

from .conftest import DOMAIN, World
from .test_spire import HEALTHY

pytestmark = pytest.mark.slow

KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s*(\\n|\n)?\s*[A-Za-z0-9+/]{20}")
CA_EXTENSIONS = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
NODE_EXTENSIONS = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Authority:
    """A CA of the site, made by the openssl program."""

    def __init__(self, folder: pathlib.Path, name: str) -> None:
        self.folder, self.key, self.certificate = folder, folder / f"{name}.key", folder / f"{name}.pem"
        self._make(name, CA_EXTENSIONS, None)

    def issue(self, name: str, extensions: str = NODE_EXTENSIONS) -> tuple[pathlib.Path, pathlib.Path]:
        self._make(name, extensions, self)
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def _make(self, name: str, extensions: str, issuer: Authority | None) -> None:
        key, request, out = (str(self.folder / f"{name}.{end}") for end in ("key", "csr", "pem"))
        ext = self.folder / "extensions"
        ext.write_text(extensions, encoding="ascii")
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request)
        signer = ["-CA", str(issuer.certificate), "-CAkey", str(issuer.key)] if issuer else ["-signkey", key]
        openssl("x509", "-req", "-in", request, *signer, "-days", "2", "-extfile", str(ext), "-out", out)


class Mirror(http.server.BaseHTTPRequestHandler):
    """Programs by path; /cut/ ends in the middle, /away/ leads out of TLS."""

    plain_port = 0

    def log_message(self, *_arguments: t.Any) -> None:
        """Nothing: the test's output is for the test."""

    def do_GET(self) -> None:
        _empty, how, name = self.path.split("/")
        if how == "away":
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.plain_port}/good/{name}")
            self.end_headers()
            return
        body = build.cached(name).read_bytes() if name.startswith("spire-") else b"a program\n" * 1000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if how == "cut" else body)


@contextlib.contextmanager
def serving(handler: type, context: ssl.SSLContext | None) -> t.Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"), "site")


@pytest.fixture(scope="module")
def mirror(site: Authority) -> t.Iterator[str]:
    certificate, key = site.issue("mirror", f"{NODE_EXTENSIONS}subjectAltName=IP:127.0.0.1\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving(Mirror, None) as plain:
        handler = type("Secured", (Mirror,), {"plain_port": plain})
        with serving(handler, context) as port:
            yield f"https://127.0.0.1:{port}"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@functools.cache
def program_digest(name: str) -> str:
    return sha256(build.cached(name).read_bytes())


TOY = sha256(b"a program\n" * 1000)


@pytest.mark.parametrize(
    ("how", "digest", "trusted", "said"),
    [
        ("good", "0" * 64, True, "did not match"),
        ("cut", TOY, True, "did not match|[Ii]ncomplete"),
        # a redirect is followed, even out of TLS: the digest decides
        ("away", "0" * 64, True, "did not match"),
        ("good", TOY, False, "CERTIFICATE_VERIFY_FAILED"),
    ],
    ids=["wrong digest", "cut off", "redirect out of TLS", "untrusted certificate"],
)
def test_a_program_that_is_not_what_was_meant_is_not_installed(
    world: World, site: Authority, mirror: str, tmp_path: pathlib.Path, how: str, digest: str, trusted: bool, said: str
) -> None:
    tmp_path.chmod(0o755)
    run = world.play(
        environment={"SSL_CERT_FILE": str(site.certificate)} if trusted else None,
        spire_agent_binary=f"{mirror}/{how}/toy",
        spire_agent_sha256=digest,
        spire_download_dir=str(tmp_path),
    )
    assert run.rc != 0
    assert re.search(said, run.output), run.output[-3000:]
    assert not any(run.changed.values()), run.changed


def findings(text: str, *others: str) -> list[str]:
    """Secrets in a text: private keys and the given ones."""
    return [match[0][:40] for match in KEY.finditer(text)] + [other for other in others if other in text]


def world_readable_keys(world: World, node: str) -> list[str]:
    command = (
        "find /etc /var /run /tmp /opt /usr/local -xdev -type f -perm -o=r -size -1024k "
        r"-exec grep -lE 'BEGIN [A-Z ]*PRIVATE KEY' {} + 2>/dev/null"
    )
    return world.on(node, command, check=False).stdout.split()


def test_join_tokens_an_authority_of_ones_own_and_programs_by_url(
    world: World, site: Authority, mirror: str, tmp_path: pathlib.Path
) -> None:
    world.wipe()
    world.on("cp1", "id spire-server >/dev/null 2>&1 || useradd --system --no-create-home spire-server")
    for name, source in (("ca.pem", site.certificate), ("ca.key", site.key)):
        world.put("cp1", f"/etc/pki-upstream/{name}", source.read_text(encoding="ascii"), "0600")
    world.on("cp1", "chown -R spire-server /etc/pki-upstream")
    given: dict[str, t.Any] = {
        "environment": {"SSL_CERT_FILE": str(site.certificate)},
        "spire_node_attestation": "join_token",
        "spire_upstream_authority": {
            "type": "disk",
            "certificate": "/etc/pki-upstream/ca.pem",
            "private_key": "/etc/pki-upstream/ca.key",
        },
        **{f"spire_{what}_binary": f"{mirror}/good/spire-{what}" for what in ("server", "agent")},
        **{f"spire_{what}_sha256": program_digest(f"spire-{what}") for what in ("server", "agent")},
        "spire_download_dir": str(tmp_path),
    }
    try:
        run = world.play("-vvv", "--diff", **given)
        assert run.rc == 0, run.output[-4000:]
        assert world.svid("gpu1", "trainer.service")["spiffe_id"] == f"spiffe://{DOMAIN}/trainer"
        # the trust bundle is the site's authority, which is not SPIRE's own
        bundle = world.on("gpu1", "openssl x509 -in /etc/spire/bundle.pem -noout -subject").stdout
        assert "CN = site" in bundle

        # the token of an agent is the end of its id
        shown = world.on("cp1", "spire-server agent list -socketPath /run/spire-server/api.sock -output json").stdout
        tokens = [agent["id"]["path"].rsplit("/", 1)[1] for agent in json.loads(shown)["agents"]]
        assert len(tokens) == 3
        assert findings(run.output, *tokens) == []
        for node in world.nodes:
            assert (
                world.on(
                    node,
                    "ls /run/spire-join-token /run/systemd/system/spire-agent.service.d/join-token.conf",
                    check=False,
                ).stdout
                == ""
            )

        again = world.play(**given)
        assert again.rc == 0, again.output[-4000:]
        assert not any(again.changed.values()), again.changed

        # without its token's file an agent starts again, and one that lost its SVID gets another token
        world.on("gpu1", "systemctl restart spire-agent && " + HEALTHY.format("agent"))
        world.on("gpu1", "systemctl stop spire-agent && rm /var/lib/spire/agent/agent-data.json")
        run = world.play(**given)
        assert run.rc == 0, run.output[-4000:]
        assert (run.changed["cp1"], run.changed["gpu2"]) == (0, 0)
        assert world.svid("gpu1", "trainer.service")["spiffe_id"] == f"spiffe://{DOMAIN}/trainer"
    finally:
        world.on("cp1", "rm -rf /etc/pki-upstream")


def test_certificates_of_the_site(world: World, tmp_path: pathlib.Path) -> None:
    world.wipe()
    authority = Authority(tmp_path, "hosts")
    world.put("cp1", "/etc/pki-hosts/ca.pem", authority.certificate.read_text(encoding="ascii"))

    def install(node: str, name: str) -> None:
        certificate, key = authority.issue(name)
        world.put(node, "/etc/pki-hosts/host.pem", certificate.read_text(encoding="ascii"))
        world.put(node, "/etc/pki-hosts/host.key", key.read_text(encoding="ascii"), "0600")

    given = {
        "spire_node_ca": "site",
        "spire_node_ca_bundle": "/etc/pki-hosts/ca.pem",
        "spire_node_certificate": "/etc/pki-hosts/host.pem",
        "spire_node_private_key": "/etc/pki-hosts/host.key",
    }
    try:
        for node, name in (("cp1", "cp1"), ("gpu1", "gpu1"), ("gpu2", "another")):
            install(node, name)
        run = world.play(**given)
        assert run.rc != 0
        assert "cannot prove gpu2 to the server: it is for 'CN=another'" in run.output.replace("\n", " ")
        assert world.on("gpu2", "systemctl is-active spire-agent", check=False).returncode != 0
        install("gpu2", "gpu2")
        run = world.play(**given)
        assert run.rc == 0, run.output[-4000:]
        assert world.svid("gpu2", "storage.service")["spiffe_id"] == f"spiffe://{DOMAIN}/storage"
        assert world.on("cp1", "ls /etc/spire/node-ca", check=False).returncode != 0
        again = world.play(**given)
        assert not any(again.changed.values()), again.output[-3000:]
    finally:
        for node in world.nodes:
            world.on(node, "rm -rf /etc/pki-hosts")


def test_running_services_restart_with_consent_only_and_no_secret_is_shown(world: World) -> None:
    world.wipe()
    first = world.play("-vvv", "--diff", zerotrust_allow=[])
    assert first.rc == 0, first.output[-4000:]
    pid = "systemctl show -p MainPID --value spire-agent"
    before = world.on("gpu1", pid).stdout
    left = world.play("-vvv", "--diff", zerotrust_allow=[], spire_log_level="debug")
    assert left.rc == 0, left.output[-4000:]
    assert "was left as it is, since it would restart and this run has no consent" in left.output
    assert not any(left.changed.values()), left.changed
    assert world.on("gpu1", pid).stdout == before
    assert 'log_level = "INFO"' in world.on("gpu1", "cat /etc/spire/agent.conf").stdout
    done = world.play("-vvv", "--diff", zerotrust_allow=["agent_restart"], spire_log_level="debug")
    assert done.rc == 0, done.output[-4000:]
    assert world.on("gpu1", pid).stdout != before
    assert 'log_level = "DEBUG"' in world.on("gpu1", "cat /etc/spire/agent.conf").stdout

    # a scan that finds what is planted finds nothing else: output, nodes, and what runs leave on the controller
    planted = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49\n-----END PRIVATE KEY-----\n"
    assert findings(first.output + planted)
    assert findings(json.dumps({"msg": planted}))
    assert findings(first.output + left.output + done.output) == []
    for node in world.nodes:
        assert world_readable_keys(world, node) == [], node
    world.put("gpu1", "/var/tmp/planted.pem", planted)
    try:
        assert world_readable_keys(world, "gpu1") == ["/var/tmp/planted.pem"]
    finally:
        world.on("gpu1", "rm /var/tmp/planted.pem")
    for folder, _folders, names in os.walk(world.site.report_dir()):
        for name in names:
            text = (pathlib.Path(folder) / name).read_text(encoding="utf-8", errors="replace")
            assert findings(text) == [], name
