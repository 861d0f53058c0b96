"""``serve``: the HTTP and gRPC service."""

from __future__ import annotations

from dataclasses import dataclass

from mnist_edge.serving import run
from mnist_edge.serving.settings import Settings

__all__ = ["ServeResult", "Settings", "serve"]


@dataclass(frozen=True)
class ServeResult:
    """The address that was served until the service was stopped."""

    host: str
    port: int


def serve(options: Settings) -> ServeResult:
    """Serve until SIGTERM or Ctrl-C, and answer the requests that were accepted by then.

    Raises:
        MnistEdgeError: what `mnist_edge.serving.run.serve` raises.
    """
    run.serve(options)
    return ServeResult(options.host, options.port)
