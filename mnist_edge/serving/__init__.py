"""The inference service of the command ``serve``, over HTTP and gRPC.

It implements the Open Inference Protocol V2, TensorFlow Serving's REST protocol, ``/v1/digits``, which reads pictures,
and a web page to draw on. A supervisor process (`supervisor`) runs server processes (`worker`), and for each of them
processes that decode pictures and large bodies (`decoding`).
"""
