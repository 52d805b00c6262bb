# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pinned versions of what the laboratory builds, and how each is built.

The Go modules and their checksums are in lab/tools/<tool>/go.mod and go.sum (made from upstream's own).
"""

from __future__ import annotations

import typing as t

GO_MINIMUM = (1, 26)
KUBERNETES = "1.36.4"
CILIUM = "1.20.2"
ISTIO = "1.31.0"
ISTIO_MODULE = "v0.0.0-20260827124520-eed52ebb66ad"  # of the branch of 1.31; the module proxy has no tags of Istio
GATEWAY_API = "v1.6.0"  # what Istio's own go.mod requires


class Tool(t.NamedTuple):
    """One module: its version, binaries {name: package}, -X values, and seconds of a cold build on two cores.

    cgo lists the binaries that need a C compiler; they are linked statically, so that they run on any node's libc.
    tags: of the build.
    """

    name: str
    version: str
    binaries: dict[str, str]
    stamp: dict[str, str]
    seconds: int
    cgo: tuple[str, ...] = ()
    tags: str = ""


_COMPONENT = "k8s.io/component-base/version"
_HELM = "helm.sh/helm/v3"

TOOLS = (
    Tool("etcd", "3.6.14", {"etcd": "go.etcd.io/etcd/server/v3"}, {}, 54),
    Tool(
        "helm",
        "3.21.4",
        {"helm": f"{_HELM}/cmd/helm"},
        {
            f"{_HELM}/internal/version.version": "v3.21.4",
            # without these `helm template` believes in Kubernetes 1.20
            f"{_HELM}/pkg/chartutil.k8sVersionMajor": "1",
            f"{_HELM}/pkg/chartutil.k8sVersionMinor": "36",
            f"{_HELM}/pkg/lint/rules.k8sVersionMajor": "1",
            f"{_HELM}/pkg/lint/rules.k8sVersionMinor": "36",
        },
        78,
    ),
    Tool(
        "kubernetes",
        KUBERNETES,
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
        },
        {
            # without these /version is nonsense, and charts' kubeVersion constraints fail
            f"{_COMPONENT}.gitVersion": f"v{KUBERNETES}",
            f"{_COMPONENT}.gitMajor": "1",
            f"{_COMPONENT}.gitMinor": "36",
            f"{_COMPONENT}.gitTreeState": "clean",
            f"{_COMPONENT}.gitCommit": "unknown",
            f"{_COMPONENT}.buildDate": "1970-01-01T00:00:00Z",
        },
        275,
    ),
    Tool("kwok", "0.8.0", {name: f"sigs.k8s.io/kwok/cmd/{name}" for name in ("kwok", "kwokctl")}, {}, 67),
)

# Built only when asked for (`python3 -m lab tools --with spire`): no command of the laboratory needs them.
OPTIONAL = (
    Tool(
        "spire",
        "1.15.3",
        {name: f"github.com/spiffe/spire/cmd/{name}" for name in ("spire-server", "spire-agent")},
        {"github.com/spiffe/spire/pkg/common/version.gittag": "1.15.3"},
        600,
        # SQLite of the server; the agent alike, since both then share what is compiled
        cgo=("spire-server", "spire-agent"),
        tags="netgo,osusergo,sqlite_omit_load_extension",  # netgo, osusergo: a static glibc cannot load NSS modules
    ),
    Tool(
        "istio",
        ISTIO,
        {"pilot-discovery": "istio.io/istio/pilot/cmd/pilot-discovery"},
        {f"istio.io/istio/pkg/version.{key}": ISTIO for key in ("buildVersion", "buildTag")},
        420,
        tags="vtprotobuf",
    ),
)

BINARIES = {binary: tool for tool in TOOLS for binary in tool.binaries}
ALL_BINARIES = {binary: tool for tool in TOOLS + OPTIONAL for binary in tool.binaries}
