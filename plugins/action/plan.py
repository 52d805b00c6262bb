# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin of the plan: reads variables and registered results on the controller, calls cluster_info, writes the
plan. All judgement is in module_utils/plan; this file only gathers and hands over.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import hashlib
import ipaddress
import json
import os
import secrets
import time
import typing as t

from ansible import context
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.release import __version__ as core_version
from ansible.utils.vars import load_extra_vars

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import (
    Finding,
    Subject,
    canonical,
)
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.model import (
    HostIntent,
    Intent,
    excluded_hosts,
    parse,
    parse_host,
)
from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent.variables import by_scope, ours
from ansible_collections.aicluster.zerotrust.plugins.module_utils.mesh import objects as mesh_objects
from ansible_collections.aicluster.zerotrust.plugins.module_utils.node.interpreter import explain_failure
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import identity as identity_planning
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import mesh as mesh_planning
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan import run as planning
from ansible_collections.aicluster.zerotrust.plugins.module_utils.plan.hosts import HostState
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy import load as policy_files
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy import options as policy_options
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy import waypoints as policy_waypoints
from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy.render import render as render_policies
from ansible_collections.aicluster.zerotrust.plugins.module_utils.report.build import build_refusal
from ansible_collections.aicluster.zerotrust.plugins.module_utils.report.files import link_latest, write_report

DEFAULT_PATTERN = "kube_control_plane:kube_node"


