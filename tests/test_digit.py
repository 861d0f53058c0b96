"""The preprocessor ``digit``: what MNIST is passes, the rest is brought there, and what is no digit is not guessed."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from scipy import ndimage

from mnist_edge import data, runtime
from mnist_edge.runtime.components import components
from mnist_edge.runtime.confidence import apply_temperature, fit_temperature
from mnist_edge.runtime.digit import NoDigit, find_digit, find_digits, is_normalized
from mnist_edge.runtime.predict import as_text, predict_picture
from mnist_edge.workspace import SHIPPED
from tests.conftest import Run

SHAPE = (28, 28)


@pytest.fixture(scope="module")
def session() -> runtime.Session:
    return runtime.open_session(SHIPPED / "cnn" / "cnn-int8.tflite", "litert")


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_components_are_scipy_s(mask: np.ndarray) -> None:
    labels, found = components(mask)
    expected, count = ndimage.label(mask, np.ones((3, 3)))
    assert len(found) == count
    assert ((labels > 0) == mask).all()
    for item in found:
        mine = labels == item.label
        assert len(np.unique(expected[mine])) == 1
        rows, columns = np.nonzero(mine)
        assert item.area == mine.sum()
        assert (item.top, item.bottom) == (rows.min(), rows.max() + 1)
        assert (item.left, item.right) == (columns.min(), columns.max() + 1)


def test_every_image_of_mnist_passes_bit_for_bit(mnist: data.Splits) -> None:
    for split in (mnist.train, mnist.validation, mnist.test):
        for image in split.images[..., 0]:
            assert is_normalized(image, SHAPE)
            assert find_digit(image, SHAPE).pixels is image
            assert find_digits(image, SHAPE)[0].pixels is image


@settings(max_examples=150, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_any_pixels_give_a_digit_s_picture_or_a_reason(pixels: np.ndarray) -> None:
    for find in (lambda: [find_digit(pixels, SHAPE)], lambda: find_digits(pixels, SHAPE)):
        try:
            found = find()
        except NoDigit as reason:
            assert str(reason)
            continue
        for item in found:
            assert item.pixels.shape == SHAPE
            assert item.pixels.dtype == np.uint8
            left, top, width, height = item.box
            assert left >= 0 and top >= 0 and width > 0 and height > 0
            assert left + width <= pixels.shape[1] and top + height <= pixels.shape[0]


def test_edges_of_black_and_white_areas_are_no_error() -> None:
    """Next to them an interpolated background is below black or above white."""
    draw = np.random.default_rng(0)
    for _ in range(20):
        areas = np.where(draw.random((4, 3)) < 0.5, 0, 255).astype(np.uint8)
        with contextlib.suppress(NoDigit):
            find_digit(np.kron(areas, np.ones((60, 70), np.uint8)), SHAPE)


def accuracy(session: runtime.Session, split: data.Split, make: Callable[[np.ndarray], np.ndarray]) -> float:
    right = 0
    for image, label in zip(split.images[:200, ..., 0], split.labels[:200], strict=True):
        try:
            found = find_digit(make(image), SHAPE)
        except NoDigit:
            continue
        right += int(session.predict(found.pixels[np.newaxis]).argmax() == label)
    return right / 200


def scaled(image: np.ndarray, factor: float) -> np.ndarray:
    side = round(28 * factor)
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


def under_light(image: np.ndarray) -> np.ndarray:
    ink = np.pad(scaled(image, 5), ((20, 60), (70, 30))) / 255
    light = np.linspace(240, 110, len(ink))[:, None] * np.linspace(1, 0.8, ink.shape[1])
    return (light * (1 - 0.7 * ink)).astype(np.uint8)


WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "moved": lambda image: np.pad(image, ((3, 20), (18, 1))),
    "half": lambda image: scaled(image, 0.5),
    "large": lambda image: scaled(image, 4),
    "inverted": lambda image: 255 - image,
    "uneven light": under_light,
    "binary": lambda image: np.where(scaled(image, 6) > 127, 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_digit_is_read_whatever_its_picture_is_like(session: runtime.Session, mnist: data.Splits, way: str) -> None:
    """Of 200 validation images four may be lost: benchmarks/pictures.py has the figures of 2,000 test images."""
    assert accuracy(session, mnist.validation, WAYS[way]) >= 0.98


def test_a_digit_stretched_to_a_small_square_is_read(session: runtime.Session, mnist: data.Splits) -> None:
    def stretched(image: np.ndarray) -> np.ndarray:
        rows, columns = np.flatnonzero(image.max(axis=1) > 40), np.flatnonzero(image.max(axis=0) > 40)
        tight = Image.fromarray(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
        return np.where(np.asarray(tight.resize((16, 16), Image.Resampling.BILINEAR)) > 110, 255, 0).astype(np.uint8)

    assert accuracy(session, mnist.validation, stretched) >= 0.95


def test_a_fine_pen_and_a_thick_brush_are_brought_to_mnist_s_stroke(
    session: runtime.Session, mnist: data.Splits
) -> None:
    def thick(image: np.ndarray) -> np.ndarray:
        return np.where(ndimage.binary_dilation(scaled(image, 10) > 128, iterations=10), 0, 255).astype(np.uint8)

    assert accuracy(session, mnist.validation, thick) >= 0.97
    lines = np.full((300, 200), 255, np.uint8)
    lines[40:260, 99:101] = 0  # a one, of two pixels' width in 220
    found = find_digit(lines, SHAPE)
    assert found.pixels.max() > 60
    assert (found.pixels > 100).any(axis=0).sum() >= 2
    assert session.predict(found.pixels[np.newaxis]).argmax() == 1


def draw() -> np.random.Generator:
    return np.random.default_rng(0)


OTHERS = {
    "blank": (np.full((100, 80), 200, np.uint8), "blank"),
    "a gradient": (np.tile(np.linspace(60, 200, 100).astype(np.uint8), (80, 1)), ""),
    "noise": (draw().integers(0, 256, (28, 28)).astype(np.uint8), "noise"),
    "weak noise": (np.clip(draw().normal(128, 10, (200, 150)), 0, 255).astype(np.uint8), ""),
    "specks": (np.where(draw().random((100, 100)) < 0.2, 255, 0).astype(np.uint8), ""),
    "a square": (np.pad(np.full((40, 40), 255, np.uint8), 30), "a filled area"),
    "a dash": (np.pad(np.full((6, 60), 255, np.uint8), 40), "wider than a digit"),
    "one pixel": (np.zeros((1, 1), np.uint8), "a picture of too few pixels"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_digit_is_answered_with_the_reason(session: runtime.Session, name: str) -> None:
    pixels, reason = OTHERS[name]
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    (seen,) = predict_picture(session, "x", stream.getvalue())
    assert seen.prediction.label is None
    assert seen.prediction.error is None
    assert reason in str(seen.prediction.reason)


def test_two_digits_are_no_digit_but_with_multi_they_are_two(
    session: runtime.Session, mnist: data.Splits, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    images, labels = mnist.test.images[:6, ..., 0], mnist.test.labels[:6].tolist()
    page = np.vstack([np.hstack([np.pad(image, 8) for image in images[at : at + 3]]) for at in (0, 3)])
    Image.fromarray(255 - page).resize((page.shape[1] * 3, page.shape[0] * 3)).save(tmp_path / "page.png")
    run = cli("predict", tmp_path / "page.png", "-o", tmp_path, "--json")
    assert run.json["predictions"][0]["label"] is None
    assert "more than one figure" in run.json["predictions"][0]["reason"]
    run = cli("predict", tmp_path / "page.png", "-o", tmp_path, "--json", "--multi")
    assert run.code == 0
    assert [item["label"] for item in run.json["predictions"]] == labels
    for at, item in enumerate(run.json["predictions"]):
        left, top, width, height = item["box"]
        assert at % 3 * 132 <= left and left + width <= (at % 3 + 1) * 132
        assert at // 3 * 132 <= top and top + height <= (at // 3 + 1) * 132


@pytest.mark.slow
def test_the_10_000_as_png_files_have_the_labels_of_the_raw_arrays(
    session: runtime.Session, mnist: data.Splits, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    for at, image in enumerate(mnist.test.images[..., 0]):
        Image.fromarray(image).save(tmp_path / f"{at:05}.png", compress_level=1)
    expected = session.predict(mnist.test.images).argmax(axis=1)
    run = cli("predict", tmp_path, "-o", tmp_path / "none", "--engine", "litert", "--json")
    assert run.code == 0, run.err
    assert [item["label"] for item in run.json["predictions"]] == expected.tolist()


def test_show_and_raw(tmp_path: Path, mnist: data.Splits, cli: Callable[..., Run]) -> None:
    Image.fromarray(mnist.test.images[0, ..., 0]).save(tmp_path / "seven.png")
    Image.fromarray(np.zeros((50, 50), np.uint8)).save(tmp_path / "blank.png")
    shown = cli("predict", tmp_path / "seven.png", "-o", tmp_path, "--show")
    assert as_text(mnist.test.images[0, ..., 0]) in shown.out
    blank = cli("predict", tmp_path / "blank.png", "-o", tmp_path)
    assert blank.code == 0
    assert "no answer: blank" in blank.out
    raw = cli("predict", tmp_path / "blank.png", "-o", tmp_path, "--raw", "--json")
    assert raw.json["predictions"][0]["label"] is not None


@given(st.floats(0.7, 1.6))
@settings(max_examples=20, deadline=None)
def test_a_temperature_is_found_again(temperature: float) -> None:
    """Labels drawn from the probabilities themselves are calibrated at 1; sharpened ones need their own inverse."""
    numbers = np.random.default_rng(1)
    honest = apply_temperature(numbers.dirichlet(np.ones(10), 4000).astype(np.float32), 1.0)
    labels = np.array([numbers.choice(10, p=row / row.sum()) for row in honest.astype(np.float64)])
    sharpened = apply_temperature(honest, temperature)
    assert fit_temperature(sharpened, labels) == pytest.approx(1 / temperature, rel=0.15)
