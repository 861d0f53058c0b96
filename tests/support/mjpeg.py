"""A server of MJPEG streams, as network cameras have, and of answers that are no stream."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BOUNDARY = "frame"


class _Handler(BaseHTTPRequestHandler):
    frames: Sequence[bytes] = ()
    pause = 0.0
    stop = threading.Event()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/page":
            self._answer(200, "text/html", b"<html>no video</html>")
        elif path == "/page-without-length":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>no video</html>")
        elif path == "/silent":
            self.stop.wait(10)
        elif path in ("/once", "/endless", "/stalls"):
            self._stream(path)
        else:
            self._answer(404, "text/plain", b"not here")

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, path: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        self.end_headers()
        with contextlib.suppress(OSError):  # the client has left
            for frame in itertools.cycle(self.frames) if path == "/endless" else self.frames:
                if self.stop.is_set():
                    return
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(frame)}\r\n\r\n"
                self.wfile.write(head.encode() + frame + b"\r\n")
                time.sleep(self.pause)
            if path == "/stalls":
                self.stop.wait(10)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@contextlib.contextmanager
def serving(frames: Sequence[bytes], pause: float) -> Iterator[str]:
    """Serve JPEG files as streams, with a pause after each frame; yield the address.

    ``/once`` ends after the last frame, ``/endless`` begins again, ``/stalls`` sends no more; ``/page`` and
    ``/page-without-length`` are HTML, and ``/silent`` never answers.
    """
    handler = type("Handler", (_Handler,), {"frames": frames, "pause": pause, "stop": threading.Event()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        handler.stop.set()
        server.shutdown()
        thread.join()
        server.server_close()
