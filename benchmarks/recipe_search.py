"""Search for better recipes of the two nets on one GPU: many variants of ``best``, each with several nets.

    python benchmarks/recipe_search.py prepare --mnist FOLDER --pendigits FOLDER -o inputs.npz
    python benchmarks/recipe_search.py search inputs.npz --stage first --seconds 330 -o results [--teachers FOLDER]
    python benchmarks/recipe_search.py report results/first.jsonl results/second.jsonl

``prepare`` needs this project and writes one file: the 60,000 training images and pen trajectories rendered as images.
The 10,000 test images are never read. ``search`` needs PyTorch and NumPy only (PyTorch is not a dependency of the
project); it trains the variants of a table and appends a line for each to a file. ``report`` prints a table.

Held-out images: the training images are permuted as the project's split does with seed 0. Fold 0, the first 5,000, is
the project's validation split; folds 1 to 3 are the next three times 5,000. A net is trained without the images of its
fold and judged on them alone, and its teachers were trained without them too. So each variant is judged on 20,000
images, and two variants are compared image by image.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import hashlib
import itertools
import json
import math
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

FOLDS, HELD_OUT = 4, 5_000
SIDE, PIXELS, CLASSES = 28, 784, 10
TRAIN_IMAGES_SHA256 = "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
# As Keras: Adam's epsilon and the epsilon of batch norm.
ADAM_EPSILON, NORM_EPSILON = 1e-7, 1e-3
ELASTIC_GRID = 5
# Side lengths to which images are reduced, and enlarged again, by the change ``resample``.
SIDES = (8, 10, 12, 14, 16, 20)
# Distances of the two lines of the change ``doubled``: pixels down and across.
GAPS = ((0, 2), (0, 3), (0, 4), (2, 0), (3, 0), (4, 0), (2, 2), (2, -2), (3, 2), (3, -2), (2, 3), (2, -3))


@dataclass(frozen=True)
class Changes:
    """Ranges of the random changes: attributes as in ``mnist_edge.training.augment.Augmentation``, and ``doubled``.

    Attributes:
        doubled: share of the images that are drawn twice with thin strokes, two to four pixels apart.
        resample: share of the images that are reduced to 8 to 20 pixels and enlarged again.
        binarize: share of the images that become black and white.
        pens: share of the images whose strokes become up to two pixels thicker, or one thinner, on each side.
    """

    rotation: float = 0.0
    scale: float = 0.0
    stretch: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    perspective: float = 0.0
    elastic: float = 0.0
    photometric: float = 0.0
    pen: float = 0.0
    contrast: float = 0.0
    blur: float = 0.0
    background: float = 0.0
    noise: float = 0.0
    invert: float = 0.0
    resample: float = 0.0
    binarize: float = 0.0
    pens: float = 0.0
    doubled: float = 0.0

    def scaled(self, strength: float) -> Changes:
        """Ranges times a strength; shares of images do not change."""
        shares = ("photometric", "invert", "resample", "binarize", "pens", "doubled")
        return replace(self, **{name: value * strength for name, value in asdict(self).items() if name not in shares})


MILD = Changes(rotation=8, scale=0.08, stretch=0.08, shear=0.15, shift=1, elastic=0.7)
WIDE = Changes(
    rotation=12, scale=0.12, stretch=0.1, shear=0.2, shift=1.5, perspective=0.15, elastic=0.7,
    photometric=0.5, pen=0.8, contrast=3, blur=1, background=0.5, noise=0.4, invert=0.1,
)  # fmt: skip


@dataclass(frozen=True)
class Architecture:
    """A net: its 3 x 3 convolutions as (channels, whether 2 x 2 pooling follows), and its hidden units.

    Nets with convolutions have batch norm after each layer but the last, and before ReLU, as the project's trainable
    model has.
    """

    convolutions: tuple[tuple[int, bool], ...]
    hidden: int


ARCHITECTURES = {
    "dense": Architecture((), 128),
    "cnn": Architecture(((32, True), (64, True)), 128),
    "large": Architecture(((48, False), (48, True), (96, False), (96, True)), 256),
}


@dataclass(frozen=True)
class Variant:
    """One recipe.

    Attributes:
        name: of the table's row.
        model: a key of `ARCHITECTURES`.
        changes: ranges of augmentation.
        forms: images of added forms (``mnist_edge.training.forms``), as a fraction of their digits.
        ones: factor on the share of added ones.
        sam: radius of sharpness-aware minimization (SAM; Foret et al., 2021); 0 for ordinary gradients.
        epochs, batch, rate, warmup: of training; the warm-up in epochs.
        dropout: share of the hidden units that are dropped, in nets with convolutions.
        schedule: ``cosine``, ``constant``, or ``late``: constant, then linear to 0 in the last quarter.
        optimizer: ``adam`` or ``muon`` (for the matrices of hidden layers; Adam for the rest).
        decay: decoupled weight decay per step, as a fraction of the rate.
        ema: share of the old value in the moving average of the weights.
        clean_epochs: epochs without augmentation, at the end.
        final_strength: augmentation's strength at the end, to which it falls linearly from 1.
        plain: share of the images that are not augmented.
        smoothing: label smoothing.
        mixup: parameter of the beta distribution of weights by which two images are mixed; 0 for none.
        teacher: ``none``, or the architecture whose answers replace the labels.
        teachers: number of teachers, whose probabilities are averaged.
        temperature: of the teachers' and the student's answers in the loss.
        labels: share of the true labels in the targets; the rest is the teachers'.
        seeds: number of nets for each fold.
    """

    name: str
    model: str
    changes: Changes
    epochs: int
    batch: int
    rate: float
    warmup: float = 0.5
    schedule: str = "cosine"
    optimizer: str = "adam"
    decay: float = 0.0
    ema: float = 0.999
    clean_epochs: int = 0
    final_strength: float = 1.0
    plain: float = 0.0
    smoothing: float = 0.0
    mixup: float = 0.0
    teacher: str = "none"
    teachers: int = 3
    temperature: float = 1.0
    labels: float = 0.0
    dropout: float = 0.0
    seeds: int = 1
    forms: float = 0.0
    ones: float = 1.0
    sam: float = 0.0


# --- preparation -----------------------------------------------------------------------------------------------------


def prepare(mnist: Path, pendigits: Path, output: Path, limit: int) -> None:
    """Write the training images, and pen trajectories, evenly chosen, in four renderings."""
    content = read(mnist / "train-images-idx3-ubyte")
    if hashlib.sha256(content).hexdigest() != TRAIN_IMAGES_SHA256:
        raise SystemExit("recipe_search: these are not MNIST's training images.")
    images = np.frombuffer(content, np.uint8, offset=16).reshape(-1, SIDE, SIDE)
    labels = np.frombuffer(read(mnist / "train-labels-idx1-ubyte"), np.uint8, offset=8)
    digits = [digit for name in ("train", "test") for digit in trajectories(pendigits / f"pendigits-{name}.unipen.gz")]
    digits = digits[:: max(1, len(digits) // limit)]
    pens = np.stack([[rendered(strokes, *pen) for _, strokes in digits] for pen in PENS])
    added, added_labels, added_rows, added_shares = forms_of(images, labels)
    np.savez_compressed(
        output, images=images, labels=labels, pens=pens, pen_labels=np.array([label for label, _ in digits], np.uint8),
        added=added, added_labels=added_labels, added_rows=added_rows, added_shares=added_shares,
    )  # fmt: skip
    print(f"{output}: {len(images)} images, {len(digits)} trajectories in {len(pens)} renderings")


def forms_of(images: Any, labels: Any) -> tuple[Any, Any, Any, Any]:
    """Images of added forms, their labels, the images that they were made of, and the smallest share with each."""
    from mnist_edge.data import Split, Splits
    from mnist_edge.data.catalog import MNIST_SHA256
    from mnist_edge.training.forms import with_forms

    split = Split(images[..., np.newaxis], labels.astype(np.int64), np.arange(len(labels)))
    splits = Splits("mnist", split, split, split, split, (), "digit", dict(MNIST_SHA256), 0, 0)
    made = with_forms(split, splits, MOST_FORMS)
    new, shares = slice(len(labels), None), np.zeros(len(made) - len(labels))
    for digit in np.unique(made.labels[new]):
        rows = np.flatnonzero(made.labels[new] == digit)
        shares[rows] = MOST_FORMS * (np.arange(len(rows)) + 1) / len(rows)
    return made.images[new, ..., 0], made.labels[new].astype(np.uint8), made.indices[new], shares


def read(path: Path) -> bytes:
    """Content of a file, or of the file with ``.gz`` after its name, decompressed."""
    return path.read_bytes() if path.exists() else gzip.decompress(path.with_name(path.name + ".gz").read_bytes())


MOST_FORMS = 0.3  # largest share of added forms
Strokes = list[list[tuple[int, int]]]
# Renderings of trajectories: the side of the picture in pixels and the pen's width in thousandths of it.
PENS = ((160, 15), (160, 60), (160, 120), (20, 50))


def trajectories(path: Path) -> Iterator[tuple[int, Strokes]]:
    """Digits of a UNIPEN file: label and strokes."""
    label, down = -1, False
    strokes: Strokes = []
    for line in gzip.decompress(path.read_bytes()).decode("latin-1").splitlines():
        words = line.split()
        if line.startswith(".SEGMENT DIGIT"):
            if strokes:
                yield label, strokes
            label, strokes, down = int(words[-1].strip('"')), [], False
        elif line.startswith("."):
            down = line.startswith(".PEN_DOWN") or (down and not line.startswith(".PEN_UP"))
            if line.startswith(".PEN_DOWN"):
                strokes.append([])
        elif down and len(words) == 2:
            strokes[-1].append((int(words[0]), -int(words[1])))
    if strokes:
        yield label, strokes


def rendered(strokes: Strokes, side: int, pen: int) -> Any:
    """A digit, uint8 (28, 28): drawn with a round pen, then scaled and centred by the project's front end."""
    from PIL import Image, ImageDraw

    from mnist_edge.vision.strokes import normalize, resize

    points = np.array([point for stroke in strokes for point in stroke], float)
    low, high = points.min(axis=0), points.max(axis=0)
    # Drawn 4 times as large and reduced, for soft edges; the digit takes 80 % of the picture's longer side.
    large = 4 * side
    factor = 0.8 * large / max(1.0, (high - low).max())
    width = max(1, round(pen / 1000 * large))
    picture = Image.new("L", (large, large))
    draw = ImageDraw.Draw(picture)
    for stroke in strokes:
        at = [tuple((np.array(point) - (low + high) / 2) * factor + large / 2) for point in stroke]
        draw.line(at, fill=255, width=width, joint="curve")
        for x, y in at:
            draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
    pixels = normalize(resize(np.asarray(picture), (side, side)), (SIDE, SIDE))
    return np.zeros((SIDE, SIDE), np.uint8) if pixels is None else pixels


