"""Programs of generated C, built with each compiler and backend, and run here or on an emulated processor."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from dataclasses import dataclass, replace
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

/* argv: number of threads. Reads images from stdin, and writes the answers to stdout and the backend's name to stderr.
 * Every thread answers all images, with a scratch buffer of exactly the size that the header names. */
static uint8_t *images;
static size_t count;

static void *answer(void *to) {
    uint8_t *const scratch = malloc(PREFIX_SCRATCH_BYTES), *const image = malloc(PREFIX_INPUT_BYTES);
    for (size_t i = 0; i < count; i++) {
        for (size_t at = 0; at < PREFIX_INPUT_BYTES; at++)
            image[at] = images[i * PREFIX_INPUT_BYTES + at];
        prefix_run((void *)image, (int8_t *)to + i * PREFIX_OUTPUT_BYTES, scratch);
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
    """One way to build a program of generated C and to run it.

    Attributes:
        backend: the backend that runs, as the code itself names it.
        forced: the backend to take on any processor; if empty, the code chooses.
        emulator: the command that runs the program; empty if this processor does.
        compiler: the command that builds it.
        flag: processor feature in /proc/cpuinfo that the program needs; empty if it needs none.
        changes: pairs of a text in the generated C, which must occur exactly once, and its replacement.
        include: a header that the compiler reads first.
    """

    backend: str
    forced: str = ""
    emulator: tuple[str, ...] = ()
    compiler: str = "cc"
    flag: str = ""
    changes: tuple[tuple[str, str], ...] = ()
    include: str = ""

    @property
    def slow(self) -> bool:
        """Whether the processor is emulated, or its instructions are replaced by functions in C."""
        return bool(self.emulator or self.include)


_ARM = "aarch64-linux-gnu-gcc"
_MODEL = "avx512_model.h"
_VNNI_ASM = '__asm__("%{vex%} vpdpbusd {%2, %1, %0|%0, %1, %2}" : "+x"(sum) : "x"(x), "x"(weights))'
_AVX512_ASM = '__asm__("vpdpbusd {%2, %1, %0|%0, %1, %2}" : "+v"(sum) : "v"(x), "v"(weights))'
_AVX512_TARGET = "avx512f,avx512bw,avx512vl,avx512vnni,popcnt"
# Every backend is executed on every machine. For AVX-VNNI and AVX512-VNNI, SIMDe's C functions replace the instructions
# in the same code on a processor without them.
_ALL = {
    "C99": Way("C99", "EDGE_C99"),
    "AVX2": Way("AVX2", "EDGE_AVX2", flag="avx2"),
    "AVX-VNNI": Way("AVX-VNNI", "EDGE_AVX_VNNI", flag="avx_vnni"),
    "AVX-VNNI by AVX512VL": Way(
        "AVX-VNNI", "EDGE_AVX_VNNI", flag="avx512_vnni", changes=((_VNNI_ASM, _VNNI_ASM.replace("%{vex%} ", "")),)
    ),
    "AVX512-VNNI": Way("AVX512-VNNI", "EDGE_AVX512_VNNI", flag="avx512_vnni"),
    "AVX-VNNI modelled": Way(
        "AVX-VNNI", "EDGE_AVX_VNNI", include=_MODEL,
        changes=((_VNNI_ASM, "((sum) = simde_mm256_dpbusd_epi32(sum, x, weights))"),),
    ),
    "AVX512-VNNI modelled": Way(
        "AVX512-VNNI", "EDGE_AVX512_VNNI", include=_MODEL,
        changes=(
            (_AVX512_ASM, "((sum) = simde_mm512_dpbusd_epi32(sum, x, weights))"), (_AVX512_TARGET, "avx2,popcnt"),
        ),
    ),
    "Nehalem": Way("SSE2", emulator=("qemu-x86_64-static", "-cpu", "Nehalem")),
    "Haswell": Way("AVX2", emulator=("qemu-x86_64-static", "-cpu", "Haswell")),
    "Cortex-A72": Way("NEON", emulator=("qemu-aarch64-static", "-cpu", "cortex-a72"), compiler=_ARM),
    "Cortex-A76": Way("NEON with dot product", emulator=("qemu-aarch64-static", "-cpu", "cortex-a76"), compiler=_ARM),
}  # fmt: skip


# C with the kernels of the format wasm, built for this processor: there, accesses outside of buffers can be seen.
SIMD128 = Way(
    "WebAssembly SIMD128", "EDGE_SIMD128", include="wasm_model.h", changes=(("#include <wasm_simd128.h>\n", ""),)
)


# Backends by the number that stands for each in generated C; a program built by `every` takes such a number.
NUMBERS = {"C99": 2, "AVX2": 3, "AVX-VNNI": 4, "AVX512-VNNI": 5, "NEON": 6, "NEON with dot product": 7, "SSE2": 10}
_CHOICE = "static int edge_backend(void) {\n"
_CHOSEN = f"extern int edge_chosen;\n{_CHOICE}    if (edge_chosen >= 0)\n        return edge_chosen;\n"


def every(*names: str) -> Way:
    """One program with all these backends; its variable ``edge_chosen`` holds the number of the one to run."""
    ways = [_ALL[name] for name in names]
    changes = tuple(change for way in ways for change in way.changes)
    include = next((way.include for way in ways if way.include), "")
    return replace(ways[0], backend="", forced="", changes=((_CHOICE, _CHOSEN), *changes), include=include)


def _flags() -> set[str]:
    """The processor's features, as Linux names them."""
    return set(Path("/proc/cpuinfo").read_text().split())


