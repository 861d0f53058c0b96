#!/usr/bin/env python3
"""Kill commands while they write, then check that every file is either the old or the new one and that they continue.

    python -m tests.campaigns.kill                # kill -9 at every write of every action
    python -m tests.campaigns.kill --random 200   # kill -9 at 200 random times, 50 for each action

The first form kills each action at every write, rename and flush. The actions are `train`, `export`, a download of
MNIST (from a web server of this script), and the loading of a new file by `serve`. TensorFlow is imported once, and
each run is a fork of that process, so that kills hit the work and not the import. Each run begins with the files that
the killed run before it left, and writes different content. Every kill takes a run of the action: `reload` alone takes
20 seconds on two cores, and all four actions take more than a quarter of an hour.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gzip
import http.server
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mnist_edge import cli, data
from mnist_edge.data import fetch
from mnist_edge.data.catalog import FILES, MNIST_SHA256, TEST_ROLES
from mnist_edge.models.backend import import_keras
from mnist_edge.store.files import TEMPORARY
from mnist_edge.store.manifest import KERAS_NAME, REFERENCE_NAME, STAGED, Manifest, read_verified, sha256_of_file
from mnist_edge.store.workspace import SHIPPED

MODEL, INT8 = "dense", "dense-int8.tflite"


class Action:
    """A command that writes files.

    ``run(n)`` writes content that differs for every n; ``check`` raises an error if a file is neither old nor new.
    """

    name = ""

    def __init__(self, folder: Path, npz: Path) -> None:
        self.folder, self.npz = folder, npz

    def prepare(self, n: int) -> None:
        """Prepare run n; this part is not killed."""

    def run(self, n: int) -> int:
        """Run the command; return its exit code."""
        raise NotImplementedError

    def check(self) -> None:
        """Check the manifests and the files that they name."""
        for manifest in self.folder.glob("*/manifest.json"):
            files = Manifest.load(manifest.parent).files
            for name in files:
                read_verified(manifest.parent / name)
            if KERAS_NAME in files:
                assert files[KERAS_NAME]["key"] == files[REFERENCE_NAME]["key"], (
                    "the float answers in the folder are those of another model"
                )

    def temporary_files(self) -> list[Path]:
        """Temporary files that are left in the folder."""
        return [path for sign in (TEMPORARY, STAGED) for path in self.folder.rglob(f"{sign}*")]


class Train(Action):
    name = "train"

    def run(self, n: int) -> int:
        words = ["train", "--model", MODEL, "--recipe", "tutorial", "--epochs", "2", "--seed", str(n)]
        return cli.main([*words, "--data", str(self.npz), "-o", str(self.folder)])


class Export(Train):
    name = "export"

    def prepare(self, n: int) -> None:
        if not (self.folder / MODEL / KERAS_NAME).exists():
            assert super().run(n) == 0

    def run(self, n: int) -> int:
        words = ["export", "--format", "tflite", "--model", MODEL, "--data", str(self.npz), "-o", str(self.folder)]
        gate = ["--max-drop-pp", "50", "--min-agreement", "0.5", "--max-class-drop-pp", "100"]
        return cli.main([*words, *gate, "--calibration-images", "200", "--calibration-seed", str(n)])


class Download(Action):
    name = "download"

    def prepare(self, n: int) -> None:
        os.environ["XDG_CACHE_HOME"] = str(self.folder)
        if n % 2:  # one file is damaged, and one is missing
            for role in TEST_ROLES:
                path = fetch.cache_folder() / FILES[role]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"damaged") if role == "test_labels" else path.unlink(missing_ok=True)

    def run(self, n: int) -> int:
        os.environ["XDG_CACHE_HOME"] = str(self.folder)
        return cli.main(["data", "--test-only"])

    def check(self) -> None:
        for path in self.folder.rglob("*-ubyte"):
            role = next(role for role, name in FILES.items() if name == path.name)
            whole = sha256_of_file(path) == MNIST_SHA256[role]
            assert whole or path.read_bytes() == b"damaged", f"{path} is neither old nor new"


class Reload(Action):
    name = "reload"

    def prepare(self, n: int) -> None:
        folder = self.folder / MODEL
        if not folder.exists():
            shutil.copytree(SHIPPED / MODEL, folder)
        whole, manifest = (SHIPPED / MODEL / INT8).read_bytes(), Manifest.load(folder)
        facts = {key: value for key, value in manifest.files[INT8].items() if key not in ("sha256", "size_bytes")}
        # Leaves the files as after a power failure right after the manifest was replaced.
        Manifest._finish = lambda _: None  # type: ignore[method-assign]
        manifest.commit({INT8: (whole + n.to_bytes(4, "little"), facts)})

    def run(self, n: int) -> int:
        from mnist_edge.serving.limits import Limits
        from mnist_edge.serving.metrics import Metrics
        from mnist_edge.serving.models import Models, Source

        source = Source(self.folder, "litert", (MODEL,))
        models = Models(source, 1, Limits(), Metrics(), lambda _: None)
        models.refresh()
        loaded = models.get(MODEL)
        return 0 if loaded is not None and loaded.path.read_bytes().endswith(n.to_bytes(4, "little")) else 1


ACTIONS: dict[str, type[Action]] = {item.name: item for item in (Train, Export, Download, Reload)}


def kill_at_write(folder: Path, kill_at: int, log: int) -> None:
    """Patch the functions that write, so that this process is killed at one of the writes in a folder.

    Args:
        folder: the folder.
        kill_at: number of the write at which the process is killed, from 1.
        log: file descriptor to which a line is written for each write.
    """
    count = 0

    def point(name: str) -> None:
        nonlocal count
        count += 1
        os.write(log, f"{name}\n".encode())
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    replace, fsync, write = os.replace, os.fsync, Path.write_bytes

    def replacing(source: os.PathLike[str], target: os.PathLike[str], **options: object) -> None:
        inside = Path(target).is_relative_to(folder)
        if inside:
            point(f"before {Path(target).name} is renamed")
        replace(source, target, **options)  # type: ignore[arg-type]
        if inside:
            point(f"after {Path(target).name} is renamed")

    def syncing(handle: int) -> None:
        name = Path(f"/proc/self/fd/{handle}").readlink()
        fsync(handle)
        if name.is_relative_to(folder):
            point(f"{'folder' if name.is_dir() else 'file'} is on the disk")

    def writing(path: Path, content: bytes) -> int:
        if not path.is_relative_to(folder):
            return write(path, content)
        with path.open("wb") as stream:
            stream.write(content[: len(content) // 2])
            stream.flush()
            point("half is written")
            return stream.write(content[len(content) // 2 :])

    os.replace, os.fsync = replacing, syncing  # type: ignore[assignment]
    os.rename = replacing  # type: ignore[assignment]
    Path.write_bytes = writing  # type: ignore[method-assign, assignment]


def forked(do: Callable[[], int | None], limit: float | None = None) -> tuple[int, str]:
    """Call a function in a fork; return its exit code (negative if a signal ended it) and its output.

    With ``limit``, the fork is killed after this many seconds.
    """
    output = tempfile.TemporaryFile()  # noqa: SIM115
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            code = do() or 0
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    if limit is not None:
        time.sleep(limit)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    with output:
        output.seek(0)
        return os.waitstatus_to_exitcode(status), output.read().decode(errors="replace")


def require_success(outcome: tuple[int, str], what: str) -> None:
    """End the campaign if a fork failed."""
    if outcome[0]:
        raise SystemExit(f"{what}: exit {outcome[0]}\n{outcome[1]}")


def at_every_write(action: Action) -> list[str]:
    """Kill the action at its first write, its second, and so on, until a run is completed; return the writes' names."""
    names: list[str] = []
    n = 0
    while True:
        n += 1
        read, log = os.pipe()
        require_success(forked(functools.partial(action.prepare, n)), f"{action.name}: preparing {n}")

        def run(n: int = n, log: int = log) -> int:
            kill_at_write(action.folder, n, log)
            return action.run(n)

        outcome = forked(run)
        os.close(log)
        with os.fdopen(read) as stream:
            names = stream.read().splitlines()
        require_success(forked(action.check), f"{action.name}: after a kill at {names[-1:]}")
        if outcome[0] != -signal.SIGKILL:
            require_success(outcome, f"{action.name}: the run after all kills")
            break
    require_success(forked(action.check), action.name)
    assert not action.temporary_files(), action.temporary_files()
    return names


