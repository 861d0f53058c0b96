#!/usr/bin/env python3
"""Errors on digits of other origins than MNIST: pen trajectories, and fonts that imitate handwriting.

    python benchmarks/other_origins.py --pendigits FOLDER --fonts FOLDER [FILE...] [--write]

FILEs are int8 files; without any, the shipped ones. The digits choose recipes and constants of the preprocessor; they
are never trained on. Trajectories: UCI's "Pen-Based Recognition of Handwritten Digits" (E. Alpaydin and F. Alimoglu);
the folder holds pendigits-train.unipen.gz and pendigits-test.unipen.gz. Fonts: every .ttf and .otf in a folder, for
example of the Debian packages named in benchmarks/results/other_origins.md.

Each digit is drawn dark on uneven light paper and read in two ways. *Network*: its ink alone, scaled and centred by
mass as MNIST's images are. *Picture*: as `mnist-edge predict` reads a PNG of it; ``null`` counts as rejected.

A second table has the same errors by the digits' weight of strokes and aspect ratio; a third has the reasons of the
rejections: how many digits each loses, and how many pictures without a digit it stops.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parent))  # tests import this file as a module of a package

import pictures
from recipe_search import Strokes, trajectories

from mnist_edge.measure.machine import described_processor, machine
from mnist_edge.runtime import Session, open_session
from mnist_edge.runtime.predict import predict_picture
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.vision.strokes import HALF, normalize, resize, stroke_width, trimmed

RESULTS = Path(__file__).resolve().parent / "results" / "other_origins.md"
INPUT = (28, 28)
# Renderings of trajectories: the side of the picture in pixels, and the pen's width in thousandths of it.
PENS = ((160, 15), (160, 60), (160, 120), (40, 50))
# Every so many trajectories are drawn; sizes in pixels and slants in degrees of the digits of a font.
EVERY = 5
FONT_SIZES, FONT_SLANTS = (24, 60, 110), (-12, 0, 12)
# Largest reflectance of ink, range of that of paper, and standard deviation of the noise, as fractions of full scale.
INK, PAPER, NOISE = 0.25, (0.6, 0.95), 0.01
# Number of pictures of each kind without a digit, and range of the sides of stains and shadows, in pixels.
OF_A_KIND, SIDES = 100, (33, 120)
# Bounds of the rows of the second table: width of strokes, and width of the digit, as shares of the digit's height.
WEIGHTS, RATIOS = (0.05, 0.1, 0.15), (0.3, 0.6, 0.9)
# What the table needs to be understood.
NOTES = [
    "No file was trained on these digits; the upstrokes that were added to training images have angles and lengths",
    "like those of pendigits. Trajectories: every fifth of UCI's pendigits, in four renderings. Fonts: the",
    "Debian packages fonts-breip, -bwht, -dancingscript, -dkg-handwriting, -ecolier-court, -femkeklaver, -humor-sans,",
    "-joscelyn, -kaushanscript, -kiloji, -klee, -kristi, -leckerli-one and -rufscript, in three sizes and slants.",
    "*Network*: answers for the ink alone, scaled and centred. *Picture*: answers of `predict` for it on paper.",
]


@dataclass(frozen=True)
class Digit:
    """A drawn digit: its origin, its ink as uint8 (h, w), and its label."""

    origin: str
    ink: NDArray[np.uint8]
    label: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--pendigits", type=Path, help="folder of pendigits-*.unipen.gz")
    parser.add_argument("--fonts", type=Path, help="folder of fonts")
    parser.add_argument("--every", type=int, default=EVERY, help="take every so many trajectories")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    options = parser.parse_args()
    digits = [
        *(trajectory_digits(options.pendigits, options.every) if options.pendigits else []),
        *(font_digits(options.fonts) if options.fonts else []),
    ]
    if not digits:
        parser.error("name --pendigits, --fonts or both")
    lines = [
        "| file | origin | digits | network, % wrong | picture, % wrong | of these rejected, % |",
        "|---|---|---|---|---|---|",
    ]
    properties = [
        "| file | property, as a share of the digit's height | digits | network, % wrong | picture, % wrong |"
        " of these rejected, % |",
        "|---|---|---|---|---|---|",
    ]
    reasons = [
        "| file | reason | digits rejected, % | read right by the network alone, % | others stopped, % |",
        "|---|---|---|---|---|",
    ]
    others = list(without_digits())
    for file in options.files or [SHIPPED / name / f"{name}-int8.tflite" for name in ("dense", "cnn")]:
        session = open_session(file, "litert")
        readings = Readings.of(session, digits)
        lines += rows(readings, file.stem, digits)
        properties += property_rows(readings, file.stem, digits)
        reasons += reason_rows(session, file.stem, readings, others)
    lines += [
        "",
        "By shape of the ink.",
        "",
        *properties,
        "",
        f"Why: all digits, and {len(others):,} pictures of noise, text, faces, stains and shadows.",
        "",
        *reasons,
    ]
    print("\n".join(lines))
    if options.write:
        words = ["python benchmarks/other_origins.py"]
        words += [f"--{name} FOLDER" for name in ("pendigits", "fonts") if vars(options)[name]]
        head = f"`{' '.join([*words, '--write'])}`, {described_processor(machine())}."
        RESULTS.write_text("\n".join(["# Digits of other origins", "", head, "", *NOTES, "", *lines]) + "\n")


@dataclass(frozen=True)
class Readings:
    """Results of reading the same digits by the network alone and in pictures.

    Attributes:
        network: whether the network's answer for the ink alone is wrong, bool (n,).
        picture: whether the answer for the picture is wrong or missing, bool (n,).
        reasons: why a picture got no label; None if it got one.
    """

    network: NDArray[np.bool_]
    picture: NDArray[np.bool_]
    reasons: list[str | None]

    @classmethod
    def of(cls, session: Session, digits: Sequence[Digit]) -> Readings:
        """Read digits by the network alone and in pictures."""
        labels = np.array([digit.label for digit in digits])
        network = session.predict(np.stack([normalized(digit.ink) for digit in digits])).argmax(axis=1) != labels
        draw = np.random.default_rng(0)
        answers = [answer(session, on_paper(digit.ink, draw)) for digit in digits]
        picture = np.array([label != str(truth) for (label, _), truth in zip(answers, labels, strict=True)])
        return cls(network, picture, [reason for _, reason in answers])


def answer(session: Session, content: bytes) -> tuple[str | None, str | None]:
    """Label of a picture and None, or None and the reason why it has none, without numbers in brackets."""
    found = predict_picture(session, "x", content)[0].prediction
    return (None, re.sub(r" \(.*\)", "", str(found.reason))) if found.label is None else (str(found.label), None)


def rows(readings: Readings, name: str, digits: Sequence[Digit]) -> Iterator[str]:
    """Rows of the table of errors for one file: one for each origin, and one for all digits."""
    origins = np.array([digit.origin for digit in digits])
    for origin in [*dict.fromkeys(origins), "all"]:
        yield row(readings, name, origin, (origins == origin) | (origin == "all"))


def property_rows(readings: Readings, name: str, digits: Sequence[Digit]) -> Iterator[str]:
    """Rows of the table by shape of the ink for one file: by width of strokes, and by width of the digit."""
    shapes = np.array([shape_of(digit.ink) for digit in digits])
    for values, bounds, what in zip(shapes.T, (WEIGHTS, RATIOS), ("strokes", "digit"), strict=True):
        for low, high in zip((0, *bounds), (*bounds, np.inf), strict=True):
            words = f"from {low} to {high}" if low and high < np.inf else f"below {high}" if not low else f"above {low}"
            yield row(readings, name, f"width of the {what} {words}", (low <= values) & (values < high))


def shape_of(ink: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean width of the strokes and width of the digit, as shares of the digit's height; (0, 0) without ink.

    Ink is what is more than half of 255.
    """
    if not (ink > HALF).any():
        return 0.0, 0.0
    digit = trimmed(ink, HALF)
    height, width = digit.shape
    return stroke_width(np.pad(digit > HALF, 1)) / height, width / height


