"""A server process: it opens the models, serves HTTP and gRPC, and takes decoding processes from the supervisor."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import uvicorn

from mnist_edge.errors import MnistEdgeError
from mnist_edge.serving.access import Access
from mnist_edge.serving.app import build
from mnist_edge.serving.connection import Connections
from mnist_edge.serving.decoders import Decoders
from mnist_edge.serving.limits import Limits
from mnist_edge.serving.log import Log
from mnist_edge.serving.memory import release_freed_memory
from mnist_edge.serving.metrics import Metrics
from mnist_edge.serving.models import Models, Source
from mnist_edge.serving.server import BoundedServer, config_of, loop_factory
from mnist_edge.serving.service import Service
from mnist_edge.serving.settings import Settings
from mnist_edge.serving.supervisor import Failure

# How long Python lets another thread run, such as one that loads a model, before the event loop continues (5 ms by
# default).
SWITCH_SECONDS = 0.0005


@dataclass(frozen=True)
class Options:
    """Options that all server processes share.

    Attributes:
        settings: the settings of the service.
        source: the models to serve.
        limits: the limits of one server process.
        access: the access rules.
        listener: the socket from which HTTP connections are accepted.
    """

    settings: Settings
    source: Source
    limits: Limits
    access: Access
    listener: socket.socket


def serve(options: Options, number: int, control: socket.socket) -> None:
    """Serve until SIGTERM, or until the supervisor has ended; the main function of a server process.

    Args:
        options: the options that all server processes share.
        number: the number of this server process; number 0 writes to the log which models are served.
        control: the socket to the supervisor: one byte is sent when the models are open, or a `Failure`; decoding
            processes are received.
    """
    settings, limits = options.settings, options.limits
    sys.setswitchinterval(SWITCH_SECONDS)
    metrics = Metrics()
    log = Log(metrics)
    log.collect()
    note: Callable[[str], None] = log if number == 0 else lambda _: None
    try:
        models = Models(options.source, settings.threads, limits, metrics, note)
    except MnistEdgeError as error:
        control.sendall(msgspec.msgpack.encode(Failure(error.kind, error.cause, error.remedy)))
        return
    except Exception as error:
        cause = f"This is a bug of mnist-edge: {type(error).__name__}: {error}"
        control.sendall(msgspec.msgpack.encode(Failure("stage", cause[:1000], "Please report it.")))
        return
    for loaded in models.all():
        note(f"{loaded.name}: {loaded.path}, {loaded.engine}")
    connections = Connections(limits, metrics.connections.set)
    decoders = Decoders(limits, metrics.restarts.inc)
    service = Service(
        models, limits, metrics, decoders, options.access, log, settings.threads,
        access_log=settings.access_log, secure=settings.certfile is not None, unsent_bytes=connections.unsent_bytes,
    )  # fmt: skip
    server = _Server(_config(settings, service), service, connections)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(control, lambda: _take_decoder(loop, control, decoders, server))
        if settings.grpc_port is not None:
            from mnist_edge.serving import grpc_server

            grpc = await grpc_server.start(service, settings, options.listener.getsockname()[0])
            server.also_stop.append(lambda: grpc.stop(max(1.0, settings.grace_seconds - 1)))
        log.flush()
        gc.collect()
        gc.freeze()  # excludes the objects made so far, which are never freed, from collections on the event loop
        control.sendall(b"1")
        memory_task = loop.create_task(release_freed_memory(lambda: (service.budget.moved, models.loads)))
        await server.serve([options.listener])
        memory_task.cancel()
        decoders.close()

    # After uvicorn has stopped, it raises the signals again that it handled: they must not end this process then.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())
    log.flush()
    os._exit(0)  # a regular exit would wait for a thread that is stuck in an engine


class _Server(BoundedServer):
    """The server, changed to report not ready once it is stopping, and to stop gRPC together with HTTP."""

    def __init__(self, config: uvicorn.Config, service: Service, connections: Connections) -> None:
        super().__init__(config, connections)
        self._service = service
        self.also_stop: list[Callable[[], Awaitable[None]]] = []  # called when this server stops; all run together

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begin to stop, on a signal."""
        self._service.stopping = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop once the accepted requests are finished or the grace period has ended."""
        await asyncio.gather(super().shutdown(sockets), *(stop() for stop in self.also_stop))


def _config(settings: Settings, service: Service) -> uvicorn.Config:
    return config_of(
        build(service), max(1, int(settings.grace_seconds) - 1), certfile=settings.certfile, keyfile=settings.keyfile
    )


def _take_decoder(
    loop: asyncio.AbstractEventLoop, control: socket.socket, decoders: Decoders, server: uvicorn.Server
) -> None:
    """Receive a decoding process from the supervisor; stop serving if the supervisor has ended."""
    content, descriptors, _, _ = socket.recv_fds(control, 4, 1)
    if not content:
        loop.remove_reader(control)
        server.should_exit = True
        return
    connection = socket.socket(fileno=descriptors[0])
    connection.setblocking(False)
    task = loop.create_task(decoders.add(connection, int.from_bytes(content, "little")))
    task.add_done_callback(lambda done: done.result())
