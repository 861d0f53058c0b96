"""The engine for generated C: compiles it with the system's compiler, unless it is a shared object, and calls it.

Generated C is code, and is loaded only if a manifest names its hash. Compiled code is kept in the user's cache with a
manifest of its own. The bytes whose hash is compared with that manifest are the bytes that are loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import os
import platform
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import ContentError, MnistEdgeError, RefusedError, StageError, UsageError
from mnist_edge.formats import METADATA_KEY, c
from mnist_edge.int8.quantize import Port
from mnist_edge.results import Op
from mnist_edge.runtime.engines.interface import (
    PROFILED_CALLS,
    PROFILED_WARMUP,
    DirectAnswers,
    Engine,
    One,
    OpSamples,
    Program,
    interquartile_mean,
)
from mnist_edge.store.files import locked
from mnist_edge.store.manifest import Manifest, fingerprint, read_verified, sha256_of
from mnist_edge.toolchains import host_cc

_ELF = b"\x7fELF"
# Multiplications up to which Python's lock is kept during a call: releasing it takes as long as 30,000 of them. They
# take less than a millisecond on any board, and a thread that waits for the lock waits up to 5 ms in any case.
_QUICK = 200_000


class NativeProgram:
    """The functions of a shared object, and a scratch buffer for them."""

    batched = True

    def __init__(self, library: ctypes.CDLL, facts: dict[str, Any]) -> None:
        self.metadata = {METADATA_KEY: facts["contract"]}
        self.input, self.output = _port(facts["input"]), _port(facts["output"])
        names = (f"{facts['prefix']}_{part}" for part in ("run_many", "run_values", "run_value", "backend"))
        self._many, many_values, one_value, backend = (library[name] for name in names)
        self._many.restype = many_values.restype = one_value.restype = None
        backend.restype = ctypes.c_char_p
        self.delegate = f"C, {backend().decode()}"
        outputs = math.prod(self.output.shape)
        values_size = -(-4 * outputs // 64) * 64  # bytes, before the scratch buffer
        buffer = np.empty(values_size + facts["scratch"], np.uint8)
        self._scratch = buffer[values_size:]
        values = buffer[: 4 * outputs].view(np.float32).reshape(1, -1)
        self.direct: DirectAnswers | None = None
        if self.input.dtype == np.uint8:
            # Functions of the module, not methods: a program that refers to itself would keep its memory until
            # Python's collector runs.
            shape = self.input.shape
            sides = shape[:2] if shape[2:] == (1,) else shape
            is_quick = facts.get("products", _QUICK + 1) <= _QUICK
            one = _caller(one_value, buffer, values, sides, is_quick) or _call_for_one(one_value, buffer, values, sides)
            self.direct = DirectAnswers(functools.partial(_call, many_values, self._scratch), one)
        self._library = library

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """See `mnist_edge.runtime.engines.interface.Program.run`."""
        answers = np.empty((len(batch), *self.output.shape), self.output.dtype)
        _call(self._many, self._scratch, np.asarray(batch, self.input.dtype), answers)
        return answers


def _call(function: Any, scratch: NDArray[np.uint8], images: NDArray[Any], answers: NDArray[Any]) -> None:
    """Call a function of the generated C that reads n images and fills n answers."""
    images = np.ascontiguousarray(images)
    pointers = [ctypes.c_void_p(item.ctypes.data) for item in (images, answers, scratch)]
    function(*pointers[:2], ctypes.c_size_t(len(images)), pointers[2])


def _caller(
    function: Any, buffer: NDArray[np.uint8], values: NDArray[np.float32], sides: tuple[int, ...], is_quick: bool
) -> One | None:
    """`_call_for_one`, compiled, whose call takes a third of the time; None if that cannot be compiled here."""
    make = _make_caller()
    if make is None:
        return None
    extents = (ctypes.c_ssize_t * len(sides))(*sides)
    address = ctypes.cast(function, ctypes.c_void_p)
    start = ctypes.c_void_p(buffer.ctypes.data)
    made: One = make(address, start, buffer, values.shape[1], is_quick, extents, len(sides))
    return made


@functools.cache
def _make_caller() -> Callable[..., One] | None:
    """The function of ``caller.c``; None without a C compiler, Python's headers, or a cache."""
    folders = (sysconfig.get_path("include"), np.get_include())
    if not (Path(folders[0]) / "Python.h").is_file():
        return None
    source = f"/* For NumPy {np.__version__}. */\n".encode() + Path(__file__).with_name("caller.c").read_bytes()
    try:
        library = _open(compiled(source, folders), ctypes.PyDLL)
    except (MnistEdgeError, OSError):
        return None
    make: Callable[..., One] = library.make_caller
    library.make_caller.restype = ctypes.py_object
    library.make_caller.argtypes = [
        ctypes.c_void_p, ctypes.c_void_p, ctypes.py_object, ctypes.c_ssize_t, ctypes.c_int,
        ctypes.POINTER(ctypes.c_ssize_t), ctypes.c_int,
    ]  # fmt: skip
    return make


