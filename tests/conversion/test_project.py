"""Projects with generated C: fields and layout as Arduino and PlatformIO want them, and builds that answer right."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mnist_edge.conversion import c as converter
from mnist_edge.conversion import project
from mnist_edge.conversion.project import ProjectModel
from mnist_edge.runtime.engines import native
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.toolchains import firmware
from mnist_edge.toolchains.boards import BOARDS
from tests.conftest import ROOT, unavailable
from tests.support import int8_nets
from tests.support.backends import STRICT

pytestmark = pytest.mark.slow

REQUIRED = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
CATEGORIES = {"Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing"}
CATEGORIES |= {"Data Storage", "Data Processing", "Other"}
# A toolchain file would be longer: what CMake needs to know to compile for a Cortex-M.
CROSS = {
    "CMAKE_SYSTEM_NAME": "Generic", "CMAKE_C_COMPILER": "arm-none-eabi-gcc",
    "CMAKE_EXE_LINKER_FLAGS": "--specs=nosys.specs",
}  # fmt: skip
ARDUINO = """
#include <stdint.h>
#include <stdio.h>
static struct {
    void begin(long) {}
    void print(const char *text) { fputs(text, stdout); }
    void println(const char *text) { puts(text); }
} Serial;
static void delay(int) {}
"""


def made(folder: Path, models: list[ProjectModel]) -> Path:
    """Write a project as the command does, without its record."""
    files = project.shared_files(project.name_of(folder), models)
    for item in models:
        program = native.load(item.content, 1)
        limits = np.iinfo(program.input.dtype)
        given = np.random.default_rng(1).integers(
            limits.min, limits.max, (1, *program.input.shape), program.input.dtype
        )
        files |= project.model_files(item, given[0], program.run(given)[0])
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with both shipped models. Without the kernels for x86 they compile in a second."""
    if shutil.which("cc") is None:
        unavailable("A C compiler")
    contents = {name: (SHIPPED / name / f"{name}-int8.tflite").read_bytes() for name in ("cnn", "dense")}
    models = [
        ProjectModel(f"{name}-int8", converter.from_tflite(content, name, backend="arm"))
        for name, content in contents.items()
    ]
    return made(tmp_path_factory.mktemp("of") / "digits", models)


