"""The models that are served: a file of each, its sessions, and a newer file taken over when it has proven itself."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mnist_edge.artifacts import MANIFEST_NAME, sha256_of_file
from mnist_edge.errors import ContentError, MnistEdgeError, UsageError
from mnist_edge.runtime import Session, open_session
from mnist_edge.runtime.selftest import golden_path, run_selftest
from mnist_edge.workspace import pick_file

POLL_SECONDS = 1.0
T = TypeVar("T")


@dataclass(frozen=True)
class Loaded:
    """One file of a model, with a session for every worker."""

    name: str
    path: Path
    sha256: str
    version: int
    sessions: queue.LifoQueue[Session]
    first: Session

    def run(self, work: Callable[[Session], T]) -> T:
        """Do something with a session that nobody else has meanwhile."""
        session = self.sessions.get()
        try:
            return work(session)
        finally:
            self.sessions.put(session)


class Models:
    """Models by name. What is asked for once is answered by one file, whatever is taken over meanwhile."""

    def __init__(self, workspace: Path, names: Sequence[str], engine: str, workers: int, note: Callable[[str], None]):
        """Load them all.

        Args:
            workspace: where their folders are; the package's own serve where it has none.
            names: of the models. engine: of all. workers: sessions of each. note: told of what is taken over or not.

        Raises:
            MnistEdgeError: what opening a file raises, or its self-test says.
        """
        self._workspace, self._engine, self._workers, self._note = workspace, engine, workers, note
        self._loaded = {name: self._load(name, 1) for name in names}
        self._noted: dict[str, str] = {}
        self._looked: dict[str, list[tuple[int, int]]] = {}
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="models", daemon=True)

    def names(self) -> list[str]:
        """Of the models served."""
        return list(self._loaded)

    def get(self, name: str) -> Loaded | None:
        """The file that answers for a model now."""
        return self._loaded.get(name)

    def start(self) -> None:
        """Begin to look for newer files."""
        self._watcher.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self.refresh()

    def refresh(self) -> None:
        """Take over the files that have changed, and pass their checksum and self-test; else say why not, once."""
        for name, old in list(self._loaded.items()):
            try:
                path = pick_file(self._workspace, name, self._engine)
                beside = (path, golden_path(path), path.with_name(MANIFEST_NAME))
                seen = [(item.stat().st_mtime_ns, item.stat().st_size) for item in beside if item.exists()]
                if self._looked.get(name) == seen:
                    continue
                self._looked[name] = seen
                if sha256_of_file(path) == old.sha256:
                    continue
                self._loaded[name] = self._load(name, old.version + 1)
                self._say(name, f"{name}: a new file is serving, version {old.version + 1}")
            except (MnistEdgeError, OSError) as error:
                self._say(name, f"{name}: the new file is not taken over: {error}")

    def _say(self, name: str, text: str) -> None:
        if self._noted.get(name) != text:
            self._noted[name] = text
            self._note(text)

    def _load(self, name: str, version: int) -> Loaded:
        path = pick_file(self._workspace, name, self._engine)
        sessions: queue.LifoQueue[Session] = queue.LifoQueue()
        opened = [open_session(path, self._engine) for _ in range(self._workers)]
        first = opened[0]
        if len(first.image_shape) != 2:
            raise UsageError(f"{path} takes no pictures.", "Serve an image classifier.")
        if golden_path(path).is_file() and not run_selftest(first).passed:
            raise ContentError(f"{path} does not say here what it said where it was built.", "Export it again.")
        for session in opened:
            sessions.put(session)
        return Loaded(name, path, sha256_of_file(path), version, sessions, first)
