# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WireGuard's state from bytes that pyroute2 encoded (kernel) and from the text of the userspace protocol.

The kernel path is tested on such bytes only: the machines that run these tests have no kernel WireGuard.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import pathlib
import socket
import struct
import threading
import typing as t

import pytest
from pyroute2.netlink.generic.wireguard import wgmsg

from ansible_collections.aicluster.zerotrust.plugins.module_utils.netlink import core, generic, wireguard

KEYS = [base64.b64encode(bytes([n]) * 32).decode() for n in range(1, 6)]
SECRET = base64.b64encode(b"\xee" * 32).decode()


def allowed(address: str, mask: int) -> dict[str, t.Any]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    raw = socket.inet_pton(family, address)
    return {
        "attrs": [
            ("WGALLOWEDIP_A_FAMILY", family),
            ("WGALLOWEDIP_A_IPADDR", raw),
            ("WGALLOWEDIP_A_CIDR_MASK", mask),
        ]
    }


def peer(key: str, ips: t.Sequence[dict[str, t.Any]] = (), **more: t.Any) -> dict[str, t.Any]:
    attributes: list[tuple[str, t.Any]] = [("WGPEER_A_PUBLIC_KEY", key)]
    attributes += [(f"WGPEER_A_{name}", value) for name, value in more.items()]
    return {"attrs": [*attributes, ("WGPEER_A_ALLOWEDIPS", list(ips))]}


def body(*attributes: tuple[str, t.Any]) -> bytes:
    """The attributes of one message of a dump, as pyroute2 encodes them."""
    message = wgmsg()
    message["cmd"] = wireguard.WG_CMD_GET_DEVICE
    message["attrs"] = list(attributes)
    message.encode()
    return generic.body(bytes(message.data)[16:])


def full(key: str, *ips: dict[str, t.Any]) -> dict[str, t.Any]:
    return peer(
        key,
        ips,
        PRESHARED_KEY=SECRET,
        ENDPOINT={"addr": "10.0.0.2", "port": 51871},
        PERSISTENT_KEEPALIVE_INTERVAL=25,
        LAST_HANDSHAKE_TIME={"tv_sec": 1795380000, "tv_nsec": 500000000},
        RX_BYTES=123456789012,
        TX_BYTES=42,
    )


FIRST = body(
    ("WGDEVICE_A_LISTEN_PORT", 51871),
    ("WGDEVICE_A_FWMARK", 0xE00),
    ("WGDEVICE_A_IFINDEX", 9),
    ("WGDEVICE_A_IFNAME", "cilium_wg0"),
    ("WGDEVICE_A_PRIVATE_KEY", SECRET),
    ("WGDEVICE_A_PUBLIC_KEY", KEYS[0]),
    ("WGDEVICE_A_PEERS", [full(KEYS[1], allowed("10.0.0.2", 32), allowed("fd00::2", 128))]),
)


def test_device_and_peer() -> None:
    device = wireguard.parse_kernel("x", [FIRST])
    assert (device.name, device.implementation, device.public_key) == ("cilium_wg0", "kernel", KEYS[0])
    assert (device.listen_port, device.fwmark) == (51871, 0xE00)
    assert [found.to_dict() for found in device.peers] == [
        {
            "public_key": KEYS[1],
            "endpoint": "10.0.0.2:51871",
            "allowed_ips": ["10.0.0.2/32", "fd00::2/128"],
            "last_handshake_epoch": 1795380000.5,
            "rx_bytes": 123456789012,
            "tx_bytes": 42,
            "keepalive": 25,
        }
    ]


