"""Pictures made to start programs, take much memory, or be misread: each is limited, refused or read correctly."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, features

from mnist_edge import runtime
from mnist_edge.errors import ContentError, PictureTooLargeError
from mnist_edge.runtime.predict import predict_picture
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.vision.pictures import ORIGINAL_SIZE, SUFFIXES, prepare, read_picture

SECONDS = 120
LIMIT = 16_000_000  # pixels; the limit of the service
MIB = 1 << 20
CHILD = """
import json, pathlib, resource, sys, time, warnings
import numpy as np
from PIL import TiffImagePlugin, WebPImagePlugin
from mnist_edge.errors import ContentError
from mnist_edge.vision.pictures import read_picture
warnings.simplefilter("error")
def memory(key):
    (line,) = (line for line in open("/proc/self/status") if line.startswith(key))
    return int(line.split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (memory("VmSize") + (600 << 20),) * 2)
found = {}
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    content = path.read_bytes()
    open("/proc/self/clear_refs", "w").write("5")
    before, begun = memory("VmRSS"), time.process_time()
    try:
        answer = list(read_picture(content, path.name, max_pixels=int(sys.argv[2])).size)
    except ContentError as error:
        answer = type(error).__name__
    found[path.name] = answer, memory("VmHWM") - before, time.process_time() - begun
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Answer:
    """The result of reading a picture: its size or the name of an error, the growth of memory, processor time."""

    found: object
    growth_bytes: int
    seconds: float


def read_in_a_child(folder: Path, contents: Mapping[str, bytes], limit: int = LIMIT) -> dict[str, Answer]:
    """Read pictures in a process whose memory is limited."""
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    command = [sys.executable, "-c", CHILD, str(folder), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, done.stderr[-2000:]
    return {name: Answer(*values) for name, values in json.loads(done.stdout).items()}


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, *more: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes((width + 1) * height) if width * height < MIB else b""))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + data + chunk(b"IEND", b"")


def seven(size: int = 280, width: int = 20) -> Image.Image:
    """A seven, black on white."""
    picture = Image.new("L", (size, size), 255)
    points = [(size * x, size * y) for x, y in ((0.32, 0.25), (0.68, 0.25), (0.45, 0.75))]
    ImageDraw.Draw(picture).line(points, fill=0, width=width, joint="curve")
    return picture


GREY = seven(64, 6)
SAVED: dict[str, Callable[[Image.Image], bytes]] = {
    "PNG": lambda picture: encoded(picture, "PNG"),
    "JPEG": lambda picture: encoded(picture, "JPEG"),
    "progressive JPEG": lambda picture: encoded(picture.convert("RGB"), "JPEG", progressive=True),
    "WEBP": lambda picture: encoded(picture, "WEBP"),
    "lossless WEBP": lambda picture: encoded(picture.convert("RGBA"), "WEBP", lossless=True),
    "GIF": lambda picture: encoded(picture, "GIF"),
    "BMP": lambda picture: encoded(picture, "BMP"),
    "TIFF": lambda picture: encoded(picture, "TIFF"),
    "LZW TIFF": lambda picture: encoded(picture, "TIFF", compression="tiff_lzw"),
    "JPEG TIFF": lambda picture: encoded(picture, "TIFF", compression="jpeg"),
    "big TIFF": lambda picture: encoded(picture, "TIFF", big_tiff=True),
    "PPM": lambda picture: encoded(picture, "PPM"),
    "plain PGM": lambda picture: b"P2 # c\n64 64\n255\n" + b" ".join(b"%d" % v for v in picture.tobytes()) + b"\n",
}


