"""The preprocessor ``digit``: from a picture of a digit to what MNIST's networks have seen.

MNIST's digits are light on dark, 20 pixels on their longest side, and centred by mass in 28 x 28 (LeCun, Cortes,
Burges). A picture is brought there: the background taken away, the ink found on whichever side of it it is, the pieces
that make one figure collected, the stroke made as thick as MNIST's where it is far off, and all of it scaled by area.
What is there already passes bit for bit.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mnist_edge.vision.components import Box, Component, components, euler_number
from mnist_edge.vision.ink import FLAT, Ink, NoDigit, find_ink
from mnist_edge.vision.placement import SheetFound, check_placement
from mnist_edge.vision.sheets import inside_of_sheet
from mnist_edge.vision.strokes import FULL, SHARE, centre, normalize, resize

__all__ = ["Found", "NoDigit", "find_digit", "find_digits", "is_normalized"]

# In a picture of so few pixels there is one digit, if any, and gaps are lines that were too thin.
TINY = 32
# What becomes of the width of one that fills a square: MNIST's usual proportion.
NARROWER = 0.75
# More pieces than this are no digits, nor a line of them.
MOST = 200
# Width by height from which on a figure in a photograph may be a digit turned by a quarter: chosen on training images.
WIDE = 1.0
# More holes than this has no digit.
MOST_LOOPS = 3


@dataclass(frozen=True)
class Found:
    """A digit as the network takes it, uint8 (h, w), and its box in the picture: left, top, width, height.

    ``as_is`` says that the picture was that already; ``may_be_turned`` that it is a photograph of a wide figure, which
    may be a digit turned by a quarter.
    """

    pixels: NDArray[np.uint8]
    box: tuple[int, int, int, int]
    as_is: bool = False
    may_be_turned: bool = False


def is_normalized(pixels: NDArray[np.uint8], shape: tuple[int, ...]) -> bool:
    """Whether a picture is as MNIST's own: size, longest side of the ink, centre of mass, full contrast."""
    if pixels.shape != tuple(shape) or pixels.max() < 250:
        return False
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    longest = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    side = round(SHARE * min(shape))
    mass = centre(pixels)
    return bool(
        side - 1 <= longest <= side and all(abs(at - size / 2) <= 0.53 for at, size in zip(mass, shape, strict=True))
    )


def find_digit(grey: NDArray[np.uint8], shape: tuple[int, ...]) -> Found:
    """The one digit of a picture.

    Args:
        grey: uint8 (h, w), of any size and polarity.
        shape: (h, w) of what the network takes.

    Raises:
        NoDigit: blank, noise, more than one figure, or something of another form.
    """
    if is_normalized(grey, shape):
        return Found(grey, (0, 0, grey.shape[1], grey.shape[0]), as_is=True)
    return _find_digit(find_ink(grey), grey, shape)


def _find_digit(ink: Ink, grey: NDArray[np.uint8], shape: tuple[int, ...], on_sheet: bool = False) -> Found:
    labels, pieces = _pieces(ink)
    figures = _figures(pieces, ink.shape)
    main, others = figures[0], figures[1:]
    if max(ink.shape) <= TINY:
        main, others = _Figure.of(pieces), []
    rivals = [item for item in others if item.is_rival_of(main)]
    if rivals:
        raise NoDigit(f"more than one figure ({1 + len(rivals)})")
    whole = sum(piece.area for piece in pieces)
    if main.area < 0.5 * whole:
        raise NoDigit("scattered marks")
    try:
        _check_form(main, labels, ink)
    except SheetFound:
        if on_sheet or not ink.is_photograph:
            raise
        sheet = _Sheet.of(main, labels, ink, grey)
        return sheet.in_picture(_find_digit(sheet.ink, sheet.pixels, shape, on_sheet=True))
    return _found(main, labels, ink, shape)


@dataclass(frozen=True)
class _Sheet:
    """A sheet of paper in a photograph, uint8 (h, w), and its corner in the picture as that is analysed."""

    pixels: NDArray[np.uint8]
    ink: Ink
    corner: tuple[int, int]
    scale: float

    @classmethod
    def of(cls, figure: _Figure, labels: NDArray[np.int32], ink: Ink, grey: NDArray[np.uint8]) -> _Sheet:
        box = np.s_[figure.top : figure.bottom, figure.left : figure.right]
        inside, (top, left) = inside_of_sheet(resize(grey, ink.shape)[box], _has_label(labels[box], figure))
        if max(inside.shape) <= FLAT:
            raise NoDigit("a filled area")
        # A figure is cut by the edge of the sheet as it is by the edge of a photograph, whatever the noise.
        on_it = replace(find_ink(inside), is_photograph=True)
        return cls(inside, on_it, (figure.left + left, figure.top + top), ink.scale)

    def in_picture(self, found: Found) -> Found:
        """What was found on the sheet, with its box in the picture."""
        left, top, width, height = found.box
        corner = round((self.corner[0] + left) * self.scale), round((self.corner[1] + top) * self.scale)
        return replace(found, box=(*corner, round(width * self.scale), round(height * self.scale)))