class ActionModule(ActionBase):
    """Runs once for all hosts of the play, on the controller; only cluster_info runs on the delegated API host."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        self._vars: dict[str, t.Any] = task_vars or {}
        _unused, given = self.validate_argument_spec(
            {
                "mode": {"type": "str", "choices": list(planning.MODES), "default": "preflight"},
                "node_variable": {"type": "str", "default": "zerotrust_node"},
            }
        )
        mode = given["mode"]
        now = time.time()
        self._started = f"{datetime.datetime.fromtimestamp(now, datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
        self._seen: dict[str, t.Any] = {}
        run_id = f"{datetime.datetime.fromtimestamp(now, datetime.timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        intent, findings = self._intent()
        names = self._all_hosts()
        host_intents, host_findings = self._host_intents(names)
        findings += host_findings + self._one_intent(names)
        identity, identity_findings = self._identity(intent, names, findings)
        findings += identity_findings
        policies, policy_findings = _policies(intent)
        findings += policy_findings
        plan = planning.refused(intent, mode, findings, now)
        limited = False
        cluster: dict[str, t.Any] = {}
        if not plan.blockers:
            read, problem = self._read_cluster(intent, mode)
            cluster = read.get("cluster") or {}
            if problem:
                plan = planning.refused(intent, mode, [*findings, problem], now)
            else:
                in_run = set(self._vars.get("ansible_play_hosts_all") or [])
                limited = bool(context.CLIARGS.get("subset")) and not set(names) <= in_run
                ambient = intent.engine == "istio_ambient"
                l7 = policy_waypoints.namespaces(policies) if ambient else []
                options = policy_options.from_intent(intent)
                if ambient:
                    options = dataclasses.replace(options, waypoints=mesh_objects.waypoints(intent.istio_ambient, l7))
                objects, render_findings = render_policies(
                    policies,
                    set_name=intent.mtls_policy.set_name,
                    cluster_name=planning.policy_label(intent, cluster),
                    engine=intent.engine or "cilium",
                    options=options,
                )
                plan = planning.build_plan(
                    planning.Inputs(
                        intent=intent,
                        mode=mode,
                        limited=limited,
                        hosts=self._hosts(names, host_intents, intent, in_run, given["node_variable"], now),
                        cluster=cluster,
                        chart=read.get("chart"),
                        helm=read.get("helm"),
                        policies=objects,
                        findings=[*findings, *render_findings],
                        started=_run_started(now),
                        now=now,
                        identity=identity,
                        versions={"collection": _collection_version(), "ansible_core": core_version},
                        mesh_files=read.get("mesh_files"),
                        l7=l7,
                    )
                )
        return self._result(plan, run_id, mode, limited, cluster)

    def _result(
        self, plan: planning.Plan, run_id: str, mode: str, limited: bool, cluster: dict[str, t.Any]
    ) -> dict[str, t.Any]:
        # verify goes on to prove what it can; only what makes its proof meaningless (intent, API, matching) ends it.
        stops = [found for found in plan.blockers if mode != "verify" or found.code.startswith("ZT9")]
        directory = os.path.join(self._report_dir(), run_id)
        path = _write(directory, "plan.json", canonical(plan.document) + "\n")
        run = {
            "id": run_id,
            "dir": directory,
            "plan_sha256": plan.sha256,
            "accepted": not stops,
            "limited": limited,
            "mode": mode,
            "actions": plan.actions(),
            "policy": plan.document["policy"],
            "identity": plan.document["identity"],
        }
        lines = planning.summary(plan)
        result: dict[str, t.Any] = {
            # The plan file is a report about the run, not a change of any system: it is written in check mode, too.
            "changed": False,
            "run": run,
            "groups": self._groups(plan, mode, limited) if not stops else [],
            "plan_file": path,
            "summary": lines,
            "diff": planning.diff(plan, cluster),
        }
        if not stops and mode != "verify":
            # A callback shows a diff of changed results only, and the plan changes nothing: so it is said here.
            self._display.display("\n".join([*lines, *(_unified(result["diff"]) if self._task.diff else [])]))
        if stops:
            result["failed"] = True
            listed = "\n".join(found.line() for found in stops)
            noun = "blocker" if len(stops) == 1 else "blockers"
            page = self._refusal(plan, run)
            result["msg"] = f"{len(stops)} {noun}, nothing was changed. Report: {page}\n{listed}"
            result["summary"] = lines if mode == "preflight" else []
        return result

    def _refusal(self, plan: planning.Plan, run: dict[str, t.Any]) -> str:
        """Writes the report of a run that ends here; returns the path of its page."""
        ended = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
        report = build_refusal(plan.document, run, hosts=self._seen, started=self._started, ended=ended)
        paths = write_report(run["dir"], report)
        link_latest(os.path.dirname(run["dir"]), run["dir"])
        return paths["html"]

    def _groups(self, plan: planning.Plan, mode: str, limited: bool) -> list[dict[str, t.Any]]:
        """Which in-memory groups hosts join: [{"host", "groups"}]. One host stands for the cluster's work."""
        kept = plan.document["identity"]
        groups: dict[str, list[str]] = {}
        if kept["action"] == "keep" or mode == "verify":
            groups = {host: ["zerotrust_identity_hosts"] for host in kept["run"]}
        if mode != "site":
            return [{"host": host, "groups": names} for host, names in sorted(groups.items())]
        for host in sorted(plan.document["nic"]):
            groups.setdefault(host, []).append("zerotrust_nic_changes")
        work = any(plan.document[part]["action"] not in ("none", "left") for part in ("cilium", "istio", "policy"))
        hosts = self._vars.get("ansible_play_hosts") or []
        if work and not limited and hosts:
            groups.setdefault(str(hosts[0]), []).append("zerotrust_cluster_work")
        return [{"host": host, "groups": names} for host, names in sorted(groups.items())]

    def _intent(self) -> tuple[Intent, list[Finding]]:
        """The intent from the variables of the first host, templated one by one so that an error names its variable."""
        variables: dict[str, t.Any] = {}
        findings: list[Finding] = []
        wanted = set(by_scope("intent"))
        for name in sorted(name for name in self._vars if ours(name)):
            if name not in wanted:
                variables[name] = None
                continue
            try:
                variables[name] = plain(self._templar.template(self._vars[name]))
            except AnsibleError as error:
                message = f"{name} cannot be evaluated: {error}"
                findings.append(Finding("ZT901", Subject("variable", name), message, source="variables"))
        extra = load_extra_vars(self._loader)
        intent, parsed = parse(variables, extra_vars=extra)
        if "zerotrust_hosts" in self._vars and "zerotrust_hosts" not in extra:
            message = "zerotrust_hosts is set in the inventory, where no play can see it"
            remedy = "Give it with -e zerotrust_hosts=..., or use the groups kube_control_plane and kube_node."
            subject = Subject("variable", "zerotrust_hosts")
            findings.append(Finding("ZT901", subject, message, remedy=remedy, source="variables"))
        return intent, findings + parsed

    def _identity(
        self, intent: Intent, names: list[str], known: t.Sequence[Finding]
    ) -> tuple[dict[str, t.Any], list[Finding]]:
        """The plan's part on identity, and what is wrong with its variables beside what is known already."""
        if intent.identity != "spire":
            return dict(identity_planning.NONE), []
        variables: dict[str, t.Any] = {}
        findings: list[Finding] = []
        for name in ("zerotrust_trust_domain", *by_scope("identity")):
            try:
                variables[name] = plain(self._templar.template(self._vars.get(name)))
            except AnsibleError as error:
                message = f"{name} cannot be evaluated: {error}"
                findings.append(Finding("ZT901", Subject("variable", name), message, source="variables"))
        groups = plain(self._vars.get("groups") or {})
        servers = variables.get("spire_server_group")
        if servers is None:
            servers = groups.get("spire_server") or (groups.get("kube_control_plane") or [])[:1]
        if servers and not variables.get("spire_server_address"):
            variables["spire_server_address"] = plain(self._hostvar(servers[0], "ansible_host")) or servers[0]
        pattern = variables.get("spire_hosts")
        part, found = identity_planning.check(
            variables, servers=servers, hosts=_select(str(pattern), groups) if pattern else names, digest=file_digest
        )
        told = {finding.subject for finding in [*known, *findings]}
        return part, findings + [finding for finding in found if finding.subject not in told]

    def _one_intent(self, names: list[str]) -> list[Finding]:
        """The intent is one for the cluster: of values that differ by host the first would win in silence."""
        hostvars = self._vars["hostvars"]
        findings = []
        known = [name for name in names if name in hostvars]
        raw = {name: hostvars.raw_get(name) for name in known}
        for variable in sorted(by_scope("intent", "identity")):
            values = {name: canonical(plain(raw[name].get(variable))) for name in known}
            other = next((name for name in known if values[name] != values[known[0]]), None)
            if other is None:
                continue
            message = f"{variable} is {values[known[0]]} on {known[0]} and {values[other]} on {other}"
            remedy = f"Set {variable} once for all hosts, in group_vars/all.yml."
            subject = Subject("variable", variable)
            findings.append(Finding("ZT901", subject, message, remedy=remedy, source="variables"))
        return findings

    def _host_intents(self, names: list[str]) -> tuple[dict[str, HostIntent], list[Finding]]:
        intents: dict[str, HostIntent] = {}
        findings: list[Finding] = []
        for name in names:
            values: dict[str, t.Any] = {}
            for variable in by_scope("host"):
                try:
                    values[variable] = plain(self._hostvar(name, variable))
                except AnsibleError as error:
                    message = f"{variable} of {name} cannot be evaluated: {error}"
                    subject = Subject("variable", f"{variable} of {name}")
                    findings.append(Finding("ZT901", subject, message, source="variables"))
            intents[name], parsed = parse_host(name, values)
            findings += parsed
        return intents, findings

    def _hosts(
        self,
        names: list[str],
        intents: dict[str, HostIntent],
        intent: Intent,
        in_run: set[str],
        node_variable: str,
        now: float,
    ) -> list[HostState]:
        today = datetime.datetime.fromtimestamp(now, datetime.timezone.utc).date()
        excluded = excluded_hosts(intent, today)
        states = []
        for name in names:
            result = plain(self._hostvar(name, node_variable)) or {}
            ended = intent.maintenance.get(name) if name not in excluded else None
            node = result.get("node") if not result.get("failed") and not result.get("unreachable") else None
            error = (
                None if node else explain_failure(result) or str(result.get("msg") or "it has no result of node_info")
            )
            self._seen[name] = {"node": node, "error": error}
            if ended and not node:
                error = f"its maintenance ended on {ended['until']}; renew or remove its entry of zerotrust_maintenance"
            states.append(
                HostState(
                    name=name,
                    intent=intents[name],
                    node=None if name in excluded else node,
                    error=error,
                    unreachable=bool(result.get("unreachable")),
                    excluded=excluded.get(name),
                    in_run=name in in_run,
                    address=_address(self._hostvar(name, "ansible_host")),
                )
            )
        return states

    def _hostvar(self, host: str, variable: str) -> t.Any:
        hostvars = self._vars["hostvars"]
        return hostvars[host].get(variable) if host in hostvars else None

    def _all_hosts(self) -> list[str]:
        """Every host of the pattern in inventory order, whatever --limit says."""
        in_play = [str(name) for name in self._vars.get("ansible_play_hosts_all") or []]
        if not context.CLIARGS.get("subset"):
            return in_play
        raw = self._vars.get("zerotrust_hosts") or DEFAULT_PATTERN
        pattern = plain(self._templar.template(raw))
        pattern = ":".join(pattern) if isinstance(pattern, list) else str(pattern)
        groups = plain(self._vars.get("groups") or {})
        names = dict.fromkeys([*_select(pattern, groups), *in_play])
        return list(names)

    def _read_cluster(self, intent: Intent, mode: str) -> tuple[dict[str, t.Any], Finding | None]:
        """cluster_info's result, or the finding ZT906 that says why there is none."""
        cilium = intent.cilium
        installs = intent.cni == "cilium" or (intent.cni is None and mode == "site")
        installs = installs and mode != "verify"
        arguments: dict[str, t.Any] = {
            "release": cilium.release,
            "namespace": cilium.namespace,
            "need": "apply" if mode == "site" else "read",
            "gpu_pods": mode != "verify",
        }
        for option, variable in (("kubeconfig", "zerotrust_kubeconfig"), ("context", "zerotrust_context")):
            value = plain(self._templar.template(self._vars.get(variable)))
            if value:
                arguments[option] = value
        if installs:
            arguments["helm_binary"] = cilium.helm_binary
            # A chart in a repository is only fetched here when there are values to check against it.
            if cilium.values or "/" in cilium.chart_ref:
                arguments["chart_ref"] = cilium.chart_ref
                if cilium.chart_repo:
                    arguments.update(chart_repo=cilium.chart_repo, chart_version=cilium.version)
        if intent.engine == "istio_ambient":
            arguments.update(_mesh_arguments(intent, mode))
        try:
            result = self._execute_module(
                module_name="aicluster.zerotrust.cluster_info", module_args=arguments, task_vars=self._vars
            )
        except AnsibleConnectionFailure as error:
            result = {"failed": True, "msg": str(error)}
        result = plain(result)
        if not result.get("failed") and not result.get("unreachable") and result.get("cluster"):
            return result, None
        reason = str(result.get("msg") or result.get("module_stderr") or "cluster_info gave no result").strip()
        reason = reason[len("ZT906: ") :] if reason.startswith("ZT906: ") else reason
        where = arguments.get("kubeconfig") or "the default kubeconfig"
        message = f"the API could not be read with {where}: {reason}"
        return result, Finding("ZT906", Subject("cluster", "API"), message, observed=reason, source="cluster_info")

    def _report_dir(self) -> str:
        given = plain(self._templar.template(self._vars.get("zerotrust_report_dir")))
        state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        return os.path.abspath(os.path.expanduser(str(given or os.path.join(state, "aicluster-zerotrust", "runs"))))


