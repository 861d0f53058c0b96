#!/usr/bin/env python3
"""Weights of 4 bits against weights of 8 bits in generated C: accuracy, verdict, memory and instructions.

    python benchmarks/int4.py                    the nets of the wheel: writes results/int4.md
    python benchmarks/int4.py --model FOLDER...  trained models' folders too, such as artifacts/dense

Each net is exported twice, by `mnist-edge export --format c`, with `--quantize int8` and `int4`. Flash, RAM and stack
are those that `export` reports for a Cortex-M4; executed instructions are counted on the board that QEMU emulates, for
test image 200 and for an image of noise. Answers of C are compared with those of the integer reference engine.

Needs a C compiler, gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools" / "mcu"))
import run as mcu

from mnist_edge import data
from mnist_edge.conversion import int4
from mnist_edge.errors import ContentError
from mnist_edge.formats.c import facts_of
from mnist_edge.results.precision import Precision
from mnist_edge.runtime.engines import native, reference
from mnist_edge.store.manifest import sha256_of
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.toolchains.boards import BOARDS
from mnist_edge.workflows.export import ExportOptions, export

TABLE = Path(__file__).resolve().parent / "results" / "int4.md"
COMPARED_IMAGES = 1000
HEAD = f"""# Weights of 4 bits in generated C

`python benchmarks/int4.py --model FOLDER...`; a folder is that of a net that `mnist-edge train` made with a seed.

Layers are chosen by the accuracy on the 5,000 validation images. Accuracies are those on the 10,000 test images, which
choose nothing. Flash, and RAM with the stack, are bytes on a Cortex-M4, as `export` reports them; instructions are
thousands on it for test image 200 and, in brackets, for an image of noise (GCC, `-Os`, QEMU). Verdicts have the default
margins. The last column is how many answers of C differ from those of the integer reference engine, on the first
{COMPARED_IMAGES:,} test images.

"""
COLUMNS = (
    "net", "bits", "layers with 4 bits", "float %", "C %", "drop pp", "verdict", "flash", "RAM", "instructions",
    "differ",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, nargs="*", default=[], help="trained models' folders")
    parser.add_argument("-o", "--output", type=Path, default=TABLE)
    arguments = parser.parse_args()
    splits = data.load()
    rows, refused = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number, model in enumerate([SHIPPED / "cnn", SHIPPED / "dense", *arguments.model]):
            for precision in (Precision.INT8, Precision.INT4):
                try:
                    row = measured(model, precision, Path(folder) / str(number), splits)
                except ContentError as error:
                    refused.append(f"{titled(model)}, with {precision}: {error.cause}")
                    continue
                rows.append(row)
                print(row, flush=True)
    head = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|\n"
    notes = "".join(f"\n{note}\n" for note in refused)
    arguments.output.write_text(f"{HEAD}{head}{chr(10).join(rows)}\n{notes}")
    return 0


def measured(model: Path, precision: Precision, workspace: Path, splits: data.Splits) -> str:
    """A row of the table.

    Args:
        model: a folder of the wheel, or one of a trained model. workspace: a folder for the exports.

    Raises:
        ContentError: no layer of the model can have weights of 4 bits.
    """
    is_shipped = model.parent == SHIPPED
    copy = workspace / model.name
    if not copy.exists():
        shutil.copytree(model, copy)
    given = copy / f"{model.name}-int8.tflite"
    of_source: dict[str, Any] = {"model": str(copy)}
    if is_shipped:  # its Keras model is not in the wheel
        of_source = {"model": str(given), "reference": copy / "reference.npz"}
    options = ExportOptions(
        **of_source, formats=("c",), precision=precision, workspace=workspace / "out", data=splits, engine="native"
    )
    made = export(options)
    if not made.artifacts:
        raise made.failures[0].error
    (artifact,), (size,) = made.artifacts, made.footprints
    (report,) = artifact.parity
    text = Path(artifact.path).read_bytes()
    board = BOARDS["cortex-m4"]
    noise = np.random.default_rng(0).integers(0, 256, (1, 28, 28, 1)).astype(np.uint8)
    counts = []
    for images in (splits.test.images[199:200], noise):
        with tempfile.TemporaryDirectory() as folder:
            counts.append(round(mcu.run(text, images, board, Path(folder), counts=True)["instructions"] / 1000))
    drop = 100 * (report.reference_accuracy - report.accuracy)
    cells = (
        titled(model), "4 and 8" if size.four_bit_layers else "8", ", ".join(size.four_bit_layers) or "none",
        f"{100 * report.reference_accuracy:.2f}", f"{100 * report.accuracy:.2f}", f"{drop:+.2f}",
        "passed" if report.passed else f"failed: {report.rule}", f"{size.flash_bytes:,}",
        f"{size.ram_bytes + (size.stack_bytes or 0):,}", f"{counts[0]:,} ({counts[1]:,})",
        str(differing(text, given, precision, splits)) if is_shipped else "not compared",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def titled(model: Path) -> str:
    """Name and recipe of a net in the table, from its folder."""
    return f"{model.name}, {'recipe best' if model.parent == SHIPPED else model.parent.name}"


def differing(text: bytes, given: Path, precision: Precision, splits: data.Splits) -> int:
    """Number of test images whose outputs in C differ from those of the integer reference engine."""
    content = given.read_bytes()
    if precision == Precision.INT4:
        content = int4.quantized(content, int4.data_of(splits), 1 / 255)
    if facts_of(text)["source_sha256"] != sha256_of(content):
        raise RuntimeError("The TFLite file is not the one that the C was made from.")
    images = splits.test.images[:COMPARED_IMAGES]
    expected = np.concatenate([reference.load(content, 1).run(part) for part in np.split(images, 10)])
    return int((native.load(text, 1).run(images) != expected).any(axis=1).sum())


if __name__ == "__main__":
    sys.exit(main())
