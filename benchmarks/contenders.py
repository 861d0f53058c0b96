"""What `Session.predict` is compared with: plain loops over its engines, calls that bypass their Python API, Keras."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from mnist_edge.store.streams import quiet

Call = Callable[[np.ndarray], Any]


def bare(path: Path, engine: str, threads: int = 1, batch: int = 1) -> Call:
    """Function that sets the input, invokes and gets the output: uint8 (batch, 28, 28, 1) to the file's raw output."""
    content = path.read_bytes()
    if engine == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda image: session.run(None, {name: image})[0]
    if engine == "litert":
        from ai_edge_litert.interpreter import Interpreter
    else:
        from tflite_runtime.interpreter import Interpreter
    with quiet():
        interpreter = Interpreter(model_content=content, num_threads=threads)
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], (batch, 28, 28, 1))
        interpreter.allocate_tensors()
    source, answer = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def call(image: np.ndarray) -> Any:
        interpreter.set_tensor(source, image)
        interpreter.invoke()
        return interpreter.get_tensor(answer)

    return call


def barest(path: Path, engine: str) -> Call:
    """Function that calls an engine with the least overhead that Python permits; as `bare`, but for one image.

    The buffers of input and output are set once, not in each call. ONNX Runtime is called through IOBinding without
    the checks of its Python code; TFLite's engines through the C++ wrapper inside ``Interpreter``, with views of its
    tensors. The next call overwrites the output.
    """
    content = path.read_bytes()
    if engine == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        (source,), (answer,) = session.get_inputs(), session.get_outputs()
        assert (source.type, answer.type) == ("tensor(uint8)", "tensor(float)")
        taken, given = np.zeros((1, *source.shape[1:]), np.uint8), np.zeros((1, *answer.shape[1:]), np.float32)
        binding = session.io_binding()
        binding.bind_input(source.name, "cpu", 0, np.uint8, taken.shape, taken.ctypes.data)
        binding.bind_output(answer.name, "cpu", 0, np.float32, given.shape, given.ctypes.data)
        run, bound = session._sess.run_with_iobinding, binding._iobinding

        def bound_call(image: np.ndarray) -> Any:
            taken[...] = image
            run(bound, None)
            return given

        bound_call.keeps = (session, binding)  # type: ignore[attr-defined]  # must live as long as the function
        return bound_call
    if engine == "litert":
        from ai_edge_litert.interpreter import Interpreter
    else:
        from tflite_runtime.interpreter import Interpreter
    with quiet():
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    wrapper = interpreter._interpreter
    source, answer = (
        wrapper.tensor(interpreter, details[0]["index"], 0)
        for details in (interpreter.get_input_details(), interpreter.get_output_details())
    )
    invoke = wrapper.Invoke

    def wrapper_call(image: np.ndarray) -> Any:
        source[...] = image
        invoke()
        return answer

    return wrapper_call


def keras(path: Path) -> dict[str, Call]:
    """Three ways to call a float model by Keras, with its default threads: predict, direct call, compiled function."""
    from mnist_edge.models.backend import import_keras, import_tensorflow

    keras_, tensorflow = import_keras(), import_tensorflow()
    model = keras_.models.load_model(path)
    compiled = tensorflow.function(lambda x: model(x, training=False))

    def scaled(image: np.ndarray) -> np.ndarray:
        return image / np.float32(255)

    return {
        "model.predict": lambda image: model.predict(scaled(image), verbose=0),
        "model(x)": lambda image: model(scaled(image), training=False).numpy(),
        "tf.function": lambda image: compiled(tensorflow.constant(scaled(image))).numpy(),
    }


def microseconds(call: Call, images: np.ndarray, calls: int) -> float:
    """Median time of a call in microseconds, over ``calls`` calls with one image each."""
    clock, taken = time.perf_counter_ns, []
    for at in range(calls):
        image = images[at % len(images)][np.newaxis]
        begun = clock()
        call(image)
        taken.append(clock() - begun)
    return median(taken) / 1e3


@dataclass(frozen=True)
class Cost:
    """Duration of a process, and its peak resident memory."""

    seconds: float
    peak_rss_bytes: int


# Program that starts and measures another one. The peak memory of a child includes that of its parent at the fork, so
# the parent must be small.
SPAWN = """
import json, os, sys, time
null = os.open(os.devnull, os.O_RDWR)
begun = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ,
                       file_actions=[(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)])
_, status, usage = os.wait4(child, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), time.perf_counter() - begun, usage.ru_maxrss * 1024]))
"""


def process(command: list[object]) -> Cost:
    """Run a command, given by its full path, and discard its output.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    words = [str(word) for word in command]
    parent = [sys.executable, "-S", "-c", SPAWN, *words]
    code, seconds, peak = json.loads(subprocess.run(parent, capture_output=True, text=True, check=True).stdout)
    if code:
        raise subprocess.CalledProcessError(code, words)
    return Cost(seconds, peak)


BAREST = """
import sys
import numpy as np
from PIL import Image
from ai_edge_litert.interpreter import Interpreter
image = np.asarray(Image.open(sys.argv[1]).convert("L"), np.uint8).reshape(1, 28, 28, 1)
interpreter = Interpreter(model_path=sys.argv[2])
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
interpreter.invoke()
print(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).argmax())
"""
BY_KERAS = """
import sys
import numpy as np
from PIL import Image
import keras
image = np.asarray(Image.open(sys.argv[1]).convert("L"), np.float32).reshape(1, 28, 28, 1) / 255
print(keras.models.load_model(sys.argv[2]).predict(image, verbose=0).argmax())
"""


def batches(call: Call, images: np.ndarray, batch: int) -> list[Any]:
    """Outputs for all images, ``batch`` images per call."""
    return [call(images[at : at + batch]) for at in range(0, len(images), batch)]


def timed(call: Callable[[], object]) -> float:
    """Duration of one call in seconds."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def spread(values: list[float], digits: int = 2) -> str:
    """Text of the median, with the smallest and the largest value."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
