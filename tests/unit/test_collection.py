# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as a whole: what is shipped, headers, Python 3.9, rooms, findings' pages."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
import tarfile
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.aicluster.zerotrust.plugins.module_utils.intent import model

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ROOT / "plugins" / "module_utils"
PREFIX = "ansible_collections.aicluster.zerotrust.plugins.module_utils."

# The order of CONTRIBUTING.md: a room imports only from rooms of a higher number, or from itself.
# cluster and node are siblings, and so are findings and intent, which all may import.
LEVEL = {
    "report": 0,
    "proof": 1,
    "plan": 2,
    "policy": 3,
    "mesh": 3,
    "identity": 3,
    "cluster": 4,
    "node": 4,
    "netlink": 5,
}
VOCABULARY = {"findings", "intent"}

# Imported on managed hosts: nothing but the standard library (and Ansible's own AnsibleModule).
HOST_ROOMS = ("netlink", "node", "identity")


def load(path: Path) -> t.Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sources(folder: str, pattern: str = "*.py") -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob(pattern) if "__pycache__" not in path.parts)


def imports(path: Path) -> set[str]:
    """Names of imported modules, also those imported in functions or for types only."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module in (PREFIX[:-1],) else set()
            names.add(node.module or "")
    return names


def room_of(module: str) -> str | None:
    return module[len(PREFIX) :].split(".")[0] if module.startswith(PREFIX) else None


def room_problem(importer: str, imported: str) -> str:
    """Empty when a file of the room `importer` may import from the room `imported`."""
    if imported == importer or imported in VOCABULARY:
        return ""
    if importer in VOCABULARY:
        return f"{importer} is the vocabulary of all rooms and imports none, but imports {imported}"
    if LEVEL[imported] <= LEVEL[importer]:
        return f"{importer} imports {imported}, which is not below it"
    return ""


def test_rooms_import_only_rooms_below() -> None:
    problems = []
    seen = 0
    for path in sources("plugins/module_utils"):
        parts = path.relative_to(ROOMS).parts
        if len(parts) < 2:
            continue
        for room in filter(None, map(room_of, imports(path))):
            seen += 1
            problem = room_problem(parts[0], room)
            if problem:
                problems.append(f"{path.relative_to(ROOT)}: {problem}")
    assert seen
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("report", "proof", True),
        ("proof", "report", False),
        ("node", "cluster", False),
        ("cluster", "node", False),
        ("netlink", "findings", True),
        ("findings", "netlink", False),
        ("plan", "policy", True),
        ("policy", "plan", False),
    ],
)
def test_the_order_of_rooms_is_the_one_of_the_design(importer: str, imported: str, allowed: bool) -> None:
    assert (room_problem(importer, imported) == "") is allowed


def test_every_room_has_its_place() -> None:
    rooms = {path.name for path in ROOMS.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms <= LEVEL.keys() | VOCABULARY


def test_what_hosts_import_is_the_standard_library() -> None:
    # Of the running Python; the compile test with Python 3.9 does the rest.
    allowed = set(sys.stdlib_module_names) | {"__future__"}
    problems = []
    for room in HOST_ROOMS:
        for path in sources(f"plugins/module_utils/{room}"):
            for name in imports(path):
                if not name.startswith(PREFIX) and name.split(".")[0] not in allowed:
                    problems.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not problems, "\n".join(problems)


def find_python39() -> str | None:
    """A Python 3.9, also among pyenv's that are not switched on; None when there is none."""
    candidates = ["python3.9", *map(str, sorted(Path.home().glob(".pyenv/versions/3.9.*/bin/python3.9")))]
    for candidate in candidates:
        try:
            done = subprocess.run([candidate, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True)
        except OSError:
            continue
        if done.returncode == 0 and b"(3, 9)" in done.stdout:
            return candidate
    return None


IMPORT_ALL = """
import importlib, sys, types
# A namespace as Ansible's loader makes it; nothing of Ansible is installed for this Python.
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    importlib.import_module(name)
print(len(sys.argv) - 2)
"""


def test_plugins_compile_and_host_rooms_import_on_python_3_9() -> None:
    python = find_python39()
    if python is None:
        pytest.skip("no Python 3.9 on this machine")
    files = [str(path) for path in sources("plugins")]
    code = "import sys\nfor name in sys.argv[1:]:\n    compile(open(name, encoding='utf-8').read(), name, 'exec')"
    done = subprocess.run([python, "-c", code, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    modules = [
        PREFIX + ".".join(path.relative_to(ROOMS).with_suffix("").parts)
        for room in (*HOST_ROOMS, "findings")
        for path in sources(f"plugins/module_utils/{room}")
        if path.stem != "__init__"
    ]
    collections = ROOT / ".venv" / "collections"
    done = subprocess.run([python, "-B", "-c", IMPORT_ALL, str(collections), *modules], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(modules) > 0


HEADER = (
    "# Copyright (c) 2026, aicluster.zerotrust contributors\n"
    "# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)\n"
    "# SPDX-License-Identifier: GPL-3.0-or-later\n"
)


def test_every_python_file_has_the_licence_header() -> None:
    folders = ("plugins", "lab", "tests", "tools", "benchmarks")
    files = [path for folder in folders for path in sources(folder)]
    missing = [
        str(path.relative_to(ROOT))
        for path in files
        if path.stat().st_size and HEADER not in path.read_text(encoding="utf-8")[:500]
    ]
    assert files
    assert not missing


def test_modules_document_every_option_of_their_argument_spec_file() -> None:
    for path in sources("plugins/modules"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for name in ("DOCUMENTATION", "EXAMPLES", "RETURN"):
            assert name in constants, f"{path.name} has no {name}"
            yaml.safe_load(ast.literal_eval(constants[name]))
        documentation = yaml.safe_load(ast.literal_eval(constants["DOCUMENTATION"]))
        assert documentation["module"] == path.stem
        assert documentation["short_description"]


def test_action_group_names_modules_that_exist() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    (metadata, *modules) = runtime["action_groups"]["cluster"]
    assert metadata["metadata"]["extend_group"] == ["kubernetes.core.k8s"]
    there = {path.stem for folder in ("modules", "action") for path in (ROOT / "plugins" / folder).glob("*.py")}
    assert set(modules) <= there


def test_pages_of_findings_are_current() -> None:
    pages = load(ROOT / "tools" / "findings_pages.py")
    assert pages.differences() == []


def test_place_checker_finds_a_planted_path() -> None:
    places = load(ROOT / "tools" / "places.py")
    pattern = places.pattern_of(["/srv/me/checkout", "/home/me/", "index.example.org"])
    assert pattern.search(b"see /srv/me/checkout/file")
    assert pattern.search(b"HOME is /home/me/x")
    assert pattern.search(b"https://index.example.org/simple")
    assert not pattern.search(b"/srv/me/checkout2 or my.index.example.org or /x/home/me/")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in a built artifact."""
    folder = tmp_path_factory.mktemp("artifact")
    command = [str(Path(sys.executable).parent / "ansible-galaxy"), "collection", "build", "--output-path", str(folder)]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("aicluster-zerotrust-*.tar.gz")
    with tarfile.open(path) as archive:
        return {member.name for member in archive.getmembers() if member.isfile()}


def test_artifact_holds_what_a_user_needs(artifact: set[str]) -> None:
    for name in ("MANIFEST.json", "LICENSE", "meta/runtime.yml", "plugins/module_utils/findings/registry.py"):
        assert name in artifact
    for folder in ("playbooks", "roles", "plugins"):
        mine = {
            str(path.relative_to(ROOT))
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert mine <= artifact


def test_artifact_holds_nothing_of_the_checkout(artifact: set[str]) -> None:
    allowed = {"MANIFEST.json", "FILES.json", "LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"}
    allowed |= {"requirements.txt", "requirements.yml"}
    folders = ("changelogs", "docs", "inventories/example", "meta", "playbooks", "plugins", "roles", "rbac")
    strange = {name for name in artifact - allowed if not name.startswith(tuple(f"{folder}/" for folder in folders))}
    assert not strange
    assert not {name for name in artifact if "__pycache__" in name or name.endswith((".pyc", ".key", "kubeconfig"))}


def example(host: str) -> dict[str, t.Any]:
    """Variables of a host of the example inventory, as Ansible merges them."""
    command = [str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(ROOT / "inventories" / "example")]
    done = subprocess.run([*command, "--host", host], capture_output=True, text=True, check=True)
    return t.cast("dict[str, t.Any]", json.loads(done.stdout))


@pytest.mark.parametrize(("host", "interfaces"), [("gpu07", ("bond0",)), ("cp01", ("eno1",))])
def test_example_inventory_is_a_valid_intent(host: str, interfaces: tuple[str, ...]) -> None:
    variables = example(host)
    intent, findings = model.parse(variables, extra_vars={})
    assert [finding.line() for finding in findings] == []
    assert intent.node_network_mtu == 9000
    host_intent, host_findings = model.parse_host(host, variables)
    assert not host_findings
    assert host_intent.interfaces == interfaces
