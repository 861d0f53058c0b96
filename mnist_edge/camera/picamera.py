"""The camera of a Raspberry Pi, read by picamera2, which Raspberry Pi OS brings. Not tested on hardware."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from typing import Any, Protocol, cast

from mnist_edge.camera.frames import Frame
from mnist_edge.errors import StageError

# Size of the frames, as for other cameras (`video.CAMERA_SIZE`).
SIZE = (640, 480)
# picamera2's name for arrays of red, green and blue in this order: it names the bytes of a little-endian word.
RGB = "BGR888"
# Planes of full size first: the grey values.
GREY = "YUV420"


class Picamera2(Protocol):
    """The methods of ``picamera2.Picamera2`` that are used here."""

    def create_video_configuration(self, main: dict[str, Any]) -> Any:
        """Describe what the camera shall deliver."""

    def configure(self, configuration: Any) -> None:
        """Set the camera up."""

    def start(self) -> None:
        """Begin to take frames."""

    def capture_array(self, name: str) -> Any:
        """Wait for the next frame; uint8, rows may be padded."""

    def stop(self) -> None:
        """Take no more frames."""

    def close(self) -> None:
        """Give the camera back."""


def open_camera(number: int, colour: bool) -> PicameraFrames | None:
    """Open a camera through picamera2; None if picamera2 is not installed, or does not know this camera.

    Raises:
        StageError: the camera cannot be started, for example because another program uses it.
    """
    try:
        library = importlib.import_module("picamera2")
    except (ImportError, ValueError):  # ValueError: it was compiled for another version of NumPy
        return None
    if number >= len(library.Picamera2.global_camera_info()):
        return None
    try:
        camera = cast(Picamera2, library.Picamera2(number))
        main = {"size": SIZE, "format": RGB if colour else GREY}
        camera.configure(camera.create_video_configuration(main=main))
        camera.start()
    except RuntimeError as error:
        raise StageError(
            f"Camera {number} cannot be started: {error}.", "End other programs that use it: fuser -v /dev/media*"
        ) from error
    return PicameraFrames(camera, colour)


class PicameraFrames:
    """The frames of a camera that picamera2 has started. They have no end."""

    live = True
    dropped = 0
    damaged = 0

    def __init__(self, camera: Picamera2, colour: bool) -> None:
        self._camera = camera
        self._colour = colour

    def __iter__(self) -> Iterator[Frame]:
        """Wait for one frame after the other."""
        from PIL import Image as Pil

        width, height = SIZE
        begun, number = time.monotonic(), 0
        while True:
            try:
                values = self._camera.capture_array("main")[:height, :width]
            except RuntimeError as error:
                raise StageError(f"The camera failed: {error}.", "Check its cable, and start again.") from error
            yield Frame(number, time.monotonic() - begun, Pil.fromarray(values if self._colour else values.copy()))
            number += 1

    def close(self) -> None:
        """Stop the camera and give it back."""
        self._camera.stop()
        self._camera.close()
