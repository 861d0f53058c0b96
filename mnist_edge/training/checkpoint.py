"""The state of a run after its last whole epoch, as one file that is there whole or not at all."""

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
    """A row of metrics and seconds an epoch."""

    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """How many are done."""
        return len(self.history)

    @property
    def seconds(self) -> float:
        """Of all epochs together."""
        return sum(row["seconds"] for row in self.history)


class Checkpoint:
    """Weights and optimizer state of one very run: ``key`` is the fingerprint of all that it depends on."""

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self._key = key

    def save(self, model: Any, record: Record, planned: int) -> None:
        """Write the state, in place of the one before; ``planned`` is how many epochs there shall be."""
        state = {"key": self._key, "history": record.history, "planned": planned}
        values = {f"v{at}": np.asarray(variable) for at, variable in enumerate(_variables(model))}
        content = io.BytesIO()
        np.savez(content, state=np.frombuffer(json.dumps(state).encode(), np.uint8), **values)
        files.write_bytes(self.path, content.getvalue())

    def planned(self) -> int | None:
        """How many epochs the run that is kept here shall have; None where there is none."""
        kept = self._read()
        return int(kept[0]["planned"]) if kept else None

    def resume(self, model: Any) -> Record | None:
        """Put the state into a compiled model; None where there is nothing whole of this very run."""
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
            # Opened here: numpy leaves a file open that is no archive.
            with self.path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                state = json.loads(archive["state"].tobytes())
                values = [archive[f"v{at}"] for at in range(len(archive.files) - 1)]
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
            return None
        return (state, values) if state.get("key") == self._key else None


def _variables(model: Any) -> list[Any]:
    """Weights and the optimizer's state."""
    return [*model.variables, *model.optimizer.variables]
