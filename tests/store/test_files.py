"""Loss of power, full disks and concurrent commands: files are completely old or completely new, never a mixture.

The next run after such a failure succeeds.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mnist_edge.errors import ContentError, StageError
from mnist_edge.store import files
from mnist_edge.store.manifest import STAGED, Manifest, read_verified
from tests.conftest import ROOT, Run, assert_two_lines, unavailable

HOLD = """
import sys, time
from pathlib import Path
from mnist_edge.store import files
with files.locked(Path(sys.argv[1]), "train"):
    print("held", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_command_names_the_one_that_is_writing(tmp_path: Path) -> None:
    with held(tmp_path) as process, pytest.raises(StageError) as caught, files.locked(tmp_path, "export"):
        pass
    assert f"mnist-edge train (process {process.pid}, since " in caught.value.cause
    assert "--output-dir" in caught.value.remedy


def test_the_lock_of_a_killed_command_is_released(tmp_path: Path) -> None:
    with held(tmp_path) as process:
        process.kill()
        process.wait()
        with files.locked(tmp_path, "export"), files.locked(tmp_path, "train within export"):
            assert f"process {os.getpid()}" in (tmp_path / files.LOCK_NAME).read_text()
    assert not (tmp_path / files.LOCK_NAME).exists()


def test_temporary_files_of_dead_processes_are_removed_and_those_of_living_ones_are_kept(tmp_path: Path) -> None:
    dead, alive = tmp_path / ".writing-999999999-x", tmp_path / f".writing-{os.getpid()}-y"
    dead.touch()
    alive.touch()
    files.write_bytes(tmp_path / "file", b"new")
    assert {path.name for path in tmp_path.iterdir()} == {"file", alive.name}


def test_a_reader_finishes_the_commit_of_a_writer_that_ended_after_the_commit_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = Manifest.load(tmp_path)
    manifest.commit({"a": (b"old a", {}), "b": (b"old b", {})})
    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "_finish", lambda self: None)  # power is lost after the commit point
        manifest.commit({"a": (b"new a", {}), "b": (b"new b", {})})
    assert (tmp_path / "a").read_bytes() == b"old a"
    assert read_verified(tmp_path / "a") == (b"new a", True)
    assert read_verified(tmp_path / "b") == (b"new b", True)
    assert not list(tmp_path.glob(f"{STAGED}*"))


def test_an_interrupted_commit_leaves_all_old_files_or_all_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Manifest.load(tmp_path).commit({"a": (b"old", {})})
    save = Manifest.save

    def interrupted(after: bool) -> Callable[[Manifest], None]:
        def saving(self: Manifest) -> None:
            if after:
                save(self)
            raise KeyboardInterrupt

        return saving

    for after, expected in ((False, b"old"), (True, b"new")):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Manifest, "save", interrupted(after))
            Manifest.load(tmp_path).commit({"a": (b"new", {})})
        assert read_verified(tmp_path / "a") == (expected, True)
        assert not list(tmp_path.glob(f"{STAGED}*"))


def test_a_reader_never_sees_a_mixture_while_another_process_writes(tmp_path: Path) -> None:
    """One process commits as fast as it can; this one reads until it ends."""
    code = (
        "import sys; from pathlib import Path; from mnist_edge.store.manifest import Manifest\n"
        "for n in range(300): Manifest.load(Path(sys.argv[1])).commit({'a': (b'%d' % n, {'n': n})})"
    )
    Manifest.load(tmp_path).commit({"a": (b"first", {})})
    with subprocess.Popen([sys.executable, "-c", code, tmp_path]) as writer:
        reads = 0
        while writer.poll() is None:
            assert read_verified(tmp_path / "a")[1]
            reads += 1
    assert writer.returncode == 0
    assert reads > 100
    assert read_verified(tmp_path / "a") == (b"299", True)


def test_a_manifest_that_names_a_file_outside_its_folder_is_refused(tmp_path: Path) -> None:
    entry = {"sha256": "0" * 64}
    for name in ("../secret", "/etc/passwd", "a/b"):
        (tmp_path / "manifest.json").write_text(json.dumps({"schema_version": 1, "files": {name: entry}}))
        with pytest.raises(ContentError):
            Manifest.load(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("action", ["train", "export", "download", "reload"])
def test_a_command_killed_at_any_write_leaves_a_usable_workspace(action: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaigns.kill", action], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    points = json.loads(done.stdout.splitlines()[-1])[action]
    made = "dense-int8.tflite"
    expected = {"train": "model.keras", "export": made, "download": "ubyte", "reload": made}
    for moment in ("before", "after"):
        assert any(point.startswith(moment) and expected[action] in point for point in points), points
    if action in ("train", "export"):
        assert len(points) > 20
        assert any("manifest.json" in point for point in points)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A function that mounts a file system of a size in KiB, or resizes it, and returns its folder."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        unavailable("The right to mount a small disk")

    def resize(kib: int) -> Path:
        subprocess.run(["mount", "-o", f"remount,size={kib}k", str(folder)], check=True)
        return folder

    yield resize
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_keeps_the_old_model(
    small_disk: Callable[[int], Path], slice_npz: Path, cli: Callable[..., Run]
) -> None:
    def train(seed: int) -> Run:
        words = ["--model", "dense", "--recipe", "tutorial", "--epochs", "1", "--seed", seed, "--data", slice_npz]
        return cli("train", *words, "-o", folder)

    folder = small_disk(16_000)
    assert train(0).code == 0
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) // 1024
    before = Manifest.load(folder / "dense").files
    # Room for no more files, for the checkpoint alone, and for the model without its float answers.
    for room in (8, 500, 850):
        small_disk(used + room)
        assert_two_lines(run := train(1), 5)
        assert "No space left" in run.err
        assert Manifest.load(folder / "dense").files == before
        for name in before:
            assert read_verified(folder / "dense" / name)[1]
    small_disk(16_000)
    assert train(1).code == 0
    assert Manifest.load(folder / "dense").files != before
    assert not [path for sign in (files.TEMPORARY, STAGED) for path in folder.rglob(f"{sign}*")]


@pytest.mark.slow
def test_a_read_only_disk_is_reported_in_two_lines(
    small_disk: Callable[[int], Path], slice_npz: Path, cli: Callable[..., Run]
) -> None:
    folder = small_disk(1000)
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    words = ["--model", "dense", "--epochs", "1", "--data", slice_npz, "-o", folder / "artifacts"]
    assert_two_lines(run := cli("train", *words), 5)
    assert "Read-only" in run.err


@pytest.mark.slow
def test_a_second_command_in_a_workspace_is_refused_and_succeeds_after_the_first(
    slice_npz: Path, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    words = ["--model", "dense", "--recipe", "tutorial", "--data", str(slice_npz), "-o", str(tmp_path)]
    command = [sys.executable, "-m", "mnist_edge", "train", *words]
    with subprocess.Popen([*command, "--epochs", "40"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as first:
        deadline = time.monotonic() + 60
        while not (tmp_path / files.LOCK_NAME).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert_two_lines(run := cli("train", *words, "--epochs", "1"), 5)
        assert f"process {first.pid}" in run.err
    assert first.returncode == 0
    assert cli("train", *words, "--epochs", "1").code == 0
    for name in Manifest.load(tmp_path / "dense").files:
        assert read_verified(tmp_path / "dense" / name)[1]
