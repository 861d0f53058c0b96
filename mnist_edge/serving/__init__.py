"""The HTTP service: Open Inference Protocol V2, TensorFlow Serving's REST, ``/v1/digits`` for people, and a page."""
