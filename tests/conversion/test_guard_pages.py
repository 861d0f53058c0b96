"""Generated C reads and writes nothing outside of its buffers: each lies between two unreadable pages."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray

from mnist_edge.conversion import c as converter
from mnist_edge.formats import tflite
from mnist_edge.int8.quantize import pixel_lookup
from mnist_edge.runtime.engines import litert_reference
from tests.support import backends, int8_nets
from tests.support.backends import Way

pytestmark = pytest.mark.slow
# MNIST_EDGE_NETS=200 pytest tests/conversion/test_guard_pages.py
RANDOM_NETS = int(os.environ.get("MNIST_EDGE_NETS", "20"))
IMAGES, MANY = 6, 21  # read, and answered in one call: more than are answered together, and some that are left
PADS = {"same": int8_nets.SAME, "valid": int8_nets.VALID}
NETS: dict[str, Callable[[], bytes]] = {
    f"conv {kernel} x {kernel} by {stride} {pad}": functools.partial(
        int8_nets.first_convolution, kernel, stride, PADS[pad]
    )
    for kernel in (1, 2, 3, 5, 7) for stride in (1, 2, 3) for pad in PADS
} | {
    f"depthwise {kernel} x {kernel} by {stride} {pad}": functools.partial(
        int8_nets.first_depthwise, kernel, stride, PADS[pad]
    )
    for kernel, stride, pad in ((1, 1, "valid"), (3, 1, "same"), (3, 2, "valid"), (5, 3, "valid"))
} | {
    f"dense {height} x {width}": functools.partial(int8_nets.only_dense, height, width)
    for height, width in ((1, 1), (3, 5), (5, 7), (27, 27), (28, 28), (31, 33))
} | {
    "spectrogram": int8_nets.spectrogram, "deep convolutions": int8_nets.deep_convolutions,
    "depthwise of 24 channels": int8_nets.depthwise_of_many,
} | {
    name: functools.partial(int8_nets.pointwise, name, dense=True)
    for name in (
        "MEAN over height and width", "MUL by a number a channel", "SUB from a number a channel",
        "CONCATENATION of rows", "CONCATENATION of channels", "LOGISTIC", "LEAKY_RELU in five dimensions",
    )
}  # fmt: skip
# Programs by processor, and the backends that each is run with. Instructions that this processor lacks are modelled.
X86 = ("C99", "SSE2", "AVX2", "AVX-VNNI", "AVX512-VNNI")
VNNI = next(name for name in ("AVX-VNNI", "AVX-VNNI by AVX512VL", "AVX-VNNI modelled") if name in backends.WAYS)
AVX512 = next(name for name in ("AVX512-VNNI", "AVX512-VNNI modelled") if name in backends.WAYS)
PROGRAMS: dict[str, tuple[Way, tuple[str, ...]]] = {
    "x86-64": (backends.every(VNNI, AVX512), X86),
    "arm64": (backends.every("Cortex-A76"), ("NEON", "NEON with dot product")),
}
SIMD128 = {"wasm": (backends.SIMD128, ("WebAssembly SIMD128",))}
# Nets whose layers differ most in how they read their inputs.
SOME = ("conv 3 x 3 by 1 same", "conv 5 x 5 by 2 valid", "conv 2 x 2 by 3 same", "dense 5 x 7", "deep convolutions")
SANITIZED = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
MAIN = """
#define _DEFAULT_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "net.h"

/* argv: the backend's number. Images on stdin; on stdout the answers with all buffers right before an unreadable page,
 * and once more with all of them right behind one. Exit code 5: many images in one call have other answers. */
int edge_chosen;
void prefix_run_values(const void *, float *, size_t, void *);

static unsigned char *guarded(size_t size, int behind) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (size + page - 1) / page * page;
    unsigned char *const base = mmap(NULL, whole + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || mprotect(base + page, whole, PROT_READ | PROT_WRITE))
        exit(3);
    return base + page + (behind ? 0 : whole - size);
}

int main(int argc, char **argv) {
    static unsigned char images[IMAGES * PREFIX_INPUT_BYTES];
    edge_chosen = argc > 1 ? atoi(argv[1]) : 0;
    if (fread(images, PREFIX_INPUT_BYTES, IMAGES, stdin) != IMAGES)
        return 4;
    for (int behind = 0; behind < 2; behind++) {
        unsigned char *const image = guarded(PREFIX_INPUT_BYTES, behind);
        unsigned char *const answer = guarded(PREFIX_OUTPUT_BYTES, behind);
        unsigned char *const scratch = guarded(PREFIX_SCRATCH_BYTES, behind);
        for (int i = 0; i < IMAGES; i++) {
            memcpy(image, images + i * PREFIX_INPUT_BYTES, PREFIX_INPUT_BYTES);
            memset(scratch, 0x40 + i, PREFIX_SCRATCH_BYTES); /* what it holds before does not matter */
            prefix_run((void *)image, (int8_t *)answer, scratch);
            fwrite(answer, PREFIX_OUTPUT_BYTES, 1, stdout);
        }
        unsigned char *const all = guarded(MANY * PREFIX_INPUT_BYTES, behind);
        float *const values = (float *)guarded(MANY * sizeof(float[PREFIX_OUTPUT_BYTES]), behind);
        for (int i = 0; i < MANY; i++) {
            memcpy(all + i * PREFIX_INPUT_BYTES, images + i % IMAGES * PREFIX_INPUT_BYTES, PREFIX_INPUT_BYTES);
        }
        prefix_run_values(all, values, MANY, scratch);
        for (int i = 0; i < MANY; i++) {
            float one[PREFIX_OUTPUT_BYTES];
            prefix_run_values(all + i * PREFIX_INPUT_BYTES, one, 1, scratch);
            if (memcmp(one, values + i * PREFIX_OUTPUT_BYTES, sizeof one))
                return 5;
        }
    }
    fputs(prefix_backend(), stderr);
    return 0;
}
""".replace("IMAGES", str(IMAGES)).replace("MANY", str(MANY))
EXACT = """
#include <stdio.h>
#include <stdlib.h>
#include "net.h"

