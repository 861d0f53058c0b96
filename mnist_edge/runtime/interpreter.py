"""Loading and running TFLite files, shared by the engines that have TensorFlow Lite's ``Interpreter``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import RefusedError
from mnist_edge.formats import ModelStructure, structure, tflite
from mnist_edge.int8.quantize import Port
from mnist_edge.store.streams import quiet

# Largest number of classes of an int8 softmax that LiteRT's reference kernels run, see `reference_kernels_abort`.
REFERENCE_SOFTMAX_CLASSES = 511


class InterpreterProgram:
    """A TFLite file in an interpreter. The input tensor is resized only if the number of images changes."""

    def __init__(self, file: ModelStructure, interpreter: Any) -> None:
        self.metadata, self.direct = file.metadata, None
        self.batched = file.inputs[0].shape[:1] == (-1,)
        self._interpreter = interpreter
        source, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        self._input_index, self._output_index = source["index"], answer["index"]
        self.input, self.output = _port(source), _port(answer)
        self._batch = int(source["shape"][0])
        # `getattr`: the method is private, so another version may lack it; no public one tells whether a delegate runs.
        ops = [op["op_name"] for op in getattr(interpreter, "_get_ops_details", list)()]
        self.delegate = "delegate (XNNPACK)" if "DELEGATE" in ops else "own kernels" if ops else "unknown"

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """See `mnist_edge.runtime.engines.interface.Program.run`."""
        if len(batch) != self._batch:
            self._interpreter.resize_tensor_input(self._input_index, batch.shape)
            self._interpreter.allocate_tensors()
            self._batch = len(batch)
        self._interpreter.set_tensor(self._input_index, batch)
        try:
            self._interpreter.invoke()
        except RuntimeError as error:  # a kernel without support for a dtype raises it only here
            raise _refusal(error) from error
        answer: NDArray[Any] = self._interpreter.get_tensor(self._output_index)
        return answer


def load(content: bytes, make: Any) -> InterpreterProgram:
    """Load a program.

    The file's structure is checked first: tflite-runtime reads past the end of a truncated file and crashes.

    Args:
        content: the file's bytes. make: constructs an interpreter from them.

    Raises:
        ContentError: the file is damaged, or the engine refuses it.
    """
    file = tflite.read(content)
    structure.check(file, tflite.ALLOWED)
    try:
        with quiet():  # LiteRT prints the name of its delegate at every log level
            interpreter = make(content)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise _refusal(error) from error
    return InterpreterProgram(file, interpreter)


def reference_kernels_abort(file: ModelStructure) -> bool:
    """Whether LiteRT's reference kernels may abort the process: the file has an int8 softmax of more than 511 classes.

    The kernel asserts that the sum of the exponentials, each of which is at most 1, is below 512.
    """
    tensors = {tensor.name: tensor for tensor in file.tensors}
    sources = (tensors[op.inputs[0]] for op in file.ops if op.kind == "SOFTMAX" and op.inputs)
    return any(source.dtype == "int8" and source.shape[-1] > REFERENCE_SOFTMAX_CLASSES for source in sources)


def _refusal(error: Exception) -> RefusedError:
    first = (str(error).strip().splitlines() or [""])[0]
    return RefusedError(f"The engine refuses the file: {first}", "Export it again, or try another --engine.")


def _port(details: dict[str, Any]) -> Port:
    scale, zero_point = details["quantization"]
    return Port(
        dtype=np.dtype(details["dtype"]),
        shape=tuple(int(size) for size in details["shape"][1:]),
        scale=float(scale) or None,
        zero_point=int(zero_point),
    )