def find_digits(grey: NDArray[np.uint8], shape: tuple[int, ...]) -> list[Found]:
    """All digits of a picture, line by line from the left; touching ones are taken for one.

    A picture that is as MNIST's, or too small for several digits, is read by `find_digit`.

    Raises:
        NoDigit: there is none.
    """
    if is_normalized(grey, shape) or max(grey.shape) <= TINY:
        return [find_digit(grey, shape)]
    return _find_digits(find_ink(grey), grey, shape)


def _find_digits(ink: Ink, grey: NDArray[np.uint8], shape: tuple[int, ...], on_sheet: bool = False) -> list[Found]:
    labels, pieces = _pieces(ink)
    figures = _figures(pieces, ink.shape)
    tallest = max(item.height for item in figures)
    found = []
    for figure in _reading_order([item for item in figures if item.height >= 0.35 * tallest]):
        try:
            _check_form(figure, labels, ink)
        except SheetFound:
            if not on_sheet and ink.is_photograph:
                with contextlib.suppress(NoDigit):
                    sheet = _Sheet.of(figure, labels, ink, grey)
                    inside = _find_digits(sheet.ink, sheet.pixels, shape, on_sheet=True)
                    found += [sheet.in_picture(item) for item in inside]
            continue
        except NoDigit:
            continue
        found.append(_found(figure, labels, ink, shape))
    if not found:
        raise NoDigit("nothing of a digit's form")
    return found


@dataclass(frozen=True)
class _Figure(Box):
    """Pieces that belong together."""

    pieces: tuple[Component, ...]

    @classmethod
    def of(cls, pieces: list[Component]) -> _Figure:
        return cls(
            min(item.left for item in pieces), min(item.top for item in pieces),
            max(item.right for item in pieces), max(item.bottom for item in pieces), tuple(pieces),
        )  # fmt: skip

    @property
    def area(self) -> int:
        return sum(item.area for item in self.pieces)

    def is_rival_of(self, other: _Figure) -> bool:
        return self.height >= 0.55 * other.height and self.area >= 0.3 * other.area

    def box(self, scale: float) -> tuple[int, int, int, int]:
        left, top = round(self.left * scale), round(self.top * scale)
        return left, top, round(self.right * scale) - left, round(self.bottom * scale) - top


def _pieces(ink: Ink) -> tuple[NDArray[np.int32], list[Component]]:
    """The pieces of ink that are more than specks, the largest first."""
    # In few pixels a line's thinnest places are faint.
    labels, pieces = components(ink.above(0.35 if max(ink.shape) <= FLAT else 0.5))
    if not pieces:
        raise NoDigit("blank")
    large = [item for item in pieces if item.area >= max(3, 0.02 * pieces[0].area)]
    specks = sum(item.area for item in pieces) - sum(item.area for item in large)
    if len(pieces) > 40 and specks > 0.3 * sum(item.area for item in pieces):
        raise NoDigit("noise")
    if not large:
        raise NoDigit("a speck")
    if len(large) > MOST:
        raise NoDigit("scattered marks")
    return labels, large


def _figures(pieces: list[Component], shape: tuple[int, ...]) -> list[_Figure]:
    """Pieces gathered by nearness into figures, the largest first; what hangs in from the edge comes last."""
    inner = [item for item in pieces if not _touches(item, shape)]
    if inner and inner[0].area >= 0.15 * pieces[0].area and max(shape) > FLAT:
        pieces = inner
    groups: list[list[Component]] = []
    for piece in sorted(pieces, key=lambda item: -item.height * item.width):
        near = [group for group in groups if _belongs(piece, _Figure.of(group))]
        if near:
            near[0].append(piece)
        else:
            groups.append([piece])
    return sorted((_Figure.of(group) for group in groups), key=lambda item: -item.area)


