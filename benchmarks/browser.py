#!/usr/bin/env python3
"""Latency of the exported WebAssembly in Chromium and in Node, against onnxruntime-web and LiteRT.js.

    python benchmarks/browser.py [--processes 3] [--rounds 200] [--workspace artifacts]

Needs chromium, chromedriver, node and npm. Models that are not in the workspace are trained (recipe ``quick``) and
exported. Each process is a new browser with one page, which holds all libraries. They take turns: in every round each
library answers one image per call for some 2 ms, with one thread. Ratios are those of the same round. Inputs are made
before the clock starts: pixels for the generated module and ONNX Runtime, float32 tensors in WebAssembly's memory for
LiteRT.js. Every call returns a new array with the answer.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
RESULTS = ROOT / "benchmarks" / "results" / "browser.md"
SCRIPT = Path(__file__).with_suffix(".mjs")
ORT_WEB = "onnxruntime-web@1.30.0"
OURS = "mnist-edge"
VARIANTS = ("mnist-edge, predict", "mnist-edge, no SIMD")
PEERS = ("onnxruntime-web", "LiteRT.js")
CHROMIUM, NODE = (OURS, *PEERS, *VARIANTS), (OURS, PEERS[0], *VARIANTS)  # LiteRT.js needs a page
# Engine here that runs the same file as each library there.
NATIVE = {"onnxruntime-web": "onnxruntime", "LiteRT.js": "litert"}
MODELS = ("cnn", "dense")
IMAGES, COMPARED = 64, 1000
BLOCK_MS, WARM_UP_MS = 2, 400  # short blocks, of which other programs interrupt few
# Opens every library after the other and returns the paths that each one loaded, and how long that took.
OPEN = """
const [names, paths, done] = arguments;
(async () => {
  const script = await import("/browser.mjs");
  const bytes = async (path) => new Uint8Array(await (await fetch(path)).arrayBuffer());
  const places = { ...paths, onnx: await bytes(paths.onnx), tflite: await bytes(paths.tflite) };
  const seen = () => performance.getEntriesByType("resource").map((entry) => new URL(entry.name).pathname);
  const opened = {}, loaded = {}, ready = {};
  window.state = { script, opened, bytes };
  const [blank] = script.split(new Uint8Array(28 * 28));
  for (const name of names) {
    const before = new Set(seen()), began = performance.now();
    opened[name] = await script.CONTENDERS[name](places);
    await script.labels(opened[name], [blank]);
    ready[name] = performance.now() - began;
    loaded[name] = seen().filter((path) => !before.has(path));
  }
  return { loaded, ready, isolated: crossOriginIsolated };
})().then(done, (error) => done({ error: String(error.stack ?? error) }));
"""
LABELS = """
const [path, done] = arguments, { script, opened, bytes } = window.state;
(async () => {
  const images = script.split(await bytes(path)), found = {};
  for (const name of Object.keys(opened)) found[name] = await script.labels(opened[name], images);
  return found;
})().then(done, (error) => done({ error: String(error.stack ?? error) }));
"""
MEASURE = """
const [path, options, done] = arguments, { script, opened, bytes } = window.state;
bytes(path).then((pixels) => script.measure(opened, script.split(pixels), options))
  .then(done, (error) => done({ error: String(error.stack ?? error) }));
