"""ONNX Runtime with its CPU provider."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import RefusedError
from mnist_edge.formats import ModelStructure, onnx, structure
from mnist_edge.int8.quantize import Port
from mnist_edge.runtime.engines.interface import Engine, Program, missing_engine

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


ENGINE = Engine("onnxruntime", (".onnx",), "onnxruntime", "onnx", rank=1, load=load)
