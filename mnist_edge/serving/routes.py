"""What each path answers."""

from __future__ import annotations

import base64
import io
import json
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response

from mnist_edge.results import SCHEMA_VERSION
from mnist_edge.runtime.predict import predict_picture
from mnist_edge.runtime.session import Session
from mnist_edge.serialize import to_json
from mnist_edge.serving import tfserving, v2
from mnist_edge.serving.http import Clock, Limits, RefusedError, parse_json, read_body
from mnist_edge.serving.openapi import as_page, document
from mnist_edge.serving.service import Service
from mnist_edge.serving.tensors import check_pixels

COOKIE = "mnist-edge-token"


class Routes:
    """The handlers of a service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def live(self, _: Request) -> Response:
        """The process is there."""
        return JSONResponse({"live": True})

    async def ready(self, _: Request) -> Response:
        """It takes requests."""
        return JSONResponse({"ready": not self._service.stopping}, 503 if self._service.stopping else 200)

    async def server(self, _: Request) -> Response:
        """Server metadata, V2."""
        return JSONResponse(v2.server())

    async def v2_metadata(self, request: Request) -> Response:
        """Model metadata, V2."""
        return JSONResponse(v2.metadata(self._service.model(request)))

    async def v2_ready(self, request: Request) -> Response:
        """A model is there, V2."""
        loaded = self._service.model(request)
        return JSONResponse({"name": loaded.name, "ready": True})

    async def v2_infer(self, request: Request) -> Response:
        """Classify, V2."""
        loaded = self._service.model(request)
        service = self._service
        content = await read_body(request, service.limits)
        header = request.headers.get(v2.HEADER)

        def work(session: Session) -> tuple[bytes, dict[str, str]]:
            asked, binary = v2.split(content, header)
            v2.check(asked)
            images = v2.read_images(asked, binary, session, service.limits)
            return v2.answer(asked, loaded, service.infer(loaded, session, images))

        body, headers = await service.work(loaded, work)
        return Response(body, headers=headers)

    async def tf_status(self, request: Request) -> Response:
        """Model status, TensorFlow Serving."""
        return JSONResponse(tfserving.status(self._service.model(request)))

    async def tf_metadata(self, request: Request) -> Response:
        """Model metadata, TensorFlow Serving."""
        return JSONResponse(tfserving.metadata(self._service.model(request)))

    async def tf_predict(self, request: Request) -> Response:
        """Classify, TensorFlow Serving."""
        loaded = self._service.model(request)
        service = self._service
        content = await read_body(request, service.limits)

        def work(session: Session) -> bytes:
            asked = parse_json(content)
            images = tfserving.read_images(asked, session, service.limits)
            return json.dumps(tfserving.answer(asked, service.infer(loaded, session, images))).encode()

        return Response(await service.work(loaded, work), media_type="application/json")

    async def digits(self, request: Request) -> Response:
        """A picture in, the JSON of ``predict`` out."""
        loaded = self._service.model(request)
        content = await _picture(request, self._service.limits)
        multi, raw = (_flag(request, name) for name in ("multi", "raw"))

        def work(session: Session) -> dict[str, Any]:
            inference: list[float] = []

            def predict(images: NDArray[np.uint8]) -> NDArray[np.float32]:
                inside = Clock()
                answers = session.predict(images)
                inference.append(self._service.observe(loaded, len(images), inside()))
                return answers

            check_pixels(content, self._service.limits)
            clock = Clock()
            seen = predict_picture(session, "picture", content, raw=raw, multi=multi, predict=predict)
            whole = clock()
            error = seen[0].prediction.error
            if error is not None and seen[0].pixels is None:  # there was no picture to see
                raise RefusedError(400, error)
            return {
                "schema_version": SCHEMA_VERSION,
                "command": "predict",
                "predictions": [to_json(item.prediction) for item in seen],
                "model": loaded.name,
                "engine": session.engine,
                "verified": session.verified,
                "calibrated": session.temperature is not None,
                "seen": [_png(item.pixels) for item in seen if item.pixels is not None],
                "inference_us": round(inference[0], 1) if inference else None,
                "total_us": round(whole, 1),
            }

        return JSONResponse(await self._service.work(loaded, work))

    async def models(self, _: Request) -> Response:
        """What is served."""
        known = [self._service.models.get(name) for name in self._service.models.names()]
        return JSONResponse(
            {
                "models": [
                    {"name": item.name, "version": item.version, "engine": item.first.engine, "sha256": item.sha256}
                    for item in known
                    if item is not None
                ]
            }
        )

    async def metrics(self, _: Request) -> Response:
        """For Prometheus."""
        return PlainTextResponse(self._service.metrics.render(), media_type="text/plain; version=0.0.4")

    async def page(self, request: Request) -> Response:
        """The page to draw on."""
        given = request.query_params.get("token")
        if self._service.token and given:
            # The token leaves the address bar, and the browser keeps it.
            answer: Response = RedirectResponse("/", 303)
            answer.set_cookie(COOKIE, given, httponly=True, samesite="strict")
            return answer
        return HTMLResponse(_page())

    async def openapi(self, _: Request) -> Response:
        """The service, described."""
        return JSONResponse(document(self._service.limits))

    async def docs(self, _: Request) -> Response:
        """The same for a person."""
        return HTMLResponse(as_page(document(self._service.limits)))


async def _picture(request: Request, limits: Limits) -> bytes:
    """The picture of a body or of a form's first file."""
    content = await read_body(request, limits)
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        return content
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import parse_form

    found: list[bytes] = []

    def take(file: Any) -> None:
        file.file_object.seek(0)
        found.append(file.file_object.read())

    try:
        parse_form({"Content-Type": kind.encode()}, io.BytesIO(content), lambda _: None, take)
    except (FormParserError, ValueError) as error:
        raise RefusedError(400, "The form is damaged.") from error
    if not found:
        raise RefusedError(400, "The form holds no file.")
    return found[0]


def _flag(request: Request, name: str) -> bool:
    value = request.query_params.get(name, "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise RefusedError(400, f"{name} is true or false.")
    return value in ("true", "1")


def _png(pixels: NDArray[np.uint8]) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def _page() -> str:
    return (files(__package__) / "page.html").read_text()
