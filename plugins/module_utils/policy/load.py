# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policy files: a directory of YAML files, read with the position of every field, for errors that name a line.

On the controller only (PyYAML). Positions come from the parser's node marks, not from a second pass over the text.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.findings.finding import Finding, Subject

SUFFIXES = (".yml", ".yaml")


class Document(dict[str, t.Any]):
    """A policy document that knows where it was written: file, index of the document, line of each field's path."""

    def __init__(self, data: t.Mapping[str, t.Any], path: str, index: int, lines: t.Mapping[str, int]) -> None:
        super().__init__(data)
        self.path = path
        self.index = index
        self.lines = dict(lines)


def origin(document: t.Any) -> str:
    """ "file[index]" of a Document, "" for any other: stable while lines move."""
    return f"{document.path}[{document.index}]" if isinstance(document, Document) else ""


def position(document: t.Any, path: str) -> str:
    """ "file:line" of a field of a Document (or of what holds it, where the field is missing), "" for any other."""
    if not isinstance(document, Document):
        return ""
    while path and path not in document.lines:
        cut = max(path.rfind("."), path.rfind("["))
        path = path[:cut] if cut > 0 else ""
    return f"{document.path}:{document.lines.get(path, 1)}"


def directory(path: str) -> tuple[list[Document], list[Finding]]:
    """All documents of *.yml and *.yaml below a directory (or of one file), by file name; ZT701 for what is none.

    A file holds a list of policies, or one policy per YAML document. Hidden files are left out.
    """
    path = os.path.expanduser(path)
    if os.path.isfile(path):
        files = [path]
    elif os.path.isdir(path):
        files = sorted(
            os.path.join(folder, name)
            for folder, folders, names in os.walk(path)
            for name in names
            if name.endswith(SUFFIXES) and not name.startswith(".")
        )
    else:
        return [], [_invalid("zerotrust_policy_files", path, f"{path} is neither a directory nor a file", path)]
    base = path if os.path.isdir(path) else os.path.dirname(path)
    documents: list[Document] = []
    findings: list[Finding] = []
    for name in files:
        shown = os.path.relpath(name, base)
        try:
            with open(name, encoding="utf-8") as stream:
                text = stream.read()
        except (OSError, UnicodeDecodeError) as error:
            findings.append(_invalid(shown, None, f"{shown} cannot be read: {error}", shown))
            continue
        found, wrong = parse_text(text, shown)
        documents += found
        findings += wrong
    return documents, findings


def parse_text(text: str, path: str) -> tuple[list[Document], list[Finding]]:
    """The documents of one file's text; path is what errors call it."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    documents: list[Document] = []
    try:
        while loader.check_node():
            root: t.Any = loader.get_node()
            items = root.value if isinstance(root, yaml.SequenceNode) else [root]
            for node in items:
                lines: dict[str, int] = {}
                _walk(node, "", lines, ())
                data = loader.construct_document(node)
                if data is None:
                    continue
                if not isinstance(data, dict):
                    where = f"{path}:{node.start_mark.line + 1}"
                    return documents, [_invalid(path, data, f"{where} is no policy but {type(data).__name__}", where)]
                documents.append(Document(data, path, len(documents), lines))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else path
        problem = getattr(error, "problem", None) or str(error)
        return documents, [_invalid(path, None, f"{where} is not valid YAML: {problem}", where)]
    finally:
        loader.dispose()
    return documents, []


def _walk(node: t.Any, path: str, lines: dict[str, int], above: tuple[int, ...]) -> None:
    """Line (from 1) of every field's key below a YAML node; refuses duplicate keys, which YAML loaders merge."""
    import yaml

    if id(node) in above:
        raise yaml.constructor.ConstructorError(None, None, "an alias refers to what holds it", node.start_mark)
    lines.setdefault(path, node.start_mark.line + 1)
    inner = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            name = str(getattr(key, "value", ""))
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {name} is there twice", key.start_mark)
            seen.add(name)
            where = f"{path}.{name}" if path else name
            lines[where] = key.start_mark.line + 1
            _walk(value, where, lines, inner)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, f"{path}[{index}]", lines, inner)


def _invalid(subject: str, value: t.Any, message: str, where: str) -> Finding:
    return Finding(
        "ZT701",
        Subject("variable", subject),
        message,
        observed=value,
        remedy="write policies as docs/policy.md shows",
        source=where,
    )
