"""Frames of a video, whatever their source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Frame:
    """One picture of a video.

    Attributes:
        number: its place among all frames of the source, from 0; frames that were dropped count too.
        seconds: since the first frame: by the file's own clock, or by this machine's for a live source.
        picture: grey (mode L) or in colour (mode RGB), upright. If it was reduced, ``info["original_size"]`` holds the
            width and height before.
    """

    number: int
    seconds: float
    picture: Image


class Frames(Protocol):
    """An open source of frames. It is iterated once; the iteration ends with the video.

    Iterating raises a ContentError if no frame can be decoded, and a StageError if the source fails.
    """

    @property
    def live(self) -> bool:
        """Whether frames come at their own speed, so that some must be dropped if they are not taken in time."""

    @property
    def dropped(self) -> int:
        """Number of frames that were replaced by newer ones before they were taken."""

    @property
    def damaged(self) -> int:
        """Number of packets that could not be decoded; they are left out."""

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over the frames in order."""

    def close(self) -> None:
        """Give the camera, the file or the connection back."""


def without_password(source: str | int) -> str:
    """A source as it may be printed: a URL without user name, password and query; ``camera N`` for a number.

    Cameras take names and passwords in the query too. A password may have a ``/``, ``?``, ``#`` or ``@`` that should
    have been escaped, so everything before the last ``@`` is hidden, even if it may be a part of the path or the query.
    """
    if isinstance(source, int):
        return f"camera {source}"
    scheme, separator, rest = source.partition("://")
    if not separator:  # a path
        return source
    user, _, shown = rest.rpartition("@")
    if "?" in user or "#" in user:  # what follows the @ may belong to the query
        return f"{scheme}://..."
    place, mark, _ = shown.partition("?")
    query = "?..." if mark else ""
    return f"{scheme}://{'...@' if '/' in user else ''}{place}{query}"


def has_host(url: str) -> bool:
    """Whether a URL names a host, and a port that is a number if it names one."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