@pytest.mark.parametrize("name", SAVED)
def test_every_accepted_format_is_read_and_refused_when_it_is_cut_short(name: str) -> None:
    content = SAVED[name](GREY)
    assert np.abs(np.asarray(read_picture(content)).astype(int) - np.asarray(GREY)).mean() < 3
    for end in (0, 3, 8, 14, 20, 30, 60, len(content) // 2):
        with pytest.raises(ContentError):
            read_picture(content[:end])


OTHER_FORMATS = [
    "ICO",
    "PDF",
    "EPS",
    "PCX",
    "TGA",
    "SGI",
    "DDS",
    "ICNS",
    "MSP",
    "SPIDER",
    "XBM",
    "AVIF",
    "JPEG2000",
]


@pytest.mark.parametrize("kind", OTHER_FORMATS)
def test_every_other_format_is_refused(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    mode = "1" if kind in ("MSP", "XBM") else "F" if kind == "SPIDER" else "RGB"
    content = encoded(seven(64).convert(mode), kind)
    with pytest.raises(ContentError, match="no picture that can be read"):
        read_picture(content, "x")


def test_suffixes_are_those_of_the_formats_that_are_read() -> None:
    assert {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".pgm", ".ppm"} <= SUFFIXES
    assert not {".eps", ".ico", ".psd", ".pdf", ".avif", ".jp2", ".tga"} & SUFFIXES


def test_postscript_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = tmp_path / "started"
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {started}\necho 10.0\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None, raising=False)
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n%%EndComments\n{} loop\n%%EOF\n"
    with pytest.raises(ContentError):
        read_picture(content, "x")
    assert not started.exists()
    with contextlib.suppress(OSError), Image.open(io.BytesIO(content)) as picture:
        picture.load()
    assert started.exists(), "this test does not see a program that is started"


def patched(content: bytes, at: int, kind: str, *values: int) -> bytes:
    """A copy of a file in which the bytes from ``at`` on are replaced by packed numbers."""
    packed = struct.pack(kind, *values)
    return content[:at] + packed + content[at + len(packed) :]


def tiff_of(*tags: tuple[int, int, int, int], more: bytes = b"") -> bytes:
    """A TIFF file with entries of tag, type, count and value, and the bytes ``more`` at offset 8."""
    directory = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", *tag) for tag in sorted(tags)
    ) + bytes(4)  # fmt: skip
    return struct.pack("<2sHI", b"II", 42, 8 + len(more)) + more + directory


def tiled_tiff(side: int) -> bytes:
    """A TIFF picture of 16 x 16 pixels whose one tile is far larger; the tile is compressed zeros."""
    packed = zlib.compress(bytes(side * side))
    size = [(256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    tile = [(322, 4, 1, side), (323, 4, 1, side), (324, 4, 1, 8), (325, 4, 1, len(packed))]
    return tiff_of(*size, *tile, more=packed)


def huge() -> dict[str, bytes]:
    """A small file of every accepted format that declares a huge picture."""
    jpeg = encoded(GREY, "JPEG")
    webp = encoded(GREY.convert("RGBA"), "WEBP", lossless=True)
    extended = b"VP8X" + struct.pack("<II", 10, 0x10) + (20_000 - 1).to_bytes(3, "little") * 2
    gif = encoded(GREY, "GIF")
    colours = 13 + (3 << (gif[10] & 7) + 1)
    size = [(256, 4, 1, 60_000), (257, 4, 1, 60_000), (258, 3, 1, 8), (262, 3, 1, 1)]
    return {
        "png": png_of(60_000, 60_000),
        "jpeg": patched(jpeg, jpeg.index(b"\xff\xc0") + 5, ">HH", 65_500, 65_500),
        "lossless webp": patched(webp, 21, "<I", 0x3FFF | 0x3FFF << 14),
        "extended webp": webp[:12] + extended + webp[12:],
        "gif": patched(gif, 6, "<HH", 65_535, 65_535),
        "gif frame": patched(gif, gif.index(b",\0\0\0\0\x40\0\x40\0") + 5, "<HH", 65_535, 65_535),
        "disposed gif": gif[:colours] + b"!\xf9\x04\x08\0\0\0\0,\0\0\0\0" + struct.pack("<HHQ", 12_000, 12_000, 0),
        "bmp": patched(encoded(GREY, "BMP"), 18, "<ii", 60_000, -60_000),
        "ppm": b"P6\n60000 60000\n255\n" + bytes(100),
        "tiff": tiff_of(*size, (273, 4, 1, 8), (279, 4, 1, 100)),
        "tile tiff": tiled_tiff(20_000),
    }  # fmt: skip


def test_huge_pictures_of_every_format_are_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    for name, answer in read_in_a_child(tmp_path / "files", huge()).items():
        assert answer.found == "PictureTooLargeError", name
        assert answer.growth_bytes < 16 * MIB, (name, answer)
        assert answer.seconds < 20, (name, answer)


def test_a_picture_is_too_large_from_the_first_pixel_above_the_limit() -> None:
    content = png_of(100, 50)
    assert read_picture(content, max_pixels=5000).size == (100, 50)
    with pytest.raises(PictureTooLargeError, match="x has 100 x 50 pixels, more than 4,999"):
        read_picture(content, "x", max_pixels=4999)


def test_a_second_header_cannot_make_a_picture_larger_than_the_first_says(tmp_path: Path) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 0, 0, 0, 0))
    header += chunk(b"IDAT", zlib.compress(bytes(9001 * 9000)))
    frame = encoded(GREY, "JPEG")
    at = frame.index(b"\xff\xc0")
    second = frame[:at] + patched(frame[at : at + 13], 5, ">HH", 12_000, 12_000) + frame[at:]
    for name, answer in read_in_a_child(tmp_path / "files", {"png": png_of(8, 8, header), "jpeg": second}).items():
        assert answer.found == "ContentError", name
        assert answer.growth_bytes < 16 * MIB, (name, answer)


