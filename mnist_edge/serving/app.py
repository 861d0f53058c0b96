"""The HTTP application: its routes, and the access check, error handling, metrics and log of every request."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mnist_edge.serving.limits import RequestRefusedError, busy
from mnist_edge.serving.routes import Routes
from mnist_edge.serving.service import Service

Handler = Callable[[Request], Awaitable[Response]]
# Smallest response body that is compressed if the client accepts gzip, and the compression level: gzip's default level
# is ten times slower.
COMPRESSED_BYTES, COMPRESSION_LEVEL = 1000, 2


def build(service: Service) -> ASGIApp:
    """The ASGI application of a service."""
    handlers = Routes(service)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        service.models.start()
        yield
        service.models.stop()

    def route(path: str, handler: Handler, method: str = "GET") -> Route:
        return Route(path, _wrapped(service, path, handler), methods=[method])

    v2_model, tf = "/v2/models/{model}", "/v1/models/{model}"
    routes = [
        route(f"{v2_model}/infer", handlers.v2_infer, "POST"),
        route("/v1/digits", handlers.digits, "POST"),
        route("/", handlers.page),
        route("/openapi.json", handlers.openapi),
        route("/docs", handlers.docs),
        route("/metrics", handlers.prometheus),
        route("/v1/models", handlers.models),
        route("/v2", handlers.server),
        route("/v2/health/live", handlers.live),
        route("/v2/health/ready", handlers.ready),
        route("/v2/repository/index", handlers.repository_index, "POST"),
        route("/v2/models/stats", handlers.v2_statistics),
        route(f"{v2_model}/versions/{{version}}/infer", handlers.v2_infer, "POST"),
        *(
            item
            for base in (v2_model, f"{v2_model}/versions/{{version}}")
            for item in (
                route(base, handlers.v2_metadata),
                route(f"{base}/ready", handlers.v2_ready),
                route(f"{base}/config", handlers.v2_config),
                route(f"{base}/stats", handlers.v2_statistics),
            )
        ),
        *(
            item
            for base in (f"{tf}/versions/{{version}}", tf)
            for item in (
                route(f"{base}:predict", handlers.tf_predict, "POST"),
                route(f"{base}/metadata", handlers.tf_metadata),
                route(base, handlers.tf_status),
            )
        ),
    ]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _as_json})


def _wrapped(service: Service, path: str, handler: Handler) -> Handler:
    """A handler that first checks access, and then turns errors into JSON, counts the request and logs it."""
    metrics, limits = service.metrics, service.limits

    async def run(request: Request) -> Response:
        begun = time.perf_counter()
        try:
            service.access.check(request, path)
            answer = await handler(request)
            if len(answer.body) >= COMPRESSED_BYTES and _takes_gzip(request):
                await _compress(answer)
            if len(answer.body) > limits.small_body_bytes and service.unsent_bytes() > limits.all_body_bytes:
                raise busy("Too many answers wait for clients that do not read.")
        except RequestRefusedError as refused:
            answer = refused.response()
            if refused.status == 500:
                service.log(f"mnist-edge serve: {refused.message}")
        except asyncio.CancelledError:  # the grace period has ended
            answer = busy("The service is stopping.").response()
        except Exception as error:
            service.log(f"mnist-edge serve: {type(error).__name__}: {error}")
            answer = JSONResponse({"error": "This is a bug of mnist-edge; its log says more."}, 500)
        seconds = time.perf_counter() - begun
        requests, latency = metrics.of_route(path, answer.status_code)
        requests.inc()
        latency.observe(seconds)
        if service.access_log:
            client = request.client.host if request.client else None
            line = {"method": request.method, "path": request.url.path, "status": answer.status_code}
            service.log(json.dumps({**line, "ms": round(1e3 * seconds, 3), "client": client}))
        return answer

    return run


def _takes_gzip(request: Request) -> bool:
    accepted = request.headers.get("accept-encoding", "").replace(" ", "")
    return "gzip" in accepted and "gzip;q=0," not in f"{accepted},"


async def _compress(answer: Response) -> None:
    """Compress the body of a response; in a thread, because a body of a megabyte would block the event loop."""
    answer.body = await asyncio.to_thread(gzip.compress, answer.body, COMPRESSION_LEVEL)
    answer.headers["content-encoding"] = "gzip"
    answer.headers["content-length"] = str(len(answer.body))
    answer.headers["vary"] = "accept-encoding"


async def _as_json(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    words = {404: "There is no such path.", 405: "This path takes another method."}
    return JSONResponse({"error": words.get(status, "The request cannot be answered.")}, status, headers)
