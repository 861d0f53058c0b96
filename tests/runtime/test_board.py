"""`verify --board` on emulated boards and on a serial port: the host's verdict, and no verdict on another firmware."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tty
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.resources import files as files_of
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from mnist_edge import data, results
from mnist_edge.conversion import c as converter
from mnist_edge.errors import ContentError, GateError, MissingError, MnistEdgeError, StageError, UsageError
from mnist_edge.formats import c
from mnist_edge.runtime.board import frames, line, link, taps
from mnist_edge.runtime.board.frames import Frame
from mnist_edge.runtime.engines import native
from mnist_edge.runtime.selftest import SUFFIX
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.toolchains import firmware
from mnist_edge.toolchains.boards import BOARDS, Board
from mnist_edge.workflows.verify import BoardOptions, VerifyOptions, VerifyResult, verify
from tests.conftest import Run, assert_two_lines, unavailable
from tests.support.noise import NoisyLine

pytestmark = pytest.mark.slow
M4 = BOARDS["cortex-m4"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The C of the shipped models by name, each in a folder with manifest, float answers and golden set."""
    made, inputs = {}, data.load().calibration.images[:64]
    for name in ("dense", "cnn"):
        shipped, folder = SHIPPED / name, tmp_path_factory.mktemp(name)
        path = folder / f"{name}-int8.c"
        content = converter.from_tflite((shipped / f"{name}-int8.tflite").read_bytes(), name, inputs)
        golden = (shipped / f"{name}-int8.tflite{SUFFIX}").read_bytes()
        shutil.copy(shipped / "reference.npz", folder)
        entry = {"format": "c", "quantization": "int8", "model": name}
        Manifest.load(folder).commit({path.name: (content, entry), path.name + SUFFIX: (golden, {})})
        made[name] = path
    return made


def installed(board: Board) -> None:
    for tool in (board.compiler, board.emulator[0]):
        if shutil.which(tool) is None:
            unavailable(tool)


def needs_pyserial() -> None:
    if importlib.util.find_spec("serial") is None:
        unavailable("pyserial")


def on_board(path: Path, spec: str, images: int | None, **options: Any) -> VerifyResult:
    if spec.startswith("qemu:"):
        installed(BOARDS[spec.removeprefix("qemu:")])
    return verify(VerifyOptions(models=(str(path),), board=BoardOptions(spec, images), **options))


@pytest.mark.parametrize(
    ("name", "processor", "images", "kernels"),
    [("dense", "cortex-m4", 200, "Cortex-M DSP"), ("cnn", "cortex-m4", 20, "Cortex-M DSP"),
     ("dense", "cortex-m0", 100, "C99"), ("cnn", "cortex-m55", 10, "Helium"),
     ("dense", "rv32imac", 100, "C99")],
)  # fmt: skip
def test_the_verdict_is_that_of_this_machine(
    name: str, processor: str, images: int, kernels: str, sources: dict[str, Path]
) -> None:
    here = verify(VerifyOptions(models=(str(sources[name]),), engine="native"))
    found = on_board(sources[name], f"qemu:{processor}", images)
    (report,), (expected,) = found.verdicts.reports, here.verdicts.reports
    assert found.error is None
    assert (report.engine, report.rule, report.accuracy, report.flips) == (
        "board", expected.rule, expected.accuracy, expected.flips,
    )  # fmt: skip
    assert f"qemu:{processor} answered {images} images, and this machine the other" in report.verdict
    ran = report.board
    assert ran is not None
    assert (ran.kernels, ran.n, ran.differing, ran.median_cycles, ran.max_cycles) == (kernels, images, 0, None, None)
    assert ran.stack_bytes is not None
    assert 256 < ran.stack_bytes < 1500


def test_the_self_test_runs_on_the_board(sources: dict[str, Path]) -> None:
    found = on_board(sources["dense"], "qemu:cortex-m4", None, selftest=True)
    (selftest,) = found.selftests
    assert (found.error, selftest.passed, selftest.engine, selftest.n) == (None, True, "board", 32)


