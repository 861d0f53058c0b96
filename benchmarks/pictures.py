#!/usr/bin/env python3
"""Accuracy of the preprocessor ``digit``: on test images made into pictures of many kinds, and on other pictures.

    python benchmarks/pictures.py [--images 2000] [--model cnn] [--split test] [--scenes 100] [--before FOLDER]

With ``--split validation`` nothing is written, and the scenes are those for development; use it while changing the
preprocessor. FOLDER is a checkout of an earlier version, whose answers to the scenes are shown next to this version's.

Each row shows the same images, made into pictures (PNG or JPEG bytes) and read as `mnist-edge predict` reads them. The
last rows show pictures without a digit, and the share that is answered with ``null``. The preprocessor was developed on
the validation split; nothing was chosen by these figures. The scenes are described in `scenes`; each version answers
them in a separate process.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parent))  # tests import this file as a module of a package

import scenes

from mnist_edge import data
from mnist_edge.measure.machine import described_processor, machine
from mnist_edge.runtime import open_session
from mnist_edge.runtime.predict import predict_picture
from mnist_edge.store.workspace import SHIPPED

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "pictures.md"
BICUBIC = Image.Resampling.BICUBIC
Picture = Callable[[np.ndarray, np.random.Generator], bytes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    parser.add_argument("--scenes", type=int, default=100, help="of each kind")
    parser.add_argument("--before", type=Path, help="a checkout of an earlier version, to compare with")
    parser.add_argument("--scenes-alone", action="store_true", help="keep the rest of the results as it is")
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        print(json.dumps(scene_answers(options)))
        return
    if options.scenes_alone:
        table = scene_table(options)
        if options.split == "test":
            kept = RESULTS.read_text().split(HEADING)[0]
            RESULTS.write_text(kept.rstrip() + "\n\n" + "\n".join(table) + "\n")
        return
    test = data.load_test()[0] if options.split == "test" else data.load().validation
    images, labels = test.images[: options.images, ..., 0], test.labels[: options.images]
    session = open_session(SHIPPED / options.model / f"{options.model}-int8.tflite", "litert")
    base = float((session.predict(images).argmax(axis=1) == labels).mean())
    lines = [
        "# Pictures of digits, and of other things", "",
        f"`{command_line(options)}`: the shipped int8 file "
        f"on LiteRT, the first {options.images:,} test images, {base:.2%} right as raw arrays; "
        f"{described_processor(machine())}.", "",
        "| picture | right | lost, pp | `null` | ms each |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for name, make in DIGITS.items():
        draw = np.random.default_rng(0)
        contents = [make(image, draw) for image in images]
        begun = time.perf_counter()
        found = [predict_picture(session, "x", content)[0].prediction.label for content in contents]
        each = 1e3 * (time.perf_counter() - begun) / len(contents)
        right = float(np.mean([label == truth for label, truth in zip(found, labels, strict=True)]))
        lines.append(f"| {name} | {right:.2%} | {100 * (base - right):+.2f} | {found.count(None)} | {each:.1f} |")
        print(lines[-1], flush=True)
    lines += ["", "| no digit | answered `null` |", "|---|---|"]
    for name, other in OTHERS.items():
        draw = np.random.default_rng(0)
        answers = [predict_picture(session, "x", other(draw))[0].prediction.label for _ in range(200)]
        lines.append(f"| {name} | {answers.count(None) / len(answers):.1%} of {len(answers)} |")
        print(lines[-1], flush=True)
    lines += ["", *scene_table(options)]
    if options.split == "test":
        RESULTS.write_text("\n".join(lines) + "\n")


HEADING = "## Scenes"


def command_line(options: argparse.Namespace) -> str:
    """Command line that reproduces the results, to be written next to them."""
    words = ["--scenes-alone"] if options.scenes_alone else ["--images", str(options.images)]
    words += ["--model", options.model, "--scenes", str(options.scenes)]
    words += ["--before", "FOLDER"] if options.before else []
    words += [] if options.split == "test" else ["--split", options.split]
    return " ".join(["python benchmarks/pictures.py", *words])


def scene_answers(options: argparse.Namespace) -> dict[str, list[int]]:
    """Numbers of scenes of each kind with a right label, with null, and with a wrong label."""
    seeds = scenes.REPORTED if options.split == "test" else scenes.DEVELOPMENT
    validation = data.load().validation
    session = open_session(SHIPPED / options.model / f"{options.model}-int8.tflite", "litert")
    counts = {}
    for kind in scenes.KINDS:
        counts[kind] = [0, 0, 0]
        made = scenes.scenes(kind, options.scenes, seeds, validation.images[..., 0], validation.labels)
        for content, truth in made:
            label = predict_picture(session, "x", content)[0].prediction.label
            counts[kind][1 if label is None else 0 if label == truth else 2] += 1
    return counts


def scene_table(options: argparse.Namespace) -> list[str]:
    """Table of the scenes, for one version or two."""
    versions = {"before": options.before.resolve()} if options.before else {}
    versions["now"] = ROOT
    found = {}
    for name, folder in versions.items():
        command = [sys.executable, __file__, "--answer", "--split", options.split, "--scenes", str(options.scenes)]
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        done = subprocess.run(
            [*command, "--model", options.model], env=environment, cwd=folder, stdout=subprocess.PIPE, check=True
        )
        found[name] = json.loads(done.stdout.splitlines()[-1])
    lines = [
        HEADING, "",
        f"`{command_line(options)}`: {options.scenes} photograph-like scenes of each kind "
        "(`benchmarks/scenes.py`), of digits of the validation split, drawn strokes and printed digits. Confidently "
        "wrong: a label other than the digit's, or any label where there is none.", "",
        "| scene | " + " | ".join(f"{name}: {part}" for name in versions for part in PARTS) + " |",
        "|---" * (1 + 3 * len(versions)) + "|",
    ]  # fmt: skip
    kinds = list(scenes.KINDS)
    rows = {kind: {name: found[name][kind] for name in versions} for kind in kinds}
    for title, chosen in (("all", kinds), ("all but turned ones", [kind for kind in kinds if "turn" not in kind])):
        rows[title] = {name: np.sum([found[name][kind] for kind in chosen], axis=0).tolist() for name in versions}
    for title, row in rows.items():
        cells = [f"{count / sum(counts):.1%}" for counts in row.values() for count in counts]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    lines += ["", "*Before* is the version in FOLDER with its nets."] if options.before else []
    lines += ["", "A scene turned by a half is answered as an upright one: nothing in the picture tells the two apart."]
    print("\n".join(lines), flush=True)
    return lines


PARTS = ("right", "`null`", "confidently wrong")


def png(pixels: np.ndarray, mode: str | None = None) -> bytes:
    picture = Image.fromarray(pixels)
    if mode:
        picture = picture.convert(mode)
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def jpeg(pixels: np.ndarray, quality: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def scaled(image: np.ndarray, factor: float) -> np.ndarray:
    side = round(len(image) * factor)
    return np.asarray(Image.fromarray(image).resize((side, side), BICUBIC))


def shifted(image: np.ndarray, draw: np.random.Generator) -> bytes:
    canvas = np.zeros((56, 56), np.uint8)
    down, across = draw.integers(-8, 9, 2)
    canvas[14 + down : 42 + down, 14 + across : 42 + across] = image
    return png(canvas)


def on_paper(image: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Dark ink at a random place on a sheet, under uneven light, with a little noise."""
    ink = scaled(image, 8).astype(np.float64) / 255
    canvas = np.zeros((400, 300))
    top, left = draw.integers(0, 177), draw.integers(0, 77)
    canvas[top : top + 224, left : left + 224] = ink
    light = np.linspace(240, draw.integers(90, 180), 400)[:, None] * np.linspace(1, draw.uniform(0.7, 1), 300)
    return np.clip(light * (1 - 0.75 * canvas) + draw.normal(0, 3, canvas.shape), 0, 255).astype(np.uint8)


