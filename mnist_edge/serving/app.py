"""The HTTP application: which path is whose, and what happens around each request."""

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
# Answers that are compressed for a client that accepts it, and the level: the default one takes ten times as long.
COMPRESSED_BYTES, COMPRESSION_LEVEL = 1000, 2


def build(service: Service) -> ASGIApp:
    """The ASGI application of a service."""
    at = Routes(service)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        service.models.start()
        yield
        service.models.stop()

    def route(path: str, handler: Handler, method: str = "GET") -> Route:
        return Route(path, _around(service, path, handler), methods=[method])

    v2_model, tf = "/v2/models/{model}", "/v1/models/{model}"
    routes = [
        route(f"{v2_model}/infer", at.v2_infer, "POST"),
        route("/v1/digits", at.digits, "POST"),
        route("/", at.page),
        route("/openapi.json", at.openapi),
        route("/docs", at.docs),
        route("/metrics", at.prometheus),
        route("/v1/models", at.models),
        route("/v2", at.server),
        route("/v2/health/live", at.live),
        route("/v2/health/ready", at.ready),
        route("/v2/repository/index", at.repository_index, "POST"),
        route("/v2/models/stats", at.v2_statistics),
        route(f"{v2_model}/versions/{{version}}/infer", at.v2_infer, "POST"),
        *(
            item
            for base in (v2_model, f"{v2_model}/versions/{{version}}")
            for item in (
                route(base, at.v2_metadata),
                route(f"{base}/ready", at.v2_ready),
                route(f"{base}/config", at.v2_config),
                route(f"{base}/stats", at.v2_statistics),
            )
        ),
        *(
            item
            for base in (f"{tf}/versions/{{version}}", tf)
            for item in (
                route(f"{base}:predict", at.tf_predict, "POST"),
                route(f"{base}/metadata", at.tf_metadata),
                route(base, at.tf_status),
            )
        ),
    ]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _as_json})


def _around(service: Service, path: str, handler: Handler) -> Handler:
    """A route with its access rules, its errors as JSON, its metrics and its line in the log."""
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
        except asyncio.CancelledError:  # the grace is over
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
    """Compress the body of an answer, in a thread: it may have a megabyte."""
    answer.body = await asyncio.to_thread(gzip.compress, answer.body, COMPRESSION_LEVEL)
    answer.headers["content-encoding"] = "gzip"
    answer.headers["content-length"] = str(len(answer.body))
    answer.headers["vary"] = "accept-encoding"


async def _as_json(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    words = {404: "There is no such path.", 405: "This path takes another method."}
    return JSONResponse({"error": words.get(status, "The request cannot be answered.")}, status, headers)
