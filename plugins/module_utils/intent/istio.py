# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory says of Istio Ambient: the variables with the prefix istio_ambient_."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.reader import Reader

ISTIO_CHARTS = ("base", "istiod", "cni", "ztunnel")
ISTIO_PLATFORMS = ("gke", "k3d", "k3s", "microk8s", "minikube", "openshift")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclasses.dataclass(frozen=True)
class IstioIntent:
    """The variables with the prefix istio_ambient_. Paths are on the host that talks to the API.

    chart_dir has the folders base, istiod, cni and ztunnel and takes the place of chart_repo. hub and tag None leave
    the charts' own images. gateway_api_crds None: they are there already. cacerts None: istiod keeps the CA that it
    has. namespaces None: enrolment is left as it is. waypoints are Gateways of the user's own, by namespace.
    """

    version: str = "1.31.0"
    chart_repo: str = "https://istio-release.storage.googleapis.com/charts"
    chart_dir: str | None = None
    namespace: str = "istio-system"
    hub: str | None = None
    tag: str | None = None
    platform: str | None = None
    gateway_api_crds: str | None = None
    cacerts: str | None = None
    namespaces: tuple[str, ...] | None = None
    waypoints: dict[str, str] = dataclasses.field(default_factory=dict)
    values: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)
    helm_binary: str = "helm"
    timeout_seconds: int = 600


def parse(reader: Reader) -> IstioIntent:
    """The intent on Istio; what is wrong is a finding of the reader, with the default in its place."""
    version = reader.text("istio_ambient_version", "1.31.0") or "1.31.0"
    if not re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?", version):
        reader.bad(
            "istio_ambient_version", version, "a version of three numbers is expected", remedy="Write it as 1.31.0."
        )
        version = "1.31.0"
    default = IstioIntent()
    return IstioIntent(
        version=version,
        chart_repo=reader.text("istio_ambient_chart_repo", default.chart_repo) or default.chart_repo,
        chart_dir=_path(reader, "istio_ambient_chart_dir"),
        namespace=_mesh_namespace(reader),
        hub=reader.text("istio_ambient_hub"),
        tag=reader.text("istio_ambient_tag"),
        platform=reader.choice("istio_ambient_platform", ISTIO_PLATFORMS),
        gateway_api_crds=_path(reader, "istio_ambient_gateway_api_crds"),
        cacerts=_path(reader, "istio_ambient_cacerts"),
        namespaces=_enrolled(reader),
        waypoints=_waypoints(reader),
        values=_istio_values(reader),
        helm_binary=reader.text("istio_ambient_helm_binary", "helm") or "helm",
        timeout_seconds=reader.integer("istio_ambient_timeout_seconds", 60, 3600) or 600,
    )


def _path(reader: Reader, name: str) -> str | None:
    path = reader.text(name)
    if path is not None and not path.startswith("/"):
        remedy = "Write the absolute path on zerotrust_api_host."
        reader.bad(name, path, "a relative path depends on where the play was started", remedy=remedy)
        return None
    return path


def _no_namespace(reader: Reader, variable: str, names: t.Sequence[str]) -> bool:
    """Whether Kubernetes would not take one of the names (RFC 1123 label); the first one is a finding."""
    for name in names:
        if not _NAMESPACE.fullmatch(name):
            reader.bad(
                variable, name, "it is no name of a namespace", remedy="Use lower-case letters, digits and hyphens."
            )
            return True
    return False


def _mesh_namespace(reader: Reader) -> str:
    name = reader.text("istio_ambient_namespace", "istio-system") or "istio-system"
    return "istio-system" if _no_namespace(reader, "istio_ambient_namespace", [name]) else name


def _enrolled(reader: Reader) -> tuple[str, ...] | None:
    variable = "istio_ambient_namespaces"
    given = reader.strings(variable)
    if given is None:
        return None
    system = sorted({"kube-system", "istio-system"} & set(given))
    if system:
        reader.bad(
            variable,
            list(given),
            f"{', '.join(system)} cannot be enrolled: the mesh's own agents and the pod network run there",
            remedy="Name the namespaces of workloads only.",
        )
        return ()
    return () if _no_namespace(reader, variable, given) else tuple(dict.fromkeys(given))


def _waypoints(reader: Reader) -> dict[str, str]:
    variable = "istio_ambient_waypoints"
    given = reader.mapping(variable) or {}
    if any(not isinstance(text, str) or not _NAMESPACE.fullmatch(text) for pair in given.items() for text in pair):
        reader.bad(
            variable, given, "it is no mapping of namespace to Gateway name", remedy="Write {namespace: waypoint}."
        )
        return {}
    return {str(namespace): str(name) for namespace, name in given.items()}


def _istio_values(reader: Reader) -> dict[str, dict[str, t.Any]]:
    variable = "istio_ambient_values"
    given = reader.mapping(variable) or {}
    wrong = [
        str(name) for name, values in given.items() if name not in ISTIO_CHARTS or not isinstance(values, t.Mapping)
    ]
    if wrong:
        reader.bad(
            variable,
            given,
            f"{', '.join(wrong)} is no chart with a mapping of values",
            remedy=f"Write values per chart: {', '.join(ISTIO_CHARTS)}.",
        )
        return {}
    return {str(name): dict(values) for name, values in given.items()}