def file_digest(path: str) -> str | None:
    """SHA-256 of a file on the controller, None where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def plain(value: t.Any) -> t.Any:
    """Plain Python types: Ansible's tagged and lazily templated containers give their values by iteration only."""
    if isinstance(value, t.Mapping):
        return {str.__str__(str(key)): plain(value[key]) for key in value}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return float(value) if isinstance(value, float) else value


def _mesh_arguments(intent: Intent, mode: str) -> dict[str, t.Any]:
    """Arguments of cluster_info for the engine Istio Ambient: what runs, and the files that an installation takes."""
    istio = intent.istio_ambient
    arguments: dict[str, t.Any] = {"mesh": True, "mesh_namespace": istio.namespace}
    if mode != "verify":
        sources = mesh_planning.chart_sources(intent)
        # A chart in a repository is only fetched here when there are values to check against it.
        read = {name: where for name, where in sources.items() if istio.chart_dir or istio.values.get(name)}
        arguments["mesh_files"] = {
            "charts": read,
            "gateway_api_crds": istio.gateway_api_crds,
            "cacerts": istio.cacerts,
            "helm_binary": istio.helm_binary,
        }
    return arguments


def _policies(intent: Intent) -> tuple[list[t.Any], list[Finding]]:
    """Policy documents of the directory, then the inline ones."""
    documents: list[t.Any] = []
    findings: list[Finding] = []
    if intent.policy_files:
        documents, findings = policy_files.directory(intent.policy_files)
    return [*documents, *intent.policies], findings


