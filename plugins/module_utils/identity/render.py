# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a SPIRE server and agent: configuration in HCL, and systemd units. Pure: text from settings."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.identity.settings import Settings

MARK = "# Written by aicluster.zerotrust; changes here are lost."
CONFIG = {"server": "/etc/spire/server.conf", "agent": "/etc/spire/agent.conf"}
DATA = {"server": "/var/lib/spire/server", "agent": "/var/lib/spire/agent"}
RUNTIME = {"server": "/run/spire-server", "agent": "/run/spire-agent"}
SOCKET = {name: f"{folder}/api.sock" for name, folder in RUNTIME.items()}
NODE_CA = "/etc/spire/node-ca/ca.pem"
NODE_CA_KEY = "/etc/spire/node-ca/ca.key"
NODE_CERTIFICATE = "/etc/spire/node.pem"
NODE_KEY = "/etc/spire/node.key"
BUNDLE = "/etc/spire/bundle.pem"
STORE = f"{DATA['agent']}/agent-data.json"  # the agent's own SVID and bundle, without its key
TOKEN = "/run/spire-join-token"
SERVER_USER = "spire-server"

Plugins = t.Sequence[tuple[str, str, t.Mapping[str, t.Any]]]


def server_config(settings: Settings) -> str:
    """server.conf: SQLite, keys on disk, one node attestor, and the upstream authority where there is one."""
    values: dict[str, t.Any] = {
        "trust_domain": settings.trust_domain,
        # all addresses: a server may be reached over several networks, and every connection is mutual TLS
        "bind_address": "::" if ":" in settings.server_address else "0.0.0.0",
        "bind_port": settings.server_port,
        "data_dir": DATA["server"],
        "socket_path": SOCKET["server"],
        "log_level": settings.log_level.upper(),
        "ca_key_type": settings.ca_key_type,
        "ca_ttl": settings.ca_ttl,
        "default_x509_svid_ttl": settings.svid_ttl,
        "default_jwt_svid_ttl": settings.jwt_svid_ttl,
    }
    if settings.agent_ttl:
        values["agent_ttl"] = settings.agent_ttl
    plugins: list[tuple[str, str, t.Mapping[str, t.Any]]] = [
        ("DataStore", "sql", {"database_type": "sqlite3", "connection_string": f"{DATA['server']}/datastore.sqlite3"}),
        ("KeyManager", "disk", {"keys_path": f"{DATA['server']}/keys.json"}),
    ]
    if settings.node_attestation == "x509pop":
        bundle = settings.ca_bundle if settings.node_ca == "site" else NODE_CA
        plugins.append(("NodeAttestor", "x509pop", {"ca_bundle_path": bundle}))
    else:
        plugins.append(("NodeAttestor", "join_token", {}))
    if settings.upstream:
        names = {"certificate": "cert_file_path", "private_key": "key_file_path", "bundle": "bundle_file_path"}
        plugins.append(("UpstreamAuthority", "disk", {names[key]: value for key, value in settings.upstream}))
    return _config("server", values, plugins)


def agent_config(settings: Settings) -> str:
    """agent.conf: the same on every host. The join token is not in it: the agent would need its file at each start."""
    values: dict[str, t.Any] = {
        "trust_domain": settings.trust_domain,
        "server_address": settings.server_address,
        "server_port": settings.server_port,
        "data_dir": DATA["agent"],
        "socket_path": SOCKET["agent"],
        "trust_bundle_path": BUNDLE,
        "log_level": settings.log_level.upper(),
    }
    if settings.availability_target:
        values["availability_target"] = settings.availability_target
    plugins: list[tuple[str, str, t.Mapping[str, t.Any]]] = [("KeyManager", "disk", {"directory": DATA["agent"]})]
    if settings.node_attestation == "x509pop":
        site = settings.node_ca == "site"
        files = {
            "private_key_path": settings.private_key if site else NODE_KEY,
            "certificate_path": settings.certificate if site else NODE_CERTIFICATE,
        }
        plugins.append(("NodeAttestor", "x509pop", files))
    else:
        plugins.append(("NodeAttestor", "join_token", {}))
    for name in settings.attestors:
        # unix: path and checksum of the program are selectors, too
        plugins.append(("WorkloadAttestor", name, {"discover_workload_path": True} if name == "unix" else {}))
    return _config("agent", values, plugins)


def _config(section: str, values: t.Mapping[str, t.Any], plugins: Plugins) -> str:
    lines = [MARK, f"{section} {{", *_assignments(values, 1), "}", "", "plugins {"]
    for kind, name, data in plugins:
        lines += [f'    {kind} "{name}" {{', "        plugin_data {", *_assignments(data, 3), "        }", "    }"]
    return "\n".join([*lines, "}", ""])


def _assignments(values: t.Mapping[str, t.Any], depth: int) -> list[str]:
    # A string of JSON is one of HCL; "${" would begin an interpolation, and settings.py refuses it.
    return [f"{'    ' * depth}{name} = {json.dumps(value)}" for name, value in values.items()]


# What both services do without. Not here, on purpose: ProtectProc, ProcSubset, PrivatePIDs and PrivateUsers would hide
# from the agent the processes that it attests.
_HARDENING = (
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectControlGroups=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "UMask=0077",
)


def unit(component: str, binary: str) -> str:
    """The systemd unit of "server" or "agent"; binary is its path on the host."""
    special = {
        "server": (
            f"User={SERVER_USER}",
            f"Group={SERVER_USER}",
            "CapabilityBoundingSet=",
            "RuntimeDirectoryMode=0700",
            "ProtectHome=yes",
        ),
        # Root with two capabilities left: to follow /proc/PID/exe of other users' processes and to read the programs.
        "agent": (
            "CapabilityBoundingSet=CAP_SYS_PTRACE CAP_DAC_READ_SEARCH",
            # everybody may ask; who gets what is decided by attestation
            "RuntimeDirectoryMode=0755",
            "ProtectHome=read-only",
        ),
    }[component]
    lines = [
        MARK,
        "[Unit]",
        f"Description=SPIRE {component}",
        "Documentation=https://spiffe.io/docs/latest/",
        "Wants=network-online.target",
        "After=network-online.target",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        f"ExecStart={binary} run -config {CONFIG[component]}",
        "Restart=always",
        "RestartSec=2",
        f"StateDirectory=spire/{component}",
        "StateDirectoryMode=0700",
        f"RuntimeDirectory=spire-{component}",
        *special,
        *_HARDENING,
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
    ]
    return "\n".join(lines)


def token_drop_in(binary: str) -> str:
    """A drop-in below /run that gives the agent its join token's file for one start; it is removed afterwards."""
    command = f"{binary} run -config {CONFIG['agent']} -joinTokenFile {TOKEN}"
    return f"{MARK}\n[Service]\nExecStart=\nExecStart={command}\n"
