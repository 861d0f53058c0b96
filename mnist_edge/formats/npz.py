"""Reading NumPy's ``.npz`` archives from anywhere: no pickles, no bombs, one error for all that can be wrong."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 1 << 30


def arrays(content: bytes, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Arrays of an archive by name.

    Args:
        content: the file's bytes. names: of the arrays wanted, without their ``.npy``.

    Raises:
        ValueError: the archive is damaged, lacks one of them, or unpacks to more than a gigabyte.
    """
    wanted = tuple(names)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(archive.getinfo(f"{name}.npy").file_size for name in wanted)
        if unpacked > MAX_BYTES:
            raise ValueError("it unpacks to more than a gigabyte")
        with np.load(io.BytesIO(content), allow_pickle=False) as loaded:
            found = {name: loaded[name] for name in wanted}
        if not all(isinstance(item, np.ndarray) for item in found.values()):  # bytes, of a member that is no array
            raise ValueError("not all of it are arrays")
        return found
    except KeyError as error:
        raise ValueError(str(error.args[0])) from error
    except (Exception, MemoryError) as error:  # zip, its compressions and numpy's header raise what they like
        raise ValueError(f"{type(error).__name__}: {error}") from error
