"""The Open Inference Protocol over gRPC, and gRPC's health protocol.

All methods are registered as client-streaming, which unary clients cannot tell: the library then reads a message only
when the method asks for it, so that a call can be refused before its message takes memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from mnist_edge.serving import messages
from mnist_edge.serving.decoding import GrpcJob
from mnist_edge.serving.limits import MIB, Limits, RequestRefusedError, busy
from mnist_edge.serving.service import Service
from mnist_edge.serving.settings import Settings

INFERENCE, HEALTH = "inference.GRPCInferenceService", "grpc.health.v1.Health"
# Methods that answer without a token: a load balancer has none.
_OPEN = frozenset({f"/{INFERENCE}/ServerLive", f"/{INFERENCE}/ServerReady", f"/{HEALTH}/Check"})
# Messages that are received at a time, for the library holds what has come of each, and the largest: gRPC's default.
RECEIVING, MESSAGE_BYTES = 8, 4 * MIB
# A client that has vanished is found out, an idle connection is closed, and a client that keeps answers waiting for
# ever (the library has no limit of time for that) loses its connection in the end.
PING_SECONDS, PONG_SECONDS, IDLE_SECONDS, AGE_SECONDS = 30, 10, 300, 1800
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT, 401: grpc.StatusCode.UNAUTHENTICATED, 403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND, 408: grpc.StatusCode.DEADLINE_EXCEEDED, 413: grpc.StatusCode.INVALID_ARGUMENT,
    415: grpc.StatusCode.INVALID_ARGUMENT, 499: grpc.StatusCode.CANCELLED, 503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}  # fmt: skip

Method = Callable[[Any], Awaitable[bytes]]


async def start(service: Service, settings: Settings, host: str) -> grpc.aio.Server:
    """Listen at a numeric address. Must be called in the process that serves, after it has been forked."""
    calls = Calls(service)
    server = grpc.aio.server(options=_options(service.limits), maximum_concurrent_rpcs=service.limits.connections)
    address = f"[{host}]:{settings.grpc_port}" if ":" in host else f"{host}:{settings.grpc_port}"
    server.add_generic_rpc_handlers((calls.handlers(INFERENCE), calls.handlers(HEALTH)))
    if settings.certfile is None or settings.keyfile is None:
        server.add_insecure_port(address)
    else:
        pair = settings.keyfile.read_bytes(), settings.certfile.read_bytes()
        server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    await server.start()
    return server


def _options(limits: Limits) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 1),  # all server processes listen at the port; the supervisor has reserved it
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.max_concurrent_streams", limits.connections),
        ("grpc.max_receive_message_length", min(limits.body_bytes, MESSAGE_BYTES)),
        # A message that is not yet read may take so much, not what the library thinks the network carries.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", limits.small_body_bytes),
        ("grpc.max_metadata_size", limits.head_bytes),
        ("grpc.absolute_max_metadata_size", limits.head_bytes),
        ("grpc.server_handshake_timeout_ms", round(1000 * limits.head_seconds)),
        ("grpc.keepalive_time_ms", 1000 * PING_SECONDS),
        ("grpc.keepalive_timeout_ms", 1000 * PONG_SECONDS),
        ("grpc.max_connection_idle_ms", 1000 * IDLE_SECONDS),
        ("grpc.max_connection_age_ms", 1000 * AGE_SECONDS),
        ("grpc.max_connection_age_grace_ms", round(1000 * (limits.work_seconds + limits.write_seconds))),
        # The library unpacks a message without a limit on its size: only unpacked messages are taken.
        ("grpc.compression_enabled_algorithms_bitset", 1),
    ]


class Calls:
    """The methods of a service. Each reads the message of a call and returns the message to answer with."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._receiving = asyncio.Semaphore(RECEIVING)
        self._receiving_checks = asyncio.Semaphore(RECEIVING)  # needs no token: it must not hold up those that have one
        self._unsent = 0
        self._methods: dict[str, dict[str, Method]] = {
            INFERENCE: {
                "ServerLive": self.server_live,
                "ServerReady": self.server_ready,
                "ServerMetadata": self.server_metadata,
                "ModelReady": self.model_ready,
                "ModelMetadata": self.model_metadata,
                "ModelInfer": self.model_infer,
            },
            HEALTH: {"Check": self.check},
        }

    def handlers(self, name: str) -> Any:
        """What gRPC calls for a service of that name."""
        methods = {
            method: grpc.stream_unary_rpc_method_handler(self._around(f"/{name}/{method}", run))
            for method, run in self._methods[name].items()
        }
        return grpc.method_handlers_generic_handler(name, methods)

    # Methods

    async def server_live(self, _: Any) -> bytes:
        """Say that the process answers."""
        return messages.encode("ServerLiveResponse", live=True)

    async def server_ready(self, _: Any) -> bytes:
        """Say whether requests are welcome."""
        return messages.encode("ServerReadyResponse", ready=self._service.why_not_ready() is None)

    async def server_metadata(self, _: Any) -> bytes:
        """Server metadata."""
        return messages.server()

    async def model_ready(self, context: Any) -> bytes:
        """Say whether a model is there."""
        async with self._message(context, self._receiving) as content:
            asked = messages.parse("ModelReadyRequest", content)
        try:
            self._service.model(asked.name, asked.version)
        except RequestRefusedError:
            return messages.encode("ModelReadyResponse", ready=False)
        return messages.encode("ModelReadyResponse", ready=True)

    async def model_metadata(self, context: Any) -> bytes:
        """Model metadata."""
        async with self._message(context, self._receiving) as content:
            asked = messages.parse("ModelMetadataRequest", content)
        return messages.metadata(self._service.model(asked.name, asked.version))

    async def check(self, context: Any) -> bytes:
        """Answer as ServerReady, in the words of gRPC's health protocol."""
        async with self._message(context, self._receiving_checks) as content:
            name = messages.parse("HealthCheckRequest", content).service
        if name not in ("", INFERENCE):
            raise RequestRefusedError(404, f"There is no service {name[:40]!r}.")
        ready = self._service.why_not_ready() is None
        return messages.encode("HealthCheckResponse", status=messages.SERVING if ready else messages.NOT_SERVING)

    async def model_infer(self, context: Any) -> bytes:
        """Classify."""
        service = self._service
        async with self._message(context, self._receiving) as content, service.working():
            begun, failed = time.perf_counter_ns(), True
            grids = {loaded.name: loaded.grid for loaded in service.models.all()}
            asked = await service.read(content, lambda: messages.read(content, grids), lambda: GrpcJob(content, grids))
            loaded = service.model(asked.model, asked.version)
            try:
                if loaded.grid != grids[asked.model]:
                    raise busy("The model has just been replaced by one that takes other images.")
                answers = await service.classify(loaded, asked, _never)
                failed = False
            finally:
                service.count(loaded, begun, failed)
        return messages.answer(asked, loaded, answers)

    # Around the methods

    @contextlib.asynccontextmanager
    async def _message(self, context: Any, receiving: asyncio.Semaphore) -> AsyncIterator[bytes]:
        """The message of a call; its bytes are taken from the budget until the block ends.

        Raises:
            RequestRefusedError: 408 too slow, 400 there is none, 503 the budget or ``receiving`` is used up.
        """
        limits, budget = self._service.limits, self._service.budget
        if receiving.locked():
            raise busy("Too many messages are being received.")
        try:
            async with receiving, asyncio.timeout(limits.read_seconds):
                content = await context.read()
        except TimeoutError:
            raise RequestRefusedError(408, f"The message did not come within {limits.read_seconds:g} s.") from None
        if not isinstance(content, bytes):
            raise RequestRefusedError(400, "There is no message.")
        reserved = max(0, len(content) - limits.small_body_bytes)
        budget.take(reserved)
        try:
            yield content
        finally:
            budget.give_back(reserved)

    def _around(self, path: str, method: Method) -> Callable[[Any, Any], Awaitable[bytes]]:
        """A method with its access rules, its errors as statuses, its metrics and its line in the log."""
        service = self._service

        async def run(_: Any, context: Any) -> bytes:
            begun = time.perf_counter()
            code, message, answer = grpc.StatusCode.OK, "", b""
            try:
                service.access.check_call(dict(context.invocation_metadata() or ()), path not in _OPEN)
                answer = await method(context)
                self._hold(context, len(answer))
            except RequestRefusedError as refused:
                code, message = _CODES.get(refused.status, grpc.StatusCode.INTERNAL), refused.message
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                raise
            except Exception as error:
                service.log(f"mnist-edge serve: {type(error).__name__}: {error}")
                code, message = grpc.StatusCode.INTERNAL, "This is a bug of mnist-edge; its log says more."
            finally:
                self._count(path, code.name, time.perf_counter() - begun, context)
            if code is not grpc.StatusCode.OK:
                await context.abort(code, message)
            return answer

        return run

    def _hold(self, context: Any, size: int) -> None:
        """Count an answer as unsent until the call has ended.

        Raises:
            RequestRefusedError: 503, too many answers are unsent.
        """
        if size > self._service.limits.small_body_bytes and self._unsent > self._service.limits.all_body_bytes:
            raise busy("Too many answers wait for clients that do not read.")
        self._unsent += size

        def release(_: Any) -> None:
            self._unsent -= size

        context.add_done_callback(release)

    def _count(self, path: str, status: str, seconds: float, context: Any) -> None:
        requests, latency = self._service.metrics.of_route(path, status)
        requests.inc()
        latency.observe(seconds)
        if self._service.access_log:
            line = {"method": "gRPC", "path": path, "status": status, "ms": round(1e3 * seconds, 3)}
            self._service.log(json.dumps({**line, "client": context.peer()}))


async def _never() -> bool:
    """Whether the client has left: the library then cancels the method."""
    return False
