"""Checkpoint: the state of a training run after its last complete epoch, in one file that is written atomically."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.store import files


@dataclass
class Record:
    """Metrics and duration (``seconds``) of each epoch."""

    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """Number of completed epochs."""
        return len(self.history)

    @property
    def seconds(self) -> float:
        """Duration of all epochs, in seconds."""
        return sum(row["seconds"] for row in self.history)


class Checkpoint:
    """Weights, optimizer state and record of one run, in a file.

    A file with another ``key`` is ignored; the key is a fingerprint of everything that the run depends on.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self._key = key

    def save(self, model: Any, record: Record, planned: int) -> None:
        """Replace the file by the current state; ``planned`` is the number of epochs of the whole run."""
        state = {"key": self._key, "history": record.history, "planned": planned}
        values = {f"v{at}": np.asarray(variable) for at, variable in enumerate(_variables(model))}
        content = io.BytesIO()
        np.savez(content, state=np.frombuffer(json.dumps(state).encode(), np.uint8), **values)
        files.write_bytes(self.path, content.getvalue())

    def planned(self) -> int | None:
        """Number of epochs of the whole run in the file; None if there is no usable file."""
        kept = self._read()
        return int(kept[0]["planned"]) if kept else None

    def resume(self, model: Any) -> Record | None:
        """Load the state into a compiled model and return the record.

        Returns None, and leaves the model as it is, if the file is missing or damaged or belongs to another run.
        """
        kept = self._read()
        if kept is None:
            return None
        state, values = kept
        model.optimizer.build(model.trainable_variables)
        variables = _variables(model)
        if [variable.shape for variable in variables] != [value.shape for value in values]:
            return None
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return Record(list(state["history"]))

    def _read(self) -> tuple[dict[str, Any], list[NDArray[Any]]] | None:
        try:
            # Opened here, because np.load does not close a file that is not an archive.
            with self.path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                state = json.loads(archive["state"].tobytes())
                values = [archive[f"v{at}"] for at in range(len(archive.files) - 1)]
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
            return None
        return (state, values) if state.get("key") == self._key else None


def _variables(model: Any) -> list[Any]:
    """Variables of the model and of its optimizer, in a fixed order."""
    return [*model.variables, *model.optimizer.variables]
