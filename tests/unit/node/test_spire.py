# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SPIRE's host side: what openssl signs and refuses, what is dropped from the Workload API's answer, service plans."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import time
import typing as t

import pytest

from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.spire import openssl, service, svid
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.spire.host import SpireError, read, write

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="the openssl program is not installed")
DAY = 86400


@dataclasses.dataclass
class Pki:
    """A CA for hosts and one host with a key."""

    folder: pathlib.Path

    def __post_init__(self) -> None:
        self.ca_key, self.ca = str(self.folder / "ca.key"), str(self.folder / "ca.pem")
        self.key, self.certificate = str(self.folder / "node.key"), str(self.folder / "node.pem")
        openssl.make_ca(self.ca_key, self.ca, "SPIRE hosts of test")
        openssl.make_key(self.key)

    def sign(self, name: str = "gpu1", days: int = 90) -> str:
        return openssl.sign(openssl.request(self.key, name), name, self.ca_key, self.ca, days)

    def install(self, **options: t.Any) -> None:
        write(self.certificate, self.sign(**options), 0o644)

    def unusable(self, name: str = "gpu1", spare: int = 30 * DAY) -> str | None:
        return openssl.unusable(self.certificate, self.key, name, read(self.ca), spare)


@pytest.fixture
def pki(tmp_path: pathlib.Path) -> Pki:
    return Pki(tmp_path)


@needs_openssl
def test_a_signed_certificate_is_usable_and_keys_are_for_their_owner_only(pki: Pki) -> None:
    pki.install()
    assert pki.unusable() is None
    for path in (pki.key, pki.ca_key):
        assert os.stat(path).st_mode & 0o777 == 0o600
    text = subprocess.run(
        ["openssl", "x509", "-noout", "-text", "-in", pki.certificate], capture_output=True, text=True, check=True
    ).stdout
    # x509pop wants a key that signs, and nothing that the host holds may be a CA
    assert "Digital Signature" in text
    assert "CA:FALSE" in text


@needs_openssl
def test_a_request_for_another_name_is_not_signed(pki: Pki) -> None:
    with pytest.raises(SpireError, match="gpu1 asks for 'CN=gpu2'"):
        openssl.sign(openssl.request(pki.key, "gpu2"), "gpu1", pki.ca_key, pki.ca, 90)


@needs_openssl
def test_a_request_with_a_broken_signature_is_not_signed(pki: Pki) -> None:
    der = bytearray(
        ssl.PEM_cert_to_DER_cert(openssl.request(pki.key, "gpu1").replace("CERTIFICATE REQUEST", "CERTIFICATE"))
    )
    der[-3] ^= 0xFF
    broken = ssl.DER_cert_to_PEM_cert(bytes(der)).replace("CERTIFICATE", "CERTIFICATE REQUEST")
    with pytest.raises(SpireError, match="nothing was signed"):
        openssl.sign(broken, "gpu1", pki.ca_key, pki.ca, 90)


@needs_openssl
def test_why_a_certificate_is_replaced(pki: Pki, tmp_path: pathlib.Path) -> None:
    assert pki.unusable() == "it has none"
    pki.install(days=20)
    assert pki.unusable() == "it ends within 30 days"
    pki.install(name="gpu2")
    assert pki.unusable() == "it is for 'CN=gpu2'"
    pki.install()
    openssl.make_key(pki.key)
    assert pki.unusable() == "it is for another key"
    pki.install()
    assert pki.unusable() is None
    (tmp_path / "other").mkdir()
    other = Pki(tmp_path / "other")
    assert "not of the server's CA" in str(openssl.unusable(pki.certificate, pki.key, "gpu1", read(other.ca), 30 * DAY))
    write(pki.certificate, "rubbish", 0o644)
    assert "cannot be read" in str(pki.unusable())


def der(pem: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem)


SECRET = base64.b64encode(b"this is the private key").decode()


def answer(pki: Pki, spiffe_id: str) -> str:
    """What `spire-agent api fetch x509 -output json` prints, with an SVID made by openssl."""
    config = pki.folder / "svid.cnf"
    config.write_text(f"[req]\ndistinguished_name=dn\n[dn]\n[s]\nsubjectAltName=URI:{spiffe_id}\n", encoding="ascii")
    csr = openssl.request(pki.key, "x")
    argv = ["openssl", "x509", "-req", "-CA", pki.ca, "-CAkey", pki.ca_key, "-days", "1", "-set_serial", "0x0a1b"]
    leaf = subprocess.run(
        [*argv, "-extfile", str(config), "-extensions", "s"], input=csr, capture_output=True, text=True, check=True
    ).stdout
    item = {
        "spiffe_id": spiffe_id,
        "x509_svid": base64.b64encode(der(leaf)).decode(),
        "x509_svid_key": SECRET,
        "bundle": base64.b64encode(der(str(read(pki.ca)))).decode(),
        "hint": "",
    }
    return json.dumps({"svids": [item], "crl": [], "federated_bundles": {}})


