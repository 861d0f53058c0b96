"""Pictures of figures without a stable label, saved so that a person can look at them."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_edge.errors import UsageError
from mnist_edge.store.files import check_target, refused
from mnist_edge.vision.pictures import ORIGINAL_SIZE

if TYPE_CHECKING:
    from PIL.Image import Image

# Files that the folder may hold, those of earlier runs included: at most 410 MB if all frames were noise in colour.
MOST = 400
NAME = re.compile(r"unsure-(\d+)\.png")
# Background around the figure, in longer sides of its box: enough for `predict` to find the figure again.
MARGIN = 0.5


class UnsureFolder:
    """A folder for such pictures. It is made if need be; no file in it is changed or removed.

    Attributes:
        kept: number of pictures saved. not_kept: number that was not saved because the folder holds `MOST`.
    """

    def __init__(self, folder: Path) -> None:
        """Make the folder.

        Raises:
            UsageError: the path is a file, or the folder that shall hold it does not exist.
            StageError: the folder cannot be made or written.
        """
        self._folder = folder
        self.kept = 0
        self.not_kept = 0
        if not folder.is_dir():
            check_target(folder)
            if folder.exists():
                raise UsageError(f"{folder} is a file, not a folder.", "Name a folder to save pictures in.")
        try:
            folder.mkdir(exist_ok=True)
            names = [item.name for item in folder.iterdir()]
        except OSError as error:
            raise refused(folder, error) from error
        check_target(folder / "unsure-0.png")
        numbers = [int(match[1]) for name in names if (match := NAME.fullmatch(name))]
        self._held = len(numbers)
        self._next = max(numbers, default=0) + 1

    def keep(self, picture: Image, box: tuple[int, int, int, int]) -> None:
        """Save the part of a frame around a box, if the folder is not full.

        Args:
            picture: the frame. box: left, top, width and height, in pixels of the frame before it was reduced.

        Raises:
            StageError: the disk or its permissions do not allow it.
        """
        if self._held >= MOST:
            self.not_kept += 1
            return
        stream = io.BytesIO()
        picture.crop(_around(picture, box)).save(stream, "PNG")
        while True:
            path = self._folder / f"unsure-{self._next:04}.png"
            self._next += 1
            try:
                with path.open("xb") as file:
                    file.write(stream.getvalue())
            except FileExistsError:  # of another process that saves here
                continue
            except OSError as error:
                with contextlib.suppress(OSError):
                    path.unlink()  # the part of it that the disk had room for
                raise refused(path, error) from error
            break
        self._held += 1
        self.kept += 1


def _around(picture: Image, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a box with its margin, in pixels of the reduced frame."""
    scale = picture.width / picture.info.get(ORIGINAL_SIZE, picture.size)[0]
    left, top, width, height = (scale * value for value in box)
    margin = MARGIN * max(width, height)
    return (
        max(0, round(left - margin)), max(0, round(top - margin)),
        min(picture.width, round(left + width + margin)), min(picture.height, round(top + height + margin)),
    )  # fmt: skip
