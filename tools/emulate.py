#!/usr/bin/env python3
"""Install the offline bundle on an emulated Raspberry Pi, and compare its results with this machine's.

    python tools/emulate.py [FOLDER ...] [--release bookworm|trixie] [--cpu cortex-a72 ...] [--images 500] [--data PATH]

In an arm64 root file system of Debian packages, as Raspberry Pi OS uses, without network: runs `install.sh` of the
bundle for that release; then, on each processor, self-tests, `verify`, `predict` and `bench`. On the first processor
int8 TFLite files run on --images test images, everything else on 500. `--cpu Haswell` verifies on an x86-64 processor
with AVX2 and without VNNI, with this Python. FOLDER is a model's folder, by default those of the shipped models; --data
has its test images, as in ``mnist-edge verify --data``, by default MNIST.

Labels are compared, not times: emulated times tell nothing about a board. Exit code 3 if this machine cannot emulate; 1
if a verdict differs, if a label differs that rounding does not explain, or if anything fails.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from emulation import PARTS, NotHereError, Processor, haswell, here, install, make_root, raspberry_pi
from PIL import Image

from mnist_edge import data
from mnist_edge.formats.float_answers import FloatAnswers
from mnist_edge.runtime.selftest import golden_path
from mnist_edge.store.manifest import MANIFEST_NAME, sha256_of
from mnist_edge.store.workspace import SHIPPED

# Largest number of images for everything but int8 TFLite files on the first processor.
FEW = 500
# Processors by default. A Cortex-A76 has the dot product, which takes the engines to other kernels.
DEFAULT_CPUS = ("cortex-a72", "cortex-a53")
# Pictures that `predict` classifies.
PICTURES = 20
ENGINES = {
    "bookworm": {".tflite": ("litert", "tflite-runtime"), ".onnx": ("onnxruntime",)},
    "trixie": {".tflite": ("litert",), ".onnx": ("onnxruntime",)},  # tflite-runtime has no wheel for Python 3.13
}
EXTRAS = {"bookworm": ["--extra", "onnx", "--extra", "litert"], "trixie": ["--extra", "onnx"]}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Folders of models whose files are compared, the release whose engines are used, and the test images.

    Attributes:
        images: number of test images of int8 TFLite files; others are compared on at most `FEW`.
        data: where the test images are, as in ``mnist-edge verify --data``; None for MNIST.
    """

    folders: list[Path]
    release: str
    images: int
    data: Path | None