def fetched(monkeypatch: pytest.MonkeyPatch, code: int, out: str, err: str = "") -> dict[str, t.Any]:
    real = svid.run

    def run(argv: t.Sequence[str], **options: t.Any) -> subprocess.CompletedProcess[str]:
        if argv[0] == "spire-agent":
            return subprocess.CompletedProcess(list(argv), code, out, err)
        return real(argv, **options)

    monkeypatch.setattr(svid, "run", run)
    return svid.observe("spire-agent", "/s", "/missing", time.time())


@needs_openssl
def test_an_svid_is_described_without_its_key(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    result = fetched(monkeypatch, 0, answer(pki, "spiffe://test/a"))
    (one,) = result["svids"]
    assert (result["state"], result["bundle_size"]) == ("issued", 1)
    assert (one["spiffe_id"], one["serial"], one["verified"]) == ("spiffe://test/a", "0a1b", True)
    assert DAY - 60 < one["seconds_left"] <= DAY
    assert SECRET not in json.dumps(result)


@needs_openssl
def test_an_svid_of_another_ca_is_not_verified(
    pki: Pki, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Pki(tmp_path / "other")
    text = json.loads(answer(pki, "spiffe://test/a"))
    text["svids"][0]["bundle"] = base64.b64encode(der(str(read(other.ca)))).decode()
    (one,) = fetched(monkeypatch, 0, json.dumps(text))["svids"]
    assert one["verified"] is False
    assert one["why"]


def test_parsing_keeps_no_key_at_all() -> None:
    text = json.dumps({"svids": [{"spiffe_id": "a", "x509_svid_key": SECRET, "private_key": SECRET}]})
    assert SECRET not in json.dumps(svid.parse(text))


def test_a_broken_answer_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    result = fetched(monkeypatch, 0, '{"svids": [{"x509_svid_key": "' + SECRET)
    assert result["state"] == "unknown"
    assert SECRET not in json.dumps(result)


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("rpc error: code = PermissionDenied desc = no identity issued", "denied"),
        ("rpc error: code = Unavailable desc = connection error", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_denial_is_not_the_same_as_not_knowing(monkeypatch: pytest.MonkeyPatch, said: str, state: str) -> None:
    assert fetched(monkeypatch, 1, "", said)["state"] == state


@needs_openssl
def test_the_agents_own_svid_comes_from_its_store(
    pki: Pki, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    store = tmp_path / "agent-data.json"
    leaf = base64.b64decode(json.loads(answer(pki, "spiffe://test/spire/agent/x"))["svids"][0]["x509_svid"])
    pems = [ssl.DER_cert_to_PEM_cert(leaf), str(read(pki.ca))]
    svids, bundle = [[base64.b64encode(pem.encode()).decode()] for pem in pems]
    assert svid.stored(str(store)) == ([], [])
    store.write_text(json.dumps({"svid": svids, "bundle": bundle, "reattestable": True}), encoding="ascii")
    real = svid.run

    def run(argv: t.Sequence[str], **options: t.Any) -> subprocess.CompletedProcess[str]:
        if argv[0] == "systemctl":
            return subprocess.CompletedProcess(list(argv), 0, "active\n", "")
        if argv[0] == "spire-agent":
            code, said = (0, "") if argv[1] == "healthcheck" else (1, "no identity issued")
            return subprocess.CompletedProcess(list(argv), code, "", said)
        return real(argv, **options)

    monkeypatch.setattr(svid, "run", run)
    result = svid.observe("spire-agent", "/s", str(store), time.time())
    own = result["agent"]["svid"]
    assert (result["state"], result["agent"]["state"], result["agent"]["workload_api"]) == ("denied", "up", True)
    assert (own["spiffe_id"], own["verified"]) == ("spiffe://test/spire/agent/x", True)
    assert len(result["bundle"]) == 1
    store.write_text("{", encoding="ascii")
    broken = svid.observe("spire-agent", "/s", str(store), time.time())["agent"]
    assert broken["svid"] is None
    assert "cannot be read" in broken["error"]


class Systemd:
    """systemctl and spire-agent, as service.py calls them."""

    def __init__(self) -> None:
        self.active, self.enabled, self.valid, self.fragment = True, True, True, ""
        self.calls: list[tuple[str, ...]] = []

    def run(self, argv: t.Sequence[str], **_options: t.Any) -> subprocess.CompletedProcess[str]:
        self.calls.append(tuple(argv[:2]))
        code, out = 0, ""
        if argv[1] == "is-active":
            code = 0 if self.active else 3
        elif argv[1] == "is-enabled":
            code = 0 if self.enabled else 1
        elif argv[1] == "validate":
            code = 0 if self.valid else 1
        elif argv[:4] == ["systemctl", "show", "-p", "FragmentPath"]:
            out = self.fragment
        return subprocess.CompletedProcess(list(argv), code, out, "unknown key" if code else "")


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> Systemd:
    fake = Systemd()
    monkeypatch.setattr(service, "run", fake.run)
    return fake


MARK = "# ours"


def agent(folder: pathlib.Path) -> service.Service:
    return service.Service(
        component="agent",
        binary="/x/spire-agent",
        config=service.File(str(folder / "agent.conf"), f"{MARK}\nagent {{}}\n", 0o644),
        unit=service.File(str(folder / "unit"), f"{MARK}\n[Unit]\n", 0o644),
        others=(service.File(str(folder / "bundle"), "pem\n", 0o644, restart=False),),
        socket="/s",
        mark=MARK,
    )


def installed(folder: pathlib.Path) -> service.Service:
    one = agent(folder)
    for file in (one.config, one.unit, *one.others):
        write(file.path, file.text, file.mode)
    return one


def test_what_is_as_wanted_is_left_alone(systemd: Systemd, tmp_path: pathlib.Path) -> None:
    todo = service.plan(installed(tmp_path))
    assert not todo.changed
    assert service.diff(todo) == []


def test_a_new_host_gets_everything(systemd: Systemd, tmp_path: pathlib.Path) -> None:
    systemd.active = systemd.enabled = False
    todo = service.plan(agent(tmp_path))
    assert len(todo.write) == 3
    assert todo.restart
    assert todo.enable


def test_another_bundle_is_written_without_a_restart(systemd: Systemd, tmp_path: pathlib.Path) -> None:
    one = installed(tmp_path)
    write(one.others[0].path, "other", 0o644)
    todo = service.plan(one)
    assert (len(todo.write), todo.restart) == (1, False)


def test_without_consent_a_running_service_gets_only_what_it_reads_anew(
    systemd: Systemd, tmp_path: pathlib.Path
) -> None:
    one = installed(tmp_path)
    write(one.config.path, f"{MARK}\nother\n", 0o644)
    write(one.others[0].path, "other", 0o644)
    todo = service.plan(one)
    assert todo.disrupts
    left = service.without_restart(todo)
    assert ([file.path for file, _old in left.write], left.restart) == ([one.others[0].path], False)
    # one that does not run is nobody's loss
    systemd.active = False
    assert not service.plan(one, binary_changed=True).disrupts


@pytest.mark.parametrize("what", ["config", "unit"])
def test_a_service_of_somebody_else_is_refused_by_name(systemd: Systemd, tmp_path: pathlib.Path, what: str) -> None:
    one = installed(tmp_path)
    assert service.refusal(one) is None
    write(getattr(one, what).path, "[Unit]\n", 0o644)
    assert getattr(one, what).path in str(service.refusal(one))


def test_a_unit_from_a_package_is_refused(systemd: Systemd, tmp_path: pathlib.Path) -> None:
    systemd.fragment = "/lib/systemd/system/spire-agent.service"
    assert "/lib/systemd" in str(service.refusal(agent(tmp_path)))


def test_a_configuration_that_spire_refuses_is_not_written(systemd: Systemd, tmp_path: pathlib.Path) -> None:
    systemd.valid = False
    one = agent(tmp_path)
    with pytest.raises(SpireError, match="the present one stays: unknown key"):
        service.validate(one)
    assert list(tmp_path.iterdir()) == []


def test_the_token_is_gone_whatever_happens(
    systemd: Systemd, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: dict[str, int] = {}

    def remember(path: str, _text: str, mode: int) -> None:
        written[path] = mode

    gone: list[str] = []
    monkeypatch.setattr(service, "write", remember)
    monkeypatch.setattr(service, "_forget", lambda *paths: gone.extend(paths))
    monkeypatch.setattr(service, "wait_healthy", lambda *_args: (_ for _ in ()).throw(SpireError("not healthy")))
    one = agent(tmp_path)
    with pytest.raises(SpireError):
        service.apply(
            one, service.plan(one, token=True), token="t", token_path="/run/t", drop_in="d", stale="/old", wait=1
        )
    assert written["/run/t"] == 0o600
    assert {"/run/t", "/run/systemd/system/spire-agent.service.d/join-token.conf", "/old"} <= set(gone)
