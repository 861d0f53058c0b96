"""Options of generated C: backends and placement of weights. Content of the header."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mnist_edge.conversion import codegen
from mnist_edge.formats.c import facts_of
from mnist_edge.runtime.engines import native, reference
from tests.conftest import Run, assert_two_lines, unavailable
from tests.support import backends, int8_nets
from tests.support.backends import STRICT

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 9, 7, 1)).astype(np.uint8)
INTRINSICS = {"x86": "_mm256_", "arm": "vdupq_n_s32"}
CHOICES = {"all": {"x86", "arm"}, "x86": {"x86"}, "arm": {"arm"}, "c99": set()}


@pytest.fixture(autouse=True)
def _compiler() -> None:
    if shutil.which("cc") is None:
        unavailable("A C compiler")


def net() -> bytes:
    made = int8_nets.begun(1, 9, 7)
    made.conv(5, (3, 3), (1, 1), int8_nets.SAME)
    made.depthwise(1, (3, 3), (1, 1), int8_nets.SAME)
    return int8_nets.ended(made)


def compiled(folder: Path, text: bytes, *flags: str, compiler: str = "cc") -> Path:
    """The object file; compiling it must not give a warning."""
    (folder / "net.c").write_bytes(text)
    command = [compiler, *STRICT, *flags, "-c", "net.c", "-o", "net.o"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "net.o"


@pytest.mark.parametrize("backend", CHOICES)
def test_only_the_chosen_backends_are_in_the_file_and_outputs_stay_the_same(backend: str, tmp_path: Path) -> None:
    text = backends.source(net(), "net", IMAGES, backend)
    assert {name for name, word in INTRINSICS.items() if word in text.decode()} == CHOICES[backend]
    assert facts_of(text)["backend"] == backend
    assert "$IF" not in text.decode()
    assert (native.load(text, 1).run(IMAGES) == reference.load(net(), 1).run(IMAGES)).all()
    for compiler in ("cc", "aarch64-linux-gnu-gcc", "arm-none-eabi-gcc"):
        if shutil.which(compiler):
            compiled(tmp_path, text, compiler=compiler)


def test_plain_c_is_short_and_has_no_trace_of_other_processors() -> None:
    text = backends.source(net(), "net", IMAGES, "c99").decode()
    before_the_net = re.split(r"/\* \w+: CONV_2D", text)[0]
    assert len(before_the_net.splitlines()) < 330
    assert set(re.findall(r"#include <(\S+)>", text)) == {"stddef.h", "stdint.h", "string.h"}
    for word in ("avx", "neon", "__x86_64__", "__aarch64__", "__ARM", "edge_backend", "EDGE_ARM64", "EDGE_CORTEX_M"):
        assert word not in text.lower() + text, word


def test_the_header_declares_names_sizes_and_versions(tmp_path: Path) -> None:
    names = ("cat", 'a "b" \\ c', "what??/", "*/", "Käse", "5", "6", "7", "8", "9")
    text = backends.source(net(), "net", IMAGES, "c99", names)
    compiled(tmp_path, text)
    (tmp_path / "net.h").write_text(codegen.header(facts_of(text)))
    (tmp_path / "main.c").write_text("""
        #include <stdio.h>
        #include "net.h"
        static const char *const names[NET_INT8_CLASSES] = NET_INT8_CLASS_NAMES;
        int main(void) {
            printf("%d %d %d %d\\n", NET_INT8_HEIGHT, NET_INT8_WIDTH, NET_INT8_CHANNELS, NET_INT8_CLASSES);
            printf("%s\\n%s\\n", NET_INT8_GENERATOR_VERSION, NET_INT8_MODEL_SHA256);
            for (int i = 0; i < NET_INT8_CLASSES; i++)
                puts(names[i]);
            return 0;
        }""")
    subprocess.run(["cc", *STRICT, "-o", "main", "main.c", "net.o"], cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "main"], capture_output=True, check=True).stdout.decode().splitlines()
    assert printed == ["9 7 1 10", "0.1.0", facts_of(text)["source_sha256"], *names]


@pytest.mark.parametrize(
    ("compiler", "value", "allowed"),
    [
        ("cc", "=EDGE_AVX3", "EDGE_AVX_VNNI or EDGE_AVX512_VNNI"),
        ("cc", "=EDGE_NEON", "EDGE_AVX_VNNI or EDGE_AVX512_VNNI"),
        ("cc", "=0", "EDGE_AVX_VNNI or EDGE_AVX512_VNNI"),
        ("cc", "", "EDGE_AVX_VNNI or EDGE_AVX512_VNNI"),
        ("aarch64-linux-gnu-gcc", "=EDGE_AVX2", "EDGE_C99, EDGE_NEON or EDGE_NEON_DOT"),
        # Without the macro, the C library's header includes one for big-endian code, which Debian's package lacks.
        ("aarch64-linux-gnu-gcc -mbig-endian -U__AARCH64EB__", "=EDGE_NEON", "is EDGE_C99"),
        ("arm-none-eabi-gcc", "=EDGE_AVX2", "is EDGE_C99"),
        ("arm-none-eabi-gcc -mcpu=cortex-m3", "=EDGE_DSP", "is EDGE_C99"),
        ("arm-none-eabi-gcc -mcpu=cortex-m4", "=EDGE_HELIUM", "EDGE_C99, EDGE_DSP or, with Helium, EDGE_HELIUM"),
    ],
)
def test_a_backend_that_the_processor_does_not_have_does_not_compile(
    compiler: str, value: str, allowed: str, tmp_path: Path
) -> None:
    if shutil.which(compiler.split(maxsplit=1)[0]) is None or (compiler == "cc" and platform.machine() != "x86_64"):
        unavailable(compiler)
    (tmp_path / "net.c").write_bytes(backends.source(net(), "net", IMAGES))
    command = [*compiler.split(), "-fsyntax-only", f"-DEDGE_BACKEND{value}", "net.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert re.search(rf"#error .*{allowed}", done.stderr), done.stderr


def test_the_assembly_is_the_same_in_both_syntaxes(tmp_path: Path) -> None:
    if platform.machine() != "x86_64" or shutil.which("objdump") is None:
        unavailable("An x86-64 compiler and objdump (Debian's binutils)")
    text = backends.source(net(), "net", IMAGES, "x86")
    listed = [
        subprocess.check_output(["objdump", "-d", compiled(tmp_path, text, syntax)], text=True)
        for syntax in ("-masm=att", "-masm=intel")
    ]
    assert {"paddd", "vpaddd", "vpdpbusd"} <= set(listed[0].split())
    assert listed[0] == listed[1]


@pytest.mark.parametrize("backend", ["c99", "all"])
def test_a_header_of_another_export_is_refused_if_the_compiler_reads_it(backend: str, tmp_path: Path) -> None:
    text = backends.source(net(), "net", IMAGES, backend)
    header = codegen.header(facts_of(text))
    for part in (text.decode(), header):
        assert part.startswith("/* SPDX-License-Identifier: Apache-2.0 */\n")
    (tmp_path / "net.h").write_text(header)
    compiled(tmp_path, text, "-include", "net.h")
    scratch = f"SCRATCH_BYTES {facts_of(text)['scratch']}"
    for ours, other, refusal in (
        (scratch, f"{scratch}0", "belongs to another export"),
        ("int8_t *answer", "uint8_t *answer", "conflicting types"),
    ):
        assert ours in header
        (tmp_path / "net.h").write_text(header.replace(ours, other))
        with pytest.raises(AssertionError, match=refusal):
            compiled(tmp_path, text, "-include", "net.h")


@pytest.mark.parametrize("backend", ["c99", "all"])
def test_weights_are_placed_in_the_section_that_the_user_names(backend: str, tmp_path: Path) -> None:
    if shutil.which("objdump") is None:
        unavailable("objdump (Debian's binutils)")
    text = backends.source(net(), "net", IMAGES, backend)

    def section(name: str, *flags: str) -> tuple[int, int]:
        """Size and alignment in bytes."""
        listed = subprocess.run(
            ["objdump", "-h", compiled(tmp_path, text, *flags)], capture_output=True, text=True, check=True
        ).stdout
        found = re.search(rf" {re.escape(name)} +([0-9a-f]+) .* 2\*\*(\d+)\n", listed)
        return (int(found[1], 16), 1 << int(found[2])) if found else (0, 0)

    weights = 3 * 64 + 9 * 5 + 79 * 64  # conv, depthwise, dense; all but depthwise padded to 4 inputs by 16 channels
    placed = '-DEDGE_WEIGHTS_SECTION=__attribute__((section(".weights")))'
    assert section(".weights") == (0, 0)
    size, alignment = section(".weights", placed)
    assert weights <= size < weights + 200
    assert alignment == 64
    assert section(".weights", placed, "-DEDGE_ALIGNED=")[1] < 64


def test_a_backend_that_does_not_exist_or_does_not_apply_is_wrong_usage(
    tmp_path: Path, cli: Callable[..., Run]
) -> None:
    assert_two_lines(run := cli("export", "--format", "c", "--backend", "c89", "-o", tmp_path), 2)
    assert "c99" in run.err
    assert_two_lines(run := cli("export", "--format", "tflite", "--backend", "c99", "-o", tmp_path), 2)
    assert "--format c --backend c99" in run.err
