"""The front end in C, built by this machine's compiler, and the answers of Python to compare its answers with."""

from __future__ import annotations

import ctypes
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import mnist_edge.vision
from mnist_edge.toolchains import host_cc
from mnist_edge.vision import modes, pictures
from mnist_edge.vision.digit import Found, NoDigit

FOLDER = Path(mnist_edge.vision.__file__).parent / "portable"
PREPROCESSORS = {"digit": 0, "resize": 1}
MOST = 32
REASON_BYTES = 80
BAD_SIZE, BAD_INPUT, SMALL_SCRATCH = -1, -2, -3
SHAPE = (28, 28)

Rgba = NDArray[np.uint8]
# For each input its bytes, its box, and whether it is the picture itself or may be turned; or the reason for none.
Answer = list[tuple[bytes, tuple[int, ...], bool, bool]] | str


class Input(ctypes.Structure):
    """`mnist_edge_input`."""

    _fields_ = [(name, ctypes.c_int32) for name in ("rows", "columns", "channels", "preprocessor")]

    @classmethod
    def of(cls, shape: tuple[int, ...], preprocessor: str) -> Input:
        """Input of a model's shape, (h, w) or (h, w, 3)."""
        return cls(shape[0], shape[1], shape[2] if len(shape) == 3 else 1, PREPROCESSORS[preprocessor])


class Reading(ctypes.Structure):
    """`mnist_edge_reading`."""

    _fields_ = [
        (name, ctypes.c_int32)
        for name in (
            "found", "reason", "figures", "left", "top", "width", "height", "as_is", "may_be_turned", "certain"
        )
    ]  # fmt: skip


@dataclass(frozen=True)
class FrontEnd:
    """The functions of front_end.h."""

    library: ctypes.CDLL

    @classmethod
    def build(cls, folder: Path) -> FrontEnd:
        """Compile front_end.c and load it from a folder."""
        built = folder / "front_end.so"
        source = (FOLDER / "front_end.c").read_bytes()
        built.write_bytes(host_cc.shared_object(source, host_cc.find(), (str(FOLDER),)))
        library = ctypes.CDLL(str(built))
        library.mnist_edge_front_end_bytes.restype = ctypes.c_size_t
        return cls(library)

    def scratch_bytes(self, width: int, height: int, given: Input) -> int:
        """Size of the scratch memory for a picture."""
        return int(self.library.mnist_edge_front_end_bytes(width, height, ctypes.byref(given)))

    def read(
        self,
        rgba: Rgba,
        shape: tuple[int, ...] = SHAPE,
        preprocessor: str = "digit",
        multi: bool = False,
        sheets: bool = False,
    ) -> Answer:
        """What the C code answers to a picture; with ``sheets``, to the sheets in it."""
        height, width = rgba.shape[:2]
        given = Input.of(shape, preprocessor)
        size = self.scratch_bytes(width, height, given)
        scratch, pixels = np.full(-(-size // 8), -1, np.int64), np.zeros((MOST, *shape), np.uint8)
        readings = (Reading * MOST)()
        rgba = np.ascontiguousarray(rgba)
        arguments = [rgba.ctypes.data_as(ctypes.c_void_p), width, height, ctypes.byref(given)]
        arguments += [scratch.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(size)]
        target = pixels.ctypes.data_as(ctypes.c_void_p), readings
        if multi or sheets:
            library = self.library
            read = library.mnist_edge_read_sheets if sheets else library.mnist_edge_read_digits
            count = read(*arguments, MOST, *target)
        else:
            count = self.library.mnist_edge_read_picture(*arguments, *target) or int(readings[0].found)
        assert 0 <= count <= MOST
        if not count and not sheets:
            return self.reason(readings[0], 0.0)
        return [
            (
                pixels[index].tobytes(),
                (item.left, item.top, item.width, item.height),
                bool(item.as_is),
                bool(item.may_be_turned),
            )
            for index, item in enumerate(readings[:count])
        ]

    def reason(self, reading: Reading, confidence: float) -> str:
        """Words of a reading's reason."""
        text = ctypes.create_string_buffer(REASON_BYTES)
        self.library.mnist_edge_reason_text(ctypes.byref(reading), ctypes.c_double(confidence), text)
        return text.value.decode()


def answer_of_python(
    rgba: Rgba, shape: tuple[int, ...] = SHAPE, preprocessor: str = "digit", multi: bool = False
) -> Answer:
    """What Python answers to the same pixels, without the way through a file."""
    return _answer(_decoded(rgba, "RGB" if len(shape) == 3 else "L"), shape, preprocessor, multi)


def sheets_of_python(rgba: Rgba) -> Answer:
    """The digits that Python finds on sheets."""
    return _entries(pictures.prepare_sheets(_decoded(rgba, "L"), SHAPE))


def _decoded(rgba: Rgba, mode: str) -> Image.Image:
    picture = Image.fromarray(rgba)
    decoded = modes.convert(picture, mode, max(1, max(picture.size) // pictures.KEPT))
    decoded.info = {pictures.ORIGINAL_SIZE: picture.size} if decoded.size != picture.size else {}
    return decoded


def answer_to_file(content: bytes, multi: bool = False) -> Answer:
    """What Python answers to a picture file."""
    return _answer(pictures.read_picture(content, preprocessor="digit"), SHAPE, "digit", multi)


def _answer(decoded: Image.Image, shape: tuple[int, ...], preprocessor: str, multi: bool) -> Answer:
    try:
        return _entries(pictures.prepare(decoded, preprocessor, shape, multi))
    except NoDigit as reason:
        return str(reason)


def _entries(found: list[Found]) -> Answer:
    return [(item.pixels.tobytes(), item.box, item.as_is, item.may_be_turned) for item in found]


def rgba_of(content: bytes) -> Rgba:
    """A picture file as a browser decodes it."""
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        plain = modes.convert(picture, "L") if picture.mode.startswith(("I", "F")) else picture
        return np.asarray(plain.convert("RGBA"))
