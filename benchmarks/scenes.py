"""Synthetic photographs with one digit or none: sheets on desks, strips, hard shadows, turned and cut digits.

A scene is made from a digit's ink (float64, 0 none to 1 full) and random numbers alone, so that a seed reproduces it.
Digits come from MNIST's validation split, from drawn strokes, and from Pillow's own font; never from the test images.
The preprocessor was developed on the scenes `DEVELOPMENT`; the committed table is made on `REPORTED`, which were not
used for development.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Values = NDArray[np.float64]
# Side of the square that a digit's ink is drawn in, and longer side of a sheet before it is placed, in pixels.
TILE, SHEET = 256, 800
BICUBIC = Image.Resampling.BICUBIC


@dataclass(frozen=True)
class Seeds:
    """A set of scenes: the first seed, and the range [start, stop) of the validation images for their digits."""

    first: int
    start: int
    stop: int


DEVELOPMENT = Seeds(0, 0, 2500)
REPORTED = Seeds(1_000_000, 2500, 5000)


@dataclass(frozen=True)
class Scene:
    """Content of a picture. Lengths are shares of the shorter side of the sheet or the picture, angles are degrees."""

    sheet: float = 0.9  # reflectance
    desk: float | None = None  # reflectance; None: the sheet fills the picture
    ink: float = 0.2
    ink_size: float = 0.45
    margin: float = 0.06  # from the digit to the edge of the sheet; negative: the edge cuts the digit
    edges: int = 4  # edges of the sheet that are in the picture
    tilt: float = 12.0  # largest angle of the sheet
    turn: int = 0  # quarter turns of the whole picture
    strip: float | None = None  # reflectance of a strip along an edge of the picture
    shadow: str = ""  # "through" the digit, "next" to it, or "anywhere"


@dataclass(frozen=True)
class Kind:
    """A kind of scene: ``draw`` makes a scene from random numbers. ``empty``: the scene has no digit."""

    draw: Callable[[np.random.Generator], Scene]
    empty: bool = False


def _on_desk(rng: np.random.Generator) -> Scene:
    return Scene(sheet=rng.uniform(0.75, 0.97), desk=rng.uniform(0.1, 0.5), edges=4)


def _partly(rng: np.random.Generator) -> Scene:
    desk = rng.uniform(0.1, 0.5) if rng.random() < 0.7 else rng.uniform(0.85, 0.97)
    sheet = rng.uniform(0.75, 0.97) if desk < 0.6 else rng.uniform(0.5, 0.65)
    return Scene(sheet=sheet, desk=desk, edges=int(rng.integers(1, 4)))


def _light_desk(rng: np.random.Generator) -> Scene:
    return Scene(sheet=rng.uniform(0.5, 0.68), desk=rng.uniform(0.85, 0.97), ink=rng.uniform(0.08, 0.2))


def _dark_sheet(rng: np.random.Generator) -> Scene:
    desk = rng.uniform(0.4, 0.95)
    return Scene(sheet=rng.uniform(0.08, 0.2), desk=desk, ink=rng.uniform(0.7, 0.95))


def _strip(reflectance: tuple[float, float]) -> Callable[[np.random.Generator], Scene]:
    def draw(rng: np.random.Generator) -> Scene:
        sheet = rng.uniform(0.75, 0.97) if reflectance[0] < 0.5 else rng.uniform(0.5, 0.68)
        return Scene(sheet=sheet, strip=rng.uniform(*reflectance))

    return draw


def _shadow(where: str, desk: bool = False) -> Callable[[np.random.Generator], Scene]:
    def draw(rng: np.random.Generator) -> Scene:
        return replace(_on_desk(rng) if desk else Scene(), shadow=where)

    return draw


def _turned(*turns: int, desk: bool = False) -> Callable[[np.random.Generator], Scene]:
    def draw(rng: np.random.Generator) -> Scene:
        return replace(_on_desk(rng) if desk else Scene(tilt=5), turn=int(rng.choice(turns)))

    return draw


def _cut(desk: bool) -> Callable[[np.random.Generator], Scene]:
    def draw(rng: np.random.Generator) -> Scene:
        return replace(_on_desk(rng) if desk else Scene(tilt=5), margin=-rng.uniform(0.1, 0.5))

    return draw


def _anything(rng: np.random.Generator) -> Scene:
    scene = (_on_desk, _partly, _light_desk, _strip((0.03, 0.3)), _shadow("anywhere"))[rng.integers(5)](rng)
    return replace(scene, shadow="anywhere" if rng.random() < 0.5 else "")


KINDS: dict[str, Kind] = {
    "plain paper": Kind(lambda rng: Scene(tilt=8)),
    "sheet on a darker desk": Kind(_on_desk),
    "sheet partly in view": Kind(_partly),
    "sheet on a lighter desk": Kind(_light_desk),
    "dark sheet, light ink": Kind(_dark_sheet),
    "dark strip along an edge": Kind(_strip((0.03, 0.3))),
    "light strip along an edge": Kind(_strip((0.85, 0.97))),
    "hard shadow through the digit": Kind(_shadow("through")),
    "hard shadow next to the digit": Kind(_shadow("next")),
    "sheet on a desk, shadow through the digit": Kind(_shadow("through", desk=True)),
    "plain paper, quarter turn": Kind(_turned(1, 3)),
    "sheet on a desk, quarter turn": Kind(_turned(1, 3, desk=True)),
    "plain paper, half turn": Kind(_turned(2)),
    "digit cut by the picture's edge": Kind(_cut(desk=False)),
    "digit cut by the sheet's edge": Kind(_cut(desk=True)),
    "empty sheet on a desk": Kind(_on_desk, empty=True),
    "empty sheet, strip or shadow": Kind(_anything, empty=True),
}


def scenes(
    kind: str, count: int, seeds: Seeds, images: NDArray[np.uint8], labels: NDArray[np.int64]
) -> Iterator[tuple[bytes, int | None]]:
    """Scenes as JPEG files, each with the digit that it shows, or None.

    Args:
        kind: a key of `KINDS`.
        count: number of scenes.
        seeds: `DEVELOPMENT` or `REPORTED`.
        images: uint8 (n, 28, 28), of the validation split.
        labels: int64 (n,).
    """
    for number in range(count):
        rng = np.random.default_rng([seeds.first + number, list(KINDS).index(kind)])
        at = int(rng.integers(seeds.start, seeds.stop))
        empty = KINDS[kind].empty
        tile = np.zeros((TILE, TILE)) if empty else ink_of(images[at], int(labels[at]), rng)
        yield photograph(tile, KINDS[kind].draw(rng), rng), None if empty else int(labels[at])


def ink_of(image: NDArray[np.uint8], label: int, rng: np.random.Generator) -> Values:
    """Ink of a digit that fills a square: from MNIST, drawn with a pen, or printed.

    A 1 is never printed, because the network reads the font's 1 as a 7 in any picture.
    """
    how = rng.random()
    if how < 0.45:
        grey = np.asarray(Image.fromarray(image).resize((TILE, TILE), BICUBIC), np.float64)
        return _boxed(np.clip((grey - 100) / 50, 0, 1))
    pen = Image.new("L", (2 * TILE, 2 * TILE), 0)
    if how < 0.8 or label == 1:
        _draw_strokes(pen, label, rng)
    else:
        font = ImageFont.load_default(1.4 * TILE)
        width = int(rng.integers(0, 12))
        ImageDraw.Draw(pen).text((TILE, TILE), str(label), 255, font, anchor="mm", stroke_width=width)
    slant = rng.uniform(-0.1, 0.2)
    pen = pen.transform(pen.size, Image.Transform.AFFINE, (1, slant, -slant * TILE, 0, 1, 0), BICUBIC)
    return _boxed(np.asarray(pen, np.float64) / 255)


# Strokes of each digit: points that a smooth line passes through, in a box of 1 x 1.
STROKES: dict[int, list[list[tuple[float, float]]]] = {
    0: [
        [(0.5, 0), (0.15, 0.2), (0.08, 0.55), (0.25, 0.92), (0.55, 1), (0.85, 0.8), (0.92, 0.4), (0.78, 0.08), (0.5, 0)]
    ],
    1: [[(0.55, 0), (0.5, 0.5), (0.45, 1)]],
    2: [
        [(0.12, 0.22), (0.35, 0.02), (0.7, 0.04), (0.85, 0.28), (0.6, 0.6), (0.1, 1)],
        [(0.1, 1), (0.5, 0.97), (0.9, 1)],
    ],
    3: [
        [(0.15, 0.1), (0.5, 0), (0.8, 0.15), (0.75, 0.36), (0.4, 0.48)],
        [(0.4, 0.48), (0.8, 0.56), (0.88, 0.8), (0.55, 1), (0.1, 0.9)],
    ],
    4: [
        [(0.3, 0), (0.18, 0.3), (0.1, 0.55)],
        [(0.1, 0.55), (0.5, 0.57), (0.95, 0.53)],
        [(0.75, 0.05), (0.7, 0.5), (0.68, 1)],
    ],
    5: [
        [(0.85, 0), (0.25, 0.02)],
        [(0.25, 0.02), (0.2, 0.42)],
        [(0.2, 0.42), (0.55, 0.36), (0.85, 0.6), (0.7, 0.92), (0.1, 0.97)],
    ],
    6: [[(0.75, 0), (0.35, 0.25), (0.15, 0.65), (0.35, 0.98), (0.75, 0.92), (0.82, 0.65), (0.55, 0.5), (0.2, 0.65)]],
    7: [[(0.08, 0.04), (0.5, 0.02), (0.92, 0.02)], [(0.92, 0.02), (0.6, 0.5), (0.38, 1)]],
    8: [
        [
            (0.8, 0.14),
            (0.5, 0),
            (0.22, 0.18),
            (0.45, 0.45),
            (0.8, 0.72),
            (0.55, 1),
            (0.18, 0.8),
            (0.5, 0.48),
            (0.78, 0.25),
            (0.8, 0.14),
        ]
    ],
    9: [
        [(0.8, 0.2), (0.5, 0), (0.18, 0.2), (0.3, 0.46), (0.65, 0.42), (0.82, 0.15)],
        [(0.82, 0.15), (0.78, 0.55), (0.7, 1)],
    ],
}


def _draw_strokes(pen: Image.Image, label: int, rng: np.random.Generator) -> None:
    """Draw a digit as by hand: with its points moved a little, and a round pen of one width."""
    draw, radius = ImageDraw.Draw(pen), rng.uniform(0.015, 0.055) * pen.width
    wide = rng.uniform(0.55, 0.8)
    moved: dict[tuple[float, float], NDArray[np.float64]] = {}
    for stroke in STROKES[label]:
        for point in stroke:
            if point not in moved:
                moved[point] = np.array(point) + rng.normal(0, 0.02, 2)
        points = np.array([moved[point] for point in stroke])
        line = _smooth(points) * [wide * 0.7 * pen.width, 0.7 * pen.width] + 0.15 * pen.width
        for x, y in line.tolist():
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)


def _smooth(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points on a Catmull-Rom spline through the given points (Catmull and Rom, 1974)."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, 60)[:, np.newaxis]
    parts = []
    for p0, p1, p2, p3 in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        parts.append(
            p1 + (p2 - p0) * t / 2 + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 / 2 + (3 * (p1 - p2) + p3 - p0) * t**3 / 2
        )
    return np.concatenate(parts)


def _boxed(ink: Values) -> Values:
    """Crop to the ink, and scale so that the longer side fills the square."""
    rows, columns = (np.flatnonzero((ink > 0.5).any(axis=axis)) for axis in (1, 0))
    crop = Image.fromarray(np.uint8(255 * ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]))
    factor = TILE / max(crop.size)
    crop = crop.resize((max(1, round(crop.width * factor)), max(1, round(crop.height * factor))), BICUBIC)
    square = Image.new("L", (TILE, TILE), 0)
    square.paste(crop, ((TILE - crop.width) // 2, (TILE - crop.height) // 2))
    return np.asarray(square, np.float64) / 255


def photograph(tile: Values, scene: Scene, rng: np.random.Generator) -> bytes:
    """The scene as a JPEG file."""
    width, height = ((480, 360), (640, 480), (800, 600), (360, 480), (600, 800))[rng.integers(5)]
    sheet, centre, size = _sheet(tile, scene, rng, width / height)
    inside = _corners(scene, width, height, sheet.size, rng)
    matrix = _homography(inside, [(0, 0), (sheet.width, 0), (sheet.width, sheet.height), (0, sheet.height)])
    ink = _placed(sheet, matrix, (width, height))
    of_sheet = _placed(Image.new("L", sheet.size, 255), matrix, (width, height))
    surface = scene.sheet + (scene.ink - scene.sheet) * ink
    if scene.desk is not None:
        desk = scene.desk * _texture(width, height, rng)
        surface = desk + (surface - desk) * of_sheet
    if scene.strip is not None:
        along = _strip_mask(width, height, ink, rng)
        surface = surface + (scene.strip - surface) * along
    # Where the digit is in the picture, for the shadow.
    where = _homography([(0, 0), (sheet.width, 0), (sheet.width, sheet.height), (0, sheet.height)], inside)
    light = _light(width, height, rng)
    if scene.shadow:
        light = light * _shadow_mask(scene.shadow, _mapped(where, centre), size * width / sheet.width, light.shape, rng)
    exposed = 250 * surface * light / max(light.max(), 1e-6)
    blurred = Image.fromarray(np.uint8(np.clip(exposed, 0, 255))).filter(
        ImageFilter.GaussianBlur(rng.uniform(0, 1.2) * width / 640)
    )
    noisy = np.asarray(blurred, np.float64) + rng.normal(0, rng.uniform(0, 7), (height, width))
    final = np.rot90(np.uint8(np.clip(noisy, 0, 255)), scene.turn)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(final)).save(stream, "JPEG", quality=int(rng.integers(45, 96)))
    return stream.getvalue()


def _sheet(
    tile: Values, scene: Scene, rng: np.random.Generator, aspect: float
) -> tuple[Image.Image, tuple[float, float], float]:
    """The sheet's ink, the centre of the digit on it, and the digit's size in pixels.

    ``aspect`` is width by height of the picture.
    """
    if scene.desk is not None and scene.edges == 4:
        aspect = rng.uniform(0.65, 1.5)
    width, height = (SHEET, round(SHEET / aspect)) if aspect > 1 else (round(SHEET * aspect), SHEET)
    size = round(min(width, height) * scene.ink_size * rng.uniform(0.65, 1.5))
    size = min(size, round(min(width, height) * (1 - 2 * max(scene.margin, 0)) - 2))
    digit = Image.fromarray(np.uint8(255 * tile)).resize((size, size), BICUBIC)
    gap = round(scene.margin * min(width, height)) if scene.margin >= 0 else 0
    left = int(rng.integers(gap, width - size - gap + 1))
    top = int(rng.integers(gap, height - size - gap + 1))
    if scene.margin < 0:  # a part of the digit is beyond one edge
        box = digit.getbbox() or (0, 0, size, size)
        edge, lost = int(rng.integers(4)), -scene.margin
        if edge < 2:
            across = box[2] - box[0]
            left = round(-box[0] - lost * across) if edge == 0 else round(width - box[2] + lost * across)
        else:
            down = box[3] - box[1]
            top = round(-box[1] - lost * down) if edge == 2 else round(height - box[3] + lost * down)
    sheet = Image.new("L", (width, height), 0)
    sheet.paste(digit, (left, top))
    return sheet, (left + size / 2, top + size / 2), size


def _corners(
    scene: Scene, width: int, height: int, sheet: tuple[int, int], rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Corners of the sheet in the picture: left top, right top, right bottom, left bottom."""
    angle = np.deg2rad(rng.uniform(-scene.tilt, scene.tilt))
    if scene.desk is None:
        # The sheet fills the picture: only the digit is tilted, about the centre.
        if scene.margin < 0:
            angle = 0.0
        fit, jitter, middle = 1.0, 0.0, (width / 2, height / 2)
        half = np.array([width / 2, height / 2])
    else:
        fit = min(width / sheet[0], height / sheet[1]) * rng.uniform(0.55, 0.88)
        jitter = 0.04
        half = np.array([sheet[0], sheet[1]]) * fit / 2
        slack = np.maximum(np.array([width, height]) / 2 - half * 1.15, 0)
        middle = tuple(np.array([width, height]) / 2 + rng.uniform(-1, 1, 2) * slack)
    corners = []
    for side in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        x, y = half * side * (1 + rng.uniform(-jitter, jitter, 2))
        corners.append((
            float(middle[0] + x * np.cos(angle) - y * np.sin(angle)),
            float(middle[1] + x * np.sin(angle) + y * np.cos(angle)),
        ))  # fmt: skip
    if scene.desk is not None and scene.edges < 4:
        corners = _beyond(corners, scene.edges, width, height, rng)
    return corners


