"""The service put together: which path is whose, and what happens around each."""

from __future__ import annotations

import contextlib
import hmac
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mnist_edge.serving.http import Clock, RefusedError
from mnist_edge.serving.routes import COOKIE, Routes
from mnist_edge.serving.service import Service

# What answers without a token: a load balancer has none.
OPEN = ("/v2/health/live", "/v2/health/ready")
Handler = Callable[[Request], Awaitable[Response]]


def build(service: Service) -> ASGIApp:
    """The ASGI application."""
    at = Routes(service)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        service.models.start()
        yield
        service.stopping = True
        service.models.stop()
        service.workers.close()

    def route(path: str, handler: Handler, method: str = "GET") -> Route:
        return Route(path, _around(service, path, handler), methods=[method])

    tf = "/v1/models/{model}"
    routes = [
        route("/", at.page),
        route("/openapi.json", at.openapi),
        route("/docs", at.docs),
        route("/metrics", at.metrics),
        route("/v1/models", at.models),
        route("/v1/digits", at.digits, "POST"),
        route("/v2", at.server),
        route("/v2/health/live", at.live),
        route("/v2/health/ready", at.ready),
        *(
            item
            for base in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
            for item in (
                route(base, at.v2_metadata),
                route(f"{base}/ready", at.v2_ready),
                route(f"{base}/infer", at.v2_infer, "POST"),
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
    application = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _as_json})
    return GZipMiddleware(application, minimum_size=1000)


def _around(service: Service, path: str, handler: Handler) -> Handler:
    """A route with its token, its errors as JSON, its metrics and its line in the log."""

    async def run(request: Request) -> Response:
        clock = Clock()
        try:
            if service.token and path not in OPEN and not _allowed(request, service.token):
                raise RefusedError(401, "A token is wanted: Authorization: Bearer …", **{"WWW-Authenticate": "Bearer"})
            answer = await handler(request)
        except RefusedError as refused:
            answer = refused.response()
        except Exception as error:
            print(f"mnist-edge serve: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
            answer = JSONResponse({"error": "This is a bug of mnist-edge; its log says more."}, 500)
        seconds = clock() / 1e6
        service.metrics.requests.labels(path, str(answer.status_code)).inc()
        service.metrics.latency.labels(path).observe(seconds)
        if service.access_log:
            client = request.client.host if request.client else None
            line = {"method": request.method, "path": request.url.path, "status": answer.status_code}
            print(json.dumps({**line, "ms": round(1e3 * seconds, 3), "client": client}), file=sys.stderr)  # noqa: T201
        return answer

    return run


def _allowed(request: Request, token: str) -> bool:
    given = request.headers.get("authorization", "").removeprefix("Bearer ") or request.cookies.get(COOKIE, "")
    if request.url.path == "/":
        given = given or request.query_params.get("token", "")
    return hmac.compare_digest(given.encode(), token.encode())


async def _as_json(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    words = {404: "There is no such path.", 405: "This path takes another method."}
    return JSONResponse({"error": words.get(status, "The request cannot be answered.")}, status, headers)
