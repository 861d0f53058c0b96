"""JavaScript packages from npm, and a web server on this machine for pages that tests and benchmarks open."""

from __future__ import annotations

import contextlib
import http.server
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mnist_edge.data.fetch import NPM_TIMEOUT_S, cache_folder
from tests.conftest import unavailable

LITERT_JS = ("@litertjs/core@2.5.3", "@litertjs/wasm-utils@2.5.3")
# Names by which the modules of LiteRT.js import each other, and their paths below the packages' folder.
LITERT_JS_IMPORTS = {
    "@litertjs/core": "@litertjs/core/dist/index.js",
    "@litertjs/wasm-utils": "@litertjs/wasm-utils/dist/index.js",
}
TYPES = {".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}


def npm_packages(packages: Sequence[str]) -> Path:
    """Folder ``node_modules`` with packages of exactly these versions, installed into the user's cache once.

    Their install scripts are not run.
    """
    folder = cache_folder("npm") / "+".join(packages).replace("/", "-")
    if folder.is_dir():
        return folder / "node_modules"
    if shutil.which("npm") is None:
        unavailable("npm")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        done = subprocess.run(
            ["npm", "install", "--silent", "--ignore-scripts", "--no-audit", "--prefix", made, *packages],
            capture_output=True, check=False, timeout=NPM_TIMEOUT_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode:
            unavailable("npm's registry")
        with contextlib.suppress(OSError):  # another process was faster
            made.rename(folder)
    return folder / "node_modules"


@contextlib.contextmanager
def served(folders: Mapping[str, Path], pages: Mapping[str, bytes]) -> Iterator[str]:
    """Serve folders and pages to browsers on this machine; yields the address, which ends without a slash.

    Pages are isolated from other origins, with which Chromium's clock has a resolution of 5 instead of 100 us.

    Args:
        folders: by the first part of the path, such as ``npm``. pages: contents by path, such as ``/page.html``.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            first, _, rest = self.path.lstrip("/").partition("/")
            path = folders[first] / rest if first in folders and ".." not in rest else None
            content = path.read_bytes() if path is not None and path.is_file() else pages.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Type", TYPES.get(Path(self.path).suffix, "application/octet-stream"))
            self.send_header("Content-Length", str(len(content or b"")))
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
