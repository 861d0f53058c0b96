"""Checks of the engines: each runs a shipped model in a child process first, then the model's self-test in this one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from mnist_edge.errors import MissingError, MnistEdgeError
from mnist_edge.results import Finding
from mnist_edge.runtime import engine_names, open_session, trial
from mnist_edge.runtime.engines import ENGINES
from mnist_edge.runtime.exported import artifact_paths
from mnist_edge.runtime.selftest import run_selftest
from mnist_edge.store.files import read_bytes
from mnist_edge.store.workspace import DEFAULT_MODEL, SHIPPED

_ILLEGAL = "SIGILL"


def checks() -> list[Callable[[], Finding]]:
    """A check for every engine that can run a shipped file, and one for whether any of them works."""
    files = artifact_paths(SHIPPED, DEFAULT_MODEL)
    found: list[Callable[[], Finding]] = []
    for name in engine_names():
        path = next((path for path in files if path.suffix in ENGINES[name].suffixes), None)
        if path is not None:
            found.append(functools.cache(functools.partial(_engine, name, path)))
    return [*found, functools.partial(_any, found)]


def _engine(name: str, path: Path) -> Finding:
    check = f"engine {name}"
    try:
        died = trial.run(read_bytes(path), name)
        if died is not None:
            return Finding(check, "failed", *_death(name, died), code=3)
        result = run_selftest(open_session(path, name))
    except MissingError as error:
        status = "absent" if "is not installed" in error.cause else "failed"
        return Finding(check, status, error.cause, error.remedy, code=0 if status == "absent" else 3)
    except MnistEdgeError as error:
        return Finding(check, "failed", error.cause, error.remedy, code=error.exit_code)
    if not result.passed:
        found = (
            f"its answers differ by {result.max_abs_difference:.2g} from those of the machine that built {path.name}"
        )
        return Finding(check, "failed", found, "Verify the files here: mnist-edge verify --shipped", code=1)
    return Finding(check, "ok", f"{path.name}: {result.n} of {result.n} golden images within {result.tolerance:g}")


def _death(name: str, died: str) -> tuple[str, str]:
    package = ENGINES[name].package
    if died == _ILLEGAL:
        return (
            f"{package} uses an instruction that this processor does not have (illegal instruction)",
            "Use another engine, a 64-bit system, or a wheel built for this processor.",
        )
    return f"{package} ends the process: {died}", f"Install it again: pip install --force-reinstall {package}"


def _any(engines: list[Callable[[], Finding]]) -> Finding:
    working = [item().check.removeprefix("engine ") for item in engines if item().status == "ok"]
    if working:
        return Finding("any engine", "ok", ", ".join(working))
    first = next((item() for item in engines if item().status == "failed"), engines[0]())
    return Finding("any engine", "failed", f"no engine answers here: {first.found}", first.remedy, code=3)
