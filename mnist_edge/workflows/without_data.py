"""``export`` of an int8 TFLite file without data: C that is compared with the file itself, and has no verdict."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge import formats
from mnist_edge.conversion import CONVERTERS, ExportConfig, c, codegen, file_name
from mnist_edge.conversion.codegen.header import takes_pixels
from mnist_edge.conversion.export import code_sha256
from mnist_edge.data.catalog import MNIST, MNIST_IMAGE
from mnist_edge.data.load import ENVIRONMENT_VARIABLE
from mnist_edge.errors import ContentError, StageError, UsageError, suggest
from mnist_edge.formats import Contract
from mnist_edge.formats.c import facts_of
from mnist_edge.int8.quantize import Port, as_inputs, dequantize
from mnist_edge.parity import Gate
from mnist_edge.results import Artifact
from mnist_edge.results.precision import Precision
from mnist_edge.runtime.engines import ENGINES, native, reference
from mnist_edge.store.files import read_bytes
from mnist_edge.store.manifest import Manifest, fingerprint, sha256_of
from mnist_edge.store.workspace import folder_of, source_name
from mnist_edge.training import UnfitError, require_int8, require_no_other
from mnist_edge.workflows.export_options import ExportOptions

INPUTS = 50  # random ones, on which the C is compared with the file


def applies(options: ExportOptions, model: str) -> bool:
    """Whether a TFLite file is exported without data: none are named, and the file is no classifier of MNIST's images.

    False for a damaged file: ``export`` with data raises the error that names the file.
    """
    path = Path(model)
    named = options.data is not None or options.reference is not None or bool(os.environ.get(ENVIRONMENT_VARIABLE))
    if (
        path.suffix != ".tflite"
        or named
        or options.build
        or not {"c", "all"} & set(options.formats)
        or options.precision != Precision.INT8
    ):
        return False
    try:
        file = formats.read(read_bytes(path), path)
    except ContentError:
        return False
    if len(file.inputs) != 1 or len(file.outputs) != 1:
        return False
    is_mnist = file.inputs[0].shape[1:] in (MNIST_IMAGE, (*MNIST_IMAGE, 1))
    return not is_mnist or file.outputs[0].shape[1:] != (len(MNIST.class_names),)


def with_remedy(error: UnfitError, options: ExportOptions, model: str) -> UnfitError:
    """An error about the data, whose remedy adds that ``--data`` can be left out, if that makes C without data."""
    if options.data is None or not applies(replace(options, data=None), model):
        return error
    without = "Without --data, C of a TFLite file is compared with the file itself."
    return UnfitError(error.cause, f"{error.remedy} {without}")


def make(options: ExportOptions, workspace: Path, model: str) -> Artifact:
    """Make C of the file, and compare its outputs with those of the integer reference engine on random inputs.

    Raises:
        UsageError: an option is about a verdict, or the folder holds another model.
        ContentError: the file is damaged or not int8, or an op has no kernel.
        MissingError: there is no C compiler.
        StageError: an output differs, or a file cannot be written.
    """
    _require_no_verdict_options(options)
    folder, content = folder_of(workspace, model), read_bytes(Path(model))
    require_int8(Path(model), content)
    config = ExportConfig("c", Precision.INT8, options.backend)
    facts = {
        "format": config.format, "source_sha256": sha256_of(content), "backend": options.backend,
        "code_sha256": code_sha256(CONVERTERS["c"].sources),
    }  # fmt: skip
    key, name, manifest = fingerprint(facts), file_name(folder.name, config), Manifest.load(folder)
    require_no_other(manifest, source_name(Path(model)), facts["source_sha256"])
    fresh = not manifest.is_current(name, key)
    if fresh:
        try:
            text = c.from_tflite(content, folder.name, backend=options.backend)
        except StageError as error:
            raise ContentError(f"{model}: {error.cause}", error.remedy) from error
        _compare(text, content)
        entry = {"key": key, "format": "c", "quantization": Precision.INT8, "model": folder.name, "made_by": facts}
        header = codegen.header(facts_of(text)).encode()
        manifest.commit({name: (text, entry), f"{Path(name).stem}.h": (header, {"key": key})})
    made = manifest.files[name]
    return Artifact(
        path=str(folder / name), format="c", model=folder.name, quantization=Precision.INT8, sha256=made["sha256"],
        size_bytes=made["size_bytes"], fresh=fresh,
    )  # fmt: skip


def _require_no_verdict_options(options: ExportOptions) -> None:
    """Check that no option is given that only an export with a verdict uses.

    Raises:
        UsageError: there is one, or no engine of that name.
    """
    if options.engine != "auto" and options.engine not in ENGINES:
        raise suggest(options.engine, ["auto", *ENGINES], "engine")
    verdict = {
        "--engine": options.engine != "auto", "--until-pass": options.until_pass,
        "a margin of the gate": options.gate != Gate(),
    }  # fmt: skip
    for name, is_given in verdict.items():
        if is_given:
            raise UsageError(
                f"Without data there is no verdict, for which {name} would be used.",
                "Leave the option out, or name labelled data with --data.",
            )


def _compare(text: bytes, content: bytes) -> None:
    """Compare the outputs of C with those of the integer reference engine on random inputs.

    Raises:
        MissingError: there is no C compiler.
        StageError: an output differs.
    """
    code, engine = native.load(text, 1), reference.load(content, 1)
    facts, draw, differing, total = facts_of(text), np.random.default_rng(0), 0, 0
    limits = np.iinfo(code.input.dtype)
    for _ in range(INPUTS):  # one at a time: the engine's int64 activations of all inputs can take gigabytes
        inputs = draw.integers(limits.min, limits.max, (1, *code.input.shape), code.input.dtype, endpoint=True)
        given = inputs
        if takes_pixels(facts):
            given = as_inputs(inputs, engine.input, Contract.from_text(facts["contract"]).pixel_scale)
        elif engine.input.scale is None:  # the file's own input is float
            given = _real(inputs, code.input)
        answers, expected = code.run(inputs), engine.run(given)
        if engine.output.scale is None:
            answers = _real(answers, code.output)
        differing += np.count_nonzero(answers != expected)
        total += expected.size
    if differing:
        raise StageError(
            f"{differing:,} of {total:,} output values of the C differ from the integer reference engine's.",
            "Report this with the file: it is a fault of mnist-edge.",
        )


def _real(values: NDArray[Any], port: Port) -> NDArray[np.float32]:
    """Values on the grid of an input or output as real values."""
    return dequantize(values, port.scale or 1.0, port.zero_point)