def test_peer_that_goes_on_in_later_messages_is_one_peer() -> None:
    second = body(
        (
            "WGDEVICE_A_PEERS",
            [peer(KEYS[1], [allowed("10.244.1.0", 24)]), full(KEYS[2], allowed("10.0.0.3", 32))],
        )
    )
    third = body(("WGDEVICE_A_PEERS", [peer(KEYS[2], [allowed("10.244.2.0", 24)]), peer(KEYS[3])]))
    device = wireguard.parse_kernel("x", [FIRST, second, third])
    found = {p.public_key: p.to_dict() for p in device.peers}
    assert list(found) == KEYS[1:4]
    assert found[KEYS[1]]["allowed_ips"] == ["10.0.0.2/32", "10.244.1.0/24", "fd00::2/128"]
    assert found[KEYS[2]]["allowed_ips"] == ["10.0.0.3/32", "10.244.2.0/24"]
    assert found[KEYS[1]]["last_handshake_epoch"] == 1795380000.5, "what continues a peer must not reset it"
    assert found[KEYS[1]]["rx_bytes"] == 123456789012
    assert found[KEYS[3]]["endpoint"] is None
    assert device.listen_port == 51871


def test_600_peers_over_many_messages() -> None:
    keys = [base64.b64encode(struct.pack("=I", n + 1) * 8).decode() for n in range(600)]
    bodies = [
        body(("WGDEVICE_A_PEERS", [full(key, allowed("10.0.0.1", 32)) for key in keys[n : n + 20]]))
        for n in range(0, 600, 20)
    ]
    assert [p.public_key for p in wireguard.parse_kernel("x", bodies).peers] == keys


def test_v6_endpoint() -> None:
    bodies = [body(("WGDEVICE_A_PEERS", [peer(KEYS[1], ENDPOINT={"addr": "fd00::2", "port": 51871, "scope_id": 0})]))]
    assert wireguard.parse_kernel("x", bodies).peers[0].endpoint == "[fd00::2]:51871"


def test_secrets_are_nowhere_in_the_result() -> None:
    device = wireguard.parse_kernel("x", [FIRST])
    raw = base64.b64decode(SECRET)
    text = json.dumps(dataclasses.asdict(device)) + repr(device)
    for form in (SECRET, raw.hex(), repr(raw)):
        assert form not in text


@pytest.mark.parametrize(
    "broken",
    [
        FIRST[:-3],
        core.pack_attribute(wireguard.WGDEVICE_A_PUBLIC_KEY, b"short"),
        core.pack_attribute(wireguard.WGDEVICE_A_LISTEN_PORT, b"\x01"),
        core.pack_attribute(wireguard.WGDEVICE_A_PEERS, core.pack_attribute(0, b"")),
        body(("WGDEVICE_A_PEERS", [peer(KEYS[1], [{"attrs": [("WGALLOWEDIP_A_CIDR_MASK", 32)]}])])),
    ],
)
def test_malformed_kernel_answers_are_refused(broken: bytes) -> None:
    with pytest.raises(core.Malformed):
        wireguard.parse_kernel("x", [broken])


UAPI = """private_key={private}
listen_port=51871
fwmark=3584
public_key={key1}
preshared_key={secret}
protocol_version=1
endpoint=10.0.0.2:51871
last_handshake_time_sec=1795380000
last_handshake_time_nsec=500000000
tx_bytes=42
rx_bytes=7
persistent_keepalive_interval=25
allowed_ip=10.0.0.2/32
allowed_ip=fd00::/64
public_key={key2}
preshared_key={zero}
protocol_version=1
last_handshake_time_sec=0
last_handshake_time_nsec=0
tx_bytes=0
rx_bytes=0
persistent_keepalive_interval=0
errno=0

""".format(private="ee" * 32, key1="01" * 32, key2="02" * 32, secret="dd" * 32, zero="00" * 32)


