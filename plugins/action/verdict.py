# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action verdict: collects the registered results of all hosts, judges them once and writes the report.

Evidence stays on the controller: it is read from hostvars here and never passes through task arguments.
"""

from __future__ import annotations

import datetime
import json
import pathlib
import subprocess
import typing as t

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.release import __version__ as core_version

from ansible_collections.aicluster.zerotrust.plugins.module_utils.report.conclude import conclude
from ansible_collections.aicluster.zerotrust.plugins.module_utils.report.files import link_latest, write_report
from ansible_collections.aicluster.zerotrust.plugins.module_utils.report.summary import summary

MODULE = "aicluster.zerotrust.cluster_info"
POLICY_MODULE = "aicluster.zerotrust.mtls_policy"


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        node_variable = self._task.args.get("node_variable", "zerotrust_node")
        wireguard_variable = self._task.args.get("wireguard_variable", "zerotrust_wireguard")
        run = self._run_of(task_vars)
        plan = self._plan_of(run)
        cluster, cluster_error = self._cluster(plan, task_vars)
        policy_state, policy_error = policy_evidence(self._policy_state(plan, run, task_vars))
        evidence = {
            "schema": 1,
            "run": {**run, "check_mode": bool(self._task.check_mode)},
            "started": started_of(str(run.get("id", ""))),
            "ended": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "intent": plan.get("intent") or {},
            "plan_sha256": run.get("plan_sha256"),
            "cluster": cluster,
            "hosts": {
                host: host_evidence(
                    task_vars["hostvars"].get(host) or {}, entry.get("excluded"), node_variable, wireguard_variable
                )
                for host, entry in (plan.get("hosts") or {}).items()
            },
            "identity": {host: svid_evidence(task_vars["hostvars"].get(host) or {}) for host in identity_hosts(plan)},
            "policy_state": policy_state,
            "policy_error": policy_error,
            "provenance": {
                "git_commit": git_commit(task_vars.get("playbook_dir")),
                "job": task_vars.get("awx_job_id") or task_vars.get("tower_job_id"),
                "versions": {"ansible_core": core_version},
                "cluster_error": cluster_error,
            },
        }
        report = conclude(evidence, plan, datetime.datetime.now(datetime.timezone.utc).date())
        try:
            paths = write_report(run["dir"], report, evidence)
            parent = pathlib.Path(run["dir"]).parent
            paths["latest"] = link_latest(parent, run["dir"])
        except OSError as error:
            raise AnsibleActionFail(
                f"The report cannot be written to {run['dir']}: {error}. Set zerotrust_report_dir to a folder "
                "that the user of this run can write to."
            ) from error
        text = summary(report, paths["html"])
        result.update(changed=False, verdict=report["verdict"], summary=text, report=paths)
        if report["verdict"]["state"] in (self._task.args.get("fail_on") or []):
            result.update(failed=True, msg=text)
        return result

    def _run_of(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        run = self._templar.template(task_vars.get("zerotrust_run"))
        if not isinstance(run, dict) or not run.get("dir"):
            raise AnsibleActionFail("zerotrust_run is not set: verdict needs the plan of this run. Run the plan first.")
        return dict(run)

    def _plan_of(self, run: dict[str, t.Any]) -> dict[str, t.Any]:
        path = pathlib.Path(run["dir"]) / "plan.json"
        try:
            plan: dict[str, t.Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise AnsibleActionFail(f"{path} cannot be read: {error}. Run the plan first.") from error
        return plan

    def _api_options(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        names = {"kubeconfig": "zerotrust_kubeconfig", "context": "zerotrust_context"}
        return {
            option: self._templar.template(task_vars[name]) for option, name in names.items() if task_vars.get(name)
        }

    def _policy_state(
        self, plan: dict[str, t.Any], run: dict[str, t.Any], task_vars: dict[str, t.Any]
    ) -> dict[str, t.Any] | None:
        """What mtls_policy says of the set with stage compare; None where the plan has no policies."""
        if not plan.get("policies"):
            return None
        part = plan.get("policy") or {}
        arguments = self._api_options(task_vars)
        arguments.update(stage="compare", set_name=part.get("set") or "default", cluster_name=part.get("cluster") or "")
        api_host = self._templar.template(task_vars.get("zerotrust_api_host") or "localhost")
        if api_host in ("localhost", "127.0.0.1"):
            # On the controller the plan's file is read where it lies; megabytes do not travel as arguments.
            arguments["plan_file"] = str(pathlib.Path(run["dir"]) / "plan.json")
        else:
            arguments["objects"] = plan["policies"]
        try:
            answer: dict[str, t.Any] = self._execute_module(
                module_name=POLICY_MODULE, module_args=arguments, task_vars=task_vars
            )
        except AnsibleError as error:
            return {"failed": True, "msg": str(error)}
        return answer

    def _cluster(
        self, plan: dict[str, t.Any], task_vars: dict[str, t.Any]
    ) -> tuple[dict[str, t.Any] | None, str | None]:
        """(what the API says now, why not). An API that does not answer is unknown, and no reason to stop."""
        arguments = self._api_options(task_vars)
        intent = plan.get("intent") or {}
        cilium = intent.get("cilium") or {}
        if intent.get("engine") == "istio_ambient":
            arguments["mesh"] = True
            arguments["mesh_namespace"] = (intent.get("istio_ambient") or {}).get("namespace") or "istio-system"
        # Only what the proof asks for: pods are not listed.
        arguments["gpu_pods"] = False
        arguments.update({option: cilium[option] for option in ("release", "namespace") if cilium.get(option)})
        try:
            answer = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
        except AnsibleError as error:
            return None, str(error)
        if answer.get("failed") or answer.get("unreachable") or not answer.get("cluster"):
            return None, str(answer.get("msg") or "cluster_info gave no answer")
        return answer["cluster"], None


def host_evidence(
    hostvars: t.Mapping[str, t.Any], excluded: str | None, node_variable: str, wireguard_variable: str
) -> dict[str, t.Any]:
    """One host's entry of evidence.json from its registered results. A host without results was not observed."""
    node, node_error = observed(hostvars, node_variable, "node")
    wireguard, wireguard_error = observed(hostvars, wireguard_variable, "wireguard")
    error = None if excluded else wireguard_error or node_error
    return {"node": node, "wireguard": wireguard, "error": error, "excluded": excluded}


