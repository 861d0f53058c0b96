"""Conversion of int8 TFLite files to WebAssembly: generated C, compiled here to a module that imports nothing."""

from __future__ import annotations

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
from mnist_edge.formats import c as c_format
from mnist_edge.formats import wasm
from mnist_edge.results.precision import Precision
from mnist_edge.toolchains import wasm as toolchain

BACKEND = "wasm"  # kernels in the generated C
SOURCES = (*c.SOURCES, "conversion/wasm", "toolchains/wasm.py")
_FOLDER = Path(__file__).parent
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
    source = text + Template((_FOLDER / "module.c.in").read_text()).substitute(values)
    steps = max(map(int, _STEPS.findall(text)), default=0)
    vectors, plain = (
        wasm.without_custom(toolchain.module(source.encode(), [_FOLDER / "include"], steps, with_vectors))
        for with_vectors in (True, False)
    )
    if plain[-1] == vectors[-1] and plain[-1][0] == wasm.DATA:  # the constants, which are most of the file
        plain = plain[:-1]
    custom = {wasm.FACTS: json.dumps(facts, sort_keys=True).encode(), wasm.PLAIN: wasm.module(plain, {})}
    made = wasm.module(vectors, custom)
    if wasm.plain_module(made) is None or wasm.facts_of(made) != facts:
        raise StageError("The module was not put together as intended.", "Report this: it is a fault of mnist-edge.")
    return made


CONVERTER = Converter(
    "wasm", ".wasm", (Precision.INT8,), c.PACKAGES, SOURCES, convert, {".tflite": convert_given},
    convert_int8=convert_int8, on_demand=True, in_all=False, compiler=lambda: toolchain.find().name,
)  # fmt: skip