def row(readings: Readings, name: str, what: str, at: NDArray[np.bool_]) -> str:
    """Row of a table of errors for the digits that ``at``, bool (n,), selects; ``what`` names them."""
    rejected = np.array([reason is not None for reason in readings.reasons])
    errors = (readings.network, readings.picture, rejected)
    shares = " | ".join(f"{100 * wrong[at].mean():.2f}" if at.any() else "" for wrong in errors)
    return f"| {name} | {what} | {at.sum()} | {shares} |"


def reason_rows(session: Session, name: str, readings: Readings, others: Sequence[bytes]) -> Iterator[str]:
    """Rows of the table of reasons for one file; the last counts digits that get a wrong label in pictures only."""
    lost, right, count = Counter(readings.reasons), Counter[str | None](), len(readings.reasons)
    right.update(reason for reason, wrong in zip(readings.reasons, readings.network, strict=True) if not wrong)
    stopped = Counter(answer(session, content)[1] for content in others)
    for reason in sorted({*lost, *stopped} - {None}, key=lambda reason: (-lost[reason], str(reason))):
        shares = f"{100 * lost[reason] / count:.2f} | {100 * right[reason] / count:.2f}"
        yield f"| {name} | {reason} | {shares} | {100 * stopped[reason] / len(others):.2f} |"
    misread = np.array([reason is None for reason in readings.reasons]) & readings.picture & ~readings.network
    yield f"| {name} | none: another label than the network's alone | | {100 * misread.mean():.2f} | |"