class Report:
    """Rows of the results, and whether all of them are as expected."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.good = True
        self._begun = time.monotonic()

    def add(self, where: str, what: str, found: str, good: bool) -> None:
        """Add a row, and print it with the seconds since the start."""
        self.good &= good
        self.rows.append(f"| {where} | {what} | {found} | {'ok' if good else 'FAILED'} |")
        seconds = time.monotonic() - self._begun
        print(f"{seconds:5.0f} s  {where}: {what}: {found}{'' if good else '  FAILED'}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[SHIPPED / "dense", SHIPPED / "cnn"])
    parser.add_argument("--release", default="bookworm", choices=ENGINES)
    parser.add_argument("--cpu", action="append", choices=[*PARTS, "Haswell"])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--wheel", type=Path, help="mnist-edge's own wheel; by default it is built")
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    report, begun = Report(), time.monotonic()
    try:
        for at, cpu in enumerate(options.cpu or DEFAULT_CPUS):
            images = options.images if at == 0 else min(FEW, options.images)
            if cpu == "Haswell":
                comparison = Comparison(options.folders, "bookworm", images, options.data)
                compare_files(report, cpu, haswell(), Path(tempfile.mkdtemp()), comparison)
                continue
            root = make_root(options.release)
            where = f"{options.release} as {cpu}"
            if at == 0 and not installed(report, where, root, cpu, options):
                break
            board = raspberry_pi(root, cpu)
            check_selftests(report, where, board, options.release)
            comparison = Comparison(options.folders, options.release, images, options.data)
            compare_files(report, where, board, root / "home" / "work", comparison)
            compare_pictures(report, where, board, root)
            check_bench(report, where, board)
    except NotHereError as error:
        print(f"NOT EMULATED: {error}", file=sys.stderr)
        return 3
    seconds = time.monotonic() - begun
    print(f"{'as on this machine' if report.good else 'NOT AS ON THIS MACHINE'}, {seconds:.0f} s in all (emulated)")
    if options.markdown:
        head = ["| emulated | what | found | |", "|---|---|---|---|"]
        options.markdown.write_text("\n".join([*head, *report.rows, "", f"{seconds:.0f} s in all.", ""]))
    return 0 if report.good else 1


def installed(report: Report, where: str, root: Path, cpu: str, options: argparse.Namespace) -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "bundle.tar.gz"
        own = ["--wheel", str(options.wheel)] if options.wheel else []
        words = ["bundle", "--target", f"{options.release}-arm64", "--file", str(file), *EXTRAS[options.release], *own]
        made = here().run(here().python, "-m", "mnist_edge", *words)
        if made.returncode:
            report.add(where, "bundle", last_words(made), False)
            return False
        report.add(where, "bundle", f"{file.stat().st_size:,} bytes", True)
        done = install(root, file, cpu)
    good = done.returncode == 0
    report.add(where, "install.sh, no network", "installed, self-test passed" if good else last_words(done), good)
    return good


def check_selftests(report: Report, where: str, board: Processor, release: str) -> None:
    for engine in sorted({name for names in ENGINES[release].values() for name in names}):
        words = ["verify", "--shipped", "--selftest", "--engine", engine, "--json"]
        done = board.run(board.python, "-m", "mnist_edge", *words)
        rows = results(done, "selftests")
        good = done.returncode == 0 and bool(rows)
        largest = max((row["max_abs_difference"] for row in rows), default=float("nan"))
        found = f"{len(rows)} files, largest difference {largest:.4f}" if rows else last_words(done)
        report.add(where, f"self-test, {engine}", found, good)


def compare_files(report: Report, where: str, there: Processor, work: Path, comparison: Comparison) -> None:
    """Run `verify` on this machine and on the emulated processor, on the same images, and compare rules and labels."""
    this = here()
    test, _ = data.load_test(comparison.data)
    for folder in comparison.folders:
        for path in sorted(folder.glob("*-*.tflite")) + sorted(folder.glob("*-*.onnx")):
            full = "int8" in path.name and (path.suffix == ".tflite" or where == "Haswell")
            count = comparison.images if full else min(FEW, comparison.images)
            common = slice_of(folder, test, count, work)
            # Copied without the float export: verify would run it too, which takes minutes under emulation.
            alone = work / path.stem / path.name
            alone.parent.mkdir(exist_ok=True)
            for item in (path, folder / MANIFEST_NAME, golden_path(path)):
                shutil.copy(item, alone.parent)
            for engine in ENGINES[comparison.release][path.suffix]:
                words = ["-m", "mnist_edge", "verify", alone, "--engine", engine, "--json", *common]
                ours, theirs = this.run(this.python, *words), there.run(there.python, *map(inside, words))
                what = f"{path.name}, {engine}, {min(count, len(test)):,} images"
                report.add(where, what, *judge(ours, theirs, "int8" in path.name))


def judge(
    ours: subprocess.CompletedProcess[str], theirs: subprocess.CompletedProcess[str], int8: bool
) -> tuple[str, bool]:
    if not results(ours) or not results(theirs):
        return last_words(ours if not results(ours) else theirs), False
    one, two = results(ours)[0], results(theirs)[0]
    moved = [{flip["index"]: flip["after"] for flip in item["changes"]["flips"]} for item in (one, two)]
    differ = sorted(index for index in moved[0].keys() | moved[1].keys() if moved[0].get(index) != moved[1].get(index))
    found = f"{two['rule']}, {two['accuracy']:.2%}; labels that differ from this machine's: {differ or 'none'}"
    # Other processors round sums of floats in another order, which may change the label of a borderline image.
    return found, one["rule"] == two["rule"] and (not differ or not int8)


def compare_pictures(report: Report, where: str, board: Processor, root: Path) -> None:
    folder = root / "home" / "pictures"
    folder.mkdir(exist_ok=True)
    test, _ = data.load_test()
    for at in range(PICTURES):
        Image.fromarray(test.images[at, :, :, 0]).resize((140, 140)).save(folder / f"{at:02}.png")
    for model in ("dense", "cnn"):
        labels = []
        for place, path in ((here(), folder), (board, Path("/home/pictures"))):
            words = ["predict", path, "--model", model, "-o", "none", "--engine", "litert", "--json"]
            done = place.run(place.python, "-m", "mnist_edge", *words)
            rows = json.loads(done.stdout)["predictions"] if done.returncode == 0 else []
            labels.append([row["label"] for row in rows])
        same = len(labels[0]) == PICTURES and labels[0] == labels[1]
        report.add(where, f"predict, {model}", f"{PICTURES} pictures, labels {'equal' if same else labels}", same)


def check_bench(report: Report, where: str, board: Processor) -> None:
    words = ["bench", "--shipped", "--seconds", "0", "--count", "20", "--warmup", "2", "--processes", "1", "--json"]
    done = board.run(board.python, "-m", "mnist_edge", *words)
    rows = results(done)
    seen = sorted({f"{row['engine']} by {row['delegate']}" for row in rows})
    found = f"{len(rows)} configurations, {', '.join(seen)}" if rows else last_words(done)
    says_so = bool(rows) and "EMULATED" in json.loads(done.stdout)["machine"]["before"]["processor"]
    report.add(where, "bench (times emulated, none kept)", found, done.returncode == 0 and says_so)


def results(done: subprocess.CompletedProcess[str], key: str = "results") -> list[dict[str, Any]]:
    try:
        return list(json.loads(done.stdout)[key])
    except (ValueError, KeyError):
        return []


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """Exit code and last two lines of a failed program."""
    lines = (done.stderr or done.stdout).strip().splitlines()
    return f"ended with {done.returncode}: {' / '.join(lines[-2:])}"


def inside(word: object) -> str:
    """A word of a command line, with a path relative to the root file system of the board."""
    text = str(word)
    at = text.find("/home/work/")
    return text[at:] if at >= 0 else text


def slice_of(folder: Path, test: data.Split, images: int, work: Path) -> list[str]:
    """Options with which ``verify`` uses the first test images alone, and the float answers on them."""
    work.mkdir(exist_ok=True)
    target, rows = work / f"{images}.npz", work / f"{folder.name}-{images}-reference.npz"
    x, y = test.images[:images], test.labels[:images].astype(np.uint8)
    np.savez(target, x_train=x[:1], y_train=y[:1], x_test=x, y_test=y)
    whole = FloatAnswers.from_bytes((folder / "reference.npz").read_bytes())
    part = dataclasses.replace(
        whole, probabilities=whole.probabilities[:images], test_images_sha256=sha256_of(x.tobytes())
    )
    rows.write_bytes(part.to_bytes())
    return ["--data", str(target), "--reference", str(rows)]


if __name__ == "__main__":
    sys.exit(main())