def as_rgba(image: np.ndarray, draw: np.random.Generator) -> bytes:
    """A drawing on transparent pixels, in a dark or a light colour."""
    colour = np.full((*image.shape, 4), (20, 30, 90, 0) if draw.random() < 0.5 else (240, 230, 200, 0), np.uint8)
    colour[..., 3] = image
    return png(colour)


DIGITS: dict[str, Picture] = {
    "PNG, as it is": lambda image, _: png(image),
    "shifted by up to 8 px on 56 x 56": shifted,
    "0.5 times": lambda image, _: png(scaled(image, 0.5)),
    "2 times": lambda image, _: png(scaled(image, 2)),
    "4 times": lambda image, _: png(scaled(image, 4)),
    "inverted": lambda image, _: png(255 - image),
    "on paper under uneven light": lambda image, draw: png(on_paper(image, draw)),
    "the same turned by up to 8 degrees, JPEG 60": lambda image, draw: jpeg(
        np.asarray(Image.fromarray(on_paper(image, draw)).rotate(draw.uniform(-8, 8), BICUBIC, fillcolor=150)), 60
    ),
    "JPEG, quality 40": lambda image, _: jpeg(image, 40),
    "16 bits": lambda image, _: png(image.astype(np.uint16) * 257),
    "RGBA, transparent ground": as_rgba,
    "palette": lambda image, _: png(image, "P"),
    "binary, 4 times": lambda image, _: png(np.where(scaled(image, 4) > 127, 0, 255).astype(np.uint8)),
    "binary, stretched to 16 x 16": lambda image, _: png(stretched(image)),
}


