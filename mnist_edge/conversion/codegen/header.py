"""Header file of generated C, made from the facts in the ``.c`` file, which contains the same text."""

from __future__ import annotations

import json
import math
import re
import string
import textwrap
from dataclasses import dataclass
from typing import Any

from mnist_edge.formats import Contract
from mnist_edge.formats.c import MAGIC

LICENCE = "/* SPDX-License-Identifier: Apache-2.0 */"  # of the code that mnist-edge writes
_CORTEX_M = "DSP and Helium of Cortex-M, chosen by the compiler"
_KERNELS = {
    "all": f"plain C; vectors of x86-64 and 64-bit Arm, chosen when the code runs; {_CORTEX_M}",
    "x86": "plain C; vectors of x86-64, chosen when the code runs",
    "arm": f"plain C; vectors of 64-bit Arm, chosen when the code runs; {_CORTEX_M}",
    "wasm": "plain C; vectors of WebAssembly, if the compiler may use them",
    "c99": "plain C",
}
_AVX2_STACK = "With AVX2, a convolution of 3 x 3 takes up to 100 KB of stack in one frame."
_NEON_STACK = "With NEON, a layer takes 20 bytes of stack for each group of four inputs of the longest sum."
_STACK = {"all": f"{_AVX2_STACK} {_NEON_STACK}", "x86": _AVX2_STACK, "arm": _NEON_STACK, "wasm": "", "c99": ""}


def prefix(contract: Contract) -> str:
    """Prefix of the names in the header, such as ``cnn_int8``."""
    name = re.sub(r"\W", "_", f"{contract.model}_{contract.quantization}")
    return name if not name[0].isdigit() else f"net_{name}"


def facts_line(facts: dict[str, Any]) -> str:
    """The C line that holds the facts, for readers of the text and of a shared object compiled from it."""
    # Two question marks could begin a trigraph; in JSON text they occur in strings only.
    text = json.dumps(facts, sort_keys=True).replace("?", r"\u003f")
    return f"const char mnist_edge_facts[] = {json.dumps(MAGIC + text)};"


def with_accuracy(text: str, facts: dict[str, Any], top1: float, images: int) -> str:
    """The text of a ``.c`` with its accuracy on test images in its header and facts.

    Args:
        text: of the ``.c``. facts: those in it. top1: from 0 to 1. images: number of test images.
    """
    measured = {**facts, "accuracy": {"top1": top1, "images": images}}
    return text.replace(header(facts), header(measured)).replace(facts_line(facts), facts_line(measured))


@dataclass(frozen=True)
class Parameters:
    """Parameters of the functions in the header. ``input`` is ``image``, or ``input`` if the code takes no pixels."""

    input: str
    input_type: str
    output_type: str

    @property
    def one(self) -> str:
        """Declarations for one input and its output."""
        return f"const {self.input_type} *{self.input}, {self.output_type} *answer"

    @property
    def many(self) -> str:
        """Declarations for several inputs and their outputs."""
        return f"const {self.input_type} *{self.input}s, {self.output_type} *answers"


def parameters(facts: dict[str, Any]) -> Parameters:
    """Parameters of the functions, from the facts in a ``.c``."""
    types = (f"{facts[end]['dtype']}_t" for end in ("input", "output"))
    return Parameters("image" if takes_pixels(facts) else "input", *types)


def takes_pixels(facts: dict[str, Any]) -> bool:
    """Whether the code takes uint8 pixels, or the values of the TFLite file's input."""
    return bool(facts.get("takes_pixels", True))