def test_a_large_picture_inside_an_icon_is_not_decoded(tmp_path: Path) -> None:
    inner = png_of(13_000, 13_000)
    icon = struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 32, len(inner), 22) + inner
    answer = read_in_a_child(tmp_path / "files", {"ico": icon}, 50_000_000)["ico"]
    assert answer.found == "ContentError"
    assert answer.growth_bytes < 16 * MIB


def exif_bomb() -> bytes:
    """A TIFF directory with 65,535 entries that all point to the same megabyte."""
    entries = b"".join(struct.pack("<HHII", tag, 7, MIB, 8) for tag in range(65_535))
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 65_535) + entries + bytes(MIB)


def metadata() -> dict[str, bytes]:
    """Small pictures with metadata or frames that a decoder could expand, keep, or read many times."""
    texts = [chunk(b"zTXt", b"%d\0\0" % n + zlib.compress(bytes(1_000_000))) for n in range(60)]
    jpeg, gif = encoded(GREY, "JPEG"), encoded(GREY, "GIF")
    colours = 13 + (3 << (gif[10] & 7) + 1)
    webp = encoded(GREY, "WEBP", exif=exif_bomb())
    frames = [Image.new("L", GREY.size, n % 256) for n in range(3000)]
    size = [(256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8), (279, 4, 1, 256)]
    return {
        "png texts": png_of(64, 64, *texts),
        "png private chunks": png_of(64, 64, chunk(b"prVt", b"") * 90_000),
        "png exif": png_of(64, 64, chunk(b"eXIf", exif_bomb())),
        "webp exif": webp,
        "jpeg comments": jpeg[:2] + b"\xff\xfe\0\2" * 90_000 + jpeg[2:],
        "jpeg exif": jpeg[:2] + b"\xff\xe1\xff\xffExif\0\0" + exif_bomb()[: 0xFFFF - 8] + jpeg[2:],
        "gif comments": gif[:colours] + b"!\xfe" + b"\2ab" * 90_000 + b"\0" + gif[colours:],
        "tiff exif": tiff_of(*size, (34665, 4, 1, 16), more=exif_bomb()),
        "tiff frames": encoded(GREY, "TIFF", save_all=True, append_images=[GREY] * 1000),
        "gif frames": encoded(GREY, "GIF", save_all=True, append_images=frames),
        "webp frames": encoded(GREY, "WEBP", save_all=True, lossless=True, append_images=frames[:500]),
    }


def test_small_pictures_with_large_metadata_or_many_frames_take_little_memory_and_time(tmp_path: Path) -> None:
    contents = metadata()
    for name, answer in read_in_a_child(tmp_path / "files", contents).items():
        assert answer.found in ([64, 64], [16, 16]), name
        assert answer.growth_bytes < 24 * MIB, (name, answer)
        assert answer.seconds < 20, (name, answer)
    for name in ("gif frames", "webp frames", "tiff frames"):
        assert np.abs(np.asarray(read_picture(contents[name])).astype(int) - np.asarray(GREY)).mean() < 3


