"""Counting of executed instructions under QEMU, and the comparison with the committed counts."""

from __future__ import annotations

import copy
import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cmsis_nn, inner_loops, instruction_counter, instruction_table, instructions
from mnist_edge.toolchains.boards import BOARDS
from tests.conftest import ROOT, unavailable

RESULTS = ROOT / "benchmarks" / "results"
# A loop of three instructions, and one that returns; a mark after a thousand turns, then two thousand more.
PROGRAM = """
#include <stdlib.h>
#include <sys/resource.h>
__attribute__((noinline)) void turns(long n) {
    __asm__ volatile("1: subs %0, %0, #1\\n nop\\n b.ne 1b" : "+r"(n)::"cc");
}
int main(void) {
    turns(1000);
    getpriority(0x4D4E, 7);
    turns(2000);
    return 0;
}
"""


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The program, and the file with its counts."""
    folder = tmp_path_factory.mktemp("counted")
    (folder / "main.c").write_text(PROGRAM)
    try:
        instruction_counter.require(*instruction_counter.PACKAGES)
    except instruction_counter.MissingProgramError as error:
        unavailable(str(error))
    plugin = instruction_counter.build_plugin(folder, "qemu-aarch64")
    build = ["aarch64-linux-gnu-gcc", "-O2", "-static", "main.c", "-o", "main"]
    subprocess.run(build, cwd=folder, check=True)
    options = instruction_counter.plugin_options(plugin, folder / "counts.bin")
    instruction_counter.counted(["qemu-aarch64", *options, folder / "main"], folder / "counts.bin")
    return folder / "main", folder / "counts.bin"


@pytest.mark.parametrize(("suffix", "turns"), [(".7", 1000), ("", 2000)])
def test_a_loop_has_exactly_its_instructions_up_to_the_mark_and_after_it(
    suffix: str, turns: int, counted: tuple[Path, Path]
) -> None:
    program, written = counted
    counts = instruction_counter.read(written.with_name(written.name + suffix))
    places = instruction_counter.located(counts, instruction_counter.program(program))
    functions = instruction_counter.by_function(places, "aarch64-linux-gnu-")
    assert functions[str(program), "turns"] == 3 * turns + 1


def test_code_without_symbols_is_told_by_its_instructions(counted: tuple[Path, Path], tmp_path: Path) -> None:
    program, written = counted
    starts, functions = instruction_counter.symbols(str(program), "aarch64-linux-gnu-")
    start = next(start for start, (_, name) in zip(starts, functions, strict=True) if name == "turns")
    stripped = tmp_path / "stripped"
    subprocess.run(["aarch64-linux-gnu-strip", program, "-o", stripped], check=True)
    counts = instruction_counter.located(instruction_counter.read(written), instruction_counter.program(stripped))
    regions = instruction_counter.regions_without_symbols(counts, str(stripped), "aarch64-linux-gnu-")
    executed, first, last = regions[0]
    assert first <= start <= last
    assert executed > 6000
    found = instruction_counter.mnemonics(counts, str(stripped), (start, start + 12), "aarch64-linux-gnu-")
    assert found == {"subs": 2000, "nop": 2000, "b.ne": 2000, "ret": 1}


def test_files_in_memory_are_found_at_any_address(counted: tuple[Path, Path]) -> None:
    program, _ = counted
    maps = (
        f"4000800000-4000801000 r-xp 00000000 00:00 1 {program}\n"
        f"4000801000-4000802000 rw-p 00001000 00:00 1 {program}\n"
        "5000000000-5000001000 rw-p 00000000 00:00 0 \n"
        "6000000000-6000001000 r--p 00000000 00:00 0 /proc/version\n"
    )
    (loaded,) = instruction_counter.mapped(maps)
    assert (loaded.path, loaded.start, loaded.end) == (str(program), 0x4000800000, 0x4000802000)
    assert loaded.bias == 0x4000800000 - 0x400000  # where GCC links a program


def counts(**functions: int) -> dict[str, Any]:
    return {"compilers": {}, "counts": {"cortex-a72": {"cnn": {"digits": functions}}}}


@pytest.mark.parametrize(
    ("now", "code"),
    [
        ({"all": 1049, "conv_2_neon": 940}, 0),
        ({"all": 1049, "conv_2_neon": 950}, 1),
        ({"all": 1060, "conv_2_neon": 900}, 1),
        ({"all": 500, "conv_2_winograd": 450}, 0),
    ],
)
def test_a_kernel_or_a_net_that_executes_five_per_cent_more_fails(
    now: dict[str, int], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    before = counts(all=1000, conv_2_neon=900)
    assert instructions.compare(before, counts(**now)) == code
    assert ("remedy" in capsys.readouterr().err) == bool(code)


def test_a_net_without_committed_counts_fails(capsys: pytest.CaptureFixture[str]) -> None:
    before = counts(all=1000)
    now = copy.deepcopy(before)
    now["counts"]["cortex-a53"] = before["counts"]["cortex-a72"]
    assert instructions.compare(before, now) == 1
    assert "cortex-a53, cnn, digits: no counts in instructions.json" in capsys.readouterr().err


def test_a_net_that_was_not_counted_fails(capsys: pytest.CaptureFixture[str]) -> None:
    before = counts(all=1000)
    assert instructions.compare(before, {**before, "counts": {}}) == 1
    assert "cortex-a72, cnn, digits: not counted" in capsys.readouterr().err


def committed() -> dict[str, Any]:
    return json.loads((RESULTS / "instructions.json").read_text())


def test_the_table_is_that_of_the_committed_counts() -> None:
    assert (RESULTS / "instructions.md").read_text() == instruction_table.table(committed())


def test_the_table_says_that_cycles_were_not_estimated() -> None:
    results = committed()
    results["loops"]["llvm"] = None
    text = instruction_table.table(results)
    assert "llvm-mca was not installed" in text
    assert "| cortex-a72 | `cnn` | generated C | `conv_2_neon` | 79% | 49 | 128 |  |  |" in text


def test_every_board_is_in_the_table_with_every_optimization() -> None:
    boards = {f"{name} {level}" for name in BOARDS for level in instructions.LEVELS}
    assert committed()["counts"].keys() == boards | set(instructions.CPUS)


def test_an_update_changes_the_counts_of_generated_c_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = committed()
    cost = instructions.Cost(1000.0, 1000.0, {"conv_2_neon": 900.0, "hidden_neon": 10.0}, Counter())
    kinds = dict.fromkeys(instructions.KINDS, cost)
    own = {name: dict.fromkeys(models, kinds) for name, models in before["counts"].items()}
    loop = {**before["loops"]["rows"][0], "engine": "generated C", "function": "another"}
    monkeypatch.setattr(instructions, "generated", lambda bench, short: own)
    monkeypatch.setattr(instructions, "own_loops", lambda costs: [loop])
    monkeypatch.setattr(instructions, "version_of", lambda program: f"{program} 1.0")
    bench = instructions.Bench(tmp_path, tmp_path / "count.so", {})
    after = instructions.measured(bench, before, only_own=True, cmsis=None)
    assert {key for key in before if after[key] != before[key]} <= {"compilers", "counts", "date", "emulator", "loops"}
    assert after["counts"]["cortex-a72"]["cnn"]["digits"] == {"all": 1000, "conv_2_neon": 900}
    engines = [row for row in before["loops"]["rows"] if row["engine"] != "generated C"]
    assert after["loops"]["rows"] == [loop, *engines]
    text = instruction_table.table(after)
    assert text.count("generated C | | 1,000 | |") == 12
    assert (
        text.partition("## Start and memory")[2] == instruction_table.table(before).partition("## Start and memory")[2]
    )
    row = next(line for line in text.splitlines() if line.startswith("| cortex-a72 (Pi 4) | `cnn` | digits | litert |"))
    *_, engine, ratio = (cell.strip() for cell in row.strip("|").split("|"))
    assert float(ratio) == pytest.approx(int(engine.replace(",", "")) / 1000, abs=0.005)


def test_the_inner_loop_is_the_block_with_the_most_instructions(counted: tuple[Path, Path]) -> None:
    program, written = counted
    counts = instruction_counter.located(instruction_counter.read(written), instruction_counter.program(program))
    loop = inner_loops.hottest(counts, program.name, "aarch64-linux-gnu-")
    assert loop.function == "turns"
    assert [line.split()[0] for line in loop.instructions] == ["subs", "nop", "b.ne"]
    assert loop.share > 0.9
    assert loop.products == 0


def test_products_are_those_of_the_vectors_lanes() -> None:
    lines = (
        "umull2 v3.8h, v1.16b, v2.16b",
        "uadalp v4.4s, v3.8h",
        "smlal v0.4s, v1.4h, v2.h[1]",
        "udot v0.4s, v1.16b, v2.4b[0]",
    )
    assert inner_loops.Loop("f", 1.0, lines).products == 8 + 4 + 16


def test_cycles_are_those_of_a_chain_of_dependent_instructions() -> None:
    if inner_loops.version() is None:
        pytest.skip("llvm-mca is optional")
    loop = inner_loops.Loop("f", 1.0, ("add x0, x0, x1", "b.ne\t401f98 <f+0x358>  // b.any"))
    assert inner_loops.cycles(loop, "cortex-a72") == pytest.approx(1, abs=0.1)


def test_a_folder_that_is_no_repository_of_cmsis_nn_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(cmsis_nn.NoRepositoryError, match="no repository of CMSIS-NN"):
        cmsis_nn.sources(tmp_path, tmp_path / "files")
