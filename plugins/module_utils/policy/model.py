# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy model: who may talk to whom, typed and without the words of any engine.

A document (docs/policy.md) is parsed into a Policy: a subject (pods), what the subject may receive (ingress)
and what it may open (egress). Nothing here knows how an engine writes that down; render.py does.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import re
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.policy import manifest

PROTOCOLS = ("TCP", "UDP", "SCTP")
DIRECTIONS = ("ingress", "egress")
ENTITIES = ("all", "cluster", "health", "host", "ingress", "kube-apiserver", "remote-node", "world")
ALL_PORTS = 0
"""As a port number: every port of the protocol."""

_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
_DNS_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_LABEL_VALUE = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")
_LABEL_KEY = re.compile(r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")
_PORT_NAME = re.compile(r"^(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*$")
_SPIFFE = re.compile(r"^spiffe://([a-z0-9._-]{1,255})/ns/([^/]+)/sa/([^/]+)$")
_METHOD = re.compile(r"^[A-Z]{3,10}$")
_PATH = re.compile(r"^/[-A-Za-z0-9._~%!$&'()+,;=:@/]*\*?$")
ENGINE_LABELS = {
    "io.kubernetes.pod.namespace": "namespace",
    "io.cilium.k8s.policy.serviceaccount": "service_account",
    "io.cilium.k8s.policy.cluster": "",
}
"""Label keys that an engine takes for something else than a pod's label, and the field that says the same."""


class PolicyError(Exception):
    """A document cannot be taken: path within it ("allow[0].ports[1].port"), value, why, what to do instead."""

    def __init__(self, path: str, value: t.Any, why: str, remedy: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.value = value
        self.why = why
        self.remedy = remedy


@dataclasses.dataclass(frozen=True)
class Selector:
    """Pods: by labels (sorted pairs; empty is all), namespace (None is the policy's own), service account.

    trust_domain: of the SPIFFE id that the namespace and service account were written as; it has to be this cluster's.
    """

    labels: tuple[tuple[str, str], ...] = ()
    namespace: str | None = None
    service_account: str | None = None
    trust_domain: str | None = None

    def covers(self, other: Selector) -> bool:
        """Whether every pod that `other` selects is selected by this one too. Namespaces must be filled in."""
        return (
            self.namespace in (None, other.namespace)
            and self.service_account in (None, other.service_account)
            and set(self.labels) <= set(other.labels)
        )


@dataclasses.dataclass(frozen=True)
class Entity:
    """What has no pod labels: a name from ENTITIES."""

    name: str


@dataclasses.dataclass(frozen=True)
class Network:
    """Addresses outside of the cluster: a CIDR and the CIDRs within it that are not meant."""

    cidr: str
    exclude: tuple[str, ...] = ()


Peer = t.Union[Selector, Entity, Network]


@dataclasses.dataclass(frozen=True)
class Port:
    """A port number (ALL_PORTS for every one), a range up to end, or a container port's name; and its protocol."""

    port: int | str
    protocol: str = "TCP"
    end: int | None = None


@dataclasses.dataclass(frozen=True)
class Http:
    """HTTP requests: a method (None is any) and a path without its query, exact or with a trailing * for a prefix."""

    method: str | None = None
    path: str | None = None


@dataclasses.dataclass(frozen=True)
class Rule:
    """One permission: any of the peers, on any of the ports. Empty ports: all ports of all protocols.

    http: only requests that one of these matches; empty is any traffic. authentication: the peer must have proved
    its identity. path, peer_paths: where in the document the rule and its peers stand, for errors of an engine.
    """

    peers: tuple[Peer, ...]
    ports: tuple[Port, ...] = ()
    http: tuple[Http, ...] = ()
    authentication: bool = False
    path: str = dataclasses.field(default="", compare=False)
    peer_paths: tuple[str, ...] = dataclasses.field(default=(), compare=False)

    def placed(self) -> t.Iterator[tuple[str, Peer]]:
        """Each peer with its place in the document, the rule's where it has none of its own."""
        for index, item in enumerate(self.peers):
            yield (self.peer_paths[index] if index < len(self.peer_paths) else self.path), item


@dataclasses.dataclass(frozen=True)
class Policy:
    """Rules for the subject's pods. namespace None: the policy is cluster-wide and subject names a namespace.

    ingress, egress: None leaves the direction alone; rules (even none) allow just these.
    isolate: whether a direction with rules denies what they do not allow. False only adds permissions.
    preset: the preset that it was written as; "default" for the default of a namespace.
    mtls: these pods (all of the namespace) take no connection without mutual TLS.
    """

    name: str
    namespace: str | None
    subject: Selector
    ingress: tuple[Rule, ...] | None = None
    egress: tuple[Rule, ...] | None = None
    isolate: bool = True
    preset: str | None = None
    mtls: bool = False

    @property
    def scope(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


Data = t.Mapping[str, t.Any]


def parse(document: t.Any) -> Policy:
    """A document of the model as Policy. Raises PolicyError at the first thing that is wrong."""
    data = mapping(document, "")
    wrong = manifest.fault(data)
    if wrong:
        raise PolicyError(*wrong)
    preset = data.get("preset")
    if preset is not None:
        if not isinstance(preset, str) or preset not in _PRESETS:
            raise PolicyError("preset", preset, "there is no such preset", f"use one of {', '.join(sorted(_PRESETS))}")
        return _PRESETS[preset](data)
    return _default(data) if "default" in data else _rules(data)


# Forms -------------------------------------------------------------------------------------------------------------


def _rules(data: Data) -> Policy:
    known(data, ("name", "namespace", "cluster_wide", "to", "from", "allow", "isolate"), "")
    name, wide = _head(data)
    if ("to" in data) == ("from" in data):
        raise PolicyError(
            "to",
            {key: data[key] for key in ("to", "from") if key in data},
            "a policy has one direction",
            "give `to` (the pods that receive; each allow has `from`) or `from` (the pods that open connections; "
            "each allow has `to`)",
        )
    receives = "to" in data
    own, other = ("to", "from") if receives else ("from", "to")
    namespace = None if wide else required(data, "namespace", "", namespace_name)
    subject = selector(data[own], own, needs_namespace=wide, other_namespace=wide)
    rules = []
    for index, item in enumerate(sequence(required(data, "allow", "", None), "allow")):
        path = f"allow[{index}]"
        entry = mapping(item, path)
        known(entry, (other, "ports", "http", "authentication"), path)
        given = one_or_many(entry, other, path)
        peers = tuple(peer(value, where, needs_namespace=wide) for where, value in given)
        found = ports(entry, path)
        places = tuple(where for where, _ in given)
        rules.append(Rule(peers, found, http(entry, path, found), authentication(entry, path), path, places))
    isolate = boolean(data.get("isolate", True), "isolate")
    for rule in rules:
        if rule.http and not isolate:
            raise PolicyError(
                "isolate",
                False,
                f"{rule.path}.http denies the other requests to its ports, so it does not only add permissions",
                "remove isolate, or put the HTTP rules into a policy of their own",
            )
    return Policy(
        name,
        namespace,
        subject,
        ingress=tuple(rules) if receives else None,
        egress=None if receives else tuple(rules),
        isolate=isolate,
    )


def _default(data: Data) -> Policy:
    """What holds for every pod of a namespace that no other policy speaks of: {default: deny, directions, mtls}."""
    known(data, ("name", "namespace", "default", "directions", "mtls"), "")
    name, _wide = _head(data)
    namespace = required(data, "namespace", "", namespace_name)
    if data["default"] != "deny":
        raise PolicyError(
            "default", data["default"], "a namespace's default is deny", "write deny, or remove the policy to allow"
        )
    directions = sequence(data.get("directions", list(DIRECTIONS)), "directions")
    for index, word in enumerate(directions):
        if word not in DIRECTIONS:
            raise PolicyError(
                f"directions[{index}]", word, "there is no such direction", f"use one of {', '.join(DIRECTIONS)}"
            )
    if not directions:
        raise PolicyError("directions", directions, "it denies nothing", f"name {' or '.join(DIRECTIONS)}")
    return Policy(
        name,
        namespace,
        Selector(),
        ingress=() if "ingress" in directions else None,
        egress=() if "egress" in directions else None,
        preset="default",
        mtls=boolean(data.get("mtls", False), "mtls"),
    )


def _head(data: Data) -> tuple[str, bool]:
    name = required(data, "name", "", object_name)
    wide = boolean(data.get("cluster_wide", False), "cluster_wide")
    if wide and "namespace" in data:
        raise PolicyError(
            "namespace",
            data["namespace"],
            "a cluster-wide policy is in no namespace",
            "remove it and give the namespace in each selector, or remove cluster_wide",
        )
    return name, wide


def _dns_rule(data: Data, path: str) -> Rule:
    """Permission to ask the cluster's resolver; `dns` may name its pods: {namespace, labels}."""
    where = selector(
        data.get("dns", {"namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}}),
        join(path, "dns"),
        needs_namespace=True,
        other_namespace=True,
    )
    return Rule((where,), (Port(53, "UDP"), Port(53, "TCP")), path=join(path, "dns"))


def _preset_dns(data: Data) -> Policy:
    known(data, ("preset", "name", "namespace", "from", "dns", "isolate"), "")
    name, _wide = _head(data)
    namespace = required(data, "namespace", "", namespace_name)
    subject = selector(data.get("from", {}), "from")
    # By itself it must not cut off everything but DNS: it only adds the permission, unless asked.
    isolate = boolean(data.get("isolate", False), "isolate")
    return Policy(name, namespace, subject, egress=(_dns_rule(data, ""),), isolate=isolate, preset="dns")


def _preset_pytorch(data: Data) -> Policy:
    known(data, ("preset", "name", "namespace", "job_labels", "rendezvous_port", "storage", "dns"), "")
    name, _wide = _head(data)
    namespace = required(data, "namespace", "", namespace_name)
    labels = label_pairs(required(data, "job_labels", "", None), "job_labels")
    if not labels:
        raise PolicyError(
            "job_labels",
            data["job_labels"],
            "it would select every pod of the namespace",
            "give the labels that the pods of this job have and no others do",
        )
    rendezvous = port_number(data.get("rendezvous_port", 29500), "rendezvous_port")
    job = Selector(labels)
    # Rank to rank on all TCP ports contains the rendezvous port. It stands there by itself all the same, so that
    # the policy goes on saying what it is for if someone narrows the first rule.
    ranks = (
        Rule((job,), (Port(ALL_PORTS, "TCP"),), path="job_labels"),
        Rule((job,), (Port(rendezvous, "TCP"),), path="rendezvous_port"),
    )
    egress = [*ranks, _dns_rule(data, "")]
    for index, item in enumerate(sequence(data.get("storage", []), "storage")):
        path = f"storage[{index}]"
        entry = mapping(item, path)
        where = {key: value for key, value in entry.items() if key != "ports"}
        found = ports(entry, path)
        if not found:
            raise PolicyError(join(path, "ports"), None, "storage needs ports", "give them, such as [2049] for NFS")
        egress.append(Rule((peer(where, path),), found, path=path))
    return Policy(name, namespace, job, ingress=ranks, egress=tuple(egress), preset="pytorch")


def _preset_probes(data: Data) -> Policy:
    """The kubelet of the pod's own node, for its probes."""
    known(data, ("preset", "name", "namespace", "to", "ports", "isolate"), "")
    rule = Rule((Entity("host"),), ports(data, ""), path="ports")
    return _addition(data, "probes", "to", rule)


def _preset_metrics(data: Data) -> Policy:
    """Whoever collects metrics (pods), on the ports that show them."""
    known(data, ("preset", "name", "namespace", "to", "from", "ports", "isolate"), "")
    peers = tuple(peer(value, where) for where, value in one_or_many(data, "from", ""))
    required(data, "ports", "", None)
    found = ports(data, "")
    if not found:
        raise PolicyError("ports", data["ports"], "it would open every port", "name the ports that show metrics")
    return _addition(data, "metrics", "to", Rule(peers, found, path="from"))


def _preset_api_server(data: Data) -> Policy:
    """The API server, for operators and other clients of it."""
    known(data, ("preset", "name", "namespace", "from", "ports", "isolate"), "")
    found = ports({"ports": data.get("ports", [6443])}, "")
    return _addition(data, "api_server", "from", Rule((Entity("kube-apiserver"),), found, path="ports"))


def _addition(data: Data, preset: str, own: str, rule: Rule) -> Policy:
    """A preset of one rule that takes nothing away unless `isolate: true`; `own` pods are the whole namespace's."""
    name, _wide = _head(data)
    return Policy(
        name,
        required(data, "namespace", "", namespace_name),
        selector(data.get(own, {}), own),
        ingress=(rule,) if own == "to" else None,
        egress=(rule,) if own == "from" else None,
        isolate=boolean(data.get("isolate", False), "isolate"),
        preset=preset,
    )


_PRESETS: dict[str, t.Callable[[Data], Policy]] = {
    "api_server": _preset_api_server,
    "dns": _preset_dns,
    "metrics": _preset_metrics,
    "probes": _preset_probes,
    "pytorch": _preset_pytorch,
}


# Parts -------------------------------------------------------------------------------------------------------------


def peer(value: t.Any, path: str, needs_namespace: bool = False) -> Peer:
    """A peer: {entity} or {cidr, except} or a selector."""
    data = mapping(value, path)
    kinds = [key for key in ("entity", "cidr") if key in data]
    if len(kinds) > 1 or (kinds and set(data) - {"entity", "cidr", "except"}):
        raise PolicyError(
            path,
            dict(data),
            "a peer is one of entity, cidr, or pods by labels, namespace and service_account (or spiffe_id)",
            "write one list entry for each",
        )
    if "entity" in data:
        known(data, ("entity",), path)
        if data["entity"] not in ENTITIES:
            raise PolicyError(
                join(path, "entity"), data["entity"], "there is no such entity", f"use one of {', '.join(ENTITIES)}"
            )
        return Entity(data["entity"])
    if "cidr" in data:
        known(data, ("cidr", "except"), path)
        network = cidr(data["cidr"], join(path, "cidr"))
        excluded = []
        for index, item in enumerate(sequence(data.get("except", []), join(path, "except"))):
            where = f"{join(path, 'except')}[{index}]"
            inner = cidr(item, where)
            if inner.version != network.version or not inner.subnet_of(network):  # type: ignore[arg-type]
                raise PolicyError(where, item, f"it is not within {network}", "name a part of the peer's cidr")
            excluded.append(str(inner))
        return Network(str(network), tuple(excluded))
    return selector(data, path, needs_namespace=needs_namespace, other_namespace=True)


def selector(value: t.Any, path: str, needs_namespace: bool = False, other_namespace: bool = False) -> Selector:
    """{labels, namespace, service_account}; other_namespace: whether it may name one, needs_namespace: must."""
    data = mapping(value, path)
    known(data, ("labels", "namespace", "service_account", "spiffe_id"), path)
    if data.get("spiffe_id") is not None:
        return _spiffe(data, path, other_namespace)
    where = data.get("namespace")
    if where is not None and not other_namespace:
        raise PolicyError(
            join(path, "namespace"), where, "the policy's own pods are in the policy's namespace", "remove it here"
        )
    if where is None and needs_namespace:
        raise PolicyError(
            join(path, "namespace"),
            None,
            "without a namespace it would match these labels in every namespace",
            "name the namespace of these pods",
        )
    account = data.get("service_account")
    return Selector(
        labels=label_pairs(data.get("labels", {}), join(path, "labels")),
        namespace=None if where is None else namespace_name(where, join(path, "namespace")),
        service_account=None if account is None else object_name(account, join(path, "service_account")),
    )


def _spiffe(data: Data, path: str, other_namespace: bool) -> Selector:
    """{spiffe_id, labels}: the pods of the namespace and service account that the id names."""
    where, value = join(path, "spiffe_id"), data["spiffe_id"]
    for key in ("namespace", "service_account"):
        if key in data:
            raise PolicyError(join(path, key), data[key], "spiffe_id says it already", "give one of the two")
    if not other_namespace:
        raise PolicyError(
            where, value, "the policy's own pods are in the policy's namespace", "give service_account instead"
        )
    found = _SPIFFE.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise PolicyError(
            where,
            value,
            "only spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT says which pods it means to an engine",
            "write that form, or select the pods by namespace, labels and service_account",
        )
    domain, namespace, account = found.groups()
    return Selector(
        labels=label_pairs(data.get("labels", {}), join(path, "labels")),
        namespace=namespace_name(namespace, where),
        service_account=object_name(account, where),
        trust_domain=domain,
    )


def http(data: Data, path: str, found: tuple[Port, ...]) -> tuple[Http, ...]:
    """data["http"]: a list of {method, path}; absent: (). Needs TCP ports, and not all of them."""
    if data.get("http") is None:
        return ()
    where = join(path, "http")
    entries = []
    for index, item in enumerate(sequence(data["http"], where)):
        inner = f"{where}[{index}]"
        entry = mapping(item, inner)
        known(entry, ("method", "path"), inner)
        method, target = entry.get("method"), entry.get("path")
        if method is None and target is None:
            raise PolicyError(inner, dict(entry), "it names no request", "give method, path, or both")
        if method is not None and not (isinstance(method, str) and _METHOD.fullmatch(method)):
            raise PolicyError(join(inner, "method"), method, "it is no HTTP method", "write it as GET or POST")
        if target is not None and not (isinstance(target, str) and _PATH.fullmatch(target)):
            raise PolicyError(
                join(inner, "path"),
                target,
                "it is no path",
                "begin it with /, without a query; only a * at the end means more, there is no regular expression",
            )
        entries.append(Http(method, target))
    if not entries:
        raise PolicyError(where, data["http"], "an empty list allows no request", "name requests, or remove http")
    if not found or any(port.protocol != "TCP" or port.port == ALL_PORTS for port in found):
        raise PolicyError(
            join(path, "ports"),
            data.get("ports"),
            "HTTP is read on named TCP ports only",
            "give the TCP ports on which these pods serve HTTP",
        )
    return tuple(entries)


def authentication(data: Data, path: str) -> bool:
    value = data.get("authentication", "none")
    if value not in ("none", "required"):
        raise PolicyError(
            join(path, "authentication"), value, "there is no such authentication", "use none or required"
        )
    return bool(value == "required")


def ports(data: Data, path: str) -> tuple[Port, ...]:
    """data["ports"]: numbers, names, "all" or {port, end_port, protocol}; absent or empty: ()."""
    found = []
    for index, item in enumerate(sequence(data.get("ports", []), join(path, "ports"))):
        where = f"{join(path, 'ports')}[{index}]"
        entry = mapping(item, where) if isinstance(item, t.Mapping) else {"port": item}
        known(entry, ("port", "end_port", "protocol"), where)
        protocol = entry.get("protocol", "TCP")
        if protocol not in PROTOCOLS:
            raise PolicyError(
                join(where, "protocol"), protocol, "there is no such protocol", f"use one of {', '.join(PROTOCOLS)}"
            )
        port, end = required(entry, "port", where, None), entry.get("end_port")
        if port == "all":
            number: int | str = ALL_PORTS
        elif isinstance(port, str) and not port.isdigit():
            if not _PORT_NAME.fullmatch(port):
                raise PolicyError(
                    join(where, "port"), port, "it is neither a port nor the name of one", "give 1 to 65535 or a name"
                )
            number = port
        else:
            number = port_number(port, join(where, "port"))
        if end is not None:
            end = port_number(end, join(where, "end_port"))
            if not isinstance(number, int) or number == ALL_PORTS or end < number:
                raise PolicyError(
                    join(where, "end_port"), end, f"no range begins at {port}", "give a number that is not below port"
                )
        found.append(Port(number, protocol, end))
    return tuple(found)


def port_number(value: t.Any, path: str) -> int:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= 65535:
        raise PolicyError(path, value, "it is no port", "give a number from 1 to 65535")
    return int(text)


def cidr(value: t.Any, path: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(value if isinstance(value, str) else "")
    except ValueError as error:
        raise PolicyError(
            path, value, f"it is no CIDR ({error})", "write a network without host bits, such as 10.9.0.0/24"
        ) from error


def label_pairs(value: t.Any, path: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for key, item in mapping(value, path).items():
        if not _LABEL_KEY.fullmatch(key):
            raise PolicyError(join(path, key), key, "it is no label key", "write it as the pods have it")
        if key in ENGINE_LABELS:
            field = ENGINE_LABELS[key]
            remedy = f"give {field}" if field else "remove it"
            raise PolicyError(join(path, key), item, "an engine reads it as more than a pod's label", remedy)
        if not isinstance(item, str) or not _LABEL_VALUE.fullmatch(item):
            raise PolicyError(join(path, key), item, "it is no label value", "write quoted text, 63 letters at most")
        pairs.append((key, item))
    return tuple(sorted(pairs))


def object_name(value: t.Any, path: str) -> str:
    if not isinstance(value, str) or len(value) > 253 or not _NAME.fullmatch(value):
        raise PolicyError(path, value, "it is no name of an object", "use small letters, digits, - and .")
    return value


def namespace_name(value: t.Any, path: str) -> str:
    if not isinstance(value, str) or not _DNS_LABEL.fullmatch(value):
        raise PolicyError(path, value, "it is no namespace", "use small letters, digits and -, 63 at most")
    return value


def boolean(value: t.Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise PolicyError(path, value, "it is neither true nor false", "write true or false")
    return value


def mapping(value: t.Any, path: str) -> Data:
    if not isinstance(value, t.Mapping) or not all(isinstance(key, str) for key in value):
        raise PolicyError(path or "(document)", value, "it is no mapping of names to values", "see docs/policy.md")
    return value


def sequence(value: t.Any, path: str) -> t.Sequence[t.Any]:
    if not isinstance(value, (list, tuple)):
        raise PolicyError(path, value, "it is no list", "write a list, such as [..]")
    return value


def one_or_many(data: Data, key: str, path: str) -> list[tuple[str, t.Any]]:
    """data[key] as [(path, value)]: one mapping or a list of at least one."""
    value = required(data, key, path, None)
    where = join(path, key)
    if not isinstance(value, (list, tuple)):
        return [(where, value)]
    if not value:
        raise PolicyError(where, value, "an empty list allows nobody", f"name a peer, or remove the entry {path}")
    return [(f"{where}[{index}]", item) for index, item in enumerate(value)]


def required(data: Data, key: str, path: str, check: t.Callable[[t.Any, str], t.Any] | None) -> t.Any:
    where = join(path, key)
    if data.get(key) is None:
        raise PolicyError(where, None, "it is missing", f"set {where}")
    return check(data[key], where) if check else data[key]


def known(data: Data, names: t.Sequence[str], path: str) -> None:
    for key in data:
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            remedy = f"did you mean {near[0]}?" if near else f"known here: {', '.join(names)}"
            raise PolicyError(join(path, key), data[key], "there is no such field", remedy)


def join(path: str, key: str) -> str:
    key = key or '""'
    return f"{path}.{key}" if path else key
