"""Every backend of generated C: bit for bit the outputs of LiteRT's reference kernels, without a sanitizer's report.

tests/int8/test_program.py compares the integer reference engine with the same kernels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_edge import data
from mnist_edge.runtime.engines import litert_reference
from mnist_edge.store.workspace import SHIPPED
from tests.support import backends
from tests.support.architectures import ARCHITECTURES, converted, int8_file
from tests.support.backends import ALL_IMAGES, WAYS
from tests.support.int8_nets import four_bits

pytestmark = pytest.mark.slow
NETS = ("dense", "cnn", *ARCHITECTURES)
FOUR_BITS = "dense in 4 bits"
NATIVE = [name for name, way in WAYS.items() if not way.slow]
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
Expected = dict[str, tuple[bytes, NDArray[np.int8]]]


@pytest.fixture(scope="module")
def images(mnist: data.Splits) -> NDArray[np.uint8]:
    """Noise, a black and a white image, and the test images."""
    noise = np.random.default_rng(0).integers(0, 256, (198, 28, 28, 1)).astype(np.uint8)
    ends = np.stack([np.full((28, 28, 1), value, np.uint8) for value in (0, 255)])
    return np.concatenate([noise, ends, mnist.test.images])


@pytest.fixture(scope="module")
def expected(mnist: data.Splits, images: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """Generated C and its expected outputs for each net, made when a test first asks for them."""
    log = tmp_path_factory.mktemp("log") / "log"

    class Lazily(Expected):
        def __missing__(self, name: str) -> tuple[bytes, NDArray[np.int8]]:
            ours = SHIPPED / name / f"{name}-int8.tflite"
            if name == FOUR_BITS:
                content = four_bits((SHIPPED / "dense" / "dense-int8.tflite").read_bytes())
            elif ours.is_file():
                content = ours.read_bytes()
            else:
                content = int8_file(name, mnist.calibration.images[:100], log)
            kernels = litert_reference.load(content, 1)
            step = 250 if kernels.batched else 1
            parts = [kernels.run(images[at : at + step]) for at in range(0, len(images), step)]
            self[name] = backends.source(content, name.split(maxsplit=1)[0]), np.concatenate(parts)
            return self[name]

    return Lazily()


@pytest.mark.parametrize("name", [*NETS, FOUR_BITS])
@pytest.mark.parametrize("way", WAYS)
def test_no_output_differs(name: str, way: str, expected: Expected, images: NDArray[np.uint8], tmp_path: Path) -> None:
    backends.runs_here(WAYS[way])
    text, wanted = expected[name]
    n = 700 if name == "cnn" and WAYS[way].slow and not ALL_IMAGES else len(images)
    program = backends.build(text, WAYS[way], tmp_path)
    found = backends.answers(program, WAYS[way], images[:n])
    assert (found != wanted[:n]).any(axis=1).sum() == 0


@pytest.mark.parametrize("way", WAYS)
def test_no_output_of_wide_convolutions_differs(
    way: str, images: NDArray[np.uint8], mnist: data.Splits, tmp_path: Path
) -> None:
    """The net has rows of several tiles, an odd number of channel blocks, and convolutions with and without pooling."""
    import keras

    backends.runs_here(WAYS[way])
    keras.utils.set_random_seed(1)
    image = keras.Input((28, 28, 1))
    x = keras.layers.Conv2D(16, 3, activation="relu")(image)
    x = keras.layers.Conv2D(40, 3, strides=2, padding="same", activation="relu")(x)
    x = keras.layers.MaxPooling2D()(keras.layers.Conv2D(33, 2, padding="same", activation="relu")(x))
    model = keras.Model(image, keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(x)))
    content = converted(model, "wide", mnist.calibration.images[:50], tmp_path / "log")
    program = backends.build(backends.source(content, "wide"), WAYS[way], tmp_path)
    wanted = litert_reference.load(content, 1).run(images[:400])
    assert (backends.answers(program, WAYS[way], images[:400]) == wanted).all()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("way", NATIVE)
def test_sanitizers_report_nothing(
    name: str, way: str, expected: Expected, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    backends.runs_here(WAYS[way])
    text, wanted = expected[name]
    n = 700 if name == "cnn" and not ALL_IMAGES else len(images)
    program = backends.build(text, WAYS[way], tmp_path, *SANITIZERS)
    assert (backends.answers(program, WAYS[way], images[:n]) == wanted[:n]).all()


@pytest.mark.parametrize("name", ["dense", "cnn", "residual"])
def test_threads_with_their_own_scratch_do_not_disturb_each_other(
    name: str, expected: Expected, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    text, wanted = expected[name]
    for way in NATIVE:
        program = backends.build(text, WAYS[way], tmp_path / way, "-g", "-O1", "-fsanitize=thread")
        assert (backends.answers(program, WAYS[way], images[:300], 2, times=2) == np.tile(wanted[:300], (2, 1))).all()