def many_parts() -> dict[str, bytes]:
    jpeg, gif = encoded(GREY, "JPEG"), encoded(GREY, "GIF")
    progressive = encoded(GREY.convert("RGB"), "JPEG", progressive=True)
    first = progressive.index(b"\xff\xda")
    second = progressive.index(b"\xff\xda", first + 2)
    colours = 13 + (3 << (gif[10] & 7) + 1)
    webp = encoded(GREY, "WEBP")
    size = [(256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 1, 8), (262, 3, 1, 1)]
    numbers = struct.pack("<I", 8) * 200_000
    return {
        "png": png_of(64, 64, chunk(b"prVt", b"") * 200_000),
        "jpeg": jpeg[:2] + b"\xff\xfe\0\2" * 200_000 + jpeg[2:],
        "jpeg tables": jpeg[:2] + (b"\xff\xc4\x40\0" + bytes(0x3FFE)) * 100 + jpeg[2:],
        "jpeg scans": progressive[:second] + progressive[first:second] * 500 + progressive[second:],
        "gif": gif[:colours] + b"!\xfe" + b"\1a" * 200_000 + b"\0" + gif[colours:],
        "webp": webp + b"JUNK\0\0\0\0" * 200_000,
        "tiff": tiff_of(*size, (273, 4, 200_000, 8), (279, 4, 200_000, 8), more=numbers),
        "webp in tiff": tiff_of(*size, (259, 3, 1, 50_001), (273, 4, 1, 8), (279, 4, 1, len(webp)), more=webp),
    }


def test_files_of_too_many_parts_are_refused(tmp_path: Path) -> None:
    for name, answer in read_in_a_child(tmp_path / "files", many_parts()).items():
        assert answer.found == "ContentError", name
        assert answer.growth_bytes < 24 * MIB, (name, answer)
        assert answer.seconds < 20, (name, answer)


@pytest.mark.parametrize("is_progressive", [False, True])
def test_a_second_picture_behind_a_jpeg_does_not_count_as_its_scans(is_progressive: bool) -> None:
    content = encoded(GREY, "JPEG", progressive=is_progressive)
    assert read_picture(content + b"\xff\xda\xff\xda" * 1000).size == GREY.size


def large() -> dict[str, bytes]:
    """Pictures with the largest accepted number of pixels, one of every mode that is decoded differently."""
    grey = seven(4000, 280)
    values, rgb = np.asarray(grey), grey.convert("RGB")
    drawing = Image.new("RGBA", grey.size, (0, 0, 0, 0))
    drawing.putalpha(grey.point(lambda value: 255 - value))
    fast = {"compress_level": 1}
    deflate = {"compression": "tiff_adobe_deflate"}
    return {
        "rgba.png": encoded(drawing, "PNG", **fast),
        "palette.png": encoded(grey.convert("P"), "PNG", transparency=255, **fast),
        "16.png": encoded(Image.fromarray(values.astype(np.uint16) * 257), "PNG", **fast),
        "rgb.jpg": encoded(rgb, "JPEG"),
        "progressive.jpg": encoded(rgb, "JPEG", progressive=True),
        "cmyk.jpg": encoded(rgb.convert("CMYK"), "JPEG"),
        "cmyk.tif": encoded(rgb.convert("CMYK"), "TIFF", **deflate),
        "float.tif": encoded(Image.fromarray(values / np.float32(255)), "TIFF", **deflate),
        "lossless.webp": encoded(drawing.resize((2236, 2236)), "WEBP", lossless=True, method=0, quality=0),
        "grey.gif": encoded(grey, "GIF"),
    }


