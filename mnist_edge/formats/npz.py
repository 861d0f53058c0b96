"""Reading untrusted ``.npz`` archives of NumPy: no pickles, a limited size, and one error class for any damage."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 1 << 30  # of the requested arrays, uncompressed: a small archive may expand to fill the memory


def arrays(content: bytes, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Named arrays of an archive.

    Args:
        content: the whole file.
        names: of the arrays to return, without ``.npy``.

    Raises:
        ValueError: the archive is damaged, lacks one of the arrays, or the arrays exceed `MAX_BYTES`.
    """
    wanted = tuple(names)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(archive.getinfo(f"{name}.npy").file_size for name in wanted)
        if unpacked > MAX_BYTES:
            raise ValueError("it unpacks to more than a gigabyte")
        with np.load(io.BytesIO(content), allow_pickle=False) as loaded:
            found = {name: loaded[name] for name in wanted}
        if not all(isinstance(item, np.ndarray) for item in found.values()):  # NumPy returns other members as bytes
            raise ValueError("one of its members is not an array")
        return found
    except KeyError as error:
        raise ValueError(str(error.args[0])) from error
    except (Exception, MemoryError) as error:  # zipfile, decompressors and NumPy's header parser raise many classes
        raise ValueError(f"{type(error).__name__}: {error}") from error
