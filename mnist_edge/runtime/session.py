"""A file, opened on an engine: uint8 images in, float probabilities out, whatever grids lie between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge.artifacts import check_hash, read_bytes
from mnist_edge.errors import ContentError, ImageShapeError, MissingError, UsageError, suggest
from mnist_edge.formats import METADATA_KEY, Contract
from mnist_edge.runtime import engines
from mnist_edge.runtime.engines import Port, Program
from mnist_edge.runtime.quantize import dequantize, quantize, softmax

BATCH = 64
DEFAULT_THREADS = 1
_UINT8 = np.dtype(np.uint8)


class Session:
    """An open model. Not thread-safe: the engine's buffers belong to the session, so use one session a thread.

    Attributes:
        path: the file. engine: the name of the engine that runs it.
        contract: what the file says of itself; defaults where mnist-edge did not make it.
        delegate: what the engine was observed to run it with.
        output_step: what one step of its integer output is worth; None for a float output.
        verified: whether a manifest vouches for the file's bytes.
        image_shape: (h, w) of the images that it takes. classes: how many it tells apart.
    """

    def __init__(self, path: Path, engine: str, program: Program, verified: bool) -> None:
        self.path = path
        self.engine = engine
        self.delegate: str = getattr(program, "delegate", "unknown")
        self.verified = verified
        self._program = program
        shape = program.input.shape
        if len(shape) not in (2, 3) or len(program.output.shape) != 1 or min(*shape, *program.output.shape) < 1:
            raise ContentError(
                f"{path} takes {shape} and returns {program.output.shape}.", "It must be a classifier of grey images."
            )
        self.image_shape = shape[:2]
        self.classes = program.output.shape[0]
        self.output_step = program.output.scale
        self.contract = _contract(program, path.stem, self.classes)
        if len(self.contract.class_names) != self.classes:
            raise ContentError(f"{path} names other classes than it returns.", "Export it again.")
        # The input's value for each of the 256 pixel values; None where the pixel already is that value.
        self._lookup = _pixel_lookup(program.input, self.contract.pixel_scale)
        # The value of each of the 256 answers of an 8-bit output, by its bits.
        self._values = _answer_values(program.output)
        self._is_logits = self.contract.output == "logits"
        self._one_image = {(1, *self.image_shape), (1, *self.image_shape, 1)}

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities for a batch.

        Args:
            images: uint8, shape (n, h, w) or (n, h, w, 1), 0 = background.

        Returns:
            float32, shape (n, classes). Rows sum to 1 up to the rounding of the file's output grid.

        Raises:
            ImageShapeError: images have another shape or dtype.
        """
        if images.shape in self._one_image and images.dtype == _UINT8:  # nothing on top of the engine's own work
            return self._infer(images)
        height, width = self.image_shape
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.shape[1:] not in (
            (height, width), (height, width, 1),
        ):  # fmt: skip
            raise ImageShapeError(
                f"Images are {images.dtype} {images.shape}; {self.path.name} takes uint8 (n, {height}, {width}).",
                "Resize and convert them first.",
            )
        answers = np.empty((len(images), self.classes), np.float32)
        step = BATCH if self._program.batched else 1
        for at in range(0, len(images), step):
            answers[at : at + step] = self._infer(images[at : at + step])
        return answers

    def _infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        program = self._program
        batch = images.reshape(-1, *program.input.shape)
        answer = program.run(batch if self._lookup is None else self._lookup.take(batch))
        if self._values is not None:
            answer = self._values.take(answer.view(_UINT8))
        elif program.output.scale is not None:
            answer = dequantize(answer, program.output.scale, program.output.zero_point)
        return softmax(answer) if self._is_logits else answer


def engine_names(suffix: str | None = None, kernels_only: bool = False) -> list[str]:
    """The engines that run files with this suffix (any, without one), the first choice of ``auto`` first.

    With ``kernels_only`` those instead that are another set of kernels of an engine among them, which ``auto`` never
    takes.
    """
    found = engines.found()
    names = [name for name in found if suffix is None or suffix in found[name].SUFFIXES]
    wanted = [name for name in names if getattr(found[name], "KERNELS_ONLY", False) == kernels_only]
    return sorted(wanted, key=lambda name: int(found[name].RANK))


def open_session(path: Path, engine: str = "auto", threads: int = DEFAULT_THREADS, trust: bool = False) -> Session:
    """Open a model file.

    Args:
        path: the file. engine: a name, or ``auto`` for the first engine that works here.
        threads: how many the engine may use.
        trust: open it even where its hash is not that of the manifest beside it.

    Raises:
        UsageError: no such file, engine, or engine for this kind of file.
        MissingError: no engine for this kind of file is installed.
        ContentError: the file is damaged, or not what its manifest says.
    """
    content = read_bytes(path)
    names = engine_names(path.suffix)
    if not names:
        raise UsageError(f"No engine runs {path.name}.", "Name a .tflite or .onnx file.")
    if engine != "auto" and engine not in engines.found():
        raise suggest(engine, ["auto", *engines.found()], "engine")
    if engine != "auto" and path.suffix not in engines.found()[engine].SUFFIXES:
        raise UsageError(
            f"The engine {engine} does not run {path.suffix} files.", f"Those that do: {', '.join(names)}."
        )
    verified = check_hash(path, content, trust)
    missing: list[MissingError] = []
    for name in names if engine == "auto" else [engine]:
        try:
            program = engines.found()[name].load(content, threads)
        except MissingError as error:
            missing.append(error)
        except ContentError as error:
            raise type(error)(f"{path}: {error.cause}", error.remedy) from error
        else:
            return Session(path, name, program, verified)
    raise MissingError(f"{path.name} cannot be run: {missing[0].cause}", missing[0].remedy)


def _contract(program: Program, stem: str, classes: int) -> Contract:
    text = program.metadata.get(METADATA_KEY)
    if text is not None:
        return Contract.from_text(text)
    names = tuple(map(str, range(classes)))
    return Contract(stem, names, "unknown", "resize", reference_sha256="", tool_version="")


def _answer_values(port: Port) -> NDArray[np.float32] | None:
    if port.scale is None or port.dtype.itemsize != 1:
        return None
    return dequantize(np.arange(256, dtype=np.uint8).view(port.dtype), port.scale, port.zero_point)


def _pixel_lookup(port: Port, pixel_scale: float) -> NDArray[np.generic] | None:
    pixels = np.arange(256, dtype=np.uint8)
    if port.dtype.kind == "f":
        return (pixels * np.float32(pixel_scale)).astype(port.dtype)
    if port.scale is None:
        # An integer input without a grid takes the pixels themselves.
        lookup = pixels.astype(port.dtype)
    else:
        lookup = quantize(pixels * np.float32(pixel_scale), port.scale, port.zero_point, port.dtype)
    return None if port.dtype == np.uint8 and bool((lookup == pixels).all()) else lookup