def _belongs(piece: Component, figure: _Figure) -> bool:
    """Whether a piece is a stroke of a figure: a gap in the pen's line, the bar of a five."""
    across = max(piece.left - figure.right, figure.left - piece.right, 0)
    down = max(piece.top - figure.bottom, figure.top - piece.bottom, 0)
    size = max(figure.height, figure.width)
    if across == 0 and down == 0:
        return True
    beside = piece.height >= 0.6 * figure.height and across > 0  # a neighbour of its own
    return max(across, down) <= (0.1 if beside else 0.25) * size


def _touches(item: Component, shape: tuple[int, ...]) -> bool:
    return item.left == 0 or item.top == 0 or item.right == shape[1] or item.bottom == shape[0]


def _check_form(figure: _Figure, labels: NDArray[np.int32], ink: Ink) -> None:
    filled = figure.area / (figure.width * figure.height)
    if max(figure.width, figure.height) < 5:
        raise NoDigit("a speck")
    if figure.width > 2.2 * figure.height:
        raise NoDigit("wider than a digit")
    if len(figure.pieces) > 6:
        raise NoDigit("scattered marks")
    if filled > 0.85 and figure.width > 0.4 * figure.height:
        raise SheetFound("a filled area")
    box = np.s_[figure.top : figure.bottom, figure.left : figure.right]
    height, width = ink.shape
    upright = figure.height == height and (figure.left == 0) != (figure.right == width) and figure.width < width / 2
    across = figure.width == width and (figure.top == 0) != (figure.bottom == height) and figure.height < height / 2
    if max(ink.shape) > FLAT and (upright or across):
        raise NoDigit("a shade along the edge")
    amounts = ink.within(box)
    if max(ink.shape) > FLAT and np.count_nonzero((amounts > 0.15 * FULL) & (amounts < 0.5 * FULL)) > figure.area:
        raise NoDigit("no clear stroke")
    mine = np.zeros((figure.height + 2, figure.width + 2), np.bool_)
    mine[1:-1, 1:-1] = _has_label(labels[box], figure)
    if max(ink.shape) > FLAT:
        check_placement(figure, mine[1:-1, 1:-1], ink)
    if len(figure.pieces) - euler_number(mine) <= MOST_LOOPS:
        return
    holes = [item for item in components(~mine)[1] if item.left > 0 and item.area >= max(2, 0.01 * mine.size)]
    if len(holes) > MOST_LOOPS:
        raise NoDigit("more loops than a digit has")


def _reading_order(figures: list[_Figure]) -> list[_Figure]:
    """Lines from the top, each from the left: a line is what overlaps with its first figure by half of its height."""
    left = sorted(figures, key=lambda item: item.top)
    ordered: list[_Figure] = []
    while left:
        first = left[0]
        line = [
            item
            for item in left
            if min(item.bottom, first.bottom) - max(item.top, first.top) > 0.5 * min(item.height, first.height)
        ]
        ordered += sorted(line, key=lambda item: item.left)
        left = [item for item in left if item not in line]
    return ordered


def _has_label(labels: NDArray[np.int32], figure: _Figure) -> NDArray[np.bool_]:
    """Where a labelled mask has a piece of a figure."""
    mine: NDArray[np.bool_] = labels == figure.pieces[0].label
    for item in figure.pieces[1:]:
        mine |= labels == item.label
    return mine


def _found(figure: _Figure, labels: NDArray[np.int32], ink: Ink, shape: tuple[int, ...]) -> Found:
    wide = ink.is_photograph and figure.width > WIDE * figure.height
    return Found(_normalize(ink, labels, figure, shape), figure.box(ink.scale), may_be_turned=wide)


def _normalize(ink: Ink, labels: NDArray[np.int32], figure: _Figure, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    # With the soft edge, a pixel at most, which MNIST's 20 pixels count.
    box = np.s_[max(figure.top - 1, 0) : figure.bottom + 1, max(figure.left - 1, 0) : figure.right + 1]
    near, alone = labels[box], ink.within(box)
    mine = _has_label(near, figure)
    if np.count_nonzero(near) > np.count_nonzero(mine):
        alone[(near != 0) & ~mine] = 0
    height, width = ink.shape
    if height == width <= TINY and (figure.height, figure.width) == (height, width):
        # Stretched to a square, as forms are read: its own proportions are lost, and most digits are narrower.
        alone = resize(alone, (4 * height, round(4 * width * NARROWER)))
    pixels = normalize(alone, shape)
    if pixels is None:
        raise NoDigit("a speck")
    return pixels
