"""The servers that the service is compared with: their packages and commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ENGINE = ("ai-edge-litert>=2.3,<3", "numpy>=1.26,<3")
WEB = ("uvicorn>=0.34,<1", "httptools>=0.6,<1", "uvloop>=0.21,<1")
JSON_CASES = frozenset({"json-1-8", "json-1-64", "json-64-8"})


@dataclass(frozen=True)
class Peer:
    """A server to compare with.

    Attributes:
        requirements: packages to install in its environment; empty if it runs in the environment of the benchmark.
        packages: packages whose versions are reported.
        cases: keys of `page.CASES` that it can answer.
        command: makes its command line from its Python, a port, the model file and a scratch folder.
    """

    name: str
    requirements: tuple[str, ...]
    packages: tuple[str, ...]
    cases: frozenset[str]
    command: Callable[[Path, int, Path, Path], list[object]]


def _script(name: str) -> Callable[[Path, int, Path, Path], list[object]]:
    return lambda python, port, model, _: [python, HERE / name, port, model]


def _mlserver(python: Path, port: int, model: Path, scratch: Path) -> list[object]:
    folder = scratch / "mlserver"
    folder.mkdir(exist_ok=True)
    for name in ("classifier.py", "mlserver_model.py"):
        (folder / name).write_text((HERE / name).read_text())
    settings = {"name": "cnn", "implementation": "mlserver_model.Cnn", "parameters": {"uri": str(model)}}
    (folder / "model-settings.json").write_text(json.dumps(settings))
    server = {"host": "127.0.0.1", "http_port": port, "grpc_port": port + 1, "metrics_port": port + 2,
              "parallel_workers": 0, "debug": False}  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(server))
    return [python.parent / "mlserver", "start", folder]


def _ours(python: Path, port: int, model: Path, scratch: Path) -> list[object]:
    return [sys.executable, "-m", "mnist_edge", "serve", "--port", port, "--engine", "litert", "-o", scratch / "none"]


OURS, STARLETTE = "mnist-edge", "Starlette"
PEERS = {
    peer.name: peer
    for peer in (
        Peer(OURS, (), ("uvicorn", "starlette"), JSON_CASES | {"binary-64-8", "drawings"}, _ours),
        Peer(
            STARLETTE,
            (*ENGINE, *WEB, "starlette>=0.46,<2", "Pillow>=10.3,<14"),
            ("starlette", "uvicorn"),
            JSON_CASES | {"binary-64-8", "drawings"},
            _script("starlette_server.py"),
        ),
        Peer("FastAPI", (*ENGINE, *WEB, "fastapi>=0.115,<1"), ("fastapi",), JSON_CASES, _script("fastapi_server.py")),
        Peer(
            "KServe",
            (*ENGINE, "kserve>=0.15,<1", "setuptools<81"),
            ("kserve",),
            JSON_CASES | {"binary-64-8"},
            _script("kserve_server.py"),
        ),
        Peer("MLServer", (*ENGINE, "mlserver>=1.7,<2"), ("mlserver",), JSON_CASES, _mlserver),
        Peer("LitServe", (*ENGINE, "litserve>=0.2.13,<0.3"), ("litserve",), JSON_CASES, _script("litserve_server.py")),
    )
}