def _beyond(
    corners: list[tuple[float, float]], edges: int, width: int, height: int, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Corners of the sheet, enlarged and moved so that about ``edges`` of its edges are in the picture."""
    points = np.array(corners)
    points = (points - points.mean(axis=0)) * rng.uniform(1.15, 1.35) + [width / 2, height / 2]
    sides = rng.permutation(4)[:edges]
    for side in sides:
        pair = [side, (side + 1) % 4]
        axis = 1 if side in (0, 2) else 0
        size = (width, height)[axis]
        depth = rng.uniform(0.04, 0.15) * size
        edge = points[pair, axis]
        points[pair, axis] += (depth - edge.mean()) if side in (0, 3) else (size - depth - edge.mean())
    return [(float(x), float(y)) for x, y in points]


def _homography(points: list[tuple[float, float]], onto: list[tuple[float, float]]) -> Values:
    """The eight coefficients of the perspective transformation that maps ``points`` to ``onto``."""
    rows, values = [], []
    for (x, y), (u, v) in zip(points, onto, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows, np.float64), np.array(values, np.float64))


def _mapped(matrix: Values, at: tuple[float, float]) -> tuple[float, float]:
    a, b, c, d, e, f, g, h = matrix.tolist()
    below = g * at[0] + h * at[1] + 1
    return (a * at[0] + b * at[1] + c) / below, (d * at[0] + e * at[1] + f) / below


def _placed(sheet: Image.Image, matrix: Values, size: tuple[int, int]) -> Values:
    placed = sheet.transform(size, Image.Transform.PERSPECTIVE, matrix.tolist(), Image.Resampling.BILINEAR)
    return np.asarray(placed, np.float64) / 255


def _texture(width: int, height: int, rng: np.random.Generator) -> Values:
    """Relative reflectance of a desk: uniform, or with grain along one direction."""
    if rng.random() < 0.4:
        return np.ones((height, width))
    length = int(rng.integers(20, 120))
    small = rng.normal(0, 1, (height // 2 + 1, max(2, width // length)))
    grain = np.asarray(Image.fromarray(small.astype(np.float32)).resize((width, height), BICUBIC), np.float64)
    return 1 + rng.uniform(0.02, 0.12) * np.clip(grain, -2, 2)


def _light(width: int, height: int, rng: np.random.Generator) -> Values:
    """Light with a gradient in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:height, 0:width]
    along = x / width * np.cos(angle) + y / height * np.sin(angle)
    return 1 - rng.uniform(0, 0.35) * (along - along.min()) / max(1e-9, along.max() - along.min())


