"""A folder with generated C that Arduino, PlatformIO and CMake (Pico SDK, ESP-IDF) take as a library.

Its files are made from the models' ``.c`` files alone, so that a model can be added to a folder that has others.
"""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from numpy.typing import NDArray

from mnist_edge import __version__
from mnist_edge.conversion.codegen.header import header, is_classifier, parameters
from mnist_edge.formats.c import facts_of

RECORD = "mnist-edge.json"  # the file that lists the files of a project
EXAMPLE = "classify"  # name of the Arduino sketch
_TEMPLATES = Path(__file__).parent
# Targets that CMake makes by itself, and names that it reserves.
_RESERVED = ("all", "clean", "depend", "edit_cache", "help", "install", "package", "rebuild_cache", "test")
# Longest name that PlatformIO takes; Arduino takes 63 characters.
_LONGEST_NAME = 50
# Follows the licence in a model's ``.c``. A compiler may have been given the name too.
_SHARE = b"#ifndef EDGE_SHARE_KERNELS\n#define EDGE_SHARE_KERNELS\n#endif\n"
_LONGEST_SENTENCE = 200  # characters of the description; Arduino and PlatformIO take 255


@dataclass(frozen=True)
class ProjectModel:
    """One model of a project: the stem of its files, and its ``.c``."""

    stem: str
    content: bytes

    @property
    def facts(self) -> dict[str, Any]:
        """Facts in the ``.c``, see `mnist_edge.formats.c`."""
        return facts_of(self.content)


def stem_of(path: Path, content: bytes) -> str:
    """Stem of a model's files in a project: that of its file, or, if builders may not take that, its prefix."""
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", path.stem)
    return path.stem if plain else str(facts_of(content)["prefix"])


def name_of(folder: Path) -> str:
    """Name of a project, from its folder: a name that Arduino, PlatformIO and CMake all take."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", folder.resolve().name).strip("-")[:_LONGEST_NAME].rstrip("-")
    if not re.search("[A-Za-z]", name):
        return f"models-{name}".rstrip("-")
    if name.lower().startswith("arduino"):  # which only Arduino's own libraries may do
        return f"models-{name}"[:_LONGEST_NAME].rstrip("-")
    return f"{name}-models" if name.lower() in _RESERVED else name


def model_files(model: ProjectModel, given: NDArray[Any], answer: NDArray[Any]) -> dict[str, bytes]:
    """Files of one model: its code, its header, and an input with its answer, by path in the project."""
    facts = model.facts
    golden = _filled("golden.h.in", {
        **_names(model), "input": _numbers(given), "answer": _numbers(answer),
    })  # fmt: skip
    files = (_sharing(model.content), header(facts).encode(), golden)
    return dict(zip(paths_of(model.stem), files, strict=True))


def _sharing(content: bytes) -> bytes:
    """The ``.c`` as it has its kernels in common with the other models of its program."""
    licence, rest = content.split(b"\n", 1)
    return content if rest.startswith(_SHARE) else b"%b\n%b%b" % (licence, _SHARE, rest)


def paths_of(stem: str) -> tuple[str, str, str]:
    """Paths of a model's files in a project: its code, its header, and an input with its answer."""
    return f"src/{stem}.c", f"src/{stem}.h", f"src/{stem}-golden.h"


def shared_files(name: str, models: Sequence[ProjectModel]) -> dict[str, bytes]:
    """Files that all models have in common, by path in the project.

    Args:
        name: of the project. models: all of its models.
    """
    headers = [f"{model.stem}.h" for model in models]
    sentence = textwrap.shorten(
        f"Neural networks as C: {', '.join(model.stem for model in models)}.", _LONGEST_SENTENCE
    )
    values = {
        "name": name, "version": _version(), "record": RECORD, "sentence": sentence, "headers": ",".join(headers),
        "sources": "".join(f"\n    src/{model.stem}.c" for model in models), "models": _models_table(models),
    }  # fmt: skip
    library = {
        "name": name, "version": _version(), "description": sentence, "keywords": "neural network, classifier",
        "homepage": "https://github.com/mnist-edge/mnist-edge", "frameworks": "*", "platforms": "*",
        "headers": headers, "build": {"srcDir": "src", "includeDir": "src"},
        "examples": [
            {"name": name, "base": f"examples/{name}", "files": [file]}
            for name, file in ((EXAMPLE, f"{EXAMPLE}.ino"), ("program", "main.c"))
        ],
    }  # fmt: skip
    sketch, program = (_example(models, language) for language in ("ino", "c"))
    return {
        "CMakeLists.txt": _filled("CMakeLists.txt.in", values),
        "README.md": _filled("README.md.in", values),
        "library.json": (json.dumps(library, indent=2) + "\n").encode(),
        "library.properties": _filled("library.properties.in", values),
        f"examples/{EXAMPLE}/{EXAMPLE}.ino": _filled("classify.ino.in", sketch),
        "examples/program/main.c": _filled("main.c.in", program),
    }


