"""Conversion of int8 TFLite files to WebAssembly: generated C, compiled here to a module that imports nothing."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from string import Template
from typing import Any

from mnist_edge.conversion import c
from mnist_edge.conversion.codegen.header import parameters
from mnist_edge.conversion.converter import Converter
from mnist_edge.conversion.request import ConversionRequest
from mnist_edge.errors import StageError
from mnist_edge.formats import Contract, wasm
from mnist_edge.formats import c as c_format
from mnist_edge.formats.model_structure import CHANNELS
from mnist_edge.results.precision import Precision
from mnist_edge.toolchains import wasm as toolchain

BACKEND = "wasm"  # kernels in the generated C
SOURCES = (*c.SOURCES, "conversion/wasm", "toolchains/wasm.py", "vision/portable")
_FOLDER = Path(__file__).parent
_HEADERS = _FOLDER / "include"
_FRONT_END = _FOLDER.parent.parent / "vision" / "portable"
_PREPROCESSORS = {"digit": "MNIST_EDGE_DIGIT", "resize": "MNIST_EDGE_RESIZE"}
_STEPS = re.compile(r"^#define EDGE_STEPS (\d+)$", re.MULTILINE)


def convert(model: Any, request: ConversionRequest) -> bytes:
    """A module of a Keras model; arguments and errors as for `mnist_edge.conversion.c.convert`.

    Raises:
        MissingError: there is no compiler.
    """
    return _compiled(c.convert, model, request)


def convert_int8(content: bytes, request: ConversionRequest) -> bytes:
    """A module of the int8 TFLite file of the same conversion; errors as for `convert`."""
    return _compiled(c.convert_int8, content, request)


def convert_given(content: bytes, request: ConversionRequest) -> bytes:
    """A module of an int8 TFLite file that the user named, and that classifies images; errors as for `convert`."""
    return _compiled(c.convert_given, content, request)


def _compiled(function: Callable[[Any, ConversionRequest], bytes], model: Any, request: ConversionRequest) -> bytes:
    toolchain.find()
    return module(function(model, replace(request, backend=BACKEND)))


def module(code: bytes) -> bytes:
    """The WebAssembly module of generated C. Equal code gives equal bytes, with the same compiler.

    Raises:
        MissingError: there is no compiler.
        RefusedError: the code does not compile.
    """
    facts, text = c_format.facts_of(code), code.decode()
    ends = parameters(facts)
    values = {
        "prefix": facts["prefix"], "upper": facts["prefix"].upper(), "input_type": ends.input_type,
        "output_type": ends.output_type,
    }  # fmt: skip
    source, memory = text + _filled("module.c.in", values), (_FOLDER / "memory.c").read_text()
    steps = max(map(int, _STEPS.findall(text)), default=0)
    vectors, plain = (
        wasm.without_custom(toolchain.module([source, memory], [_HEADERS], toolchain.Options(with_vectors, steps)))
        for with_vectors in (True, False)
    )
    if plain[-1] == vectors[-1] and plain[-1][0] == wasm.DATA:  # the constants, which are most of the file
        plain = plain[:-1]
    custom = {wasm.FACTS: json.dumps(facts, sort_keys=True).encode(), wasm.PLAIN: wasm.module(plain, {})}
    if (front_end := _front_end(facts)) is not None:
        custom[wasm.FRONT_END] = front_end
    made = wasm.module(vectors, custom)
    if wasm.plain_module(made) is None or wasm.facts_of(made) != facts:
        raise StageError("The module was not put together as intended.", "Report this: it is a fault of mnist-edge.")
    return made


def _front_end(facts: dict[str, Any]) -> bytes | None:
    """The module that prepares pictures for this input; None if the input is no picture."""
    contract, shape = Contract.from_text(facts["contract"]), (*facts["input"]["shape"], 1)[:3]
    if contract.preprocessor not in _PREPROCESSORS or len(shape) != 3 or shape[2] not in CHANNELS:
        return None
    return _front_end_for(shape, _PREPROCESSORS[contract.preprocessor])


@functools.cache
def _front_end_for(shape: tuple[int, ...], preprocessor: str) -> bytes:
    """The module that prepares pictures for inputs of rows, columns and channels."""
    rows, columns, channels = map(str, shape)
    values = {"rows": rows, "columns": columns, "channels": channels, "preprocessor": preprocessor}
    paths = (_FRONT_END / "front_end.c", _FOLDER / "memory.c")
    sources = [*(path.read_text() for path in paths), _filled("pictures.c.in", values)]
    made = toolchain.module(sources, [_HEADERS, _FRONT_END], toolchain.Options(vectors=False, small=True))
    return wasm.module(wasm.without_custom(made), {})


def _filled(name: str, values: dict[str, str]) -> str:
    return Template((_FOLDER / name).read_text()).substitute(values)


CONVERTER = Converter(
    "wasm", ".wasm", (Precision.INT8,), c.PACKAGES, SOURCES, convert, {".tflite": convert_given},
    convert_int8=convert_int8, on_demand=True, in_all=False, compiler=lambda: toolchain.find().name,
)  # fmt: skip
