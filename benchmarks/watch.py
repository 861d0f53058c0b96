#!/usr/bin/env python3
"""Digits that `watch` announces in videos of moving digits, its processor time, and memory over many frames.

    python benchmarks/watch.py [--split validation] [--digits 200] [--frames 10000]

A video shows digits of MNIST, which move in straight lines: written on paper under uneven light, three at a time; on a
sheet of paper that moves over photographs; and painted on photographs and on textures, without paper. Each digit is in
view for 45 frames. The rules of `mnist_edge.camera.announcer` were chosen with ``--split train``, which writes nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from mnist_edge import data
from mnist_edge.measure.machine import described_processor, machine
from mnist_edge.results import Announcement
from mnist_edge.workflows.watch import WatchOptions, WatchResult, watch

RESULTS = Path(__file__).resolve().parent / "results" / "watch.md"
WIDTH, HEIGHT, RATE = 640, 480, 30
MEMORY = "## Memory"
# Frames that a digit is in view, and frames until the next one takes its place.
SHOWN, PAUSE = 45, 25
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Shown:
    """A digit in a video: its label, its first frame, and its box at the first and at the last frame."""

    label: int
    first: int
    start: tuple[float, float, float, float]
    end: tuple[float, float, float, float]

    def box(self, frame: int) -> tuple[float, ...]:
        """Left, top, width and height in a frame."""
        part = (frame - self.first) / SHOWN
        return tuple(a + part * (b - a) for a, b in zip(self.start, self.end, strict=True))

    def is_at(self, frame: int, box: tuple[int, int, int, int]) -> bool:
        """Whether the centre of a box is inside of this digit's."""
        left, top, width, height = self.box(frame)
        across, down = box[0] + box[2] / 2, box[1] + box[3] / 2
        inside = left <= across <= left + width and top <= down <= top + height
        return inside and self.first <= frame < self.first + SHOWN


@dataclass(frozen=True)
class Kind:
    """A kind of video: its background, digits in view at once, and how a digit is put on a frame."""

    background: Callable[[np.random.Generator, int], Values]
    lanes: int
    on_sheet: bool = False
    ink: float = 0.15


def paper(rng: np.random.Generator, number: int) -> Values:
    """Paper under light that falls off to one side."""
    across, down = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT))
    angle = rng.uniform(0, 2 * np.pi)
    light = 0.75 + 0.15 * (np.cos(angle) * across + np.sin(angle) * down)
    return light + rng.normal(0, 0.01, (HEIGHT, WIDTH))


def photograph(rng: np.random.Generator, number: int) -> Values:
    from skimage import data as pictures

    names = ("astronaut", "coffee", "chelsea", "rocket")
    values = getattr(pictures, names[number % len(names)])()
    return np.asarray(Image.fromarray(values).convert("L").resize((WIDTH, HEIGHT)), np.float64) / 255


def faint_photograph(rng: np.random.Generator, number: int) -> Values:
    """A photograph with a quarter of its contrast."""
    return 0.35 + 0.25 * (photograph(rng, number) - 0.5)


