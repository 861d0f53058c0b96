"""The handlers of the HTTP routes."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from mnist_edge.results import SCHEMA_VERSION, Prediction
from mnist_edge.runtime.predict import grids_of, judge_found
from mnist_edge.serving import tfserving, triton, v2
from mnist_edge.serving.bodies import body_of
from mnist_edge.serving.decoding import Job, TfJob, V2Job
from mnist_edge.serving.limits import RequestRefusedError
from mnist_edge.serving.models import LoadedModel
from mnist_edge.serving.openapi import document
from mnist_edge.serving.pages import docs_page, html, page_of
from mnist_edge.serving.requests import ImageRequest
from mnist_edge.serving.service import Picture, Service, found_in
from mnist_edge.serving.small_png import png_of

_ENCODER = msgspec.json.Encoder()
# Reads the body of a request.
Read = Callable[[bytes], ImageRequest]


class Routes:
    """The HTTP handlers of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def live(self, _: Request) -> Response:
        """Report that the process is alive."""
        return JSONResponse({"live": True})

    async def ready(self, _: Request) -> Response:
        """Report whether requests should be sent here, and which models have a newest file that was not accepted."""
        reason, problems = self._service.why_not_ready(), self._service.models.problems
        answer = {"ready": reason is None, "reason": reason, "problems": dict(problems)}
        return JSONResponse({key: value for key, value in answer.items() if value not in (None, {})},
                            200 if reason is None else 503)  # fmt: skip

    async def server(self, _: Request) -> Response:
        """Return the server's metadata (Open Inference Protocol V2)."""
        return JSONResponse(v2.server())

    async def v2_metadata(self, request: Request) -> Response:
        """Return a model's metadata (V2)."""
        return JSONResponse(v2.metadata(self._model(request)))

    async def v2_ready(self, request: Request) -> Response:
        """Report that a model is served (V2)."""
        return JSONResponse({"name": self._model(request).name, "ready": True})

    async def v2_config(self, request: Request) -> Response:
        """Return a model's configuration (Triton's extension)."""
        return JSONResponse(triton.config(self._model(request)))

    async def v2_statistics(self, request: Request) -> Response:
        """Return statistics of one model or of all (Triton's extension)."""
        one = "model" in request.path_params
        models = [self._model(request)] if one else self._service.models.all()
        return JSONResponse(triton.statistics(models, self._service.metrics))

    async def repository_index(self, request: Request) -> Response:
        """Return the models and their states (Triton's extension)."""
        async with body_of(request, self._service.limits, self._service.budget):
            return JSONResponse(triton.repository_index(self._service.models))

    async def v2_infer(self, request: Request) -> Response:
        """Classify images (V2)."""
        loaded, header = self._model(request), request.headers.get(v2.HEADER)
        image_request, answers = await self._infer(
            request,
            loaded,
            lambda content: v2.read(content, header, loaded.grid),
            lambda content: V2Job(content, header, loaded.grid),
        )
        body, headers = v2.answer(image_request, loaded, answers)
        return Response(body, headers=headers)

    async def tf_status(self, request: Request) -> Response:
        """Return a model's status (TensorFlow Serving)."""
        return JSONResponse(tfserving.status(self._model(request)))

    async def tf_metadata(self, request: Request) -> Response:
        """Return a model's signature (TensorFlow Serving)."""
        return JSONResponse(tfserving.metadata(self._model(request)))

    async def tf_predict(self, request: Request) -> Response:
        """Classify images (TensorFlow Serving)."""
        loaded = self._model(request)
        image_request, answers = await self._infer(
            request,
            loaded,
            lambda content: tfserving.read(content, loaded.grid),
            lambda content: TfJob(content, loaded.grid),
        )
        return Response(tfserving.answer(image_request, answers), media_type="application/json")

    async def _infer(
        self, request: Request, loaded: LoadedModel, read: Read, job: Callable[[bytes], Job]
    ) -> tuple[ImageRequest, NDArray[np.float32]]:
        service, begun, failed = self._service, time.perf_counter_ns(), True
        try:
            async with body_of(request, service.limits, service.budget) as content, service.working():
                image_request = await service.read(content, lambda: read(content), lambda: job(content))
                answers = await service.classify(loaded, image_request, request.is_disconnected)
            failed = False
        finally:
            service.count(loaded, begun, failed)
        return image_request, answers

    async def digits(self, request: Request) -> Response:
        """Read the digits in a picture; return the JSON of the command ``predict``."""
        loaded = self._service.model(request.query_params.get("model"))
        multi, raw = (_flag(request, name) for name in ("multi", "raw"))
        kind = request.headers.get("content-type", "")
        form = kind if kind.startswith("multipart/form-data") else None
        service = self._service
        async with body_of(request, service.limits, service.budget) as content, service.working():
            begun = time.perf_counter()
            picture = Picture(content, "picture", form=form, multi=multi, raw=raw)
            pictures = await service.find(loaded, picture, request.is_disconnected)
            found = found_in(loaded, pictures)
            answers = np.empty((0, loaded.classes), np.float32)
            inference = None
            if found:
                before = time.perf_counter()
                answers = await service.predict(loaded, grids_of(found), request.is_disconnected)
                inference = round(1e6 * (time.perf_counter() - before), 1)
            seen = judge_found(loaded, "picture", found, answers, certain=raw or loaded.grid.preprocessor == "resize")
            predictions = [item.prediction for item in seen]
            if not found:
                predictions = [Prediction("picture", reason=pictures.reason)]
            answer = {
                "schema_version": SCHEMA_VERSION,
                "command": "predict",
                "predictions": predictions,
                "model": loaded.name,
                "engine": loaded.engine,
                "verified": loaded.verified,
                "calibrated": loaded.temperature is not None,
                "seen": [base64.b64encode(png_of(item.pixels)).decode() for item in found],
                "inference_us": inference,
                "total_us": round(1e6 * (time.perf_counter() - begun), 1),
            }
        return Response(_ENCODER.encode(answer), media_type="application/json")

    async def models(self, _: Request) -> Response:
        """Return the served models."""
        models = [
            {
                "name": item.name,
                "version": item.version,
                "engine": item.engine,
                "sha256": item.sha256,
                "classes": list(item.contract.class_names),
            }
            for item in self._service.models.all()
        ]
        return JSONResponse({"models": models})

    async def prometheus(self, _: Request) -> Response:
        """Return the metrics for Prometheus."""
        return PlainTextResponse(self._service.metrics.render(), media_type="text/plain; version=0.0.4")

    async def page(self, request: Request) -> Response:
        """Return the page to draw on; first move a token in the address to a cookie, by a redirection.

        Raises:
            RequestRefusedError: no model that is served reads digits.
        """
        if (moved := self._service.access.moved_to_cookie(request, self._service.secure)) is not None:
            return moved
        if not any(loaded.grid.preprocessor == "digit" for loaded in self._service.models.all()):
            raise RequestRefusedError(404, "No model that is served reads drawn digits. /docs describes the service.")
        return html(*page_of("page.html"))

    async def openapi(self, _: Request) -> Response:
        """Return the OpenAPI document."""
        return JSONResponse(document(self._service.limits))

    async def docs(self, _: Request) -> Response:
        """Return the OpenAPI document as a page."""
        return html(*docs_page(self._service.limits))

    def _model(self, request: Request) -> LoadedModel:
        return self._service.model(request.path_params["model"], request.path_params.get("version"))


def _flag(request: Request, name: str) -> bool:
    value = request.query_params.get(name, "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise RequestRefusedError(400, f"{name} is true or false.")
    return value in ("true", "1")
