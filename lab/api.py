# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small client for the laboratory's API server: client certificate, JSON, one connection kept open."""

from __future__ import annotations

import http.client
import json
import pathlib
import ssl
import typing as t

from lab.common import LabError


class ApiError(LabError):
    """The API server answered with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """Requests to one API server; pki is the folder with ca.crt, admin.crt and admin.key."""

    def __init__(self, host: str, port: int, pki: pathlib.Path) -> None:
        self.host, self.port = host, port
        self.context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self.context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        self.connection: http.client.HTTPSConnection | None = None

    def raw(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> t.Any:
        for attempt in (1, 2):
            if self.connection is None:
                self.connection = http.client.HTTPSConnection(self.host, self.port, timeout=15, context=self.context)
            try:
                headers = {"Content-Type": kind, "Accept": "application/json"}
                self.connection.request(method, path, body=body, headers=headers)
                answer = self.connection.getresponse()
                text = answer.read()
                break
            except (OSError, http.client.HTTPException) as exc:
                self.connection.close()
                self.connection = None  # an idle connection may have been closed: once more on a new one
                if attempt == 2 or isinstance(exc, ConnectionRefusedError):
                    raise LabError(f"The API server at {self.host}:{self.port} does not answer: {exc}") from exc
        if answer.status >= 300:
            try:
                message = json.loads(text)["message"]
            except (ValueError, KeyError, TypeError):
                message = text[:200].decode(errors="replace")
            raise ApiError(answer.status, f"{method} {path}: {answer.status} {message}")
        return json.loads(text) if text[:1] in (b"{", b"[") else text.decode(errors="replace")

    def get(self, path: str) -> t.Any:
        """The object, or None when there is none."""
        try:
            return self.raw("GET", path)
        except ApiError as exc:
            if exc.status == 404:
                return None
            raise

    def post(self, path: str, body: t.Any) -> t.Any:
        return self.raw("POST", path, json.dumps(body).encode())

    def merge(self, path: str, body: t.Any) -> t.Any:
        return self.raw("PATCH", path, json.dumps(body).encode(), "application/merge-patch+json")

    def apply(self, path: str, text: str | bytes, manager: str) -> t.Any:
        """Server-side apply of YAML or JSON text."""
        data = text.encode() if isinstance(text, str) else text
        query = f"{path}?fieldManager={manager}&force=true"
        return self.raw("PATCH", query, data, "application/apply-patch+yaml")

    def delete(self, path: str) -> None:
        try:
            self.raw("DELETE", path)
        except ApiError as exc:
            if exc.status != 404:
                raise

    def ready(self) -> bool:
        try:
            return bool(self.raw("GET", "/readyz") == "ok")
        except LabError:
            return False
