"""The Open Inference Protocol over gRPC, and gRPC's health protocol.

All methods are registered as client-streaming, which makes no difference to unary clients: the library then reads a
message only when the method asks for it, so that a call can be refused before its message takes memory.
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
# Methods that need no token, because a load balancer has none.
_OPEN_METHODS = frozenset({f"/{INFERENCE}/ServerLive", f"/{INFERENCE}/ServerReady", f"/{HEALTH}/Check"})
# Maximum number of messages that are received at a time, because the library keeps the received part of each in memory;
# and maximum size of a message (gRPC's default).
RECEIVING, MESSAGE_BYTES = 8, 4 * MIB
# Keepalive: a client that has vanished is detected by a ping without a reply. Idle connections are closed. The largest
# age of a connection ends clients that never read their responses, for which the library has no time limit.
PING_SECONDS, PONG_SECONDS, IDLE_SECONDS, AGE_SECONDS = 30, 10, 300, 1800
# The gRPC status of each HTTP status that a refusal can have.
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT, 401: grpc.StatusCode.UNAUTHENTICATED, 403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND, 408: grpc.StatusCode.DEADLINE_EXCEEDED, 413: grpc.StatusCode.INVALID_ARGUMENT,
    415: grpc.StatusCode.INVALID_ARGUMENT, 499: grpc.StatusCode.CANCELLED, 503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}  # fmt: skip

Method = Callable[[Any], Awaitable[bytes]]


async def start(service: Service, settings: Settings, host: str) -> grpc.aio.Server:
    """Start listening at a numeric address. Call it in the serving process: gRPC does not work across a fork."""
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
        ("grpc.so_reuseport", 1),  # all server processes listen at the port that the supervisor has reserved
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.max_concurrent_streams", limits.connections),
        ("grpc.max_receive_message_length", min(limits.body_bytes, MESSAGE_BYTES)),
        # Limits what is buffered of a message before it is read; otherwise the library estimates it from the bandwidth.
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
        # Compressed messages are refused, because the library decompresses a message without a limit on its size.
        ("grpc.compression_enabled_algorithms_bitset", 1),
    ]


class Calls:
    """The gRPC methods of a service. Each reads the message of a call and returns the encoded response."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._receiving = asyncio.Semaphore(RECEIVING)
        # Separate, so that health checks, which need no token, cannot block the calls of clients that have one.
        self._receiving_checks = asyncio.Semaphore(RECEIVING)
        self._unsent_bytes = 0
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
        """The gRPC handlers of the service with this name."""
        methods = {
            method: grpc.stream_unary_rpc_method_handler(self._wrapped(f"/{name}/{method}", run))
            for method, run in self._methods[name].items()
        }
        return grpc.method_handlers_generic_handler(name, methods)

    # Methods

    async def server_live(self, _: Any) -> bytes:
        """Report that the process is alive."""
        return messages.encode("ServerLiveResponse", live=True)

    async def server_ready(self, _: Any) -> bytes:
        """Report whether requests should be sent here."""
        return messages.encode("ServerReadyResponse", ready=self._service.why_not_ready() is None)

    async def server_metadata(self, _: Any) -> bytes:
        """Return the server's metadata."""
        return messages.server()

    async def model_ready(self, context: Any) -> bytes:
        """Report whether a model is available."""
        async with self._message(context, self._receiving) as content:
            request = messages.parse("ModelReadyRequest", content)
        try:
            self._service.model(request.name, request.version)
        except RequestRefusedError:
            return messages.encode("ModelReadyResponse", ready=False)
        return messages.encode("ModelReadyResponse", ready=True)

    async def model_metadata(self, context: Any) -> bytes:
        """Return a model's metadata."""
        async with self._message(context, self._receiving) as content:
            request = messages.parse("ModelMetadataRequest", content)
        return messages.metadata(self._service.model(request.name, request.version))

    async def check(self, context: Any) -> bytes:
        """Report whether requests should be sent here, in gRPC's health protocol."""
        async with self._message(context, self._receiving_checks) as content:
            name = messages.parse("HealthCheckRequest", content).service
        if name not in ("", INFERENCE):
            raise RequestRefusedError(404, f"There is no service {name[:40]!r}.")
        ready = self._service.why_not_ready() is None
        return messages.encode("HealthCheckResponse", status=messages.SERVING if ready else messages.NOT_SERVING)

    async def model_infer(self, context: Any) -> bytes:
        """Classify the images of a request."""
        service = self._service
        async with self._message(context, self._receiving) as content, service.working():
            begun, failed = time.perf_counter_ns(), True
            grids = {loaded.name: loaded.grid for loaded in service.models.all()}
            request = await service.read(
                content, lambda: messages.read(content, grids), lambda: GrpcJob(content, grids)
            )
            loaded = service.model(request.model, request.version)
            try:
                if loaded.grid != grids[request.model]:
                    raise busy("The model has just been replaced by one that takes other images.")
                answers = await service.classify(loaded, request, _never_disconnected)
                failed = False
            finally:
                service.count(loaded, begun, failed)
        return messages.answer(request, loaded, answers)

    # Shared by the methods

    @contextlib.asynccontextmanager
    async def _message(self, context: Any, receiving: asyncio.Semaphore) -> AsyncIterator[bytes]:
        """The message of a call; its bytes stay reserved in the budget until the block ends.

        Args:
            context: the call.
            receiving: limits the messages that are received at a time.

        Raises:
            RequestRefusedError: 408 too slow, 400 no message, 503 the budget or ``receiving`` is used up.
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
        budget.reserve(reserved)
        try:
            yield content
        finally:
            budget.release(reserved)

    def _wrapped(self, path: str, method: Method) -> Callable[[Any, Any], Awaitable[bytes]]:
        """A method that first checks access, and then turns errors into statuses, counts the call and logs it."""
        service = self._service

        async def run(_: Any, context: Any) -> bytes:
            begun = time.perf_counter()
            code, message, answer = grpc.StatusCode.OK, "", b""
            try:
                service.access.check_call(dict(context.invocation_metadata() or ()), path not in _OPEN_METHODS)
                answer = await method(context)
                self._count_unsent(context, len(answer))
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

    def _count_unsent(self, context: Any, size: int) -> None:
        """Count a response of ``size`` bytes as unsent until the call has ended.

        Raises:
            RequestRefusedError: 503, too many bytes are unsent.
        """
        if size > self._service.limits.small_body_bytes and self._unsent_bytes > self._service.limits.all_body_bytes:
            raise busy("Too many answers wait for clients that do not read.")
        self._unsent_bytes += size

        def release(_: Any) -> None:
            self._unsent_bytes -= size

        context.add_done_callback(release)

    def _count(self, path: str, status: str, seconds: float, context: Any) -> None:
        requests, latency = self._service.metrics.of_route(path, status)
        requests.inc()
        latency.observe(seconds)
        if self._service.access_log:
            line = {"method": "gRPC", "path": path, "status": status, "ms": round(1e3 * seconds, 3)}
            self._service.log(json.dumps({**line, "client": context.peer()}))


async def _never_disconnected() -> bool:
    """False: if the client disconnects, the library cancels the method, so that there is nothing to ask for."""
    return False
