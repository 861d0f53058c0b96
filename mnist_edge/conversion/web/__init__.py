"""The folder of a WebAssembly module for browsers and Node: an ES module with its types, and the files of a package."""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from mnist_edge.conversion import web_page
from mnist_edge.formats import Contract, wasm
from mnist_edge.int8.quantize import Port, pixel_lookup
from mnist_edge.runtime.predict import RAW, SURE

RECORD = "mnist-edge.json"  # the file that lists the files of a folder
_TEMPLATES = Path(__file__).parent
# Texts of the declaration for models of pictures, and for those of features.
_TYPES = {
    "shape_text": "Height, width and channels of an image", "shape_type": "[number, number, number]",
    "input_text": "height * width * channels pixels, 0 for the background",
    "input_type": "Uint8Array | Uint8ClampedArray",
    "read_text": "Finds the digit in a picture and classifies it; a model for other pictures takes the whole picture",
    "read_type": "Reading",
}  # fmt: skip
_TYPES_OF_FEATURES = {
    "shape_text": "Sizes of an input", "shape_type": "number[]",
    "input_text": "values on the grid of `input`, which the network takes as they are",
    "input_type": "Int8Array | Uint8Array",
    "read_text": "Throws an error, because this model takes no pictures", "read_type": "never",
}  # fmt: skip


@dataclass(frozen=True)
class WebModel:
    """A model of such a folder.

    Attributes:
        name: of the model. content: the WebAssembly module. sha256: of the module.
        temperature: of the confidence calibration.
        inputs: golden inputs as the module takes them. answers: the outputs of the module to them.
    """

    name: str
    content: bytes
    sha256: str
    temperature: float
    inputs: NDArray[Any]
    answers: NDArray[Any]


def names(model: str) -> tuple[str, ...]:
    """Names of the files of a model's folder; a model for features has no page."""
    return ("README.md", f"{model}.html", f"{model}.mjs", f"{model}.d.mts", "package.json")


def files(model: WebModel) -> dict[str, bytes]:
    """The files of the folder by name, ``README.md`` first."""
    facts = wasm.facts_of(model.content)
    contract = Contract.from_text(facts["contract"])
    takes_pictures = _parts(model.content, wasm.FRONT_END) is not None
    kind = "image classifier" if takes_pictures else "classifier"
    title = f"{model.name}: {contract.quantization} {kind} for WebAssembly"
    # "<" is escaped because some texts, such as "</script", end the script element of a page.
    known = json.dumps(_facts(model, facts, contract), indent=1).replace("<", "\\u003c")
    script = _filled("module.mjs.in", {"model": known, "module": base64.b64encode(model.content).decode()})
    page = web_page.page(model.name, script.decode(), contract.preprocessor) if takes_pictures else None
    name = _plain_text(model.name)
    readme = _filled("README.md.in", {
        "name": name, "title": _plain_text(title), "version": contract.tool_version, "images": str(len(model.inputs)),
        "address": quote(model.name, safe=""), "example": _example(facts["input"], takes_pictures),
        "size": f"{len(script):,}", "sha256": model.sha256, "labels": _plain_text(", ".join(contract.class_names)),
        "page": f"| page | `{name}.html`: open it in a browser |\n" if page else "",
    })  # fmt: skip
    return {
        "README.md": readme,
        **({f"{model.name}.html": page} if page else {}),
        f"{model.name}.mjs": script,
        f"{model.name}.d.mts": _filled("module.d.mts.in", _TYPES if takes_pictures else _TYPES_OF_FEATURES),
        "package.json": (json.dumps(_package(model.name, title, contract), indent=2) + "\n").encode(),
    }