def _unified(diff: dict[str, str]) -> list[str]:
    """The plan's diff as unified lines."""
    before, after = diff["before"].splitlines(), diff["after"].splitlines()
    return list(difflib.unified_diff(before, after, diff["before_header"], diff["after_header"], lineterm=""))


def _select(pattern: str, groups: dict[str, list[str]]) -> list[str]:
    """Hosts of a pattern of group and host names with : or , (union), ! (without) and & (and)."""
    union: dict[str, None] = {}
    without: set[str] = set()
    only: list[set[str]] = []
    everybody = groups.get("all") or []
    for part in pattern.replace(",", ":").split(":"):
        name = part.strip()
        if not name:
            continue
        bare = name.lstrip("!&")
        hosts = list(everybody) if bare in ("all", "*") else groups.get(bare, [bare] if bare in everybody else [])
        if name.startswith("!"):
            without |= set(hosts)
        elif name.startswith("&"):
            only.append(set(hosts))
        else:
            union.update(dict.fromkeys(hosts))
    return [host for host in union if host not in without and all(host in some for some in only)]


def _address(value: t.Any) -> str | None:
    try:
        return str(ipaddress.ip_address(str(value)))
    except ValueError:
        return None


def _run_started(now: float) -> float:
    """Epoch seconds at which this ansible-playbook began, from /proc; where there is none, an hour ago.

    Hosts were observed between then and now, which is all that is known of the moment of each observation.
    """
    try:
        with open(f"/proc/{os.getppid()}/stat", encoding="ascii", errors="replace") as stream:
            ticks = float(stream.read().rpartition(")")[2].split()[19])
        with open("/proc/uptime", encoding="ascii") as stream:
            uptime = float(stream.read().split()[0])
    except (OSError, ValueError, IndexError):
        return now - 3600
    return min(now, now - uptime + ticks / os.sysconf("SC_CLK_TCK"))


def _collection_version() -> str:
    """Version from MANIFEST.json (installed) or galaxy.yml (checkout)."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    try:
        with open(os.path.join(root, "MANIFEST.json"), encoding="utf-8") as stream:
            return str(json.load(stream)["collection_info"]["version"])
    except (OSError, ValueError, KeyError):
        pass
    try:
        with open(os.path.join(root, "galaxy.yml"), encoding="utf-8") as stream:
            found = [line.split(":", 1)[1].strip() for line in stream if line.startswith("version:")]
    except OSError:
        found = []
    return found[0] if found else "unknown"


def _write(directory: str, name: str, text: str) -> str:
    """Writes a file of the run, readable by its owner only, complete or not at all; returns its path."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    os.chmod(directory, 0o700)
    path = os.path.join(directory, name)
    descriptor = os.open(f"{path}.part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(f"{path}.part", path)
    return path
