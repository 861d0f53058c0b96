"""The preprocessor ``digit``: MNIST's images pass unchanged, others are normalized, and no digit is invented."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageDraw
from scipy import ndimage

from benchmarks import scenes
from mnist_edge import data, runtime
from mnist_edge.results import Prediction
from mnist_edge.runtime.confidence import apply_temperature, fit_temperature
from mnist_edge.runtime.predict import as_text, grids_of, judge_found, predict_picture
from mnist_edge.serving import decoding, requests
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.vision.digit import Found, NoDigit, find_digit, find_digits, is_normalized
from mnist_edge.vision.pictures import prepare, read_picture
from tests.conftest import Run

SHAPE = (28, 28)


@pytest.fixture(scope="module")
def session() -> runtime.Session:
    return runtime.open_session(SHIPPED / "cnn" / "cnn-int8.tflite", "litert")


def test_every_image_of_mnist_passes_bit_for_bit(mnist: data.Splits) -> None:
    for split in (mnist.train, mnist.validation, mnist.test):
        for image in split.images[..., 0]:
            assert is_normalized(image, SHAPE)
            assert find_digit(image, SHAPE).pixels is image
            assert find_digits(image, SHAPE)[0].pixels is image


@settings(max_examples=150, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_any_pixels_give_a_normalized_digit_or_a_reason(pixels: np.ndarray) -> None:
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


def test_an_interpolated_background_beyond_black_and_white_is_not_an_error() -> None:
    """Bicubic interpolation overshoots next to the edges of black and white areas."""
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


def small_under_light(image: np.ndarray, margin: int, least: float) -> np.ndarray:
    ink = np.pad(image, margin) / 255
    light = np.linspace(210, 210 * least, len(ink))[:, None] * np.linspace(1, 0.85, ink.shape[1])
    return (light * (1 - 0.4 * ink)).astype(np.uint8)


VARIANTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "moved": lambda image: np.pad(image, ((3, 20), (18, 1))),
    "half": lambda image: scaled(image, 0.5),
    "large": lambda image: scaled(image, 4),
    "inverted": lambda image: 255 - image,
    "uneven light": under_light,
    "small, uneven light": lambda image: small_under_light(image, 8, 0.62),
    "binary": lambda image: np.where(scaled(image, 6) > 127, 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_digit_is_read_in_every_variant_of_its_picture(
    session: runtime.Session, mnist: data.Splits, variant: str
) -> None:
    """At most 4 of 200 validation images may fail; benchmarks/pictures.py measures 2,000 test images."""
    assert accuracy(session, mnist.validation, VARIANTS[variant]) >= 0.98


def test_most_digits_of_tiny_pictures_under_uneven_light_are_read(session: runtime.Session, mnist: data.Splits) -> None:
    """Share of digits read with two pixels of paper around them; some shading looks like the edge of a sheet."""
    assert accuracy(session, mnist.validation, lambda image: small_under_light(image, 2, 0.85)) >= 0.88


def test_a_digit_stretched_to_a_small_square_is_read(session: runtime.Session, mnist: data.Splits) -> None:
    def stretched(image: np.ndarray) -> np.ndarray:
        rows, columns = np.flatnonzero(image.max(axis=1) > 40), np.flatnonzero(image.max(axis=0) > 40)
        tight = Image.fromarray(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
        return np.where(np.asarray(tight.resize((16, 16), Image.Resampling.BILINEAR)) > 110, 255, 0).astype(np.uint8)

    assert accuracy(session, mnist.validation, stretched) >= 0.95


def test_digits_of_a_fine_pen_and_of_a_thick_brush_are_read(session: runtime.Session, mnist: data.Splits) -> None:
    def thick(image: np.ndarray) -> np.ndarray:
        return np.where(ndimage.binary_dilation(scaled(image, 10) > 128, iterations=10), 0, 255).astype(np.uint8)

    assert accuracy(session, mnist.validation, thick) >= 0.97
    lines = np.full((300, 200), 255, np.uint8)
    lines[40:260, 99:101] = 0  # a one, 2 pixels wide and 220 tall
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
    "a small gradient": (np.tile(np.linspace(60, 200, 40).astype(np.uint8), (48, 1)), ""),
    "weak noise": (np.clip(draw().normal(128, 10, (200, 150)), 0, 255).astype(np.uint8), ""),
    "specks": (np.where(draw().random((100, 100)) < 0.2, 255, 0).astype(np.uint8), ""),
    "dense specks": (np.where(draw().random((170, 170)) < 0.39, 255, 0).astype(np.uint8), ""),
    "a square": (np.pad(np.full((40, 40), 255, np.uint8), 30), "a filled area"),
    "a dash": (np.pad(np.full((6, 60), 255, np.uint8), 40), "wider than a digit"),
    "one pixel": (np.zeros((1, 1), np.uint8), "a picture of too few pixels"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_picture_without_a_digit_gets_no_label_but_a_reason(session: runtime.Session, name: str) -> None:
    pixels, reason = OTHERS[name]
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    (seen,) = predict_picture(session, "x", stream.getvalue())
    assert seen.prediction.label is None
    assert seen.prediction.error is None
    assert reason in str(seen.prediction.reason)


def test_several_digits_are_refused_and_with_multi_each_is_read_in_its_box(
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
def test_the_10_000_test_images_as_png_files_get_the_labels_of_the_raw_arrays(
    session: runtime.Session, mnist: data.Splits, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    for at, image in enumerate(mnist.test.images[..., 0]):
        Image.fromarray(image).save(tmp_path / f"{at:05}.png", compress_level=1)
    expected = session.predict(mnist.test.images).argmax(axis=1)
    run = cli("predict", tmp_path, "-o", tmp_path / "none", "--engine", "litert", "--json")
    assert run.code == 0, run.err
    assert [item["label"] for item in run.json["predictions"]] == expected.tolist()


def test_show_prints_the_image_and_raw_skips_the_search_for_a_digit(
    tmp_path: Path, mnist: data.Splits, cli: Callable[..., Run]
) -> None:
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
def test_fitting_finds_the_inverse_of_a_temperature_that_was_applied(temperature: float) -> None:
    """Labels are drawn from the probabilities, which are therefore calibrated at a temperature of 1."""
    numbers = np.random.default_rng(1)
    calibrated = apply_temperature(numbers.dirichlet(np.ones(10), 4000).astype(np.float32), 1.0)
    labels = np.array([numbers.choice(10, p=row / row.sum()) for row in calibrated.astype(np.float64)])
    sharpened = apply_temperature(calibrated, temperature)
    assert fit_temperature(sharpened, labels) == pytest.approx(1 / temperature, rel=0.15)


# Smallest number of right answers for 12 scenes of each kind: two or three fewer than measured.
FEWEST_RIGHT = {
    "sheet on a darker desk": 7,
    "sheet partly in view": 3,
    "sheet on a lighter desk": 2,
    "dark sheet, light ink": 4,
    "hard shadow through the digit": 0,
    "digit cut by the picture's edge": 0,
    "digit cut by the sheet's edge": 0,
    "empty sheet on a desk": 12,  # the right answer is None
}


def answers(
    session: runtime.Session, splits: data.Splits, kind: str, count: int
) -> list[tuple[int | None, Prediction]]:
    """Digits of development scenes, and the predictions; benchmarks/results/pictures.md has figures of other scenes."""
    validation = splits.validation
    made = scenes.scenes(kind, count, scenes.DEVELOPMENT, validation.images[..., 0], validation.labels)
    return [(truth, predict_picture(session, "x", content)[0].prediction) for content, truth in made]


@pytest.mark.parametrize("kind", FEWEST_RIGHT)
def test_scenes_with_sheets_shadows_and_cut_digits_get_no_wrong_label(
    session: runtime.Session, mnist: data.Splits, kind: str
) -> None:
    seen = [(truth, prediction.label) for truth, prediction in answers(session, mnist, kind, 12)]
    for truth, label in seen:
        assert label in (None, truth)
    assert sum(truth == label for truth, label in seen) >= FEWEST_RIGHT[kind]


def test_digits_on_plain_paper_are_read(session: runtime.Session, mnist: data.Splits) -> None:
    assert sum(truth == prediction.label for truth, prediction in answers(session, mnist, "plain paper", 12)) >= 11


def test_a_digit_turned_by_a_quarter_rarely_gets_a_wrong_label(session: runtime.Session, mnist: data.Splits) -> None:
    seen = answers(session, mnist, "plain paper, quarter turn", 25)
    wrong = sum(prediction.label not in (None, truth) for truth, prediction in seen)
    assert wrong <= 6  # 15 if turned images are not tried
    assert any("turned by a quarter" in str(prediction.reason) for _, prediction in seen)


@pytest.mark.parametrize("multi", [False, True])
def test_a_digit_on_a_sheet_is_read_and_its_box_is_in_the_picture(
    session: runtime.Session, mnist: data.Splits, multi: bool
) -> None:
    right = 0
    for image, label in zip(mnist.validation.images[:10, ..., 0], mnist.validation.labels[:10], strict=True):
        ink = np.pad(scaled(image, 8) / 255, 40)
        desk = Image.new("L", (1280, 960), 70)
        sheet = Image.fromarray(np.uint8(220 - 180 * ink)).resize((608, 608))
        desk.paste(sheet.rotate(10, expand=True, fillcolor=70), (300, 150))
        desk = Image.fromarray(np.clip(np.asarray(desk) + draw().normal(0, 4, (960, 1280)), 0, 255).astype(np.uint8))
        stream = io.BytesIO()
        desk.save(stream, "PNG")
        (seen, *_) = predict_picture(session, "x", stream.getvalue(), multi=multi)
        right += int(seen.prediction.label == label)
        if seen.prediction.box is not None:
            left, top, width, height = seen.prediction.box
            assert 300 + 80 < left < left + width < 300 + 625 and 150 + 80 < top < top + height < 150 + 625
    assert right >= 8


def photograph(ink: np.ndarray) -> np.ndarray:
    """Dark ink on paper, uint8 (h, w), with the noise of a camera."""
    return np.clip(220 - 180 * ink + draw().normal(0, 3, ink.shape), 0, 255).astype(np.uint8)


def test_a_photographed_figure_at_the_edge_is_refused_and_a_drawn_one_is_read(mnist: data.Splits) -> None:
    ink = np.pad(scaled(mnist.validation.images[0, ..., 0], 5) / 255, 100)
    rows = np.flatnonzero((ink > 0.5).any(axis=1))
    cut = ink[: (rows[0] + 2 * rows[-1]) // 3]
    with pytest.raises(NoDigit, match="touches the edge"):
        find_digit(photograph(cut), SHAPE)
    find_digit(photograph(ink), SHAPE)
    find_digit((255 - 255 * cut).astype(np.uint8), SHAPE)


@pytest.mark.parametrize("angle", [0, 10, 30])
def test_a_sheet_is_refused_and_a_zero_of_the_same_size_is_not(angle: int) -> None:
    sheet = Image.new("L", (300, 300), 40)
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((80, 60, 220, 240), fill=230)
    pen.line((150, 100, 150, 200), fill=40, width=12)
    with pytest.raises(NoDigit, match="a filled area"):
        find_digit(np.asarray(sheet.rotate(angle, fillcolor=40)), SHAPE)
    pen.rectangle((0, 0, 300, 300), fill=40)
    pen.ellipse((80, 60, 220, 240), fill=230)
    pen.ellipse((130, 120, 170, 180), fill=40)
    find_digit(np.asarray(sheet.rotate(angle, fillcolor=40)), SHAPE)


def test_the_edge_of_a_shadow_is_a_reason_to_refuse_a_digit_only_if_it_crosses_the_digit(mnist: data.Splits) -> None:
    ink = np.zeros((300, 400))
    ink[60:228, 60:228] = scaled(mnist.validation.images[0, ..., 0], 6) / 255
    light = np.ones(ink.shape)
    light[:, 280:] = 0.5
    find_digit((photograph(ink) * light).astype(np.uint8), SHAPE)
    light[:, 144:] = 0.5
    with pytest.raises(NoDigit, match="edge of a sheet or of a shadow"):
        find_digit((photograph(ink) * light).astype(np.uint8), SHAPE)


def test_a_digit_gets_no_label_if_its_turned_image_gets_another_one_with_more_confidence(
    session: runtime.Session, mnist: data.Splits
) -> None:
    pixels = mnist.validation.images[0, ..., 0]
    found = [Found(pixels, (0, 0, 9, 9)), Found(pixels, (0, 0, 9, 9), may_be_turned=True)]
    grids = grids_of(found)
    for grid, turn in zip(grids, (0, 0, 1, 3), strict=True):
        assert np.array_equal(grid, np.rot90(pixels, turn))

    def judged(turned: int, likely: float) -> list[int | None]:
        rows = np.zeros((4, 10), np.float32)
        rows[:3, 4], rows[:3, 5], rows[3, turned], rows[3, 6] = 0.8, 0.2, likely, 1 - likely
        return [item.prediction.label for item in judge_found(session, "x", found, rows, certain=False)]

    assert judged(7, 0.9) == [4, None]
    assert judged(7, 0.7) == [4, 4]
    assert judged(4, 0.9) == [4, 4]
    for count in (2, 3, 5):  # answers; there are four grids
        with pytest.raises(ValueError, match=f"{count} answers to 4 grids"):
            judge_found(session, "x", found, np.full((count, 10), 0.1, np.float32), certain=False)


def test_the_service_reports_that_a_photographed_figure_may_be_turned(mnist: data.Splits) -> None:
    ink = np.pad(np.rot90(scaled(mnist.validation.images[0, ..., 0], 5)) / 255, 60)
    stream = io.BytesIO()
    Image.fromarray(photograph(ink)).save(stream, "PNG")
    found = prepare(read_picture(stream.getvalue()), "digit", SHAPE)
    job = decoding.PictureJob(stream.getvalue(), None, "x", requests.Grid(28, 28, 1, 1, "digit"), 10**6, False)
    answer = msgspec.msgpack.encode(decoding.run_job(job, contextlib.nullcontext))
    result = msgspec.msgpack.decode(answer, type=decoding.Pictures)
    assert [item.may_be_turned for item in found] == [item.may_be_turned for item in result.found] == [True]
