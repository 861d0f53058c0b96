"""Clang and its linker for WebAssembly: modules from generated C.

The package ziglang has both, always in the same version, which a file's manifest entry names. Without the package the
system's are used.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from mnist_edge.errors import RefusedError, missing_extra

# Every browser since 2021 has these two instruction sets; vectors are in all since 2023.
_FLAGS = ("-std=c99", "-O3", "-ffreestanding", "-nostdlib")
_LINK = ("--no-entry", "--export=__heap_base", "--stack-first", "--strip-all", "--gc-sections")
# What the linker is told besides: the stack of a function that lists the inputs of a sum is the largest.
_STACK, _STACK_FOR_A_STEP = 1 << 16, 64


@dataclass(frozen=True)
class Compiler:
    """A compiler: what it is, its command without and with vectors, and the command of its linker."""

    name: str
    plain: tuple[str, ...]
    vectors: tuple[str, ...]
    link: tuple[str, ...]


@functools.cache
def find() -> Compiler:
    """The compiler for WebAssembly of this machine.

    Raises:
        MissingError: there is none.
    """
    if importlib.util.find_spec("ziglang") is not None:
        zig = (sys.executable, "-m", "ziglang")
        target = (*zig, "cc", "--target=wasm32-freestanding")
        features = "-mcpu=mvp+bulk_memory+sign_ext"
        name = f"ziglang {version('ziglang')}"
        return Compiler(name, (*target, features), (*target, f"{features}+simd128"), (*zig, "wasm-ld"))
    clang, linker = shutil.which("clang"), shutil.which("wasm-ld")
    if clang is None or linker is None:
        raise missing_extra("A compiler for WebAssembly", "wasm")
    target = (clang, "--target=wasm32", "-mcpu=mvp", "-mbulk-memory", "-msign-ext")
    shown = subprocess.run([clang, "--version"], capture_output=True, text=True, check=False).stdout
    return Compiler(shown.partition("\n")[0], target, (*target, "-msimd128"), (linker,))


def module(source: bytes, headers: Sequence[Path], steps: int, vectors: bool) -> bytes:
    """A WebAssembly module compiled from C code.

    Args:
        source: the code; the functions that it marks are exported.
        headers: folders with headers that it includes.
        steps: largest number of 4-byte input groups in a sum, which are listed on the stack.
        vectors: whether the module may use the instructions of SIMD128.

    Raises:
        MissingError: there is no compiler.
        RefusedError: the code does not compile.
    """
    compiler = find()
    command = compiler.vectors if vectors else compiler.plain
    included = [word for folder in headers for word in ("-I", str(folder))]
    stack = -(-(_STACK + _STACK_FOR_A_STEP * steps) // _STACK) * _STACK
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "net.c").write_bytes(source)
        for words in (
            [*command, *_FLAGS, *included, "-c", "net.c", "-o", "net.o"],
            [*compiler.link, *_LINK, "-z", f"stack-size={stack}", "net.o", "-o", "net.wasm"],
        ):
            _run(words, folder)
        return (folder / "net.wasm").read_bytes()


def _run(words: Sequence[str], folder: Path) -> None:
    """Run a command of the compiler in a folder, which also takes what Zig caches."""
    cache = {f"ZIG_{kind}_CACHE_DIR": str(folder / "zig") for kind in ("GLOBAL", "LOCAL")}
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **cache})
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or [f"exit {done.returncode}"]
        raise RefusedError(f"The compiler for WebAssembly refuses the file: {lines[0]}", "Export it again.")
