"""Accuracy on corrupted test images: a reimplementation of the fifteen corruptions of MNIST-C (Mu and Gilmer, 2019).

The images are not the published files; they are made from the published description and severities with NumPy, SciPy
and scikit-image. Motion blur, for which the original uses ImageMagick, and the fractal of the fog follow their
definitions. Nothing is trained on these images.

    python benchmarks/corruptions.py artifacts/cnn/cnn-int8.tflite [--images 10000] [--picture corruptions.png]

With ``--front-end`` each image is read as `mnist-edge predict` reads a PNG of it: found, scaled and centred first. A
picture that gets no label (``null``) counts as wrong, even if the network alone is right.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from scipy import ndimage
from skimage import feature, transform, util

sys.path.insert(0, str(Path(__file__).resolve().parent))  # tests import this file as a module of a package

from pictures import png

from mnist_edge import data
from mnist_edge.runtime import Session, open_session
from mnist_edge.runtime.predict import predict_picture

Image = NDArray[np.float64]
Corruption = Callable[[Image, np.random.Generator], Image]
SIDE, MIDDLE = 28, 13.5


def shot_noise(image: Image, draw: np.random.Generator) -> Image:
    return draw.poisson(image * 3) / 3


def impulse_noise(image: Image, draw: np.random.Generator) -> Image:
    return np.asarray(util.random_noise(image, mode="s&p", amount=0.17, rng=draw))


def glass_blur(image: Image, draw: np.random.Generator) -> Image:
    """Blur, swap neighbouring pixels in two passes, blur."""
    image = np.floor(ndimage.gaussian_filter(image, 0.7, mode="nearest") * 255) / 255
    for _ in range(2):
        for row in range(SIDE - 1, 1, -1):
            for column in range(SIDE - 1, 1, -1):
                if draw.random() < 0.5:
                    other = row + draw.integers(-1, 1), column + draw.integers(-1, 1)
                    image[row, column], image[other] = image[other], image[row, column]
    return ndimage.gaussian_filter(image, 0.7, mode="nearest")


def motion_blur(image: Image, draw: np.random.Generator) -> Image:
    """A one-sided Gaussian of 21 pixels and standard deviation 3, at most 45 degrees from the horizontal."""
    angle = np.deg2rad(draw.uniform(-45, 45))
    weights = np.exp(-(np.arange(21) ** 2) / (2 * 3**2))
    padded = np.pad(image, 21, mode="edge")
    result = np.zeros_like(image)
    for distance, weight in enumerate(weights / weights.sum()):
        down, right = 21 + round(distance * np.sin(angle)), 21 + round(distance * np.cos(angle))
        result += weight * padded[down : down + SIDE, right : right + SIDE]
    return result


def _about_the_middle(image: Image, matrix: Image) -> Image:
    """Linear transformation about the centre; ``matrix`` maps (x, y) of the output to the input."""
    move = np.array([MIDDLE, MIDDLE])
    full = np.eye(3)
    full[:2, :2], full[:2, 2] = matrix, move - matrix @ move
    return np.asarray(transform.warp(image, transform.AffineTransform(matrix=full)))


def shear(image: Image, draw: np.random.Generator) -> Image:
    return _about_the_middle(image, np.array([[1, np.tan(draw.choice([-0.4, 0.4]))], [0, 1]]))


def scale(image: Image, draw: np.random.Generator) -> Image:
    return _about_the_middle(image, np.eye(2) / 0.7)


def rotate(image: Image, draw: np.random.Generator) -> Image:
    angle = draw.choice([-0.4, 0.4])
    return _about_the_middle(image, np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]))


def brightness(image: Image, draw: np.random.Generator) -> Image:
    return image + 0.5


def translate(image: Image, draw: np.random.Generator) -> Image:
    return np.asarray(ndimage.shift(image, draw.choice([-3, 3], 2), order=0))


def stripe(image: Image, draw: np.random.Generator) -> Image:
    result = image.copy()
    result[:, :7], result[:, 21:] = 1 - image[:, :7], 1 - image[:, 21:]
    return result


def fog(image: Image, draw: np.random.Generator) -> Image:
    top = image.max()
    return (image + 3 * _plasma(draw)[:SIDE, :SIDE]) * top / (top + 3)


def _plasma(draw: np.random.Generator, size: int = 256, decay: float = 1.4) -> Image:
    """A height map on a torus by the diamond-square algorithm, from 0 to 1."""
    heights = np.zeros((size, size))
    step, roughness = size, 100.0
    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        right = corners + np.roll(corners, -1, 1)
        squares = (right + np.roll(right, -1, 0)) / 4
        heights[half::step, half::step] = squares + roughness * draw.uniform(-roughness, roughness, squares.shape)
        middles = heights[half::step, half::step]
        for rows, columns, pair, axis in ((0, half, corners, 1), (half, 0, corners, 0)):
            ends = pair + np.roll(pair, -1, axis) + middles + np.roll(middles, 1, 1 - axis)
            heights[rows::step, columns::step] = ends / 4 + roughness * draw.uniform(-roughness, roughness, ends.shape)
        step, roughness = half, roughness / decay
    heights -= heights.min()
    return np.asarray(heights / heights.max())


def spatter(image: Image, draw: np.random.Generator) -> Image:
    """Opaque grey drops."""
    liquid = ndimage.gaussian_filter(draw.normal(0.65, 0.3, image.shape), 1, mode="nearest")
    drops = ndimage.gaussian_filter((liquid > 0.65).astype(float), 1.5, mode="nearest")
    drops[drops < 0.8] = 0
    return image * (1 - drops) + drops * 63 / 255


def _line(x0: float, y0: float, x1: float, y1: float) -> Image:
    """A soft line about two pixels wide, between two columns."""
    if x0 == x1:
        return np.zeros((SIDE, SIDE))
    columns, rows = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    distance = np.abs(rows - (y0 + (columns - x0) * (y1 - y0) / (x1 - x0)))
    strength = np.clip(1 + np.log1p(-np.minimum(distance, 2.3 - 1e-10) / 2.3), 0, 1)
    return np.where((columns >= np.floor(x0)) & (columns < np.ceil(x1)), strength, 0)


def dotted_line(image: Image, draw: np.random.Generator) -> Image:
    start, end = draw.integers(0, 27, 2)
    line = _line(0, start, 27, end)
    line[:, (np.arange(SIDE) // 2) % 2 == 0] = 0
    return image + line


def zigzag(image: Image, draw: np.random.Generator) -> Image:
    start = draw.integers(0, 27)
    end = start + draw.integers(-5, 5)
    angle = np.arctan2(end - start, 23)
    length = 23 / np.cos(angle)
    along = np.concatenate([[0], np.arange(2, length, 4), [length]])
    across = np.concatenate([[0], 2.0 * (-1) ** np.arange(len(along) - 2), [0]])
    x = 2 + along * np.cos(angle) - across * np.sin(angle)
    y = start + along * np.sin(angle) + across * np.cos(angle)
    for at in range(len(x) - 1):
        image = np.clip(image + _line(x[at], y[at], x[at + 1], y[at + 1]), 0, 1)
    return image


def canny_edges(image: Image, draw: np.random.Generator) -> Image:
    return np.asarray(feature.canny(image), float)


CORRUPTIONS: dict[str, Corruption] = {
    function.__name__: function
    for function in (
        shot_noise, impulse_noise, glass_blur, motion_blur, shear, scale, rotate, brightness, translate, stripe, fog,
        spatter, dotted_line, zigzag, canny_edges,
    )
}  # fmt: skip


def corrupted(images: NDArray[np.uint8], name: str, seed: int = 0) -> NDArray[np.uint8]:
    """Corrupt images uint8 (n, 28, 28, 1), each with random numbers of its own."""
    draw = np.random.default_rng([seed, *map(ord, name)])
    made = (CORRUPTIONS[name](image[..., 0] / 255, draw) for image in images)
    return np.stack([np.uint8(np.clip(image, 0, 1) * 255) for image in made])[..., np.newaxis]


def read_directly(session: Session, pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Classes that the network gives images, uint8 (n, 28, 28, 1), without the preprocessor: int64 (n,)."""
    return session.predict(pictures).argmax(axis=1)