def _strip_mask(width: int, height: int, ink: Values, rng: np.random.Generator) -> Values:
    """Mask that is 1 along one edge, up to a straight line that does not reach the ink."""
    edge = int(rng.integers(4))
    turned = np.rot90(ink, edge)
    rows = np.flatnonzero((turned > 0.1).any(axis=1))
    free = rows[0] if rows.size else turned.shape[0] // 3
    depth = min(rng.uniform(0.02, 0.25) * turned.shape[0], 0.85 * free)
    y, x = np.mgrid[0 : turned.shape[0], 0 : turned.shape[1]]
    slope = rng.uniform(-0.3, 0.3) * depth / turned.shape[1]
    return np.rot90(np.clip(depth + slope * (x - turned.shape[1] / 2) - y + 0.5, 0, 1), -edge)


def _shadow_mask(
    where: str, centre: tuple[float, float], size: float, shape: tuple[int, ...], rng: np.random.Generator
) -> Values:
    """Factor on the light at each pixel, for a shadow with a straight edge that covers a part of the picture."""
    angle = rng.uniform(0, 2 * np.pi)
    offset = {"through": rng.uniform(-0.3, 0.3), "next": rng.uniform(0.8, 1.1), "anywhere": rng.uniform(-1, 1)}[where]
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    distance = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle) - offset * size
    softness = rng.uniform(0.5, 5)
    return 1 - rng.uniform(0.3, 0.65) * np.clip(distance / softness + 0.5, 0, 1)