def observed(hostvars: t.Mapping[str, t.Any], variable: str, key: str) -> tuple[dict[str, t.Any] | None, str | None]:
    """(what the registered result holds, why it holds nothing)."""
    registered = hostvars.get(variable)
    if not isinstance(registered, dict):
        return None, "the host was not part of this run"
    if isinstance(registered.get(key), dict):
        return dict(registered[key]), None
    if registered.get("unreachable"):
        return None, f"unreachable: {registered.get('msg', 'no reason given')}"
    return None, str(registered.get("msg") or "the module gave no result")


def identity_hosts(plan: t.Mapping[str, t.Any]) -> list[str]:
    """Hosts that were to be asked for their SVIDs: those with agents, and the server's; none without SPIRE on hosts."""
    part = plan.get("identity") or {}
    if (plan.get("intent") or {}).get("identity") != "spire" or part.get("deployment", "hosts") != "hosts":
        return []
    return sorted({*(part.get("hosts") or ()), *(part.get("servers") or ())})


def svid_evidence(hostvars: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """A host's result of svid_info; where there is none, the same shape with the reason and nothing seen."""
    found, error = observed(hostvars, "zerotrust_svid", "svid")
    return found or {"state": "unknown", "error": error, "svids": [], "agent": None, "bundle": [], "server": None}


def policy_evidence(answer: t.Mapping[str, t.Any] | None) -> tuple[dict[str, t.Any] | None, str]:
    """(result of mtls_policy with stage compare, why there is none)."""
    if answer is None:
        return None, "there is no set to compare"
    if answer.get("stage") == "compare" and not answer.get("failed"):
        kept = ("engine", "missing", "drifted", "foreign", "unchanged", "extra", "conditions")
        return {key: answer.get(key) for key in kept}, ""
    return None, str(answer.get("msg") or "the comparison gave no result")


def started_of(run_id: str) -> str | None:
    """The plan's start in UTC from the run's id, "20261122T201500Z-1f3a"; None where it is of another form."""
    try:
        moment = datetime.datetime.strptime(run_id.split("-")[0], "%Y%m%dT%H%M%SZ")
    except ValueError:
        return None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def git_commit(folder: str | None) -> str | None:
    """Commit of the checkout that holds the playbook, with "+changes" where files differ; None outside of one."""
    if not folder:
        return None
    try:
        head = subprocess.run(
            ["git", "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
        dirty = subprocess.run(
            ["git", "-C", folder, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}+changes" if dirty else head
