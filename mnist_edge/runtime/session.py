"""Sessions: a model file on an engine, which takes uint8 images, or features, and returns float32 probabilities."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import ContentError, ImageShapeError, MissingError, UsageError, suggest
from mnist_edge.formats import METADATA_KEY, Contract, output_step
from mnist_edge.formats.foreign import not_runnable
from mnist_edge.formats.model_structure import CHANNELS, FEATURES
from mnist_edge.int8.quantize import Port, dequantize, pixel_lookup, quantize, softmax
from mnist_edge.runtime import choice, trial
from mnist_edge.runtime.engines import ENGINES
from mnist_edge.runtime.engines.interface import DirectAnswers, Program
from mnist_edge.store.model_file import ModelFile

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")
# Most images in one call of an engine, and bytes of its input: the activations of large images take many times as much.
BATCH, BATCH_BYTES = 64, 1 << 20
DEFAULT_THREADS = 1
# Largest extent of a quantized input whose pixels are taken to be from 0 to 1.
MOST_WITH_UNIT_PIXELS = 64
_UINT8, _FLOAT32 = np.dtype(np.uint8), np.dtype(np.float32)
UNKNOWN = "unknown"  # precision of a file that mnist-edge did not make


class Session:
    """A model file on an engine.

    A session is not thread-safe, because it owns the engine's buffers. Open one session for each thread; sessions of
    one file share no state. With several ``threads``, one image is computed by the engine's own threads. A batch of at
    least two times `BATCH` images is divided between several programs of one thread each, which is faster.

    Attributes:
        file: the model file. path: of the file.
        engine: name of the engine. reason: why this engine was chosen, in words.
        contract: the contract in the file; defaults if mnist-edge did not make the file.
        delegate: what was observed to run the ops, see `Program`.
        output_step: difference of two neighbouring values of the output; None for a float output on no grid.
        verified: whether a manifest names the hash of the file.
        temperature: of the confidence calibration, see `mnist_edge.runtime.confidence`; None if it is unknown.
        takes_images: whether the input is an image: grey, or with three channels.
        image_shape: (h, w) of grey images, (h, w, 3) of images in colour; the input's shape if it is no image.
        classes: number of classes.
    """

    def __init__(self, file: ModelFile, engine: str, threads: int, reason: str, program: Program | None = None) -> None:
        path = file.path
        program = program or _load(file, engine, threads)
        self.file = file
        self.path = path
        self.engine = engine
        self.reason = reason
        self.delegate = program.delegate
        self.verified = file.verified
        self.temperature = file.temperature
        self._program = program
        self._threads = threads
        self._pool_and_programs: tuple[ThreadPoolExecutor, list[Program]] | None = None
        shape = program.input.shape
        if len(shape) not in (1, 2, 3) or len(program.output.shape) != 1 or min(*shape, *program.output.shape) < 1:
            raise ContentError(
                f"{path} takes {shape} and returns {program.output.shape}.",
                "It must take one array and return one row of values.",
            )
        self.image_shape = shape[:2] if shape[2:] == (1,) else shape
        grey = {(*shape, 1)} if len(shape) == 2 else set()
        self._shapes = {self.image_shape, shape, *grey}  # of one image, as `predict` takes it
        self.output_step = program.output.scale or output_step(file.content, path)
        self.contract = _contract(program, path.stem)
        is_image = len(shape) == 2 or (len(shape) == 3 and shape[2] in CHANNELS)
        self.takes_images = is_image and self.contract.preprocessor != FEATURES
        pixels_only = self.takes_images and self.contract.quantization != UNKNOWN
        features = () if pixels_only else (_FLOAT32, program.input.dtype)
        # The dtypes that `predict` takes: pixels, and real values or integers on the input's own grid.
        self._dtypes = (*((_UINT8,) if self.takes_images else ()), *features)
        self._is_sigmoid = self.contract.output == "sigmoid"
        self.classes = 2 if self._is_sigmoid else program.output.shape[0]
        if len(self.contract.class_names) != self.classes:
            raise ContentError(
                f"{path} names {len(self.contract.class_names)} classes and returns {self.classes}.", "Export it again."
            )
        # Input value for each of the 256 pixel values; None if the input takes the pixels as they are.
        self._lookup = pixel_lookup(program.input, self.contract.pixel_scale)
        # Real value of each of the 256 values of an 8-bit output, by its bit pattern; None for other outputs.
        self._values = _answer_values(program.output)
        self._is_logits = self.contract.output == "logits"
        self._takes_pixels = self._lookup is None and self.contract.output == "probabilities"
        direct = self._direct_answers(program)
        self._one = None if direct is None else direct.one
        self._one_image = {(1, *self.image_shape), (1, *self.image_shape, 1)}

    def predict(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Class probabilities for a batch.

        Args:
            images: uint8 pixels, shape (n, h, w) or (n, h, w, 1), 0 = background, or (n, h, w, 3). Inputs that are no
                images, and those of files without a contract, may be float32 real values, or integers of the input's
                own dtype, which the file takes as they are.

        Returns:
            float32, shape (n, classes). Rows sum to 1 up to the rounding of the file's output.

        Raises:
            ImageShapeError: the images have another shape or dtype.
        """
        # Shortcuts for one image, because the checks below take time.
        if self._one:
            answer = self._one(images)
            if answer is not None:
                return answer
        elif images.shape in self._one_image and images.dtype == _UINT8:
            return self._infer(self._program, images)
        if images.dtype not in self._dtypes or images.shape[1:] not in self._shapes:
            sizes = ", ".join(map(str, self.image_shape))
            raise ImageShapeError(
                f"Images are {images.dtype} {images.shape}; {self.path.name} takes {self._dtypes[0]} (n, {sizes}).",
                "Resize and convert them first.",
            )
        answers = np.empty((len(images), self.classes), np.float32)
        if self._threads == 1 or len(images) < 2 * BATCH:
            self._fill(self._program, images, answers)
        else:
            self._fill_by_threads(images, answers)
        return answers

    def _fill_by_threads(self, images: NDArray[np.uint8], answers: NDArray[np.float32]) -> None:
        # A closure in `predict` would slow every call of it.
        pool, programs = self._workers()
        bounds = np.linspace(0, len(images), len(programs) + 1).astype(int)
        parts = itertools.starmap(slice, itertools.pairwise(bounds))
        list(pool.map(lambda part, program: self._fill(program, images[part], answers[part]), parts, programs))

    def _fill(self, program: Program, images: NDArray[np.uint8], answers: NDArray[np.float32]) -> None:
        direct = self._direct_answers(program)
        if direct is not None and images.dtype == _UINT8:
            direct.batch(images, answers)
            return
        size = math.prod(program.input.shape) * program.input.dtype.itemsize
        step = max(1, min(BATCH, BATCH_BYTES // size)) if program.batched else 1
        for at in range(0, len(images), step):
            answers[at : at + step] = self._infer(program, images[at : at + step])

    def _direct_answers(self, program: Program) -> DirectAnswers | None:
        return program.direct if self._takes_pixels else None

    def _workers(self) -> tuple[ThreadPoolExecutor, list[Program]]:
        if self._pool_and_programs is None:
            from concurrent.futures import ThreadPoolExecutor  # imported here because one image does not need it

            programs = [_load(self.file, self.engine, 1) for _ in range(self._threads)]
            self._pool_and_programs = ThreadPoolExecutor(self._threads, "mnist-edge"), programs
        return self._pool_and_programs

    def _infer(self, program: Program, images: NDArray[Any]) -> NDArray[np.float32]:
        batch = images.reshape(-1, *program.input.shape)
        if self.takes_images and batch.dtype == _UINT8:
            batch = batch if self._lookup is None else self._lookup.take(batch)
        elif batch.dtype != program.input.dtype:
            batch = _on_grid(batch, program.input)
        answer = program.run(batch)
        if self._values is not None:
            answer = self._values.take(answer.view(_UINT8))
        elif program.output.scale is not None:
            answer = dequantize(answer, program.output.scale, program.output.zero_point)
        if self._is_sigmoid:
            return np.concatenate([1 - answer, answer], axis=1)
        return softmax(answer) if self._is_logits else answer


def engine_names(suffix: str | None = None, kernels_only: bool = False) -> list[str]:
    """Names of the engines that run a kind of file, in the order in which ``auto`` tries them.

    Args:
        suffix: of the files, with its dot; None for all engines.
        kernels_only: return the engines that are only another set of kernels, which ``auto`` never uses.
    """
    wanted = [
        engine for engine in ENGINES.values()
        if not engine.on_demand and engine.kernels_only == kernels_only
        and (suffix is None or suffix in engine.suffixes)
    ]  # fmt: skip
    return [engine.name for engine in sorted(wanted, key=lambda engine: engine.rank)]


def open_session(path: Path, engine: str = "auto", threads: int = DEFAULT_THREADS, trust: bool = False) -> Session:
    """Open a model file.

    Args:
        path: the file. engine: a name, or ``auto`` for the first that works in the order of `choice`.
        threads: number of threads.
        trust: open the file even if its hash is not the one in the manifest next to it.

    Raises:
        UsageError: there is no such file or engine, or the engine does not run this kind of file.
        MissingError: no engine for this kind of file is installed.
        ContentError: the file is damaged, or is not the one that its manifest describes.
    """
    check_engine(path, engine)
    return open_file(ModelFile.open(path, trust), engine, threads)


def check_engine(path: Path, engine: str) -> None:
    """Check that an engine runs files with this suffix, before the file is read.

    Raises:
        UsageError: no engine runs such files, the named one does not, or there is no such engine.
    """
    names = engine_names(path.suffix)
    if not names:
        raise not_runnable(path)
    if engine != "auto" and engine not in ENGINES:
        raise suggest(engine, ["auto", *ENGINES], "engine")
    if engine != "auto" and path.suffix not in ENGINES[engine].suffixes:
        raise UsageError(
            f"The engine {engine} does not run {path.suffix} files.", f"Engines that run them: {', '.join(names)}."
        )


def open_file(file: ModelFile, engine: str = "auto", threads: int = DEFAULT_THREADS) -> Session:
    """Open a file that was read already, see `open_session`; the engine must run such files.

    Raises:
        MissingError, ContentError: see `open_session`.
    """
    names, reason = [engine], choice.ASKED
    if engine == "auto":
        names = engine_names(file.path.suffix)
        if len(names) > 1:
            names, reason = choice.order(file.sha256, names)
    missing: list[MissingError] = []
    for name in names:
        try:
            if not file.verified:
                _require_safe(file, name)
            return Session(file, name, threads, reason)
        except MissingError as error:
            missing.append(error)
    raise MissingError(f"{file.path.name} cannot be run: {missing[0].cause}", missing[0].remedy)


def _require_safe(file: ModelFile, engine: str) -> None:
    """Run a file that no manifest names in a child process first, see `trial`.

    Raises:
        ContentError: the file is code, or it ends the child process.
    """
    if ENGINES[engine].runs_code:
        raise ContentError(
            f"{file.path} is code, and no manifest next to it names its hash.", "Export it here: --format c"
        )
    _with_path(file.path, functools.partial(trial.attempt, file.content, file.sha256, engine))


def _load(file: ModelFile, engine: str, threads: int) -> Program:
    return _with_path(file.path, lambda: ENGINES[engine].load(file.content, threads))


def _with_path(path: Path, action: Callable[[], T]) -> T:
    """Do something with a file's bytes, and add the file's path to a `ContentError`."""
    try:
        return action()
    except ContentError as error:
        raise type(error)(f"{path}: {error.cause}", error.remedy) from error


def _contract(program: Program, stem: str) -> Contract:
    """The contract in the file, or the default one."""
    if METADATA_KEY in program.metadata:
        return Contract.from_text(program.metadata[METADATA_KEY])
    return default_contract(stem, program.output.shape[0], program.input.scale)


def default_contract(model: str, values: int, step: float | None) -> Contract:
    """The contract of a file that mnist-edge did not make, by which a single value is a sigmoid.

    Pixels are from 0 to 1, unless a quantized input reaches far beyond that: see `default_pixel_scale`. The output has
    this number of values; ``step`` is the input's scale, None for a float input.
    """
    return Contract(
        model, tuple(map(str, range(max(values, 2)))), UNKNOWN, "resize", reference_sha256="", tool_version="",
        pixel_scale=default_pixel_scale(step), output="sigmoid" if values == 1 else "probabilities",
    )  # fmt: skip


def default_pixel_scale(step: float | None) -> float:
    """The factor between a pixel and the real input of a file without a contract; ``step`` is the input's scale."""
    return 1.0 if 255 * (step or 0) > MOST_WITH_UNIT_PIXELS else 1 / 255


def answers_to(session: Session, images: NDArray[np.uint8], factor: float | None = None) -> NDArray[np.float32]:
    """`Session.predict`, with another factor between a pixel and the input if the file has no contract."""
    if factor is None or session.contract.quantization != UNKNOWN:
        return session.predict(images)
    return session.predict(images.astype(np.float32) * np.float32(factor))


def _on_grid(values: NDArray[np.float32], port: Port) -> NDArray[Any]:
    """Real values, float32, as an input's dtype; those of an integer input are put on its grid."""
    if port.scale is None:
        return values.astype(port.dtype)
    return quantize(values, port.scale, port.zero_point, port.dtype)


def _answer_values(port: Port) -> NDArray[np.float32] | None:
    """Real values of an 8-bit output by its bit pattern, float32 (256,); None for other outputs."""
    if port.scale is None or port.dtype.itemsize != 1:
        return None
    return dequantize(np.arange(256, dtype=np.uint8).view(port.dtype), port.scale, port.zero_point)
