"""Results of ``watch``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Announcement:
    """A digit that was announced.

    Attributes:
        frame: number of the frame, from 0; dropped frames count too.
        seconds: since the first frame.
        label: index of the class. name: of the class.
        confidence: mean of its calibrated probability over the frames that agreed.
        box: left, top, width and height in pixels of the frame.
    """

    frame: int
    seconds: float
    label: int
    name: str
    confidence: float
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class WatchSummary:
    """What was watched, until the end or an interrupt.

    Attributes:
        source: the camera, file or URL, without a password.
        live: whether frames that were not taken in time were dropped.
        frames: number of frames read. dropped: how many of them were dropped. damaged: packets left out.
        seconds: from the first frame to the end, by the clock. frames_per_second: frames searched in that time.
        announced: number of digits announced.
        kept: pictures saved by ``--keep-unsure``. not_kept: pictures that were not saved because the folder was full.
        interrupted: whether Ctrl-C ended it.
    """

    source: str
    live: bool
    frames: int
    dropped: int
    damaged: int
    seconds: float
    frames_per_second: float
    announced: int
    kept: int
    not_kept: int
    interrupted: bool
