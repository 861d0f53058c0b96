#!/usr/bin/env python3
"""Latency of the page of `mnist-edge serve`, from lifting the pen to the answer, in Chromium on the same machine.

    python benchmarks/page.py [--drawings 40] [--before FOLDER]

FOLDER is a checkout of an earlier version. Needs chromium and chromedriver. Each version serves its own shipped cnn.
Drawings alternate between the versions and among the digits of `STROKES`, first by mouse, then by finger. A script in
the page measures the time from the event `pointerup` to the change of the answer (`performance.now()`).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
RESULTS = ROOT / "benchmarks" / "results" / "page.md"
TARGET_MS = 100
# Corners of the strokes of digits, as fractions of the drawing pad.
STROKES = {
    "1": [(0.5, 0.2), (0.5, 0.8)],
    "7": [(0.25, 0.25), (0.45, 0.24), (0.7, 0.25), (0.62, 0.4), (0.52, 0.6), (0.45, 0.8)],
    "0": [(0.5, 0.2), (0.33, 0.3), (0.28, 0.5), (0.33, 0.7), (0.5, 0.8), (0.67, 0.7), (0.72, 0.5), (0.67, 0.3),
          (0.5, 0.2)],
    "2": [(0.3, 0.35), (0.38, 0.24), (0.55, 0.22), (0.67, 0.33), (0.6, 0.5), (0.45, 0.65), (0.3, 0.78), (0.7, 0.78)],
}  # fmt: skip
# Collects the times of the answers after each `pointerup`.
WATCH = """
window.answers = [];
let lifted = 0;
addEventListener("pointerup", () => { lifted = performance.now(); }, true);
new MutationObserver(() => { if (lifted) answers.push(performance.now() - lifted); })
  .observe(document.getElementById("facts"), { childList: true, characterData: true, subtree: true });
window.begin = () => { answers.length = 0; lifted = 0; waiting = 0; };
const ask = window.fetch;
let waiting = 0;
window.fetch = (...words) => { waiting++; return ask(...words).finally(() => { waiting--; }); };
window.isDone = () => waiting === 0;
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drawings", type=int, default=40, help="with mouse and with finger, each")
    parser.add_argument("--before", type=Path, help="a checkout of an earlier version, to compare with")
    options = parser.parse_args()
    from mnist_edge.measure.machine import described_processor, machine

    versions = {"before": options.before.resolve()} if options.before else {}
    versions["now"] = ROOT
    taken: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        urls = {name: stack.enter_context(served(path, Path(scratch) / name)) for name, path in versions.items()}
        for kind, width in (("mouse, 1,200 px", 1200), ("finger, 390 px", 390)):
            with contextlib.ExitStack() as drivers:
                pages = {name: drivers.enter_context(opened(url, Path(scratch) / name, width))
                         for name, url in urls.items()}  # fmt: skip
                for number in range(options.drawings):
                    for name, driver in pages.items():
                        digit = list(STROKES)[number % len(STROKES)]
                        taken.setdefault((kind, name), []).append(answer_ms(driver, digit, width < 500))
    command = "python benchmarks/page.py" + (" --before FOLDER" if options.before else "")
    lines = [
        "# From lifting the pen to the answer", "",
        f"`{command} --drawings {options.drawings}`: milliseconds in the page, Chromium and `mnist-edge serve` on one "
        f"machine, {described_processor(machine())}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end.",
        "", f"| drawing | version | median | p95 | slowest | within {TARGET_MS} ms |", "|---|---|---|---|---|---|",
        *(
            f"| {kind} | {name} | {statistics.median(times):.0f} | {statistics.quantiles(times, n=20)[-1]:.0f} | "
            f"{max(times):.0f} | {sum(ms <= TARGET_MS for ms in times)} of {len(times)} |"
            for (kind, name), times in taken.items()
        ),
    ]  # fmt: skip
    print("\n".join(lines))
    RESULTS.write_text("\n".join(lines) + "\n")


@contextlib.contextmanager
def served(checkout: Path, folder: Path) -> Iterator[str]:
    """Start the service of a version; yields its address."""
    folder.mkdir()
    words = [sys.executable, "-m", "mnist_edge", "serve", "--port", "0", "-o", str(folder), "--model", "cnn"]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment, cwd=checkout) as process:
        assert process.stderr is not None
        line = next((line for line in process.stderr if line.startswith("serving at ")), None)
        if line is None:
            raise SystemExit(f"The service of {checkout} did not start.\n  remedy: start mnist-edge serve there.")
        try:
            yield line.removeprefix("serving at ").strip()
        finally:
            process.terminate()


@contextlib.contextmanager
def opened(url: str, folder: Path, width: int) -> Iterator[Any]:
    """Open the page in a new browser; yields the driver."""
    from tests.support.browser import browser

    with browser(folder, width, dark=False) as driver:
        driver.get(url)
        driver.execute_script(WATCH)
        yield driver


def answer_ms(driver: Any, digit: str, touch: bool) -> float:
    """Milliseconds from lifting the pen, after drawing a digit, to the last answer."""
    from tests.support.browser import draw_line

    driver.execute_script("document.getElementById('clear').click()")
    time.sleep(0.4)
    driver.execute_script("begin()")
    draw_line(driver, STROKES[digit], touch)
    time.sleep(2.0)  # longer than any answer takes, so that the last answer is that to the finished drawing
    answers = driver.execute_script("return isDone() ? answers : []")
    if not answers:
        raise SystemExit(f"The page gave no answer within 2 s of drawing a {digit}.")
    return float(answers[-1])


if __name__ == "__main__":
    main()