def _call_for_one(function: Any, buffer: NDArray[np.uint8], values: NDArray[np.float32], sides: tuple[int, ...]) -> One:
    """Make a function that answers one image; the addresses of the buffers are looked up only once.

    Asking NumPy for an array's address takes longer than running a small net. So the image is passed as ``bytes``, of
    which ctypes passes the address.

    Args:
        function: of the generated C. buffer: room for the answer, then scratch memory. values: the answer in it.
        sides: of one image, without the channel of a grey one.
    """
    start = ctypes.c_void_p(buffer.ctypes.data)
    copy, shapes = values.copy, {(1, *sides), *([(1, *sides, 1)] if len(sides) == 2 else [])}

    def call(image: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        if image.shape not in shapes or image.dtype != np.uint8:
            return None
        function(image.tobytes(), start)
        return copy()

    return call


def load(content: bytes, threads: int) -> Program:
    """See `Engine.load`."""
    facts = c.facts_of(content)
    library = _open(content if content.startswith(_ELF) else compiled(content))
    try:
        text = ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(library, "mnist_edge_facts"))).decode()
        if c.parse_facts(text.removeprefix(c.MAGIC)) != facts:
            raise ValueError
        return NativeProgram(library, facts)
    except (ValueError, AttributeError) as error:
        raise RefusedError("The compiled code does not have the facts of its source.", "Export it again.") from error


def op_times(content: bytes, threads: int, inputs: NDArray[Any]) -> OpSamples:
    """See `Engine.op_times`: by a build of the code that reads the clock after each layer. One thread runs an image."""
    if content.startswith(_ELF):
        raise RefusedError("A shared object has no clock between its layers.", "Name the .c that it is made from.")
    facts = c.facts_of(content)
    if "layers" not in facts:
        raise RefusedError("The C is of a version that does not mark its layers.", "Export it again: --format c")
    marks = len(facts["layers"]) + 2  # one for the cost of the clock, one before the first layer
    clock = Path(__file__).with_name("layer_clock.c").read_bytes()
    library = _open(compiled(b"#define EDGE_MARK_COUNT %d\n%b\n%b" % (marks, clock, content)))
    program = NativeProgram(library, facts)
    stored = np.ctypeslib.as_array((ctypes.c_int64 * marks).in_dll(library, "edge_marks"))
    read = np.empty((PROFILED_WARMUP + PROFILED_CALLS, marks), np.int64)
    for at in range(len(read)):
        program.run(inputs[at % len(inputs)][None])
        read[at] = stored
    gaps = np.diff(read[PROFILED_WARMUP:]) / 1e3
    cost = float(interquartile_mean(gaps[:, 0]))
    ops = tuple(Op(item["name"], item["op"], program.delegate, tuple(item["shape"])) for item in facts["layers"])
    return OpSamples(ops, np.maximum(gaps[:, 1:] - cost, 0), cost)


def constants_fingerprint(content: bytes) -> int:
    """CRC-32 of the constants of generated C, by which a board is known to run the same net.

    Raises:
        MissingError, RefusedError: see `compiled`; or the C was made by a version without fingerprints.
    """
    try:
        function = _open(compiled(content))[f"{c.facts_of(content)['prefix']}_fingerprint"]
    except AttributeError as error:
        raise RefusedError("The generated C has no fingerprint.", "Export it again: --format c") from error
    function.restype = ctypes.c_uint32
    return int(function())


def layer_checksums(content: bytes, given: NDArray[Any]) -> tuple[int, ...]:
    """CRC-32 of what each layer of generated C stores for an input, by a build with taps.

    Args:
        content: a ``.c``. given: one input, as the code takes it.

    Raises:
        MissingError, RefusedError: see `compiled`; or the C was made by a version without taps.
    """
    facts = c.facts_of(content)
    if b"EDGE_TAP(1," not in content:
        raise RefusedError("The generated C has no taps.", "Export it again: --format c")
    layers = len(facts["layers"])
    taps = Path(__file__).with_name("layer_taps.c").read_bytes()
    library = _open(compiled(b"#define EDGE_TAP_COUNT %d\n%b\n%b" % (layers, taps, content)))
    NativeProgram(library, facts).run(given[None])
    return tuple((ctypes.c_uint32 * layers).in_dll(library, "edge_taps"))


def _port(end: dict[str, Any]) -> Port:
    return Port(np.dtype(end["dtype"]), tuple(end["shape"]), float(end["scale"]), int(end["zero_point"]))


def compiled(content: bytes, headers: tuple[str, ...] = ()) -> bytes:
    """The shared object of a source, from the cache or compiled now.

    Args:
        content: the source.
        headers: folders with headers that it includes.

    Raises:
        MissingError: there is no compiler.
        RefusedError: the source does not compile.
    """
    import platformdirs

    compiler = host_cc.find()
    version = sha256_of(host_cc.version(compiler))
    key = fingerprint([sha256_of(content), version, host_cc.FLAGS, platform.machine(), headers])
    folder = Path(platformdirs.user_cache_dir("mnist-edge")) / "native"
    path = folder / f"{key[:32]}.so"
    try:
        kept, verified = read_verified(path)
        if verified:
            return kept
    except (UsageError, ContentError):
        pass  # it is missing or was changed: compile again
    made = host_cc.shared_object(content, compiler, headers)
    with contextlib.suppress(StageError), locked(folder, "compile"):  # another process compiles, too
        Manifest.load(folder).commit({path.name: (made, {})})
    return made


@functools.cache
def _open(shared: bytes, kind: type[ctypes.CDLL] = ctypes.CDLL) -> ctypes.CDLL:
    """Load a shared object from memory, since a file on the disk could be replaced after its hash was compared.

    The memory file stays open: the loader identifies libraries by name, and the name of a closed one is used again.
    """
    handle = os.memfd_create("mnist-edge-native")
    with os.fdopen(os.dup(handle), "wb") as stream:
        stream.write(shared)
    try:
        return kind(f"/proc/self/fd/{handle}")
    except OSError as error:
        os.close(handle)
        raise RefusedError(
            f"The compiled code cannot be loaded: {error}",
            "Compile it on this kind of machine: export --format c --build",
        ) from error


ENGINE = Engine("native", (".c", ".so"), "mnist-edge", "litert", rank=3, load=load, runs_code=True, op_times=op_times)
