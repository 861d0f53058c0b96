"""Operating faults: a log that cannot be written, and models that vanish or break while they are served."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from mnist_edge.runtime.selftest import golden_path
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.workspace import SHIPPED
from tests.support.service import (
    DIGITS,
    HEADERS,
    INFER,
    Service,
    children,
    drawing,
    free_port,
    image_body,
    serving,
    wait_until,
)

pytestmark = pytest.mark.slow
NAME = "dense-int8.tflite"


def assert_answers(service: Service) -> None:
    for _ in range(200):
        assert service.ask("/v2/health/ready").status == 200
    assert service.ask(DIGITS, drawing()).status == 200
    assert service.ask(INFER, b"{").status == 400


def test_requests_are_answered_while_the_log_s_disk_is_full(tmp_path: Path) -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        serving(tmp_path, "--access-log", stderr=full, port=free_port()) as service,
    ):
        assert_answers(service)
        wait_until(lambda: service.metric("mnist_edge_lost_log_lines_total") >= 200, what="lost lines are counted")
        service.process.terminate()
        assert service.process.wait(20) == 0


def test_requests_are_answered_after_the_log_s_reader_has_closed_its_pipe(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb", buffering=0) as stream:
        os.close(reader)
        with serving(tmp_path, "--access-log", stderr=stream, port=free_port()) as service:
            assert_answers(service)
            os.kill(service.servers()[0], 9)  # the supervisor's line about it is lost, too
            wait_until(lambda: started(service), what="another server")
            service.process.terminate()
            assert service.process.wait(20) == 0


def test_requests_are_answered_while_the_log_s_pipe_is_full(tmp_path: Path) -> None:
    """Requests are answered, processes are replaced, and SIGTERM ends the service."""
    with (
        full_pipe() as stream,
        serving(tmp_path, "--access-log", stderr=stream, port=free_port()) as service,
    ):
        assert_answers(service)
        for _ in range(20):
            with service.connect() as connection:
                connection.sendall((b"GET /docs HTTP/1.1\r\n" + HEADERS + b"\r\n") * 10)
        os.kill(service.decoders()[0], 9)
        os.kill(service.servers()[0], 9)
        wait_until(lambda: started(service), what="another server")
        assert_answers(service)
        service.process.terminate()
        assert service.process.wait(20) == 0


def test_libraries_that_write_to_standard_error_are_not_blocked() -> None:
    """Engines and uvicorn write to standard error of the server process themselves."""
    code = """
import os, sys
from mnist_edge.serving.log import Log
from mnist_edge.serving.metrics import Metrics
Log(Metrics()).collect()
for _ in range(2000):
    print("x" * 100, file=sys.stderr)
    os.write(2, b"x" * 100)
os._exit(0)
"""
    with full_pipe() as stream:
        assert subprocess.run([sys.executable, "-c", code], stderr=stream, timeout=20, check=False).returncode == 0


@contextlib.contextmanager
def full_pipe() -> Iterator[IO[bytes]]:
    """A full pipe that is not read."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb"), os.fdopen(writer, "wb", buffering=0) as stream:
        os.set_blocking(writer, False)
        while stream.write(b"x" * 4096) is not None:  # None if it is full
            pass
        os.set_blocking(writer, True)
        yield stream


def started(service: Service) -> bool:
    try:
        return service.alive() and len(service.decoders()) == 2
    except OSError:
        return False


def change(folder: Path) -> None:
    """Write another valid file: the manifest has its hash, and its answers are the same as before."""
    manifest = Manifest.load(folder)
    facts = {key: value for key, value in manifest.files[NAME].items() if key not in ("sha256", "size_bytes")}
    manifest.commit({NAME: ((folder / NAME).read_bytes() + b"\0", facts)})


def model(service: Service, name: str = "dense") -> tuple[int, str]:
    """Version and hash of the served file of a model."""
    found = {item["name"]: item for item in service.ask("/v1/models").json["models"]}
    return found[name]["version"], found[name]["sha256"]


def problems(service: Service) -> dict[str, str]:
    """The problems of models that readiness reports, by name."""
    answer = service.ask("/v2/health/ready")
    assert answer.status == 200  # the last good versions are served
    return dict(answer.json.get("problems", {}))


def zero_images(folder: Path) -> None:
    with np.load(golden_path(folder / NAME)) as arrays:
        empty = {name: values[:0] if values.ndim else values for name, values in arrays.items()}
    np.savez(golden_path(folder / NAME), **empty)
    change(folder)