# --- changes to images -----------------------------------------------------------------------------------------------


@functools.cache
def elastic_matrix() -> Any:
    """Bicubic interpolation (Keys, a = -0.5) from the coarse grid to the pixels, float32 (points, 784)."""
    at = (np.arange(SIDE) + 0.5) * ELASTIC_GRID / SIDE - 0.5
    distance = np.abs(at[:, None] - np.arange(ELASTIC_GRID))
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.einsum("yi,xj->ijyx", weights, weights).reshape(ELASTIC_GRID**2, PIXELS).astype(np.float32)


def uniform(count: int, device: Any) -> Any:
    import torch

    return torch.rand(count, 1, device=device) * 2 - 1


def geometry(images: Any, ranges: Changes) -> Any:
    """Affine, perspective and elastic changes of images, float32 (n, 28, 28) from 0 to 1, in one resampling."""
    import torch

    count, device = len(images), images.device
    draw = torch.rand(9, count, device=device) * 2 - 1
    angle = draw[0] * (ranges.rotation * math.pi / 180)
    scale, stretch = torch.exp(draw[1] * ranges.scale), torch.exp(draw[2] * (ranges.stretch / 2))
    shear = draw[3] * ranges.shear
    across, down = scale / stretch, scale * stretch
    cos, sin = torch.cos(angle), torch.sin(angle)
    y, x = torch.meshgrid(*[torch.arange(SIDE, device=device) - (SIDE - 1) / 2] * 2, indexing="ij")
    place = torch.stack([x.ravel(), y.ravel(), torch.ones(PIXELS, device=device)])
    to_x = torch.stack([cos * across, (shear * cos - sin) * across, draw[4] * ranges.shift], 1) @ place
    to_y = torch.stack([sin * down, (shear * sin + cos) * down, draw[5] * ranges.shift], 1) @ place
    if ranges.perspective:
        distance = 1 + torch.stack([draw[6], draw[7]], 1) * (2 * ranges.perspective / SIDE) @ place[:2]
        to_x, to_y = to_x / distance, to_y / distance
    if ranges.elastic:
        coarse = torch.randn(2, count, ELASTIC_GRID**2, device=device) * ranges.elastic
        moved = coarse @ torch.as_tensor(elastic_matrix(), device=device)
        to_x, to_y = to_x + moved[0], to_y + moved[1]
    grid = torch.stack([to_x, to_y], -1).view(count, SIDE, SIDE, 2) * (2 / (SIDE - 1))
    return torch.nn.functional.grid_sample(images[:, None], grid, align_corners=True)[:, 0]


def neighbours(combine: Callable[[Any, Any], Any], images: Any) -> Any:
    """Each pixel combined with its four neighbours; pixels outside of an image are 0."""
    import torch

    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    result = combine(images, padded[:, :-2, 1:-1])
    for part in (padded[:, 2:, 1:-1], padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]):
        result = combine(result, part)
    return result


def repenned(images: Any, amount: Any) -> Any:
    """Strokes made thicker (amount > 0) or thinner by up to a pixel on each side."""
    import torch

    wider, narrower = neighbours(torch.maximum, images), neighbours(torch.minimum, images)
    return images + amount.clamp(0, 1) * (wider - images) + (-amount).clamp(0, 1) * (narrower - images)


def photometry(images: Any, ranges: Changes) -> Any:
    """Changes of stroke width, blur, contrast, background, noise and polarity, as the project makes them."""
    import torch

    count, device = len(images), images.device

    def weight() -> Any:
        return uniform(count, device)[..., None]

    changed = repenned(images, weight() * ranges.pen)
    changed = changed + weight().clamp_min(0) * ranges.blur * (neighbours(torch.add, changed) / 5 - changed)
    changed = ((changed - 0.5) * (1 + weight().clamp_min(0) * ranges.contrast) + 0.5).clamp(0, 1)
    line = torch.linspace(-1, 1, SIDE, device=device)
    slope = (line[None, None, :] * weight() + line[None, :, None] * weight()) / 4
    light = weight()
    paper = light.clamp_min(0) * ranges.background * (0.5 + slope)
    changed = paper + changed * (1 - paper)
    changed = (changed + torch.randn_like(changed) * (-light).clamp_min(0) * ranges.noise).clamp(0, 1)
    return torch.where(weight() < 2 * ranges.invert - 1, 1 - changed, changed)


def resampled(images: Any, side: int, smooth: bool) -> Any:
    """Images reduced to a side length by averaging, and enlarged again."""
    import torch

    small = torch.nn.functional.adaptive_avg_pool2d(images[:, None], side)
    how = "bicubic" if smooth else "bilinear"
    return torch.nn.functional.interpolate(small, (SIDE, SIDE), mode=how)[:, 0].clamp(0, 1)


