# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads raw variables into typed values; every bad value becomes one finding that names variable, value and remedy.

Values that come by -e key=value are strings, so numbers and booleans are taken in that form, too.
"""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject

Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


class Reader:
    """Typed access to a mapping of raw variables. Methods return None (or an empty value) where a variable is unset
    or bad; what is bad is in `findings`, at most one per variable."""

    def __init__(self, variables: t.Mapping[str, t.Any]) -> None:
        self._variables = variables
        self.findings: list[Finding] = []

    def raw(self, name: str) -> t.Any:
        """The raw value; None and the empty string both mean unset."""
        value = self._variables.get(name)
        return None if value == "" else value

    def bad(self, name: str, value: t.Any, message: str, *, remedy: str = "", code: str = "ZT901") -> None:
        self.findings.append(
            Finding(
                code,
                Subject("variable", name),
                f"{name} is {value!r}: {message}",
                observed=value,
                remedy=remedy,
                source="variables",
            )
        )

    def text(self, name: str, default: str | None = None) -> str | None:
        value = self.raw(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            self.bad(name, value, "text is expected", remedy=f"Write {name} as text.")
            return default
        return str(value)

    def choice(self, name: str, choices: t.Sequence[str], default: str | None = None) -> str | None:
        value = self.text(name)
        if value is None:
            return default
        if value not in choices:
            listed = ", ".join(choices)
            self.bad(name, value, f"it takes {listed}", remedy=f"Set {name} to one of: {listed}.")
            return default
        return value

    def integer(self, name: str, low: int, high: int) -> int | None:
        value = self.raw(name)
        if value is None:
            return None
        number = _integer(value)
        if number is None or not low <= number <= high:
            self.bad(
                name,
                value,
                f"a whole number from {low} to {high} is expected",
                remedy=f"Set {name} within {low}..{high}.",
            )
            return None
        return number

    def flag(self, name: str, default: bool | None = None) -> bool | None:
        value = self.raw(name)
        if value is None:
            return default
        flag = boolean(value)
        if flag is None:
            self.bad(name, value, "true or false is expected", remedy=f"Set {name} to true or false.")
            return default
        return flag

    def strings(self, name: str) -> tuple[str, ...] | None:
        """A list of texts; one text with commas is taken as a list, since -e name=a,b gives that."""
        value = self.raw(name)
        if value is None:
            return None
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) and item for item in value):
            self.bad(name, value, "a list of texts is expected", remedy=f"Write {name} as a YAML list of texts.")
            return None
        return tuple(str(item) for item in value)

    def mapping(self, name: str) -> dict[str, t.Any] | None:
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, t.Mapping) or not all(isinstance(key, str) for key in value):
            self.bad(name, value, "a mapping is expected", remedy=f"Write {name} as a YAML mapping.")
            return None
        return dict(value)

    def mappings(self, name: str) -> list[dict[str, t.Any]] | None:
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, t.Mapping) for item in value):
            self.bad(name, value, "a list of mappings is expected", remedy=f"Write {name} as a YAML list of mappings.")
            return None
        return [dict(item) for item in value]

    def cidrs(self, name: str) -> tuple[str, ...] | None:
        """A list of networks in canonical text; ZT903 for what is none or has host bits set."""
        texts = self.strings(name)
        if texts is None:
            return None
        wrong = [(text, problem) for text in texts for problem in [cidr_problem(text)] if problem]
        if wrong:
            listed = "; ".join(f"{text}: {problem}" for text, problem in wrong)
            self.bad(name, list(texts), listed, code="ZT903")
            return None
        return tuple(str(ipaddress.ip_network(text)) for text in texts)


def boolean(value: t.Any) -> bool | None:
    """A boolean from YAML or from -e text; None where it is neither."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower() if isinstance(value, (str, int)) else ""
    return True if text in _TRUE else False if text in _FALSE else None


def _integer(value: t.Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.strip().isdigit():
        return int(value.strip())
    return None


def cidr_problem(text: str) -> str | None:
    """Why a text is no usable network, in words; None where it is one."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            return f"has host bits set, the network is {ipaddress.ip_network(text, strict=False)}"
        except ValueError:
            return "is no CIDR"
    if "/" not in text:
        return "has no prefix length"
    return None


def overlaps(groups: t.Mapping[str, t.Sequence[str]]) -> list[tuple[str, str, str, str]]:
    """Pairs of networks that share addresses: (variable, network, other variable, other network).

    groups maps a variable to its valid networks; networks of one variable are compared with each other, too.
    """
    flat = [(name, ipaddress.ip_network(text)) for name, texts in groups.items() for text in texts]
    found = []
    for index, (name, network) in enumerate(flat):
        for other_name, other in flat[index + 1 :]:
            if share_addresses(network, other):
                found.append((name, str(network), other_name, str(other)))
    return found


def share_addresses(network: Network, other: Network) -> bool:
    """Whether two networks share an address; networks of different families never do."""
    if isinstance(network, ipaddress.IPv4Network) and isinstance(other, ipaddress.IPv4Network):
        return network.overlaps(other)
    if isinstance(network, ipaddress.IPv6Network) and isinstance(other, ipaddress.IPv6Network):
        return network.overlaps(other)
    return False
