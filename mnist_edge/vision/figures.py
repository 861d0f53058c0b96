"""Figures: groups of connected components of ink, each of which may be one digit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_edge.vision.components import Box, Component, components
from mnist_edge.vision.ink import FLAT, Ink, NoDigit

# A picture with more components than this is refused.
MAX_COMPONENTS = 200


@dataclass(frozen=True)
class Figure(Box):
    """Components that may be one digit, and their common box."""

    parts: tuple[Component, ...]

    @classmethod
    def of(cls, parts: list[Component]) -> Figure:
        """Figure of at least one component."""
        return cls(
            left=min(item.left for item in parts),
            top=min(item.top for item in parts),
            right=max(item.right for item in parts),
            bottom=max(item.bottom for item in parts),
            parts=tuple(parts),
        )

    @property
    def area(self) -> int:
        """Number of pixels."""
        return sum(item.area for item in self.parts)

    def is_rival_of(self, other: Figure) -> bool:
        """Whether this figure is large enough, compared with the largest one, to be the digit instead."""
        return self.height >= 0.55 * other.height and self.area >= 0.3 * other.area

    def mask(self, labels: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Mask of the figure's pixels in a labelled mask or in a part of one."""
        mask: NDArray[np.bool_] = labels == self.parts[0].label
        for item in self.parts[1:]:
            mask |= labels == item.label
        return mask

    def box(self, scale: float) -> tuple[int, int, int, int]:
        """Left, top, width and height, times a scale and rounded."""
        left, top = round(self.left * scale), round(self.top * scale)
        return left, top, round(self.right * scale) - left, round(self.bottom * scale) - top


def ink_components(ink: Ink) -> tuple[NDArray[np.int32], list[Component]]:
    """Labelled mask of the ink, and its components without specks, the largest first.

    Raises:
        NoDigit: there is no ink, or only specks, or too many components.
    """
    # A lower threshold for a small picture, in which thin strokes are faint.
    labels, parts = components(ink.above(0.35 if max(ink.shape) <= FLAT else 0.5))
    if not parts:
        raise NoDigit("blank")
    large = [item for item in parts if item.area >= max(3, 0.02 * parts[0].area)]
    specks = sum(item.area for item in parts) - sum(item.area for item in large)
    if len(parts) > 40 and specks > 0.3 * sum(item.area for item in parts):
        raise NoDigit("noise")
    if not large:
        raise NoDigit("a speck")
    if len(large) > MAX_COMPONENTS:
        raise NoDigit("scattered marks")
    return labels, large


def group_into_figures(parts: list[Component], shape: tuple[int, ...]) -> list[Figure]:
    """Group near components into figures, the largest first.

    Components that touch the edge of the picture are left out if a component inside of the picture is large enough.
    """
    inner = [item for item in parts if not _touches_edge(item, shape)]
    if inner and inner[0].area >= 0.15 * parts[0].area and max(shape) > FLAT:
        parts = inner
    groups: list[list[Component]] = []
    for part in sorted(parts, key=lambda item: -item.height * item.width):
        near = [group for group in groups if _belongs(part, Figure.of(group))]
        if near:
            near[0].append(part)
        else:
            groups.append([part])
    return sorted((Figure.of(group) for group in groups), key=lambda item: -item.area)


def _belongs(part: Component, figure: Figure) -> bool:
    """Whether a component is near enough to be a stroke of a figure, such as the separate bar of a five."""
    across = max(part.left - figure.right, figure.left - part.right, 0)
    down = max(part.top - figure.bottom, figure.top - part.bottom, 0)
    size = max(figure.height, figure.width)
    if across == 0 and down == 0:
        return True
    # A component that is nearly as tall as the figure and to one side of it is more likely the next digit.
    may_be_next_digit = part.height >= 0.6 * figure.height and across > 0
    return max(across, down) <= (0.1 if may_be_next_digit else 0.25) * size


def _touches_edge(item: Component, shape: tuple[int, ...]) -> bool:
    return item.left == 0 or item.top == 0 or item.right == shape[1] or item.bottom == shape[0]


def reading_order(figures: list[Figure]) -> list[Figure]:
    """Figures line by line from the top, each line from the left.

    A line holds the figures that overlap vertically with its topmost figure by half of the smaller height.
    """
    remaining = sorted(figures, key=lambda item: item.top)
    ordered: list[Figure] = []
    while remaining:
        first = remaining[0]
        line = [
            item
            for item in remaining
            if min(item.bottom, first.bottom) - max(item.top, first.top) > 0.5 * min(item.height, first.height)
        ]
        ordered += sorted(line, key=lambda item: item.left)
        remaining = [item for item in remaining if item not in line]
    return ordered
