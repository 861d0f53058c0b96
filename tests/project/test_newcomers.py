"""Adding an architecture, a format or an engine takes one module and one line in a registry."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

ARCHITECTURE = """
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
from mnist_edge.conversion.converter import Converter
from mnist_edge.results.precision import Precision

def convert(model, request):
    return b"MEMO" + tflite.convert(model, request)

CONVERTER = Converter(
    "memo", ".memo", (Precision.INT8, Precision.FLOAT32), tflite.PACKAGES,
    (*tflite.SOURCES, "conversion/memo.py"), convert,
)
"""
ENGINE = """
from mnist_edge.runtime.engines import litert
from mnist_edge.runtime.engines.interface import Engine

def load(content, threads):
    return litert.load(content.removeprefix(b"MEMO"), threads)

ENGINE = Engine("memo-engine", (".memo",), "ai-edge-litert", "litert", rank=1, load=load)
"""
# For each addition: the new module, its content, the registry, and replacements of text in the registry.
NEW = (
    ("models/newcomer.py", ARCHITECTURE, "models/__init__.py",
     (("import cnn,", "import newcomer, cnn,"), ('{"cnn"', '{"newcomer": newcomer.build, "cnn"'))),
    ("conversion/memo.py", CONVERTER, "conversion/registry.py",
     (("import c, ", "import c, memo, "), ("c.CONVERTER,", "c.CONVERTER, memo.CONVERTER,"))),
    ("runtime/engines/memo.py", ENGINE, "runtime/engines/__init__.py",
     (("    litert,\n", "    litert,\n    memo,\n"), ("litert.ENGINE,", "litert.ENGINE, memo.ENGINE,"))),
)  # fmt: skip


def add_modules(package: Path) -> None:
    """Add the modules to a copy of the package, and name each in its registry."""
    for name, content, registry, edits in NEW:
        (package / name).write_text(content)
        text = (package / registry).read_text()
        for old, new in edits:
            assert text.count(old) == 1, f"{registry} has no line for new modules: {old!r}"
            text = text.replace(old, new)
        (package / registry).write_text(text)


@pytest.mark.slow
def test_the_conformance_tests_test_a_new_architecture_format_and_engine(tmp_path: Path) -> None:
    for name in ("mnist_edge", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    add_modules(tmp_path / "mnist_edge")
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


def test_an_engine_without_its_required_fields_fails_the_type_check(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "mnist_edge", tmp_path / "mnist_edge", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    add_modules(tmp_path / "mnist_edge")
    engine = tmp_path / "mnist_edge" / "runtime" / "engines" / "memo.py"
    engine.write_text(ENGINE.replace(' "ai-edge-litert", "litert",', "").replace("(content, threads)", "(content)"))
    command = [sys.executable, "-m", "mypy", str(engine)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert 'Missing positional arguments "package", "extra" in call to "Engine"' in done.stdout
    assert "memo.py" in done.stdout
