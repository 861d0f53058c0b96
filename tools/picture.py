"""Make the README's picture: the verdict on a model of a workspace as the terminal shows it, as SVG.

python tools/picture.py artifacts cnn tools/verdict.svg
"""

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from mnist_edge.cli.verdict import verdict_lines, verdict_table
from mnist_edge.parity.verdict import judge
from mnist_edge.results import ParityReport
from mnist_edge.results.serialization import from_json
from mnist_edge.store.manifest import Manifest

WIDTH = 80


def main(workspace: Path, model: str, target: Path) -> None:
    entries = Manifest.load(workspace / model).files.values()
    reports = [
        from_json(ParityReport, item) for entry in entries if "verdict" in entry for item in entry["verdict"]["results"]
    ]
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(f"$ mnist-edge export --format all --model {model}", highlight=False)
    checks = judge(reports)
    console.print(verdict_table(checks))
    for line in verdict_lines(checks):
        console.print(line, highlight=False)
    picture = console.export_svg(title="mnist-edge")
    # Rich refers to fonts in the network; without them the viewer's monospace font is used.
    target.write_text(re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
