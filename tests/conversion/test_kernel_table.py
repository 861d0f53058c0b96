"""Which kernels generated C holds: those that its steps call, and all that these need."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mnist_edge.conversion.codegen.backends import FOLDER
from mnist_edge.conversion.codegen.kernel_table import CONV_DENSE, KERNELS, PLAIN, kernels_for
from tests.support import backends, int8_nets

TEMPLATES = {f"{name}_{part}.c.in" for name in ("conv_dense", "arm64", "wasm") for part in ("microkernel", "loop")}


def test_every_kernel_file_is_in_the_table_and_is_used_by_some_plan() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*KERNELS, *TEMPLATES}
    kinds = ["CONV_2D", *PLAIN]
    of_wasm = {"detect_wasm.c", "wasm_simd128.c.in", "winograd_wasm.c", "dispatch_wasm.c"}
    assert kernels_for(kinds, pads=True, backend="all") == [name for name in KERNELS if name not in of_wasm]
    assert of_wasm < set(kernels_for(kinds, pads=True, backend="wasm"))


def test_a_plan_holds_only_the_kernels_of_its_ops_and_of_padding_if_it_pads() -> None:
    assert kernels_for(["LOGISTIC"], pads=False, backend="all") == ["lookup.c"]
    assert kernels_for(["MEAN"], pads=True, backend="c99") == [
        "clamp.c", "fixed_point.c", "scale.c", "mean.c", "copy_rows.c",
    ]  # fmt: skip


@pytest.mark.parametrize("backend", CONV_DENSE)
def test_a_kernel_comes_after_the_kernels_that_it_needs(backend: str) -> None:
    files = kernels_for(["CONV_2D"], pads=False, backend=backend)
    for name in files:
        needs = set(KERNELS[name].needs) - {"choose_backend.c"}  # what it defines is used by the net alone
        assert needs <= set(files[: files.index(name)]), name


@pytest.mark.parametrize("name", int8_nets.POINTWISE)
def test_every_function_of_plain_c_is_called(name: str) -> None:
    for dense in (False, True):
        content = int8_nets.pointwise(name, dense)
        text = backends.source(content, "net", np.zeros((1, 16, 16, 1), np.uint8), "c99").decode()
        functions = re.findall(r"^static (?:inline )?\w+ (\w+)\(", text, re.MULTILINE)
        assert len(functions) > (5 if dense else 0)
        for function in functions:
            assert len(re.findall(rf"\b{function}\(", text)) > 1, function
