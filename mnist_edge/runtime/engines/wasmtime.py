"""Wasmtime, for WebAssembly modules that mnist-edge compiled from generated C."""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import ContentError, RefusedError
from mnist_edge.formats import METADATA_KEY, wasm
from mnist_edge.int8.quantize import Port
from mnist_edge.runtime.engines.interface import Engine, Program, missing_engine

MEMORY_BYTES = 1 << 30  # that a module may take
_ALIGNED = 64  # bytes; of the inputs and the answers in a module's memory


class _WasmProgram:
    direct = None
    batched = True

    def __init__(self, facts: dict[str, Any], engine: Any, store: Any, exports: Any) -> None:
        self.metadata = {METADATA_KEY: facts["contract"]}
        self.input, self.output = (
            Port(np.dtype(end["dtype"]), tuple(end["shape"]), float(end["scale"]), int(end["zero_point"]))
            for end in (facts["input"], facts["output"])
        )
        self._store, self._memory, self._run = store, exports["memory"], exports["run"]
        self._start = -(-(exports["__heap_base"].value(store) & 0xFFFFFFFF) // _ALIGNED) * _ALIGNED
        kind = "WebAssembly with vectors" if exports["has_vectors"](store) else "WebAssembly"
        self.delegate = f"C, {kind}"
        # At the end of the process, too: what wasmtime does by itself then prints errors.
        weakref.finalize(self, _close, store, engine)

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """See `mnist_edge.runtime.engines.interface.Program.run`."""
        import wasmtime

        given = np.ascontiguousarray(batch, self.input.dtype)
        answers = self._start + -(-given.nbytes // _ALIGNED) * _ALIGNED
        size = len(batch) * math.prod(self.output.shape)
        try:
            self._require(answers + size)
            self._memory.write(self._store, given.tobytes(), self._start)
            self._run(self._store, self._start, answers, len(batch))
            found = self._memory.read(self._store, answers, answers + size)
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            raise _refused(error) from error
        return np.frombuffer(found, self.output.dtype).reshape(len(batch), *self.output.shape)

    def _require(self, size: int) -> None:
        """Grow the module's memory to at least ``size`` bytes."""
        lacking = size - self._memory.data_len(self._store)
        if lacking > 0:
            self._memory.grow(self._store, -(-lacking // (1 << 16)))


def load(content: bytes, threads: int) -> Program:
    """See `Engine.load`. A module has one thread."""
    try:
        import wasmtime
    except ImportError as error:
        raise missing_engine(error, "wasmtime", "wasm", 14, ("x86_64", "aarch64", "arm64", "AMD64")) from error
    facts = wasm.facts_of(content)
    try:
        engine, store, instance = _instantiated(content, reserves=True)
    except wasmtime.WasmtimeError:  # there is too little address space, or the fault is in the module
        try:
            engine, store, instance = _instantiated(content, reserves=False)
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            raise _refused(error) from error
    try:
        return _WasmProgram(facts, engine, store, instance.exports(store))
    except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
        raise _refused(error) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ContentError("The module does not export what one of mnist-edge does.", "Export it again.") from error


def _close(store: Any, engine: Any) -> None:
    store.close()
    engine.close()


def _instantiated(content: bytes, reserves: bool) -> tuple[Any, Any, Any]:
    """An engine, its store, and an instance of a module.

    Args:
        content: the module.
        reserves: whether 4 GiB of address space are reserved, so that no access of the memory needs a check.
    """
    import wasmtime

    config = wasmtime.Config()
    config.parallel_compilation = False
    if not reserves:
        config.memory_init_cow = False  # which needs a file in memory
        config.memory_reservation = config.memory_guard_size = config.memory_reservation_for_growth = 0
    engine = wasmtime.Engine(config)
    store = wasmtime.Store(engine)
    store.set_limits(memory_size=MEMORY_BYTES)
    return engine, store, wasmtime.Instance(store, wasmtime.Module(engine, content), [])


def _refused(error: Exception) -> RefusedError:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return RefusedError(f"wasmtime refuses the module: {first}", "Export it again.")


ENGINE = Engine("wasmtime", (".wasm",), "wasmtime", "wasm", rank=4, load=load)