def texture(rng: np.random.Generator, number: int) -> Values:
    """Noise at several scales, of the contrast of a worn wall."""
    noise = np.zeros((HEIGHT, WIDTH))
    for size in (4, 16, 64):
        small = rng.normal(0, 1, (HEIGHT // size + 2, WIDTH // size + 2)).astype(np.float32)
        noise += np.asarray(Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)) / 3
    return np.clip(0.6 + 0.05 * noise, 0, 1)


KINDS = {
    "on paper, uneven light": Kind(paper, 3),
    "on a sheet over photographs": Kind(photograph, 1, on_sheet=True),
    "painted on a texture": Kind(texture, 3),
    "painted on photographs": Kind(photograph, 1, ink=1.0),
    "painted on faint photographs": Kind(faint_photograph, 1, ink=1.0),
}


def planned(kind: Kind, labels: NDArray[np.int64], rng: np.random.Generator) -> list[Shown]:
    """Where and when each digit is shown: digits one after the other in each lane, all lanes at the same time."""
    shown = []
    lane_height = HEIGHT / kind.lanes
    for at, label in enumerate(labels):
        lane, turn = at % kind.lanes, at // kind.lanes
        side = rng.uniform(0.55, 0.75) * min(lane_height, 200)
        top = lane * lane_height + (lane_height - side) * rng.uniform(0.3, 0.7, 2)
        left = rng.uniform(0.12, 0.88 - side / WIDTH) * WIDTH
        moved = float(np.clip(left + rng.uniform(-200, 200), 0.12 * WIDTH, 0.88 * WIDTH - side))
        shown.append(Shown(int(label), turn * (SHOWN + PAUSE), (left, top[0], side, side), (moved, top[1], side, side)))
    return shown


def drawn(
    kind: Kind, images: NDArray[np.uint8], shown: list[Shown], rng: np.random.Generator
) -> Iterator[NDArray[np.uint8]]:
    """The frames, uint8 (h, w)."""
    count = max(item.first for item in shown) + SHOWN + PAUSE
    background, number = kind.background(rng, 0), 0
    noise = rng.normal(0, 0.008, (8, HEIGHT, WIDTH))
    for frame in range(count):
        if frame // (SHOWN + PAUSE) != number:
            number += 1
            background = kind.background(rng, number)
        values = background.copy()
        for item, image in zip(shown, images, strict=True):
            if item.first <= frame < item.first + SHOWN:
                put(values, image, item.box(frame), kind)
        yield (np.clip(values + noise[frame % len(noise)], 0, 1) * 255).astype(np.uint8)


def put(values: Values, image: NDArray[np.uint8], box: tuple[float, ...], kind: Kind) -> None:
    """Put a digit into a frame. The box is that of MNIST's 28 x 28 pixels; the digit fills most of it."""
    left, top, side = round(box[0]), round(box[1]), round(box[2])
    if kind.on_sheet:
        margin = side // 3
        sheet = values[max(0, top - margin) : top + side + margin, max(0, left - margin) : left + side + margin]
        sheet[:] = 0.9
    scaled = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1))
    ink = np.asarray(scaled, np.float64) / 255
    place = values[top : top + side, left : left + side]
    ink = ink[: place.shape[0], : place.shape[1]]
    place[:] = place * (1 - ink) + kind.ink * ink


def encode(
    path: Path, frames: Iterator[NDArray[np.uint8]], codec: str = "libx264", rate: int = RATE, repeat_to: int = 0
) -> None:
    """Write frames as a video file; with MJPEG, repeat them until there are ``repeat_to``."""
    import av

    with av.open(str(path), "w") as container:
        stream, packets = None, []
        for values in frames:
            if stream is None:
                stream = container.add_stream(codec, rate=rate)
                stream.height, stream.width = values.shape
                stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                stream.bit_rate = 4_000_000
                stream.options = {"preset": "ultrafast"} if codec == "libx264" else {}
            for packet in stream.encode(av.VideoFrame.from_ndarray(values, format="gray")):
                packets.append(bytes(packet) if repeat_to else b"")
                container.mux(packet)
        for packet in stream.encode(None) if stream is not None else ():
            container.mux(packet)
        for number in range(len(packets), repeat_to):
            packet = av.Packet(packets[number % len(packets)])
            packet.stream, packet.pts, packet.dts, packet.is_keyframe = stream, number, number, True
            packet.time_base = 1 / Fraction(rate)
            container.mux(packet)


def watched(path: Path, after_frame: Callable[[], None] = lambda: None) -> tuple[WatchResult, list[Announcement]]:
    announced: list[Announcement] = []
    result = watch(WatchOptions(source=str(path), model="cnn"), announced.append, lambda digits, rate: after_frame())
    return result, announced


@dataclass(frozen=True)
class Score:
    """Counts of digits shown and of announcements."""

    shown: int
    right: int  # digits announced with the right label
    once: int  # digits with exactly one announcement, the right one
    wrong: int  # announcements with a wrong label where a digit is
    nothing: int  # announcements where no digit is


