"""``export --project`` and ``--for``: what is never overwritten, which options are refused, and what fits a board."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_edge.cli import main
from mnist_edge.cli.verdict import _three_digits
from mnist_edge.conversion import c as converter
from mnist_edge.conversion.project import RECORD
from mnist_edge.data.load import ENVIRONMENT_VARIABLE
from mnist_edge.formats.c import facts_of
from mnist_edge.runtime.engines import native
from mnist_edge.runtime.selftest import Golden, golden_path
from mnist_edge.store.manifest import sha256_of
from mnist_edge.toolchains import known_boards
from mnist_edge.workflows import board_fit, export_project
from tests.conftest import unavailable
from tests.support import int8_nets


@pytest.fixture(autouse=True)
def _without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("cc") is None:
        unavailable("A C compiler")
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)


def exported(folder: Path, name: str, *options: object, seed: int = 5) -> int:
    """Export a small net, which is no classifier of images, to C in plain C."""
    net = int8_nets.signed(seed, 6)
    net.dense(3, int8_nets.NONE)
    (folder / f"{name}.tflite").write_bytes(net.content())
    words = ["export", "--model", folder / f"{name}.tflite", "--backend", "c99", "-o", folder / "w"]
    return main([str(word) for word in (*words, *(options or ["--format", "c"]))])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_call_adds_a_model_and_the_users_own_files_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "lib"
    words = ["--format", "c", "--project", folder]
    assert exported(tmp_path, "first", *words, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["project"][0] == str(folder / "README.md")
    assert {str(folder / name) for name in contents(folder)} == set(result["project"])
    (folder / "notes.txt").write_text("mine")
    first = contents(folder)
    assert exported(tmp_path, "second", *words) == 0
    assert f"Project with 13 files: {folder / 'README.md'}" in capsys.readouterr().out
    both = contents(folder)
    assert {name: both[name] for name in first if name.startswith(("src/", "notes"))} == {
        name: content for name, content in first.items() if name.startswith(("src/", "notes"))
    }
    for name in ("CMakeLists.txt", "README.md", "library.json", "examples/classify/classify.ino"):
        assert b"first-int8" in both[name]
        assert b"second-int8" in both[name]
    assert "EDGE_WEIGHTS_SECTION" in both["README.md"].decode()
    exported_c = (tmp_path / "w" / "first" / "first-int8.c").read_bytes()
    share = b"#ifndef EDGE_SHARE_KERNELS\n#define EDGE_SHARE_KERNELS\n#endif\n"
    assert both["src/first-int8.c"].replace(share, b"", 1) == exported_c
    source = folder / "src" / "first-int8.c"
    subprocess.run(["cc", "-fsyntax-only", "-Werror", "-DEDGE_SHARE_KERNELS", source], check=True)
    assert exported(tmp_path, "second", *words) == 0
    assert contents(folder) == both


def _others(folder: Path) -> None:
    folder.mkdir()
    (folder / "main.c").write_text("int main(void) { return 0; }")


def _a_file(folder: Path) -> None:
    folder.write_text("mine")


def _damaged(folder: Path) -> None:
    folder.mkdir()
    (folder / RECORD).write_text('{"models": 1')


def _other_json(folder: Path) -> None:
    folder.mkdir()
    (folder / RECORD).write_text('{"models": ["../secret"], "files": {}}')


@pytest.mark.parametrize("make", [_others, _a_file, _damaged, _other_json])
def test_a_folder_that_it_did_not_write_is_refused_before_the_export(
    make: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "lib")
    before = contents(tmp_path)
    assert exported(tmp_path, "net", "--format", "c", "--project", tmp_path / "lib") == 2
    assert "remedy: Name a new or an empty folder with --project." in capsys.readouterr().err
    after = contents(tmp_path)
    del after["net.tflite"]
    assert after == before


@pytest.mark.parametrize("name", ["README.md", "src/first-int8.c", "src/second-int8.h"])
def test_a_file_that_was_changed_or_added_is_not_overwritten(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--format", "c", "--project", tmp_path / "lib"]
    assert exported(tmp_path, "first", *words) == 0
    (tmp_path / "lib" / name).write_text("mine")
    before = contents(tmp_path / "lib")
    assert exported(tmp_path, "second", *words) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'lib' / name} was not written by mnist-edge, or was changed or removed since." in said
    assert contents(tmp_path / "lib") == before


def test_two_models_whose_functions_have_the_same_names_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--format", "c", "--project", tmp_path / "lib"]
    assert exported(tmp_path, "a-net", *words) == 0
    before = contents(tmp_path / "lib")
    assert exported(tmp_path, "a_net", *words) == 2
    assert "a-net-int8.c and a_net-int8.c both define A_NET_INT8_H." in capsys.readouterr().err
    assert exported(tmp_path, "A-net", *words) == 2  # macros have capitals
    assert "both define A_NET_INT8_H." in capsys.readouterr().err
    assert contents(tmp_path / "lib") == before
    (tmp_path / "other").mkdir()  # the same model again, from another workspace, replaces the one in the project
    assert exported(tmp_path / "other", "a-net", *words, seed=6) == 0
    assert contents(tmp_path / "lib")["src/a-net-int8.c"] != before["src/a-net-int8.c"]


def test_a_name_that_builders_may_not_take_is_replaced_by_the_prefix(tmp_path: Path) -> None:
    assert exported(tmp_path, "my net", "--format", "c", "--project", tmp_path / "lib") == 0
    assert (tmp_path / "lib" / "src" / "my_net_int8.c").is_file()


def test_an_export_that_fails_writes_no_project(tmp_path: Path) -> None:
    assert exported(tmp_path, "net", "--format", "c", "--max-flash", 10, "--project", tmp_path / "lib") == 1
    assert not (tmp_path / "lib").exists()


def test_the_image_of_a_project_is_the_first_of_the_self_test(tmp_path: Path) -> None:
    net = int8_nets.begun(1, 9, 7)
    net.conv(5, (3, 3), (1, 1), int8_nets.SAME)
    content, path = converter.from_tflite(int8_nets.ended(net), "net", backend="c99"), tmp_path / "net-int8.c"
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 7, 1)).astype(np.uint8)
    answers = np.full((3, 10), 0.1, np.float32)
    golden_path(path).write_bytes(Golden(images, answers, ("native",), answers[np.newaxis], 0.1).to_bytes())
    given, answer = export_project._golden(path, content)
    assert (given.reshape(9, 7, 1) == images[0]).all()
    assert (answer == native.load(content, 1).run(images)[0]).all()
    golden_path(path).write_bytes(b"damaged")
    assert export_project._golden(path, content)[0].shape == given.shape


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--project", "lib"], "Add the format: --format c --project DIR"),
        (["--format", "c", "--for", "nucleo-f446"], "Did you mean 'nucleo-f446re'? Known: pico, pico2, nano33ble, "),
        (["--format", "tflite", "--for", "pico"], "Add the format: --format c --for pico"),
    ],
)
def test_options_without_generated_c_and_unknown_boards_are_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_board_sets_the_budget_and_the_time_is_a_range_that_is_called_an_estimate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--format", "c", "--for", "nano33ble"]
    monkeypatch.setattr(board_fit, "_LEAST_PRODUCTS", 0)
    monkeypatch.setattr(board_fit, "_PRODUCTS_FOR_AN_OUTPUT", 0)
    assert exported(tmp_path, "net", *words, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    (fit,), (size,) = result["board_fits"], result["footprints"]
    assert (fit["board"], fit["fits"], fit["clock_mhz"]) == ("nano33ble", True, 64)
    assert fit["path"] == size["path"]
    low, high = fit["image_ms"]
    assert 0 < low < high
    products = facts_of(Path(size["path"]).read_bytes())["products"]
    assert fit["instructions"] == [round(0.7 * products), round(47 * products)]  # the file has plain C alone
    if shutil.which("arm-none-eabi-gcc"):
        assert size["compiled_for"] == "cortex-m4"
    small = replace(known_boards.BOARDS["nano33ble"], flash_bytes=50)
    monkeypatch.setitem(known_boards.BOARDS, "nano33ble", small)
    assert exported(tmp_path, "net", *words) == 1
    said = capsys.readouterr()
    assert "does NOT fit the Arduino Nano 33 BLE" in said.out
    assert "Estimate, not measured: " in said.out
    assert "bytes of flash; 50 are allowed on the Arduino Nano 33 BLE." in said.err
    assert "Train a smaller net, or take another board." in said.err


def test_there_is_no_estimate_for_a_net_whose_weights_take_few_instructions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exported(tmp_path, "net", "--format", "c", "--for", "pico") == 0
    assert "No estimate of the time" in capsys.readouterr().out
    for layers, products, expected in (
        (["FULLY_CONNECTED", "SOFTMAX"], 20_000, True),
        (["TANH", "FULLY_CONNECTED"], 20_000, False),
        (["FULLY_CONNECTED"], 100, False),
        (["CONV_2D, MAX_POOL_2D", "FULLY_CONNECTED"], 20_000, True),
    ):
        sizes = [{"op": op, "shape": [10] if op == "SOFTMAX" else [30, 40]} for op in layers]
        assert board_fit._weights_take_most({"products": products, "layers": sizes}) is expected


def test_a_model_whose_files_were_deleted_leaves_the_project(tmp_path: Path) -> None:
    words = ["--format", "c", "--project", tmp_path / "lib"]
    assert exported(tmp_path, "first", *words) == exported(tmp_path, "second", *words) == 0
    for path in (tmp_path / "lib" / "src").glob("first*"):
        path.unlink()
    assert exported(tmp_path, "second", *words) == 0
    assert json.loads((tmp_path / "lib" / RECORD).read_text())["models"] == ["second-int8"]
    assert all(b"first-int8" not in content for content in contents(tmp_path / "lib").values())


def test_an_interrupted_project_is_finished_by_the_next_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--format", "c", "--project", tmp_path / "lib"]
    write = export_project.write_bytes
    for seed in (5, 6):  # a new project, and a renewed one
        calls = iter(range(100))

        def stopped(path: Path, content: bytes, calls: Iterator[int] = calls) -> None:
            if next(calls) == 3:
                raise KeyboardInterrupt
            write(path, content)

        with monkeypatch.context() as patch:
            patch.setattr(export_project, "write_bytes", stopped)
            assert exported(tmp_path, "net", *words, seed=seed) == 130
        assert exported(tmp_path, "net", *words, seed=seed) == 0
        record = json.loads((tmp_path / "lib" / RECORD).read_text())
        assert "writing" not in record
        files = {name: sha256_of(content) for name, content in contents(tmp_path / "lib").items() if name != RECORD}
        assert files == record["files"]


@pytest.mark.parametrize("inside", ["file/lib", "link"])
def test_a_folder_that_cannot_be_made_is_refused_before_the_export(
    inside: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    assert exported(tmp_path, "net", "--format", "c", "--project", tmp_path / inside) == 2
    assert "is no folder" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_counted_instructions_are_used_for_the_nets_that_were_counted() -> None:
    board = known_boards.BOARDS["nucleo-f446re"]
    assert board.instructions(4_241_152, 421_642, "all") == (3_403_000, 5_186_000)
    assert board.instructions(4_241_152, 421_642, "c99") == (11_571_000, 35_415_000)
    assert board.instructions(1000, 10, "arm") == (300, 19_000)
    assert board.image_ms((180_000, 180_000)) == (1, 3)


def test_boards_have_compilers_and_plausible_memory() -> None:
    for board in known_boards.BOARDS.values():
        assert 64 * 1024 <= board.ram_bytes < board.flash_bytes <= 4096 * 1024
        assert 48 <= board.clock_mhz <= 480
        assert board.compiler.compiler.endswith("-gcc")
        assert 0 < board.cycles[0] < board.cycles[1] <= 5


@pytest.mark.parametrize(("value", "text"), [(0.01234, "0.0123"), (1.5, "1.50"), (99.96, "100.0"), (1234.5, "1,234")])
def test_times_have_three_digits(value: float, text: str) -> None:
    assert _three_digits(value) == text