def test_a_line_that_damages_a_hundredth_of_the_bytes_changes_no_answer(
    sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy: list[NoisyLine] = []
    clean = line.emulated_line

    @contextlib.contextmanager
    def emulated(board: Board, program: Path) -> Iterator[NoisyLine]:
        with clean(board, program) as opened:
            noisy.append(NoisyLine(opened, 0.01))
            yield noisy[0]

    monkeypatch.setattr(line, "emulated_line", emulated)
    (report,) = on_board(sources["dense"], "qemu:cortex-m4", 20).verdicts.reports
    assert report.passed
    assert report.board is not None
    assert (report.board.n, report.board.differing) == (20, 0)
    assert report.board.repeated_requests > 20
    assert noisy[0].changed > 50


def with_source(change: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `firmware.build` build another net."""
    build = firmware.build
    monkeypatch.setattr(firmware, "build", lambda board, source, *rest: build(board, change(source), *rest))


def with_harness(old: str, new: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `firmware.build` build another harness."""
    shutil.copytree(firmware.FOLDER, folder)
    code = (folder / "harness.c").read_text()
    assert code.count(old) == 1
    (folder / "harness.c").write_text(code.replace(old, new))
    monkeypatch.setattr(firmware, "FOLDER", folder)


def flipped(source: bytes, at: int = 999, bit: int = 1) -> bytes:
    """The C with one bit of one weight of its first layer changed."""
    first = re.search(rb"hidden_weights\[\d+\] = \{\s*(?:-?\d+,\s+){%d}(-?\d+)," % at, source)
    assert first is not None
    return source[: first.start(1)] + b"%d" % (int(first[1]) ^ bit) + source[first.end(1) :]


def test_one_flipped_weight_is_refused(sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with_source(flipped, monkeypatch)
    with pytest.raises(ContentError, match=r"constants on the board at qemu:cortex-m4 are not those of dense-int8\.c"):
        on_board(sources["dense"], "qemu:cortex-m4", 10)


def test_the_firmware_of_another_model_is_refused(sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with_source(lambda source: sources["cnn"].read_bytes(), monkeypatch)
    with pytest.raises(ContentError, match="runs another model") as caught:
        on_board(sources["dense"], "qemu:cortex-m4", 10)
    assert caught.value.remedy == "Build the firmware with dense-int8.c, and flash it."


def test_another_version_of_the_harness_is_refused(
    sources: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_harness("PROTOCOL_VERSION = 2 }", "PROTOCOL_VERSION = 9 }", tmp_path / "firmware", monkeypatch)
    with pytest.raises(ContentError, match="version 9 of the protocol, not 2"):
        on_board(sources["dense"], "qemu:cortex-m4", 10)


def test_a_board_that_answers_differently_fails_with_the_number_of_answers(
    sources: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "if (input[14 * 28 + 14] > 200)\n        answer[3] ^= 1;\n    body[0] = flags;"
    with_harness("body[0] = flags;", wrong, tmp_path / "firmware", monkeypatch)
    expected = int((data.load_test(None)[0].images[:50, 14, 14] > 200).sum())
    assert 5 < expected < 45
    found = on_board(sources["dense"], "qemu:cortex-m4", 50)
    (report,) = found.verdicts.reports
    assert (report.passed, report.rule) == (False, "board")
    assert report.verdict.startswith(f"Failed (board): {expected} of 50 answers of qemu:cortex-m4 differ")
    assert report.verdict.endswith("All layers are right in firmware with taps for the first such image: the fault "
                                   "lies behind them.")  # fmt: skip
    assert isinstance(found.error, GateError)
    with pytest.raises(GateError, match="of 32 answers of qemu:cortex-m4 differ"):
        on_board(sources["dense"], "qemu:cortex-m4", None, selftest=True)


def with_a_fixed_fingerprint(source: bytes) -> bytes:
    """The C that returns the fingerprint of ``source`` whatever its constants are, as if flash decayed afterwards."""
    fingerprint = native.constants_fingerprint(source)
    changed = flipped(source, 51_999, 64)  # of a pixel in the middle of the image
    return changed.replace(b"return ~crc;\n}\n#endif", b"(void)crc; return %dU;\n}\n#endif" % fingerprint)


def with_a_wrong_kernel(source: bytes) -> bytes:
    """The C whose third layer, in the middle of the net, stores half of its outputs wrong."""
    stored = re.search(rb"    EDGE_TAP\(3, (\w+), (\d+)\);\n", source)
    assert stored is not None
    wrong = b"    memset(%b, 200, %d);\n" % (stored[1], int(stored[2]) // 2)
    return source[: stored.start()] + wrong + source[stored.start() :]


@pytest.mark.parametrize(
    ("name", "change", "layer"), [("dense", with_a_fixed_fingerprint, 0), ("cnn", with_a_wrong_kernel, 2)]
)
def test_the_first_wrong_layer_is_named(
    name: str, change: Callable[[bytes], bytes], layer: int, sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_source(change, monkeypatch)
    (report,) = on_board(sources[name], "qemu:cortex-m4", 100 if name == "dense" else 3).verdicts.reports
    layers = c.facts_of(sources[name].read_bytes())["layers"]
    assert report.rule == "board"
    assert report.board is not None
    assert report.board.layer == layers[layer]["name"]
    assert f"The first wrong layer is {layers[layer]['name']} ({layers[layer]['op']}), {layer + 1} of" in report.verdict


def test_a_search_for_the_layer_that_fails_does_not_replace_the_verdict(
    sources: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_harness("body[0] = flags;", "answer[3] ^= 1;\n    body[0] = flags;", tmp_path / "firmware", monkeypatch)
    (tmp_path / "firmware" / "taps.h").write_text("#error no taps\n")
    found = on_board(sources["dense"], "qemu:cortex-m4", 3)
    assert isinstance(found.error, GateError)
    (report,) = found.verdicts.reports
    assert report.verdict.startswith("Failed (board): 3 of 3 answers of qemu:cortex-m4 differ")
    assert "The first wrong layer is not known: " in report.verdict


def test_a_board_that_sends_nothing_is_missing(
    sources: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_harness("board_write_byte(0);\n    for (;;) {", "for (;;) {", tmp_path / "firmware", monkeypatch)
    code = tmp_path / "firmware" / "uart_cmsdk.c"
    code.write_text(code.read_text().replace("REGISTERS[DATA] = byte;", "(void)byte;"))
    monkeypatch.setattr(link, "START_SECONDS", 1.0)
    with pytest.raises(MissingError, match="Nothing answers on qemu:cortex-m4"):
        on_board(sources["dense"], "qemu:cortex-m4", 10)


def test_a_net_that_is_too_large_for_the_board_is_an_error(sources: dict[str, Path]) -> None:
    with pytest.raises(StageError, match=r"cortex-m0 cannot be linked: region `FLASH' overflowed"):
        on_board(sources["cnn"], "qemu:cortex-m0", 10)


def test_an_emulator_that_does_not_know_the_board_is_an_error(
    sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = replace(M4, emulator=("qemu-system-arm", "-M", "no-such-board"))
    monkeypatch.setitem(BOARDS, "cortex-m4", unknown)
    with pytest.raises(StageError, match=r"The emulator of cortex-m4 has ended: .*unsupported machine"):
        on_board(sources["dense"], "qemu:cortex-m4", 5)


def test_without_emulator_the_remedy_installs_it(sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == M4.emulator[0] else f"/usr/bin/{name}")
    with pytest.raises(MissingError, match="qemu-system-arm is not installed") as caught:
        verify(VerifyOptions(models=(str(sources["dense"]),), board=BoardOptions("qemu:cortex-m4", 10)))
    assert caught.value.remedy.startswith("Install it: sudo apt install gcc-arm-none-eabi")


@pytest.mark.parametrize(
    "options", [{"engine": "native"}, {"layers": True}, {"selftest": True}], ids=["engine", "layers", "selftest"]
)
def test_options_that_contradict_a_board_are_refused(options: dict[str, Any], sources: dict[str, Path]) -> None:
    with pytest.raises(UsageError):
        verify(VerifyOptions(models=(str(sources["dense"]),), board=BoardOptions("qemu:cortex-m4", 10), **options))


def test_the_command_prints_the_verdict_and_what_the_board_reports(
    cli: Callable[..., Run], sources: dict[str, Path]
) -> None:
    installed(M4)
    words = ["verify", sources["dense"], "--board", "qemu:cortex-m4", "--images", 10]
    run = cli(*words)
    assert run.code == 0, run
    assert "qemu:cortex-m4: kernels Cortex-M DSP; stack " in run.out
    assert "cycles of an image not counted" in run.out
    (result,) = cli(*words, "--json").json["results"]
    assert (result["board"]["n"], result["board"]["differing"], result["board"]["median_cycles"]) == (10, 0, None)
    assert_two_lines(cli("verify", sources["dense"], "--images", 10), 2)
    assert_two_lines(cli("verify", sources["dense"], "--board", "qemu:nothing"), 2)


UART = """
#include "harness.h"
#include <stdio.h>
#include <stdlib.h>
void board_init(void) { setvbuf(stdout, NULL, _IOFBF, 1 << 16); }
uint8_t board_read_byte(void) {
    fflush(stdout);
    const int byte = getchar();
    if (byte == EOF)
        exit(0);
    return (uint8_t)byte;
}
void board_write_byte(uint8_t byte) { putchar(byte); }
uint32_t board_clock_hz(void) { return 100000000; }
uint32_t board_cycles(void) { static uint32_t cycles = 0xFFFFFF00u; return cycles += 200; }
int main(void) { harness_serve(); }
"""


@pytest.fixture(scope="module")
def harness(sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The harness with ``dense`` as a program of this machine, with sanitizers; its line is its input and output."""
    folder = tmp_path_factory.mktemp("harness")
    content = sources["dense"].read_bytes()
    (folder / "net.h").write_text(c.header_of(content))
    (folder / "uart.c").write_text(UART)
    command = ["cc", "-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsanitize=address,undefined"]
    command += ["-fno-sanitize-recover", '-DNET_HEADER="net.h"', "-DNET=dense_int8", "-DNET_UPPER=DENSE_INT8"]
    command += ["-DEDGE_FINGERPRINT", "-DBOARD_COUNTS_CYCLES", "-DEDGE_BACKEND=EDGE_C99", f"-I{firmware.FOLDER}"]
    command += ["-include", str(firmware.FOLDER / "taps.h")]
    parts = [firmware.FOLDER / "harness.c", folder / "uart.c", sources["dense"]]
    subprocess.run([*command, "-I", folder, *parts, "-o", folder / "harness"], check=True)
    return folder / "harness"


def test_the_harness_survives_any_bytes_and_answers_afterwards(harness: Path, sources: dict[str, Path]) -> None:
    draw = np.random.default_rng(0)
    sent = bytearray()
    for number in range(300):
        kind, size = draw.integers(0, 256), draw.integers(0, 900)
        body = draw.integers(0, 256, size).astype(np.uint8).tobytes()
        if number % 3 == 0:  # noise, then whole frames of all types with any body
            sent += body
        sent += frames.encode(Frame(int(kind) if number % 2 else int(kind) % 5, number, body))
    sent += frames.encode(Frame(frames.HELLO, 7, b"\1"))
    done = subprocess.run([harness], input=sent, capture_output=True, check=True)
    last = frames.decode(done.stdout.rstrip(b"\0").rpartition(b"\0")[2])
    assert last is not None
    assert (last.type, last.sequence) == (frames.HELLO | frames.REPLY, 7)
    facts = frames.facts_of(last.body)
    assert facts is not None
    assert facts.fingerprint == native.constants_fingerprint(sources["dense"].read_bytes())


@contextlib.contextmanager
def port_to(harness: Path) -> Iterator[str]:
    """The name of a serial port behind which the harness runs."""
    ours, theirs = os.openpty()
    tty.setraw(ours)
    tty.setraw(theirs)
    child = subprocess.Popen([harness], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    assert child.stdin is not None
    assert child.stdout is not None

    def copy(source: int, target: int) -> None:
        with contextlib.suppress(OSError):
            while content := os.read(source, 4096):
                os.write(target, content)

    ends = ((ours, child.stdin.fileno()), (child.stdout.fileno(), ours))
    threads = [threading.Thread(target=copy, args=pair, daemon=True) for pair in ends]
    for thread in threads:
        thread.start()
    try:
        yield os.ttyname(theirs)
    finally:
        child.kill()
        child.wait()
        os.close(theirs)
        for thread in threads:
            thread.join(5)
        os.close(ours)
        child.stdin.close()
        child.stdout.close()


def test_a_board_at_a_serial_port_reports_its_cycles(harness: Path, sources: dict[str, Path]) -> None:
    needs_pyserial()
    with port_to(harness) as port:
        (report,) = on_board(sources["dense"], f"serial:{port}", 50).verdicts.reports
    assert report.passed
    ran = report.board
    assert ran is not None
    assert (ran.n, ran.differing, ran.median_cycles, ran.max_cycles, ran.stack_bytes) == (50, 0, 200, 200, None)


def test_a_board_with_taps_returns_what_each_layer_stored(
    harness: Path, sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_pyserial()
    content, image = sources["dense"].read_bytes(), data.load_test(None)[0].images[7]
    with port_to(harness) as port:
        spec = line.Spec.parse(f"serial:{port}")
        with spec.open(content) as opened:
            board = link.Link(opened, "here")
            facts = board.hello()
            assert facts.layers == len(c.facts_of(content)["layers"])
            assert board.trace(image.tobytes(), facts) == native.layer_checksums(content, image)
            assert "lie" in taps.locate(content, image, spec, board, facts).sentence
            without = taps.locate(content, image, spec, board, replace(facts, layers=0))
            monkeypatch.setattr(board, "trace", lambda *_: [0] * facts.layers)  # only harness.c includes taps.h
            partly = taps.locate(content, image, spec, board, facts)
    assert without == taps.Fault(None, "The firmware has no taps: build it with -include taps.h.")
    assert partly == taps.Fault(None, "The generated C was compiled without -include taps.h.")


def test_bench_measures_the_time_of_a_board_that_counts_cycles(
    cli: Callable[..., Run], harness: Path, sources: dict[str, Path]
) -> None:
    needs_pyserial()
    words = ["bench", sources["dense"], "--count", 25]
    with port_to(harness) as port:
        run = cli(*words, "--board", f"serial:{port}", "--json")
        shown = cli(*words, "--board", f"serial:{port}")
    jsonschema.validate(run.json, json.loads((files_of(results) / "bench.schema.json").read_text()))
    (found,) = run.json["boards"]
    assert (found["n"], found["differing"], found["kernels"], found["clock_hz"]) == (25, 0, "C99", 100_000_000)
    for name in ("p50", "min", "max"):
        assert (found[f"{name}_cycles"], found[f"{name}_us"]) == (200, pytest.approx(2))
    assert (found["stack_bytes"], run.json["results"], run.json["notes"]) == (None, [], [])
    assert "Time of an image: 2.0 us (median), 2.0 to 2.0\nCycles: 200 (median)" in shown.out


def test_bench_measures_no_time_of_an_emulated_board(cli: Callable[..., Run], sources: dict[str, Path]) -> None:
    installed(M4)
    words = ["bench", sources["dense"], "--board", "qemu:cortex-m4", "--count", 5]
    run = cli(*words, "--json")
    assert run.code == 0, run
    (found,) = run.json["boards"]
    assert (found["p50_us"], found["p50_cycles"], found["clock_hz"], found["differing"]) == (None, None, None, 0)
    assert 256 < found["stack_bytes"] < 1500
    assert run.json["notes"] == ["qemu:cortex-m4 is emulated and counts no cycles: no time was measured."]
    refused = cli(*words, "--threads", 2)
    assert_two_lines(refused, 2)
    assert "--threads cannot be used with --board." in refused.err
    assert f"bench {sources['dense']} --board qemu:cortex-m4" in refused.err


def test_a_silent_port_and_a_port_that_does_not_exist_are_missing(
    sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_pyserial()
    monkeypatch.setattr(link, "START_SECONDS", 1.0)
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    try:
        for port, cause in ((os.ttyname(theirs), "Nothing answers on"), ("/dev/ttyNOTHING", "There is no port")):
            with pytest.raises(MissingError, match=cause):
                on_board(sources["dense"], f"serial:{port}", 5)
    finally:
        os.close(ours)
        os.close(theirs)


def test_without_pyserial_the_remedy_installs_it(sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(MnistEdgeError, match="pyserial is not installed") as caught:
        on_board(sources["dense"], "serial:/dev/ttyACM0", 5)
    assert caught.value.remedy == "Install it with: pip install 'mnist-edge[board]'"
