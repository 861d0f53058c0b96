"""The choice of a source of frames: a camera, a file or a URL."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from mnist_edge.camera import picamera, video
from mnist_edge.camera.frames import Frames, has_host, without_password
from mnist_edge.camera.newest import Newest
from mnist_edge.errors import UsageError
from mnist_edge.store.files import open_regular

SCHEMES = ("http", "https", "rtsp", "rtsps")
DEVICE = re.compile(r"/dev/video(\d+)")


def open_frames(source: str | int, colour: bool) -> Frames:
    """Open a camera, a video file or a stream. Of a live source only the newest frame is kept.

    Args:
        source: number of a camera, path of a video file, or URL.
        colour: whether pictures have three channels.

    Raises:
        UsageError: the file does not exist, or the URL has another scheme than `SCHEMES`.
        MissingError: there is no such camera, the URL cannot be reached, or the extra ``camera`` is not installed.
        ContentError: the file or the stream is no video.
        StageError: the camera or the file may not be read, or another program uses the camera.
    """
    frames: Frames | None
    if isinstance(source, int):
        frames = picamera.open_camera(source, colour) or video.open_camera(source, colour)
    elif is_url(source):
        frames = video.open_url(source, colour)
    else:
        _check_file(source)
        frames = video.open_file(Path(source), colour)
    return Newest(frames) if frames.live else frames


def is_url(source: str) -> bool:
    """Whether a source is a URL; a path never contains ``://`` in practice.

    Raises:
        UsageError: the URL's scheme is not one of `SCHEMES`, or it names no host, or a port that is no number.
    """
    if "://" not in source:
        return False
    if not has_host(source):
        raise UsageError(
            f"The address {without_password(source)} cannot be watched: it names no host, or a port that is no number.",
            "Write http://HOST:PORT/PATH; / ? # @ and : in a name or password are written %2F %3F %23 %40 %3A.",
        )
    if urlsplit(source).scheme not in SCHEMES:
        raise UsageError(
            f"The address {without_password(source)} cannot be watched.",
            "Give one that begins with http://, https://, rtsp:// or rtsps://.",
        )
    return True


def _check_file(source: str) -> None:
    if (device := DEVICE.fullmatch(source)) is not None:
        raise UsageError(
            f"{source} is a camera, not a video file.", f"Use it with: mnist-edge watch --camera {device[1]}"
        )
    open_regular(Path(source)).close()
