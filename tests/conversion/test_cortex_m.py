"""Generated C on emulated boards: the integer reference engine's outputs, by kernels for Cortex-M and by plain C."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_edge import data
from mnist_edge.conversion import c as converter
from mnist_edge.runtime.engines import reference
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.toolchains import firmware
from mnist_edge.toolchains.boards import BOARDS
from tests.conftest import ROOT, unavailable
from tests.support import int8_nets

sys.path.insert(0, str(ROOT / "tools" / "mcu"))
import run as emulated

pytestmark = pytest.mark.slow
# Most instructions for one image, in thousands. On a Cortex-M4 plain C takes 14,900 for the cnn and 190 for dense.
MOST = {
    ("cortex-m0", "dense"): 400,
    ("cortex-m4", "cnn"): 3900,
    ("cortex-m7", "dense"): 70,
    ("cortex-m55", "cnn"): 1200,
    ("rv32imac", "dense"): 400,
}
LAST = ".last ORIGIN(RAM) + LENGTH(RAM) - SIZEOF(.last) (NOLOAD) : { *(.last) } > RAM"


@pytest.fixture(scope="module")
def every_path() -> bytes:
    """A net with every path through the kernels.

    It has odd numbers of pixels, more channels than are summed together, numbers of channels that are no multiple of 4,
    dilation, and pooling as part of convolutions, each with and without outputs below zero, and sums close to 2**31.
    """
    net = int8_nets.begun(3, 14, 22)
    net.conv(9, (3, 3), (1, 1), int8_nets.SAME)
    net.largest_bias(4)
    net.pool("MAX_POOL_2D", (2, 2), (2, 2), int8_nets.VALID)
    net.conv(70, (3, 3), (1, 1), int8_nets.SAME, act=int8_nets.NONE)
    net.largest_bias(65)
    net.conv(37, (2, 2), (1, 1), int8_nets.SAME, dilation=2)
    net.conv(70, (3, 3), (1, 1), int8_nets.SAME, act=int8_nets.NONE)
    net.pool("MAX_POOL_2D", (2, 2), (2, 2), int8_nets.VALID)
    net.conv(21, (1, 1), (1, 1), int8_nets.SAME, act=int8_nets.RELU6)
    net.reshape(math.prod(net.shape))
    net.dense(150)
    return int8_nets.ended(net)


def images_of(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Noise, noise with many zeros, zeros alone, and the largest values alone."""
    draw = np.random.default_rng(0)
    noise = draw.integers(0, 256, (3, *shape)).astype(np.uint8)
    sparse = noise * (draw.random(noise.shape) < 0.1).astype(np.uint8)
    return np.concatenate([noise, sparse, np.zeros((1, *shape), np.uint8), np.full((1, *shape), 255, np.uint8)])


def run_on(processor: str, text: bytes, images: NDArray[np.uint8], folder: Path, *flags: str) -> dict[str, Any]:
    """The report of tools/mcu/run.py."""
    board = BOARDS[processor]
    for tool in (board.compiler, board.emulator[0]):
        if shutil.which(tool) is None:
            unavailable(tool)
    folder.mkdir(exist_ok=True)
    return emulated.run(text, images, board, folder, ("-Werror", *flags), counts=True)


@pytest.mark.parametrize(("processor", "name"), MOST)
def test_the_shipped_models_answer_exactly_within_the_bounds_of_instructions_and_memory(
    processor: str, name: str, tmp_path: Path
) -> None:
    content = (SHIPPED / name / f"{name}-int8.tflite").read_bytes()
    images = np.concatenate([images_of((28, 28, 1)), data.load_test(None)[0].images[:2]])
    text = converter.from_tflite(content, name, data.load().calibration.images[:64])
    report = run_on(processor, text, images, tmp_path)
    assert (report["answers"] == reference.load(content, 1).run(images)).all()
    assert 0 < report["instructions"] < 1000 * MOST[processor, name]
    assert report["flash_bytes"] - report["constant_bytes"] < 4500
    assert report["ram_bytes"] + report["stack_bytes"] < (14 * 1024 if name == "cnn" else 2000)


@pytest.mark.parametrize("every", [0, 1, 2], ids=["8 bits", "4 bits", "4 and 8 bits"])
@pytest.mark.parametrize(
    ("processor", "flags"),
    [
        ("cortex-m4", ("-O3", "-DEDGE_ALIGNED=")),
        ("cortex-m55", ("-O3", "-DEDGE_ALIGNED=")),
        ("cortex-m55", ("-O0", "-DEDGE_BACKEND=EDGE_DSP")),
        ("rv32imac", ("-O3", "-DEDGE_ALIGNED=")),
    ],
    ids=lambda item: item if isinstance(item, str) else " ".join(item),
)
def test_every_path_through_the_kernels_is_exact(
    processor: str, flags: tuple[str, ...], every: int, every_path: bytes, tmp_path: Path
) -> None:
    """``every`` n-th layer has weights of 4 bits; none if it is 0."""
    content = int8_nets.four_bits(every_path, every) if every else every_path
    program = reference.load(content, 1)
    images = images_of(program.input.shape)
    report = run_on(processor, converter.from_tflite(content, "net", images), images, tmp_path, *flags)
    assert (report["answers"] == program.run(images)).all()


BUFFERS = {"image": "INPUT_BYTES", "scratch": "SCRATCH_BYTES", "answer": "OUTPUT_BYTES"}


@pytest.mark.parametrize("backend", ["DSP", "HELIUM"])
def test_no_kernel_reads_or_writes_behind_a_buffer(
    backend: str, every_path: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each buffer in turn ends where the RAM does. An access behind it is a fault, which ends the emulation.

    The Cortex-M55 has both backends, and on its board nothing lies behind the RAM.
    """
    program = reference.load(every_path, 1)
    images = images_of(program.input.shape)
    text = converter.from_tflite(every_path, "net", images)

    def run_with(name: str, size: str) -> NDArray[np.int8]:
        tools = tmp_path / f"{name} {size}"
        shutil.copytree(ROOT / "tools" / "mcu", tools)
        shutil.copytree(firmware.FOLDER, tools / "firmware")
        for file, old, new in (
            ("main.c", f"{name}[{BUFFERS[name]}]", f'{name}[{size}] __attribute__((section(".last"), aligned(1)))'),
            ("firmware/cortex_m.ld", "stack_top = .; } > RAM", f"stack_top = .; }} > RAM\n    {LAST}"),
        ):
            code = (tools / file).read_text()
            assert code.count(old) == 1
            (tools / file).write_text(code.replace(old, new))
        with monkeypatch.context() as patch:
            patch.setattr(emulated, "HERE", tools)
            patch.setattr(firmware, "FOLDER", tools / "firmware")
            return run_on("cortex-m55", text, images, tools / "work", f"-DEDGE_BACKEND=EDGE_{backend}")["answers"]

    for name, size in BUFFERS.items():
        assert (run_with(name, size) == program.run(images)).all(), name
    with pytest.raises(subprocess.CalledProcessError):  # the test can fail
        run_with("answer", "OUTPUT_BYTES - 1")
