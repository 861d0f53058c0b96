#!/usr/bin/env python3
"""Does a model's folder get the same verdict on other processors? Verified under user-mode emulation, labels compared.

    python tools/emulate.py artifacts/cnn --cpu cortex-a72 [--images 500]

`cortex-a72` and `cortex-a53` are a Raspberry Pi 4 and 3: Python and its libraries come from Debian bookworm's arm64
packages (what Raspberry Pi OS is made of), the engines from their Arm wheels. `Haswell` is an x86-64 processor with
AVX2 and no VNNI, running this very Python. int8 files run whole (or on the first --images), float ones on 500. What
counts here is which labels differ; emulated time says nothing about a board's.

Needs Debian's qemu-user-static, and debootstrap for Arm.
"""

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import platformdirs

from mnist_edge import data
from mnist_edge.artifacts import MANIFEST_NAME, sha256_of
from mnist_edge.formats.reference import Reference

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(platformdirs.user_cache_dir("mnist-edge")) / "emulation"
FLOAT_IMAGES = 500
# Arm's part numbers, as /proc/cpuinfo has them.
PARTS = {"cortex-a72": "0xd08", "cortex-a53": "0xd03"}
ENGINES = {".tflite": ("litert", "tflite-runtime"), ".onnx": ("onnxruntime",)}
PACKAGES = [
    "numpy==1.26.4", "tflite-runtime==2.14.0", "ai-edge-litert==2.3.*", "onnxruntime==1.32.*", "pillow", "typer",
    "pooch", "platformdirs", "rich",
]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cpu", default="cortex-a72", choices=[*PARTS, "Haswell"])
    parser.add_argument("--images", type=int, default=10_000)
    options = parser.parse_args()
    prefix, environment = emulated(options.cpu)
    same = True
    with tempfile.TemporaryDirectory() as scratch:
        for path in sorted(options.folder.glob("*-*.tflite")) + sorted(options.folder.glob("*-*.onnx")):
            images = options.images if "int8" in path.name else min(FLOAT_IMAGES, options.images)
            common = slice_of(options.folder, images, Path(scratch))
            # Alone with its manifest: the float twin beside it would be run too, which takes minutes under emulation.
            alone = Path(scratch) / path.stem / path.name
            alone.parent.mkdir(exist_ok=True)
            shutil.copy(path, alone)
            shutil.copy(path.parent / MANIFEST_NAME, alone.parent)
            for engine in ENGINES[path.suffix]:
                arguments = ["-m", "mnist_edge", "verify", str(alone), "--engine", engine, "--json", *common]
                here = verdict([sys.executable, *arguments], dict(os.environ))
                there = verdict([*prefix, *arguments], environment)
                differing = labels_that_differ(here, there)
                agree = here["rule"] == there["rule"]
                same &= agree and (not differing or "int8" in path.name)
                rules = f"rule here {here['rule']}, emulated {there['rule']}"
                drops = f"drop {here['drop_pp']:+.2f} and {there['drop_pp']:+.2f} pp"
                labels = f"labels that differ: {differing or 'none'}"
                print(f"{path.name:18s} {engine:14s} {images:6,d} images: {rules}; {drops}; {labels}", flush=True)
    print(f"emulated {options.cpu}: {'the same verdicts' if same else 'OTHER VERDICTS'}")
    return 0 if same else 1


def emulated(cpu: str) -> tuple[list[str], dict[str, str]]:
    """How to start Python on that processor, and with which environment."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    if cpu == "Haswell":
        return ["qemu-x86_64-static", "-cpu", cpu, sys.executable], environment
    root, site = CACHE / "bookworm-arm64", CACHE / "site-arm64"
    if not (root / "usr" / "bin" / "python3.11").exists():
        root.mkdir(parents=True, exist_ok=True)
        include = "--include=python3,libstdc++6,zlib1g"
        run(["debootstrap", "--foreign", "--arch=arm64", "--variant=minbase", include, "bookworm", root])
        for package in (root / "var" / "cache" / "apt" / "archives").glob("*.deb"):
            run(["dpkg", "-x", package, root])
    describe_board(root, PARTS[cpu])
    if not site.exists():
        platforms = [word for minor in (17, 27, 28, 34, 36) for word in ("--platform", f"manylinux_2_{minor}_aarch64")]
        run([
            sys.executable, "-m", "pip", "install", "--quiet", "--target", site, "--only-binary=:all:", *platforms,
            "--platform", "manylinux2014_aarch64", "--python-version", "3.11", "--implementation", "cp", *PACKAGES,
        ])  # fmt: skip
    environment["PYTHONPATH"] = f"{ROOT}:{site}"
    return ["qemu-aarch64-static", "-cpu", cpu, "-L", str(root), str(root / "usr" / "bin" / "python3.11")], environment


def describe_board(root: Path, part: str) -> None:
    """What the engines read of a board with four cores, in place of this machine's: its x86 caches crash them."""
    folder = root / "sys" / "devices" / "system" / "cpu"
    files = {"possible": "0-3", "present": "0-3", "online": "0-3", "kernel_max": "3"}
    for core in range(4):
        files |= {
            f"cpu{core}/topology/core_id": str(core),
            f"cpu{core}/topology/physical_package_id": "0",
            f"cpu{core}/topology/core_siblings_list": "0-3",
            f"cpu{core}/topology/package_cpus_list": "0-3",
            f"cpu{core}/topology/cluster_cpus_list": "0-3",
            f"cpu{core}/topology/thread_siblings_list": str(core),
            f"cpu{core}/cpufreq/cpuinfo_max_freq": "1500000",
            f"cpu{core}/cpufreq/cpuinfo_min_freq": "600000",
        }
    for name, value in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{value}\n")
    cores = (
        f"processor\t: {core}\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n"
        f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {part}\nCPU revision\t: 3\n\n"
        for core in range(4)
    )
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc" / "cpuinfo").write_text("".join(cores))


def run(command: list[object]) -> None:
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


def slice_of(folder: Path, images: int, scratch: Path) -> list[str]:
    """The options that make ``verify`` look at the first images only, with the reference's rows for them."""
    test, _ = data.load_test()
    target = scratch / f"{images}.npz"
    if not target.exists():
        x, y = test.images[:images], test.labels[:images].astype(np.uint8)
        np.savez(target, x_train=x[:1], y_train=y[:1], x_test=x, y_test=y)
        whole = Reference.from_bytes((folder / "reference.npz").read_bytes())
        part = dataclasses.replace(
            whole, probabilities=whole.probabilities[:images], test_images_sha256=sha256_of(x.tobytes())
        )
        (scratch / f"{images}-reference.npz").write_bytes(part.to_bytes())
    return ["--data", str(target), "--reference", str(scratch / f"{images}-reference.npz")]


def verdict(command: list[str], environment: dict[str, str]) -> dict[str, object]:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)["results"][0]
    except (ValueError, KeyError):
        sys.exit(f"{' '.join(command[:4])} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")


def labels_that_differ(here: dict, there: dict) -> list[int]:
    """Images whose answers are not the same: those that moved against the reference here, there, or otherwise."""
    moved = [{flip["index"]: flip["after"] for flip in item["changes"]["flips"]} for item in (here, there)]
    return sorted(index for index in moved[0].keys() | moved[1].keys() if moved[0].get(index) != moved[1].get(index))


if __name__ == "__main__":
    sys.exit(main())
