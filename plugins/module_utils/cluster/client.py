# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One client of the Kubernetes API per module call.

The `kubernetes` package loads the kubeconfig (certificates, tokens, exec plugins) and owns the urllib3 pool;
requests go through that pool as plain JSON. The generated classes are not used: they cost a second to import,
drop fields that they do not know, and change from release to release (37 changed ApiClient.call_api).
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import typing as t
from urllib.parse import urlencode

Json = dict[str, t.Any]

WORKERS = 8
"""Concurrent requests and connections of one module call. API servers queue beyond that (priority and fairness)."""

PAGE = 500
"""Objects per page of a list, as kubectl."""

CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0

CONNECTION_OPTIONS: Json = {
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
}
"""Argument spec that all cluster modules share; documented in the doc fragment `kubernetes`."""

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"


class ApiError(Exception):
    """A request that failed, as one sentence: what was asked, of which server, why, what to do.

    status: HTTP status, or 0 where there was no answer. reason: the Status object's reason ("Forbidden", ...).
    details: the Status object's message without our own words; causes: its list of {"field","message","reason"}.
    """

    def __init__(
        self,
        message: str,
        status: int = 0,
        reason: str = "",
        details: str = "",
        causes: t.Sequence[Json] = (),
    ) -> None:
        message = " ".join(message.split())
        super().__init__(message)
        self.message = message
        self.status = status
        self.reason = reason
        self.details = details
        self.causes = list(causes)

    @property
    def fatal(self) -> bool:
        """Whether every further request would fail too: no connection, or not known to the server."""
        return self.status in (0, 401)


