"""Live video in a real browser: the camera in the page of ``serve``, and the page of ``watch --serve``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mnist_edge import data
from mnist_edge.store.workspace import SHIPPED
from tests.support.browser import assert_accessible, browser, requests_of
from tests.support.digit_videos import camera_options, three_digits
from tests.support.mjpeg import serving as streaming
from tests.support.serving_process import Server, running

# Records what the page writes, and how many frames it sends at once.
RECORD = """
window.written = []; window.sent = window.most = window.open_now = 0;
const status = document.getElementById("status"), real = window.fetch;
new MutationObserver(() => written.push(status.textContent)).observe(status, {childList: true});
window.fetch = async (...words) => {
  sent += 1; open_now += 1; most = Math.max(most, open_now);
  try { return await real(...words); } finally { open_now -= 1; }
};
"""


@pytest.fixture(scope="module")
def video(mnist: data.Splits) -> tuple[list[int], list[bytes]]:
    return three_digits(mnist)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running("--model", "cnn", "--allow-host", "pi.example", folder=tmp_path_factory.mktemp("none")) as made:
        yield made


def wait(driver: Any, expression: str, seconds: float = 15) -> Any:
    """The value of an expression in the page, once it is true."""
    end = time.monotonic() + seconds
    while not (value := driver.execute_script(f"return {expression}")) and time.monotonic() < end:
        time.sleep(0.05)
    assert value, (expression, driver.execute_script("return [document.title, window.written]"))
    return value


def text(driver: Any, element: str) -> str:
    return str(driver.execute_script(f"return document.getElementById('{element}').textContent"))


def shoot(driver: Any, name: str) -> None:
    if os.environ.get("SCREENSHOTS"):
        driver.save_screenshot(f"{os.environ['SCREENSHOTS']}/{name}.png")


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_the_page_of_serve_announces_what_the_camera_shows_once_and_sends_one_frame_at_a_time(
    server: Server, video: tuple[list[int], list[bytes]], tmp_path: Path, width: int, dark: bool
) -> None:
    labels, frames = video
    still = [frames[20]] * 2  # Chromium repeats the file, and a digit that stays in view is announced once
    options = [*camera_options(tmp_path, still), "host-resolver-rules=MAP pi.example 127.0.0.1"]
    with browser(tmp_path, width, dark, *options) as driver:
        driver.get(f"http://pi.example:{server.host.rpartition(':')[2]}/")  # no https, and not this machine
        driver.execute_script("document.getElementById('live').click()")
        words = text(driver, "status")
        assert "only over https" in words and server.url.replace("127.0.0.1", "localhost") in words
        assert driver.execute_script("return live") is None
        driver.get(server.url)
        driver.execute_script(RECORD)
        driver.execute_script("document.getElementById('live').click()")
        wait(driver, "boxes.length === 3 && written.some(words => words.includes('%'))")
        wait(driver, "sent > 20")
        assert driver.execute_script("return most") == 1
        announced = [words for words in driver.execute_script("return written") if "%" in words]
        labels_shown = sorted(int(part[0]) for words in announced for part in words.split("; "))
        assert labels_shown == labels
        assert sorted(driver.execute_script("return document.getElementById('label').textContent")) == [
            *map(str, labels)
        ]
        assert "frames/s" in text(driver, "facts")
        assert_accessible(driver, width)
        shoot(driver, f"live-camera-{width}")
        driver.execute_script("window.track = live.stream.getVideoTracks()[0]")
        if width == 1200:
            driver.switch_to.new_window("tab")
            driver.switch_to.window(driver.window_handles[0])
            wait(driver, "written.at(-1).includes('page was hidden')")
        else:
            driver.execute_script("document.getElementById('live').click()")
            wait(driver, "written.at(-1) === 'The camera is off.'")
        assert driver.execute_script("return [live, track.readyState, boxes.length]") == [None, "ended", 0]
        count = driver.execute_script("return sent")
        time.sleep(0.5)
        assert driver.execute_script("return sent") <= count + 1


def test_the_page_of_watch_shows_the_video_and_the_command_goes_on_as_without_it(
    video: tuple[list[int], list[bytes]], tmp_path: Path
) -> None:
    labels, frames = video
    model = str(SHIPPED / "cnn" / "cnn-int8.tflite")
    with streaming(frames, 0.03) as address:
        words = ["watch", f"{address}/endless", "--model", model, "--json", "--serve", "--port", "0"]
        process = subprocess.Popen(
            [sys.executable, "-m", "mnist_edge", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        page = process.stderr.readline().split()[-1]
        with browser(tmp_path, 1200, False) as driver:
            driver.get(page)
            driver.execute_script(RECORD)
            wait(driver, "document.querySelectorAll('#announced li').length >= 3")
            names = "[...document.querySelectorAll('#announced b')].map(name => name.textContent)"
            assert set(driver.execute_script(f"return {names}")) == {*map(str, labels)}
            first = wait(driver, "last")
            wait(driver, f"last > {first} + 10")
            assert driver.execute_script("return most") == 1
            assert all(url.startswith((page, "data:")) for url in requests_of(driver, page))
            assert_accessible(driver, 1200)
            shoot(driver, "live-watch-1200")
            size = {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": True}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            scheme = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
            assert_accessible(driver, 390)
            shoot(driver, "live-watch-390")
            driver.execute_script("document.getElementById('pause').click()")
            time.sleep(0.3)
            count = driver.execute_script("return [sent, last]")
            time.sleep(0.3)
            assert driver.execute_script("return [sent, last]") == count
            driver.execute_script("document.getElementById('pause').click()")
            wait(driver, f"last > {count[1]}")
            process.send_signal(signal.SIGTERM)
            wait(driver, "written.some(words => words.includes('has ended'))")
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    *digits, summary = map(json.loads, out.splitlines())
    assert {item["event"] for item in digits} == {"digit"} and {item["label"] for item in digits} == set(labels)
    assert (summary["event"], summary["interrupted"], summary["live"]) == ("summary", True, True)
