"""The inference engines: one module for each. A new engine is a module that defines an `Engine`, and a line here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from mnist_edge.runtime.engines import (
    litert,
    litert_builtin,
    litert_reference,
    native,
    onnxruntime,
    reference,
    tflite_runtime,
    wasmtime,
)
from mnist_edge.runtime.engines.interface import Engine

ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        litert.ENGINE,
        litert_builtin.ENGINE,
        litert_reference.ENGINE,
        native.ENGINE,
        onnxruntime.ENGINE,
        reference.ENGINE,
        tflite_runtime.ENGINE,
        wasmtime.ENGINE,
    )
}


def is_installed(suffix: str) -> bool:
    """Whether the package of an engine that runs files with this suffix is installed here."""
    return any(suffix in engine.suffixes and package_version(engine) is not None for engine in ENGINES.values())


def package_version(engine: Engine) -> str | None:
    """The version of the package that an engine runs on; None if it is not installed."""
    try:
        return version(engine.package)
    except PackageNotFoundError:
        return None
