"""Cameras, video files and streams, read by PyAV (FFmpeg)."""

from __future__ import annotations

import errno
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mnist_edge.camera.frames import Frame, without_password
from mnist_edge.errors import ContentError, MissingError, MnistEdgeError, StageError, missing_extra
from mnist_edge.vision.ink import WORK
from mnist_edge.vision.pictures import MAX_PIXELS, ORIGINAL_SIZE

if TYPE_CHECKING:
    from PIL.Image import Image

# Size that a camera is asked for; its driver takes the nearest that it has.
CAMERA_SIZE = (640, 480)
# Larger frames are reduced to this many pixels on their longest side: twice what digits are searched in.
LONGEST = 2 * WORK
# Seconds to connect, and to wait for the next data.
TIMEOUT = 10.0
# So many packets in a row that cannot be decoded end a live source, which may have no other end.
MOST_DAMAGED = 100
# Member of `Image.Transpose` for a rotation that the file asks for, as files of phones do.
TURNS = {90: "ROTATE_90", 180: "ROTATE_180", 270: "ROTATE_270"}
# Protocols that FFmpeg may open for a URL of each scheme. Streams of RTSP come through the same connection: UDP loses
# packets, and firewalls block it.
PROTOCOLS = {"http": "http,https,tcp,tls", "rtsp": "rtsp,rtp,tcp", "rtsps": "rtsp,rtp,tcp,tls"}
NO_VIDEO = "Give a video file that other programs play, such as MP4, MKV, AVI, MJPEG or GIF."


def open_file(path: Path, colour: bool) -> Video:
    """Open a video file. FFmpeg may open no other file's protocol, so that a playlist cannot reach the network.

    Raises:
        MissingError: the extra ``camera`` is not installed.
        ContentError: the file is no video.
        StageError: the file cannot be read.
    """
    av = _library()
    name = str(path)
    try:
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except OSError as error:
        raise StageError(f"{name} cannot be read: {error.strerror}.", "Check its permissions and the disk.") from error
    except av.error.FFmpegError as error:
        raise ContentError(f"{name} is no video.", NO_VIDEO) from error
    return Video(container, name, colour, live=False)


def open_url(url: str, colour: bool) -> Video:
    """Open a stream, or a video file on a server. A video whose length is known is not live, and no frame is dropped.

    Raises:
        MissingError: the extra ``camera`` is not installed, or the address cannot be reached.
        ContentError: what the address returns is no video.
    """
    av = _library()
    name = without_password(url)
    scheme = urlsplit(url).scheme
    options = {"protocol_whitelist": PROTOCOLS.get(scheme, PROTOCOLS["http"]), "tls_verify": "1"}
    if scheme in ("rtsp", "rtsps"):
        options["rtsp_transport"] = "tcp"
    if (authorities := ssl.get_default_verify_paths().cafile) is not None:
        options["ca_file"] = authorities
    begun = time.monotonic()
    try:
        container = av.open(url, options=options, timeout=TIMEOUT, metadata_errors="replace")
    except av.error.FFmpegError as error:
        seconds = time.monotonic() - begun
        raise _url_error(name, scheme, error, seconds) from None  # its message holds the password
    return Video(container, name, colour, live=container.duration is None, is_connection=True)


def _url_error(name: str, scheme: str, error: Any, seconds: float) -> MnistEdgeError:
    av = _library()
    is_invalid, is_failed = isinstance(error, av.error.InvalidDataError), error.errno == errno.EIO
    if seconds >= TIMEOUT:
        reason = "no data in time"
    elif is_invalid and scheme in ("rtsp", "rtsps"):  # so FFmpeg calls a connection that was closed, too
        reason = "it ends the connection, or does not answer in RTSP"
    # EIO: the connection ended, as after a page without a length. With TLS, a certificate that is not accepted, too.
    elif is_invalid or isinstance(error, av.error.LookupError) or (is_failed and scheme == "http"):
        return ContentError(f"{name} returns no video.", "Give the address of the stream, not of a page.")
    else:
        reason = "the connection fails, or returns no video" if is_failed else _reason(error)
    remedy = "Check the address, and that the camera is on and streams."
    if scheme in ("https", "rtsps"):
        remedy += " If it has a certificate of its own, name the certificate's file in the variable SSL_CERT_FILE."
    return MissingError(f"{name} cannot be reached: {reason}.", remedy)


def open_camera(number: int, colour: bool) -> Video:
    """Open the camera ``/dev/videoN`` through V4L2.

    Raises:
        MissingError: the extra ``camera`` is not installed, or there is no such camera.
        StageError: the camera may not be read, or another program uses it.
    """
    av = _library()
    device = f"/dev/video{number}"
    size = "x".join(map(str, CAMERA_SIZE))
    try:
        container = av.open(
            device, format="v4l2", options={"video_size": size}, timeout=TIMEOUT, metadata_errors="replace"
        )
    except (av.error.FFmpegError, ValueError) as error:  # ValueError: this FFmpeg has no V4L2
        raise _camera_error(number, device, error) from error
    return Video(container, device, colour, live=True)


