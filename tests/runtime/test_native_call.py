"""The call of generated C for one image: compiled with Python's headers, and by ctypes where there are none."""

from __future__ import annotations

import gc
import shutil
import sysconfig
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mnist_edge.errors import RefusedError
from mnist_edge.formats.c import facts_of
from mnist_edge.runtime.engines import native
from mnist_edge.toolchains import host_cc
from tests.conftest import unavailable
from tests.support import int8_nets
from tests.support.backends import source

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 9, 7, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def code() -> bytes:
    if shutil.which("cc") is None:
        unavailable("A C compiler")
    net = int8_nets.begun(1, 9, 7)
    net.conv(5, (3, 3), (1, 1), int8_nets.VALID)
    return source(int8_nets.ended(net), "net", IMAGES)


@pytest.fixture(params=["compiled", "compiled, releases the lock", "ctypes"])
def program(
    code: bytes, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[native.NativeProgram]:
    native._make_caller.cache_clear()
    if request.param == "ctypes":
        monkeypatch.setattr(sysconfig, "get_path", lambda _: str(Path("/nowhere")))
    elif not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        unavailable("Python.h")
    if "lock" in request.param:
        monkeypatch.setattr(native, "_QUICK", 0)
    loaded = native.load(code, 1)
    assert isinstance(loaded, native.NativeProgram)
    assert (native._make_caller() is None) == (request.param == "ctypes")
    yield loaded
    native._make_caller.cache_clear()


def test_one_image_has_the_answer_that_it_has_in_a_batch(program: native.NativeProgram) -> None:
    assert program.direct is not None
    many = np.empty((6, 10), np.float32)
    program.direct.batch(IMAGES, many)
    answers = [program.direct.one(IMAGES[at : at + 1]) for at in range(6)]
    assert all(answer is not None and answer.dtype == np.float32 and answer.shape == (1, 10) for answer in answers)
    assert (np.concatenate(answers) == many).all()  # type: ignore[arg-type]
    assert not (many[0] == many[1]).all()  # an answer is a copy: a later one does not change it
    without_channel = program.direct.one(IMAGES[2:3, ..., 0])
    assert without_channel is not None
    assert (without_channel == many[2]).all()


def test_the_facts_tell_the_products_of_a_small_net(code: bytes) -> None:
    assert 0 < facts_of(code)["products"] == 7 * 5 * 9 * 5 + 7 * 5 * 5 * 10 <= native._QUICK


@pytest.mark.parametrize("images", [
    IMAGES[:2], IMAGES[:0], IMAGES[0], IMAGES[:1, :8], IMAGES[:1, :, :6], IMAGES[:1].astype(np.int8),
    IMAGES[:1].astype(np.float32), IMAGES[:1] > 0, IMAGES[:1].reshape(1, 7, 9), IMAGES[:1].reshape(1, 63),
    IMAGES[:1].repeat(2, axis=3), IMAGES[:1, ..., None].repeat(2, axis=4), IMAGES[0, 0, 0, 0],
])  # fmt: skip
def test_arrays_that_are_no_image_have_no_answer(program: native.NativeProgram, images: np.ndarray) -> None:
    assert program.direct is not None
    assert program.direct.one(images) is None


def test_an_image_in_colour_has_three_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("cc") is None:
        unavailable("A C compiler")
    net = int8_nets.begun(3, 5, 4, channels=3)
    net.conv(5, (3, 3), (1, 1), int8_nets.VALID)
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3)).astype(np.uint8)
    text = source(int8_nets.ended(net), "net", images)
    for _ in range(2):
        direct = native.load(text, 1).direct
        assert direct is not None
        answer, many = direct.one(images[:1]), np.empty((1, 10), np.float32)
        direct.batch(images[:1], many)
        assert answer is not None
        assert (answer == many).all()
        assert direct.one(images[:1, ..., None]) is None
        assert direct.one(images[:1, ..., :1]) is None
        assert direct.one(images[:1, ..., 0]) is None
        monkeypatch.setattr(native, "_make_caller", lambda: None)


def test_a_program_is_freed_with_its_last_reference(code: bytes) -> None:
    gc.disable()
    try:
        loaded = native.load(code, 1)
        assert loaded.direct is not None
        watched = weakref.ref(loaded)
        one = loaded.direct.one
        expected = one(IMAGES[:1])
        del loaded
        assert watched() is None
        again = one(IMAGES[:1])  # the function keeps its own buffers
        assert expected is not None
        assert again is not None
        assert (again == expected).all()
    finally:
        gc.enable()


def test_a_source_with_headers_that_are_missing_does_not_compile() -> None:
    if shutil.which("cc") is None:
        unavailable("A C compiler")
    text = (Path(native.__file__).with_name("caller.c")).read_bytes()
    with pytest.raises(RefusedError, match=r"Python\.h"):
        host_cc.shared_object(text, host_cc.find(), ("/nowhere",))
