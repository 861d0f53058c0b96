"""Conversions that may end the process run in a child process, so that a crash of a converter is an error.

TFLite's converter and calibrator are native code that no longer returns if it meets a graph that it does not expect
(a segmentation fault, an endless loop). A child process costs the import of TensorFlow, 4 to 10 s on two slow cores,
and forking is no way around that: TensorFlow's threads would be missing in the child. A model therefore is converted in
this process if it consists of the layers and activations of `KNOWN_LAYERS` and `KNOWN_ACTIVATIONS`, all of which
`benchmarks/zoo.py` converts to every format; any other model is converted in a child with limits.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import textwrap
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mnist_edge import errors, models
from mnist_edge.conversion.naming import layer_names, layer_of, without_marks
from mnist_edge.conversion.request import ConversionRequest, inference_function
from mnist_edge.errors import MnistEdgeError, StageError, missing_extra, one_line
from mnist_edge.runtime.trial import signal_name
from mnist_edge.store.streams import quiet

Convert = Callable[[Any, ConversionRequest], bytes]

SECONDS = 1800  # a conversion of the zoo takes 1 to 10
MESSAGE_LENGTH = 200
KNOWN_LAYERS = frozenset({
    "Activation", "Add", "Average", "AveragePooling2D", "BatchNormalization", "Concatenate", "Conv2D",
    "Conv2DTranspose", "Dense", "DepthwiseConv2D", "Dot", "Dropout", "ELU", "Flatten", "GlobalAveragePooling1D",
    "GlobalAveragePooling2D", "GlobalMaxPooling2D", "InputLayer", "LayerNormalization", "LeakyReLU", "MaxPooling2D",
    "Multiply", "Normalization", "PReLU", "ReLU", "Rescaling", "Reshape", "SeparableConv2D", "Softmax",
})  # fmt: skip
KNOWN_ACTIVATIONS = frozenset({"elu", "gelu", "hard_silu", "linear", "relu", "sigmoid", "silu", "softmax", "tanh"})
_CHILD = "from mnist_edge.conversion import isolation; isolation.child()"


def run(name: str, function: Convert, path: Path, model: Any, request: ConversionRequest) -> bytes:
    """A model in another format; what the converter prints is appended to the request's log.

    Args:
        name: of the format. function: its ``convert``.
        path: the model's ``.keras`` file. model: the model loaded from it.
        request: the conversion.

    Raises:
        StageError: the conversion failed, or ended its process.
        MissingError: a package of the build machine is not installed.
    """
    if is_known(model):
        return attempt(name, function, model, request)
    attempt(name, _trace, model, request)  # a loop is refused without the cost of a child
    return _in_child(name, path, request)


def _trace(model: Any, request: ConversionRequest) -> bytes:
    inference_function(model, 1, request.contract.output)
    return b""


def is_known(model: Any) -> bool:
    """Whether a model consists of layers and activations that are known to convert."""
    if type(model).__name__ not in ("Sequential", "Functional"):
        return False
    return all(_is_known_layer(layer) for layer in getattr(model, "operations", model.layers))


def _is_known_layer(layer: Any) -> bool:
    if hasattr(layer, "layers"):
        return is_known(layer)
    own = type(layer).__module__.startswith("keras.src.layers.") and type(layer).__name__ in KNOWN_LAYERS
    # The name of a function, or the configuration of a layer that serves as one.
    activation = layer.get_config().get("activation", "linear")
    return own and isinstance(activation, str) and activation in KNOWN_ACTIVATIONS


def attempt(name: str, function: Convert, model: Any, request: ConversionRequest) -> bytes:
    """A model in another format, converted in this process. Arguments and errors are those of `run`."""
    try:
        with quiet(request.log), warnings.catch_warnings():
            warnings.simplefilter("default")  # into the log with them
            return function(model, request)
    except MnistEdgeError as error:
        _note(request, f"{error.cause} {error.remedy}\n")
        raise
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or "A converter", "train") from error
    except Exception as error:  # converters raise whatever they like
        _note(request, traceback.format_exc())
        said = str(error) or type(error).__name__
        layer = layer_of([said], layer_names(model))
        raise _failure(name, request, f"failed: {_short(said)}", layer) from error


def _note(request: ConversionRequest, text: str) -> None:
    with request.log.open("ab") as log:
        log.write(text.encode(errors="backslashreplace"))


def _failure(name: str, request: ConversionRequest, how: str, layer: str | None = None) -> StageError:
    replace = f"Replace the layer {layer}, or choose" if layer else "Choose"
    return StageError(
        f"The conversion of {request.contract.model} to {name} ({request.quantization}) {how}",
        f"{replace} another --format or --quantize. The converter's output is in {request.log}.",
    )


def _short(text: str) -> str:
    return textwrap.shorten(one_line(without_marks(text)), MESSAGE_LENGTH, placeholder=" …")


def _in_child(name: str, path: Path, request: ConversionRequest) -> bytes:
    with tempfile.TemporaryDirectory() as folder, request.log.open("ab") as log:
        result = Path(folder) / "result"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        start = log.tell()
        ended = None
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-c", _CHILD], input=pickle.dumps((name, path.resolve(), request, result)),
                stdout=log, stderr=log, timeout=SECONDS, check=False, env=environment,
            )  # fmt: skip
            if done.returncode or not result.exists():
                ended = signal_name(-done.returncode) if done.returncode < 0 else f"exit {done.returncode}"
        except subprocess.TimeoutExpired:
            ended = f"no result in {SECONDS} s"
        if ended is not None:
            words = _last_words(request.log.read_bytes()[start:].decode(errors="replace"))
            raise _failure(name, request, f"ended the converter: {ended}{'; its last words: ' if words else ''}{words}")
        content, kind, *said = pickle.loads(result.read_bytes())
    if kind:
        raise getattr(errors, kind)(*said)
    made: bytes = content
    return made


def _last_words(text: str) -> str:
    """The last line that the converter printed before Python's report of the crash."""
    lines = [line for line in text.split("Fatal Python error", maxsplit=1)[0].splitlines() if line.strip()]
    return _short(lines[-1]) if lines else ""


def child() -> None:
    """The child process: what to do comes on standard input, the result goes to the file named there."""
    import faulthandler

    from mnist_edge.conversion.registry import CONVERTERS

    faulthandler.enable()
    name, path, request, result = pickle.load(sys.stdin.buffer)
    model = models.load(path)
    _limit()
    try:
        answer: tuple[Any, ...] = attempt(name, CONVERTERS[name].convert, model, request), ""
    except MnistEdgeError as error:
        answer = b"", type(error).__name__, error.cause, error.remedy
    result.write_bytes(pickle.dumps(answer))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # native code has nothing left to do here that could fail


def _limit() -> None:
    """Bound the memory of this process by that of the machine, besides what it has taken, and leave no core file."""
    try:
        import resource
    except ImportError:  # not on Windows; there the time that the parent waits is the only limit
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = Path("/proc/self/statm")
    if pages.is_file():
        taken = int(pages.read_text().split()[0]) * resource.getpagesize()
        limit = taken + os.sysconf("SC_PHYS_PAGES") * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
