"""The programs that call CMSIS-NN's functions, with plain functions in the place of CMSIS-NN's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cmsis_nn
from mnist_edge import data
from mnist_edge.runtime.engines import reference
from mnist_edge.store.workspace import SHIPPED
from tests.conftest import ROOT, unavailable

IMAGES = 5
MAIN = """
#include <stdio.h>
#include "net.h"
int main(void) {
    static uint8_t image[INPUT_BYTES];
    static int8_t answer[OUTPUT_BYTES];
    while (fread(image, sizeof image, 1, stdin) == 1) {
        run(image, answer, image);
        fwrite(answer, sizeof answer, 1, stdout);
    }
    return 0;
}
"""


@pytest.mark.parametrize("name", ["cnn", "dense"])
def test_the_program_for_a_shipped_net_gives_the_layers_their_weights_and_shapes(name: str, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        unavailable("gcc")
    content = (SHIPPED / name / f"{name}-int8.tflite").read_bytes()
    text, header = cmsis_nn.source(content)
    for file, written in (("net.c", text), ("net.h", header), ("main.c", MAIN)):
        (tmp_path / file).write_text(written)
    shutil.copy(ROOT / "tests" / "support" / "naive_cmsis_nn.h", tmp_path / "arm_nnfunctions.h")
    flags = ["-std=gnu99", "-O2", "-Wall", "-Wextra", "-Wno-unused-function", "-Wno-cast-qual", "-Werror"]
    subprocess.run(["gcc", *flags, "main.c", "net.c", "-o", "net", "-lm"], cwd=tmp_path, check=True)
    digits = data.load_test(None)[0].images[:IMAGES]
    images = np.concatenate([digits, np.random.default_rng(0).integers(0, 256, digits.shape).astype(np.uint8)])
    done = subprocess.run([tmp_path / "net"], input=images.tobytes(), capture_output=True, check=True)
    answers = np.frombuffer(done.stdout, np.int8).reshape(len(images), -1).astype(int)
    # The functions here compute softmax in floating point.
    assert np.abs(answers - reference.load(content, 1).run(images)).max() <= 1


def test_the_commit_of_a_checkout_and_of_a_bare_git_directory_is_what_is_compiled(tmp_path: Path) -> None:
    checkout, bare = tmp_path / "checkout", tmp_path / "bare"
    for folder in ("Include", "Source"):
        (checkout / folder).mkdir(parents=True)
        (checkout / folder / "file.h").write_text("committed\n")
    git = ["git", "-C", checkout, "-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Begin"]):
        subprocess.run([*git, *words], check=True)
    subprocess.run(["git", "clone", "-q", "--bare", checkout, bare], check=True)
    (checkout / "Include" / "file.h").write_text("changed\n")
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    for number, repository in enumerate((checkout, bare)):
        found = cmsis_nn.sources(repository, tmp_path / str(number))
        assert found.commit == head
        assert (found.folder / "Include" / "file.h").read_text() == "committed\n"