def ran(*words: object, folder: Path) -> str:
    done = subprocess.run([str(word) for word in words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning:" not in (done.stdout + done.stderr).replace("is not implemented and will always fail", "")
    return done.stdout


def built(source: Path, folder: Path, **settings: str) -> Path:
    """Build a CMake project."""
    if shutil.which("cmake") is None:
        unavailable("cmake")
    flags = {"CMAKE_BUILD_TYPE": "MinSizeRel", "CMAKE_C_FLAGS": "-Wall -Wextra", **settings}
    ran("cmake", "-S", source, "-B", folder, *(f"-D{key}={value}" for key, value in flags.items()), folder=source)
    ran("cmake", "--build", folder, folder=source)
    return folder


EXPECTED = re.compile(r"cnn-int8: class \d, as expected\ndense-int8: class \d, as expected\n")


def test_the_properties_and_the_layout_are_those_of_arduinos_specification(digits: Path) -> None:
    """docs/library-specification.md of arduino-cli, format 1.5, revision 2.2."""
    lines = (digits / "library.properties").read_text().splitlines()
    fields = dict(line.split("=", 1) for line in lines)
    assert len(fields) == len(lines)
    assert set(fields) == REQUIRED | {"includes"}
    assert all(fields.values())
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", fields["name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", fields["version"])
    assert fields["category"] in CATEGORIES
    assert fields["architectures"] == "*"
    assert re.fullmatch(r"https://\S+", fields["url"])
    for header in fields["includes"].split(","):
        assert (digits / "src" / header).is_file()
    for sketch in digits.rglob("*.ino"):
        assert sketch.stem == sketch.parent.name
        assert sketch.parent.parent == digits / "examples"
        assert [path.name for path in sketch.parent.iterdir()] == [sketch.name]  # a main.c would be compiled too
    assert {path.suffix for path in (digits / "src").iterdir()} == {".c", ".h"}
    assert not list(digits.glob("*.[ch]"))  # in the root they would mean the old format
    assert not (digits / "utility").exists()


def test_the_manifest_follows_platformios_rules(digits: Path) -> None:
    """https://docs.platformio.org/en/latest/manifests/library-json"""
    manifest = json.loads((digits / "library.json").read_text())
    assert re.fullmatch(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", manifest["name"])
    assert len(manifest["name"]) <= 50
    assert len(manifest["version"]) <= 20
    assert 3 <= len(manifest["description"]) <= 255
    assert set(manifest) <= {
        "name", "version", "description", "keywords", "homepage", "frameworks", "platforms", "headers", "examples",
        "build",
    }  # fmt: skip
    assert manifest["build"] == {"srcDir": "src", "includeDir": "src"}
    for header in manifest["headers"]:
        assert (digits / "src" / header).is_file()
    for example in manifest["examples"]:
        for name in example["files"]:
            assert (digits / example["base"] / name).is_file()


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("digits", "digits"), ("my digits_2", "my-digits-2"), ("42", "models-42"), ("-", "models"),
        ("Test", "Test-models"),
        ("arduino digits", "models-arduino-digits"), ("größe", "gr-e"), ("x" * 99, "x" * 50),
    ],
)  # fmt: skip
def test_the_name_is_that_of_the_folder_if_all_builders_take_it(folder: str, name: str, tmp_path: Path) -> None:
    assert project.name_of(tmp_path / folder) == name


def test_two_models_in_one_program_answer_as_each_alone(digits: Path, tmp_path: Path) -> None:
    printed = ran(built(digits, tmp_path / "b") / "digits-example", folder=tmp_path)
    assert EXPECTED.fullmatch(printed), printed


def test_only_prefixed_functions_are_visible_to_the_linker(tmp_path: Path) -> None:
    """Also with all backends, in C and in C++."""
    if shutil.which("nm") is None or shutil.which("g++") is None:
        unavailable("nm or g++ (Debian's binutils and g++)")
    net = int8_nets.begun(1, 9, 7)
    net.conv(5, (3, 3), (1, 1), int8_nets.SAME)
    net.depthwise(1, (3, 3), (1, 1), int8_nets.SAME)
    (tmp_path / "net.c").write_bytes(converter.from_tflite(int8_nets.ended(net), "net"))
    for compiler in (["cc", "-std=c99"], ["g++", "-x", "c++", "-std=c++17"]):
        ran(*compiler, "-O1", "-w", "-c", "net.c", "-o", "net.o", folder=tmp_path)
        symbols = ran("nm", "--extern-only", "--defined-only", "net.o", folder=tmp_path).split()[2::3]
        assert sorted(symbols) == ["net_int8_backend", "net_int8_run", "net_int8_run_many"]


def test_another_cmake_project_adds_the_folder_and_includes_the_headers_from_cpp(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(f"""
        cmake_minimum_required(VERSION 3.13)
        project(firmware LANGUAGES CXX)
        add_subdirectory({digits} digits)
        add_executable(firmware main.cpp)
        target_link_libraries(firmware digits)
    """)
    (tmp_path / "main.cpp").write_text("""
        #include "cnn-int8-golden.h"
        #include "dense-int8-golden.h"
        #include <cstring>
        int main() {
            static unsigned char scratch[CNN_INT8_SCRATCH_BYTES];
            int8_t answer[CNN_INT8_OUTPUT_BYTES];
            cnn_int8_run(cnn_int8_golden_input, answer, scratch);
            int wrong = std::memcmp(answer, cnn_int8_golden_answer, sizeof answer) != 0;
            dense_int8_run(dense_int8_golden_input, answer, scratch);
            return wrong + (std::memcmp(answer, dense_int8_golden_answer, sizeof answer) != 0);
        }
    """)
    ran(built(tmp_path, tmp_path / "b", CMAKE_CXX_FLAGS="-Wall -Wextra") / "firmware", folder=tmp_path)


def test_a_cmake_project_for_a_cortex_m_links_both_models(digits: Path, tmp_path: Path) -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        unavailable("arm-none-eabi-gcc")
    (tmp_path / "CMakeLists.txt").write_text(f"""
        cmake_minimum_required(VERSION 3.13)
        project(firmware LANGUAGES C)
        add_subdirectory({digits} digits)
        add_executable(firmware {digits}/examples/program/main.c)
        target_link_libraries(firmware digits)
    """)
    built(tmp_path, tmp_path / "b", **CROSS, CMAKE_C_FLAGS="-mcpu=cortex-m0plus -mthumb -Wall -Wextra")
    assert (tmp_path / "b" / "firmware").stat().st_size > 500_000


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4"])
def test_both_models_answer_as_expected_in_one_firmware(core: str, digits: Path, tmp_path: Path) -> None:
    """On an emulated Cortex-M4, which also runs code for a Cortex-M0+, without a C library's files."""
    if shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None:
        unavailable("A compiler or an emulator of microcontrollers")
    (tmp_path / "firmware.c").write_text("""
        #include "board.h"
        #include <stdio.h>
        #define printf(...) ((void)0)
        #define main example
        #include "program/main.c"
        #undef main
        int main(void) {
            const char wrong = (char)('0' + example());
            const int32_t file = host_open("wrong", HOST_WRITE_BINARY);
            host_write(file, &wrong, 1);
            host_close(file);
            return 0;
        }
    """)
    board, mcu = BOARDS["cortex-m4"], ROOT / "tools" / "mcu"
    sizes = f"-Wl,--defsym=flash_size={board.flash},--defsym=ram_size={board.ram},--gc-sections,--no-warn-rwx-segments"
    sources = [*sorted((digits / "src").glob("*.c")), mcu / "host.c", mcu / "cortex_m.c", "firmware.c"]
    folders = [f"-I{folder}" for folder in (digits / "src", digits / "examples", mcu, firmware.FOLDER)]
    flags = [f"-mcpu={core}", "-mthumb", "-Os", "-std=c99", "--specs=nano.specs", "-nostartfiles"]
    flags += [sizes, "-ffunction-sections", "-T", str(firmware.FOLDER / "cortex_m.ld")]
    ran(board.compiler, *flags, *folders, *sources, "-o", "firmware", folder=tmp_path)
    quiet = ["-display", "none", "-monitor", "none", "-serial", "null"]
    ran(*board.emulator, *quiet, "-kernel", "firmware", folder=tmp_path)
    assert (tmp_path / "wrong").read_text() == "0"
    kernels = re.findall(r" [Ww] (edge_conv_dense_\w+)", ran("arm-none-eabi-nm", "firmware", folder=tmp_path))
    assert len(kernels) == 1  # for both models; the linker leaves out the other one
    assert ("cortex_m" in kernels[0]) == (core == "cortex-m4")


def test_esp_idf_gets_a_component(digits: Path, tmp_path: Path) -> None:
    """Without ESP-IDF: its function is replaced by one that builds a library of the sources it is given."""
    (tmp_path / "CMakeLists.txt").write_text(f"""
        cmake_minimum_required(VERSION 3.16)
        project(firmware LANGUAGES C)
        set(ESP_PLATFORM 1)
        function(idf_component_register)
            cmake_parse_arguments(GIVEN "" "" "SRCS;INCLUDE_DIRS" ${{ARGN}})
            list(TRANSFORM GIVEN_SRCS PREPEND "{digits}/")
            add_library(component STATIC ${{GIVEN_SRCS}})
            target_include_directories(component PUBLIC {digits}/${{GIVEN_INCLUDE_DIRS}})
        endfunction()
        add_subdirectory({digits} digits)
        add_executable(firmware {digits}/examples/program/main.c)
        target_link_libraries(firmware component)
    """)
    assert EXPECTED.fullmatch(ran(built(tmp_path, tmp_path / "b") / "firmware", folder=tmp_path))


def test_the_sketch_runs_with_a_model_of_arduinos_serial_port(digits: Path, tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        unavailable("g++")
    (tmp_path / "sketch.cpp").write_text(
        ARDUINO + (digits / "examples" / "classify" / "classify.ino").read_text() + "int main() { setup(); loop(); }\n"
    )
    objects = []
    for source in sorted((digits / "src").glob("*.c")):
        objects.append(f"{source.stem}.o")
        ran("cc", *STRICT, "-O1", "-c", source, "-o", objects[-1], folder=tmp_path)
    ran("g++", "-Wall", "-Wextra", "-I", digits / "src", "sketch.cpp", *objects, "-o", "sketch", folder=tmp_path)
    printed = ran(tmp_path / "sketch", folder=tmp_path)
    assert EXPECTED.match(printed)
    assert printed.endswith("All answers are as expected.\n")


def test_arduinos_builder_takes_the_library_and_the_sketch_answers_right(tmp_path: Path) -> None:
    """For an emulated ATmega2560, whose ``int`` has 16 bits; its RAM has room for small nets only."""
    core = Path("/usr/share/arduino/hardware/arduino")
    tools = Path("/usr/share/arduino-builder")
    if not core.is_dir() or shutil.which("arduino-builder") is None or shutil.which("simavr") is None:
        unavailable("arduino-builder, arduino-core-avr or simavr")
    models = []
    for name, width in (("one", 7), ("two", 9)):
        net = int8_nets.signed(3, width)
        net.dense(4, int8_nets.NONE)
        models.append(ProjectModel(f"{name}-int8", converter.from_tflite(net.content(), name)))
    folder = made(tmp_path / "libraries" / "nets", models)
    (tmp_path / "hardware").mkdir()
    (tmp_path / "hardware" / "arduino").symlink_to(core)
    for name in ("platform.txt", "platform.keys.rewrite.txt"):
        shutil.copy(tools / name, tmp_path / "hardware")
    # The core needs a macro that avr-gcc 5.4 lacks.
    preferences = ["runtime.tools.avr-gcc.path=/usr", "compiler.cpp.extra_flags=-DDECIMAL_DIG=17"]
    words = [
        "-hardware",
        tmp_path / "hardware",
        "-tools",
        tools,
        "-libraries",
        tmp_path / "libraries",
        "-warnings",
        "all",
    ]
    words += ["-fqbn", "arduino:avr:mega:cpu=atmega2560", "-build-path", tmp_path, "-verbose"]
    words += [f"-prefs={text}" for text in preferences]
    command = ["arduino-builder", *words, "-compile", folder / "examples" / "classify" / "classify.ino"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Using library nets at version {project._version()} in folder: {folder}" in done.stdout
    assert not re.search(r"(nets|sketch)/.*warning:", done.stdout + done.stderr)
    run = ["simavr", "-m", "atmega2560", "-f", "16000000", tmp_path / "classify.ino.elf"]
    with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        assert child.stdout is not None
        printed = "".join(child.stdout.readline() for _ in range(3))
        child.kill()
    assert re.search(r"one-int8: answer as expected.*two-int8: answer as expected.*All answers are as", printed, re.S)


def test_the_example_tells_classes_or_only_whether_the_answer_is_right(tmp_path: Path) -> None:
    net = int8_nets.signed(3, 7)
    net.dense(4, int8_nets.NONE)
    content = converter.from_tflite(net.content(), "values", backend="c99")
    sigmoid = int8_nets.signed(4, 7)
    sigmoid.dense(1, int8_nets.NONE)
    sigmoid.logistic()
    yes = converter.from_tflite(sigmoid.content(), "yes", backend="c99")
    folder = made(tmp_path / "nets", [ProjectModel("values-int8", content), ProjectModel("yes-int8", yes)])
    printed = ran(built(folder, tmp_path / "b") / "nets-example", folder=tmp_path)
    assert re.fullmatch(r"values-int8: answer as expected\nyes-int8: class \w+, as expected\n", printed), printed
    golden = folder / "src" / "values-int8-golden.h"
    before, answer = golden.read_text().split("_answer[VALUES_INT8_OUTPUT_BYTES] = {\n    ")
    golden.write_text(f"{before}_answer[VALUES_INT8_OUTPUT_BYTES] = {{\n    1 ^ {answer}")
    program = built(folder, tmp_path / "b") / "nets-example"
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.returncode, "values-int8: answer WRONG\n" in done.stdout) == (1, True)
