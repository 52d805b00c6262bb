#!/usr/bin/python
# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module cluster_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_info
short_description: Read what a Kubernetes cluster says about its nodes and its network
version_added: 0.1.0
description:
  - Reads in one call, with few paged requests, what plan and verdict need to know of a cluster. Nodes, Cilium,
    its Helm release, other owners of the CNI, kube-proxy, the run's Lease and the caller's permissions.
  - Changes nothing. A part that cannot be read is named in C(read_errors); only a cluster that cannot be
    reached at all, or does not accept the credentials, fails the task.
extends_documentation_fragment: [aicluster.zerotrust.kubernetes]
attributes:
  check_mode:
    support: full
    description: It only reads.
options:
  release:
    description: Name of the Helm release of Cilium.
    type: str
    default: cilium
  namespace:
    description: Namespace of the Helm release of Cilium.
    type: str
    default: kube-system
  need:
    description: Which permissions are asked about; V(apply) includes those of V(read).
    type: str
    choices: [read, apply]
    default: read
  gpu_pods:
    description:
      - Count the pods that hold GPUs on each Node. All pods are listed, paged, and only in a cluster that has GPUs.
      - Pods with resource claims (DRA) count as GPU pods, since what they claim is not visible in the Pod.
    type: bool
    default: true
  endpoints:
    description: Read CiliumEndpoints too, one per pod. Allowed IPs under native routing need them.
    type: bool
    default: false
  mesh:
    description:
      - Read Istio Ambient too. Its CRDs and the Gateway API's, its releases and parts, the namespaces with their labels
        of Istio, waypoints, pods of enrolled namespaces, and whether policies of the CNI are there.
      - Of Secrets that are no Helm releases only their names are read.
    type: bool
    default: false
  mesh_namespace:
    description: Namespace of Istio's control plane.
    type: str
    default: istio-system
  mesh_files:
    description:
      - What an installation of Istio takes from this host, checked and described in RV(mesh_files). Keys are C(charts)
        (chart to C(ref), C(repo), C(version)), C(gateway_api_crds), C(cacerts) and C(helm_binary).
    type: dict
  chart_ref:
    description: A chart (directory, archive, oci:// or name) whose version and values are returned too.
    type: str
  chart_repo:
    description: URL of the repository of O(chart_ref).
    type: str
  chart_version:
    description: Version of O(chart_ref) in a repository.
    type: str
  helm_binary:
    description: Helm 3 on this host; its version is returned. Also reads O(chart_ref) unless that is a directory.
    type: str
author:
  - aicluster.zerotrust contributors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Read the cluster
  aicluster.zerotrust.cluster_info:
    kubeconfig: ~/.kube/config
    context: lab
  register: zerotrust_cluster
"""

RETURN = r"""
cluster:
  description:
    - What was read, with schema, uid, server, server_version, read_errors (what, error), nodes, cilium (crds, config,
      daemonset, nodes, endpoints), release, cni_owners, kube_proxy, service_cidrs, lease and permissions.
    - Null stands for what is not there or could not be read; read_errors tells the two apart.
    - kube_proxy.present is null where it cannot be told (k3s).
    - mesh holds crds, gateway_api (version, channel), releases (base, istiod, cni, ztunnel), istiod, cni and ztunnel
      (image, desired, ready, managed_by), trust_domain, cacerts, root_strict, namespaces (name, labels, applied,
      deleting), waypoints, enrolled (per namespace pods, redirected, host_network), cni_policies and read_errors;
      null without O(mesh).
  returned: success
  type: dict
chart:
  description: version, values_yaml and error of the chart.
  returned: when chart_ref is given
  type: dict
mesh_files:
  description:
    - helm (version, error), charts (version, values_yaml, error), gateway_api (version, error) and cacerts (error) of
      the files on this host. Nothing of the CA's files is returned.
  returned: when mesh_files is given
  type: dict
helm:
  description: version and error of the helm binary.
  returned: when helm_binary is given
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster import chart, mesh_files, observe
from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import (
    CONNECTION_OPTIONS,
    ApiError,
    connect,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_OPTIONS,
            "release": {"type": "str", "default": "cilium"},
            "namespace": {"type": "str", "default": "kube-system"},
            "need": {"type": "str", "choices": ["read", "apply"], "default": "read"},
            "gpu_pods": {"type": "bool", "default": True},
            "endpoints": {"type": "bool", "default": False},
            "mesh": {"type": "bool", "default": False},
            "mesh_namespace": {"type": "str", "default": "istio-system"},
            "mesh_files": {"type": "dict"},
            "chart_ref": {"type": "str"},
            "chart_repo": {"type": "str"},
            "chart_version": {"type": "str"},
            "helm_binary": {"type": "str"},
        },
        supports_check_mode=True,
    )
    given = module.params
    result = {"changed": False}
    try:
        result["cluster"] = observe.cluster(
            connect(given["kubeconfig"], given["context"]),
            release=given["release"],
            namespace=given["namespace"],
            need=given["need"],
            gpu_pods=given["gpu_pods"],
            endpoints=given["endpoints"],
            mesh_namespace=given["mesh_namespace"] if given["mesh"] else "",
        )
    except ApiError as error:
        module.fail_json(msg=f"ZT906: {error.message}")
    if given["helm_binary"]:
        result["helm"] = chart.helm_version(given["helm_binary"])
    if given["mesh_files"]:
        files = given["mesh_files"]
        result["mesh_files"] = mesh_files.inspect(
            files.get("charts") or {},
            files.get("gateway_api_crds"),
            files.get("cacerts"),
            files.get("helm_binary") or "helm",
        )
    if given["chart_ref"]:
        result["chart"] = chart.read(
            given["chart_ref"], given["chart_repo"], given["chart_version"], given["helm_binary"] or "helm"
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