def stretched(image: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(image.max(axis=1) > 40), np.flatnonzero(image.max(axis=0) > 40)
    tight = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    small = np.asarray(Image.fromarray(tight).resize((16, 16), Image.Resampling.BILINEAR))
    return np.where(small > 110, 255, 0).astype(np.uint8)


def words(draw: np.random.Generator, count: int) -> str:
    letters = list("abcdefghijklmnopqrstuvwxyz")
    return " ".join("".join(draw.choice(letters, draw.integers(2, 9))) for _ in range(count))


def text(draw: np.random.Generator) -> bytes:
    picture = Image.new("L", (320, 100), 255)
    font = ImageFont.load_default(int(draw.integers(20, 50)))
    ImageDraw.Draw(picture).text((10, 20), words(draw, int(draw.integers(1, 4))), fill=0, font=font)
    return png(np.asarray(picture))


def printed(draw: np.random.Generator) -> bytes:
    picture = Image.new("L", (400, 560), 245)
    font = ImageFont.load_default(int(draw.integers(10, 18)))
    for line in range(20, 540, 24):
        ImageDraw.Draw(picture).text((20, line), words(draw, 9), fill=20, font=font)
    return png(np.asarray(picture))


def face(draw: np.random.Generator) -> bytes:
    from skimage.data import astronaut

    portrait = Image.fromarray(astronaut()[:220, 140:320]).rotate(draw.uniform(-20, 20))
    side = int(draw.integers(60, 300))
    return png(np.asarray(portrait.resize((side, side))))


def noise(draw: np.random.Generator) -> bytes:
    height, width = draw.integers(20, 300, 2)
    return png(np.clip(draw.normal(128, draw.integers(5, 60), (height, width)), 0, 255).astype(np.uint8))


def specks(draw: np.random.Generator) -> bytes:
    side = draw.integers(28, 200)
    return png(np.where(draw.random((side, side)) < draw.uniform(0.01, 0.4), 255, 0).astype(np.uint8))


OTHERS: dict[str, Callable[[np.random.Generator], bytes]] = {
    "blank": lambda draw: png(np.full(draw.integers(20, 300, 2), draw.integers(0, 256), np.uint8)),
    "noise": noise,
    "specks": specks,
    "text": text,
    "a page of print": printed,
    "a face": face,
}

if __name__ == "__main__":
    main()
