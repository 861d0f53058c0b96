#!/usr/bin/env python3
"""Cost of preprocessing one picture: decoding, conversion to grey values, finding the digit, scaling it to 28 x 28.

    python benchmarks/preprocessing.py [--before FOLDER] [--rounds 15]

FOLDER is a checkout of an earlier version. The versions run in separate processes, in turns, and read the same
pictures: drawings as the page of `mnist-edge serve` sends them (PNG of 280 x 280, black strokes 20 pixels wide on
white, RGBA) and photographs of paper (JPEG of 640 x 480, uneven light, noise). The strokes are those of validation
images.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "preprocessing.md"
PICTURES = 24
SHAPE = (28, 28)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a checkout of an earlier version, to compare with")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(options.measure)))
        return
    import tempfile

    from mnist_edge.measure.machine import described_processor, machine

    versions = {"before": options.before.resolve()} if options.before else {}
    versions["now"] = ROOT
    runs: dict[str, list[dict[str, list[float]]]] = {name: [] for name in versions}
    with tempfile.TemporaryDirectory() as folder:
        make_pictures(Path(folder))
        for _ in range(options.rounds):
            for name, path in versions.items():
                runs[name].append(in_a_process(path, Path(folder)))
    command = "python benchmarks/preprocessing.py" + (" --before FOLDER" if options.before else "")
    lines = [
        "# Time to prepare a picture for the network", "",
        f"`{command} --rounds {options.rounds}`: medians over {options.rounds} processes of each version, in turns, "
        f"and in parentheses the quartiles; µs of processor time a picture, "
        f"{PICTURES} pictures of each kind, one thread; {described_processor(machine())}.", "",
        "| picture | " + " | ".join([f"{name}: {part}" for part in ("whole", "decoding") for name in versions])
        + (" | ratio |" if options.before else " |"),
        "|---" * (1 + 2 * len(versions) + bool(options.before)) + "|",
    ]  # fmt: skip
    for kind, title in KINDS.items():
        cells = [
            figure([run[kind][part] for run in runs[name]]) for part in (0, 1) for name in versions
        ]  # fmt: skip
        if options.before:
            before, now = (statistics.median(run[kind][0] for run in runs[name]) for name in ("before", "now"))
            cells.append(f"{before / now:.1f}")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    print("\n".join(lines))
    RESULTS.write_text("\n".join(lines) + "\n")


KINDS = {
    "drawing": "drawing, PNG of 280 x 280, RGBA",
    "grey": "drawing, PNG of 280 x 280, grey",
    "photograph": "photograph, JPEG of 640 x 480",
}


def figure(times: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(times, n=4)
    return f"{middle:,.0f} ({low:,.0f} to {high:,.0f})"


def in_a_process(version: Path, folder: Path) -> dict[str, list[float]]:
    """Measure one version once: µs per picture for preprocessing and for decoding alone, by kind of picture."""
    environment = {**os.environ, "PYTHONPATH": str(version), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--measure", str(folder)]
    done = subprocess.run(command, env=environment, cwd=version, capture_output=True, text=True, check=True)
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


def measured(folder: Path) -> dict[str, list[float]]:
    """Processor time in this process in µs per picture, after one pass that is not measured."""
    from mnist_edge.vision.digit import NoDigit
    from mnist_edge.vision.pictures import prepare, read_picture

    def whole(content: bytes) -> None:
        try:
            prepare(read_picture(content, "x"), "digit", SHAPE)
        except NoDigit:
            return

    times: dict[str, list[float]] = {}
    for kind in KINDS:
        contents = [path.read_bytes() for path in sorted(folder.glob(f"{kind}-*"))]
        for work in (whole, read_picture):
            for content in contents:
                work(content)
            begun = time.process_time()
            for content in contents:
                work(content)
            times.setdefault(kind, []).append(1e6 * (time.process_time() - begun) / len(contents))
    return times


def make_pictures(folder: Path) -> None:
    """Write the pictures, drawn along the skeletons of validation images."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFilter
    from skimage.morphology import skeletonize

    from mnist_edge import data

    images = data.load().validation.images[:PICTURES, ..., 0]
    draw = np.random.default_rng(0)
    for number, image in enumerate(images):
        grey = Image.new("L", (280 * 4, 280 * 4), 255)
        pen = ImageDraw.Draw(grey)
        for row, column in np.argwhere(skeletonize(image > 100)):
            middle = 40 * column + 20, 40 * row + 20
            pen.ellipse([at - 40 for at in middle] + [at + 40 for at in middle], fill=0)
            for down, across in ((0, 1), (1, -1), (1, 0), (1, 1)):
                end = row + down, column + across
                if end[0] < 28 and 0 <= end[1] < 28 and skeletonize(image > 100)[end]:
                    pen.line([*middle, 40 * end[1] + 20, 40 * end[0] + 20], fill=0, width=80)
        grey = grey.resize((280, 280), Image.Resampling.BOX)
        grey.save(folder / f"grey-{number:02}.png")
        drawing = grey.convert("RGBA")
        drawing.save(folder / f"drawing-{number:02}.png")
        ink = np.zeros((480, 640))
        top, left = draw.integers(0, 481 - 280), draw.integers(0, 641 - 280)
        ink[top : top + 280, left : left + 280] = 1 - np.asarray(grey.filter(ImageFilter.GaussianBlur(1))) / 255
        light = np.linspace(235, draw.integers(110, 190), 480)[:, None] * np.linspace(1, draw.uniform(0.75, 1), 640)
        paper = light * (1 - 0.75 * ink) + draw.normal(0, 4, ink.shape)
        colours = np.stack([paper, paper * 0.97, paper * 0.9], axis=2)
        Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8)).save(
            folder / f"photograph-{number:02}.jpg", quality=85
        )


if __name__ == "__main__":
    main()
