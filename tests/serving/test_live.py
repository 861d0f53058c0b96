"""The page of ``watch --serve``, over real connections: the newest frame only, whatever other clients do."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mnist_edge.errors import StageError
from mnist_edge.results import Announcement, Prediction
from mnist_edge.serving import live
from mnist_edge.serving.live import LivePage

SEVEN = Prediction("", label=7, name="7", confidence=0.75, box=(10, 20, 30, 40))
# Noise, so that a frame is larger than what the system keeps for a client that does not read.
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (960, 1280), np.uint8))


@pytest.fixture
def page() -> Iterator[LivePage]:
    with contextlib.closing(LivePage("127.0.0.1", 0, None, "camera 0")) as made:
        yield made


def port(page: LivePage) -> int:
    return int(page._listener.getsockname()[1])


def ask(page: LivePage, path: str, **headers: str) -> tuple[int, Any, dict[str, str]]:
    """Status, body (parsed if it is JSON) and headers of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port(page), timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        is_json = body and answer.headers.get_content_type() == "application/json"
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, json.loads(body) if is_json else body, fields


def test_a_page_gets_the_newest_frame_with_its_digits_and_waits_for_the_next(page: LivePage) -> None:
    page.announce(Announcement(2, 0.1, 7, "7", 0.9, (10, 20, 30, 40)))
    for number in range(5):
        page.show(number, Image.new("L", (64, 48)), [SEVEN, Prediction("", reason="nothing was drawn")], 12.34)
    status, value, headers = ask(page, "/live?page=a")
    assert (status, value["frame"], value["width"], value["height"]) == (200, 4, 64, 48)
    assert value["digits"] == [{"label": 7, "name": "7", "confidence": 0.75, "box": [10, 20, 30, 40]}]
    assert [item["frame"] for item in value["announced"]] == [2]
    assert (value["source"], value["frames_per_second"], value["ended"]) == ("camera 0", 12.3, False)
    assert headers["cache-control"] == "no-store"
    timer = threading.Timer(0.3, lambda: page.show(9, Image.new("L", (8, 8)), [], 1.0))
    timer.start()
    begun = time.monotonic()
    assert ask(page, "/live?page=a&last=4")[1]["frame"] == 9
    assert 0.2 < time.monotonic() - begun < 2
    timer.join()


def test_a_video_that_ends_without_a_frame_is_gone(page: LivePage) -> None:
    threading.Timer(0.2, page.close).start()
    assert ask(page, "/live?page=a")[:2] == (410, {"error": "The video has ended without a frame."})


def test_a_server_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STARTING", 0.1)
    monkeypatch.setattr(LivePage, "_run", lambda _: None)
    with pytest.raises(StageError, match="does not start"):
        LivePage("127.0.0.1", 0, None, "camera 0")


def test_a_request_without_a_new_frame_ends_without_one_and_the_last_answer_is_marked_as_the_end(
    page: LivePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "WAIT_SECONDS", 0.2)
    assert ask(page, "/live?page=a")[:2] == (204, b"")
    page.show(3, Image.new("L", (8, 8)), [], 1.0)
    assert ask(page, "/live?page=a&last=3")[0] == 204
    monkeypatch.setattr(live, "WAIT_SECONDS", 5.0)
    threading.Timer(0.2, page.close).start()
    _, value, _ = ask(page, "/live?page=a&last=3")
    assert (value["frame"], value["ended"]) == (3, True)


def test_clients_that_do_not_read_delay_neither_the_watcher_nor_other_clients_and_are_released(
    page: LivePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = page._server._connections
    with contextlib.ExitStack() as stack:
        for number in range(6):
            lazy = stack.enter_context(socket.create_connection(("127.0.0.1", port(page))))
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.sendall(b"GET /live?page=lazy%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number * 10)
        longest, received = 0.0, []
        for number in range(20):
            begun = time.monotonic()
            page.show(number, PICTURE, [SEVEN], 1.0)
            longest = max(longest, time.monotonic() - begun)
            received.append(ask(page, f"/live?page=b&last={number - 1}")[1]["frame"])
        assert received == list(range(20))
        assert longest < 0.1
        assert connections._count >= 6
    end = time.monotonic() + 5
    while connections._count and time.monotonic() < end:
        time.sleep(0.02)
    assert connections._count == 0


def test_pages_are_bounded_and_a_page_that_was_closed_makes_room(
    page: LivePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.show(0, Image.new("L", (8, 8)), [], 1.0)
    for number in range(live.MOST_PAGES):
        assert ask(page, f"/live?page={number}")[0] == 200
    status, value, headers = ask(page, "/live?page=more")
    assert (status, headers["retry-after"]) == (503, "1")
    assert "Close one" in value["error"]
    assert ask(page, "/live?page=0")[0] == 200
    monkeypatch.setattr(live, "PAGE_SECONDS", 0.0)
    assert ask(page, "/live?page=more")[0] == 200


def test_another_sites_page_and_a_client_without_the_token_are_refused(page: LivePage) -> None:
    for path in ("/", "/live"):
        status, value, _ = ask(page, path, Host="evil.example")
        assert (status, value["error"].endswith("Open the page by its IP address.")) == (403, True)
    page.show(0, Image.new("L", (8, 8)), [], 1.0)
    own = f"http://127.0.0.1:{port(page)}"
    for fields in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
    ):
        for number in range(live.MOST_PAGES + 1):  # none takes a place
            assert ask(page, f"/live?page=evil{number}", **fields)[0] == 403
    assert ask(page, "/live?page=own", **{"Sec-Fetch-Site": "same-origin", "Origin": own})[0] == 200
    assert ask(page, "/live?page=typed", **{"Sec-Fetch-Site": "none"})[0] == 200
    assert ask(page, "/", **{"Sec-Fetch-Site": "cross-site"})[0] == 200  # a link to the page
    assert ask(page, "/other")[0] == 404
    with contextlib.closing(LivePage("0.0.0.0", 0, "secret-word", "camera 0")) as open_page:
        open_page.show(0, Image.new("L", (8, 8)), [], 1.0)
        assert open_page.address.endswith("/?token=secret-word")
        assert [ask(open_page, path)[0] for path in ("/", "/live", "/live?token=secret-word")] == [401] * 3
        assert ask(open_page, "/live", Authorization="Bearer secret-word")[0] == 200
        status, _, headers = ask(open_page, "/?token=secret-word")
        cookie = headers["set-cookie"].partition(";")[0]
        assert (status, cookie) == (303, f"{live.COOKIE}=secret-word")
        assert ask(open_page, "/live", Cookie=cookie)[0] == 200
        assert "frame-ancestors 'none'" in ask(open_page, "/", Cookie=cookie)[2]["content-security-policy"]
    with contextlib.closing(LivePage("0.0.0.0", 0, None, "camera 0")) as made:
        assert len(made.address.partition("?token=")[2]) >= 24


def test_a_port_in_use_is_an_error_and_the_thread_and_its_files_are_given_back() -> None:
    files = len(list(Path("/proc/self/fd").iterdir()))
    with (
        contextlib.closing(LivePage("127.0.0.1", 0, None, "camera 0")) as first,
        pytest.raises(StageError, match="use"),
    ):
        LivePage("127.0.0.1", port(first), None, "camera 0")
    assert "live page" not in {thread.name for thread in threading.enumerate()}
    assert len(list(Path("/proc/self/fd").iterdir())) == files
