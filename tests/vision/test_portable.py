"""The front end in C answers as Python does: the same reason or the same boxes, and the same pixels bit for bit."""

from __future__ import annotations

import ctypes
import io
import re
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks import pictures, scenes
from mnist_edge import data
from mnist_edge.formats import Contract
from mnist_edge.runtime.predict import grids_of, judge_found
from mnist_edge.vision.digit import Found
from tests.support.front_end import (
    BAD_INPUT,
    BAD_SIZE,
    FOLDER,
    SHAPE,
    SMALL_SCRATCH,
    Answer,
    FrontEnd,
    Input,
    Reading,
    Rgba,
    answer_of_python,
    answer_to_file,
    rgba_of,
    sheets_of_python,
)

# Reads pictures from stdin: width, height, rows, columns, channels, preprocessor, and RGBA; writes the answer to each.
DRIVER = """
#include <stdio.h>
#include <stdlib.h>
#include "front_end.c"

int main(void)
{
    int32_t head[6];
    while (fread(head, sizeof head, 1, stdin) == 1) {
        mnist_edge_input input = {head[2], head[3], head[4], head[5]};
        mnist_edge_reading readings[2];
        size_t bytes = (size_t)head[0] * head[1] * 4, answer = (size_t)head[2] * head[3] * head[4];
        size_t scratch_bytes = mnist_edge_front_end_bytes(head[0], head[1], &input);
        uint8_t *rgba = malloc(bytes), *scratch = malloc(scratch_bytes), *pixels = calloc(2, answer);
        if (fread(rgba, 1, bytes, stdin) != bytes) return 1;
        mnist_edge_read_sheets(rgba, head[0], head[1], &input, scratch, scratch_bytes, 2, pixels, readings);
        mnist_edge_read_digits(rgba, head[0], head[1], &input, scratch, scratch_bytes, 2, pixels, readings);
        memset(pixels, 0, 2 * answer);
        mnist_edge_read_picture(rgba, head[0], head[1], &input, scratch, scratch_bytes, pixels, readings);
        fwrite(readings, sizeof readings[0], 1, stdout);
        fwrite(pixels, 1, answer, stdout);
        free(rgba), free(scratch), free(pixels);
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def front_end(tmp_path_factory: pytest.TempPathFactory) -> FrontEnd:
    return FrontEnd.build(tmp_path_factory.mktemp("front_end"))


def drawn(draw: np.random.Generator, height: int, width: int) -> Rgba:
    """A random picture: noise, one value, or shapes with sharp or soft edges, some under uneven light; some with colour
    or transparent."""
    kind = draw.integers(0, 6)
    if kind == 0:
        values = draw.integers(0, 256, (height, width)).astype(np.float64)
    elif kind == 1:
        values = np.full((height, width), float(draw.integers(0, 256)))
    else:
        coarse = draw.integers(0, 256, [max(1, int(side // draw.integers(2, 30))) for side in (height, width)])
        how = Image.Resampling(int(draw.integers(0, 4)))
        values = np.asarray(Image.fromarray(coarse.astype(np.uint8)).resize((width, height), how), np.float64)
        if kind > 2:
            ink, paper = float(draw.integers(0, 90)), float(draw.integers(120, 256))
            values = np.where(values > draw.integers(150, 245), ink, paper)
        if kind > 3:
            values = values * np.linspace(1, draw.uniform(0.4, 1), width)
            values += draw.normal(0, draw.uniform(0, 5), values.shape)
    grey = np.clip(values, 0, 255).astype(np.uint8)
    rgba = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    if draw.random() < 0.3:
        rgba[..., 0], rgba[..., 1] = draw.integers(0, 256), 255 - grey // 2
    transparency = draw.random()
    if transparency < 0.2:
        rgba[..., 3] = grey
    elif transparency < 0.3:
        rgba[..., 3] = draw.integers(0, 256, grey.shape)
    elif transparency < 0.4:
        rgba[..., 3], rgba[..., :3] = np.where(grey > 128, 255, 0), draw.integers(0, 256, 3)
    return rgba


@pytest.mark.parametrize("kind", [*pictures.DIGITS, *pictures.OTHERS])
def test_the_pictures_of_the_benchmark_are_read_alike(front_end: FrontEnd, mnist: data.Splits, kind: str) -> None:
    draw = np.random.default_rng(0)
    digits = mnist.validation.images[:4, ..., 0]
    if kind in pictures.DIGITS:
        contents = [pictures.DIGITS[kind](image, draw) for image in digits]
    else:
        contents = [pictures.OTHERS[kind](draw) for _ in digits]
    for content in contents:
        rgba = rgba_of(content)
        for multi in (False, True):
            assert front_end.read(rgba, multi=multi) == answer_to_file(content, multi)


@pytest.mark.parametrize("kind", list(scenes.KINDS))
def test_photographs_are_read_alike(front_end: FrontEnd, mnist: data.Splits, kind: str) -> None:
    validation = mnist.validation
    made = scenes.scenes(kind, 3, scenes.DEVELOPMENT, validation.images[..., 0], validation.labels)
    for content, _ in made:
        rgba = rgba_of(content)
        assert front_end.read(rgba, sheets=True) == sheets_of_python(rgba)
        for multi in (False, True):
            assert front_end.read(rgba, multi=multi) == answer_to_file(content, multi)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1))
def test_sheets_in_front_of_anything_are_searched_alike(front_end: FrontEnd, mnist: data.Splits, seed: int) -> None:
    draw = np.random.default_rng(seed)
    height, width = draw.integers(200, 700, 2)
    squares = draw.integers(0, draw.integers(100, 256), (40, 40))
    grey = np.kron(squares, np.ones((18, 18), np.int64))[:height, :width].astype(np.uint8)
    for image in mnist.validation.images[draw.integers(0, 5000, draw.integers(0, 4)), ..., 0]:
        paper = Image.fromarray(pictures.on_paper(image, draw)).resize(draw.integers(60, 200, 2).tolist())
        top, left = (int(draw.integers(0, side - 50)) for side in (height, width))
        part = grey[top : top + paper.height, left : left + paper.width]
        part[:] = np.asarray(paper)[: part.shape[0], : part.shape[1]]
    rgba = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    assert front_end.read(rgba, sheets=True) == sheets_of_python(rgba)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1), st.integers(1, 240), st.integers(1, 240), st.sampled_from([1, 1, 8]))
def test_any_picture_is_read_alike(front_end: FrontEnd, seed: int, height: int, width: int, times: int) -> None:
    rgba = drawn(np.random.default_rng(seed), height, width * times)
    assert front_end.read(rgba) == answer_of_python(rgba)
    assert front_end.read(rgba, multi=True) == answer_of_python(rgba, multi=True)
    assert front_end.read(rgba, (20, 31)) == answer_of_python(rgba, (20, 31))
    for shape in ((28, 28), (96, 40), (32, 32, 3)):
        assert front_end.read(rgba, shape, "resize") == answer_of_python(rgba, shape, "resize")


def test_small_pictures_under_uneven_light_are_read_alike(front_end: FrontEnd) -> None:
    """C and Python agree on pictures of 3 to 69 pixels: up to 19 have one background value, 20 to 64 may be uneven."""
    draw = np.random.default_rng(0)
    for side in range(3, 70):
        for height, width in ((side, side), (side, max(3, side // 3)), (max(3, side - 5), side)):
            strokes = np.kron(draw.random((5, 5)) > 0.7, np.ones((14, 14)))[:height, :width]
            light = draw.uniform(100, 200) + np.linspace(-1, 1, width) * draw.uniform(20, 55)
            grey = (light * (1 - 0.5 * strokes)).astype(np.uint8)
            rgba = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
            assert front_end.read(rgba) == answer_of_python(rgba)


@pytest.mark.parametrize("size", [(1, 1), (1, 9000), (9000, 3), (2559, 5), (1280, 640), (2560, 2600), (4000, 3000)])
def test_pictures_of_all_sizes_are_reduced_alike(
    front_end: FrontEnd, mnist: data.Splits, size: tuple[int, int]
) -> None:
    paper = Image.fromarray(pictures.on_paper(mnist.validation.images[1, ..., 0], np.random.default_rng(1)))
    rgba = np.array(paper.resize(size, Image.Resampling.BICUBIC).convert("RGBA"))
    rgba[0, 0, 3] = 254 if size[1] > 2000 else 255
    assert front_end.read(rgba) == answer_of_python(rgba)
    assert front_end.read(rgba, (30, 30, 3), "resize") == answer_of_python(rgba, (30, 30, 3), "resize")


def test_no_memory_outside_of_any_buffer_is_touched(front_end: FrontEnd, tmp_path: Path) -> None:
    (tmp_path / "driver.c").write_text(DRIVER)
    command = ["cc", "-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wno-unknown-pragmas"]
    command += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-I", FOLDER, tmp_path / "driver.c"]
    subprocess.run([*command, "-o", tmp_path / "driver"], check=True)
    draw = np.random.default_rng(0)
    sent: list[bytes] = []
    expected: list[tuple[int, Answer]] = []
    sizes = [tuple(draw.integers(1, draw.choice([4, 33, 130, 400]) + 1, 2).tolist()) for _ in range(30)]
    for height, width in [(50, 2600), (700, 900), *sizes]:
        rgba = drawn(draw, height, width)
        for shape, preprocessor in ((SHAPE, "digit"), ((1, 1), "digit"), ((40, 24, 3), "resize")):
            sent += [struct.pack("2i", width, height), bytes(Input.of(shape, preprocessor)), rgba.tobytes()]
            expected.append((int(np.prod(shape)), front_end.read(rgba, shape, preprocessor)))
    done = subprocess.run([tmp_path / "driver"], input=b"".join(sent), capture_output=True, check=True)
    written = io.BytesIO(done.stdout)
    for size, answer in expected:
        reading, pixels = Reading.from_buffer_copy(written.read(ctypes.sizeof(Reading))), written.read(size)
        assert bool(reading.found) == (not isinstance(answer, str))
        assert isinstance(answer, str) or pixels == answer[0][0]
    assert not written.read()


def test_sizes_that_are_no_pictures_and_short_memory_are_refused(front_end: FrontEnd) -> None:
    digit, most = Input.of(SHAPE, "digit"), 2**31 - 1
    for width, height in ((0, 1), (1, 0), (-1, 5), (5, -1), (most, most), (50_000_001, 1), (7072, 7072)):
        assert front_end.scratch_bytes(width, height, digit) == 0
    assert 0 < front_end.scratch_bytes(50_000_000, 1, digit) < 10_000_000
    refused_inputs = (28, 28, 3, 0), (129, 28, 1, 0), (28, 1025, 1, 1), (0, 5, 1, 1), (28, 28, 1, 2)
    for refused in (Input(*values) for values in refused_inputs):
        assert front_end.scratch_bytes(28, 28, refused) == 0
    pixels, reading, scratch = (ctypes.create_string_buffer(28 * 28 * 4) for _ in range(3))
    read = front_end.library.mnist_edge_read_picture
    size = ctypes.c_size_t(len(scratch))
    assert read(pixels, 28, 28, ctypes.byref(digit), scratch, size, pixels, reading) == SMALL_SCRATCH
    assert read(pixels, 0, 28, ctypes.byref(digit), scratch, size, pixels, reading) == BAD_SIZE
    assert read(pixels, 28, 28, ctypes.byref(Input(28, 28, 2, 1)), scratch, size, pixels, reading) == BAD_INPUT


class Model:
    """Ten classes and no temperature."""

    contract = Contract("cnn", tuple("0123456789"), "int8", "digit", "", "")
    temperature = None


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans(), st.booleans())
def test_the_answers_of_the_network_are_judged_alike(
    front_end: FrontEnd, seed: int, as_is: bool, may_be_turned: bool, certain: bool
) -> None:
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 256, SHAPE).astype(np.uint8)
    found = Found(pixels, (1, 2, 3, 4), as_is, may_be_turned)
    given_input = Input.of(SHAPE, "digit")
    reading = Reading(1, 0, 0, 1, 2, 3, 4, as_is, may_be_turned, certain)
    grids = grids_of([found])
    assert front_end.library.mnist_edge_grids(ctypes.byref(reading), ctypes.byref(given_input)) == len(grids)
    for quarters, grid in zip((1, 3), grids[1:], strict=False):
        turned = ctypes.create_string_buffer(28 * 28)
        front_end.library.mnist_edge_turn(pixels.tobytes(), ctypes.byref(given_input), quarters, turned)
        assert turned.raw == grid.tobytes()
    answers = draw.dirichlet(np.full(10, draw.choice([0.05, 0.3])), len(grids)).astype(np.float32)
    prediction = judge_found(Model(), "x", [found], answers, certain)[0].prediction
    confidence = prediction.confidence or 0.0
    label = front_end.library.mnist_edge_judge(
        ctypes.byref(reading), ctypes.byref(given_input), answers.tobytes(), 10, ctypes.c_double(confidence)
    )
    assert (None if label < 0 else label) == prediction.label
    assert front_end.reason(reading, confidence) == (prediction.reason or "")


def test_every_reason_of_python_is_one_of_the_c_code() -> None:
    known = (FOLDER / "front_end.c").read_text()
    sources = [path.read_text() for path in FOLDER.parent.glob("*.py")]
    reasons = {text for source in sources for text in re.findall(r'(?:NoDigit|SheetFound)\(\s*f?"([^"{]+)', source)}
    assert len(reasons) > 10
    assert [text for text in reasons if f'"{text}' not in known] == []
