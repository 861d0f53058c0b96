"""The preprocessor ``digit``: finds the digit in a picture and normalizes it as the images of MNIST are.

MNIST's digits are light on dark, 20 pixels on their longest side, and centred by mass in 28 x 28 (Y. LeCun, C. Cortes,
C. Burges, "The MNIST database of handwritten digits"). The steps: subtract the background; decide whether the ink is
darker or lighter; group connected components into figures; correct the stroke width if it is far from MNIST's; scale
and centre. A picture that is already normalized is returned unchanged.

A *component* is a connected area of ink, a *figure* a group of components that may be one digit.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mnist_edge.vision.components import components, euler_number
from mnist_edge.vision.figures import Figure, group_into_figures, ink_components, reading_order
from mnist_edge.vision.ink import FLAT, TINY, Ink, NoDigit, find_ink
from mnist_edge.vision.placement import SheetFound, check_placement
from mnist_edge.vision.sheets import inside_of_sheet
from mnist_edge.vision.strokes import FULL, SHARE, centre, normalize, resize

__all__ = ["Found", "NoDigit", "find_digit", "find_digits", "is_normalized"]

# Factor on the width of a digit that was stretched to a square: the usual ratio of width to height of MNIST's digits.
NARROWER = 0.75
# Width by height above which a figure in a photograph may be a digit turned by 90 degrees; chosen on training images.
WIDE = 1.0
# The largest number of holes in a digit.
MAX_HOLES = 3


@dataclass(frozen=True)
class Found:
    """A digit as the network takes it, uint8 (h, w), and its box in the picture: left, top, width, height.

    ``as_is``: the picture was normalized already. ``may_be_turned``: the picture is a photograph of a wide figure,
    which may be a digit turned by 90 degrees.
    """

    pixels: NDArray[np.uint8]
    box: tuple[int, int, int, int]
    as_is: bool = False
    may_be_turned: bool = False


def is_normalized(pixels: NDArray[np.uint8], shape: tuple[int, ...]) -> bool:
    """Whether a picture is normalized as MNIST is: size, longest side of the ink, centre of mass, full contrast.

    Args:
        pixels: uint8 (h, w).
        shape: (h, w) of the model's input.
    """
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
    """Find the only digit of a picture.

    Args:
        grey: uint8 (h, w), of any size; dark on light or light on dark.
        shape: (h, w) of the model's input.

    Raises:
        NoDigit: the picture is blank or noise, or shows several figures, or one that cannot be a digit.
    """
    if is_normalized(grey, shape):
        return Found(grey, (0, 0, grey.shape[1], grey.shape[0]), as_is=True)
    return _find_digit(find_ink(grey), grey, shape)


def _find_digit(ink: Ink, grey: NDArray[np.uint8], shape: tuple[int, ...], on_sheet: bool = False) -> Found:
    labels, parts = ink_components(ink)
    figures = group_into_figures(parts, ink.shape)
    main, others = figures[0], figures[1:]
    if max(ink.shape) <= TINY:
        main, others = Figure.of(parts), []
    rivals = [item for item in others if item.is_rival_of(main)]
    if rivals:
        raise NoDigit(f"more than one figure ({1 + len(rivals)})")
    if main.area < 0.5 * sum(part.area for part in parts):
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
    """A sheet of paper in a photograph: its pixels, uint8 (h, w), the ink on it, and its position.

    ``corner`` is the left and top of the sheet in the reduced picture, ``scale`` the factor to the original's pixels.
    """

    pixels: NDArray[np.uint8]
    ink: Ink
    corner: tuple[int, int]
    scale: float

    @classmethod
    def of(cls, figure: Figure, labels: NDArray[np.int32], ink: Ink, grey: NDArray[np.uint8]) -> _Sheet:
        box = np.s_[figure.top : figure.bottom, figure.left : figure.right]
        inside, (top, left) = inside_of_sheet(resize(grey, ink.shape)[box], figure.mask(labels[box]))
        if max(inside.shape) <= FLAT:
            raise NoDigit("a filled area")
        # Treated as a photograph even without noise: a figure that touches the edge of the sheet is then refused.
        ink_on_sheet = replace(find_ink(inside), is_photograph=True)
        return cls(inside, ink_on_sheet, (figure.left + left, figure.top + top), ink.scale)

    def in_picture(self, found: Found) -> Found:
        """A digit found on the sheet, with its box relative to the whole picture."""
        left, top, width, height = found.box
        corner = round((self.corner[0] + left) * self.scale), round((self.corner[1] + top) * self.scale)
        return replace(found, box=(*corner, round(width * self.scale), round(height * self.scale)))


def find_digits(grey: NDArray[np.uint8], shape: tuple[int, ...]) -> list[Found]:
    """Find all digits of a picture, in reading order. Digits that touch are found as one figure.

    A picture that is normalized already, or too small for several digits, is left to `find_digit`.

    Args:
        grey: uint8 (h, w), of any size; dark on light or light on dark.
        shape: (h, w) of the model's input.

    Raises:
        NoDigit: the picture shows none.
    """
    if is_normalized(grey, shape) or max(grey.shape) <= TINY:
        return [find_digit(grey, shape)]
    return _find_digits(find_ink(grey), grey, shape)


def _find_digits(ink: Ink, grey: NDArray[np.uint8], shape: tuple[int, ...], on_sheet: bool = False) -> list[Found]:
    labels, parts = ink_components(ink)
    figures = group_into_figures(parts, ink.shape)
    tallest = max(item.height for item in figures)
    found = []
    for figure in reading_order([item for item in figures if item.height >= 0.35 * tallest]):
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


def _check_form(figure: Figure, labels: NDArray[np.int32], ink: Ink) -> None:
    """Refuse a figure whose form or place no digit has.

    Raises:
        SheetFound: the figure may be a sheet of paper.
        NoDigit: any other reason.
    """
    filled = figure.area / (figure.width * figure.height)
    if max(figure.width, figure.height) < 5:
        raise NoDigit("a speck")
    if figure.width > 2.2 * figure.height:
        raise NoDigit("wider than a digit")
    if len(figure.parts) > 6:
        raise NoDigit("scattered marks")
    if filled > 0.85 and figure.width > 0.4 * figure.height:
        raise SheetFound("a filled area")
    box = np.s_[figure.top : figure.bottom, figure.left : figure.right]
    height, width = ink.shape
    upright = figure.height == height and (figure.left == 0) != (figure.right == width) and figure.width < width / 2
    across = figure.width == width and (figure.top == 0) != (figure.bottom == height) and figure.height < height / 2
    # Small drawings may be cropped or stretched, so that the digit touches the edge or fills the picture.
    is_placement_checked = max(ink.shape) > FLAT or ink.is_photograph
    if is_placement_checked and (upright or across):
        raise NoDigit("a shade along the edge")
    amounts = ink.within(box)
    if is_placement_checked and np.count_nonzero((amounts > 0.15 * FULL) & (amounts < 0.5 * FULL)) > figure.area:
        raise NoDigit("no clear stroke")
    mine = np.zeros((figure.height + 2, figure.width + 2), np.bool_)
    mine[1:-1, 1:-1] = figure.mask(labels[box])
    if is_placement_checked:
        check_placement(figure, mine[1:-1, 1:-1], ink)
    # The Euler number counts the tiniest holes too, but is fast: holes are measured only if there may be too many.
    if len(figure.parts) - euler_number(mine) <= MAX_HOLES:
        return
    holes = [item for item in components(~mine)[1] if item.left > 0 and item.area >= max(2, 0.01 * mine.size)]
    if len(holes) > MAX_HOLES:
        raise NoDigit("more loops than a digit has")


def _found(figure: Figure, labels: NDArray[np.int32], ink: Ink, shape: tuple[int, ...]) -> Found:
    wide = ink.is_photograph and figure.width > WIDE * figure.height
    return Found(_normalize(ink, labels, figure, shape), figure.box(ink.scale), may_be_turned=wide)


def _normalize(ink: Ink, labels: NDArray[np.int32], figure: Figure, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The figure as the network takes it, uint8 of that shape.

    Raises:
        NoDigit: no ink is left after scaling.
    """
    # One pixel more on each side: the soft edge of a stroke counts in MNIST's 20 pixels.
    box = np.s_[max(figure.top - 1, 0) : figure.bottom + 1, max(figure.left - 1, 0) : figure.right + 1]
    near, alone = labels[box], ink.within(box)
    mine = figure.mask(near)
    if np.count_nonzero(near) > np.count_nonzero(mine):
        alone[(near != 0) & ~mine] = 0
    height, width = ink.shape
    if height == width <= TINY and (figure.height, figure.width) == (height, width):
        # The figure was stretched to a square, as the cells of a form are: restore the proportions of most digits.
        alone = resize(alone, (4 * height, round(4 * width * NARROWER)))
    pixels = normalize(alone, shape)
    if pixels is None:
        raise NoDigit("a speck")
    return pixels
