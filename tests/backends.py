"""Generated C as programs: built by each compiler and with each backend, run here or on an emulated processor."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge import data
from mnist_edge.conversion import codegen
from mnist_edge.formats import Contract
from mnist_edge.formats.c import facts_of
from tests.conftest import unavailable

STRICT = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror")
# All 10,000 images on emulated processors, and for the largest net under sanitizers, take some ten minutes.
ALL_IMAGES = "MNIST_EDGE_ALL_IMAGES" in os.environ
MAIN = """
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "net.h"

/* argv: number of threads. Images on stdin, answers on stdout, and on stderr what computed them. Every thread answers
 * all, with a scratch buffer of exactly the size that the header names. */
static uint8_t *images;
static size_t count;

static void *answer(void *to) {
    uint8_t *const scratch = malloc(PREFIX_SCRATCH_BYTES), *const image = malloc(PREFIX_INPUT_BYTES);
    for (size_t i = 0; i < count; i++) {
        for (size_t at = 0; at < PREFIX_INPUT_BYTES; at++)
            image[at] = images[i * PREFIX_INPUT_BYTES + at];
        prefix_run(image, (int8_t *)to + i * PREFIX_OUTPUT_BYTES, scratch);
    }
    free(image);
    free(scratch);
    return NULL;
}

int main(int argc, char **argv) {
    const int threads = argc > 1 ? atoi(argv[1]) : 1;
    pthread_t running[8];
    int8_t *answers[8];
    images = malloc(20000 * (size_t)PREFIX_INPUT_BYTES);
    count = fread(images, PREFIX_INPUT_BYTES, 20000, stdin);
    for (int t = 0; t < threads; t++) {
        answers[t] = malloc(count * PREFIX_OUTPUT_BYTES + 1);
        if (pthread_create(&running[t], NULL, answer, answers[t]))
            return 1;
    }
    for (int t = 0; t < threads; t++) {
        pthread_join(running[t], NULL);
        fwrite(answers[t], PREFIX_OUTPUT_BYTES, count, stdout);
        free(answers[t]);
    }
    free(images);
    fputs(prefix_backend(), stderr);
    return 0;
}
"""


@dataclass(frozen=True)
class Way:
    """A backend, by the name that the code gives it, and what it takes to see it run.

    ``forced`` is the backend to take whatever the processor; without it the code itself decides. ``flag`` is what the
    processor must have where nothing is emulated. ``model`` is a header that models a part of its instructions.
    """

    backend: str
    forced: str = ""
    emulator: tuple[str, ...] = ()
    compiler: str = "cc"
    flag: str = ""
    model: str = ""


_ARM = "aarch64-linux-gnu-gcc"
WAYS = {
    "C99": Way("C99", "EDGE_C99"),
    "AVX2": Way("AVX2", "EDGE_AVX2", flag="avx2"),
    "AVX-VNNI": Way("AVX-VNNI", "EDGE_AVX_VNNI", flag="avx_vnni"),
    "AVX512-VNNI": Way("AVX512-VNNI", "EDGE_AVX512_VNNI", flag="avx512_vnni"),
    "AMX": Way("AMX", "EDGE_AMX", flag="avx512_vnni", model="tiles.h"),
    "Nehalem": Way("C99", emulator=("qemu-x86_64-static", "-cpu", "Nehalem")),
    "Haswell": Way("AVX2", emulator=("qemu-x86_64-static", "-cpu", "Haswell")),
    "Cortex-A72": Way("NEON", emulator=("qemu-aarch64-static", "-cpu", "cortex-a72"), compiler=_ARM),
    "Cortex-A76": Way("NEON with dot product", emulator=("qemu-aarch64-static", "-cpu", "cortex-a76"), compiler=_ARM),
}


@functools.cache
def calibration() -> NDArray[np.uint8]:
    return data.load().calibration.images[:64]


def source(content: bytes, name: str) -> bytes:
    contract = Contract(name, tuple("0123456789"), "int8", "digit", reference_sha256="", tool_version="0")
    return codegen.source(content, contract, calibration()).encode()


def runs_here(way: Way) -> None:
    """Skip where the processor, the compiler or the emulator is missing; fail there in CI, but for the processor."""
    import pytest

    if way.flag and way.flag not in Path("/proc/cpuinfo").read_text().split():
        pytest.skip(f"this processor has no {way.backend}")
    for tool in (way.compiler, *way.emulator[:1]):
        if shutil.which(tool) is None:
            unavailable(tool)


def build(text: bytes, way: Way, folder: Path, *flags: str) -> Path:
    """The program, without any warning."""
    folder.mkdir(exist_ok=True, parents=True)
    facts = facts_of(text)
    (folder / "net.c").write_bytes(text)
    (folder / "net.h").write_text(codegen.header(facts))
    (folder / "main.c").write_text(MAIN.replace("PREFIX", facts["prefix"].upper()).replace("prefix", facts["prefix"]))
    forced = [f"-DEDGE_BACKEND={way.forced}"] if way.forced else []
    static = ["-static"] if way.emulator else []
    model = ["-include", Path(__file__).with_name(way.model)] if way.model else []
    build = [way.compiler, *STRICT, *(flags or ("-O3",)), *forced, *static]
    for command in ([*build, *model, "-c", "net.c"], [*build, "-pthread", "-o", "net", "main.c", "net.o"]):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder / "net"


def answers(program: Path, way: Way, images: NDArray[np.uint8], threads: int = 1) -> NDArray[np.int8]:
    """Of every thread, one behind the other: int8, (threads * n, classes)."""
    done = subprocess.run(
        [*way.emulator, program, str(threads)], input=images.tobytes(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert done.stderr.decode().splitlines()[-1] == way.backend  # an emulator may say more
    return np.frombuffer(done.stdout, np.int8).reshape(threads * len(images), -1)
