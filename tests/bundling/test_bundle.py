"""Bundles for a device without a network: their contents, and that they install and predict without a network."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mnist_edge import data
from mnist_edge.bundling import TARGETS
from tests.conftest import Run, assert_two_lines, unavailable

pytestmark = pytest.mark.slow
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
NO_NETWORK = ["unshare", "--map-root-user", "--net"]


@pytest.fixture(scope="module")
def target() -> str:
    """The name of the target that matches this machine."""
    same = [key for key, item in TARGETS.items() if (item.python, item.machine) == (PYTHON, platform.machine())]
    return same[0] if same else unavailable(f"a bundle for Python {PYTHON} on {platform.machine()}")


@pytest.fixture(scope="module")
def archive(
    target: str, wheel: Path, workspace: Path, tmp_path_factory: pytest.TempPathFactory, cli: Callable[..., Run]
) -> Path:
    file = tmp_path_factory.mktemp("bundle") / "bundle.tar.gz"
    run = cli(
        "bundle", "--target", target, "--wheel", wheel, "--model", "dense", "-o", workspace, "--file", file, "--json"
    )
    assert run.code == 0, run.err
    assert run.json["size_bytes"] == file.stat().st_size
    return file


@pytest.fixture
def unpacked(archive: Path, target: str, tmp_path: Path) -> Path:
    subprocess.run(["tar", "xf", archive, "-C", tmp_path], check=True)
    return tmp_path / f"mnist-edge-{target}"


def install(folder: Path, **variables: str) -> Run:
    words = [*NO_NETWORK, "sh", str(folder / "install.sh"), str(folder.parent / "edge")]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env={**os.environ, **variables, "PYTHONPATH": ""}
    )
    return Run(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    if (
        not shutil.which("unshare")
        or subprocess.run([*NO_NETWORK, "true"], check=False, capture_output=True).returncode
    ):
        unavailable("the right to run programs without a network (unshare --net)")


def test_a_bundle_installs_and_predicts_without_a_network(unpacked: Path, mnist: data.Splits) -> None:
    run = install(unpacked)
    assert run.code == 0, run.err
    assert run.out.count("passed") == 2  # the TFLite files of both models; the base install has no onnxruntime
    program = unpacked.parent / "edge" / "bin" / "mnist-edge"
    Image.fromarray(mnist.test.images[0, ..., 0]).save(unpacked / "seven.png")
    for words, expected in (
        (["predict", "seven.png"], "seven.png: 7"),
        (["verify", "models/dense/dense-int8.tflite", "--data", "data"], "non-inferior"),
    ):
        done = subprocess.run([*NO_NETWORK, program, *words], cwd=unpacked, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
    assert install(unpacked).code == 0  # installing again succeeds


def test_a_damaged_file_stops_the_installation_before_it_begins(unpacked: Path) -> None:
    wheel = next((unpacked / "wheels").glob("numpy-*.whl"))
    wheel.write_bytes(wheel.read_bytes()[:-1] + b"x")
    run = install(unpacked)
    assert run.code == 4
    assert run.err.splitlines()[-2:] == [
        "install: A file of this bundle is damaged.",
        "  remedy: Copy the bundle again.",
    ]
    assert not (unpacked.parent / "edge").exists()


def test_installing_on_another_machine_is_refused(unpacked: Path) -> None:
    bin_ = unpacked.parent / "bin"
    bin_.mkdir()
    (bin_ / "uname").write_text("#!/bin/sh\necho armv7l\n")
    (bin_ / "uname").chmod(0o755)
    run = install(unpacked, PATH=f"{bin_}:{os.environ['PATH']}")
    assert run.code == 3
    assert "this machine is armv7l" in run.err
    assert not (unpacked.parent / "edge").exists()


def test_equal_files_make_equal_archives(
    archive: Path, target: str, wheel: Path, workspace: Path, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    again = tmp_path / "again.tar.gz"
    words = ["bundle", "--target", target, "--wheel", wheel, "--model", "dense", "-o", workspace, "--file", again]
    assert cli(*words).code == 0
    assert again.read_bytes() == archive.read_bytes()


def test_an_arm_bundle_contains_only_wheels_for_arm(wheel: Path, tmp_path: Path, cli: Callable[..., Run]) -> None:
    file = tmp_path / "arm.tar.gz"
    run = cli("bundle", "--target", "bookworm-arm64", "--wheel", wheel, "--file", file, "--json")
    assert run.code == 0, run.err
    names = [Path(name).name for name in run.json["files"] if name.endswith(".whl")]
    assert all(name.endswith(("aarch64.whl", "none-any.whl")) for name in names)
    assert any(name.startswith("tflite_runtime") for name in names)
    assert any(name.startswith("numpy-1.26") for name in names)
    assert not any(name.startswith("ai_edge_litert") for name in names)


def test_a_missing_package_index_is_exit_3(wheel: Path, tmp_path: Path, cli: Callable[..., Run]) -> None:
    file = tmp_path / "none.tar.gz"
    run = cli("bundle", "--target", "trixie-arm64", "--wheel", wheel, "--file", file, env={"PIP_NO_INDEX": "1"})
    assert_two_lines(run, 3)
    assert list(tmp_path.iterdir()) == []
