"""A server process: models, HTTP, and the supervisor's instructions."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import uvicorn

from mnist_edge.errors import MnistEdgeError
from mnist_edge.serving.accepting import Acceptor
from mnist_edge.serving.access import Access
from mnist_edge.serving.answers import HEADERS
from mnist_edge.serving.app import build
from mnist_edge.serving.connection import BoundedProtocol, Connections
from mnist_edge.serving.decoders import Decoders
from mnist_edge.serving.limits import Limits
from mnist_edge.serving.log import Log
from mnist_edge.serving.memory import give_back_memory
from mnist_edge.serving.metrics import Metrics
from mnist_edge.serving.models import Models, Source
from mnist_edge.serving.service import Service
from mnist_edge.serving.settings import Settings
from mnist_edge.serving.supervisor import Failure

KEEP_ALIVE_SECONDS = 30
# For how long a thread that loads a model may keep the event loop waiting, each time; Python's default is 5 ms.
SWITCH_SECONDS = 0.0005


def work(
    settings: Settings,
    source: Source,
    limits: Limits,
    access: Access,
    listener: socket.socket,
    number: int,
    control: socket.socket,
) -> None:
    """Serve until SIGTERM, or until the supervisor is gone. Says over ``control`` when the models are open."""
    sys.setswitchinterval(SWITCH_SECONDS)
    metrics = Metrics()
    log = Log(metrics)
    log.collect()
    note: Callable[[str], None] = log if number == 0 else lambda _: None
    try:
        models = Models(source, settings.threads, limits, metrics, note)
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
        models, limits, metrics, decoders, access, log, settings.threads,
        access_log=settings.access_log, secure=settings.certfile is not None, unsent_bytes=connections.unsent_bytes,
    )  # fmt: skip
    server = _Server(_config(settings, service), service, connections)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(control, lambda: _take_decoder(loop, control, decoders, server))
        if settings.grpc_port is not None:
            from mnist_edge.serving import grpc_server

            grpc = await grpc_server.start(service, settings, listener.getsockname()[0])
            server.others.append(lambda: grpc.stop(max(1.0, settings.grace_seconds - 1)))
        log.flush()
        gc.collect()
        gc.freeze()  # what is there now stays; looking through it again would hold up the event loop
        control.sendall(b"1")
        tidying = loop.create_task(give_back_memory(lambda: (service.budget.moved, models.loads)))
        await server.serve([listener])
        tidying.cancel()
        decoders.close()

    # uvicorn raises the signals again that it has handled, when it has stopped.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())
    log.flush()
    os._exit(0)  # a thread that is stuck in an engine would keep the interpreter from ending


class _Server(uvicorn.Server):
    """The uvicorn server, which accepts connections by `Acceptor` and is not ready as soon as it begins to stop."""

    def __init__(self, config: uvicorn.Config, service: Service, connections: Connections) -> None:
        super().__init__(config)
        self._service, self._connections = service, connections
        self.others: list[Callable[[], Awaitable[None]]] = []  # what else is to stop, within the same grace

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application and accept connections."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise SystemExit(1)
        config, state = self.config, self.server_state

        def make() -> BoundedProtocol:
            return BoundedProtocol(self._connections, config=config, server_state=state, app_state=self.lifespan.state)

        self.servers: Any = [Acceptor(item, make, self._connections, config.ssl) for item in sockets or []]
        self.started = True

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begin to stop."""
        self._service.stopping = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, when what was taken is answered or the grace is over."""
        await asyncio.gather(super().shutdown(sockets), *(stop() for stop in self.others))


def _config(settings: Settings, service: Service) -> uvicorn.Config:
    return uvicorn.Config(
        build(service), log_level="error", access_log=False, lifespan="on", server_header=False, headers=HEADERS,
        ws="none",
        timeout_graceful_shutdown=max(1, int(settings.grace_seconds) - 1), timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ssl_certfile=settings.certfile, ssl_keyfile=settings.keyfile, proxy_headers=False,
    )  # fmt: skip


def _take_decoder(
    loop: asyncio.AbstractEventLoop, control: socket.socket, decoders: Decoders, server: uvicorn.Server
) -> None:
    """Take a decoding process that the supervisor hands over; stop if the supervisor is gone."""
    content, descriptors, _, _ = socket.recv_fds(control, 4, 1)
    if not content:
        loop.remove_reader(control)
        server.should_exit = True
        return
    connection = socket.socket(fileno=descriptors[0])
    connection.setblocking(False)
    task = loop.create_task(decoders.add(connection, int.from_bytes(content, "little")))
    task.add_done_callback(lambda done: done.result())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the event loop: uvloop's, if it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.SelectorEventLoop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.Loop
    return factory
