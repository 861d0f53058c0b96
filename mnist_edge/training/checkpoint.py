"""The state of a run after its last whole epoch, as one file that is there whole or not at all."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge import artifacts


@dataclass
class Record:
    """A row of metrics an epoch, and the seconds they took."""

    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def epochs(self) -> int:
        """How many are done."""
        return len(self.history)


class Checkpoint:
    """Weights and optimizer state of one very run: ``key`` is the fingerprint of all that it depends on."""

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self._key = key

    def save(self, model: Any, record: Record) -> None:
        """Write the state, in place of the one before."""
        state = {"key": self._key, "history": record.history, "seconds": record.seconds}
        values = {f"v{at}": np.asarray(variable) for at, variable in enumerate(_variables(model))}
        content = io.BytesIO()
        np.savez(content, state=np.frombuffer(json.dumps(state).encode(), np.uint8), **values)
        artifacts.write_bytes(self.path, content.getvalue())

    def resume(self, model: Any) -> Record | None:
        """Put the state into a compiled model; None where there is nothing whole of this very run."""
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                state = json.loads(archive["state"].tobytes())
                if state["key"] != self._key:
                    return None
                values = [archive[f"v{at}"] for at in range(len(archive.files) - 1)]
            record = Record(list(state["history"]), float(state["seconds"]))
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None
        model.optimizer.build(model.trainable_variables)
        variables = _variables(model)
        if [variable.shape for variable in variables] != [value.shape for value in values]:
            return None
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return record


def _variables(model: Any) -> list[Any]:
    """Weights, the optimizer's state, and the seeds of layers that draw (dropout)."""
    return [*model.variables, *model.optimizer.variables]
