"""From pictures on disk to answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mnist_edge.errors import ContentError, MnistEdgeError, UsageError
from mnist_edge.results import Prediction
from mnist_edge.runtime.pictures import SUFFIXES, picture_to_pixels, read_picture
from mnist_edge.runtime.session import Session


def find_pictures(sources: Sequence[str]) -> list[str]:
    """Files as they are, folders as the pictures in them, sorted; ``-`` stays.

    Raises:
        UsageError: a folder holds no picture.
    """
    found: list[str] = []
    for source in sources:
        path = Path(source)
        if not path.is_dir():
            found.append(source)
            continue
        inside = sorted(str(item) for item in path.iterdir() if item.suffix.lower() in SUFFIXES)
        if not inside:
            raise UsageError(f"The folder {source} holds no picture.", f"Known kinds: {', '.join(sorted(SUFFIXES))}.")
        found += inside
    return found


def predict_picture(session: Session, name: str, content: bytes | None = None) -> Prediction:
    """One picture's answer; one that cannot be read has ``error`` in its row.

    Args:
        session: an open model.
        name: the picture's path, or what to call it.
        content: its bytes; read from ``name`` without.
    """
    try:
        picture = read_picture(Path(name) if content is None else content, name)
    except MnistEdgeError as error:
        return Prediction(name, error=error.cause)
    pixels = picture_to_pixels(picture, session.contract.preprocessor, session.image_shape)
    probabilities = session.predict(pixels[np.newaxis])[0]
    if not np.isfinite(probabilities).all():
        return Prediction(name, error="The model answers with NaN.")
    label = int(probabilities.argmax())
    return Prediction(
        path=name,
        label=label,
        name=session.contract.class_names[label],
        confidence=float(probabilities[label]),
        probabilities=tuple(float(value) for value in probabilities),
    )


def unread(predictions: Sequence[Prediction]) -> ContentError | None:
    """The error of pictures that could not be read; None where all could."""
    failed = [item for item in predictions if item.error is not None]
    if not failed:
        return None
    return ContentError(f"{len(failed)} of {len(predictions)}: {failed[0].error}", "Give whole PNG or JPEG files.")