def link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def rewrite(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


BREAKS = {
    "the folder is removed": shutil.rmtree,
    "the folder is a file": lambda folder: (shutil.rmtree(folder), folder.write_bytes(b"x")),
    "the file is removed": lambda folder: (folder / NAME).unlink(),
    "the file is empty": lambda folder: rewrite(folder / NAME, b""),
    "the file is damaged": lambda folder: rewrite(folder / NAME, (folder / NAME).read_bytes()[:-1000] + bytes(1000)),
    "the file is endless": lambda folder: link(folder / NAME, "/dev/zero"),
    "the file is a pipe": lambda folder: ((folder / NAME).unlink(), os.mkfifo(folder / NAME)),
    "the file is a loop of links": lambda folder: link(folder / NAME, NAME),
    "the manifest is removed": lambda folder: (folder / "manifest.json").unlink(),
    "the manifest is no JSON": lambda folder: rewrite(folder / "manifest.json", b"{"),
    "the manifest is nested": lambda folder: rewrite(folder / "manifest.json", b"[" * 100_000),
    "the manifest is endless": lambda folder: link(folder / "manifest.json", "/dev/zero"),
    "the self-test has no images": zero_images,
    "the self-test is no NPZ": lambda folder: (rewrite(golden_path(folder / NAME), b"x" * 100), change(folder)),
    "the self-test is endless": lambda folder: (link(golden_path(folder / NAME), "/dev/zero"), change(folder)),
}


# Two models have the names of shipped ones, to show that the shipped ones do not replace them.
NAMES = {case: {0: "dense", 1: "cnn"}.get(at, f"case{at}") for at, case in enumerate(BREAKS)}


@pytest.fixture(scope="module")
def swapping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Path]]:
    """A service of models in a workspace, which differ from the shipped ones, and the workspace."""
    workspace = tmp_path_factory.mktemp("workspace")
    for name in NAMES.values():
        shutil.copytree(SHIPPED / "dense", workspace / name)
        change(workspace / name)
    words = [word for name in NAMES.values() for word in ("--model", name)]
    with serving(workspace, *words, "--threads", 1, decoders=1) as service:
        yield service, workspace


def test_broken_models_keep_their_last_good_versions_until_they_are_repaired(
    swapping: tuple[Service, Path], tmp_path: Path
) -> None:
    """No shipped model replaces them, readiness and metrics report them, and the next valid file is served."""
    service, workspace = swapping
    before = {name: model(service, name) for name in NAMES.values()}
    assert problems(service) == {}
    shutil.copytree(workspace, tmp_path / "kept")
    for case, name in NAMES.items():
        BREAKS[case](workspace / name)
    wait_until(lambda: len(problems(service)) == len(NAMES), 30, f"problems are reported: {NAMES}, {problems(service)}")
    for name in NAMES.values():
        assert service.metric(f'mnist_edge_model_problem{{model="{name}"}}') == 1
        assert service.ask(f"/v2/models/{name}/infer", image_body()).status == 200
        assert model(service, name) == before[name]
    for name in NAMES.values():
        folder = workspace / name
        if folder.is_dir():
            shutil.rmtree(folder)
        else:
            folder.unlink(missing_ok=True)
        shutil.copytree(tmp_path / "kept" / name, folder)
    wait_until(lambda: not problems(service), 30, "the problems are over")
    for name in NAMES.values():
        assert service.metric(f'mnist_edge_model_problem{{model="{name}"}}') == 0
        assert model(service, name) == before[name]
        change(workspace / name)
    for name in NAMES.values():
        wait_until(lambda: model(service, name)[0] == before[name][0] + 1, 30, "the next valid file is served")  # noqa: B023


def test_a_problem_ends_when_the_models_folder_is_moved_back(swapping: tuple[Service, Path]) -> None:
    """The files have the same times as before, so the service must remember that it did not find them in between."""
    service, workspace = swapping
    time.sleep(1.5)  # until the service has checked the files
    (workspace / "dense").rename(workspace / "away")
    wait_until(lambda: "dense" in problems(service))
    (workspace / "away").rename(workspace / "dense")
    wait_until(lambda: not problems(service))


def test_a_server_that_is_replaced_does_not_serve_another_model(tmp_path: Path) -> None:
    """The model's folder is moved away, then the server is killed: the shipped model must not replace the user's."""
    folder = tmp_path / "dense"
    shutil.copytree(SHIPPED / "dense", folder)
    change(folder)
    with serving(tmp_path, "--workers", 2) as service:
        digest = model(service)[1]
        folder.rename(tmp_path / "away")
        os.kill(service.servers()[0], 9)
        seen = set()
        end = time.monotonic() + 3
        while time.monotonic() < end:
            seen.add(model(service)[1])
            time.sleep(0.05)
        assert seen == {digest}
        (tmp_path / "away").rename(folder)
        wait_until(lambda: len(service.servers()) == 2 and len(service.decoders()) == 4, what="the second server")
        assert service.process.poll() is None


def test_lines_of_the_log_contain_no_terminal_commands(tmp_path: Path) -> None:
    with serving(tmp_path, "--access-log") as service:
        service.send(b"GET /v2/models/%1b%5d0;title%07%0aforged HTTP/1.1\r\n" + HEADERS + b"Connection: close\r\n\r\n")
        time.sleep(0.3)
        service.process.terminate()
        assert service.process.stderr is not None
        lines = service.process.stderr.read().decode().splitlines()
    written = [line for line in lines if "title" in line]
    assert len(written) == 1
    assert written[0].isprintable()
    assert json.loads(written[0])["path"].startswith("/v2/models/\x1b]0;title\x07")


def test_a_service_starts_while_the_disk_of_its_output_is_full(tmp_path: Path) -> None:
    """``serve`` with standard output and error on a full disk."""
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "mnist_edge", "serve", "--port", "0", "-o", str(tmp_path)]
        with subprocess.Popen(command, stdout=full, stderr=full) as process:
            wait_until(lambda: len(children(process.pid)) >= 2 or process.poll() is not None)
            time.sleep(0.5)
            assert process.poll() is None
            process.terminate()
            process.wait(20)
