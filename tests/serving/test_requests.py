"""Reading of request bodies: valid ones give the same pixels as NumPy, and others are refused with a status."""

from __future__ import annotations

import base64
import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_edge.serving import tfserving, v2
from mnist_edge.serving.limits import RequestRefusedError
from mnist_edge.serving.requests import Grid, ImageRequest

GRID = Grid(3, 2, 1, 50, "digit")
images = st.integers(1, 4).flatmap(
    lambda n: st.lists(st.integers(0, 255), min_size=6 * n, max_size=6 * n).map(
        lambda values: np.array(values, np.uint8).reshape(n, 3, 2)
    )
)


def v2_body(data: Any, shape: Any, datatype: Any = "UINT8", **more: Any) -> bytes:
    tensor = {"name": "image", "shape": shape, "datatype": datatype, "data": data}
    return json.dumps({"inputs": [tensor], **more}).encode()


def read_v2(body: bytes) -> ImageRequest:
    return v2.read(body, None, GRID)


@given(images, st.booleans(), st.booleans(), st.sampled_from([int, float]))
@settings(deadline=None)
def test_v2_numbers_are_read_flat_and_nested_whole_and_as_floats(
    pixels: np.ndarray, channel: bool, nested: bool, kind: type
) -> None:
    shaped = pixels[..., np.newaxis] if channel else pixels
    data = (shaped if nested else shaped.ravel()).astype(kind).tolist()
    asked = read_v2(v2_body(data, list(shaped.shape), "UINT8" if kind is int else "FP32"))
    assert (asked.images(GRID) == pixels).all()


@given(images, st.sampled_from(sorted(v2.DTYPES)))
@settings(deadline=None)
def test_v2_binary_tensors_are_read_in_every_datatype(pixels: np.ndarray, datatype: str) -> None:
    pixels = pixels // 2  # INT8 ends at 127
    binary = pixels.astype(v2.DTYPES[datatype]).tobytes()
    tensor = {"name": "image", "shape": list(pixels.shape), "datatype": datatype}
    tensor["parameters"] = {"binary_data_size": len(binary)}
    head = json.dumps({"inputs": [tensor]}).encode()
    asked = v2.read(head + binary, str(len(head)), GRID)
    assert (asked.images(GRID) == pixels).all()


@given(images, st.booleans(), st.sampled_from(["rows", "named rows", "columns", "named columns"]))
@settings(deadline=None)
def test_all_four_forms_of_a_tensorflow_serving_request_are_read(pixels: np.ndarray, channel: bool, form: str) -> None:
    rows = (pixels[..., np.newaxis] if channel else pixels).tolist()
    body = {
        "rows": {"instances": rows},
        "named rows": {"instances": [{"image": row} for row in rows]},
        "columns": {"inputs": rows},
        "named columns": {"inputs": {"image": rows}},
    }[form]
    asked = tfserving.read(json.dumps(body, indent=1).encode(), GRID)
    assert (asked.images(GRID) == pixels).all()
    assert asked.columns == ("columns" in form)


def test_pictures_are_read_from_base64_in_every_form() -> None:
    content = b"a picture"
    encoded = base64.b64encode(content).decode()
    tensor = {"name": "picture", "shape": [2], "datatype": "BYTES", "data": [encoded, encoded]}
    assert read_v2(json.dumps({"inputs": [tensor]}).encode()).pictures == (content, content)
    for body in (
        {"instances": [{"b64": encoded}]},
        {"instances": [{"image": {"b64": encoded}}]},
        {"inputs": {"b64": encoded}},
    ):
        assert tfserving.read(json.dumps(body).encode(), GRID).pictures == (content,)


