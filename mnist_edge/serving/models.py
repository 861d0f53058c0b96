"""The models of the service: each is served from one file, which a newer file replaces after passing its checks."""

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

# Time between two checks for newer files.
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class LoadedModel:
    """One version of a served model: an opened and checked file.

    Attributes:
        name: the name in request paths.
        path, sha256: the file and its hash.
        version: 1, and one more for every newer file.
        from_workspace: whether the file is in the workspace; False for a file of the package.
        engine: the name of the engine that runs it.
        contract: what the file says of its input and its classes.
        classes: number of classes.
        grid: what a request may contain.
        verified: whether a manifest confirms the file's hash.
        temperature: temperature of confidence calibration; None if the confidence is not calibrated.
        batcher: classifies images.
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
    """Where the served models come from.

    Attributes:
        workspace: the folder in which names are looked up.
        engine: the name of the engine that opens the files.
        names: names of the models.
        own: names of the models that were in the workspace when the service started; they are never replaced by the
            models of the package.
        words: by model name, what the user named on the command line: a name, a file or a folder.
    """

    workspace: Path
    engine: str
    names: tuple[str, ...]
    own: frozenset[str] = frozenset()
    words: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, workspace: Path, engine: str, words: tuple[str, ...]) -> Source:
        """Find the models that the user named.

        Args:
            workspace: the folder in which names are looked up.
            engine: the name of the engine that opens the files.
            words: names of models, folders of models, files, or workspaces with one model.

        Raises:
            UsageError: there is no such model, or two models would have the same name.
        """
        files = {word: pick_file(workspace, word, engine) for word in words}
        names = tuple(_served_name(word, file) for word, file in files.items())
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            cause = f"Two models would be served as {repeated!r}."
            raise UsageError(cause, "Rename the folder or file of one of them.")
        own = (name for name, file in zip(names, files.values(), strict=True) if _from_workspace(file))
        return cls(workspace, engine, names, frozenset(own), dict(zip(names, words, strict=True)))

    def pick(self, name: str, own: bool = False) -> Path:
        """The current file of a model.

        Args:
            name: the model's name.
            own: whether the model was served from the workspace before; then the package's model does not replace it.

        Raises:
            ContentError: the model is no longer in the workspace, or its path is not a regular file.
            MnistEdgeError: its manifest cannot be read.
        """
        path = pick_file(self.workspace, self.words.get(name, name), self.engine)
        if (own or name in self.own) and not _from_workspace(path):
            raise ContentError(f"{self.workspace / name} holds no model any more.", "Export it again.")
        for item in (path, golden_path(path)):
            if item.exists() and not item.is_file():
                raise ContentError(f"{item} is no regular file.", "Export it again.")
        return path


class Models:
    """The served models by name. A request that has begun keeps its version, even if a newer one replaces it."""

    def __init__(
        self, source: Source, threads: int, limits: Limits, metrics: Metrics, note: Callable[[str], None]
    ) -> None:
        """Open all models.

        Args:
            source: the models' names and places.
            threads: large batches of one model that may run at a time.
            limits: the limits of the service.
            metrics: counts batches and newer files that were not accepted.
            note: called with a line of the log for every newer file, accepted or not.

        Raises:
            MnistEdgeError: a file cannot be opened, or its self-test fails.
        """
        self._source, self._threads, self._limits, self._metrics, self._note = source, threads, limits, metrics, note
        self._executor = ThreadPoolExecutor(threads * len(source.names), "inference")
        self.loads = 0  # number of newer files that were opened; after each, memory of the older one can be freed
        self._loaded = {name: self._load(name, source.pick(name), 1) for name in source.names}
        self.problems: dict[str, str] = {}
        self._checked: dict[str, list[tuple[int, int] | None]] = {}  # by name, the signature of the checked files
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="models", daemon=True)

    def names(self) -> list[str]:
        """Names of the served models."""
        return list(self._loaded)

    def get(self, name: str) -> LoadedModel | None:
        """The current version of a model; None if there is no such model."""
        return self._loaded.get(name)

    def all(self) -> list[LoadedModel]:
        """The current versions of all models."""
        return list(self._loaded.values())

    def longest_seconds(self) -> float:
        """Seconds for which the oldest running batch of any model has been in a thread; 0 if there is none."""
        return max(loaded.batcher.longest_seconds() for loaded in self._loaded.values())

    def start(self) -> None:
        """Start looking for newer files."""
        self._watcher.start()

    def stop(self) -> None:
        """Stop looking for newer files."""
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self.refresh()

    def refresh(self) -> None:
        """Serve changed files that pass their checks. A model whose new file fails a check keeps its old version.

        An error is logged once and counts as a problem of its model; it never stops the service.
        """
        for name, old in list(self._loaded.items()):
            try:
                problem = self._refresh(name, old)
            except (MnistEdgeError, OSError) as error:
                problem = f"the new file is not accepted: {error}"
            except Exception as error:  # a file with a fault that no check foresees must not end this thread
                problem = f"the new file is not accepted: {type(error).__name__}: {error}"
            if problem is None:
                self.problems.pop(name, None)
            elif self.problems.get(name) != problem:
                self.problems[name] = problem
                self._note(one_line(f"{name}: version {old.version} is still served: {problem}"))
            self._metrics.problem.labels(name).set(problem is not None)

    def _refresh(self, name: str, old: LoadedModel) -> str | None:
        """Load a model's file if it has changed; return the model's problem, or None."""
        before, now = self._checked.pop(name, None), self._signature(name, old.path)
        if before != now:
            self._accept(name, old, self._source.pick(name, old.from_workspace))
        self._checked[name] = now  # not reached if that failed, so that it is tried again
        return None if before != now else self.problems.get(name)

    def _signature(self, name: str, path: Path) -> list[tuple[int, int] | None]:
        """Modification times and sizes of a model's folder and files: equal as long as nothing has changed."""
        folder = self._source.workspace / name
        watched = (folder, folder / MANIFEST_NAME, path, golden_path(path), path.with_name(MANIFEST_NAME))
        found = [item.stat() if item.exists() else None for item in watched]
        return [None if item is None else (item.st_mtime_ns, item.st_size) for item in found]

    def _accept(self, name: str, old: LoadedModel, path: Path) -> None:
        """Load a model's file, if its content is new."""
        if sha256_of_file(path) != old.sha256:
            try:
                self._loaded[name] = self._load(name, path, old.version + 1)
            finally:
                self.loads += 1
            self._note(one_line(f"{name}: a new file is serving, version {old.version + 1}"))

    def _load(self, name: str, path: Path, version: int) -> LoadedModel:
        sha256 = sha256_of_file(path)
        sessions = [open_session(path, self._source.engine) for _ in range(1 + self._threads)]
        first = sessions[0]
        self._check(path, first)
        if sha256_of_file(path) != sha256:
            raise ContentError(f"{path} was replaced while it was opened.", "It is opened again.")
        height, width, channels = (*first.image_shape, 1)[:3]
        grid = Grid(height, width, channels, self._limits.images_of(first.classes), first.contract.preprocessor)
        return LoadedModel(
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
        if not session.takes_images:
            raise UsageError(f"{path} takes no pictures.", "Serve an image classifier.")
        if golden_path(path).is_file() and not run_selftest(session).passed:
            raise ContentError(
                f"{path} gives other answers here than on the machine that built it.", "Export it again."
            )


def _served_name(word: str, file: Path) -> str:
    """The name of a model in request paths: the argument if it is a name, a file's stem, or its folder's name."""
    if Path(word).is_file():
        return file.stem
    return word if Path(word).name == word and not Path(word).is_dir() else file.parent.name


def _from_workspace(path: Path) -> bool:
    return SHIPPED not in path.parents