@pytest.mark.slow
def test_the_largest_pictures_take_at_most_80_mib_and_the_next_larger_are_refused(tmp_path: Path) -> None:
    contents = large()
    for name, answer in read_in_a_child(tmp_path / "files", contents).items():
        assert isinstance(answer.found, list), (name, answer)
        assert answer.growth_bytes <= 80 * MIB, (name, answer)
    for name, answer in read_in_a_child(tmp_path / "files", contents, 16_000_000 * 2236**2 // 4001**2).items():
        if name != "lossless.webp":
            assert answer.found == "PictureTooLargeError", name


def test_the_box_of_a_large_picture_is_in_pixels_of_the_upright_picture() -> None:
    grey = seven(3000, 210).crop((0, 300, 3000, 2600))
    right, bottom = 3000, 2300
    boxes = []
    for content in (encoded(grey.rotate(90, expand=True), "JPEG", exif=orientation(6)), encoded(grey, "PNG")):
        picture = read_picture(content)
        assert picture.info[ORIGINAL_SIZE] == (right, bottom)
        assert max(picture.size) < right
        boxes.append(prepare(picture, "digit", (28, 28))[0].box)
    small = prepare(Image.fromarray(np.asarray(grey)), "digit", (28, 28))[0].box
    for box in boxes:
        assert np.abs(np.array(box) - small).max() <= 20, (box, small)


def orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("value", range(1, 9))
def test_pictures_are_turned_upright_by_their_exif_orientation(kind: str, value: int) -> None:
    from PIL import ImageOps

    picture = Image.fromarray(np.asarray(GREY)[:40])
    stream = io.BytesIO(encoded(picture, kind, exif=orientation(value)))
    with Image.open(stream) as opened:
        opened.load()
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("L")).astype(int)
    found = read_picture(stream.getvalue())
    assert found.size == expected.shape[::-1]
    assert np.abs(np.asarray(found) - expected).max() <= 2


def values(scale: float, shift: float = 0.0) -> np.ndarray:
    return np.asarray(seven()).astype(np.float32) * np.float32(scale) + np.float32(shift)


def with_gaps(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array[:9], array[30:34, 5:9] = np.nan, np.inf
    return array


def noisy_paper() -> bytes:
    """A seven on paper of several shades of white in a palette, of which only the whitest is transparent."""
    noise = np.random.default_rng(0).integers(0, 12, (280, 280))
    grey = np.clip(np.asarray(seven()).astype(int) - noise, 0, 255).astype(np.uint8)
    picture = Image.frombytes("P", (280, 280), grey.tobytes())
    picture.putpalette([value for value in range(256) for _ in range(3)])
    return encoded(picture, "PNG", transparency=255)


SEVENS: dict[str, Callable[[], bytes]] = {
    "palette, white is transparent": lambda: encoded(seven().convert("P"), "PNG", transparency=255),
    "palette, only the whitest is transparent": noisy_paper,
    "grey, white is transparent": lambda: encoded(seven(), "PNG", transparency=255),
    "colour, white is transparent": lambda: encoded(seven().convert("RGB"), "PNG", transparency=(255, 255, 255)),
    "10 bits of 16": lambda: encoded(Image.fromarray(values(4).astype(np.uint16)), "PNG"),
    "12 bits of 16": lambda: encoded(Image.fromarray(values(16).astype(np.uint16)), "PNG"),
    "8 bits of 16": lambda: encoded(Image.fromarray(values(1).astype(np.uint16)), "PNG"),
    "32 bits": lambda: encoded(Image.fromarray(values(100_000).astype(np.int32)), "TIFF"),
    "floating point to 1": lambda: encoded(Image.fromarray(values(1 / 255)), "TIFF"),
    "floating point to 255": lambda: encoded(Image.fromarray(values(1)), "TIFF"),
    "floating point from -1 to 1": lambda: encoded(Image.fromarray(values(1 / 127.5, -1)), "TIFF"),
    "floating point to 1 with gaps": lambda: encoded(Image.fromarray(with_gaps(values(1 / 255))), "TIFF"),
    "floating point to 255 with gaps": lambda: encoded(Image.fromarray(with_gaps(values(1))), "TIFF"),
}


@pytest.mark.parametrize("name", SEVENS)
def test_a_seven_is_recognized_in_every_depth_and_transparency(name: str) -> None:
    session = runtime.open_session(SHIPPED / "cnn" / "cnn-int8.tflite", "litert")
    content = SEVENS[name]()
    assert predict_picture(session, "x", content)[0].prediction.label == 7
    assert np.abs(np.asarray(read_picture(content)).astype(int) - np.asarray(seven()))[40:].mean() < 9


def test_a_picture_without_a_finite_value_is_blank() -> None:
    content = encoded(Image.fromarray(np.full((28, 28), np.nan, np.float32)), "TIFF")
    assert not np.asarray(read_picture(content)).any()
