"""The folder of a WebAssembly module for browsers and Node: an ES module with its types, and the files of a package."""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from numpy.typing import NDArray

from mnist_edge.conversion import web_page
from mnist_edge.formats import Contract, wasm
from mnist_edge.runtime.predict import RAW, SURE

RECORD = "mnist-edge.json"  # the file that lists the files of a folder
_TEMPLATES = Path(__file__).parent


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


def files(model: WebModel) -> dict[str, bytes]:
    """The files of the folder by name, ``README.md`` first."""
    facts = wasm.facts_of(model.content)
    contract = Contract.from_text(facts["contract"])
    title = f"{model.name}: {contract.quantization} image classifier for WebAssembly"
    script = _filled("module.mjs.in", {
        "title": title, "model": json.dumps(_facts(model, facts, contract), indent=1),
        "module": base64.b64encode(model.content).decode(),
    })  # fmt: skip
    takes_pictures = _parts(model.content, wasm.FRONT_END) is not None
    page = web_page.page(model.name, script.decode(), contract.preprocessor) if takes_pictures else None
    shape = " x ".join(map(str, facts["input"]["shape"]))
    readme = _filled("README.md.in", {
        "name": model.name, "title": title, "version": contract.tool_version, "images": str(len(model.inputs)),
        "bytes": str(math.prod(facts["input"]["shape"])), "shape": shape, "size": f"{len(script):,}",
        "sha256": model.sha256, "labels": ", ".join(contract.class_names),
        "page": f"| page | `{model.name}.html`: open it in a browser |\n" if page else "",
    })  # fmt: skip
    return {
        "README.md": readme,
        **({f"{model.name}.html": page} if page else {}),
        f"{model.name}.mjs": script,
        f"{model.name}.d.mts": (_TEMPLATES / "module.d.mts.in").read_bytes(),
        "package.json": (json.dumps(_package(model.name, title, contract), indent=2) + "\n").encode(),
    }


def _facts(model: WebModel, facts: dict[str, Any], contract: Contract) -> dict[str, Any]:
    """What the ES module knows of the model, as JSON."""
    shape = [*facts["input"]["shape"]]
    return {
        "name": model.name, "sha256": model.sha256, "version": contract.tool_version, "sizeBytes": len(model.content),
        "labels": contract.class_names, "shape": [*shape, 1] if len(shape) == 2 else shape, "kind": contract.output,
        "inputBytes": math.prod(shape), "outputBytes": math.prod(facts["output"]["shape"]),
        "output": {key: facts["output"][key] for key in ("dtype", "scale", "zero_point")},
        "temperature": model.temperature, "threshold": SURE, "certain": contract.preprocessor == RAW,
        "plain": _plain_parts(model.content), "frontEnd": _parts(model.content, wasm.FRONT_END),
        "golden": {
            "images": base64.b64encode(_packed(model.inputs)).decode(),
            "answers": base64.b64encode(model.answers.tobytes()).decode(),
        },
    }  # fmt: skip


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
    return {
        "name": re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-") or "model",
        "version": version[0] if version else "0.0.0", "description": title, "type": "module", "main": module,
        "types": types, "exports": {".": {"types": types, "default": module}}, "sideEffects": False,
        "engines": {"node": ">=18"}, "files": [f"{name}.*"],
    }  # fmt: skip


def _filled(name: str, values: dict[str, str]) -> bytes:
    return Template((_TEMPLATES / name).read_text()).substitute(values).encode()
