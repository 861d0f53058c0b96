"""Runs a conversion in a child process if it may crash, so that a crash becomes an error with a remedy.

TFLite's converter and calibrator are native code. A graph that they do not expect can end in a segmentation fault or an
endless loop. A child process costs an import of TensorFlow, 4 to 10 s on two slow cores; a fork would save that, but
TensorFlow's threads do not exist in a forked process. Models that consist of `KNOWN_LAYERS` and `KNOWN_ACTIVATIONS` are
therefore converted in this process: `benchmarks/zoo.py` converts all of those to every format. Other models are
converted in a child process with limits on time and memory.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_edge import models
from mnist_edge.conversion.naming import is_model, layer_names, layer_of, without_marks
from mnist_edge.conversion.request import ConversionRequest, inference_function
from mnist_edge.errors import MnistEdgeError, StageError, missing_extra, one_line
from mnist_edge.runtime.trial import signal_name
from mnist_edge.store.streams import quiet

Convert = Callable[[Any, ConversionRequest], bytes]

TIMEOUT_S = 1800  # a conversion of a model of `benchmarks/zoo.py` takes 1 to 10 s
MESSAGE_LENGTH = 200  # characters of a converter's message that an error quotes
KNOWN_LAYERS = frozenset({
    "Activation", "Add", "Average", "AveragePooling2D", "BatchNormalization", "Concatenate", "Conv2D",
    "Conv2DTranspose", "Dense", "DepthwiseConv2D", "Dot", "Dropout", "ELU", "Flatten", "GlobalAveragePooling1D",
    "GlobalAveragePooling2D", "GlobalMaxPooling2D", "InputLayer", "LayerNormalization", "LeakyReLU", "MaxPooling2D",
    "Multiply", "Normalization", "PReLU", "ReLU", "Rescaling", "Reshape", "SeparableConv2D", "Softmax",
})  # fmt: skip
KNOWN_ACTIVATIONS = frozenset({"elu", "gelu", "hard_silu", "linear", "relu", "sigmoid", "silu", "softmax", "tanh"})
_CHILD = "from mnist_edge.conversion import isolation; isolation.child()"


@dataclass(frozen=True)
class _Outcome:
    """What a child process returns: the content of the file, or the class and the texts of an error."""

    content: bytes
    error: type[MnistEdgeError] | None = None
    cause: str = ""
    remedy: str = ""


def run(name: str, function: Convert, path: Path, model: Any, request: ConversionRequest) -> bytes:
    """Convert a model, in a child process if the model is not known to convert.

    Args:
        name: name of the format.
        function: the ``convert`` function of the format.
        path: the model's ``.keras`` file.
        model: the model that was loaded from it.
        request: the conversion. The converter's output is appended to its log.

    Returns:
        The content of the file.

    Raises:
        StageError: the conversion failed, crashed or took longer than `TIMEOUT_S`.
        MissingError: a package of the build machine is not installed.
    """
    if is_known(model):
        return attempt(name, function, model, request)
    attempt(name, _trace, model, request)  # refuses loops without the cost of a child process
    return _in_child(name, path, request)


def _trace(model: Any, request: ConversionRequest) -> bytes:
    """Trace a model without converting it, which raises a StageError for loops and branches."""
    inference_function(model, 1, request.contract.output)
    return b""


def is_known(model: Any) -> bool:
    """Whether a model consists of layers and activations that are known to convert without a crash."""
    if type(model).__name__ not in ("Sequential", "Functional"):
        return False
    # A functional model's operations include those that are not layers; a sequential model has only layers.
    return all(_is_known_layer(layer) for layer in getattr(model, "operations", model.layers))


def _is_known_layer(layer: Any) -> bool:
    if is_model(layer):
        return is_known(layer)
    known = type(layer).__module__.startswith("keras.src.layers.") and type(layer).__name__ in KNOWN_LAYERS
    # The name of a function, or the configuration of a layer that serves as the activation.
    activation = layer.get_config().get("activation", "linear")
    return known and isinstance(activation, str) and activation in KNOWN_ACTIVATIONS


def attempt(name: str, function: Convert, model: Any, request: ConversionRequest) -> bytes:
    """Convert a model, of the kind that ``function`` takes, in this process. Result and errors are those of `run`."""
    try:
        with quiet(request.log), warnings.catch_warnings():
            warnings.simplefilter("default")  # warnings go to the log, too
            return function(model, request)
    except MnistEdgeError as error:
        _append_to_log(request, f"{error.cause} {error.remedy}\n")
        raise
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or "A converter", "train") from error
    except Exception as error:  # converters raise exceptions of any class
        _append_to_log(request, traceback.format_exc())
        message = str(error) or type(error).__name__
        layer = layer_of([message], layer_names(model)) if is_model(model) else None
        raise _failure(name, request, f"failed: {_short(message)}", layer) from error


def _append_to_log(request: ConversionRequest, text: str) -> None:
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
    """Convert the model in a file in a child process. Arguments, result and errors are those of `run`."""
    with tempfile.TemporaryDirectory() as folder, request.log.open("ab") as log:
        result = Path(folder) / "result"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        start = log.tell()
        ended = None
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-c", _CHILD], input=pickle.dumps((name, path.resolve(), request, result)),
                stdout=log, stderr=log, timeout=TIMEOUT_S, check=False, env=environment,
            )  # fmt: skip
            if done.returncode or not result.exists():
                ended = signal_name(-done.returncode) if done.returncode < 0 else f"exit {done.returncode}"
        except subprocess.TimeoutExpired:
            ended = f"no result in {TIMEOUT_S} s"
        if ended is not None:
            last = _last_line(request.log.read_bytes()[start:].decode(errors="replace"))
            raise _failure(name, request, f"ended the converter: {ended}{'; its last output: ' if last else ''}{last}")
        outcome: _Outcome = pickle.loads(result.read_bytes())
    if outcome.error is not None:
        raise outcome.error(outcome.cause, outcome.remedy)
    return outcome.content


def _last_line(text: str) -> str:
    """The last line that the converter printed before Python's report of the crash; empty if there is none."""
    lines = [line for line in text.split("Fatal Python error", maxsplit=1)[0].splitlines() if line.strip()]
    return _short(lines[-1]) if lines else ""


def child() -> None:
    """Main function of the child process: reads the conversion from standard input, and writes an `_Outcome` to a file.

    An error is written as its class and texts, since pickle cannot restore an exception whose constructor takes two
    arguments.
    """
    import faulthandler

    from mnist_edge.conversion.registry import CONVERTERS

    faulthandler.enable()
    name, path, request, result = pickle.load(sys.stdin.buffer)
    model = models.load(path)
    _limit()
    try:
        outcome = _Outcome(attempt(name, CONVERTERS[name].convert, model, request))
    except MnistEdgeError as error:
        outcome = _Outcome(b"", type(error), error.cause, error.remedy)
    result.write_bytes(pickle.dumps(outcome))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # without the destructors of native libraries, which could crash


def _limit() -> None:
    """Limit the memory that this process may add to the size of the machine's memory, and write no core file."""
    try:
        import resource
    except ImportError:  # Windows has no such limits: there the parent's timeout is the only one
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = Path("/proc/self/statm")
    if pages.is_file():
        used = int(pages.read_text().split()[0]) * resource.getpagesize()
        limit = used + os.sysconf("SC_PHYS_PAGES") * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