def _is_replaced(way: Way) -> bool:
    """Whether this processor has the instructions that a way would model."""
    own = [item for item in _ALL.values() if item.backend == way.backend and item.flag in _flags()]
    return bool(way.include and own)


WAYS = {
    name: way for name, way in _ALL.items() if (not way.flag or way.flag in _flags()) and not _is_replaced(way)
}  # fmt: skip


@functools.cache
def calibration() -> NDArray[np.uint8]:
    return data.load().calibration.images[:64]


def source(
    content: bytes,
    name: str,
    images: NDArray[np.uint8] | None = None,
    backend: str = "all",
    class_names: tuple[str, ...] = tuple("0123456789"),
) -> bytes:
    """Generated C; ``images`` (n, h, w, 1) decide the order of channels, MNIST's calibration images by default."""
    contract = Contract(name, class_names, "int8", "digit", reference_sha256="", tool_version="0.1.0")
    return codegen.source(content, contract, calibration() if images is None else images, backend).encode()


def runs_here(way: Way) -> None:
    """Skip the test if the compiler, the emulator or SIMDe is missing; in CI, fail."""
    for tool in (way.compiler, *way.emulator[:1]):
        if shutil.which(tool) is None:
            unavailable(tool)
    if way.include and not Path("/usr/include/simde").is_dir():
        unavailable("SIMDe (Debian's libsimde-dev)")


def build(text: bytes, way: Way, folder: Path, *flags: str, main: str = MAIN) -> Path:
    """The program; compiling it must not give a warning."""
    folder.mkdir(exist_ok=True, parents=True)
    facts, code = facts_of(text), text.decode()
    for old, new in way.changes:
        assert code.count(old) == 1, old
        code = code.replace(old, new)
    (folder / "net.c").write_text(code)
    (folder / "net.h").write_text(codegen.header(facts))
    (folder / "main.c").write_text(main.replace("PREFIX", facts["prefix"].upper()).replace("prefix", facts["prefix"]))
    forced = [f"-DEDGE_BACKEND={way.forced}"] if way.forced else []
    static = ["-static"] if way.emulator else []
    # SIMDe is compiled for AVX2. It passes vectors of 64 bytes in memory, which GCC warns about.
    model = ["-mavx2", "-Wno-psabi", "-include", Path(__file__).with_name(way.include)] if way.include else []
    build = [way.compiler, *STRICT, *(flags or ("-O1" if way.include else "-O3",)), *forced, *static]
    for command in ([*build, *model, "-c", "net.c"], [*build, "-pthread", "-o", "net", "main.c", "net.o"]):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder / "net"


def answers(
    program: Path, way: Way, images: NDArray[np.uint8], *arguments: object, times: int = 1, backend: str = ""
) -> NDArray[np.int8]:
    """Outputs of a program, int8 (times * n, classes).

    Args:
        program: the result of `build`. way: the way it was built. arguments: its command line.
        images: uint8 (n, ...). times: how often the program answers all images.
        backend: name of the backend that must have run; by default that of ``way``.
    """
    done = subprocess.run(
        [*way.emulator, program, *map(str, arguments)], input=images.tobytes(), capture_output=True, check=False
    )
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr.decode()[-2000:]}"
    assert done.stderr.decode().splitlines()[-1] == (backend or way.backend)  # the emulator may print other lines
    return np.frombuffer(done.stdout, np.int8).reshape(times * len(images), -1)
