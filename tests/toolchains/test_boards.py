"""Boards that generated C is compiled for, and the stack that GCC's call graph shows."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mnist_edge.errors import MissingError, RefusedError
from mnist_edge.toolchains import cross_gcc, firmware, footprint, host_cc
from mnist_edge.toolchains.boards import BOARDS
from tests.conftest import ROOT, unavailable

GRAPH = """
node: { title: "net_run" label: "net_run\\nnet.c:1\\n40 bytes (static)" }
node: { title: "wide" label: "wide\\nnet.c:2\\n8 bytes (static)" }
node: { title: "deep" label: "deep\\nnet.c:3\\n16 bytes (static)" }
node: { title: "deepest" label: "deepest\\nnet.c:4\\n100 bytes (static)" }
node: { title: "other" label: "other\\nnet.c:5\\n5000 bytes (static)" }
edge: { sourcename: "net_run" targetname: "wide" }
edge: { sourcename: "net_run" targetname: "deep" }
edge: { sourcename: "deep" targetname: "deepest" }
edge: { sourcename: "deep" targetname: "memcpy" }
"""


def test_the_stack_is_that_of_the_deepest_chain_of_calls() -> None:
    assert footprint._stack_bytes(GRAPH, "net_run") == 40 + 16 + 100
    assert footprint._stack_bytes(GRAPH, "wide") == 8


ARM = {"cortex-m0", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m55"}


def test_a_board_names_its_processor_its_tools_and_its_emulator() -> None:
    assert set(BOARDS) >= ARM
    for name, board in BOARDS.items():
        assert board.processor == name
        assert (board.compiler, board.size_tool) == (f"{board.compiler_prefix}gcc", f"{board.compiler_prefix}size")
        assert board.flags
        if name in ARM:
            assert board.compiler_prefix == "arm-none-eabi-"
            assert f"-mcpu={name}" in board.flags
            assert board.emulator[0] == "qemu-system-arm"
            assert 16 * 1024 <= board.ram <= 4096 * 1024
            assert 16 <= board.clock_mhz <= 32
        assert (ROOT / "tools" / "mcu" / f"{board.start_up}.c").is_file()
        for suffix in (".c", ".ld"):
            assert (firmware.FOLDER / f"{board.start_up}{suffix}").is_file()


def test_a_compiler_that_is_not_installed_is_reported_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not cross_gcc.is_installed(replace(BOARDS["cortex-m4"], compiler_prefix="no-such-"))
    monkeypatch.setattr(host_cc, "COMPILER", "no-such-cc")
    with pytest.raises(MissingError, match="no C compiler here"):
        host_cc.find()


def test_code_that_does_not_compile_is_refused_with_the_compilers_first_line(tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        unavailable("A C compiler")
    with pytest.raises(RefusedError, match=r"net\.c.*error"):
        host_cc.shared_object(b"int x = ;", host_cc.find())
    board, source = BOARDS["cortex-m4"], tmp_path / "net.c"
    if not cross_gcc.is_installed(board):
        unavailable("arm-none-eabi-gcc")
    source.write_bytes(b"int x = ;")
    with pytest.raises(RefusedError, match=r"arm-none-eabi-gcc refuses the file: net\.c.*error"):
        cross_gcc.compile_object(board, source)
    source.write_bytes(b"const int x[100] = {1}; int y = 2; int f(void) { return y; }")
    assert 404 < cross_gcc.flash_bytes(board, cross_gcc.compile_object(board, source)) < 450
