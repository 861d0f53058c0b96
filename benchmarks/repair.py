"""Repair of nets that were damaged on purpose.

    python benchmarks/repair.py [--write] [NAME...]

Trains three small nets for seconds, damages them (see ``tests/support/damaged.py``), exports each to int8 TFLite and
ONNX, and then with ``--until-pass``. Two damages are examined at a time. With names, only those damages. With
``--write``, writes ``benchmarks/results/repair.md``; with names too, only those damages' rows change in it.
"""

from __future__ import annotations

import functools
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mnist_edge import data, models  # noqa: E402
from mnist_edge.models.backend import import_keras  # noqa: E402
from mnist_edge.results.repair import Advice, Attempt  # noqa: E402
from mnist_edge.workflows.export import ExportOptions, export  # noqa: E402
from tests.support.damaged import DAMAGES, Damage, trained  # noqa: E402

FORMATS = ("tflite", "onnx")
RESULT = ROOT / "benchmarks" / "results" / "repair.md"
HEAD = """# Repair of damaged nets

`python benchmarks/repair.py --write`: small nets, trained for seconds on MNIST, are damaged so that the float model
answers as before and its int8 file fails. Each is exported to int8, which shows the gate's verdict and the advice, and
then with `export --until-pass`, which chooses on the 5,000 validation images and judges the chosen file once on the
10,000 test images. "float drop" is the change of the float model's accuracy by the damage, in percentage points; the
net whose calibration images lack a class is trained again, on other data.

{count} damaged nets: {red} red before in every format; {green} of these green afterwards in every format, with int8 or
mixed precision. The damage of {layers} is in a layer: the advice names it in every format for {named}.

| damage | layer | float drop | format | before | advice: layer, cause, class | repaired by | tried | after |
|---|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """The outcome of one damage in one format: verdicts on the test images, advice, and attempts."""

    name: str
    layer: str
    float_drop_pp: float
    format: str
    before: str
    advice: Advice | None
    attempts: tuple[Attempt, ...]
    after: str

    @property
    def repair(self) -> str:
        """What the first attempt that passed had changed; empty if none passed."""
        return next((item.what for item in self.attempts[1:] if item.passed), "")


def examine(name: str, damage: Damage, model: object, mnist: data.Splits, folder: Path) -> list[Row]:
    """Damage a net, export it to each format without and with repairs."""
    copy = import_keras().models.clone_model(model)
    copy.set_weights(model.get_weights())
    test = mnist.test
    right = float((models.outputs(copy, test.images).argmax(axis=1) == test.labels).mean())
    source = damage.apply(copy, mnist)
    drop = right - float((models.outputs(copy, source.test.images).argmax(axis=1) == source.test.labels).mean())
    path = folder / f"{''.join(letter if letter.isalnum() else '-' for letter in name)}.keras"
    copy.save(path)
    rows = []
    for format_ in FORMATS:
        options = {"model": str(path), "workspace": folder / "workspace", "formats": (format_,), "data": source}
        before, after = export(ExportOptions(**options)), export(ExportOptions(**options, until_pass=True))
        verdicts = [
            next(
                (item.rule for made in result.artifacts if made.quantization != "float32" for item in made.parity
                 if not item.passed), "passed",
            )
            for result in (before, after)
        ]  # fmt: skip
        advice = before.advice[0] if before.advice else None
        rows.append(Row(name, damage.layer, 100 * drop, format_, verdicts[0], advice, after.attempts, verdicts[1]))
    return rows


def line(row: Row) -> str:
    advice, told = row.advice, "none"
    if advice is not None:
        fault = advice.fault
        where = f"{fault.layer}, {fault.cause}" if fault is not None else "no layer"
        told = where + (f", class {advice.lost_class} -{advice.lost_class_pp:.1f} pp" if advice.lost_class else "")
    tried = max(len(row.attempts) - 1, 0)
    cells = (row.name, row.layer or "none", f"{row.float_drop_pp:.2f}", row.format, row.before, told, row.repair, tried)
    return f"| {' | '.join(map(str, cells))} | {row.after} |"


def examined(name: str) -> list[Row]:
    """The rows of one damage, in a process that trains each net once."""
    damage = DAMAGES[name]
    with tempfile.TemporaryDirectory() as folder:
        return examine(name, damage, _trained(damage.net), _mnist(), Path(folder))


@functools.cache
def _mnist() -> data.Splits:
    return data.load()


@functools.cache
def _trained(net: str) -> object:
    return trained(net, _mnist())


def main() -> int:
    words = [word for word in sys.argv[1:] if word != "--write"]
    names, rows = words or list(DAMAGES), []
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for found in pool.map(examined, names):
            rows += found
            for row in found:
                print(line(row), flush=True)
                for item in row.attempts:
                    figures = (item.size_bytes, item.accuracy, item.brier, item.p50_us)
                    print("   ", item.what, *figures, item.rule, item.verdict if item.rule == "impossible" else "")
                if row.advice is not None:
                    print("   ", *row.advice.sentences, sep="\n    ", flush=True)
    if "--write" in sys.argv[1:]:
        RESULT.write_text(table({row.name: [line(other) for other in rows if other.name == row.name] for row in rows}))
        print(RESULT.read_text())
    return 0


def table(made: dict[str, list[str]]) -> str:
    """The page with rows by damage, and the present page's rows of the other damages."""
    old = RESULT.read_text().splitlines() if RESULT.is_file() else []
    rows = {name: made.get(name) or [row for row in old if row.startswith(f"| {name} |")] for name in DAMAGES}
    cells = {name: [[cell.strip() for cell in row.split("|")[1:-1]] for row in group] for name, group in rows.items()}
    red = [name for name, group in cells.items() if group and all(cell[4] != "passed" for cell in group)]
    green = [
        name for name in red if all(cell[8] == "passed" and cell[6] not in ("", "float16") for cell in cells[name])
    ]
    layers = [name for name in red if DAMAGES[name].layer]
    named = [name for name in layers if all(cell[5].startswith(f"{DAMAGES[name].layer},") for cell in cells[name])]
    counts = {"count": len(rows), "red": len(red), "green": len(green), "layers": len(layers), "named": len(named)}
    return HEAD.format(**counts) + "\n".join(row for group in rows.values() for row in group) + "\n"


if __name__ == "__main__":
    sys.exit(main())
