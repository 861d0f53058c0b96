"""cppcheck's MISRA addon finds only the deviations that generated plain C lists itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mnist_edge.conversion import c as converter
from mnist_edge.conversion.codegen import packing
from mnist_edge.conversion.codegen.backends import FOLDER
from mnist_edge.conversion.codegen.kernel_table import PLAIN, kernels_for
from mnist_edge.conversion.codegen.misra import DEVIATIONS
from tests.conftest import unavailable
from tests.support import backends, int8_nets
from tests.support.int8_nets import Net

# Firmware is neither a shared object nor C++.
COMMAND = (
    "cppcheck",
    "--addon=misra",
    "--std=c99",
    "--quiet",
    "-UEDGE_SHARED",
    "-U__cplusplus",
    "--template={id} {line}",
)


def every_kernel(net: Net) -> bytes:
    """Content of a net that calls every kernel of plain C."""
    net.pair("MUL", net.last, net.constant((1,)))
    net.conv(5, (3, 3), (1, 1), int8_nets.SAME)
    net.conv(4, (3, 3), (1, 1), int8_nets.SAME)
    net.pool("MAX_POOL_2D", (2, 2), (2, 2), int8_nets.SAME)
    net.depthwise(1, (3, 3), (1, 1), int8_nets.SAME)
    net.pool("AVERAGE_POOL_2D", (2, 2), (1, 1), int8_nets.SAME)
    net.pair("ADD", net.last, net.constant((4,)))
    net.concatenate([net.last], -1)
    net.leaky_relu(0.1)
    net.pad((1, 1), (0, 1), (0, 0))
    net.transpose(2, 1, 3)
    net.resize(4, 4)
    net.mean((1, 2), keep=False)
    return int8_nets.ended(net)


def rules(code: str, folder: Path) -> set[str]:
    """The rules of MISRA C:2012 from which a file deviates."""
    (folder / "net.c").write_text(code)
    done = subprocess.run([*COMMAND, "net.c"], cwd=folder, capture_output=True, text=True, check=False)
    others = [line for line in done.stderr.splitlines() if not line.startswith("misra-")]
    assert (done.returncode, done.stdout, others) == (0, "", []), done.stderr
    return set(re.findall(r"^misra-c2012-([\d.]+) ", done.stderr, re.MULTILINE))


@pytest.fixture(params=["pixels", "values", "4 bits"])
def code(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """C that takes pixels, the same with some weights of 4 bits, or C that takes the values of an int8 input."""
    if shutil.which("cppcheck") is None:
        unavailable("cppcheck (Debian's package cppcheck)")
    net = int8_nets.begun(1, 9, 8, scale=0.01, zero_point=10)
    text = backends.source(every_kernel(net), "net", np.zeros((1, 9, 8, 1), np.uint8), "c99").decode()
    from_elsewhere = converter.from_tflite(every_kernel(int8_nets.signed(1, 9, 8, 1)), "net", None, "c99").decode()
    files = kernels_for(["CONV_2D", *PLAIN], pads=True, backend="c99")
    templates = "".join((FOLDER / name).read_text() for name in files)
    kernels = set(re.findall(r"^static (?:inline )?\w+ (edge_\w+)\(", templates, re.MULTILINE))
    assert len(kernels) > 15
    assert kernels <= set(re.findall(r"edge_\w+", text + from_elsewhere))
    assert "edge_store(" in from_elsewhere
    if request.param == "4 bits":
        monkeypatch.setattr(packing, "FOUR_BITS_CODE", 0)
        net = int8_nets.begun(1, 9, 8, scale=0.01, zero_point=10)
        content = int8_nets.four_bits(every_kernel(net), 2)
        text = backends.source(content, "net", np.zeros((1, 9, 8, 1), np.uint8), "c99").decode()
        assert "edge_conv_dense_add_four_bits(" in text
    return from_elsewhere if request.param == "values" else text


def test_plain_c_deviates_from_misra_only_as_it_lists(code: str, tmp_path: Path) -> None:
    assert rules(code, tmp_path) == set(DEVIATIONS)
    for rule, reason in DEVIATIONS.items():
        assert f" *   {rule}: {reason}\n" in code


def test_a_body_without_braces_is_found(code: str, tmp_path: Path) -> None:
    """The test above can fail."""
    careless = code.replace(
        "uint8_t *const memory = ", "if (scratch == NULL)\n        return;\n    uint8_t *const memory = "
    )
    assert {"15.6", "15.5"} <= rules(careless, tmp_path) - set(DEVIATIONS)
