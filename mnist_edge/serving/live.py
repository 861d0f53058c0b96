"""The page of ``watch --serve``: the newest frame of a video with the digits that were found in it.

A page asks for the newest frame, and asks again when it has received it. So frames are dropped and never queued, and a
slow client delays neither the watcher nor other clients. A frame is encoded once, and only if a page waits for it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mnist_edge.errors import StageError
from mnist_edge.results import Announcement, Prediction
from mnist_edge.serving.access import Access
from mnist_edge.serving.addresses import authority, listen, own_names, token_for
from mnist_edge.serving.connection import Connections
from mnist_edge.serving.limits import Limits, RequestRefusedError, busy
from mnist_edge.serving.pages import html, page_of
from mnist_edge.serving.server import BoundedServer, config_of, loop_factory
from mnist_edge.vision.pictures import ORIGINAL_SIZE

if TYPE_CHECKING:
    from PIL.Image import Image

# Pages that may show the video at the same time, and seconds after its last request that a page counts.
MOST_PAGES, PAGE_SECONDS = 8, 10.0
# Longest time that a request waits for the next frame. After it the page asks again.
WAIT_SECONDS = 5.0
# Announcements that a page shows, the newest first.
SHOWN = 12
JPEG_QUALITY = 80
# A page has one request at a time, and browsers open a few connections more.
LIMITS = Limits(connections=64, connections_per_address=48, refused=8)
# Name of the token's cookie: another than that of `serve`, which may run on another port of this host.
COOKIE = "mnist-edge-watch-token"
# Seconds for the server's thread to begin.
STARTING = 30.0
# Seconds for pages to receive the last answer when the video has ended, and for the server's thread to end.
GRACE, CLOSING = 1, 3.0

_ENCODER = msgspec.json.Encoder()


class LivePage:
    """Serves the page from a thread, until `close`. Its methods are called by one other thread, the watcher's.

    Attributes:
        address: the page's URL, with the token if clients need one.
    """

    def __init__(self, host: str, port: int, token: str | None, about: str) -> None:
        """Listen on a port and start the thread.

        Args:
            host, port: where to listen; port 0 for any free one.
            token: that clients must send; None to make one if other machines can connect.
            about: name of the video's source, which the page shows.

        Raises:
            UsageError: the token cannot be sent.
            StageError: the port is in use, the host is not an address of this machine, or the server does not start.
        """
        token = token_for(host, token)
        self._listener = listen(host, port)
        query = f"?token={quote(token, safe='')}" if token else ""
        self.address = f"http://{authority(host, self._listener.getsockname()[1])}/{query}"
        self._feed = _Feed(about)
        self._announced: deque[Announcement] = deque(maxlen=SHOWN)
        self._ready = threading.Event()
        access = Access(token, own_names(host), frozenset(), COOKIE, "Open the page by its IP address.")
        app = _application(self._feed, access)
        self._server = BoundedServer(config_of(app, GRACE), Connections(LIMITS, lambda _: None))
        self._thread = threading.Thread(target=self._run, name="live page", daemon=True)
        self._thread.start()
        if not self._ready.wait(STARTING):
            self._listener.close()
            raise StageError("The page's server does not start.", "Try again; the machine may be too busy.")

    def announce(self, digit: Announcement) -> None:
        """Show a digit in the list of those that were announced."""
        self._announced.appendleft(digit)

    def show(self, number: int, picture: Image, digits: Sequence[Prediction], rate: float) -> None:
        """Make a frame the newest one. This never waits for a client.

        Args:
            number: its place in the video. picture: the frame, which nobody may change from now on.
            digits: what was found in it. rate: frames searched per second.
        """
        self._feed.state = _State(number, picture, digits, rate, tuple(self._announced))
        self._wake()

    def close(self) -> None:
        """Tell the pages that the video has ended, and stop."""
        if self._feed.state is not None:
            self._feed.state = replace(self._feed.state, ended=True)
        self._feed.ended = True
        self._wake()
        self._server.should_exit = True
        self._thread.join(CLOSING)
        self._listener.close()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            self._loop = runner.get_loop()
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._ready.set()
        await self._server.serve([self._listener])

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._feed.changed)


@dataclass(frozen=True)
class _State:
    """What the pages show. It is replaced, never changed, because two threads use it."""

    number: int
    picture: Image
    digits: Sequence[Prediction]
    rate: float
    announced: tuple[Announcement, ...]
    ended: bool = False

    def is_known(self, last: str) -> bool:
        """Whether a page that has the frame of this number has nothing new to show."""
        return not self.ended and str(self.number) == last


class _Feed:
    """The newest state, and the pages that show it. The watcher sets ``state`` and ``ended``, the server the rest."""

    def __init__(self, about: str) -> None:
        self.about = about
        self.state: _State | None = None
        self.ended = False
        self._news = asyncio.Event()
        self._pages: dict[str, float] = {}
        self._encoded: tuple[_State, bytes] | None = None

    def changed(self) -> None:
        """Wake the requests that wait. Called in the event loop."""
        self._news.set()
        self._news = asyncio.Event()

    async def answer(self, page: str, last: str) -> Response:
        """The newest frame, once it is another than the last one that the page has received.

        Args:
            page: a word by which the page names itself. last: number of the frame that it has.

        Raises:
            RequestRefusedError: 503, because too many pages show the video; 410, because it ended without a frame.
        """
        self._admit(page)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                while not self.ended and (self.state is None or self.state.is_known(last)):
                    await self._news.wait()
        state = self.state
        if state is None and self.ended:
            raise RequestRefusedError(410, "The video has ended without a frame.")
        if state is None or state.is_known(last):
            return Response(status_code=204)
        if self._encoded is None or self._encoded[0] is not state:
            self._encoded = state, self._encode(state)
        return Response(self._encoded[1], media_type="application/json", headers={"Cache-Control": "no-store"})

    def _admit(self, page: str) -> None:
        now = time.monotonic()
        self._pages = {name: seen for name, seen in self._pages.items() if now - seen < PAGE_SECONDS}
        if page not in self._pages and len(self._pages) >= MOST_PAGES:
            raise busy(f"{MOST_PAGES} pages show this video already. Close one of them.")
        self._pages[page] = now

    def _encode(self, state: _State) -> bytes:
        stream = io.BytesIO()
        state.picture.save(stream, "JPEG", quality=JPEG_QUALITY)
        digits = [
            {"label": item.label, "name": item.name, "confidence": item.confidence, "box": item.box}
            for item in state.digits
            if item.box is not None
        ]
        width, height = state.picture.info.get(ORIGINAL_SIZE, state.picture.size)  # boxes are in these pixels
        answer = {
            "source": self.about, "frame": state.number, "frames_per_second": round(state.rate, 1),
            "width": width, "height": height, "digits": digits, "announced": state.announced,
            "ended": state.ended, "jpeg": base64.b64encode(stream.getvalue()).decode(),
        }  # fmt: skip
        return _ENCODER.encode(answer)


def _application(feed: _Feed, access: Access) -> Starlette:
    async def page(request: Request) -> Response:
        return access.moved_to_cookie(request, secure=False) or html(*page_of("live.html"))

    async def live(request: Request) -> Response:
        access.check_origin(request)  # the page of another site could take the places of all pages
        return await feed.answer(request.query_params.get("page", "")[:64], request.query_params.get("last", ""))

    def route(path: str, handler: Callable[[Request], Awaitable[Response]]) -> Route:
        async def run(request: Request) -> Response:
            try:
                access.check(request, path)
                return await handler(request)
            except RequestRefusedError as refused:
                return refused.response()

        return Route(path, run, methods=["GET"])

    async def as_json(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # Starlette calls it for no other
        message = "There is nothing here but the page / and its data /live."
        return JSONResponse({"error": message}, error.status_code)

    return Starlette(routes=[route("/", page), route("/live", live)], exception_handlers={HTTPException: as_json})
