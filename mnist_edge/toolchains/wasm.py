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

# Results of the front end are those of Python bit for bit only if no products and sums are joined.
_FLAGS = ("-std=c99", "-ffreestanding", "-nostdlib", "-fno-math-errno", "-ffp-contract=off")
_LINK = ("--no-entry", "--export=__heap_base", "--stack-first", "--strip-all", "--gc-sections")
# Bytes of stack: what all code needs, and what a kernel needs that lists the inputs of a sum.
_STACK, _STACK_FOR_A_STEP = 1 << 18, 64


@dataclass(frozen=True)
class Compiler:
    """A compiler: what it is, its command without and with vectors, and the command of its linker."""

    name: str
    plain: tuple[str, ...]
    vectors: tuple[str, ...]
    link: tuple[str, ...]


@dataclass(frozen=True)
class Options:
    """How a module is compiled.

    Attributes:
        vectors: whether it may use the instructions of SIMD128.
        steps: largest number of 4-byte input groups in a sum, which are listed on the stack.
        small: whether its size matters more than its speed.
    """

    vectors: bool
    steps: int = 0
    small: bool = False


@functools.cache
def find() -> Compiler:
    """The compiler for WebAssembly of this machine.

    Raises:
        MissingError: there is none.
    """
    # Every browser since 2021 has instructions for memory and signs; all have vectors since 2023.
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


def module(sources: Sequence[str], headers: Sequence[Path], options: Options) -> bytes:
    """A WebAssembly module compiled from C code.

    Args:
        sources: texts of C files; the functions that they mark are exported.
        headers: folders with headers that they include. options: see `Options`.

    Raises:
        MissingError: there is no compiler.
        RefusedError: the code does not compile.
    """
    compiler = find()
    command = (*(compiler.vectors if options.vectors else compiler.plain), "-Os" if options.small else "-O3")
    included = [word for folder in headers for word in ("-I", str(folder))]
    stack = -(-(_STACK + _STACK_FOR_A_STEP * options.steps) // _STACK) * _STACK
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        objects = [f"{number}.o" for number in range(len(sources))]
        for number, text in enumerate(sources):
            (folder / f"{number}.c").write_text(text)
            _run([*command, *_FLAGS, *included, "-c", f"{number}.c", "-o", objects[number]], folder)
        _run([*compiler.link, *_LINK, "-z", f"stack-size={stack}", *objects, "-o", "net.wasm"], folder)
        return (folder / "net.wasm").read_bytes()


def _run(words: Sequence[str], folder: Path) -> None:
    """Run a command of the compiler in a folder, which also takes what Zig caches."""
    cache = {f"ZIG_{kind}_CACHE_DIR": str(folder / "zig") for kind in ("GLOBAL", "LOCAL")}
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **cache})
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or [f"exit {done.returncode}"]
        raise RefusedError(
            f"The compiler for WebAssembly refuses the file: {lines[0]}",
            "Update or reinstall it: pip install --force-reinstall ziglang",
        )