def read_as_files(session: Session, pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Classes of images uint8 (n, 28, 28, 1), read from PNG files; -1 for those without a label."""
    found = []
    for pixels in pictures[..., 0]:
        label = predict_picture(session, "x", png(pixels))[0].prediction.label
        found.append(-1 if label is None else int(label))
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--front-end", action="store_true", help="read PNG files, as `mnist-edge predict` does")
    parser.add_argument("--picture", type=Path, help="write a picture with a row of examples for each corruption")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    test = data.load().test
    images, labels = test.images[: arguments.images], test.labels[: arguments.images]
    sessions = {str(path): open_session(path) for path in arguments.files}
    table: dict[str, list[float]] = {}
    rows = []
    read = read_as_files if arguments.front_end else read_directly
    for name in CORRUPTIONS:
        pictures = corrupted(images, name)
        rows.append(np.concatenate(list(pictures[:20, ..., 0]), axis=1))
        table[name] = [float((read(session, pictures) == labels).mean()) for session in sessions.values()]
        print(f"{name:14}", *(f"{value:8.2%}" for value in table[name]), flush=True)
    table["mean"] = np.mean(list(table.values()), axis=0).tolist()
    print(f"{'mean':14}", *(f"{value:8.2%}" for value in table["mean"]))
    if arguments.json:
        arguments.json.write_text(
            json.dumps(
                {"files": list(sessions), "n": len(labels), "front_end": arguments.front_end, "accuracy": table},
                indent=1,
            )
        )
    if arguments.picture:
        Pictures.fromarray(np.concatenate(rows)).resize((20 * 56, len(rows) * 56)).save(arguments.picture)


if __name__ == "__main__":
    main()