class Client:
    """Requests to one API server. Threads may share it; its pool holds WORKERS connections.

    Make one with connect(). All paths begin with a slash and carry no query.
    """

    def __init__(self, server: str, origin: str, pool: t.Any, auth: t.Callable[[], dict[str, str]]) -> None:
        self.server = server.rstrip("/")
        self.origin = origin
        self._pool = pool
        self._auth = auth

    def request(
        self,
        method: str,
        path: str,
        query: t.Mapping[str, str] | None = None,
        body: t.Any | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Json:
        """One request; the decoded JSON object of a 2xx answer. Raises ApiError for anything else.

        A body is sent as JSON whatever its content type (server-side apply takes JSON as YAML).
        Requests are not repeated: what fails is told.
        """
        import urllib3

        url = self.server + path + ("?" + urlencode(query) if query else "")
        headers = {"Accept": accept, "User-Agent": "aicluster.zerotrust", **self._auth()}
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = json.dumps(body).encode()
        what = f"{method} {path}"
        try:
            answer = self._pool.request(
                method,
                url,
                body=data,
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
                retries=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise ApiError(self._no_answer(what, error)) from error
        if 200 <= answer.status < 300:
            return self._decode(what, answer.data)
        raise self._refused(what, answer.status, answer.data)

    def apply(self, path: str, obj: Json, manager: str, *, dry_run: bool) -> Json:
        """One server-side apply: strict, under the field manager's name, never forced. The object that results."""
        query = {"fieldManager": manager, "fieldValidation": "Strict", "force": "false"}
        if dry_run:
            query["dryRun"] = "All"
        return self.request("PATCH", path, query=query, body=obj, content_type="application/apply-patch+yaml")

    def get(self, path: str) -> Json | None:
        """The object, or None where the server says that it does not exist."""
        try:
            return self.request("GET", path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def pages(
        self,
        path: str,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
        limit: int = PAGE,
    ) -> t.Iterator[list[Json]]:
        """The list's items, a page of at most `limit` at a time, so that a caller can reduce and forget them.

        A continue token lives about five minutes; where it expires (410) the rest would be inconsistent: ApiError.
        """
        query = {"limit": str(limit)}
        if labels:
            query["labelSelector"] = labels
        if fields:
            query["fieldSelector"] = fields
        accept = METADATA_ONLY if metadata_only else "application/json"
        while True:
            answer = self.request("GET", path, query=query, accept=accept)
            yield answer.get("items") or []
            token = (answer.get("metadata") or {}).get("continue")
            if not token:
                return
            query["continue"] = token

    def list_all(self, path: str, **how: t.Any) -> list[Json]:
        """All items of a list, in memory; arguments as pages()."""
        return [item for page in self.pages(path, **how) for item in page]

    def list_or_none(self, path: str, **how: t.Any) -> list[Json] | None:
        """As list_all(), but None where the server does not know the resource (a CRD that is not there)."""
        try:
            return self.list_all(path, **how)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def _no_answer(self, what: str, error: Exception) -> str:
        reason = str(getattr(error, "reason", None) or error)
        if "CERTIFICATE_VERIFY_FAILED" in reason or "certificate verify failed" in reason:
            why = "its certificate is not signed by the CA of the kubeconfig, or is for another name"
            remedy = "check that the kubeconfig belongs to this cluster"
        elif "refused" in reason:
            why = "the connection was refused"
            remedy = "check that the API server runs and that the kubeconfig's address and port are right"
        elif "timed out" in reason or "imeout" in reason:
            why = f"there was no answer (limits: {CONNECT_SECONDS:g} s to connect, {READ_SECONDS:g} s to read)"
            remedy = "check the network and firewalls between this host and the API server"
        elif "resolve" in reason or "Name or service not known" in reason:
            why = "its name cannot be resolved"
            remedy = "check the server's name in the kubeconfig and this host's resolver"
        else:
            why = reason
            remedy = "check the kubeconfig and the network to the API server"
        return f"{what}: the Kubernetes API server {self.server} ({self.origin}) cannot be used: {why}; {remedy}."

    def _refused(self, what: str, status: int, data: bytes) -> ApiError:
        try:
            answer = json.loads(data)
        except ValueError:
            answer = {}
        if not isinstance(answer, dict):
            answer = {}
        details = str(answer.get("message") or data[:200].decode("utf-8", "replace")).strip()
        causes = (answer.get("details") or {}).get("causes") or []
        remedy = ""
        if status == 401:
            remedy = f"; the credentials of {self.origin} are not accepted (expired, or of another cluster)"
        elif status == 403:
            remedy = "; bind the ClusterRole that docs/rbac describes"
        return ApiError(
            f"{what}: {self.server} answered {status}: {details}{remedy}",
            status=status,
            reason=str(answer.get("reason") or ""),
            details=details,
            causes=causes,
        )

    def _decode(self, what: str, data: bytes) -> Json:
        try:
            answer = json.loads(data)
        except ValueError as error:
            raise ApiError(f"{what}: {self.server} answered without JSON; is this a Kubernetes API server?") from error
        if not isinstance(answer, dict):
            raise ApiError(f"{what}: {self.server} answered with no JSON object; is this a Kubernetes API server?")
        return answer


Item = t.TypeVar("Item")
Result = t.TypeVar("Result")


def concurrently(call: t.Callable[[Item], Result], items: t.Sequence[Item], workers: int = WORKERS) -> list[Result]:
    """call(item) for every item with at most `workers` at a time; results in the order of items.

    The first exception is raised after all calls ended; let `call` return its errors where each counts.
    """
    if not items:
        return []
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(workers, len(items))) as pool:
        return list(pool.map(call, items))


def connect(kubeconfig: str | None = None, context: str | None = None) -> Client:
    """A client from a kubeconfig (argument, K8S_AUTH_KUBECONFIG, KUBECONFIG, ~/.kube/config) or from inside a Pod.

    context: its name, else K8S_AUTH_CONTEXT, else the kubeconfig's current one. No request is made.
    Raises ApiError (status 0) with one sentence that names file and context.
    """
    kubeconfig = kubeconfig or os.environ.get("K8S_AUTH_KUBECONFIG") or None
    context = context or os.environ.get("K8S_AUTH_CONTEXT") or None
    try:
        import urllib3
        from kubernetes import config
        from kubernetes.client.api_client import ApiClient
        from kubernetes.client.configuration import Configuration
    except ImportError as error:
        raise ApiError(
            f"the Python package kubernetes cannot be imported on the host that talks to the API ({error}); "
            "install it for that host's ansible_python_interpreter."
        ) from error

    path = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    origin = f"kubeconfig {path}, " + (f"context {context}" if context else "its current context")
    settings = Configuration()
    settings.connection_pool_maxsize = WORKERS
    in_pod = (
        not kubeconfig
        and not os.environ.get("KUBECONFIG")
        and not os.path.exists(os.path.expanduser(path))
        and "KUBERNETES_SERVICE_HOST" in os.environ
    )
    try:
        if in_pod:
            origin = "the Pod's service account"
            config.load_incluster_config(client_configuration=settings)
        else:
            if kubeconfig and not os.path.exists(os.path.expanduser(kubeconfig)):
                raise ApiError(f"the kubeconfig {kubeconfig} does not exist; set zerotrust_kubeconfig to one that is.")
            config.load_kube_config(
                config_file=os.path.expanduser(kubeconfig) if kubeconfig else None,
                context=context,
                client_configuration=settings,
                persist_config=False,
            )
    except config.ConfigException as error:
        raise ApiError(
            f"{origin} cannot be used: {error}; set zerotrust_kubeconfig and zerotrust_context to what exists."
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        # The loader does not check shapes: a file that is YAML but no kubeconfig ends in any of these.
        raise ApiError(f"{origin} cannot be read as a kubeconfig: {error}.") from error
    except Exception as error:
        if type(error).__module__.startswith("yaml"):
            raise ApiError(f"{origin} is not YAML: {error}.") from error
        raise

    try:
        rest = ApiClient(settings).rest_client
    except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
        raise ApiError(f"{origin}: its certificates cannot be used: {error}.") from error

    def auth() -> dict[str, str]:
        # Asked anew for each request: the loader refreshes exec and file tokens here.
        headers = {}
        for setting in settings.auth_settings().values():
            if setting.get("in") == "header" and setting.get("value"):
                headers[setting["key"]] = setting["value"]
        return headers

    return Client(settings.host, origin, rest.pool_manager, auth)
