"""Well-behaved clients, which check the answers that they get."""

from __future__ import annotations

import http.client
import io
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mnist_edge.runtime.selftest import golden_path
from mnist_edge.store.workspace import SHIPPED
from tests.campaigns.attacks.wire import HOST, Deadline, is_typed

CLIENTS = 16
# Mean pause between two requests of a client.
PAUSE_SECONDS = 0.2
# Largest difference of a probability from the expected answer.
TOLERANCE = 0.02
TIMEOUT_SECONDS = 30.0
# Points of a stroke that draws each digit, as fractions of the drawing's side.
STROKES = {
    0: [(0.5, 0.2), (0.32, 0.35), (0.32, 0.65), (0.5, 0.8), (0.68, 0.65), (0.68, 0.35), (0.5, 0.2)],
    1: [(0.42, 0.3), (0.54, 0.2), (0.54, 0.8)],
    2: [(0.33, 0.33), (0.5, 0.2), (0.66, 0.35), (0.33, 0.78), (0.7, 0.78)],
    3: [(0.34, 0.25), (0.6, 0.22), (0.63, 0.4), (0.48, 0.48), (0.66, 0.6), (0.6, 0.78), (0.34, 0.76)],
    7: [(0.3, 0.22), (0.7, 0.22), (0.46, 0.8)],
}


@dataclass(frozen=True)
class Question:
    """A request of a well-behaved client; ``read`` turns a response into numbers, to compare with the expected ones."""

    kind: str
    path: str
    body: bytes
    headers: dict[str, str]
    read: Callable[[bytes, http.client.HTTPResponse], list[float]]


@dataclass
class ClientResults:
    """Results of the well-behaved clients.

    Attributes:
        counts: by kind of request, numbers of responses by status.
        lost: descriptions of requests with a wrong answer or with a status other than 200, 429 and 503.
        untyped: descriptions of 5xx responses without a JSON error.
        seconds: times of the requests with status 200.
    """

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    untyped: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def questions() -> list[Question]:
    """Requests with golden images as V2 JSON, V2 binary and TensorFlow Serving's JSON, and with drawings as PNG."""
    with np.load(golden_path(SHIPPED / "cnn" / "cnn-int8.tflite")) as golden:
        images = golden["images"][:8]
    found = []
    as_json = {"Content-Type": "application/json"}
    for image in images:
        tensor = {"name": "image", "shape": [1, 28, 28, 1], "datatype": "UINT8"}
        body = json.dumps({"inputs": [{**tensor, "data": image.ravel().tolist()}]}).encode()
        found.append(Question("V2 JSON", "/v2/models/cnn/infer", body, as_json, _read_v2))
        output = {"name": "probabilities", "parameters": {"binary_data": True}}
        sized = {**tensor, "parameters": {"binary_data_size": image.size}}
        header = json.dumps({"inputs": [sized], "outputs": [output]}).encode()
        length = {"Inference-Header-Content-Length": str(len(header)), "Content-Type": "application/octet-stream"}
        found.append(Question("V2 binary", "/v2/models/cnn/infer", header + image.tobytes(), length, _read_binary))
        rows = json.dumps({"instances": [image[..., 0].tolist()]}).encode()
        found.append(Question("TF predict", "/v1/models/cnn:predict", rows, as_json, _read_tf))
    for digit in STROKES:
        found.append(
            Question("drawing", "/v1/digits", drawing(digit, digit), {"Content-Type": "image/png"}, _read_digit)
        )
    return found


def drawing(digit: int, seed: int) -> bytes:
    """A drawing as the service's page sends it: a PNG of 280 x 280 pixels, with black strokes of 20 pixels on white."""
    draw = random.Random(seed)
    picture = Image.new("RGBA", (280, 280), "white")
    pen = ImageDraw.Draw(picture)
    shift = draw.uniform(-0.08, 0.08), draw.uniform(-0.08, 0.08)
    points = [(280 * (x + shift[0] + draw.uniform(-0.02, 0.02)), 280 * (y + shift[1] + draw.uniform(-0.02, 0.02)))
              for x, y in STROKES[digit]]  # fmt: skip
    pen.line(points, fill="black", width=20, joint="curve")
    for x, y in points:
        pen.ellipse((x - 10, y - 10, x + 10, y + 10), fill="black")
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def golden_labels() -> list[int]:
    """The model's labels of the golden images, in the order of `questions`."""
    with np.load(golden_path(SHIPPED / "cnn" / "cnn-int8.tflite")) as golden:
        labels: NDArray[np.int64] = golden["probabilities"][0][:8].argmax(axis=1)
    return [int(label) for label in labels]


def ask(connection: http.client.HTTPConnection, question: Question) -> tuple[int, bytes, list[float]]:
    """Send a request; return the response's status, its body, and its numbers if the status is 200."""
    connection.request("POST", question.path, question.body, question.headers)
    response = connection.getresponse()
    body = response.read()
    return response.status, body, question.read(body, response) if response.status == 200 else []


def run(port: int, over: Deadline, expected: list[list[float]]) -> ClientResults:
    """Run 16 clients, each with its own address and connection, until the deadline.

    Args:
        port: port of the service.
        over: the deadline.
        expected: the expected answers, in the order of `questions`.
    """
    asked = questions()
    seen = ClientResults({question.kind: Counter() for question in asked})

    def client(number: int) -> None:
        draw = random.Random(number)
        kind = list(seen.counts)[number % len(seen.counts)]
        mine = [(question, answer) for question, answer in zip(asked, expected, strict=True) if question.kind == kind]
        source = (f"127.0.1.{number + 1}", 0)
        connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_SECONDS, source_address=source)
        while not over():
            question, answer = draw.choice(mine)
            begun = time.monotonic()
            try:
                status, body, numbers = ask(connection, question)
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                status, body, numbers = 0, b"", []
                seen.counts[kind][type(error).__name__] += 1
                seen.lost.append(f"{kind}: {type(error).__name__}: {error}")
                connection.close()
            else:
                seen.counts[kind][str(status)] += 1
            if status == 200:
                seen.seconds.append(time.monotonic() - begun)
                if not np.allclose(numbers, answer, atol=TOLERANCE):
                    seen.lost.append(f"{kind}: wrong answer")
            elif status in (429, 503) and is_typed(body):
                time.sleep(draw.uniform(0.2, 1))
            elif status:
                seen.lost.append(f"{kind}: {status} {body[:100]!r}")
            if status >= 500 and not is_typed(body):
                seen.untyped.append(f"{status} {body[:100]!r}")
            time.sleep(draw.uniform(0.5, 1.5) * PAUSE_SECONDS)
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def _read_v2(body: bytes, _: http.client.HTTPResponse) -> list[float]:
    return [float(value) for value in json.loads(body)["outputs"][0]["data"]]


def _read_binary(body: bytes, response: http.client.HTTPResponse) -> list[float]:
    length = int(response.headers["Inference-Header-Content-Length"])
    return [float(value) for value in np.frombuffer(body[length:], "<f4")]


def _read_tf(body: bytes, _: http.client.HTTPResponse) -> list[float]:
    return [float(value) for value in json.loads(body)["predictions"][0]]


def _read_digit(body: bytes, _: http.client.HTTPResponse) -> list[float]:
    label = json.loads(body)["predictions"][0]["label"]
    return [float(label) if label is not None else -1.0]
