"""The architectures of the zoo in each format, compared with the plain converters' files.

    python benchmarks/zoo.py [NAME...]

Trains each for seconds (see ``tests/support/zoo.py``), exports it to int8, and writes ``benchmarks/results/zoo.md``.
Takes some 15 minutes on two cores. With names, only prints the rows of these architectures.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.zoo import TEST, TRAIN, ZOO, Row, examine  # noqa: E402

FORMATS = ("tflite", "onnx", "c")
RESULT = ROOT / "benchmarks" / "results" / "zoo.md"
HEAD = """# Other people's architectures

`python benchmarks/zoo.py`: each net is trained for seconds on {train:,} images of MNIST's training split (or data sets
made of them), exported to int8, and compared with Keras on {test:,} validation images. "plain" is the file of
TensorFlow's or ONNX Runtime's quantizer without any edit of ours; C is compared with the plain TFLite file on LiteRT's
reference kernels. |Δp| is the mean absolute difference of probabilities, ECE the calibration error. A row is sound if
the file is as close to Keras as the plain one (|Δp| at most 1.05 times, plus 0.002 / classes; ECE at most 0.5 pp
farther from Keras'), or if the export is refused with the cause and the remedy that are expected for it
(`EXPECTED_REFUSALS` in tests/support/zoo.py).
`rule` is the gate's verdict. The number of images is small, so the best possible verdict may be "undecidable".

{count} architectures, {files} files, {refused} refusals, {unsound} unsound. {seconds:.0f} s.

| architecture | format | rule | accuracy % | \\|Δp\\| | plain \\|Δp\\| | ECE Keras % | ECE % | plain ECE % | sound |
|---|---|---|---|---|---|---|---|---|---|
"""


def line(row: Row) -> str:
    if row.refusal:
        cause = " ".join(row.refusal.replace("|", "/").split())
        return f"| {row.name} | {row.format} | refused: {cause} | | | | | | | {'yes' if row.sound else '**NO**'} |"
    figures = (
        f"{100 * row.accuracy:.1f}", f"{row.distance:.5f}", f"{row.plain_distance:.5f}", f"{100 * row.ece_keras:.2f}",
        f"{100 * row.ece:.2f}", f"{100 * row.ece_plain:.2f}",
    )  # fmt: skip
    return f"| {row.name} | {row.format} | {row.rule} | {' | '.join(figures)} | {'yes' if row.sound else '**NO**'} |"


def main() -> int:
    names, begun, rows = sys.argv[1:] or list(ZOO), time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            for row in examine(name, FORMATS, Path(folder)):
                rows.append(row)
                print(line(row), flush=True)
    unsound = [row for row in rows if not row.sound]
    if not sys.argv[1:]:
        head = HEAD.format(
            train=TRAIN, test=TEST, count=len(names), files=sum(not row.refusal for row in rows),
            refused=sum(bool(row.refusal) for row in rows), unsound=len(unsound), seconds=time.monotonic() - begun,
        )  # fmt: skip
        RESULT.write_text(head + "\n".join(map(line, rows)) + "\n")
    return 1 if unsound else 0


if __name__ == "__main__":
    sys.exit(main())