def doubled(images: Any, gap: tuple[int, int]) -> Any:
    """Images drawn twice with thin strokes, a number of pixels down and across apart."""
    import torch

    thin, half = repenned(images, -torch.ones(len(images), 1, 1, device=images.device)), (gap[0] // 2, gap[1] // 2)
    back = (half[0] - gap[0], half[1] - gap[1])
    return torch.maximum(*[torch.roll(thin, shift, (1, 2)) for shift in (half, back)])


def changed_at_random(images: Any, ranges: Changes) -> Any:
    """All changes, in shares of the images chosen at random. float32 (n, 28, 28), 0 to 1."""
    import torch

    def some(share: float) -> Any:
        return torch.randperm(len(images), device=images.device)[: round(share * len(images))]

    # cuDNN samples at most 65,535 images at once.
    images = torch.cat([geometry(part, ranges) for part in images.split(32_768)])
    if ranges.pens:
        rows = some(ranges.pens)
        amount = 2.7 * torch.rand(len(rows), 1, 1, device=images.device) - 0.7
        images[rows] = repenned(repenned(images[rows], amount), (amount - 1).clamp_min(0))
    if ranges.doubled:
        for gap, rows in zip(GAPS, some(ranges.doubled).chunk(len(GAPS)), strict=False):
            images[rows] = doubled(images[rows], gap)
    if ranges.resample:
        for at, rows in enumerate(some(ranges.resample).chunk(2 * len(SIDES))):
            images[rows] = resampled(images[rows], SIDES[at // 2], at % 2 == 1)
    if ranges.photometric:
        rows = some(ranges.photometric)
        images[rows] = photometry(images[rows], ranges)
    if ranges.binarize:
        rows = some(ranges.binarize)
        level = 0.5 + 0.2 * uniform(len(rows), images.device)[..., None]
        images[rows] = (images[rows] > level).float()
    return images


def changed_kinds(images: Any) -> dict[str, Any]:
    """The changed validation images: by kind, float32 (n, 28, 28). Nothing here is random."""
    import torch

    count, ones = len(images), torch.ones(len(images), 1, 1, device=images.device)

    def slanted(amount: float, stretch: float = 0.0) -> Any:
        y, x = torch.meshgrid(*[torch.arange(SIDE, device=images.device) - (SIDE - 1) / 2] * 2, indexing="ij")
        across, down = (x + amount * y) * math.exp(stretch / 2), y * math.exp(-stretch / 2)
        grid = (torch.stack([across, down], -1) * (2 / (SIDE - 1))).expand(count, SIDE, SIDE, 2)
        return torch.nn.functional.grid_sample(images[:, None], grid, align_corners=True)[:, 0]

    return {
        "thicker": repenned(images, ones),
        "twice thicker": repenned(repenned(images, ones), ones),
        "thinner": repenned(images, -0.7 * ones),
        "8 x 8": resampled(images, 8, True),
        "12 x 12": resampled(images, 12, False),
        "16 x 16": resampled(images, 16, True),
        "20 x 20": resampled(images, 20, False),
        "slanted left": slanted(-0.3),
        "slanted right": slanted(0.3),
        "narrower": slanted(0, 0.35),
        "broader": slanted(0, -0.35),
        "low contrast": images * 0.5,
        "high contrast": ((images - 0.5) * 4 + 0.5).clamp(0, 1),
        "doubled": doubled(images, (2, 3)),
        "binary": (images > 0.5).float(),
        "binary 14 x 14": (resampled(images, 14, False) > 0.4).float(),
    }


# --- nets ------------------------------------------------------------------------------------------------------------


@dataclass
class Layout:
    """Shapes of a net's parameters, in the order in which they lie in a flat vector."""

    architecture: Architecture
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    # Bounds of the uniform distribution of initial weights (Glorot); 0 and -1 stand for zeros and ones.
    bounds: list[float] = field(default_factory=list)
    hidden: int = 0  # index of the hidden layer's matrix

    def __post_init__(self) -> None:
        channels, side = 1, SIDE
        normed = bool(self.architecture.convolutions)
        for wide, pooled in self.architecture.convolutions:
            self._add((wide, 3, 3, channels), math.sqrt(6 / (9 * (channels + wide))))
            self._add((wide,), -1)
            self._add((wide,), 0)
            channels, side = wide, side // 2 if pooled else side
        inputs = channels * side * side
        self.hidden = len(self.shapes)
        self._add((self.architecture.hidden, inputs), math.sqrt(6 / (inputs + self.architecture.hidden)))
        if normed:
            self._add((self.architecture.hidden,), -1)
        self._add((self.architecture.hidden,), 0)
        self._add((CLASSES, self.architecture.hidden), math.sqrt(6 / (self.architecture.hidden + CLASSES)))
        self._add((CLASSES,), 0)

    def _add(self, shape: tuple[int, ...], bound: float) -> None:
        self.shapes.append(shape)
        self.bounds.append(bound)

    @property
    def sizes(self) -> list[int]:
        """Number of elements of each parameter."""
        return [math.prod(shape) for shape in self.shapes]

    def initial(self, seeds: list[int], device: Any) -> Any:
        """Initial parameters of nets, float32 (nets, parameters)."""
        import torch

        rows = []
        for seed in seeds:
            draw = torch.Generator().manual_seed(seed)
            parts = [
                (torch.rand(size, generator=draw) * 2 - 1) * bound if bound > 0 else torch.full((size,), -bound)
                for size, bound in zip(self.sizes, self.bounds, strict=True)
            ]
            rows.append(torch.cat(parts))
        return torch.stack(rows).to(device)


Norms = Callable[[Any, int, Any, Any], Any]


def batch_norm(values: Any, _: int, gamma: Any, beta: Any) -> Any:
    """Batch norm with the batch's own statistics."""
    import torch

    return torch.nn.functional.batch_norm(values, None, None, gamma, beta, True, 0.0, NORM_EPSILON)


def convolutional(layout: Layout, flat: Any, images: Any, norm: Norms = batch_norm, dropout: float = 0.0) -> Any:
    """Logits float32 (n, 10) of one net with convolutions.

    Args:
        layout: of the net. flat: its parameters (p,). images: (n, 784), whose dtype is that of the arithmetic.
        norm: from values, number of the layer, gamma and beta to normalized values.
        dropout: share of the hidden units that are dropped.
    """
    import torch

    functional = torch.nn.functional
    parts = [part.view(shape) for part, shape in zip(flat.split(layout.sizes), layout.shapes, strict=True)]
    count, dtype = len(images), images.dtype
    padded = functional.pad(images.view(count, SIDE, SIDE), (1, 1, 1, 1))
    values = images
    for at, (wide, pooled) in enumerate(layout.architecture.convolutions):
        weights, gamma, beta = parts[3 * at : 3 * at + 3]
        if at == 0:
            # As a product of matrices, padded from 9 to 16 inputs: libraries are slow with one input channel.
            taps = [padded[:, y : y + SIDE, x : x + SIDE] for y in range(3) for x in range(3)]
            columns = torch.stack([*taps, *[torch.zeros_like(taps[0])] * 7]).view(16, -1)
            matrix = functional.pad(weights.view(wide, 9), (0, 7)).to(dtype)
            values = (columns.T @ matrix.T).view(count, SIDE, SIDE, wide).permute(0, 3, 1, 2)
        else:
            values = functional.conv2d(values, weights.permute(0, 3, 1, 2).to(dtype), padding=1)
        if pooled:
            values = functional.max_pool2d(values, 2)
        values = functional.relu(norm(values, at, gamma, beta))
    matrix, gamma, beta, last, bias = parts[layout.hidden :]
    values = values.permute(0, 2, 3, 1).reshape(count, -1) @ matrix.T.to(dtype)
    values = functional.relu(norm(values, len(layout.architecture.convolutions), gamma, beta))
    if dropout:
        values = functional.dropout(values, dropout)
    return values.float() @ last.T + bias


def dense(layout: Layout, flat: Any, images: Any) -> Any:
    """Logits float32 (nets, n, 10) of dense nets with parameters (nets, p), on images (nets or 1, n, 784)."""
    import torch

    nets = len(flat)
    parts = [part.view(nets, *shape) for part, shape in zip(flat.split(layout.sizes, 1), layout.shapes, strict=True)]
    weights, bias, last, offset = parts
    images = images.expand(nets, -1, -1)
    hidden = torch.baddbmm(bias[:, None].to(images.dtype), images, weights.transpose(1, 2).to(images.dtype))
    return torch.baddbmm(offset[:, None], torch.relu(hidden).float(), last.transpose(1, 2))


def cross_entropy(logits: Any, targets: Any, temperature: Any) -> Any:
    """Cross-entropy per image; times the square of the temperature (..., 1, 1), which keeps the gradient's size."""
    import torch

    return -(targets * torch.log_softmax(logits / temperature, -1)).sum(-1) * temperature[..., 0] ** 2


def orthogonal(matrix: Any) -> Any:
    """Approximately the nearest matrices with orthogonal rows: Newton-Schulz iteration, as Muon does (Jordan, 2024)."""
    values = matrix.bfloat16() if matrix.is_cuda else matrix
    values = values / (values.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(5):
        square = values @ values.transpose(1, 2)
        values = 3.4445 * values + (-4.7750 * square + 2.0315 * square @ square) @ values
    return values.float()


# --- training --------------------------------------------------------------------------------------------------------


@dataclass
class Setup:
    """Everything that all runs share: device, images, folds, teachers, and the clock."""

    device: Any
    images: Any  # float32 (n, 28, 28), 0 to 1
    labels: Any  # int64 (n,)
    held: list[Any]  # rows held out, by fold
    train: list[Any]  # the other rows, by fold
    added: list[Any]  # rows of added forms, made of images of `train`, by fold
    shares: Any  # of the added forms, by row: the smallest share of forms with it; 0 for the other images
    pens: Any  # float32 (renderings, m, 784)
    pen_labels: Any
    deadline: float
    teachers: dict[str, Any] = field(default_factory=dict)  # by architecture: Stack, fold by fold

    def rows(self, fold: int, variant: Variant) -> Any:
        """Indices of the images that the nets of a fold train on: MNIST's, and a share of the added forms."""
        import torch

        added = self.added[fold]
        limits = torch.where(self.labels[added] == 1, variant.ones, 1.0) * variant.forms
        return torch.cat([self.train[fold], added[self.shares[added] <= limits + 1e-9]])

    @property
    def dtype(self) -> Any:
        """Arithmetic of the hidden layers: bfloat16 on a GPU."""
        import torch

        return torch.bfloat16 if self.device.type == "cuda" else torch.float32


@dataclass
class Stack:
    """Trained nets of one architecture: parameters (nets, p), the fold of each, and batch norm's statistics."""

    layout: Layout
    flat: Any
    folds: list[int]
    statistics: list[list[tuple[Any, Any]]] = field(default_factory=list)

    def logits(self, net: int, images: Any, chunk: int = 10_000) -> Any:
        """Logits float32 (n, 10) of one net on images (n, 784)."""
        import torch

        def norm(values: Any, at: int, gamma: Any, beta: Any) -> Any:
            mean, variance = self.statistics[net][at]
            return torch.nn.functional.batch_norm(values, mean, variance, gamma, beta, False, 0.0, NORM_EPSILON)

        with torch.no_grad():
            if not self.layout.architecture.convolutions:
                return dense(self.layout, self.flat[net : net + 1], images[None])[0]
            return torch.cat([convolutional(self.layout, self.flat[net], part, norm) for part in images.split(chunk)])

    def estimate(self, setup: Setup, batches: int = 20) -> Stack:
        """Set batch norm's statistics to their averages over batches of training images without augmentation."""
        import torch

        self.statistics = []
        for net, fold in enumerate(self.folds if self.layout.architecture.convolutions else []):
            found: dict[int, list[Any]] = {}
            rows = setup.train[fold]
            size = min(500, len(rows))
            for count in range(min(batches, len(rows) // size)):
                images = setup.images[rows[count * size : (count + 1) * size]].flatten(1).to(setup.dtype)

                def norm(values: Any, at: int, gamma: Any, beta: Any, weight: float = 1 / (count + 1)) -> Any:
                    zeros = torch.zeros(values.shape[1], device=values.device)
                    mean, variance = found.setdefault(at, [zeros, zeros.clone()])  # noqa: B023
                    return torch.nn.functional.batch_norm(
                        values, mean, variance, gamma, beta, True, weight, NORM_EPSILON
                    )

                with torch.no_grad():
                    convolutional(self.layout, self.flat[net], images, norm)
            self.statistics.append([tuple(found[at]) for at in sorted(found)])
        return self


class Trainer:
    """Trains several variants of one shape (architecture, epochs, batch, optimizer) at once: a net per fold and seed.

    Variants have the same share of added forms. Nets of one variant share the augmented images of an epoch, each in an
    order of its own. A step of all nets is recorded as one CUDA graph, because its many small kernels would take longer
    to launch than to run.
    """

    def __init__(self, variants: list[Variant], setup: Setup) -> None:
        import torch

        self.variants, self.setup, first = variants, setup, variants[0]
        self.layout = Layout(ARCHITECTURES[first.model])
        # Variant, fold and seed of each net.
        self.nets = [
            (at, fold, seed)
            for at, variant in enumerate(variants)
            for fold in range(len(setup.held))
            for seed in range(variant.seeds)
        ]
        self.folds = [fold for _, fold, _ in self.nets]
        device = setup.device
        self.flat = self.layout.initial([1000 * fold + seed for _, fold, seed in self.nets], device)
        self.mean, self.square = torch.zeros_like(self.flat), torch.zeros_like(self.flat)
        self.average = self.flat.clone()
        self.gradient = torch.zeros_like(self.flat)
        if any((variant.forms, variant.ones) != (first.forms, first.ones) for variant in variants):
            raise ValueError("variants of a group have different shares of forms")
        self.rows = [setup.rows(fold, first) for fold in range(len(setup.held))]
        # Folds differ by a few added forms.
        self.least = min(len(rows) for rows in self.rows)
        self.steps = self.least // first.batch
        # Pools of augmented images, one for each different way of making them; and targets by variant and fold.
        self.pools = list(dict.fromkeys(map(self._pool_key, variants)))
        count = len(setup.images)
        self.pool = torch.zeros(len(self.pools), count, PIXELS, device=device, dtype=setup.dtype)
        self.targets = torch.zeros(len(variants), len(setup.held), count, CLASSES, device=device)
        self.order = torch.zeros(len(self.nets), self.steps, first.batch, dtype=torch.int64, device=device)
        self.at = torch.zeros(1, dtype=torch.int64, device=device)
        self.step = torch.zeros(1, dtype=torch.int64, device=device)
        self.offset_pool = self._column(
            [self.pools.index(self._pool_key(variants[v])) * count for v, _, _ in self.nets]
        )
        self.offset_target = self._column([(v * len(setup.held) + fold) * count for v, fold, _ in self.nets])
        rates = np.stack([self._rates(variants[v]) for v, _, _ in self.nets], axis=1)
        self.rates = torch.as_tensor(rates, dtype=torch.float32, device=device)
        self.ema = self._column([variants[v].ema for v, _, _ in self.nets], torch.float32)
        self.decay = self._column([variants[v].decay for v, _, _ in self.nets], torch.float32)
        self.sam = self._column([variants[v].sam for v, _, _ in self.nets], torch.float32)
        self.temperature = self._column([variants[v].temperature for v, _, _ in self.nets], torch.float32)[..., None]
        starts = np.cumsum([0, *self.layout.sizes]).tolist()
        self.parts = [slice(start, end) for start, end in itertools.pairwise(starts)]
        # Weight decay is for matrices alone.
        self.is_matrix = torch.zeros(self.flat.shape[1], device=device)
        for part, shape in zip(self.parts, self.layout.shapes, strict=True):
            self.is_matrix[part] = len(shape) > 1
        self.graph: Any = None
        self.streams: list[Any] = []

    def _column(self, values: list[Any], dtype: Any = None) -> Any:
        import torch

        return torch.tensor(values, device=self.setup.device, dtype=dtype or torch.int64)[:, None]

    @staticmethod
    def _pool_key(variant: Variant) -> tuple[Any, ...]:
        return variant.changes, variant.clean_epochs, variant.final_strength, variant.plain, variant.mixup

    def _rates(self, variant: Variant) -> Any:
        steps, warm = variant.epochs * self.steps, max(1, round(variant.warmup * self.steps))
        at = np.arange(steps)
        left = (steps - at) / max(1, steps - warm)
        shape = {
            "cosine": 0.5 - 0.5 * np.cos(np.pi * np.minimum(1, left)),
            "constant": np.ones(steps),
            "late": np.minimum(1, 4 * (steps - at) / steps),
        }[variant.schedule]
        return variant.rate * np.minimum(at / warm, shape)

    # One epoch's images and targets.

    def fill(self, epoch: int) -> None:
        """Make an epoch's augmented images, targets and order."""
        import torch

        setup, first = self.setup, self.variants[0]
        count = len(setup.images)
        truth = torch.nn.functional.one_hot(setup.labels, CLASSES).float()
        mixes = {}
        for at, (changes, clean, final, plain, mixup) in enumerate(self.pools):
            images = setup.images
            if epoch < first.epochs - clean:
                strength = 1 + (final - 1) * epoch / max(1, first.epochs - 1)
                images = changed_at_random(images, changes.scaled(strength))
                if plain:
                    same = torch.rand(count, device=setup.device) < plain
                    images = torch.where(same[:, None, None], setup.images, images)
                if mixup:
                    weight = torch.distributions.Beta(mixup, mixup).sample((count, 1)).to(setup.device)
                    other = torch.randperm(count, device=setup.device)
                    mixes[at] = weight, other
                    images = weight[..., None] * images + (1 - weight[..., None]) * images[other]
            self.pool[at] = images.reshape(count, PIXELS).to(setup.dtype)
        answers: dict[tuple[Any, ...], Any] = {}
        for at, variant in enumerate(self.variants):
            pool = self.pools.index(self._pool_key(variant))
            if epoch and variant.teacher == "none" and not variant.mixup:
                continue  # the targets are those of the first epoch
            for fold in range(len(setup.held)):
                targets = truth
                if variant.teacher != "none":
                    key = pool, fold, variant.teacher
                    if key not in answers:
                        answers[key] = self._answers(*key)
                    taught = torch.softmax(answers[key][: variant.teachers] / variant.temperature, -1).mean(0)
                    targets = variant.labels * truth + (1 - variant.labels) * taught
                if variant.smoothing:
                    targets = (1 - variant.smoothing) * targets + variant.smoothing / CLASSES
                if pool in mixes and variant.teacher == "none":
                    weight, other = mixes[pool]
                    targets = weight * targets + (1 - weight) * targets[other]
                self.targets[at, fold] = targets
        picked = [self.rows[fold] for fold in self.folds]
        picked = [rows[torch.randperm(len(rows), device=setup.device)[: self.least]] for rows in picked]
        rows = torch.stack(picked)
        order = torch.rand(rows.shape, device=setup.device).argsort(1)[:, : self.steps * first.batch]
        self.order.copy_(rows.gather(1, order).view(self.order.shape))
        self.at.zero_()

    def _answers(self, pool: int, fold: int, name: str) -> Any:
        """Logits of a fold's teachers on a pool's images, (teachers, n, 10)."""
        import torch

        stack = self.setup.teachers[name]
        return torch.stack([stack.logits(net, self.pool[pool]) for net, its in enumerate(stack.folds) if its == fold])

    # One step of all nets. Everything that changes from step to step lies on the device.

    def take_step(self) -> None:
        """Gradients of all nets on their next batches, and an update of their weights."""
        rows = self.order.index_select(1, self.at)[:, 0]
        shape = rows.shape
        images = self.pool.view(-1, PIXELS).index_select(0, (rows + self.offset_pool).view(-1)).view(*shape, PIXELS)
        targets = self.targets.view(-1, CLASSES).index_select(0, (rows + self.offset_target).view(-1))
        targets = targets.view(*shape, CLASSES)
        self._gradients(images, targets)
        if any(variant.sam for variant in self.variants):
            before = self.flat.clone()
            self.flat.add_(self.gradient * (self.sam / (self.gradient.norm(dim=1, keepdim=True) + 1e-12)))
            self._gradients(images, targets)
            self.flat.copy_(before)
        self._update()

    def _gradients(self, images: Any, targets: Any) -> None:
        """Write the gradient of each net's mean loss on its batch to the attribute ``gradient``."""
        import torch

        if self.layout.architecture.convolutions:
            self._convolutional_gradients(images, targets)
            return
        leaf = self.flat.detach().requires_grad_()
        loss = cross_entropy(dense(self.layout, leaf, images), targets, self.temperature)
        self.gradient.copy_(torch.autograd.grad(loss.mean(1).sum(), leaf)[0])

    def _convolutional_gradients(self, images: Any, targets: Any) -> None:
        import torch

        def gradient(net: int) -> None:
            leaf = self.flat[net].detach().requires_grad_()
            dropout = self.variants[self.nets[net][0]].dropout
            logits = convolutional(self.layout, leaf, images[net], dropout=dropout)
            loss = cross_entropy(logits, targets[net], self.temperature[net]).mean()
            self.gradient[net].copy_(torch.autograd.grad(loss, leaf)[0])

        if self.setup.device.type != "cuda":
            for net in range(len(self.nets)):
                gradient(net)
            return
        main = torch.cuda.current_stream()
        for net in range(len(self.nets)):
            stream = self.streams[net % len(self.streams)]
            if net < len(self.streams):
                stream.wait_stream(main)
            with torch.cuda.stream(stream):
                gradient(net)
        for stream in self.streams[: len(self.nets)]:
            main.wait_stream(stream)

    def _update(self) -> None:
        import torch

        rate = self.rates.index_select(0, self.step).T
        self.step += 1
        self.at += 1
        time_ = self.step.float()
        self.mean.lerp_(self.gradient, 0.1)
        self.square.mul_(0.999).addcmul_(self.gradient, self.gradient, value=0.001)
        scale = torch.sqrt(1 - 0.999**time_) / (1 - 0.9**time_)
        change = self.mean / (self.square.sqrt().add_(ADAM_EPSILON)) * scale
        if self.variants[0].optimizer == "muon":
            for part, shape in zip(self.parts, self.layout.shapes, strict=True):
                if len(shape) == 1 or shape[0] == CLASSES or math.prod(shape[1:]) <= 9:
                    continue
                matrix = (0.1 * self.gradient[:, part] + 0.9 * self.mean[:, part]).view(len(self.nets), shape[0], -1)
                size = 0.2 * math.sqrt(max(matrix.shape[1:]))
                change[:, part] = orthogonal(matrix).flatten(1) * size
        self.flat.sub_(rate * (change + self.decay * self.is_matrix * self.flat))
        for part, bound in zip(self.parts, self.layout.bounds, strict=True):
            if bound < 0:  # batch norm's gamma, as in the project
                self.flat[:, part].clamp_min_(0)
        self.average.lerp_(self.flat, torch.maximum(1 - self.ema, 1 / (1 + time_ / 10)))

    def run(self, after_epoch: Callable[[int], None] | None = None) -> float:
        """Train to the end; the seconds that it took.

        Raises:
            TimeoutError: after the first epochs, that it would not end before the deadline.
        """
        import torch

        cuda = self.setup.device.type == "cuda"
        started = now = time.monotonic()
        epochs = self.variants[0].epochs
        for epoch in range(epochs):
            self.fill(epoch)
            if epoch == 0 and cuda:
                self._record()
            step = self.graph.replay if self.graph else self.take_step
            for _ in range(self.steps - int(self.at.item())):
                step()
            if after_epoch:
                after_epoch(epoch)
            if epoch in (0, 2):
                if cuda:
                    torch.cuda.synchronize()
                now, since = time.monotonic(), now
            if epoch == 2:
                needed = (now - since) / 2 * (epochs - 3)
                if now + needed > self.setup.deadline:
                    raise TimeoutError(f"would take another {needed:.0f} s")
        if cuda:
            torch.cuda.synchronize()
        return time.monotonic() - started

    def _record(self) -> None:
        """Record a step as a CUDA graph, after three steps that warm the libraries up."""
        import torch

        self.streams = [torch.cuda.Stream() for _ in range(8)]
        torch.backends.cudnn.benchmark = True
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.take_step()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self.take_step()
            self.graph = graph
        except RuntimeError as error:
            print(f"no graph: {error}", flush=True)
            torch.cuda.synchronize()
        torch.backends.cudnn.benchmark = False

    def stack(self, averaged: bool) -> Stack:
        """The nets as they are now, or their moving averages."""
        flat = self.average if averaged else self.flat
        return Stack(self.layout, flat.clone(), self.folds).estimate(self.setup)


# --- judging ---------------------------------------------------------------------------------------------------------


@dataclass
class Judge:
    """Measures nets on the held-out images of their folds, on changed held-out images, and on pen trajectories."""

    setup: Setup
    changed: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for rows in self.setup.held:
            kinds = changed_kinds(self.setup.images[rows])
            self.changed.append({name: images.flatten(1).to(self.setup.dtype) for name, images in kinds.items()})

    def plain(self, stack: Stack, net: int) -> tuple[Any, float]:
        """Whether each held-out image is classified correctly, and the cross-entropy."""
        import torch

        rows = self.setup.held[stack.folds[net]]
        logits = stack.logits(net, self.setup.images[rows].flatten(1).to(self.setup.dtype))
        loss = torch.nn.functional.cross_entropy(logits, self.setup.labels[rows]).item()
        return (logits.argmax(1) == self.setup.labels[rows]).cpu().numpy(), loss

    def others(self, stack: Stack, net: int) -> dict[str, float]:
        """Accuracy by kind of changed images, and by rendering of the pen trajectories."""
        fold = stack.folds[net]
        labels = self.setup.labels[self.setup.held[fold]]
        found = {
            name: (stack.logits(net, images).argmax(1) == labels).float().mean().item()
            for name, images in self.changed[fold].items()
        }
        for pen, images in zip(PENS, self.setup.pens, strict=True):
            right = stack.logits(net, images).argmax(1) == self.setup.pen_labels
            found[f"pen {pen[0]}/{pen[1]}"] = right.float().mean().item()
        return found


# Epochs at the end whose accuracies are averaged, for recipes without clean epochs at the end.
TAIL = 3


def run_group(variants: list[Variant], judge: Judge, correct: dict[str, Any]) -> tuple[list[dict[str, Any]], Trainer]:
    """Train and judge variants of one shape: rows of results, one for each variant and kind of weights.

    Args:
        variants: whose model, epochs, batch and optimizer are the same.
        judge: measures.
        correct: gets the shares of correct answers, held-out image by held-out image.
    """
    import torch

    torch.manual_seed(1)
    trainer = Trainer(variants, judge.setup)
    tails: list[list[float]] = [[] for _ in trainer.nets]

    def after(epoch: int) -> None:
        if variants[0].epochs - TAIL <= epoch < variants[0].epochs - 1:
            stack = trainer.stack(averaged=False)
            for net, (at, _, _) in enumerate(trainer.nets):
                if not variants[at].clean_epochs:
                    tails[net].append(float(judge.plain(stack, net)[0].mean()))

    seconds = trainer.run(after)
    rows = []
    for kind in ("last", "average"):
        stack = trainer.stack(kind == "average")
        for at, variant in enumerate(variants):
            nets = [net for net, (its, _, _) in enumerate(trainer.nets) if its == at]
            found = {net: judge.plain(stack, net) for net in nets}
            others = [judge.others(stack, net) for net in nets]
            per_net = [float(np.mean([*(tails[net] if kind == "last" else []), found[net][0].mean()])) for net in nets]
            by_fold = [
                np.mean([found[net][0] for net in nets if stack.folds[net] == fold], 0)
                for fold in range(len(judge.setup.held))
            ]
            correct[f"{variant.name}|{kind}"] = np.concatenate(by_fold).astype(np.float16)
            means = {name: float(np.mean([other[name] for other in others])) for name in others[0]}
            rows.append(
                {
                    "variant": variant.name,
                    "weights": kind,
                    "nets": len(nets),
                    "validation": float(np.mean(per_net)),
                    "deviation": float(np.std(per_net, ddof=1)),
                    "project_validation": float(by_fold[0].mean()),
                    "cross_entropy": float(np.mean([loss for _, loss in found.values()])),
                    "changed": float(np.mean([value for name, value in means.items() if not name.startswith("pen ")])),
                    "pendigits": float(np.mean([value for name, value in means.items() if name.startswith("pen ")])),
                    "by_kind": means,
                    "group_seconds": round(seconds, 1),
                    "recipe": asdict(variant),
                }
            )
    return rows, trainer


def ensemble(setup: Setup, stack: Stack, members: int) -> float:
    """Held-out accuracy of the averaged probabilities of the first nets of each fold."""
    import torch

    shares = []
    for fold, rows in enumerate(setup.held):
        images = setup.images[rows].flatten(1).to(setup.dtype)
        nets = [net for net, its in enumerate(stack.folds) if its == fold][:members]
        mean = torch.stack([torch.softmax(stack.logits(net, images), -1) for net in nets]).mean(0)
        shares.append((mean.argmax(1) == setup.labels[rows]).float().mean().item())
    return float(np.mean(shares))


# --- tables of variants ----------------------------------------------------------------------------------------------

CNN = Variant("cnn best", "cnn", WIDE, epochs=60, batch=256, rate=3e-3, clean_epochs=1)
DENSE = Variant("dense, no teacher", "dense", MILD, epochs=120, batch=512, rate=4e-3, seeds=2)
LARGE = replace(CNN, name="large", model="large", epochs=24, seeds=2)
STROKES = {"resample": 0.15, "binarize": 0.1, "pens": 0.15}
CNN_FORMS = replace(
    CNN,
    name="cnn 60, strokes, strength 1 to 0.5, forms 0.1",
    changes=replace(WIDE, **STROKES),
    final_strength=0.5,
    seeds=3,
    forms=0.1,
)


def first_table() -> list[list[Variant]]:
    """Groups of variants, the most important ones first. Nets of a group are trained at once."""
    c, d = CNN, DENSE
    taught = replace(d, teacher="cnn")
    long = replace(d, epochs=480)
    return [
        [replace(c, seeds=3)],
        [
            d,
            replace(d, name="dense, strength 0.5", changes=MILD.scaled(0.5)),
            replace(d, name="dense, strength 0.75", changes=MILD.scaled(0.75)),
            replace(d, name="dense, strength 1.25", changes=MILD.scaled(1.25)),
            replace(d, name="dense, strength 1 to 0.5", final_strength=0.5),
            replace(d, name="dense, strength 1.5 to 0.5", changes=MILD.scaled(1.5), final_strength=1 / 3),
            replace(d, name="dense, 3 clean epochs", clean_epochs=3),
            replace(d, name="dense, a quarter plain", plain=0.25),
            replace(d, name="dense, rate 2e-3", rate=2e-3),
            replace(d, name="dense, rate 8e-3", rate=8e-3),
            replace(d, name="dense, smoothing 0.05", smoothing=0.05),
            replace(d, name="dense, mixup 0.2", mixup=0.2),
            replace(d, name="dense, late decay", schedule="late"),
            replace(d, name="dense, constant rate, EMA 0.9998", schedule="constant", rate=2e-3, ema=0.9998),
            replace(d, name="dense, resample", changes=replace(MILD, resample=0.25)),
            replace(d, name="dense, pens", changes=replace(MILD, pens=0.25)),
            replace(d, name="dense, strokes", changes=replace(MILD, **STROKES)),
            replace(d, name="dense, decay 0.01", decay=0.01),
        ],
        [
            replace(taught, name="dense best (one teacher)", teachers=1),
            replace(taught, name="dense, three teachers"),
            replace(taught, name="dense, three teachers, T 2", temperature=2),
            replace(taught, name="dense, three teachers, half labels", labels=0.5),
            replace(taught, name="dense, three teachers, strength 1 to 0.5", final_strength=0.5),
        ],
        [
            replace(long, name="dense 480"),
            replace(long, name="dense 480, strength 1.25", changes=MILD.scaled(1.25)),
            replace(long, name="dense 480, strength 0.75", changes=MILD.scaled(0.75)),
            replace(long, name="dense 480, strength 1.5 to 0.5", changes=MILD.scaled(1.5), final_strength=1 / 3),
            replace(long, name="dense 480, strokes", changes=replace(MILD, **STROKES)),
            replace(long, name="dense 480, rate 2e-3", rate=2e-3),
        ],
        [
            replace(c, name="cnn, one teacher", teacher="cnn", teachers=1),
            replace(c, name="cnn, three teachers", teacher="cnn"),
        ],
        [
            replace(c, name="cnn, strokes", changes=replace(WIDE, **STROKES)),
            replace(c, name="cnn, decay 0.05", decay=0.05),
            replace(c, name="cnn, strength 1 to 0.5", final_strength=0.5),
            replace(c, name="cnn, smoothing 0.05", smoothing=0.05),
            replace(c, name="cnn, strength 1.25", changes=WIDE.scaled(1.25)),
        ],
        [
            replace(d, name="dense, muon", optimizer="muon"),
            replace(d, name="dense, muon, rate 2e-3", optimizer="muon", rate=2e-3),
            replace(d, name="dense, muon, rate 1e-2", optimizer="muon", rate=1e-2),
        ],
        [
            replace(c, name="cnn, muon", optimizer="muon"),
            replace(c, name="cnn, muon, 1e-3", optimizer="muon", rate=1e-3),
        ],
        [
            replace(c, name="cnn 180", epochs=180),
            replace(c, name="cnn 180, three teachers", epochs=180, teacher="cnn"),
        ],
        [
            replace(c, name="cnn, late decay", schedule="late"),
            replace(c, name="cnn, mixup 0.2", mixup=0.2),
            replace(c, name="cnn, 3 clean epochs", clean_epochs=3),
            replace(c, name="cnn, rate 6e-3", rate=6e-3),
            replace(c, name="cnn, dropout 0.2", dropout=0.2),
        ],
        [LARGE],
        [replace(c, name="cnn, two large teachers", teacher="large", teachers=2)],
        [replace(taught, name="dense, two large teachers", teacher="large", teachers=2)],
    ]


def second_table() -> list[list[Variant]]:
    """What the first table left open: longer training, and what helped together. Needs the first table's teachers."""
    stroked = replace(MILD, **STROKES)
    photographed = replace(stroked, photometric=0.2, contrast=3, blur=1, background=0.5, noise=0.4, invert=0.1)
    d = replace(DENSE, epochs=480, changes=stroked)
    c = replace(CNN, epochs=180)
    annealed = replace(c, changes=replace(WIDE, **STROKES), final_strength=0.5)
    return [
        [
            replace(d, name="dense 480, strokes, muon", optimizer="muon"),
            replace(d, name="dense 480, strokes, muon, rate 1e-2", optimizer="muon", rate=1e-2),
        ],
        [replace(c, name="cnn 180"), replace(annealed, name="cnn 180, strokes, strength 1 to 0.5")],
        [
            replace(d, name="dense 1200", epochs=1200, changes=MILD),
            replace(d, name="dense 1200, strokes", epochs=1200),
            replace(d, name="dense 1200, strokes, strength 1.25", epochs=1200, changes=stroked.scaled(1.25)),
        ],
        [replace(d, name="dense 1200, strokes, muon", epochs=1200, optimizer="muon")],
        [replace(annealed, name="cnn 180, strokes, strength 1 to 0.5, muon", optimizer="muon")],
        [
            replace(d, name="dense 480, strokes and photographs", changes=photographed),
            replace(
                d, name="dense 480, strokes, strength 1.5 to 0.5", changes=stroked.scaled(1.5), final_strength=1 / 3
            ),
        ],
        [replace(d, name="dense 480, strokes, one teacher", teacher="cnn", teachers=1)],
    ]


def third_table() -> list[list[Variant]]:
    """Shares of added forms, doubled strokes, and learning rates with them."""
    strokes = replace(MILD, **STROKES)
    d = replace(DENSE, name="dense 480, strokes", epochs=480, changes=strokes)
    wide = replace(WIDE, **STROKES)
    c = replace(CNN, name="cnn 180, strokes, strength 1 to 0.5", epochs=180, changes=wide, final_strength=0.5)

    def named(base: Variant, what: str = "", **changes: Any) -> Variant:
        made = replace(base, **changes)
        return replace(made, name=f"{base.name}, forms {made.forms}{what}")

    return [
        [
            named(d, forms=0.3),
            named(d, ", rate 8e-3", forms=0.3, rate=8e-3),
            named(d, ", late decay", forms=0.3, schedule="late"),
            named(d, ", decay 0.01", forms=0.3, decay=0.01),
            named(d, ", doubled", forms=0.3, changes=replace(strokes, doubled=0.1)),
        ],
        [
            named(d, forms=0.1),
            named(d, ", rate 8e-3", forms=0.1, rate=8e-3),
            named(d, ", late decay, rate 8e-3", forms=0.1, schedule="late", rate=8e-3),
        ],
        [named(c, forms=0.3), named(c, ", doubled", forms=0.3, changes=replace(wide, doubled=0.1))],
        [named(d), named(d, ", rate 8e-3", rate=8e-3)],
        [named(d, forms=0.2), named(d, ", late decay, rate 8e-3", forms=0.2, schedule="late", rate=8e-3)],
        [named(c), named(c, ", noise 0.2", changes=replace(wide, noise=0.2))],
        [named(c, forms=0.1)],
        [
            named(c, ", late decay", forms=0.3, schedule="late"),
            named(c, ", rate 6e-3", forms=0.3, rate=6e-3),
        ],
        [named(d, ", rate 8e-3", forms=0.15, rate=8e-3)],
        [named(d, ", rate 8e-3", forms=0.05, rate=8e-3)],
        [named(c, forms=0.15)],
    ]


def fourth_table() -> list[list[Variant]]:
    """Epochs, batch and final strength of the cnn with added forms, and dense with that cnn as teacher."""
    c = CNN_FORMS
    d = replace(DENSE, epochs=480, changes=replace(MILD, **STROKES), forms=0.1, teacher="cnn")
    return [
        [c, replace(c, name="cnn 60, strokes, strength 1 to 0.25, forms 0.1", final_strength=0.25, seeds=2)],
        [replace(c, name="cnn 180, strokes, strength 1 to 0.5, forms 0.1", epochs=180)],
        [
            replace(d, name="dense 480, strokes, forms 0.1, one teacher", teachers=1),
            replace(d, name="dense 480, strokes, forms 0.1, three teachers"),
        ],
        [replace(c, name="cnn 120, strokes, strength 1 to 0.5, forms 0.1", epochs=120, seeds=2)],
        [replace(c, name="cnn 60, strokes, strength 1 to 0.5, forms 0.1, batch 128", batch=128, rate=2e-3, seeds=2)],
    ]


def fifth_table() -> list[list[Variant]]:
    """The cnn without added forms, with fewer added ones, and with SAM or weaker augmentation."""
    c, changes = CNN_FORMS, CNN_FORMS.changes
    few = replace(c, seeds=2)
    return [
        [replace(c, name="cnn 60, strokes, strength 1 to 0.5, forms 0.0", forms=0.0)],
        [replace(c, name=f"{c.name}, ones a third", ones=1 / 3)],
        [
            replace(few, name=f"{c.name}, sam 0.05", sam=0.05),
            replace(few, name=f"{c.name}, sam 0.15", sam=0.15),
        ],
        [
            replace(few, name=f"{c.name}, photometric 0.25", changes=replace(changes, photometric=0.25)),
            replace(few, name="cnn 60, strokes, strength 0.75 to 0.375, forms 0.1", changes=changes.scaled(0.75)),
        ],
    ]


TABLES: dict[str, Callable[[], list[list[Variant]]]] = {
    "first": first_table,
    "second": second_table,
    "third": third_table,
    "fourth": fourth_table,
    "fifth": fifth_table,
}
# Variants whose nets are the teachers of the variants that come after.
TEACHERS = {"cnn best": "cnn", "large": "large", CNN_FORMS.name: "cnn"}


# --- commands --------------------------------------------------------------------------------------------------------


def setup_of(options: argparse.Namespace, device: Any, deadline: float) -> Setup:
    """Load images, folds and teachers, and copy them to a device."""
    import torch

    with np.load(options.inputs) as file:
        images, labels, pens, pen_labels = (file[key] for key in ("images", "labels", "pens", "pen_labels"))
        added = {key: file[key] for key in ("added", "added_labels", "added_rows", "added_shares")}
    if options.trial:
        images, labels, pens, pen_labels = images[:300], labels[:300], pens[:, :50], pen_labels[:50]
        kept = added["added_rows"] < len(images)
        added = {key: values[kept] for key, values in added.items()}

    def on_device(*parts: Any) -> Any:
        return torch.as_tensor(np.concatenate(parts), device=device)

    order = np.random.default_rng(0).permutation(len(labels))
    setup = Setup(
        device=device,
        images=on_device(images, added["added"]).float() / 255,
        labels=on_device(labels, added["added_labels"]).long(),
        held=[],
        train=[],
        added=[],
        shares=on_device(np.zeros(len(labels)), added["added_shares"]),
        pens=None,
        pen_labels=on_device(pen_labels).long(),
        deadline=deadline,
    )
    setup.pens = (on_device(pens).float() / 255).flatten(2).to(setup.dtype)
    held = 50 if options.trial else HELD_OUT
    for fold in range(FOLDS):
        held_rows = order[fold * held : (fold + 1) * held]
        setup.held.append(on_device(np.sort(held_rows)))
        setup.train.append(on_device(np.setdiff1d(order, held_rows)))
        setup.added.append(on_device(len(labels) + np.flatnonzero(~np.isin(added["added_rows"], held_rows))))
    for kind in ARCHITECTURES if options.teachers else ():
        path = options.teachers / f"{kind}.npz"
        if path.exists():
            with np.load(path) as file:
                stack = Stack(Layout(ARCHITECTURES[kind]), on_device(file["flat"]).float(), file["folds"].tolist())
            setup.teachers[kind] = stack.estimate(setup)
    return setup


def search(options: argparse.Namespace) -> None:
    """Train the variants of a table, as long as there is time."""
    import torch

    started = time.monotonic()
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}, PyTorch {torch.__version__}", flush=True)
    setup = setup_of(options, device, started + options.seconds)
    judge = Judge(setup)
    options.output.mkdir(parents=True, exist_ok=True)
    correct: dict[str, Any] = {}
    for group in TABLES[options.stage]():
        variants = [shortened(variant) for variant in group] if options.trial else group
        began = time.monotonic()
        try:
            rows, trainer = run_group(variants, judge, correct)
        except Exception as error:  # a failed group must not stop the others
            print(f"left out: {', '.join(v.name for v in group)}: {error}", flush=True)
            if not isinstance(error, TimeoutError):
                traceback.print_exc()
            continue
        if group[0].name in TEACHERS:
            kind = TEACHERS[group[0].name]
            setup.teachers[kind] = trainer.stack(averaged=False)
            for members in range(2, variants[0].seeds + 1):
                rows[0][f"ensemble_{members}"] = ensemble(setup, setup.teachers[kind], members)
            flat = setup.teachers[kind].flat.cpu().numpy().astype(np.float16)
            np.savez_compressed(options.output / f"{kind}.npz", flat=flat, folds=np.array(trainer.folds))
        with (options.output / f"{options.stage}.jsonl").open("a") as stream:
            for row in rows:
                stream.write(json.dumps({"device": name, **row}) + "\n")
                print(line(row), flush=True)
        np.savez_compressed(options.output / f"{options.stage}.npz", **correct)
        del trainer
        print(f"-- {time.monotonic() - began:.1f} s, total {time.monotonic() - started:.1f} s", flush=True)


def shortened(variant: Variant) -> Variant:
    """Variant for a trial."""
    clean, seeds = min(variant.clean_epochs, 1), min(variant.seeds, 2)
    return replace(variant, epochs=3, batch=50, seeds=seeds, clean_epochs=clean)


def line(row: dict[str, Any]) -> str:
    """One row of results as text."""
    return (
        f"{row['variant']:44} {row['weights']:7} {row['nets']:3} {100 * row['validation']:7.3f} "
        f"{100 * row['deviation']:6.3f} {row['cross_entropy']:7.4f} {100 * row['changed']:7.2f} "
        f"{100 * row['pendigits']:7.2f} {row['group_seconds']:6.1f} s"
        + "".join(f" {key} {100 * row[key]:.3f}" for key in row if key.startswith("ensemble"))
    )


# Variants that the others of a net are compared with: the first that is among the results.
BASES = {
    "cnn": (
        "cnn 180, strokes, strength 1 to 0.5, forms 0.0",
        "cnn best",
        "cnn 60, strokes, strength 1 to 0.5, forms 0.0",
    ),
    "dense": ("dense 480, strokes, forms 0.0", "dense, no teacher"),
}


def report(results: list[Path]) -> None:
    """Print a Markdown table: each variant against its net's base, paired image by image. ``large`` against ``cnn``."""
    rows: list[dict[str, Any]] = []
    correct: dict[str, Any] = {}
    for path in results:
        rows += [json.loads(text) for text in path.read_text().splitlines()]
        with np.load(path.with_suffix(".npz")) as file:
            correct |= {key: file[key].astype(float) for key in file.files}
    print("| variant | nets | held out, % | minus base, pp | fold 0, % | cross-entropy | changed, % | pendigits, % |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        bases = [correct.get(f"{name}|last") for name in BASES.get(row["recipe"]["model"], BASES["cnn"])]
        base = next((found for found in bases if found is not None), None)
        if row["weights"] != "last":
            continue
        difference = ""
        if base is not None:
            by_image = correct[f"{row['variant']}|last"] - base
            error = by_image.std() / math.sqrt(len(by_image))
            difference = f"{100 * by_image.mean():+.3f} ± {100 * error:.3f}"
        print(
            f"| {row['variant']} | {row['nets']} | {100 * row['validation']:.3f} ± {100 * row['deviation']:.3f} | "
            f"{difference} | {100 * row['project_validation']:.2f} | "
            f"{row['cross_entropy']:.4f} | {100 * row['changed']:.2f} | {100 * row['pendigits']:.2f} |"
        )
    for model in BASES:
        names = {row["variant"] for row in rows if row["recipe"]["model"] == model}
        gains = [np.mean(correct[f"{name}|average"] - correct[f"{name}|last"]) for name in sorted(names)]
        print(f"\n{model}: averaged weights minus the last, pp: " + ", ".join(f"{100 * gain:+.3f}" for gain in gains))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    preparing = commands.add_parser("prepare")
    preparing.add_argument("--mnist", type=Path, required=True, help="folder of the two files of training images")
    preparing.add_argument("--pendigits", type=Path, required=True, help="folder of pendigits-*.unipen.gz")
    preparing.add_argument("--limit", type=int, default=2_000, help="number of trajectories, about")
    preparing.add_argument("-o", "--output", type=Path, required=True)
    searching = commands.add_parser("search")
    searching.add_argument("inputs", type=Path)
    searching.add_argument("--stage", choices=sorted(TABLES), required=True)
    searching.add_argument("--seconds", type=float, default=330, help="no group is continued that would take longer")
    searching.add_argument("--teachers", type=Path, help="folder of teachers that an earlier search has left")
    searching.add_argument("--trial", action="store_true", help="few images and epochs, to see that everything runs")
    searching.add_argument("-o", "--output", type=Path, required=True)
    reporting = commands.add_parser("report")
    reporting.add_argument("results", type=Path, nargs="+", help=".jsonl files, each with its .npz")
    options = parser.parse_args()
    if options.command == "prepare":
        prepare(options.mnist, options.pendigits, options.output, options.limit)
    elif options.command == "search":
        search(options)
    else:
        report(options.results)


if __name__ == "__main__":
    main()
