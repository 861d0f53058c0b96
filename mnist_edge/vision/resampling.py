"""Resizing with the same result in all versions of Pillow.

Pillow resizes along one axis after the other and rounds in between. Since version 13 it chooses the first axis by the
sizes, before it began with rows. Here it always begins with rows, one call for each axis, as the C code in `portable`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling


def resized(picture: Image, width: int, height: int, how: Resampling) -> Image:
    """Resize a picture along rows, then along columns; without a copy if it has the size already."""
    if picture.width != width:
        picture = picture.resize((width, picture.height), how)
    return picture if picture.height == height else picture.resize((width, height), how)