"""
IN_NODE = """
import { readFileSync } from "node:fs";
const { names, places, pixels, options, script } = JSON.parse(process.argv[1]);
const { CONTENDERS, measure, split } = await import(script), opened = {}, found = {};
places.onnx = new Uint8Array(readFileSync(places.onnx));
for (const name of names) opened[name] = await CONTENDERS[name](places);
for (const [kind, path] of Object.entries(pixels)) {
  found[kind] = await measure(opened, split(new Uint8Array(readFileSync(path))), options);
}
console.log(JSON.stringify(found));
"""


@dataclass
class Measured:
    """What was measured of one model.

    ``times`` are microseconds by place and kind of images, then by library, one for each round; ``ready`` milliseconds
    by library, one for each process; ``sizes`` bytes by library, raw and with gzip; ``labels`` by library.
    """

    times: dict[tuple[str, str], dict[str, list[float]]] = field(default_factory=dict)
    ready: dict[str, list[float]] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    labels: dict[str, list[int]] = field(default_factory=dict)

    def add(self, place: str, kind: str, times: dict[str, list[float]]) -> None:  # noqa: D102
        for name, values in times.items():
            self.times.setdefault((place, kind), {}).setdefault(name, []).extend(values)


@dataclass(frozen=True)
class Files:
    """The files of one model: the ES module, the int8 ONNX file, both int8 TFLite files."""

    module: Path
    onnx: Path
    tflite: Path
    float_io: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=3, help="browsers, and processes of Node")
    parser.add_argument("--rounds", type=int, default=200, help="in each process, for each kind of images")
    parser.add_argument("--workspace", type=Path, default=Path("artifacts"))
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    options = parser.parse_args()
    from mnist_edge import data

    validation = data.load().validation
    noise = np.random.default_rng(0).integers(0, 256, (IMAGES, 28, 28, 1)).astype(np.uint8)
    kinds = {"digits": validation.images[:IMAGES], "noise": noise}
    found, versions, tables = {}, {}, []
    for model in options.models:
        files = exported(options.workspace, model)
        found[model] = Measured()
        for _ in range(options.processes):
            versions = in_chromium(found[model], files, kinds, validation.images[:COMPARED], options.rounds)
            in_node(found[model], files, kinds, options.rounds)
        tables.append(answers(found[model], files, validation.images[:COMPARED], validation.labels[:COMPARED]))
    command = f"python benchmarks/browser.py --processes {options.processes} --rounds {options.rounds}"
    recipes = ", ".join(recipe(options.workspace, model) for model in options.models)
    text = report(found, tables, {**versions, **node_versions(), "recipes": recipes}, command)
    print(text)
    RESULTS.write_text(text)


def recipe(workspace: Path, model: str) -> str:
    """How a model was trained."""
    from mnist_edge.store.manifest import KERAS_NAME, Manifest

    made = Manifest.load(workspace / model).files[KERAS_NAME]["made_by"]["recipe"]
    return f"{model} trained with recipe {made['name']}, {made['epochs']} epochs"


def exported(workspace: Path, model: str) -> Files:
    """Export a model to the three formats; what is current stays."""
    from mnist_edge.workflows.export import ExportOptions, export

    for more in ({"formats": ("onnx",)}, {"formats": ("tflite",)}, {"formats": ("tflite",), "io": "float32"},
                 {"formats": ("wasm",)}):  # fmt: skip
        result = export(ExportOptions(model=model, workspace=workspace, **more))  # type: ignore[arg-type]
        if result.error is not None:
            raise SystemExit(f"{result.error.cause}\n  remedy: {result.error.remedy}")
    folder = workspace / model
    return Files(
        folder / f"{model}-web" / f"{model}.mjs", folder / f"{model}-int8.onnx", folder / f"{model}-int8.tflite",
        folder / f"{model}-int8-float-io.tflite",
    )  # fmt: skip


def in_chromium(
    found: Measured, files: Files, kinds: dict[str, NDArray[np.uint8]], compared: NDArray[np.uint8], rounds: int
) -> dict[str, str]:
    """Measure in a new browser; returns the versions of browser and libraries."""
    from tests.support.browser import browser
    from tests.support.web import LITERT_JS, LITERT_JS_IMPORTS, npm_packages, served

    npm = npm_packages((*LITERT_JS, ORT_WEB))
    imports = json.dumps({"imports": {name: f"/npm/{path}" for name, path in LITERT_JS_IMPORTS.items()}})
    pages = {
        "/page.html": f'<!doctype html><body><script type="importmap">{imports}</script></body>'.encode(),
        "/browser.mjs": SCRIPT.read_bytes(), "/module.mjs": files.module.read_bytes(),
        "/onnx": files.onnx.read_bytes(), "/tflite": files.float_io.read_bytes(), "/compared": compared.tobytes(),
        **{f"/{kind}": images.tobytes() for kind, images in kinds.items()},
    }  # fmt: skip
    places = {
        "module": "/module.mjs", "ort": "/npm/onnxruntime-web/dist/ort.wasm.min.mjs",
        "ortFolder": "/npm/onnxruntime-web/dist/", "onnx": "/onnx", "litert": "@litertjs/core",
        "litertFolder": "/npm/@litertjs/core/wasm/", "tflite": "/tflite",
    }  # fmt: skip
    models = {"onnxruntime-web": "/onnx", "LiteRT.js": "/tflite"}
    with (
        tempfile.TemporaryDirectory() as scratch,
        served({"npm": npm}, pages) as url,
        browser(Path(scratch), 1200, dark=False) as driver,
    ):
        driver.set_script_timeout(300)
        driver.get(f"{url}/page.html")
        opened = checked(driver.execute_async_script(OPEN, CHROMIUM, places))
        if not opened["isolated"]:
            raise SystemExit("The page is not isolated, so its clock is too coarse.\n  remedy: Update Chromium.")
        found.labels = checked(driver.execute_async_script(LABELS, "/compared"))
        for kind in kinds:
            found.add("Chromium", kind, checked(driver.execute_async_script(MEASURE, f"/{kind}", how(rounds))))
        version = f"Chromium {driver.capabilities['browserVersion']}"
    for name, ms in opened["ready"].items():
        found.ready.setdefault(name, []).append(ms)
    for name in (OURS, *PEERS):
        paths = [*opened["loaded"][name], *([models[name]] if name in models else [])]
        contents = [pages[path] if path in pages else (npm / path.removeprefix("/npm/")).read_bytes() for path in paths]
        found.sizes[name] = sum(map(len, contents)), sum(len(gzip.compress(item, 9)) for item in contents)
    core = json.loads((npm / "@litertjs" / "core" / "package.json").read_text())["version"]
    return {"browser": version, "litert": f"@litertjs/core {core}", "ort": ORT_WEB.replace("@", " ")}


def how(rounds: int) -> dict[str, int]:
    return {"rounds": rounds, "least": BLOCK_MS, "warmUp": WARM_UP_MS}


def checked(value: Any) -> Any:
    if isinstance(value, dict) and "error" in value:
        raise SystemExit(f"The page failed: {value['error']}")
    return value


def in_node(found: Measured, files: Files, kinds: dict[str, NDArray[np.uint8]], rounds: int) -> None:
    """Measure in a new process of Node."""
    from tests.support.web import LITERT_JS, npm_packages

    dist = npm_packages((*LITERT_JS, ORT_WEB)) / "onnxruntime-web" / "dist"
    with tempfile.TemporaryDirectory() as scratch:
        pixels = {kind: Path(scratch) / kind for kind in kinds}
        for kind, images in kinds.items():
            pixels[kind].write_bytes(images.tobytes())
        told = {
            "names": NODE, "options": how(rounds), "script": SCRIPT.as_uri(),
            "pixels": {kind: str(path) for kind, path in pixels.items()},
            "places": {
                "module": files.module.resolve().as_uri(), "onnx": str(files.onnx.resolve()),
                "ort": (dist / "ort.node.min.mjs").as_uri(), "ortFolder": f"{dist.as_uri()}/",
            },
        }  # fmt: skip
        words = ["node", "--input-type=module", "--eval", IN_NODE, json.dumps(told)]
        done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=300)
    for kind, times in json.loads(done.stdout.splitlines()[-1]).items():
        found.add("Node", kind, times)


def node_versions() -> dict[str, str]:
    done = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True)
    return {"node": f"Node {done.stdout.strip().removeprefix('v')}"}


def answers(found: Measured, files: Files, images: NDArray[np.uint8], truth: NDArray[np.int64]) -> dict[str, str]:
    """For each library how many labels are right, and how many differ from those of the engine here."""
    from mnist_edge.runtime import open_session

    def labels(path: Path, engine: str) -> NDArray[np.int64]:
        return np.asarray(open_session(path, engine).predict(images).argmax(axis=1))

    native = {name: labels(files.onnx if engine == "onnxruntime" else files.float_io, engine)
              for name, engine in NATIVE.items()}  # fmt: skip
    ours = labels(files.tflite, "litert-reference")
    cells = {}
    for name, given in ((name, found.labels[name]) for name in CHROMIUM):
        engine = NATIVE.get(name, "litert-reference")
        differing = int((np.array(given) != native.get(name, ours)).sum())
        right = int((np.array(given) == truth).sum())
        cells[name] = f"{right:,} of {len(truth):,} right; {differing} differ from {engine}"
    return cells


def report(found: dict[str, Measured], tables: Sequence[dict[str, str]], versions: dict[str, str], command: str) -> str:
    """The results file."""
    from mnist_edge.measure.machine import described_processor, machine

    lines = [
        "# The exported WebAssembly against onnxruntime-web and LiteRT.js", "",
        f"`{command}`: microseconds for one image in one call, one thread. {versions['browser']} (headless), "
        f"{versions['node']}, {versions['ort']} (int8 `.onnx`, WebAssembly with SIMD), {versions['litert']} (int8 "
        "`-float-io.tflite`, XNNPACK in WebAssembly with relaxed SIMD), on "
        f"{described_processor(machine())}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end. "
        f"Models: {versions['recipes']}.", "",
        "`mnist-edge` is `outputs(pixels)`, the network's own answer; `predict` adds calibrated probabilities and the "
        "label; `no SIMD` is `load({ simd: false })`. Median of all rounds, and from the 10th to the 90th percentile "
        "in brackets: the 10th is nearest to the time without other programs. A ratio is a library's time divided by "
        "that of mnist-edge: the median of the ratios of all rounds, and the ratio of the 10th percentiles.", "",
        "| model | in | images | library | µs | ratio | ratio of 10th |", "|---|---|---|---|---|---|---|",
        *time_rows(found), "",
        "What a page loads, library and model (gzip: level 9), and the time from `import` to the first answer, from a "
        "server on this machine:", "",
        "| model | library | bytes | gzip | ready, ms |", "|---|---|---|---|---|",
        *(
            f"| {model} | {name} | {raw:,} | {packed:,} | {statistics.median(item.ready[name]):.0f} |"
            for model, item in found.items() for name, (raw, packed) in item.sizes.items()
        ), "",
        f"Labels of the first {COMPARED:,} validation images in Chromium:", "",
        "| model | library | labels |", "|---|---|---|",
        *(f"| {model} | {name} | {cell} |"
          for model, cells in zip(found, tables, strict=True) for name, cell in cells.items()),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def time_rows(found: dict[str, Measured]) -> Iterator[str]:
    for model, item in found.items():
        for (place, kind), times in item.times.items():
            ours = np.array(times[OURS])
            for name in (name for name in CHROMIUM if name in times):
                values = np.array(times[name])
                low, middle, high = np.percentile(values, [10, 50, 90])
                ratios = f"{np.median(values / ours):.2f} | {low / np.percentile(ours, 10):.2f}"
                yield f"| {model} | {place} | {kind} | {name} | {middle:.1f} ({low:.1f} to {high:.1f}) | {ratios} |"


if __name__ == "__main__":
    main()
