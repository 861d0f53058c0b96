"""Bare Starlette on uvicorn, httptools and uvloop: V2 JSON and binary without checks, pictures by a plain resize."""

from __future__ import annotations

import json
import sys

import numpy as np
import uvicorn
from classifier import Classifier, answer, resized, tensor
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

classify = Classifier(sys.argv[2])
LENGTH = "inference-header-content-length"


async def infer(request: Request) -> Response:
    """Answer a V2 request in JSON or with binary data."""
    body = await request.body()
    length = request.headers.get(LENGTH)
    if length is None:
        return JSONResponse(answer(classify(tensor(json.loads(body)["inputs"][0]))))
    item = json.loads(body[: int(length)])["inputs"][0]
    values = classify(np.frombuffer(body, np.uint8, offset=int(length)).reshape(item["shape"]))
    output = {"name": "probabilities", "datatype": "FP32", "shape": list(values.shape)}
    output["parameters"] = {"binary_data_size": values.nbytes}
    text = json.dumps({"model_name": "cnn", "outputs": [output]}).encode()
    headers = {LENGTH: str(len(text)), "content-type": "application/octet-stream"}
    return Response(text + values.tobytes(), headers=headers)


async def digits(request: Request) -> Response:
    """Classify a picture file."""
    values = classify(resized(await request.body()))
    return JSONResponse({"predictions": [{"label": int(values[0].argmax()), "probabilities": values[0].tolist()}]})


routes = [Route("/v2/models/cnn/infer", infer, methods=["POST"]), Route("/v1/digits", digits, methods=["POST"])]
uvicorn.run(Starlette(routes=routes), port=int(sys.argv[1]), log_level="warning", http="httptools", loop="uvloop")
