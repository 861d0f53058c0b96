"""``mnist-edge serve`` in a process of its own, for tests."""

from __future__ import annotations

import contextlib
import io
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image


@dataclass(frozen=True)
class Server:
    """A running service and the lines that it printed until it listened."""

    process: subprocess.Popen[str]
    url: str
    lines: list[str]

    @property
    def host(self) -> str:
        return self.url.partition("://")[2].split("/")[0]

    @property
    def grpc(self) -> str:
        prefix = "serving gRPC at "
        return next(line.removeprefix(prefix).strip() for line in self.lines if line.startswith(prefix))


@contextlib.contextmanager
def running(*words: object, folder: Path) -> Iterator[Server]:
    """Start a service, wait until it answers requests, and end it after the block."""
    command = [sys.executable, "-m", "mnist_edge", "serve", "--port", "0", "-o", str(folder), *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("serving at "):
                break
        else:
            pytest.fail("".join(lines))
        url = lines[-1].removeprefix("serving at ").strip()
        try:
            for _ in range(100):
                with contextlib.suppress(httpx.TransportError):
                    httpx.get(f"{url.split('?')[0]}v2/health/live", verify=False)
                    break
                time.sleep(0.05)
            yield Server(process, url, lines)
        finally:
            process.terminate()
            process.wait(30)
            process.stderr.close()


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for ``localhost`` and 127.0.0.1, and its key."""

    certfile: Path
    keyfile: Path

    @property
    def context(self) -> ssl.SSLContext:
        """TLS context of a client that trusts the certificate."""
        return ssl.create_default_context(cafile=self.certfile)


def make_certificate(folder: Path) -> Certificate:
    """Make a self-signed certificate that is valid for two days."""
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(made.keyfile), "-out", str(made.certfile)]
    subprocess.run(["openssl", *words, *names, *files], check=True, capture_output=True)
    return made


def png(pixels: np.ndarray) -> bytes:
    """Pixels as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
