"""``watch``: videos and streams from start to end, with real files, a real server and the shipped model."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import math
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks import watch as videos
from mnist_edge import cli as program
from mnist_edge import data
from mnist_edge.camera import unsure, video
from mnist_edge.camera.frames import Frame
from mnist_edge.errors import ContentError, MissingError, StageError
from mnist_edge.results import Announcement, Prediction
from mnist_edge.runtime.predict import predict_frame
from mnist_edge.store.workspace import SHIPPED
from mnist_edge.workflows import watch as workflow
from mnist_edge.workflows.watch import PageOptions, WatchOptions, WatchResult, watch
from tests.cli.test_exit_codes import INTERRUPTIBLE
from tests.conftest import Run, assert_two_lines, unavailable
from tests.support.mjpeg import serving

MODEL = str(SHIPPED / "cnn" / "cnn-int8.tflite")
KIND = videos.KINDS["on paper, uneven light"]
Frames = list[NDArray[np.uint8]]


@pytest.fixture(scope="module", autouse=True)
def _library() -> None:
    if importlib.util.find_spec("av") is None:
        unavailable("PyAV")


@pytest.fixture(scope="module")
def shown(mnist: data.Splits) -> list[videos.Shown]:
    return videos.planned(KIND, mnist.validation.labels[:3], np.random.default_rng(0))


@pytest.fixture(scope="module")
def frames(mnist: data.Splits, shown: list[videos.Shown]) -> Frames:
    """Three digits of the validation split that move over paper for 45 frames, then 25 frames of paper."""
    return list(videos.drawn(KIND, mnist.validation.images[:3, ..., 0], shown, np.random.default_rng(1)))


@pytest.fixture(scope="module")
def file(frames: Frames, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "digits.mp4"
    videos.encode(path, iter(frames), "mpeg4")
    return path


@pytest.fixture(scope="module")
def jpegs(frames: Frames) -> list[bytes]:
    return [jpeg(values) for values in frames]


def jpeg(values: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def run(source: str | Path, **options: object) -> tuple[WatchResult, list[Announcement]]:
    announced: list[Announcement] = []
    chosen = WatchOptions(source=str(source), model=MODEL, **options)  # type: ignore[arg-type]
    return watch(chosen, announced.append, lambda digits, rate: None), announced


def test_each_digit_of_a_file_is_announced_once_as_json_and_the_summary_comes_last(
    file: Path, frames: Frames, shown: list[videos.Shown], cli: Callable[..., Run]
) -> None:
    done = cli("watch", file, "--model", MODEL, "--json")
    assert done.code == 0, done.err
    assert done.err == ""
    *events, summary = map(json.loads, done.out.splitlines())
    keys = ["schema_version", "command", "event", "frame", "seconds", "label", "name", "confidence", "box"]
    assert [list(event) for event in events] == [keys] * 3
    assert sorted(event["label"] for event in events) == sorted(item.label for item in shown)
    for event in events:
        assert (event["schema_version"], event["command"], event["event"]) == (1, "watch", "digit")
        assert any(item.label == event["label"] and item.is_at(event["frame"], event["box"]) for item in shown)
        assert math.isfinite(event["confidence"]) and 0.9 <= event["confidence"] <= 1
        assert event["seconds"] == pytest.approx(event["frame"] / videos.RATE, abs=0.01)
    assert (summary["event"], summary["frames"], summary["dropped"], summary["damaged"]) == ("summary", 70, 0, 0)
    assert (summary["announced"], summary["live"], summary["interrupted"]) == (3, False, False)
    assert summary["frames_per_second"] > 0 and summary["seconds"] > 0
    assert "error" not in summary


def test_text_names_the_digit_its_confidence_and_its_box(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["watch", str(file), "--model", MODEL]) == 0
    *lines, summary, counts, model = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert line.count(" at ") == 1 and " s: " in line and "%" in line
    assert summary.startswith(f"{file}: 3 announced in ")
    assert counts.startswith("70 frames, 0 of them dropped; ")
    assert "cnn-int8.tflite" in model


def test_a_stream_is_live_and_ends_with_a_summary(jpegs: list[bytes], shown: list[videos.Shown]) -> None:
    with serving(jpegs, 0.04) as address:
        result, announced = run(f"{address}/once?quality=high")
    summary = result.summary
    assert result.error is None
    assert summary.live
    assert 60 <= summary.frames <= 70
    assert {item.label for item in announced} <= {item.label for item in shown}
    assert len(announced) == len({item.label for item in announced}) == summary.announced
    assert summary.dropped > 0 or len(announced) == 3


def test_an_interrupt_ends_a_stream_with_a_summary(jpegs: list[bytes]) -> None:
    with serving(jpegs, 0.03) as address:
        words = ["watch", f"{address}/endless", "--model", MODEL, "--json"]
        process = started(words)
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    summary = json.loads(out.splitlines()[-1])
    assert (first["event"], summary["event"], summary["interrupted"]) == ("digit", "summary", True)
    assert summary["announced"] >= 1


def test_a_stream_whose_reader_has_left_is_watched_no_longer(jpegs: list[bytes]) -> None:
    with serving(jpegs, 0.03) as address, started(["watch", f"{address}/endless", "--model", MODEL]) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=60) == 0


def started(words: Sequence[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", INTERRUPTIBLE, sys.executable, "-m", "mnist_edge", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_an_address_does_not_answer_exits_with_130(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(video, "TIMEOUT", 1.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def connected() -> None:
            with silent.accept()[0]:
                time.sleep(0.2)
                os.kill(os.getpid(), number)
                time.sleep(2)

        thread = threading.Thread(target=connected)
        thread.start()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/stream"
        assert program.main(["watch", address, "--model", MODEL, "--json"]) == 130
        thread.join()
    assert json.loads(capsys.readouterr().out)["error"]["code"] == 130


def test_an_interrupt_in_a_file_exits_with_130(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> list[Prediction]:
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, "predict_frame", interrupted)
    assert program.main(["watch", str(file), "--model", MODEL, "--json"]) == 130
    assert json.loads(capsys.readouterr().out)["error"]["code"] == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_file_after_the_frame_that_is_searched_with_the_summary_and_130(
    number: signal.Signals, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = 0

    def signalled(*words: Any) -> list[Prediction]:
        nonlocal calls
        calls += 1
        if calls == 6:  # the frame in which the three digits are announced
            os.kill(os.getpid(), number)
        return predict_frame(*words)

    before = signal.getsignal(number)
    monkeypatch.setattr(workflow, "predict_frame", signalled)
    assert program.main(["watch", str(file), "--model", MODEL, "--json"]) == 130
    printed = capsys.readouterr()
    assert printed.err.count("Interrupted.") == 1
    *digits, summary = map(json.loads, printed.out.splitlines())
    assert [item["event"] for item in digits] == ["digit"] * 3
    assert (summary["event"], summary["frames"], summary["announced"]) == ("summary", 6, 3)
    assert (summary["interrupted"], summary["error"]["code"]) == (True, 130)
    assert signal.getsignal(number) is before


def test_a_file_that_a_page_shows_is_watched_at_its_own_speed(file: Path) -> None:
    started: list[str] = []
    page = PageOptions(host="127.0.0.1", port=0, token=None, started=started.append)
    result, announced = run(file, page=page)
    assert started[0].startswith("http://127.0.0.1:")
    assert (result.summary.frames, len(announced)) == (70, 3)
    assert result.summary.seconds >= 69 / videos.RATE


def test_a_jump_in_the_times_of_a_file_is_waited_for_only_once_and_not_long(monkeypatch: pytest.MonkeyPatch) -> None:
    def jumping(source: str, colour: bool) -> Jumping:
        return Jumping()

    monkeypatch.setattr(workflow, "open_frames", jumping)
    monkeypatch.setattr(workflow, "LONGEST_WAIT", 0.5)
    page = PageOptions(host="127.0.0.1", port=0, token=None, started=lambda address: None)
    result, _ = run("any", page=page)
    assert result.summary.frames == 4
    assert 0.7 <= result.summary.seconds < 3


class Jumping:
    """Frames of a file whose clock jumps by a day after the second one."""

    live, dropped, damaged = False, 0, 0

    def __iter__(self) -> Iterator[Frame]:
        for number, seconds in enumerate([0.0, 0.1, 86400.0, 86400.1]):
            yield Frame(number, seconds, Image.new("L", (64, 48)))

    def close(self) -> None:
        """Close nothing."""


def test_a_token_without_the_page_is_refused_and_the_variable_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["watch", "--camera", "255", "--model", MODEL]
    assert program.main([*words, "--token", "secret-word"]) == 2
    assert "Add --serve" in capsys.readouterr().err
    monkeypatch.setenv("MNIST_EDGE_TOKEN", "secret-word")
    assert program.main(words) == 3


def test_without_the_extra_of_the_page_the_error_names_it_before_the_camera_is_opened(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("mnist_edge.serving.live", "uvicorn"):
        monkeypatch.setitem(sys.modules, name, None)
    assert program.main(["watch", "--camera", "255", "--serve", "--model", MODEL]) == 3
    assert "pip install 'mnist-edge[serve]'" in capsys.readouterr().err


def test_a_stream_that_stalls_is_an_error_next_to_the_counts(
    jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "TIMEOUT", 1.0)
    with serving(jpegs[:12], 0.01) as address:
        result, _ = run(f"{address}/stalls")
    assert isinstance(result.error, StageError)
    assert 1 <= result.summary.frames <= 12


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("page", ContentError),
        ("page-without-length", ContentError),
        ("missing", MissingError),
        ("silent", MissingError),
    ],
)
def test_an_address_without_a_stream_is_an_error_that_hides_the_password(
    path: str, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "TIMEOUT", 1.0)
    with serving([], 0) as address, pytest.raises(kind) as caught:
        run(f"{address}/{path}".replace("//", "//anna:secret@"))
    assert "secret" not in str(caught.value)
    assert f"/{path} " in str(caught.value)


def test_an_rtsp_camera_that_is_off_or_says_nothing_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "TIMEOUT", 1.0)
    with pytest.raises(MissingError, match="Connection refused"):
        run("rtsp://127.0.0.1:9/stream")
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(MissingError, match="no data in time") as caught,
    ):
        run(f"rtsp://anna:secret@127.0.0.1:{silent.getsockname()[1]}/stream")
    assert "secret" not in str(caught.value)


def test_a_camera_whose_certificate_is_not_known_or_that_ends_the_connection_cannot_be_reached(tmp_path: Path) -> None:
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=camera -keyout key.pem -out own.pem"
    subprocess.run(["openssl", *words.split()], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem", tmp_path / "key.pem")
    for scheme in ("https", "rtsps", "rtsp"):
        with socket.create_server(("127.0.0.1", 0)) as camera:
            thread = threading.Thread(target=ends_a_connection, args=(camera, None if scheme == "rtsp" else context))
            thread.start()
            with pytest.raises(MissingError, match="the connection") as caught:
                run(f"{scheme}://anna:secret@127.0.0.1:{camera.getsockname()[1]}/stream")
            thread.join()
        assert "secret" not in str(caught.value)
        assert ("SSL_CERT_FILE" in caught.value.remedy) == (scheme != "rtsp")


def ends_a_connection(listener: socket.socket, context: ssl.SSLContext | None) -> None:
    """Accept one connection, with TLS if there is a context, and close it after the first bytes."""
    connection, _ = listener.accept()
    with contextlib.suppress(OSError), contextlib.closing(connection):
        if context is not None:
            connection = context.wrap_socket(connection, server_side=True)
        connection.recv(1000)
        connection.close()


def test_an_address_that_nobody_serves_and_a_camera_that_is_not_there_exit_with_3(cli: Callable[..., Run]) -> None:
    run = cli("watch", "http://127.0.0.1:9/stream", "--model", MODEL)
    assert_two_lines(run, 3)
    run = cli("watch", "--camera", 255, "--model", MODEL, "--json")
    assert run.code == 3
    assert run.json["error"]["message"] == "There is no camera 255 (/dev/video255)."
    assert "--camera N" in run.json["error"]["remedy"]


def test_without_the_extra_the_error_names_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    for source in ([str(file)], ["--camera", "0"], ["http://127.0.0.1:9/"]):
        assert program.main(["watch", *source, "--model", MODEL]) == 3
        assert "pip install 'mnist-edge[camera]'" in capsys.readouterr().err


def test_a_file_that_is_no_video_exits_with_4_and_a_cut_one_is_watched_to_where_it_ends(
    file: Path, frames: Frames, tmp_path: Path
) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "cut.mp4").write_bytes(file.read_bytes()[:-2000])  # without the index at its end
    (tmp_path / "empty.avi").touch()
    for name in ("text.mp4", "cut.mp4", "empty.avi"):
        with pytest.raises(ContentError, match=name):
            run(tmp_path / name)
    videos.encode(tmp_path / "whole.avi", iter(frames[:10]), "mjpeg")
    content = (tmp_path / "whole.avi").read_bytes()
    (tmp_path / "half.avi").write_bytes(content[: len(content) // 2])
    result, _ = run(tmp_path / "half.avi")
    assert 2 <= result.summary.frames <= 6
    assert result.error is None


def test_unsure_figures_are_saved_only_if_asked_once_each_and_never_replace_a_file(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unsure, "MOST", 3)
    boxes = [(100 * at, 100, 40, 60) for at in range(1, 5)]
    figures = [Prediction("", confidence=0.4, box=box, reason="no digit is likely") for box in boxes]
    monkeypatch.setattr(workflow, "predict_frame", lambda *_: figures)
    run(file)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "unsure-0001.png").write_bytes(b"of an earlier run")
    result, announced = run(file, keep_unsure=tmp_path / "kept")
    assert announced == []
    assert (result.summary.kept, result.summary.not_kept) == (2, 2)
    names = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert names == ["unsure-0001.png", "unsure-0002.png", "unsure-0003.png"]
    assert (tmp_path / "kept" / "unsure-0001.png").read_bytes() == b"of an earlier run"
    with Image.open(tmp_path / "kept" / "unsure-0002.png") as picture:
        assert picture.size == (100, 120)  # 40 x 60 with half of 60 on each side


def test_a_folder_for_pictures_that_cannot_be_made_is_an_error_before_the_work(
    file: Path, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    (tmp_path / "file").touch()
    for folder in ("file", "no/where"):
        run = cli("watch", file, "--model", MODEL, "--keep-unsure", tmp_path / folder)
        assert_two_lines(run, 2)
