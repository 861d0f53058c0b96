"""Sessions: quantization grids, the same answers for every batch and engine, and the images that they accept."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from mnist_edge import data, runtime
from mnist_edge.errors import ContentError, ImageShapeError, MissingError, UsageError
from mnist_edge.int8.quantize import dequantize, quantize
from mnist_edge.runtime import session
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.vision.pictures import prepare, read_picture
from tests.conftest import needs_tflite_runtime

INT8, UINT8 = np.dtype(np.int8), np.dtype(np.uint8)
grids = st.tuples(st.floats(1e-4, 10), st.sampled_from([(INT8, -128), (INT8, 0), (INT8, 5), (UINT8, 0), (UINT8, 128)]))


@given(grids, hnp.arrays(np.float32, st.integers(1, 20), elements=st.floats(-1000, 1000, width=32)))
def test_quantize_rounds_within_half_a_step_and_saturates_outside(grid, real) -> None:  # type: ignore[no-untyped-def]
    scale, (dtype, zero_point) = grid
    limits = np.iinfo(dtype)
    low, high = (limits.min - zero_point) * scale, (limits.max - zero_point) * scale
    steps = quantize(real, scale, zero_point, dtype)
    back = dequantize(steps, scale, zero_point)
    inside = (real >= low) & (real <= high)
    assert (np.abs(back - real)[inside] <= scale * (0.5 + 1e-4) + np.abs(real[inside]) * 1e-6).all()
    assert (steps[real > high] == limits.max).all()
    assert (steps[real < low] == limits.min).all()


@given(grids)
def test_quantize_inverts_dequantize_for_every_step(grid) -> None:  # type: ignore[no-untyped-def]
    scale, (dtype, zero_point) = grid
    steps = np.arange(np.iinfo(dtype).min, np.iinfo(dtype).max + 1).astype(dtype)
    assert (quantize(dequantize(steps, scale, zero_point), scale, zero_point, dtype) == steps).all()


ENGINES = [(engine, suffix) for suffix in (".tflite", ".onnx") for engine in runtime.engine_names(suffix)]


@pytest.mark.parametrize(("engine", "suffix"), ENGINES)
@pytest.mark.parametrize("kind", ["int8", "float32"])
def test_answers_are_the_same_for_single_images_batches_and_threads(
    workspace: Path, mnist: data.Splits, engine: str, suffix: str, kind: str
) -> None:
    path, images = workspace / "cnn" / f"cnn-{kind}{suffix}", mnist.test.images[:150]
    session = runtime.open_session(path, engine)
    batch = session.predict(images)
    assert batch.shape == (150, 10)
    assert batch.dtype == np.float32
    assert np.abs(batch.sum(axis=1) - 1).max() < 0.02
    single = np.concatenate([session.predict(image[np.newaxis]) for image in images])
    threaded = runtime.open_session(path, engine, threads=2).predict(images[..., 0])
    tolerance = 0 if kind == "int8" else 1e-5
    assert np.abs(single - batch).max() <= tolerance
    assert np.abs(threaded - batch).max() <= tolerance
    assert session.predict(images[:0]).shape == (0, 10)


def test_calls_of_an_engine_are_limited_in_images_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = runtime.open_session(SHIPPED / "dense" / "dense-int8.tflite", "reference")
    images = np.random.default_rng(0).integers(0, 256, (150, 28, 28), np.uint8)
    expected, sizes, run = opened.predict(images), [], opened._program.run

    def counted(batch: NDArray[np.uint8]) -> NDArray[np.int8]:
        sizes.append(len(batch))
        return run(batch)

    monkeypatch.setattr(opened._program, "run", counted)
    for limit, calls in ((1 << 20, [64, 64, 22]), (28 * 28 * 60, [60, 60, 30]), (1, [1] * 150)):
        monkeypatch.setattr(session, "BATCH_BYTES", limit)
        assert np.array_equal(opened.predict(images), expected)
        assert sizes == calls
        sizes.clear()


def test_exported_int8_files_take_pixels_without_conversion(workspace: Path) -> None:
    for suffix in (".tflite", ".onnx"):
        assert runtime.open_session(workspace / "cnn" / f"cnn-int8{suffix}")._lookup is None


@pytest.mark.parametrize(
    "images", [np.zeros((1, 28, 28), np.float32), np.zeros((1, 27, 28), np.uint8), np.zeros((28, 28), np.uint8)]
)
def test_images_of_another_shape_or_dtype_are_refused(workspace: Path, images: np.ndarray) -> None:
    with pytest.raises(ImageShapeError, match="takes uint8"):
        runtime.open_session(workspace / "dense" / "dense-int8.tflite").predict(images)


@needs_tflite_runtime
def test_auto_takes_the_first_engine_that_works(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = workspace / "dense" / "dense-int8.tflite"
    assert runtime.open_session(path).engine == "litert"
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert.interpreter", None)
    assert runtime.open_session(path).engine == "tflite-runtime"
    monkeypatch.setitem(__import__("sys").modules, "tflite_runtime.interpreter", None)
    with pytest.raises(MissingError) as caught:
        runtime.open_session(path)
    assert "pip install 'mnist-edge[litert]'" in caught.value.remedy


@needs_tflite_runtime
def test_the_failure_of_tflite_runtime_with_numpy_2_names_numpy_2(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tflite_runtime.interpreter

    def fail(**_: object) -> None:  # as its constructor does with numpy 2
        raise SystemError

    monkeypatch.setattr(tflite_runtime.interpreter, "Interpreter", fail)
    with pytest.raises(MissingError, match="numpy 2"):
        runtime.open_session(workspace / "dense" / "dense-int8.tflite", "tflite-runtime")


def test_an_unknown_or_unsuitable_engine_is_a_usage_error(workspace: Path) -> None:
    path = workspace / "dense" / "dense-int8.tflite"
    with pytest.raises(UsageError, match="does not run"):
        runtime.open_session(path, "onnxruntime")
    with pytest.raises(UsageError) as caught:
        runtime.open_session(path, "litertt")
    assert "'litert'" in caught.value.remedy


def test_a_file_without_a_manifest_is_used_and_reported_as_unverified(workspace: Path, tmp_path: Path) -> None:
    copy = tmp_path / "mine.tflite"
    copy.write_bytes((workspace / "dense" / "dense-int8.tflite").read_bytes())
    assert not runtime.open_session(copy).verified
    assert runtime.open_session(workspace / "dense" / "dense-int8.tflite").verified


def digit(mode: str = "L") -> Image.Image:
    """A bar in the middle, as tall as MNIST's digits, so that the digit finder returns it unchanged."""
    pixels = np.zeros((28, 28), np.uint8)
    pixels[4:24, 13:16] = 255
    return Image.fromarray(pixels).convert(mode)