def without_digits() -> Iterator[bytes]:
    """Pictures without a digit: those of benchmarks/pictures.py, and small stains and shadows on paper."""
    for make in (*pictures.OTHERS.values(), stain, shadow):
        draw = np.random.default_rng(0)
        for _ in range(OF_A_KIND):
            yield make(draw)


def stain(draw: np.random.Generator) -> bytes:
    """PNG of blank paper with a soft round spot."""
    side = draw.integers(*SIDES)
    down, across = np.mgrid[:side, :side] - draw.uniform(0, side, (2, 1, 1))
    spot = np.exp(-(down**2 + across**2) / (2 * draw.uniform(0.08, 0.2) * side * side))
    return on_paper((255 * draw.uniform(0.2, 0.9) * spot).astype(np.uint8), draw)


def shadow(draw: np.random.Generator) -> bytes:
    """PNG of blank paper with the straight edge of a shadow across it."""
    side = draw.integers(*SIDES)
    down, across = np.mgrid[:side, :side]
    is_dark = across + draw.uniform(-1, 1) * down > draw.uniform(0.2, 0.8) * side
    return on_paper((255 * draw.uniform(0.1, 0.5) * is_dark).astype(np.uint8), draw)


def normalized(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Ink scaled and centred as MNIST's images are, uint8 (28, 28); black if there is none."""
    pixels = normalize(ink, INPUT)
    return np.zeros(INPUT, np.uint8) if pixels is None else pixels


def on_paper(ink: NDArray[np.uint8], draw: np.random.Generator) -> bytes:
    """A PNG of ink on light paper under uneven light, with a little noise."""
    height, width = ink.shape
    down, across = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    slope = draw.uniform(-0.1, 0.1, 2)
    paper = draw.uniform(*PAPER) + slope[0] * down + slope[1] * across
    values = paper * (1 - ink / 255) + draw.uniform(0, INK) * (ink / 255) + draw.normal(0, NOISE, ink.shape)
    return pictures.png(np.rint(255 * values.clip(0, 1)).astype(np.uint8))


def trajectory_digits(folder: Path, every: int) -> Iterator[Digit]:
    """Pen trajectories of both files, evenly chosen, drawn with each pen."""
    found = [digit for name in ("train", "test") for digit in trajectories(folder / f"pendigits-{name}.unipen.gz")]
    for side, pen in PENS:
        for label, strokes in found[::every]:
            yield Digit(f"trajectories, {side} pixels, pen {pen / 10:g} %", drawn(strokes, side, pen), label)


def drawn(strokes: Strokes, side: int, pen: int) -> NDArray[np.uint8]:
    """A trajectory drawn with a round pen, uint8 (side, side); the digit takes 60 % of the picture."""
    points = np.array([point for stroke in strokes for point in stroke], float)
    low, high = points.min(axis=0), points.max(axis=0)
    large = 4 * side  # drawn 4 times as large and reduced, for soft edges
    factor = 0.6 * large / max(1.0, (high - low).max())
    width = max(1, round(pen / 1000 * 0.75 * large))
    picture = Image.new("L", (large, large))
    canvas = ImageDraw.Draw(picture)
    for stroke in strokes:
        at = [tuple((np.array(point) - (low + high) / 2) * factor + large / 2) for point in stroke]
        canvas.line(at, fill=255, width=width, joint="curve")
        for x, y in at:
            canvas.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
    return resize(np.asarray(picture), (side, side))


def font_digits(folder: Path) -> Iterator[Digit]:
    """Digits of every font in a folder, in several sizes and slants."""
    for path in sorted([*folder.rglob("*.ttf"), *folder.rglob("*.otf")]):
        for size in FONT_SIZES:
            font = ImageFont.truetype(path, 4 * size)
            for slant in FONT_SLANTS:
                for label in range(10):
                    side = 8 * size
                    picture = Image.new("L", (side, side))
                    left, top, right, bottom = font.getbbox(str(label))
                    at = (side - left - right) / 2, (side - top - bottom) / 2  # the ink is in the middle
                    ImageDraw.Draw(picture).text(at, str(label), 255, font)
                    turned = picture.transform(
                        (side, side), Image.Transform.AFFINE, _shear(slant, side), Image.Resampling.BICUBIC
                    )
                    yield Digit("fonts", resize(np.asarray(turned), (2 * size, 2 * size)), label)


def _shear(degrees: float, side: int) -> tuple[float, ...]:
    """Coefficients of a shear to the right, as Pillow's affine transformation takes them."""
    amount = float(np.tan(np.deg2rad(degrees)))
    return (1, amount, -amount * side / 2, 0, 1, 0)


if __name__ == "__main__":
    main()