def _camera_error(number: int, device: str, error: Exception) -> MnistEdgeError:
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.EACCES:
        return StageError(
            f"{device} may not be read.", "Join the group video, and log in again: sudo usermod -aG video $USER"
        )
    if code == errno.EBUSY:
        return StageError(
            f"{device} is used by another program.", f"End that program; this names it: fuser -v {device}"
        )
    others = sorted(int(path.name[5:]) for path in Path("/dev").glob("video*") if path.name[5:].isdigit())
    known = f"Devices here: {', '.join(map(str, others))}. " if others else ""
    return MissingError(
        f"There is no camera {number} ({device}).",
        f"{known}Connect a camera, name another with --camera N, or give a video file or a URL. The camera of a "
        "Raspberry Pi needs python3-picamera2.",
    )


def _library() -> Any:
    try:
        import av
        import av.logging
    except ImportError as error:
        raise missing_extra("PyAV, which reads cameras and videos,", "camera") from error
    av.logging.set_level(av.logging.PANIC)  # FFmpeg would write about damaged packets to standard error
    return av


def _reason(error: Any) -> str:
    """The cause in an error of FFmpeg, without the address."""
    # An operation that took longer than its limit was ended by PyAV.
    return "no data in time" if isinstance(error, _library().error.ExitError) else str(error.strerror).rstrip(".")


class Video:
    """The frames of an open video."""

    dropped = 0

    def __init__(self, container: Any, name: str, colour: bool, live: bool, is_connection: bool = False) -> None:
        self.live = live
        self.damaged = 0
        self._container = container
        self._name = name
        self._colour = colour
        self._is_connection = is_connection
        if not container.streams.video:
            container.close()
            raise ContentError(f"{name} has no pictures, only sound or text.", NO_VIDEO)
        self._stream = container.streams.video[0]
        if self._stream.codec_context is None:
            container.close()
            raise ContentError(f"{name} has pictures in a format that FFmpeg does not know here.", NO_VIDEO)
        self._stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}

    def __iter__(self) -> Iterator[Frame]:
        """Decode the frames. A packet that cannot be decoded is counted and left out.

        Raises:
            ContentError: nothing can be decoded.
            StageError: the camera or the connection failed.
        """
        number, in_a_row = 0, 0
        begun: float | None = None
        last = -self._seconds_of_a_frame()
        for packet in self._packets():
            try:
                decoded = packet.decode()
            except (_library().error.FFmpegError, MemoryError):
                self.damaged += 1
                in_a_row += 1
                if self.live and in_a_row >= MOST_DAMAGED:
                    raise ContentError(f"{self._name}: {in_a_row} packets in a row are damaged.", NO_VIDEO) from None
                continue
            in_a_row = 0
            for item in decoded:
                if self.live:
                    now = time.monotonic()
                else:  # a frame without a time follows the last one
                    now = last + self._seconds_of_a_frame() if item.time is None else float(item.time)
                last = now
                begun = now if begun is None else begun
                yield Frame(number, max(0.0, now - begun), _picture(item, self._colour))
                number += 1
        if number == 0:
            raise ContentError(f"No frame of {self._name} can be decoded.", NO_VIDEO)

    def close(self) -> None:
        """Close the file, the device or the connection."""
        self._container.close()

    def _seconds_of_a_frame(self) -> float:
        """Seconds between two frames of the file, by its average rate; at 25 frames a second if it has none."""
        rate = self._stream.average_rate
        return float(1 / rate) if rate else 1 / 25

    def _packets(self) -> Iterator[Any]:
        """The packets of the video, then an empty one, for which the decoder returns its last frames."""
        av = _library()
        try:
            yield from self._container.demux(self._stream)
        # Damaged from here on; a cut file ends without an error. PyAV looks up streams that a damaged packet names.
        except (av.error.InvalidDataError, IndexError, ValueError):
            self.damaged += 1
        except av.error.FFmpegError as error:
            if self._is_connection and error.errno == errno.EIO:  # the server has closed it
                return
            raise StageError(
                f"{self._name} failed: {_reason(error)}.",
                "Check the camera, its cable or the network, and start again.",
            ) from None


def _picture(frame: Any, colour: bool) -> Image:
    """A decoded frame as a picture, reduced if it is large, and turned upright."""
    from PIL import Image as Pil

    size = (frame.width, frame.height)
    scale = max(1.0, max(size) / LONGEST)
    width, height = (max(1, round(side / scale)) for side in size)
    values = frame.reformat(
        width, height, "rgb24" if colour else "gray", interpolation="AREA", dst_color_range="JPEG"
    ).to_ndarray()
    picture = Pil.fromarray(values)
    turn = frame.rotation % 360  # counter-clockwise, as Pillow's
    if turn in TURNS:
        picture = picture.transpose(Pil.Transpose[TURNS[turn]])
        size = size if turn == 180 else size[::-1]
    picture.info = {ORIGINAL_SIZE: size} if scale > 1 else {}
    return picture