def at_random(action: Action, count: int, rng: random.Random) -> dict[str, float]:
    """Kill the action at random times, uniformly distributed over the time of a complete run."""
    require_success(forked(functools.partial(action.prepare, 1)), action.name)
    begun = time.monotonic()
    require_success(forked(functools.partial(action.run, 1)), action.name)
    whole = time.monotonic() - begun
    killed = completed = 0
    n = 1
    while killed < count:
        n += 1
        require_success(forked(functools.partial(action.prepare, n)), f"{action.name}: preparing {n}")
        moment = rng.uniform(0, whole)
        outcome = forked(functools.partial(action.run, n), moment)
        killed += outcome[0] == -signal.SIGKILL
        completed += outcome[0] == 0
        require_success(forked(action.check), f"{action.name}: killed after {moment:.3f} s")
        if outcome[0] == -signal.SIGKILL and killed % 5 == 0:  # the same command must complete the killed run's work
            require_success(forked(functools.partial(action.run, n)), f"{action.name}: the run after a kill")
    require_success(forked(functools.partial(action.run, n)), f"{action.name}: the run after all kills")
    require_success(forked(action.check), action.name)
    return {"killed": killed, "completed": completed, "seconds": round(whole, 2)}


@contextlib.contextmanager
def mirror() -> Iterator[None]:
    """Serve MNIST's files from a local web server in place of the mirrors: real requests without a network."""
    with tempfile.TemporaryDirectory() as folder:
        for role, path in fetch.mnist(TEST_ROLES).items():
            (Path(folder) / f"{FILES[role]}.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
        handler = functools.partial(QuietHandler, directory=folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        fetch.MIRRORS = (f"http://127.0.0.1:{server.server_port}/",)
        yield
        server.shutdown()
        server.server_close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, *_: object) -> None:
        pass


def write_small_data(folder: Path) -> Path:
    """Write an NPZ file with 2,000 images of MNIST to train on."""
    import numpy as np

    mnist = data.load()
    path = folder / "small.npz"
    np.savez(path, x_train=mnist.train.images[:1500, ..., 0], y_train=mnist.train.labels[:1500],
             x_test=mnist.validation.images[:500, ..., 0], y_test=mnist.validation.labels[:500])  # fmt: skip
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("actions", nargs="*", default=list(ACTIONS), help=f"of {', '.join(ACTIONS)}; by default all")
    parser.add_argument("--random", type=int, metavar="COUNT", help="kill this often at random times, over all actions")
    parser.add_argument("--seed", type=int, default=0, help="of the random times")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, mirror():
        npz = write_small_data(Path(scratch))
        if {"train", "export"} & set(options.actions):
            import_keras()  # once, before the forks
        report: dict[str, object] = {}
        for name in options.actions:
            folder = Path(scratch) / name
            folder.mkdir()
            action = ACTIONS[name](folder, npz)
            if options.random:
                count = options.random // len(options.actions)
                report[name] = at_random(action, count, random.Random(f"{options.seed} {name}"))
            else:
                report[name] = at_every_write(action)
            print(f"{name}: {report[name]}", file=sys.stderr, flush=True)
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
