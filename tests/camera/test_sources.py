"""Frames of cameras and files: only the newest of a live source, upright, with their full range of grey."""

from __future__ import annotations

import importlib.util
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import watch as videos
from mnist_edge.camera import video
from mnist_edge.camera.frames import Frame, without_password
from mnist_edge.camera.newest import Newest
from mnist_edge.camera.picamera import SIZE, PicameraFrames
from mnist_edge.camera.sources import is_url, open_frames
from mnist_edge.errors import ContentError, StageError, UsageError
from mnist_edge.vision.pictures import ORIGINAL_SIZE
from tests.conftest import unavailable


@pytest.fixture
def _library() -> None:
    if importlib.util.find_spec("av") is None:
        unavailable("PyAV")


class Camera:
    """A live source of as many frames as there are, each delivered when the test allows it."""

    live = True
    dropped = 0
    damaged = 0

    def __init__(self, count: int, failure: Exception | None = None) -> None:
        self.count, self.failure = count, failure
        self.may_deliver, self.was_taken = threading.Semaphore(0), threading.Event()
        self.closed_by = ""

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self.count):
            self.may_deliver.acquire()
            yield Frame(number, number / 30, Image.new("L", (8, 8)))
        self.was_taken.set()
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        self.closed_by = threading.current_thread().name


def test_a_slow_reader_gets_the_newest_frame_and_the_others_are_counted_as_dropped() -> None:
    camera = Camera(10)
    newest = Newest(camera)
    for _ in range(10):
        camera.may_deliver.release()
    assert camera.was_taken.wait(10)  # the thread has read all frames before one is asked for
    assert [frame.number for frame in newest] == [9]
    assert newest.dropped == 9
    newest.close()
    assert camera.closed_by == "frames"


def test_a_fast_reader_gets_every_frame() -> None:
    camera = Camera(5)
    newest, numbers = Newest(camera), []
    camera.may_deliver.release()
    for frame in newest:
        numbers.append(frame.number)
        camera.may_deliver.release()
    assert numbers == [0, 1, 2, 3, 4]
    assert newest.dropped == 0


def test_a_failure_of_the_camera_reaches_the_reader_after_the_last_frame() -> None:
    camera = Camera(1, StageError("The camera failed.", "Plug it in."))
    newest = Newest(camera)
    camera.may_deliver.release()
    assert camera.was_taken.wait(10)
    frames = iter(newest)
    assert next(frames).number == 0
    with pytest.raises(StageError, match="camera failed"):
        next(frames)


def test_close_ends_the_thread() -> None:
    camera = Camera(1000)
    newest = Newest(camera)
    for _ in range(1000):
        camera.may_deliver.release()
    newest.close()
    assert camera.closed_by == "frames"


@pytest.mark.usefixtures("_library")
def test_frames_have_the_full_range_of_grey_and_the_times_of_the_file(tmp_path: Path) -> None:
    grey = np.repeat(np.array([0, 128, 255], np.uint8), 32)
    videos.encode(tmp_path / "bars.mp4", iter([np.tile(grey, (48, 1))] * 5), "mpeg4", rate=10)
    frames = list(open_frames(str(tmp_path / "bars.mp4"), colour=False))
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    values = np.asarray(frames[0].picture)[24, [16, 48, 80]].astype(int)
    assert np.abs(values - [0, 128, 255]).max() <= 4
    assert frames[0].picture.info == {}


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("colour", [False, True])
def test_large_frames_are_reduced_and_remember_their_size(tmp_path: Path, colour: bool) -> None:
    videos.encode(tmp_path / "large.avi", iter([np.full((720, 1280), 200, np.uint8)]), "mjpeg")
    (frame,) = open_frames(str(tmp_path / "large.avi"), colour)
    assert (frame.picture.size, frame.picture.mode) == ((640, 360), "RGB" if colour else "L")
    assert frame.picture.info == {ORIGINAL_SIZE: (1280, 720)}


@pytest.mark.usefixtures("_library")
def test_a_video_that_was_taken_sideways_is_turned_upright(tmp_path: Path) -> None:
    values = np.zeros((48, 96), np.uint8)
    values[:, :32] = 255  # left, and on top after a quarter turn clockwise
    path = tmp_path / "turned.mp4"
    videos.encode(path, iter([values] * 2), "mpeg4")
    content = bytearray(path.read_bytes())
    one = (1 << 16).to_bytes(4, "big")
    zero, minus = bytes(4), (-(1 << 16) & 0xFFFFFFFF).to_bytes(4, "big")
    header = content.index(b"tkhd")
    at = content.index(one + zero * 3 + one, header)  # the identity, which a phone replaces by a turn of 90 degrees
    content[at : at + 20] = zero + one + zero + minus + zero
    path.write_bytes(content)
    picture = next(iter(open_frames(str(path), colour=False))).picture
    assert picture.size == (48, 96)
    upright = np.asarray(picture)
    assert upright[:24].mean() > 240
    assert upright[40:].mean() < 15


