"""Times of the ops of a TFLite file by LiteRT's own profiler.

The profiler is part of the C API of LiteRT's compiled models, which is in the same package as the interpreter that
`mnist_edge.runtime.engines.litert` uses. Python's API does not offer it. Both compute with XNNPACK.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import RefusedError
from mnist_edge.results import Op
from mnist_edge.runtime.engines.interface import PROFILED_CALLS, PROFILED_WARMUP, OpSamples
from mnist_edge.store.streams import quiet

_PACKAGE, _MODULE, _LIBRARY = "ai-edge-litert", "ai_edge_litert", "libLiteRt.so"
_KNOWN = "2.3."  # versions whose C API these calls are for; another one could end the process
_OTHER = "Name a .c or .onnx file."
_CPU, _WRITE = 1, 1  # accelerator; mode of a lock
_OPERATOR, _DELEGATE_OPERATOR = 2, 8  # kinds of events
_RANKED_TENSOR_TYPE = 18  # numbers of 32 bits: the element type, the rank, eight sizes, eight strides
_FIRST_SIZE = 2


class _Event(ctypes.Structure):
    """``ProfiledEventData``."""

    _fields_ = (
        ("tag", ctypes.c_char_p), ("kind", ctypes.c_int), ("start_us", ctypes.c_uint64), ("us", ctypes.c_uint64),
        ("memory", ctypes.c_size_t * 6), ("index", ctypes.c_uint64), ("graph", ctypes.c_uint64),
        ("source", ctypes.c_int),
    )  # fmt: skip


class _Library:
    """The functions of the C API, which return a status, and the objects that they made."""

    def __init__(self) -> None:
        spec = find_spec(_MODULE)
        folders = () if spec is None else spec.submodule_search_locations or ()
        path = next((path for folder in folders if (path := Path(folder) / _LIBRARY).is_file()), None)
        if path is None or not version(_PACKAGE).startswith(_KNOWN):
            raise RefusedError(
                f"litert tells the times of layers in {_KNOWN}x only, and with {_LIBRARY}.",
                f"pip install '{_PACKAGE}=={_KNOWN}*'",
            )
        self._library = ctypes.CDLL(str(path))
        self._made: list[tuple[str, ctypes.c_void_p]] = []
        self._texts: list[ctypes.Array[ctypes.c_char]] = []
        # Frees nothing: texts that the API is given are Python's, and exist until the objects are destroyed.
        self.keep = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function; integers are passed as ``int``."""
        status = self._library[f"LiteRt{name}"](*arguments)
        if status != 0:
            raise RefusedError(f"litert does not tell the times of layers: {name} returns {status}.", _OTHER)

    def made(self, name: str, *arguments: Any, kind: str = "") -> ctypes.c_void_p:
        """The object that a function stores at its last argument; `close` destroys it if its kind is given."""
        found = ctypes.c_void_p()
        self.call(name, *arguments, ctypes.byref(found))
        if kind:
            self._made.append((kind, found))
        return found

    def kept(self, text: bytes) -> ctypes.Array[ctypes.c_char]:
        """A copy of a text that exists as long as this object."""
        self._texts.append(ctypes.create_string_buffer(text))
        return self._texts[-1]

    def close(self) -> None:
        """Destroy all objects, the newest first."""
        for kind, item in reversed(self._made):
            destroy = self._library[f"LiteRtDestroy{kind}"]
            destroy.restype = None
            destroy(item)


def op_times(content: bytes, threads: int, inputs: NDArray[Any]) -> OpSamples:
    """See `Engine.op_times`. The profiler counts whole microseconds, rounded down, and does not name XNNPACK's ops."""
    library = _Library()
    with quiet(), contextlib.closing(library):  # LiteRT logs what it loads and destroys
        return _samples(library, content, threads, inputs)


def _samples(library: _Library, content: bytes, threads: int, inputs: NDArray[Any]) -> OpSamples:
    environment = library.made("CreateEnvironment", 0, None, kind="Environment")
    size = ctypes.c_size_t(len(content))
    model = library.made("CreateModelFromBuffer", environment, content, size, kind="Model")
    options = _options(library, threads)
    compiled = library.made("CreateCompiledModel", environment, model, options, kind="CompiledModel")
    signature, first = library.made("GetModelSignature", model, ctypes.c_size_t(0)), ctypes.c_size_t(0)
    buffers = []
    for end in ("Input", "Output"):
        tensor = library.made(f"GetSignature{end}TensorByIndex", signature, first)
        shape = (ctypes.c_int32 * _RANKED_TENSOR_TYPE)()
        library.call("GetRankedTensorType", tensor, shape)
        shape[_FIRST_SIZE] = 1  # one image a call
        needs = library.made(f"GetCompiledModel{end}BufferRequirements", compiled, first, first)
        made = library.made("CreateManagedTensorBufferFromRequirements", environment, shape, needs, kind="TensorBuffer")
        buffers.append(made)
    profiler = library.made("CompiledModelGetProfiler", compiled)
    calls = []
    for at in range(PROFILED_WARMUP + PROFILED_CALLS):
        _write(library, buffers[0], inputs[at % len(inputs)].tobytes())
        calls.append(_profiled(library, profiler, compiled, buffers))
    ops = tuple(_op(event) for event in calls[-1])
    if not ops or {len(events) for events in calls} != {len(ops)}:
        raise RefusedError("litert does not tell the times of this file's layers.", _OTHER)
    us = [[float(event.us) for event in events] for events in calls[PROFILED_WARMUP:]]
    return OpSamples(ops, np.array(us), None)


def _options(library: _Library, threads: int) -> ctypes.c_void_p:
    """Options of a compiled model that is profiled on the processor."""
    options = library.made("CreateOptions", kind="Options")
    library.call("SetOptionsHardwareAccelerators", options, _CPU)
    texts = {b"runtime_options_string": b"enable_profiling = true\n", b"xnnpack": b"num_threads = %d\n" % threads}
    for name, text in texts.items():
        found = library.made("CreateOpaqueOptions", name, library.kept(text), library.keep)
        library.call("AddOpaqueOptions", options, found)
    return options


def _write(library: _Library, buffer: ctypes.c_void_p, content: bytes) -> None:
    memory = ctypes.c_void_p()
    library.call("LockTensorBuffer", buffer, ctypes.byref(memory), _WRITE)
    ctypes.memmove(memory, content, len(content))
    library.call("UnlockTensorBuffer", buffer)


def _profiled(
    library: _Library, profiler: ctypes.c_void_p, compiled: ctypes.c_void_p, buffers: Sequence[ctypes.c_void_p]
) -> list[_Event]:
    """The events of one call that are ops, in the order of execution."""
    one = ctypes.c_size_t(1)
    library.call("ResetProfiler", profiler)
    library.call("StartProfiler", profiler)
    source, answer = (ctypes.byref(buffer) for buffer in buffers)
    library.call("RunCompiledModel", compiled, ctypes.c_size_t(0), one, source, one, answer)
    library.call("StopProfiler", profiler)
    number = ctypes.c_int()
    library.call("GetNumProfilerEvents", profiler, ctypes.byref(number))
    events = (_Event * number.value)()
    library.call("GetProfilerEvents", profiler, number, events)
    return [event for event in events if event.kind in (_OPERATOR, _DELEGATE_OPERATOR)]


def _op(event: _Event) -> Op:
    by_delegate = event.kind == _DELEGATE_OPERATOR
    name = f"{'XNNPACK' if by_delegate else 'node'} {event.index}"
    return Op(name, event.tag.decode(), "delegate (XNNPACK)" if by_delegate else "own kernels", None)
