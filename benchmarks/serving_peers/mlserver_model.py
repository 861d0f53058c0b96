"""MLServer's custom model; `mlserver start FOLDER` reads this module's name from the folder's model-settings.json."""

from __future__ import annotations

from classifier import Classifier
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Cnn(MLModel):
    """Custom model for MLServer."""

    async def load(self) -> bool:
        """Open the model's file."""
        self._classify = Classifier(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a V2 request in JSON."""
        images = NumpyCodec.decode_input(payload.inputs[0])
        values = self._classify(images)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("probabilities", values)])