def _facts(model: WebModel, facts: dict[str, Any], contract: Contract) -> dict[str, Any]:
    """What the ES module knows of the model, as JSON."""
    shape = [*facts["input"]["shape"]]
    return {
        "name": model.name, "sha256": model.sha256, "version": contract.tool_version, "sizeBytes": len(model.content),
        "labels": contract.class_names, "shape": [*shape, 1] if len(shape) == 2 else shape, "kind": contract.output,
        "input": {key: facts["input"][key] for key in ("dtype", "scale", "zero_point")},
        "pixelValues": _pixel_values(facts["input"], contract) if _parts(model.content, wasm.FRONT_END) else None,
        "inputBytes": math.prod(shape), "outputBytes": math.prod(facts["output"]["shape"]),
        "output": {key: facts["output"][key] for key in ("dtype", "scale", "zero_point")},
        "temperature": model.temperature, "threshold": SURE, "certain": contract.preprocessor == RAW,
        "plain": _plain_parts(model.content), "frontEnd": _parts(model.content, wasm.FRONT_END),
        "golden": {
            "images": base64.b64encode(_packed(model.inputs)).decode(),
            "answers": base64.b64encode(model.answers.tobytes()).decode(),
        },
    }  # fmt: skip


def _pixel_values(source: dict[str, Any], contract: Contract) -> list[int] | None:
    """The byte of the network's input for each of the 256 pixels; None if it takes the pixels as they are."""
    port = Port(np.dtype(source["dtype"]), tuple(source["shape"]), source["scale"], source["zero_point"])
    lookup = pixel_lookup(port, contract.pixel_scale)
    return None if lookup is None else [int(value) for value in lookup.view(np.uint8)]


def _example(source: dict[str, Any], takes_pictures: bool) -> str:
    """The README's lines of JavaScript that classify an input."""
    size, shape = math.prod(source["shape"]), " x ".join(map(str, source["shape"]))
    if takes_pictures:
        return (
            f"const image = new Uint8Array({size});                    // {shape}, 0 is the background\n"
            "console.log(model.predict(image).probabilities);"
        )
    kind, (low, high) = ("Int8Array", (-128, 127)) if source["dtype"] == "int8" else ("Uint8Array", (0, 255))
    return (
        f"const features = new Float32Array({size});               // {shape} real values\n"
        "const { scale, zero_point } = model.input;\n"
        "const onGrid = (value) => "
        f"Math.min({high}, Math.max({low}, Math.round(value / scale) + zero_point));\n"
        f"console.log(model.predict({kind}.from(features, onGrid)).probabilities);"
    )


def _plain_text(text: str) -> str:
    """A text without what Markdown or a table's cell takes as more than text."""
    return escape(" ".join(text.split()), quote=False).replace("|", "&#124;").replace("`", "&#96;")


def _plain_parts(content: bytes) -> list[tuple[int, int]]:
    """Where in a module the one without vectors is: its code, and the constants if it shares them."""
    found = wasm.sections(content)
    plain = next(item.content for item in found if item.name == wasm.PLAIN)
    has_constants = any(item.number == wasm.DATA for item in wasm.sections(plain))
    shared = [(item.begin, item.end) for item in found if item.number == wasm.DATA and not has_constants]
    return [*(_parts(content, wasm.PLAIN) or []), *shared]


def _parts(content: bytes, name: str) -> list[tuple[int, int]] | None:
    """Where in a module the content of a custom section is; None if there is no such section."""
    found = next((item for item in wasm.sections(content) if item.name == name), None)
    return None if found is None else [(found.end - len(found.content), found.end)]


def _packed(inputs: NDArray[Any]) -> bytes:
    """Bytes, of which the zeros are replaced by a zero and their number: most pixels of a digit are background."""
    return re.sub(rb"\0{1,255}", lambda found: bytes([0, len(found[0])]), inputs.tobytes(), flags=re.DOTALL)


def _package(name: str, title: str, contract: Contract) -> dict[str, Any]:
    """The content of ``package.json``."""
    version = re.match(r"\d+\.\d+\.\d+", contract.tool_version)
    module, types = f"./{name}.mjs", f"./{name}.d.mts"
    address = f"./{quote(name, safe='')}.mjs"
    return {
        "name": re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-") or "model",
        "version": version[0] if version else "0.0.0", "description": title, "type": "module", "main": module,
        "types": types, "exports": {".": {"types": types, "default": address}}, "sideEffects": False,
        "engines": {"node": ">=18"}, "files": [f"{name}.*"],
    }  # fmt: skip


def _filled(name: str, values: dict[str, str]) -> bytes:
    return Template((_TEMPLATES / name).read_text()).substitute(values).encode()