def pixels_of(picture: Image.Image, preprocessor: str, image_shape: tuple[int, int]) -> NDArray[np.uint8]:
    return prepare(picture, preprocessor, image_shape)[0].pixels


def png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "I;16", "1"])
def test_every_image_mode_gives_the_same_pixels(mode: str) -> None:
    wide = Image.fromarray(np.asarray(digit()).astype(np.uint16) * 257)
    picture = wide if mode == "I;16" else digit(mode)
    pixels = pixels_of(read_picture(png(picture)), "digit", (28, 28))
    assert (pixels == np.asarray(digit())).all()


@pytest.mark.parametrize("ink", [(20, 20, 60), (250, 240, 230)])
def test_ink_of_any_colour_on_a_transparent_background_is_seen(ink: tuple[int, int, int]) -> None:
    drawing = Image.new("RGBA", (28, 28), (*ink, 0))
    drawing.putalpha(digit())
    pixels = pixels_of(read_picture(png(drawing)), "digit", (28, 28))
    assert np.abs(pixels.astype(int) - np.asarray(digit())).max() <= 2


def test_the_exif_orientation_of_a_picture_is_applied() -> None:
    turned, exif = digit().rotate(90, expand=True), Image.Exif()
    exif[0x0112] = 6  # show it turned by 90 degrees clockwise
    stream = io.BytesIO()
    turned.save(stream, "PNG", exif=exif)
    assert (np.asarray(read_picture(stream.getvalue())) == np.asarray(digit())).all()


def test_a_dark_digit_on_paper_is_inverted_by_the_preprocessor_for_digits_alone() -> None:
    paper = Image.fromarray(255 - np.asarray(digit()))
    assert (pixels_of(paper, "digit", (28, 28)) == np.asarray(digit())).all()
    assert (pixels_of(paper, "resize", (28, 28)) == np.asarray(paper)).all()


def test_a_picture_of_another_size_is_resized_to_the_image_shape() -> None:
    assert pixels_of(digit().resize((90, 50)), "resize", (28, 28)).shape == (28, 28)


@pytest.mark.parametrize("content", [b"", b"text", png(digit())[:-30], png(digit())[:40]])
def test_a_damaged_picture_is_a_content_error(content: bytes) -> None:
    with pytest.raises(ContentError, match="no picture that can be read"):
        read_picture(content, "x")