def _version() -> str:
    """The version of mnist-edge, without what a semantic version cannot have."""
    found = re.match(r"\d+\.\d+\.\d+", __version__)
    return found[0] if found else "0.0.0"


def _names(model: ProjectModel) -> dict[str, str]:
    facts, ends = model.facts, parameters(model.facts)
    return {
        "stem": model.stem, "prefix": facts["prefix"], "upper": facts["prefix"].upper(),
        "input_type": ends.input_type, "output_type": ends.output_type,
    }  # fmt: skip


def _example(models: Sequence[ProjectModel], language: str) -> dict[str, str]:
    """Parts of the example program in C, or of the Arduino sketch."""
    functions, calls = [], []
    for model in models:
        values = _names(model)
        body = _report(model, language)
        functions.append(_filled("example_function.c.in", {**values, "body": body}).decode())
        calls.append(f"    wrong += !{values['prefix']}_example();\n")
    includes = "\n".join(f'#include "{model.stem}.h"\n#include "{model.stem}-golden.h"' for model in models)
    return {"includes": includes, "functions": "".join(functions), "calls": "".join(calls)}


def _report(model: ProjectModel, language: str) -> str:
    """C lines that print the class of ``answer`` and whether it is the expected one."""
    upper = model.facts["prefix"].upper()
    verdict = 'is_expected ? "as expected" : "WRONG"'
    if not is_classifier(model.facts):
        if language == "c":
            return f'    printf("{model.stem}: answer %s\\n", {verdict});\n'
        return f'    Serial.print("{model.stem}: answer ");\n    Serial.println({verdict});\n'
    best = f"""    int best = 0;
    for (int i = 1; i < {upper}_OUTPUT_BYTES; i++)
        if (answer[i] > answer[best])
            best = i;
"""
    if math.prod(model.facts["output"]["shape"]) == 1:  # a sigmoid: the second class, if it is above one half
        best = f"    const int best = (answer[0] - {upper}_OUTPUT_ZERO) * {upper}_OUTPUT_SCALE > 0.5f;\n"
    names = f"    static const char *const names[] = {upper}_CLASS_NAMES;\n"
    if language == "c":
        return f'{names}{best}    printf("{model.stem}: class %s, %s\\n", names[best], {verdict});\n'
    return f"""{names}{best}    Serial.print("{model.stem}: class ");
    Serial.print(names[best]);
    Serial.print(", ");
    Serial.println({verdict});
"""


def _models_table(models: Sequence[ProjectModel]) -> str:
    """A Markdown table of the models."""
    rows = ["| model | header | function | bytes of constants | bytes of scratch |", "|---|---|---|---|---|"]
    for model in models:
        facts = model.facts
        rows.append(
            f"| {model.stem} | `{model.stem}.h` | `{facts['prefix']}_run` | {facts['constant_bytes']:,} | "
            f"{facts['scratch']:,} |"
        )
    return "\n".join(rows)


def _numbers(values: NDArray[Any]) -> str:
    """The elements of an array as lines of C."""
    text = ", ".join(str(int(value)) for value in values.ravel())
    return textwrap.fill(text, 116, initial_indent="    ", subsequent_indent="    ")


def _filled(name: str, values: Mapping[str, str]) -> bytes:
    return Template((_TEMPLATES / name).read_text()).substitute(values).encode()
