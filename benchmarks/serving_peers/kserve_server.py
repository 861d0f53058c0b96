"""KServe's ModelServer with a custom model."""

from __future__ import annotations

import sys

import numpy as np
from classifier import Classifier
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class Cnn(Model):
    """Custom model for KServe."""

    def __init__(self, path: str) -> None:
        super().__init__("cnn")
        self._classify = Classifier(path)
        self.ready = True

    def predict(
        self, payload: InferRequest, headers: dict[str, str] | None = None, response_headers: object = None
    ) -> InferResponse:
        """Answer a V2 request in JSON or with binary data."""
        values = self._classify(payload.inputs[0].as_numpy().astype(np.uint8, copy=False))
        output = InferOutput("probabilities", list(values.shape), "FP32")
        binary = any((wanted.parameters or {}).get("binary_data") for wanted in payload.request_outputs or [])
        output.set_data_from_numpy(values, binary_data=binary)
        return InferResponse(payload.id or "", "cnn", [output])


if __name__ == "__main__":
    server = ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, workers=1)
    server.start([Cnn(sys.argv[2])])
