"""The models that are served: a file of each, and a newer file that replaces it once it has passed its checks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from mnist_edge.errors import ContentError, MnistEdgeError, UsageError, one_line
from mnist_edge.formats import Contract
from mnist_edge.runtime import Session, open_session
from mnist_edge.runtime.selection import pick_file
from mnist_edge.runtime.selftest import golden_path, run_selftest
from mnist_edge.serving.batching import Batcher, images_on_loop
from mnist_edge.serving.limits import Limits
from mnist_edge.serving.metrics import Metrics
from mnist_edge.serving.requests import Grid
from mnist_edge.store.manifest import MANIFEST_NAME, sha256_of_file
from mnist_edge.store.workspace import SHIPPED

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Loaded:
    """One version of a model: a file, opened and checked.

    ``from_workspace`` tells a file of the workspace from one that came with the package.
    """

    name: str
    path: Path
    sha256: str
    version: int
    from_workspace: bool
    engine: str
    contract: Contract
    classes: int
    grid: Grid
    verified: bool
    temperature: float | None
    batcher: Batcher


@dataclass(frozen=True)
class Source:
    """Where models come from: a workspace, the engine that opens them, and their names.

    ``own`` are the names of those that the workspace held when the service started. ``words`` holds the file or folder
    that was given in place of a name, by the name under which it is served.
    """

    workspace: Path
    engine: str
    names: tuple[str, ...]
    own: frozenset[str] = frozenset()
    words: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, workspace: Path, engine: str, words: tuple[str, ...]) -> Source:
        """Look where the models come from now.

        Args:
            workspace: where names are looked up. engine: what opens the files.
            words: names, models' folders, files, or workspaces of one model.

        Raises:
            UsageError: there is no such model, or two would be served under one name.
        """
        files = {word: pick_file(workspace, word, engine) for word in words}
        names = tuple(_served_name(word, file) for word, file in files.items())
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"Two models would be served as {twice!r}.", "Rename the folder or file of one of them.")
        own = (name for name, file in zip(names, files.values(), strict=True) if _from_workspace(file))
        return cls(workspace, engine, names, frozenset(own), dict(zip(names, words, strict=True)))

    def pick(self, name: str, own: bool = False) -> Path:
        """The file of a model now; a model of the workspace, ``own``, never becomes the shipped one.

        Raises:
            ContentError: the workspace holds it no more, or something that is no file is in its place.
            MnistEdgeError: what reading its manifest raises.
        """
        path = pick_file(self.workspace, self.words.get(name, name), self.engine)
        if (own or name in self.own) and not _from_workspace(path):
            raise ContentError(f"{self.workspace / name} holds no model any more.", "Export it again.")
        for item in (path, golden_path(path)):
            if item.exists() and not item.is_file():
                raise ContentError(f"{item} is no regular file.", "Export it again.")
        return path


class Models:
    """Models by name. A request is answered by one version, also if another one replaces it meanwhile."""

    def __init__(
        self, source: Source, threads: int, limits: Limits, metrics: Metrics, note: Callable[[str], None]
    ) -> None:
        """Open all models.

        Args:
            source: where they come from.
            threads: how many large batches of one model may be in work at a time.
            limits: of the service. metrics: count batches, and files that were not accepted.
            note: is called with a line for every file that was accepted or not.

        Raises:
            MnistEdgeError: what opening a file raises, or its self-test fails.
        """
        self._source, self._threads, self._limits, self._metrics, self._note = source, threads, limits, metrics, note
        self._executor = ThreadPoolExecutor(threads * len(source.names), "inference")
        self.loads = 0  # how often newer files were opened; the sessions of older ones are freed afterwards
        self._loaded = {name: self._load(name, source.pick(name), 1) for name in source.names}
        self.problems: dict[str, str] = {}
        self._looked: dict[str, list[tuple[int, int] | None]] = {}
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="models", daemon=True)

    def names(self) -> list[str]:
        """Names of the models served."""
        return list(self._loaded)

    def get(self, name: str) -> Loaded | None:
        """The version that answers for a model now."""
        return self._loaded.get(name)

    def all(self) -> list[Loaded]:
        """The version of every model that answers now."""
        return list(self._loaded.values())

    def longest_seconds(self) -> float:
        """For how long the oldest batch of any model has been in an engine."""
        return max(loaded.batcher.longest_seconds() for loaded in self._loaded.values())

    def start(self) -> None:
        """Begin to look for newer files."""
        self._watcher.start()

    def stop(self) -> None:
        """Stop looking for newer files."""
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self.refresh()

    def refresh(self) -> None:
        """Accept the files that have changed and pass their checks. A model whose new file does not keeps its old one.

        Whatever goes wrong is noted once, counts as a problem of that model, and ends nothing.
        """
        for name, old in list(self._loaded.items()):
            try:
                problem = self._refresh(name, old)
            except (MnistEdgeError, OSError) as error:
                problem = f"the new file is not accepted: {error}"
            except Exception as error:  # a file that our own checks did not foresee must not end this thread
                problem = f"the new file is not accepted: {type(error).__name__}: {error}"
            if problem is None:
                self.problems.pop(name, None)
            elif self.problems.get(name) != problem:
                self.problems[name] = problem
                self._note(one_line(f"{name}: version {old.version} goes on serving: {problem}"))
            self._metrics.problem.labels(name).set(problem is not None)

    def _refresh(self, name: str, old: Loaded) -> str | None:
        """Look at a model's files; say what is wrong, or None."""
        before, seen = self._looked.pop(name, None), self._signature(name, old.path)
        if before != seen:
            self._accept(name, old, self._source.pick(name, old.from_workspace))
        self._looked[name] = seen  # not if that failed: then it is tried again
        return None if before != seen else self.problems.get(name)

    def _signature(self, name: str, path: Path) -> list[tuple[int, int] | None]:
        """What shows, at little cost, that nothing has changed: times and sizes of a model's folder and files."""
        folder = self._source.workspace / name
        watched = (folder, folder / MANIFEST_NAME, path, golden_path(path), path.with_name(MANIFEST_NAME))
        found = [item.stat() if item.exists() else None for item in watched]
        return [None if item is None else (item.st_mtime_ns, item.st_size) for item in found]

    def _accept(self, name: str, old: Loaded, path: Path) -> None:
        """Open a model's file, if its content is new."""
        if sha256_of_file(path) != old.sha256:
            try:
                self._loaded[name] = self._load(name, path, old.version + 1)
            finally:
                self.loads += 1
            self._note(one_line(f"{name}: a new file is serving, version {old.version + 1}"))

    def _load(self, name: str, path: Path, version: int) -> Loaded:
        sha256 = sha256_of_file(path)
        sessions = [open_session(path, self._source.engine) for _ in range(1 + self._threads)]
        first = sessions[0]
        self._check(path, first)
        if sha256_of_file(path) != sha256:
            raise ContentError(f"{path} was replaced while it was opened.", "It is opened again.")
        height, width = first.image_shape
        grid = Grid(height, width, self._limits.images_of(first.classes), first.contract.preprocessor)
        return Loaded(
            name=name,
            path=path,
            sha256=sha256,
            version=version,
            from_workspace=_from_workspace(path),
            engine=first.engine,
            contract=first.contract,
            classes=first.classes,
            grid=grid,
            verified=first.verified,
            temperature=first.temperature,
            batcher=Batcher(
                sessions,
                self._executor,
                images_on_loop(first),
                self._limits.batch_seconds,
                self._metrics.observer(name),
            ),
        )

    def _check(self, path: Path, session: Session) -> None:
        if len(session.image_shape) != 2:
            raise UsageError(f"{path} takes no pictures.", "Serve an image classifier.")
        if golden_path(path).is_file() and not run_selftest(session).passed:
            raise ContentError(f"{path} does not answer here as it did where it was built.", "Export it again.")


def _served_name(word: str, file: Path) -> str:
    """The name of a model in addresses: the word if it is a name, the stem of a file, or the name of its folder."""
    if Path(word).is_file():
        return file.stem
    return word if Path(word).name == word and not Path(word).is_dir() else file.parent.name


def _from_workspace(path: Path) -> bool:
    return SHIPPED not in path.parents