/* As above, with buffers of exactly the sizes in the header, from malloc: for the address sanitizer. */
int edge_chosen;

int main(int argc, char **argv) {
    edge_chosen = argc > 1 ? atoi(argv[1]) : 0;
    for (int i = 0; i < IMAGES; i++) {
        unsigned char *const image = malloc(PREFIX_INPUT_BYTES), *const scratch = malloc(PREFIX_SCRATCH_BYTES);
        int8_t *const answer = malloc(PREFIX_OUTPUT_BYTES);
        if (fread(image, PREFIX_INPUT_BYTES, 1, stdin) != 1)
            return 4;
        prefix_run((void *)image, answer, scratch);
        fwrite(answer, PREFIX_OUTPUT_BYTES, 1, stdout);
        free(image);
        free(scratch);
        free(answer);
    }
    fputs(prefix_backend(), stderr);
    return 0;
}
""".replace("IMAGES", str(IMAGES))


def pictures(content: bytes) -> NDArray[Any]:
    """Noise, a white and a black image, and noise with many zeros; int8 if the file's input is int8."""
    (tensor,) = tflite.read(content).inputs
    shape = tensor.shape[1:]
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (IMAGES, *shape)).astype(np.uint8)
    images[0], images[1] = 255, 0
    images[2:4][draw.random((2, *shape)) < 0.8] = 0
    return images.view(tensor.dtype)


def expected(content: bytes, images: NDArray[Any]) -> NDArray[np.int8]:
    """The outputs of the reference kernels."""
    kernels = litert_reference.load(content, 1)
    lookup = pixel_lookup(kernels.input, 1 / 255) if images.dtype == np.uint8 else None
    inputs = images if lookup is None else lookup[images]
    return np.concatenate([kernels.run(inputs[at : at + 1]) for at in range(IMAGES)]).reshape(IMAGES, -1)


def source(content: bytes, images: NDArray[Any], backend: str) -> bytes:
    """Generated C."""
    make = backends.source if images.dtype == np.uint8 else converter.from_tflite
    return make(content, "net", images, backend)


def check(
    content: bytes, program: str, folder: Path, main: str = MAIN, flags: tuple[str, ...] = ("-O1", "-DEDGE_SHARED")
) -> None:
    """Assert that every backend of a program has the outputs of the reference kernels, and no fault."""
    way, names = (PROGRAMS | SIMD128)[program]
    images, times = pictures(content), 2 if main is MAIN else 1
    wanted, text = expected(content, images), source(content, images, "wasm" if program in SIMD128 else "all")
    built = backends.build(text, way, folder, *flags, main=main)
    for name in names:
        found = backends.answers(built, way, images, backends.NUMBERS.get(name, 0), times=times, backend=name)
        assert (found == np.tile(wanted, (times, 1))).all(), name


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", NETS)
def test_no_backend_reads_or_writes_outside_of_its_buffers(name: str, program: str, tmp_path: Path) -> None:
    backends.runs_here(PROGRAMS[program][0])
    check(NETS[name](), program, tmp_path)


@pytest.mark.parametrize("name", SOME)
def test_kernels_for_webassembly_read_and_write_nothing_outside_of_their_buffers(name: str, tmp_path: Path) -> None:
    """In a module, all of the memory can be read and written: so the same C runs here, with modelled instructions."""
    backends.runs_here(backends.SIMD128)
    check(NETS[name](), "wasm", tmp_path)


@pytest.mark.parametrize(
    "name",
    ["conv 3 x 3 by 1 valid", "conv 5 x 5 by 2 same", "depthwise 3 x 3 by 2 valid", "dense 5 x 7", "spectrogram"],
)
def test_the_address_sanitizer_sees_no_access_outside_of_buffers_of_exact_size(name: str, tmp_path: Path) -> None:
    backends.runs_here(PROGRAMS["x86-64"][0])
    check(NETS[name](), "x86-64", tmp_path, EXACT, SANITIZED)


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_random_net_reads_or_writes_outside_of_its_buffers(
    program: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    backends.runs_here(PROGRAMS[program][0])

    @settings(
        max_examples=RANDOM_NETS,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(int8_nets.random_nets())
    def look(content: bytes) -> None:
        check(content, program, tmp_path_factory.mktemp("net"))

    look()


def test_a_read_behind_the_image_ends_the_program(tmp_path: Path) -> None:
    """The tests above can fail: without the copy of the image, kernels read behind its end."""
    content = NETS["conv 3 x 3 by 1 valid"]()
    way, _ = PROGRAMS["x86-64"]
    backends.runs_here(way)
    images = pictures(content)
    text = backends.source(content, "net", images).decode()
    # In the function for one image, and in the one for several.
    (target, again) = re.findall(r"\(void\)memcpy\((\w+_padded), image, \d+\);", text)
    assert target == again
    assert text.count(f"_compute(backend, {target}") == 2
    copied, declared = rf" +\(void\)memcpy\({target}, image, .*\n", rf" +uint8_t \*const {target} = .*\n"
    careless = re.sub(f"{copied}|{declared}", "", text)
    careless = careless.replace(f"_compute(backend, {target}", "_compute(backend, image")
    built = backends.build(careless.encode(), way, tmp_path, "-O1", "-DEDGE_SHARED", main=MAIN)
    with pytest.raises(AssertionError, match="exit -11"):
        backends.answers(built, way, images, 0, times=2, backend="C99")
