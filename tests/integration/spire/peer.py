# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A workload that knows nothing of SPIFFE's libraries: mutual TLS with files that spire-agent writes every two seconds.

peer.py server PORT PEER_ID, or peer.py client ADDRESS PORT PEER_ID LOG. Runs on a node, Python 3.11, as a unit that has
an entry. The client connects anew every 200 ms and writes a line of JSON for each connection.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

AGENT = ["/usr/local/bin/spire-agent", "api", "fetch", "x509", "-socketPath", "/run/spire-agent/api.sock"]


class Credentials:
    """The newest SVID that the agent gave; a failed fetch keeps the present one."""

    def __init__(self) -> None:
        self.folder: pathlib.Path | None = None
        while not self._fetch():
            time.sleep(0.5)
        threading.Thread(target=self._keep, daemon=True).start()

    def _keep(self) -> None:
        while True:
            time.sleep(2)
            self._fetch()

    def _fetch(self) -> bool:
        fresh = pathlib.Path(tempfile.mkdtemp(prefix="svid-", dir="/run"))
        done = subprocess.run([*AGENT, "-timeout", "3s", "-write", str(fresh)], capture_output=True, check=False)
        if done.returncode:
            shutil.rmtree(fresh)
            return False
        self.folder, old = fresh, self.folder
        if old:
            # a connection that begins just now may still read the old files
            threading.Timer(5, shutil.rmtree, [old]).start()
        return True

    def context(self, server: bool) -> ssl.SSLContext:
        assert self.folder
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self.folder / "svid.0.pem", self.folder / "svid.0.key")
        context.load_verify_locations(self.folder / "bundle.0.pem")
        return context


def check(connection: ssl.SSLSocket, wanted: str) -> str:
    """The peer's serial; an error where it is somebody else."""
    certificate = connection.getpeercert() or {}
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    if names != [wanted]:
        raise ssl.SSLError(f"the peer is {names}")
    return str(certificate["serialNumber"])


def serve(port: int, peer: str) -> None:
    credentials = Credentials()
    listener = socket.create_server(("", port))
    while True:
        plain, _address = listener.accept()
        plain.settimeout(5)
        try:
            with credentials.context(server=True).wrap_socket(plain, server_side=True) as secured:
                secured.sendall(check(secured, peer).encode())
        except OSError as error:
            print(f"refused: {error}", flush=True)


def connect(address: str, port: int, peer: str, log: str) -> None:
    credentials = Credentials()
    with open(log, "a", encoding="ascii", buffering=1) as stream:
        while True:
            line: dict[str, str | None] = {"error": None}
            try:
                with (
                    socket.create_connection((address, port), timeout=5) as plain,
                    credentials.context(server=False).wrap_socket(plain) as secured,
                ):
                    line["server"] = check(secured, peer)
                    # what the server saw: empty when it refused
                    line["client"] = secured.recv(100).decode()
                    if not line["client"]:
                        line["error"] = "the server closed the connection"
            except OSError as error:
                line["error"] = str(error)
            stream.write(json.dumps(line) + "\n")
            time.sleep(0.2)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve(int(sys.argv[2]), sys.argv[3])
    else:
        connect(sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])
