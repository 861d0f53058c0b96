"""Which digits of a video are announced: each once, when its label is stable. Pure: no clock, no input, no output.

A *track* is one figure that is followed from frame to frame. A figure continues the nearest track; its label is stable
if most of the last frames agree on it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from mnist_edge.results import Prediction

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Rules:
    """When a digit is announced and forgotten, in frames that were searched.

    Attributes:
        agree: frames that must have the same label, of the last ``window``. More than half of the window, so that at
            most one label is stable at a time.
        window: number of frames.
        forgotten: a track ends when its figure was gone for so many frames.
        reach: how far a figure may move between two frames, in longer sides of its box.
        confidence: smallest calibrated confidence of a label that counts for an announcement.
    """

    agree: int = 6
    window: int = 7
    forgotten: int = 15
    reach: float = 1.0
    confidence: float = 0.9

    def __post_init__(self) -> None:
        if not self.window < 2 * self.agree <= 2 * self.window or self.forgotten < 1:
            raise ValueError(f"rules that contradict each other: {self}")


@dataclass
class Track:
    """A figure that is followed.

    Attributes:
        box: where it was seen last.
        answers: its label and confidence in the last frames; None for a frame without it.
        announced: the label that was announced last; None before.
        missing: frames since it was seen.
        is_unsure: whether it was reported as unsure.
    """

    box: Box
    answers: deque[tuple[int | None, float] | None]
    announced: int | None = None
    missing: int = 0
    is_unsure: bool = False

    def stable(self, rules: Rules) -> tuple[int, float] | None:
        """The label on which enough frames agree, and its mean confidence; None if there is none."""
        sure = [item for item in self.answers if item is not None and item[1] >= rules.confidence]
        for label in {item[0] for item in sure} - {None}:
            of_label = [item[1] for item in sure if item[0] == label]
            if label is not None and len(of_label) >= rules.agree:
                return label, sum(of_label) / len(of_label)
        return None


@dataclass(frozen=True)
class Stable:
    """A digit to announce: its label, the mean confidence of the frames that agree, and its box."""

    label: int
    confidence: float
    box: Box


@dataclass(frozen=True)
class News:
    """What a frame brought: digits to announce, and boxes of figures that stay without a stable label."""

    stable: tuple[Stable, ...] = ()
    unsure: tuple[Box, ...] = ()


@dataclass
class Announcer:
    """Follows the figures of a video, and announces each digit once."""

    rules: Rules = Rules()
    tracks: list[Track] = field(default_factory=list)

    def update(self, predictions: Sequence[Prediction]) -> News:
        """Take the predictions for the next frame; those without a box are left out.

        Returns:
            Digits that became stable in this frame, unless the same track was announced with the same label last; and,
            once for each track, figures that were in every frame of the window and were never announced.
        """
        seen = [item for item in predictions if item.box is not None]
        followed = self._follow(seen)
        for track in self.tracks:
            item = followed.pop(id(track), None)
            _append(track, item)
        self.tracks = [track for track in self.tracks if track.missing < self.rules.forgotten]
        stable: list[Stable] = []
        unsure: list[Box] = []
        for track in self.tracks:
            found = track.stable(self.rules)
            if found is not None and found[0] != track.announced:
                track.announced = found[0]
                stable.append(Stable(*found, track.box))
            whole = len(track.answers) == self.rules.window and None not in track.answers
            if whole and track.announced is None and not track.is_unsure:
                track.is_unsure = True
                unsure.append(track.box)
        return News(tuple(stable), tuple(unsure))

    def _follow(self, seen: list[Prediction]) -> dict[int, Prediction]:
        """The prediction that continues each track, by the track's ``id``; new tracks for the others.

        The nearest pair comes first. A label that differs from the one announced counts as half a side of distance, so
        that two digits side by side keep their own tracks.
        """
        pairs = []
        for at, track in enumerate(self.tracks):
            for index, item in enumerate(seen):
                distance = _distance(track.box, item.box or track.box)
                if distance <= self.rules.reach:
                    other = track.announced is not None and item.label != track.announced
                    pairs.append((distance + 0.5 * other, at, index))
        followed: dict[int, Prediction] = {}
        taken: set[int] = set()
        for _, at, index in sorted(pairs):
            if id(self.tracks[at]) not in followed and index not in taken:
                followed[id(self.tracks[at])] = seen[index]
                taken.add(index)
        for index, item in enumerate(seen):
            if index not in taken and item.box is not None:
                track = Track(item.box, deque(maxlen=self.rules.window))
                self.tracks.append(track)
                followed[id(track)] = item
        return followed


def _append(track: Track, item: Prediction | None) -> None:
    if item is None or item.box is None:
        track.answers.append(None)
        track.missing += 1
        return
    track.answers.append((item.label, item.confidence or 0.0))
    track.box = item.box
    track.missing = 0


def _distance(first: Box, second: Box) -> float:
    """Distance of the centres of two boxes, in longer sides of the first."""
    across, down = (first[at] + first[at + 2] / 2 - second[at] - second[at + 2] / 2 for at in (0, 1))
    return float(max(abs(across), abs(down)) / max(first[2], first[3], 1))