FLAT = [0] * 6
REFUSED = {
    "true in a shape": v2_body(FLAT, [True, 3, 2]),
    "a fraction in a shape": v2_body(FLAT, [1.5, 3, 2]),
    "500 sizes": v2_body(FLAT, [2**31] * 500),
    "a size beyond 32 bits": v2_body(FLAT, [2**40, 3, 2]),
    "a list as datatype": v2_body(FLAT, [1, 3, 2], []),
    "an object as datatype": v2_body(FLAT, [1, 3, 2], {}),
    "true as a pixel": v2_body([True] * 6, [1, 3, 2]),
    "a word as a pixel": v2_body(["1"] * 6, [1, 3, 2]),
    "256": v2_body([256] * 6, [1, 3, 2]),
    "-1": v2_body([-1] * 6, [1, 3, 2]),
    "a huge number": v2_body([10**400] * 6, [1, 3, 2]),
    "a half": v2_body([0.5] * 6, [1, 3, 2]),
    "an infinite number": b'{"inputs":[{"name":"image","shape":[1,3,2],"datatype":"FP64","data":[1e999,0,0,0,0,0]}]}',
    "NaN": v2_body([float("nan")] * 6, [1, 3, 2]),
    "ragged rows": v2_body([[[0, 0], [0], [0, 0, 0]]], [1, 3, 2]),
    "rows of another shape": v2_body([[[0, 0, 0], [0, 0, 0]]], [1, 3, 2]),
    "too deep": v2_body([[[[[0]]]]], [1, 3, 2]),
    "no data": json.dumps({"inputs": [{"name": "image", "shape": [1, 3, 2], "datatype": "UINT8"}]}).encode(),
    "null as data": v2_body(None, [1, 3, 2]),
    "a long id": v2_body(FLAT, [1, 3, 2], id="x" * 2000),
    "null as id": v2_body(FLAT, [1, 3, 2], id=None),
    "two inputs": json.dumps({"inputs": [json.loads(v2_body(FLAT, [1, 3, 2]))["inputs"][0]] * 2}).encode(),
    "0 classes": v2_body(FLAT, [1, 3, 2], parameters={"classification": 0}),
    "not UTF-8": b'{"inputs": "\xff"}',
    "nothing": b"",
    "deep lists": b"[" * 900,
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_malformed_v2_body_is_refused_with_400(name: str) -> None:
    with pytest.raises(RequestRefusedError) as caught:
        read_v2(REFUSED[name])
    assert caught.value.status == 400
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("length", ["-1", "1" * 5000, "²", "", "99999999"])
def test_a_wrong_length_of_the_json_is_refused_with_400(length: str) -> None:
    with pytest.raises(RequestRefusedError) as caught:
        v2.read(v2_body(FLAT, [1, 3, 2]), length, GRID)
    assert caught.value.status == 400


BOMBS = {
    "a long and many short words": json.dumps({"instances": ["a" * 100_000, *["b"] * 1000]}).encode(),
    "lists of one number": b'{"instances": [' + b"[1]," * 1_000_000 + b"[1]]}",
    "empty lists": b'{"instances": [' + b"[]," * 1_000_000 + b"[]]}",
    "objects": b'{"instances": [' + b"{}," * 1_000_000 + b"{}]}",
    "numbers": b'{"instances": [' + b"1000," * 1_000_000 + b"1]}",
    "a shape": v2_body(FLAT, [2147483647] * 100_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_json_bomb_is_refused_before_its_values_become_objects(name: str) -> None:
    body = BOMBS[name]
    read = read_v2 if b"inputs" in body else lambda content: tfserving.read(content, GRID)
    tracemalloc.start()
    try:
        with pytest.raises(RequestRefusedError) as caught:
            read(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.status in (400, 413)
    assert peak < 2 * len(body) + 1_000_000


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    for read in (read_v2, lambda body: tfserving.read(body, GRID), lambda body: v2.read(body, "5", GRID)):
        try:
            read(content)
        except RequestRefusedError as error:
            assert error.status in (400, 413)


@pytest.mark.parametrize("flat", [True, False])
def test_images_in_colour_have_three_values_a_pixel_in_every_protocol(flat: bool) -> None:
    grid = Grid(3, 2, 3, 50, "resize")
    pixels = np.arange(2 * 3 * 2 * 3).reshape(2, 3, 2, 3).astype(np.uint8)
    data = pixels.ravel().tolist() if flat else pixels.tolist()
    assert (v2.read(v2_body(data, [2, 3, 2, 3]), None, grid).images(grid) == pixels).all()
    body = json.dumps({"instances": pixels.tolist()}).encode()
    assert (tfserving.read(body, grid).images(grid) == pixels).all()
    with pytest.raises(RequestRefusedError, match=r"\[n, 3, 2, 3\] is expected"):
        v2.read(v2_body(pixels[..., 0].tolist(), [2, 3, 2]), None, grid)
