"""ONNX Runtime with its CPU provider."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import RefusedError
from mnist_edge.formats import ModelStructure, onnx, structure
from mnist_edge.int8.quantize import Port
from mnist_edge.results import Op
from mnist_edge.runtime.engines.interface import (
    PROFILED_CALLS,
    PROFILED_WARMUP,
    Engine,
    OpSamples,
    Program,
    missing_engine,
)

_FATAL = 4  # log level: errors are raised as exceptions with the same text


class _OnnxProgram:
    direct = None

    def __init__(self, file: ModelStructure, session: Any) -> None:
        self.metadata = file.metadata
        self.batched = file.inputs[0].shape[:1] == (-1,)
        self._run = session.run
        self.delegate = ", ".join(session.get_providers())
        self._input_name = session.get_inputs()[0].name
        self._output_names = [session.get_outputs()[0].name]
        # Quantized inputs of exported files are raw pixels with the contract's pixel scale; outputs are float.
        self.input, self.output = (
            Port(np.dtype(end.dtype), end.shape[1:]) for end in (file.inputs[0], file.outputs[0])
        )

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """See `mnist_edge.runtime.engines.interface.Program.run`."""
        answer: NDArray[Any] = self._run(self._output_names, {self._input_name: batch})[0]
        return answer


def load(content: bytes, threads: int) -> Program:
    """See `Engine.load`."""
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_engine(error, "onnxruntime", "onnx", 14, ("x86_64", "aarch64", "arm64", "AMD64")) from error
    file = onnx.read(content)
    structure.check(file, onnx.ALLOWED)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _FATAL
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no public base class
        first = (str(error).strip().splitlines() or [""])[0]
        raise RefusedError(f"onnxruntime refuses the file: {first}", "Export it again.") from error
    return _OnnxProgram(file, session)


def op_times(content: bytes, threads: int, inputs: NDArray[Any]) -> OpSamples:
    """See `Engine.op_times`: by ONNX Runtime's profiler, which counts whole microseconds.

    The profiler itself takes a few microseconds an op, so the sum is larger than the time of a call.
    """
    import onnxruntime

    source = onnx.read(content).inputs[0]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, _FATAL
    with tempfile.TemporaryDirectory() as folder:
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for at in range(PROFILED_WARMUP + PROFILED_CALLS):
            session.run(None, {source.name: inputs[at % len(inputs)][None]})
        events = json.loads(Path(session.end_profiling()).read_text())
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            found.setdefault(event["args"]["node_index"], []).append(event)  # nodes may have no names
    times = [[event["dur"] for event in each[-PROFILED_CALLS:]] for each in found.values()]
    return OpSamples(tuple(_op(each[0]) for each in found.values()), np.array(times, np.float64).T, None)


def _op(event: dict[str, Any]) -> Op:
    """The op of an event, in which the shape is such as ``"output_type_shape": [{"float": [1, 10]}]``."""
    facts = event["args"]
    shapes = [tuple(shape) for output in facts.get("output_type_shape", ()) for shape in output.values()]
    return Op(
        event["name"].removesuffix("_kernel_time"), facts["op_name"], facts.get("provider", "unknown"),
        shapes[0][1:] if shapes else None,
    )  # fmt: skip


ENGINE = Engine("onnxruntime", (".onnx",), "onnxruntime", "onnx", rank=1, load=load, op_times=op_times)
