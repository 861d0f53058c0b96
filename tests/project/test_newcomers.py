"""A third architecture and a third format, dropped into a copy of the package: found and exercised, nothing edited."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_edge import models
from tests.conftest import ROOT

ARCHITECTURE = """
NAME = "newcomer"

def build(image_shape, classes):
    import keras
    from keras import layers
    return keras.Sequential([
        keras.Input(image_shape),
        layers.Conv2D(8, 5, strides=2, use_bias=False), layers.BatchNormalization(), layers.ReLU(),
        layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
        layers.GlobalAveragePooling2D(), layers.Dense(classes, activation="softmax"),
    ])
"""
CONVERTER = """
from mnist_edge.conversion import tflite

NAME, SUFFIX, QUANTIZATIONS, PACKAGES = "memo", ".memo", ("int8", "float32"), tflite.PACKAGES
SOURCES = (*tflite.SOURCES, "conversion/memo.py")

def convert(model, request):
    return b"MEMO" + tflite.convert(model, request)
"""
ENGINE = """
from mnist_edge.runtime.engines import litert

NAME, SUFFIXES, PACKAGE, EXTRA, RANK = "memo-engine", (".memo",), "ai-edge-litert", "litert", 1

def load(content, threads):
    return litert.load(content.removeprefix(b"MEMO"), threads)
"""


@pytest.mark.slow
def test_a_dropped_in_architecture_and_format_are_found_and_tested(tmp_path: Path) -> None:
    for name in ("mnist_edge", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "mnist_edge" / "models" / "newcomer.py").write_text(ARCHITECTURE)
    (tmp_path / "mnist_edge" / "conversion" / "memo.py").write_text(CONVERTER)
    (tmp_path / "mnist_edge" / "runtime" / "engines" / "memo.py").write_text(ENGINE)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/project/test_conformance.py",
        "-k",
        "newcomer or memo",
    ]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    listed = subprocess.run(
        [*command, "--collect-only"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    for case in ("newcomer-tflite-int8", "newcomer-memo-float32", "cnn-memo-int8", "dense-memo-float32"):
        assert case in listed.stdout


def test_a_plug_in_that_is_incomplete_or_named_twice_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    (tmp_path / "nameless.py").write_text("def build(image_shape, classes): ...\n")
    with pytest.raises(TypeError, match="does not define NAME"):
        models.names()
    (tmp_path / "nameless.py").rename(tmp_path / "twice.py")
    (tmp_path / "twice.py").write_text("NAME = 'cnn'\ndef build(image_shape, classes): ...\n")
    with pytest.raises(TypeError, match="both named 'cnn'"):
        models.names()
