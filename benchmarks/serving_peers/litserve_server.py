"""LitServe server with one worker process."""

from __future__ import annotations

import sys
from typing import Any

import litserve
from classifier import Classifier, answer, tensor


class Cnn(litserve.LitAPI):
    """Custom model for LitServe."""

    def setup(self, device: str) -> None:
        """Open the model's file."""
        self._classify = Classifier(sys.argv[2])

    def decode_request(self, request):  # type: ignore[no-untyped-def]
        """Read a V2 request in JSON. Not annotated: LitServe would take the annotation as the request's schema."""
        return tensor(request["inputs"][0])

    def predict(self, images: Any) -> Any:
        """Probabilities of a batch of images."""
        return self._classify(images)

    def encode_response(self, values):  # type: ignore[no-untyped-def]
        """V2 response in JSON."""
        return answer(values)


if __name__ == "__main__":
    api = Cnn(api_path="/v2/models/cnn/infer")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(port=int(sys.argv[1]), host="127.0.0.1", log_level="warning", generate_client_file=False)