def test_userspace_device() -> None:
    device = wireguard.parse_uapi("wg0", UAPI)
    assert (device.implementation, device.listen_port, device.fwmark) == ("userspace", 51871, 3584)
    assert [p.public_key for p in device.peers] == KEYS[:2]
    first, second = device.peers
    assert (first.endpoint, first.allowed_ips) == ("10.0.0.2:51871", ["10.0.0.2/32", "fd00::/64"])
    assert (first.last_handshake_epoch, first.rx_bytes, first.tx_bytes) == (1795380000.5, 7, 42)
    assert (second.endpoint, second.last_handshake_epoch, second.keepalive) == (None, 0.0, 0)
    text = json.dumps(dataclasses.asdict(device)) + repr(device)
    for secret in ("ee" * 32, "dd" * 32, SECRET, base64.b64encode(b"\xdd" * 32).decode()):
        assert secret not in text


def test_userspace_device_without_a_key() -> None:
    device = wireguard.parse_uapi("wg0", f"private_key={'00' * 32}\nerrno=0\n\n")
    assert device.public_key is None


@pytest.mark.parametrize(
    "answer",
    ["", "listen_port=1\n", "listen_port=x\nerrno=0\n", "rubbish\nerrno=0\n", "public_key=0102\nerrno=0\n"],
)
def test_malformed_userspace_answers_are_refused(answer: str) -> None:
    with pytest.raises(core.Malformed):
        wireguard.parse_uapi("wg0", answer)


def test_malformed_line_is_not_shown() -> None:
    with pytest.raises(core.Malformed) as caught:
        wireguard.parse_uapi("wg0", f"private_key={'zz' * 32}\nerrno=0\n")
    assert "zz" not in str(caught.value)


def test_userspace_refusal() -> None:
    with pytest.raises(OSError, match="says so") as caught:
        wireguard.parse_uapi("wg0", "errno=-95\n\n")
    assert caught.value.errno == 95


def serve(path: pathlib.Path, answer: bytes) -> threading.Thread:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def run() -> None:
        with listener, listener.accept()[0] as connection:
            assert connection.recv(64) == b"get=1\n\n"
            for part in (answer[:20], answer[20:]):
                connection.sendall(part)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_userspace_socket(tmp_path: pathlib.Path) -> None:
    thread = serve(tmp_path / "wg0.sock", UAPI.encode())
    assert len(wireguard.read_userspace("wg0", str(tmp_path)).peers) == 2
    thread.join()


def test_no_socket_and_a_dead_one_are_no_device(tmp_path: pathlib.Path) -> None:
    with pytest.raises(wireguard.Gone):
        wireguard.read_userspace("wg0", str(tmp_path))
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "wg0.sock"))
    dead.close()
    with pytest.raises(wireguard.Gone):
        wireguard.read_userspace("wg0", str(tmp_path))


def test_cut_off_userspace_answer_is_refused(tmp_path: pathlib.Path) -> None:
    thread = serve(tmp_path / "wg0.sock", UAPI.encode()[:200])
    with pytest.raises(core.Malformed):
        wireguard.read_userspace("wg0", str(tmp_path))
    thread.join()


def test_missing_family_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generic, "families", lambda: {"nlctrl": 16})
    with pytest.raises(wireguard.Gone):
        wireguard.read_kernel("cilium_wg0")


def test_kernel_read_asks_by_name_and_takes_its_family_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, bytes]] = []

    class Fake:
        def __init__(self, _protocol: int) -> None: ...

        def __enter__(self) -> Fake:
            return self

        def __exit__(self, *exc: object) -> None: ...

        def dump(self, kind: int, payload: bytes) -> list[core.Message]:
            asked.append((kind, payload))
            other = core.Message(29, 0, 1, 0, b"\0\0\0\0rubbish")
            return [other, core.Message(kind, 0, 1, 0, generic.header(0) + FIRST)]

    monkeypatch.setattr(generic, "families", lambda: {"wireguard": 33})
    monkeypatch.setattr(wireguard, "Socket", Fake)
    assert wireguard.read("cilium_wg0").public_key == KEYS[0]
    message = wgmsg()
    message["cmd"], message["version"] = 0, 1
    message["attrs"] = [("WGDEVICE_A_IFNAME", "cilium_wg0")]
    message.encode()
    assert asked == [(33, bytes(message.data)[16:])]
