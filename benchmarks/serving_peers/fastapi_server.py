"""FastAPI with a pydantic request body."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from classifier import Classifier, answer, tensor
from fastapi import FastAPI
from pydantic import BaseModel


class Tensor(BaseModel):
    """A V2 tensor."""

    name: str
    shape: list[int]
    datatype: str
    data: list[int]


class InferRequest(BaseModel):
    """A V2 request."""

    inputs: list[Tensor]


app = FastAPI()
classify = Classifier(sys.argv[2])


@app.post("/v2/models/cnn/infer")
async def infer(request: InferRequest) -> dict[str, Any]:
    """Answer a V2 request in JSON."""
    return answer(classify(tensor(request.inputs[0].model_dump())))


uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", http="httptools", loop="uvloop")