def test_a_url_has_a_known_scheme_and_is_shown_without_its_password() -> None:
    assert is_url("http://camera.local/stream")
    assert is_url("HTTPS://camera.local/stream")
    assert is_url("rtsp://anna:word@camera.local:554/1")
    assert not is_url("digits.mp4")
    for wrong in (
        "rtmp://camera/1",
        "file:///etc/passwd",
        "http://",
        "http://[camera/",
        "http://anna:pass/word@camera/",
    ):
        with pytest.raises(UsageError, match="cannot be watched"):
            is_url(wrong)
    for url, shown in (
        ("http://anna:pass@word@camera/a", "http://camera/a"),
        ("http://anna:pass?word@camera/a", "http://..."),
        ("http://anna:pass#word@camera/a", "http://..."),
        ("http://anna:pass/word@camera/a", "http://...@camera/a"),
        ("http://camera/a?user=anna&pwd=word", "http://camera/a?..."),
        ("http://camera:8080/a", "http://camera:8080/a"),
        ("http://anna:word@camera:8080/of/anna@home/a", "http://...@home/a"),
        ("rtsp://admin:12/34@camera/s", "rtsp://...@camera/s"),
        ("rtsp://admin:1234#5@camera/s", "rtsp://..."),
        ("rtsp://admin:1234?5@camera/s", "rtsp://..."),
        ("rtsp://admin:1@2/3@camera/s", "rtsp://...@camera/s"),
        ("http://camera/a?user=anna@home&pwd=word", "http://..."),
        ("videos/anna@home/a?b.mp4", "videos/anna@home/a?b.mp4"),
    ):
        assert without_password(url) == shown
    assert without_password(2) == "camera 2"


@pytest.mark.parametrize(("number", "remedy"), [(13, "group video"), (16, "fuser"), (19, "--camera N")])
def test_a_camera_that_cannot_be_opened_is_an_error_with_the_remedy_for_its_reason(number: int, remedy: str) -> None:
    error = video._camera_error(1, "/dev/video1", OSError(number, "refused"))
    assert "/dev/video1" in error.cause
    assert remedy in error.remedy


class Picamera2:
    """The documented interface of ``picamera2.Picamera2``, as far as it is used."""

    def __init__(self, number: int) -> None:
        assert number == 0
        self.calls: list[str] = []

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        return [{"Model": "imx708", "Num": 0}]

    def create_video_configuration(self, main: dict[str, Any]) -> dict[str, Any]:
        return main

    def configure(self, configuration: dict[str, Any]) -> None:
        self.configuration = configuration

    def start(self) -> None:
        self.calls.append("start")

    def capture_array(self, name: str) -> Any:
        width, height = SIZE
        if self.configuration["format"] == "YUV420":  # planes below each other, rows padded
            return np.full((height * 3 // 2, width + 64), 77, np.uint8)
        return np.full((height, width, 3), (255, 0, 0), np.uint8)

    def stop(self) -> None:
        self.calls.append("stop")

    def close(self) -> None:
        self.calls.append("close")


@pytest.mark.parametrize(("colour", "mode", "value"), [(False, "L", 77), (True, "RGB", (255, 0, 0))])
def test_picamera2_is_preferred_if_it_has_the_camera(
    colour: bool, mode: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("picamera2")
    monkeypatch.setitem(sys.modules, "picamera2", module)
    monkeypatch.setattr(module, "Picamera2", Picamera2, raising=False)
    opened = open_frames(0, colour)
    frame = next(iter(opened))
    assert (frame.picture.size, frame.picture.mode, frame.picture.getpixel((0, 0))) == (SIZE, mode, value)
    opened.close()
    assert isinstance(opened, Newest)
    source = opened._source
    assert isinstance(source, PicameraFrames)
    assert isinstance(source._camera, Picamera2)
    assert source._camera.calls == ["start", "stop", "close"]


def written(path: Path, **metadata: str) -> Path:
    """A video of 12 small frames, at 10 a second."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.metadata.update(metadata)
        for number in range(12):
            picture = np.full((48, 64, 3), 20 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.usefixtures("_library")
def test_a_title_that_is_no_utf_8_is_no_obstacle(tmp_path: Path) -> None:
    path = written(tmp_path / "title.mp4", title="Grosse Ziffern")
    content = path.read_bytes()
    assert content.count(b"Grosse") == 1
    path.write_bytes(content.replace(b"Grosse", b"Gr\xf6\xdfe "))
    assert len(list(video.open_file(path, colour=False))) == 12


@pytest.mark.usefixtures("_library")
def test_frames_without_a_time_follow_at_the_rate_of_the_file(tmp_path: Path) -> None:
    seconds = [frame.seconds for frame in video.open_file(written(tmp_path / "raw.m4v"), colour=False)]
    assert np.diff(seconds) == pytest.approx(np.full(11, seconds[1]), abs=1e-6)
    assert seconds[1] in (pytest.approx(1 / 10), pytest.approx(1 / 25))  # the format does not hold the rate


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".ts", ".mkv"])
def test_a_damaged_file_gives_frames_or_one_of_our_errors(suffix: str, tmp_path: Path) -> None:
    content = written(tmp_path / f"whole{suffix}").read_bytes()
    draw, path = np.random.default_rng(0), tmp_path / f"damaged{suffix}"
    for _ in range(40):
        damaged = bytearray(content)
        for at in draw.integers(0, len(content), 12):
            damaged[at] = draw.integers(256)
        path.write_bytes(damaged)
        try:
            frames = list(video.open_file(path, colour=False))
        except (ContentError, StageError):
            continue
        assert all(0 <= frame.seconds < 1e6 for frame in frames)