def score(shown: list[Shown], announced: list[Announcement]) -> Score:
    of_digit: list[list[int]] = [[] for _ in shown]
    nothing = 0
    for item in announced:
        at = [index for index, digit in enumerate(shown) if digit.is_at(item.frame, item.box)]
        if at:
            of_digit[at[0]].append(item.label)
        else:
            nothing += 1
    pairs = list(zip(shown, of_digit, strict=True))
    return Score(
        len(shown),
        sum(digit.label in labels for digit, labels in pairs),
        sum(labels == [digit.label] for digit, labels in pairs),
        sum(label != digit.label for digit, labels in pairs for label in labels),
        nothing,
    )


def resident_mb() -> float:
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("validation", "train"), default="validation")
    parser.add_argument("--digits", type=int, default=200, help="in each video; 0 to keep the committed table")
    parser.add_argument("--frames", type=int, default=10_000, help="for the memory; 0 to keep the committed figures")
    options = parser.parse_args()
    splits = data.load()
    split = splits.validation if options.split == "validation" else splits.train
    committed = RESULTS.read_text().partition(MEMORY) if RESULTS.exists() else ("", MEMORY, "")
    table, memory = committed[0].strip(), committed[2].strip()
    with tempfile.TemporaryDirectory() as folder:
        if options.digits:
            images, labels = split.images[: options.digits, ..., 0], split.labels[: options.digits]
            table = "\n".join(announcements(images, labels, Path(folder) / "video.mp4"))
        if options.frames:
            memory = memory_line(split.images[:3, ..., 0], split.labels[:3], options.frames, Path(folder) / "long.avi")
    if options.split == "validation":
        RESULTS.write_text(f"{table}\n\n{MEMORY}\n\n{memory}\n")


def announcements(images: NDArray[np.uint8], labels: NDArray[np.int64], path: Path) -> list[str]:
    """The table: a row for each kind of video."""
    lines = [
        "# Digits announced by `watch`", "",
        f"`python benchmarks/watch.py --digits {len(images)} --frames 0`: {WIDTH} x {HEIGHT} pixels, H.264, "
        f"{len(images)} digits of the validation split in each video, in view for {SHOWN} frames each; the "
        f"shipped cnn, one thread; {described_processor(machine())}. Right: digits announced with their label; once: "
        "and with no other. "
        "The two columns after these count announcements.", "",
        "| digits | right | right and once | wrong label | no digit there | frames | ms of processor time a frame |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, kind in KINDS.items():
        rng = np.random.default_rng(0)
        shown = planned(kind, labels, rng)
        encode(path, drawn(kind, images, shown, rng))
        begun = time.process_time()
        result, announced = watched(path)
        each = 1e3 * (time.process_time() - begun) / result.summary.frames
        counts = score(shown, announced)
        lines.append(
            f"| {name} | {counts.right} of {counts.shown} | {counts.once} | {counts.wrong} | {counts.nothing} | "
            f"{result.summary.frames} | {each:.1f} |"
        )
        print(lines[-1], flush=True)
    return lines


def memory_line(images: NDArray[np.uint8], labels: NDArray[np.int64], frames: int, path: Path) -> str:
    """Resident memory over many frames of three digits on paper, which come and go."""
    kind = KINDS["on paper, uneven light"]
    rng = np.random.default_rng(1)
    encode(path, drawn(kind, images, planned(kind, labels, rng), rng), "mjpeg", repeat_to=frames)
    samples: list[float] = []
    result, _ = watched(path, lambda: samples.append(resident_mb()))
    marks = [mark for mark in (100, 1000, 2000, 5000, 10_000) if mark <= len(samples)]
    cells = ", ".join(f"{samples[mark - 1]:.1f} MB after {mark:,} frames" for mark in marks)
    line = (
        f"`python benchmarks/watch.py --digits 0 --frames {frames}`: resident memory of the process, {cells}; "
        f"{result.summary.announced} digits were announced; {described_processor(machine())}."
    )
    print(line)
    return line


if __name__ == "__main__":
    sys.exit(main())