def header(facts: dict[str, Any]) -> str:
    """Text of the header file, from the facts in a ``.c``."""
    name, contract, ends = facts["prefix"], Contract.from_text(facts["contract"]), parameters(facts)
    item, upper, out = ends.input, name.upper(), facts["output"]
    sizes = [math.prod(facts[end]["shape"]) for end in ("input", "output")]
    about = (
        f"{contract.model} in {contract.quantization}, made by mnist-edge {contract.tool_version} from the TFLite file"
    )
    sizes_of = f"{facts['parameters']:,} weights and biases, {facts['constant_bytes']:,} bytes of constants"
    measured = facts["accuracy"]
    backend = facts.get("backend", "all")
    kernels = f"Kernels: {_KERNELS[backend]}. They skip zeros: run time depends on the {item}. {_STACK[backend]}"
    accuracy = f"{measured['top1']:.2%} of {measured['images']:,} test images" if measured else "not measured"
    return f"""{LICENCE}
/* {about} whose SHA-256 is below.
 * Its outputs are bit for bit those of LiteRT's reference kernels. Accuracy: {accuracy}.
 * {sizes_of}, {facts["scratch"]:,} of scratch. C99, no malloc, re-entrant.
{textwrap.fill(kernels, 117, initial_indent=" * ", subsequent_indent=" * ", break_on_hyphens=False)} */
#ifndef {upper}_H
#define {upper}_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif
#define {upper}_GENERATOR_VERSION {_c_string(contract.tool_version)}
#define {upper}_MODEL_SHA256 {_c_string(facts["source_sha256"])}
{_extents(facts, upper)}{_classes(facts, contract, upper)}#define {upper}_INPUT_BYTES {sizes[0]}
#define {upper}_OUTPUT_BYTES {sizes[1]}
#define {upper}_SCRATCH_BYTES {facts["scratch"]}
#define {upper}_LAYERS {len(facts["layers"])}
{_input_grid(facts, upper)}/* The real value of an output q is (q - zero) * scale. */
#define {upper}_OUTPUT_SCALE {out["scale"]!r}f
#define {upper}_OUTPUT_ZERO ({out["zero_point"]})

/* One {_what(facts, contract)}.
 * `{item}` has {upper}_INPUT_BYTES bytes, `answer` {upper}_OUTPUT_BYTES, `scratch` {upper}_SCRATCH_BYTES; none needs an
 * alignment, none may overlap another, and nothing outside of them is read or written. What `scratch` holds before the
 * call does not matter. Calls with different `answer` and `scratch` may run at the same time. */
void {name}_run({ends.one}, void *scratch);

/* The same for `count` {item}s, one after the other. */
void {name}_run_many({ends.many}, size_t count, void *scratch);

/* Name of the kernels that run on this processor. */
const char *{name}_backend(void);
#ifdef __cplusplus
}}
#endif
#endif
"""


def sizes_check(facts: dict[str, Any]) -> str:
    """C lines, to follow the header's text, that refuse a header of other sizes.

    If the compiler reads the header file before the ``.c``, its include guard leaves out the text in the ``.c``.
    """
    upper = facts["prefix"].upper()
    sizes = {end.upper(): math.prod(facts[end]["shape"]) for end in ("input", "output")}
    sizes["SCRATCH"] = facts["scratch"]
    differs = " || ".join(f"({upper}_{name}_BYTES != {size})" for name, size in sizes.items())
    return f"""/* To compare the header file with this file, compile with -include and the header's name: the compiler
 * then reads the header file instead of section 1. */
#if {differs}
#error "The header file belongs to another export"
#endif
"""


def _extents(facts: dict[str, Any], upper: str) -> str:
    if not takes_pixels(facts):
        return ""
    height, width, channels = (*facts["input"]["shape"], 1)[:3]
    return f"#define {upper}_HEIGHT {height}\n#define {upper}_WIDTH {width}\n#define {upper}_CHANNELS {channels}\n"


def is_classifier(facts: dict[str, Any]) -> bool:
    """Whether the net is a classifier, whose outputs are those of the classes."""
    return bool(facts.get("is_classifier", True))


def _classes(facts: dict[str, Any], contract: Contract, upper: str) -> str:
    """Number and names of the classes; empty if the net is no classifier."""
    if not is_classifier(facts):
        return ""
    names = ", ".join(map(_c_string, contract.class_names))
    return f"""#define {upper}_CLASSES {len(contract.class_names)}
/* The name of each class: const char *const names[] = {upper}_CLASS_NAMES; */
#define {upper}_CLASS_NAMES {{{names}}}
"""


def _input_grid(facts: dict[str, Any], upper: str) -> str:
    if takes_pixels(facts):
        return ""
    end = facts["input"]
    limits = "-128 to 127" if end["dtype"] == "int8" else "0 to 255"
    return f"""/* The input for a real value x is x / scale + zero, rounded to the nearest integer, from {limits}. */
#define {upper}_INPUT_SCALE {end["scale"]!r}f
#define {upper}_INPUT_ZERO ({end["zero_point"]})
"""


def _what(facts: dict[str, Any], contract: Contract) -> str:
    """What the net takes and returns, in words."""
    shape, given = (" x ".join(map(str, facts[end]["shape"])) for end in ("input", "output"))
    returned = f"{contract.output} of the classes" if is_classifier(facts) else f"{given} values"
    if takes_pixels(facts):
        return f"image of {shape} pixels, 0 (background) to 255, row by row, to {returned}"
    return f"input of {shape} values, of which the last dimension is contiguous, to {returned}"


def _c_string(text: str) -> str:
    """A string literal of printable ASCII characters for UTF-8 text. A question mark could begin a trigraph."""
    plain = set(map(ord, string.ascii_letters + string.digits + string.punctuation + " ")) - set(b'"\\?')
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'
