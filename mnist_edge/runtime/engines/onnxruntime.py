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
from mnist_edge.results import OpTime
from mnist_edge.runtime.engines.interface import Engine, Program, missing_engine

_FATAL = 4  # log level: errors are raised as exceptions with the same text
_PROFILED = 200  # calls, of which the second half is averaged


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


def op_times(content: bytes, threads: int) -> list[OpTime]:
    """Mean times of a file's ops by ONNX Runtime's profiler, for one image of random pixels, longest first.

    The profiler itself takes a few microseconds an op, so the sum is larger than the time of a call.

    Args:
        content: a file that `load` accepts. threads: number of threads.
    """
    import onnxruntime

    source = onnx.read(content).inputs[0]
    pixels = np.random.default_rng(0).integers(0, 256, (1, *source.shape[1:]))
    image = (pixels if source.dtype == "uint8" else pixels / 255).astype(source.dtype)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, _FATAL
    with tempfile.TemporaryDirectory() as folder:
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for _ in range(_PROFILED):
            session.run(None, {source.name: image})
        events = json.loads(Path(session.end_profiling()).read_text())
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            found.setdefault(event["name"].removesuffix("_kernel_time"), []).append(event)
    ops = [
        OpTime(
            node, each[0]["args"]["op_name"], float(np.mean([item["dur"] for item in each[len(each) // 2 :]])),
            str(each[0]["args"].get("provider", "unknown")),
        )
        for node, each in found.items()
    ]  # fmt: skip
    return sorted(ops, key=lambda item: -item.us)


ENGINE = Engine("onnxruntime", (".onnx",), "onnxruntime", "onnx", rank=1, load=load, op_times=op_times)
