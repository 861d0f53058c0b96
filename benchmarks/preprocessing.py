#!/usr/bin/env python3
"""Cost of preprocessing one picture: decoding, conversion to grey values, finding the digit, scaling it to 28 x 28.

    python benchmarks/preprocessing.py [--before FOLDER] [--rounds 15] [--folder 2000]

FOLDER is a checkout of an earlier version. The versions run in separate processes, in turns, and read the same
pictures: drawings as the page of `mnist-edge serve` sends them (PNG of 280 x 280, black strokes 20 pixels wide on
white, RGBA) and photographs of paper (JPEG of 640 x 480 and of 12 megapixels, uneven light, noise). The strokes are
those of validation images. Last, `mnist-edge predict` of a folder of 2,000 pictures, from start to end.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "preprocessing.md"
PICTURES = 24
SHAPE = (28, 28)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a checkout of an earlier version, to compare with")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=int, default=2000, help="pictures for the command; 0 to leave it out")
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
    commands: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in versions} for kind in FOLDERS}
    with tempfile.TemporaryDirectory() as folder:
        make_pictures(Path(folder))
        for _ in range(options.rounds):
            for name, path in versions.items():
                runs[name].append(in_a_process(path, Path(folder)))
        for kind in FOLDERS if options.folder else ():
            make_folder(Path(folder), kind, options.folder)
            for _ in range(COMMAND_ROUNDS):
                for name, path in versions.items():
                    commands[kind][name].append(predict_time(path, Path(folder) / kind))
    command = "python benchmarks/preprocessing.py" + (" --before FOLDER" if options.before else "")
    command += "" if options.folder == parser.get_default("folder") else f" --folder {options.folder}"
    lines = [
        "# Time to prepare a picture for the network", "",
        f"`{command} --rounds {options.rounds}`: medians over {options.rounds} processes of each version, in turns, "
        f"and in parentheses the quartiles; µs of processor time a picture, "
        f"{PICTURES} pictures of each kind ({LARGE_PICTURES} of 12 megapixels), one thread; "
        f"{described_processor(machine())}.", "",
        "| picture | part | " + " | ".join(versions) + (" | ratio |" if options.before else " |"),
        "|---" * (2 + len(versions) + bool(options.before)) + "|",
    ]  # fmt: skip
    for kind, title in KINDS.items():
        for part in PARTS:
            times = {name: [run[kind][PARTS.index(part)] for run in runs[name]] for name in versions}
            lines.append(row(f"{title} | {part}", times))
    lines += [] if not options.folder else [
        "", f"`mnist-edge predict FOLDER --json` of {options.folder:,} pictures: seconds of processor time from start "
        f"to end, over {COMMAND_ROUNDS} runs of each version, in turns.", "",
        "| pictures | " + " | ".join(versions) + (" | ratio |" if options.before else " |"),
        "|---" * (1 + len(versions) + bool(options.before)) + "|",
        *[row(title, commands[kind], ".1f") for kind, title in FOLDERS.items()],
    ]  # fmt: skip
    print("\n".join(lines))
    RESULTS.write_text("\n".join(lines) + "\n")


KINDS = {
    "drawing": "drawing, PNG of 280 x 280, RGBA",
    "grey": "drawing, PNG of 280 x 280, grey",
    "photograph": "photograph, JPEG of 640 x 480",
    "large": "photograph, JPEG of 4000 x 3000",
}
PARTS = ("decoding", "finding", "whole")
LARGE_PICTURES = 4
# Folders for the command: which pictures are in them, again and again.
FOLDERS = {"mnist": "PNG of 28 x 28, as MNIST's", "photograph": "photographs, JPEG of 640 x 480"}
COMMAND_ROUNDS = 3


def row(title: str, times: dict[str, list[float]], digits: str = ",.0f") -> str:
    """Row of a table: median and quartiles of each version, and the ratio of the medians of two."""
    cells = [title, *(figure(found, digits) for found in times.values())]
    if "before" in times:
        cells.append(f"{statistics.median(times['before']) / statistics.median(times['now']):.2f}")
    return f"| {' | '.join(cells)} |"


def figure(times: Sequence[float], digits: str) -> str:
    low, middle, high = statistics.quantiles(times, n=4)
    return f"{middle:{digits}} ({low:{digits}} to {high:{digits}})"


def in_a_process(version: Path, folder: Path) -> dict[str, list[float]]:
    """Measure one version once: µs per picture for preprocessing and for decoding alone, by kind of picture."""
    environment = {**os.environ, "PYTHONPATH": str(version), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--measure", str(folder)]
    done = subprocess.run(command, env=environment, cwd=version, capture_output=True, text=True, check=True)
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


def measured(folder: Path) -> dict[str, list[float]]:
    """Processor time in this process in µs per picture, by `PARTS`, after one pass that is not measured."""
    from mnist_edge.vision.digit import NoDigit
    from mnist_edge.vision.pictures import prepare, read_picture

    # An earlier version reads pictures in the same way for every preprocessor.
    has_parameter = "preprocessor" in inspect.signature(read_picture).parameters
    arguments = {"preprocessor": "digit"} if has_parameter else {}
    times: dict[str, list[float]] = {}
    for kind in KINDS:
        contents = [path.read_bytes() for path in sorted(folder.glob(f"{kind}-*"))]
        for is_measured in (False, True):
            decoding = finding = 0.0
            for content in contents:
                begun = time.process_time()
                picture = read_picture(content, "x", **arguments)
                decoded = time.process_time()
                with contextlib.suppress(NoDigit):
                    prepare(picture, "digit", SHAPE)
                decoding, finding = decoding + decoded - begun, finding + time.process_time() - decoded
            if is_measured:
                times[kind] = [1e6 * part / len(contents) for part in (decoding, finding, decoding + finding)]
    return times


def predict_time(version: Path, folder: Path) -> float:
    """Processor time in s, of all threads, of the command `predict` for a folder of pictures."""
    environment = {**os.environ, "PYTHONPATH": str(version), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mnist_edge", "predict", str(folder), "--json", "-o", str(folder / "none")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, cwd=version, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def make_folder(folder: Path, kind: str, count: int) -> None:
    """Make a folder of links to the pictures of a kind."""
    pictures = sorted(folder.glob(f"{kind}-*"))
    (folder / kind).mkdir()
    for number in range(count):
        picture = pictures[number % len(pictures)]
        os.link(picture, folder / kind / f"{number:04}{picture.suffix}")


def make_pictures(folder: Path) -> None:
    """Write the pictures, drawn along the skeletons of validation images."""
    from PIL import ImageDraw, ImageFilter
    from skimage.morphology import skeletonize

    from mnist_edge import data

    images = data.load().validation.images[:PICTURES, ..., 0]
    draw = np.random.default_rng(0)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"mnist-{number:02}.png")
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
        strokes = grey.filter(ImageFilter.GaussianBlur(1))
        photograph(strokes, (640, 480), draw).save(folder / f"photograph-{number:02}.jpg", quality=85)
        if number < LARGE_PICTURES:
            large = strokes.resize((1750, 1750), Image.Resampling.BICUBIC)
            photograph(large, (4000, 3000), draw).save(folder / f"large-{number:02}.jpg", quality=85)


def photograph(strokes: Image.Image, size: tuple[int, int], draw: np.random.Generator) -> Image.Image:
    """Dark strokes at a random place on paper, under uneven light, with the noise of a camera, in colour."""
    ink = np.zeros(size[::-1], np.float32)
    top, left = (draw.integers(0, whole - side + 1) for whole, side in zip(ink.shape, strokes.size[::-1], strict=True))
    ink[top : top + strokes.height, left : left + strokes.width] = 1 - np.asarray(strokes, np.float32) / 255
    light = np.linspace(235, draw.integers(110, 190), size[1], dtype=np.float32)[:, None]
    light = light * np.linspace(1, draw.uniform(0.75, 1), size[0], dtype=np.float32)
    paper = light * (1 - 0.75 * ink) + 4 * draw.standard_normal(ink.shape, np.float32)
    colours = np.stack([paper, paper * 0.97, paper * 0.9], axis=2)
    return Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))


if __name__ == "__main__":
    main()
