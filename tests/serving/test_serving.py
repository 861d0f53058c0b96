"""The running service: answers to unmodified clients, JSON errors for malformed requests, and the page in a browser."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import gzip
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from PIL import Image, ImageDraw
from tritonclient.utils import InferenceServerException

from mnist_edge import data
from mnist_edge.runtime import open_session
from mnist_edge.store.manifest import Manifest
from mnist_edge.store.workspace import SHIPPED
from tests.conftest import Run, assert_two_lines
from tests.support.browser import assert_accessible, browser, draw_line, requests_of
from tests.support.serving_process import Server, png, running

pytestmark = pytest.mark.slow
N = 100


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(folder=tmp_path_factory.mktemp("none")) as made:
        yield made


@pytest.fixture(scope="module")
def test(mnist: data.Splits) -> data.Split:
    return mnist.test


def alive(server: Server) -> bool:
    return httpx.get(f"{server.url}v2/health/ready").json() == {"ready": True}


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
def test_triton_s_client_gets_the_answers_of_the_session(
    server: Server, test: data.Split, binary: bool, packed: str | None
) -> None:
    expected = open_session(SHIPPED / "cnn" / "cnn-int8.tflite").predict(test.images[:N])
    with contextlib.closing(triton.InferenceServerClient(server.host)) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("cnn")
        assert client.get_model_metadata("cnn")["inputs"][0]["shape"] == [-1, 28, 28, 1]
        for count in (1, N):
            tensor = triton.InferInput("image", [count, 28, 28, 1], "UINT8")
            tensor.set_data_from_numpy(test.images[:count], binary_data=binary)
            wanted = triton.InferRequestedOutput("probabilities", binary_data=binary)
            answer = client.infer(
                "cnn", [tensor], outputs=[wanted], request_id="some id",
                request_compression_algorithm=packed, response_compression_algorithm=packed,
            )  # fmt: skip
            assert answer.get_response()["id"] == "some id"
            assert np.abs(answer.as_numpy("probabilities") - expected[:count]).max() < 1e-6
        classes = triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=2)
        first = client.infer("cnn", [tensor], outputs=[classes]).as_numpy("probabilities")[0, 0]
        assert (first if isinstance(first, str) else first.decode()).endswith(":7:7")
        wrong = triton.InferInput("image", [1, 27, 28, 1], "UINT8")
        wrong.set_data_from_numpy(test.images[:1, 1:], binary_data=binary)
        for name, tensors, status in (("cnn", [wrong], "400"), ("none", [tensor], "404")):
            with pytest.raises(InferenceServerException) as caught:
                client.infer(name, tensors)
            assert caught.value.status() == status


def test_another_client_of_the_v2_protocol_gets_the_right_label(server: Server, test: data.Split) -> None:
    code = """
import sys, warnings
warnings.simplefilter("ignore")
from open_inference.openapi.client import InferenceRequest, OpenInferenceClient
from open_inference.openapi.types import RequestInput, TensorData
client = OpenInferenceClient(base_url=sys.argv[1].rstrip("/"))
client.check_server_readiness()
client.check_model_readiness("cnn")
pixels = [int(value) for value in sys.argv[2].split(",")]
tensor = RequestInput(name="image", shape=[1, 28, 28], datatype="UINT8", data=TensorData.parse_obj(pixels))
answer = client.model_infer("cnn", request=InferenceRequest(inputs=[tensor]))
row = list(answer.outputs[0].data.__root__)
print(row.index(max(row)))
"""
    pixels = ",".join(map(str, test.images[0].ravel().tolist()))
    done = subprocess.run([sys.executable, "-c", code, server.url, pixels], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "7"


def test_every_form_of_a_tensorflow_serving_request_gets_the_same_answers(server: Server, test: data.Split) -> None:
    model = f"{server.url}v1/models/dense"
    assert httpx.get(model).json()["model_version_status"][0]["state"] == "AVAILABLE"
    assert "serving_default" in httpx.get(f"{model}/metadata").json()["metadata"]["signature_def"]["signature_def"]
    images = test.images[:5]
    rows = httpx.post(f"{model}:predict", content=json.dumps({"instances": images.tolist()})).json()["predictions"]
    assert np.argmax(rows, axis=1).tolist() == test.labels[:5].tolist()
    columns = {"signature_name": "serving_default", "inputs": {"image": images[..., 0].tolist()}}
    assert httpx.post(f"{model}/versions/1:predict", json=columns).json()["outputs"] == rows
    named = {"instances": [{"image": image.tolist()} for image in images]}
    packed = gzip.compress(json.dumps(named).encode())
    answer = httpx.post(f"{model}:predict", content=packed, headers={"Content-Encoding": "gzip"})
    assert answer.json()["predictions"] == rows


def test_the_same_picture_has_the_same_label_everywhere(
    server: Server, test: data.Split, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    canvas = np.full((200, 160), 230, np.uint8)
    digit = Image.fromarray(test.images[18, ..., 0]).resize((112, 112))
    canvas[40:152, 20:132] -= (np.asarray(digit) * 0.7).astype(np.uint8)
    content = png(canvas)
    (tmp_path / "digit.png").write_bytes(content)
    by_command = cli("predict", tmp_path / "digit.png", "-o", tmp_path, "--json").json["predictions"][0]["label"]
    digits = f"{server.url}v1/digits"
    tensor = {"name": "picture", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(content).decode()]}
    by_v2 = httpx.post(f"{server.url}v2/models/cnn/infer", json={"inputs": [tensor]}).json()["outputs"][0]["data"]
    instance = {"instances": [{"b64": base64.b64encode(content).decode()}]}
    by_tf = httpx.post(f"{server.url}v1/models/cnn:predict", json=instance).json()["predictions"][0]
    labels = [
        by_command,
        httpx.post(digits, content=content).json()["predictions"][0]["label"],
        httpx.post(digits, files={"file": ("digit.png", content)}).json()["predictions"][0]["label"],
        int(np.argmax(by_v2)),
        int(np.argmax(by_tf)),
    ]
    assert labels == [3] * 5
    blank = httpx.post(digits, content=png(np.full((50, 50), 200, np.uint8)))
    assert blank.status_code == 200
    assert blank.json()["predictions"][0]["label"] is None
    assert blank.json()["predictions"][0]["reason"] == "blank"


def tensor(**changes: Any) -> dict[str, Any]:
    whole = {"name": "image", "shape": [1, 28, 28], "datatype": "UINT8", "data": [0] * 784}
    return {"inputs": [{**whole, **changes}]}


BAD = {
    "no JSON": ("v2/models/cnn/infer", b"{", 400, {}),
    "a list": ("v2/models/cnn/infer", b"[]", 400, {}),
    "deeply nested": ("v2/models/cnn/infer", b"[" * 100_000, 400, {}),
    "no input": ("v2/models/cnn/infer", b"{}", 400, {}),
    "another input": ("v2/models/cnn/infer", tensor(name="x"), 400, {}),
    "another dtype": ("v2/models/cnn/infer", tensor(datatype="FP8"), 400, {}),
    "bytes as an image": ("v2/models/cnn/infer", tensor(datatype="BYTES"), 400, {}),
    "another shape": ("v2/models/cnn/infer", tensor(shape=[1, 28, 27]), 400, {}),
    "a negative shape": ("v2/models/cnn/infer", tensor(shape=[-1, 28, 28]), 400, {}),
    "a huge shape": ("v2/models/cnn/infer", tensor(shape=[2**31, 2**31, 2**31]), 400, {}),
    "no shape": ("v2/models/cnn/infer", tensor(shape=[]), 400, {}),
    "ragged": ("v2/models/cnn/infer", tensor(data=[[1], [1, 2]]), 400, {}),
    "words as pixels": ("v2/models/cnn/infer", tensor(data=["a"] * 784), 400, {}),
    "huge numbers": ("v2/models/cnn/infer", tensor(data=[10**400] * 784), 400, {}),
    "a pixel of 300": ("v2/models/cnn/infer", tensor(data=[300] * 784), 400, {}),
    "fractional pixels": ("v2/models/cnn/infer", tensor(datatype="FP32", data=[0.5] * 784), 400, {}),
    "NaN": ("v2/models/cnn/infer", json.dumps(tensor(data=[float("nan")] * 784)).encode(), 400, {}),
    "a number as id": ("v2/models/cnn/infer", {**tensor(), "id": 7}, 400, {}),
    "another output": ("v2/models/cnn/infer", {**tensor(), "outputs": [{"name": "x"}]}, 400, {}),
    "negative classes": ("v2/models/cnn/infer", {**tensor(), "parameters": {"classification": -1}}, 400, {}),
    "too many images": ("v2/models/cnn/infer", tensor(shape=[2000, 28, 28], data=[0] * 2000 * 784), 400, {}),
    "a negative header": ("v2/models/cnn/infer", b"{}", 400, {"Inference-Header-Content-Length": "-1"}),
    "a long header": ("v2/models/cnn/infer", b"{}", 400, {"Inference-Header-Content-Length": "99"}),
    "a negative size": ("v2/models/cnn/infer", tensor(parameters={"binary_data_size": -1}), 400, {}),
    "a size beyond the data": ("v2/models/cnn/infer", tensor(parameters={"binary_data_size": 784}), 400, {}),
    "no model": ("v2/models/none/infer", tensor(), 404, {}),
    "another version": ("v2/models/cnn/versions/9/infer", tensor(), 404, {}),
    "no path": ("v2/nothing", b"", 404, {}),
    "another method": ("v2/health/live", b"", 405, {}),
    "no instances": ("v1/models/cnn:predict", {"instances": []}, 400, {}),
    "both instances and inputs": ("v1/models/cnn:predict", {"instances": [1], "inputs": [1]}, 400, {}),
    "another signature": ("v1/models/cnn:predict", {"instances": [1], "signature_name": "x"}, 400, {}),
    "no base64": ("v1/models/cnn:predict", {"instances": [{"b64": "%"}]}, 400, {}),
    "no picture": ("v1/digits", b"text", 400, {}),
    "an empty body": ("v1/digits", b"", 400, {}),
    "half a picture": ("v1/digits", png(np.zeros((50, 50), np.uint8))[:60], 400, {}),
    "an empty form": ("v1/digits", b"", 400, {"Content-Type": "multipart/form-data; boundary=x"}),
    "a form without a boundary": ("v1/digits", b"x", 400, {"Content-Type": "multipart/form-data"}),
    "no gzip": ("v1/digits", b"text", 400, {"Content-Encoding": "gzip"}),
    "half a gzip": ("v1/digits", gzip.compress(bytes(1000))[:-9], 400, {"Content-Encoding": "gzip"}),
    "another encoding": ("v1/digits", b"x", 415, {"Content-Encoding": "br"}),
    "a flag that is neither true nor false": ("v1/digits?multi=perhaps", b"x", 400, {}),
    "a large body": ("v1/digits", bytes(9 * 2**20), 413, {}),
    "a gzip bomb": ("v1/digits", gzip.compress(bytes(100 * 2**20)), 413, {"Content-Encoding": "gzip"}),
    "a pixel bomb": ("v1/digits", None, 413, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_request_gets_a_json_error_and_the_service_continues(server: Server, name: str) -> None:
    path, body, status, headers = BAD[name]
    if body is None:
        stream = io.BytesIO()
        Image.new("1", (20_000, 20_000)).save(stream, "PNG")
        body = stream.getvalue()
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = httpx.post(f"{server.url}{path}", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert alive(server)


def test_incomplete_and_slow_bodies_do_not_delay_other_requests(server: Server) -> None:
    host, port = server.host.split(":")
    head = b"POST /v1/digits HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
    slow = [socket.create_connection((host, int(port))) for _ in range(20)]
    for connection in slow:
        connection.sendall(head + b"some")
    begun = time.monotonic()
    assert alive(server)
    assert time.monotonic() - begun < 1
    slow.pop().close()
    slow[0].settimeout(20)
    assert b" 408 " in slow[0].recv(1000)
    for connection in slow:
        connection.close()
    assert alive(server)


def test_every_documented_path_responds_as_documented(server: Server, tmp_path: Path) -> None:
    """Schemathesis, which reads the OpenAPI document, finds no 5xx and no undocumented response."""
    program = Path(sys.executable).parent / "schemathesis"
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    words = ["run", f"{server.url}openapi.json", "--checks", checks, "--max-examples", "15", "--seed", "1",
             "--phases", "examples,coverage,fuzzing", "--generation-database", "none"]  # fmt: skip
    done = subprocess.run([program, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    assert alive(server)


def test_a_token_is_required_if_other_machines_can_connect(tmp_path: Path) -> None:
    with running("--host", "0.0.0.0", folder=tmp_path) as server:
        token = server.url.partition("?token=")[2]
        assert len(token) >= 20
        port = server.host.split(":")[1]
        base = f"http://127.0.0.1:{port}/"
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer " + "ä"}):
            encoded = {key: value.encode() for key, value in headers.items()}
            assert httpx.get(f"{base}v2", headers=encoded).status_code == 401
        assert httpx.get(base).status_code == 401
        assert httpx.get(f"{base}v2/health/ready").status_code == 200
        assert httpx.get(f"{base}v2", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        with httpx.Client(follow_redirects=True) as client:
            page = client.get(f"{base}?token={token}")
            assert page.status_code == 200
            assert token not in str(page.url)
            assert client.get(f"{base}v1/models").status_code == 200
    with running("--host", "0.0.0.0", "--no-auth", folder=tmp_path) as server:
        assert "?token" not in server.url
        assert httpx.get(f"http://127.0.0.1:{server.host.split(':')[1]}/v2").status_code == 200


def test_a_full_queue_refuses_requests_and_accepted_ones_are_answered(tmp_path: Path, test: data.Split) -> None:
    body = json.dumps({"instances": test.images[:1000].tolist()}).encode()
    with running("--threads", 1, "--queue", 1, "--timeout", 50, "--model", "cnn", folder=tmp_path) as server:

        def ask(_: int) -> httpx.Response:
            return httpx.post(f"{server.url}v1/models/cnn:predict", content=body, timeout=60)

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(ask, range(12)))
        assert {answer.status_code for answer in answers} == {200, 503}
        assert all(answer.headers["Retry-After"] for answer in answers if answer.status_code == 503)
        # Stopped while it works: the accepted request is answered.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            late = pool.submit(ask, 0)
            while "mnist_edge_queue 0.0" in httpx.get(f"{server.url}metrics").text:
                assert not late.done()
            server.process.send_signal(signal.SIGTERM)
            assert late.result().status_code == 200
        assert server.process.wait(30) == 0


def test_a_new_model_file_is_served_after_it_has_passed_its_checks(tmp_path: Path, test: data.Split) -> None:
    shutil.copytree(SHIPPED / "dense", tmp_path / "dense")
    folder = tmp_path / "dense"
    name = "dense-int8.tflite"
    with running("--model", "dense", folder=tmp_path) as server:

        def version() -> int:
            return int(httpx.get(f"{server.url}v1/models").json()["models"][0]["version"])

        def labels() -> list[int]:
            instances = {"instances": test.images[:20].tolist()}
            rows = httpx.post(f"{server.url}v1/models/dense:predict", json=instances).json()["predictions"]
            return np.argmax(rows, axis=1).tolist()

        before = labels()
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:-1000] + bytes(1000))  # its hash differs from the manifest's
        time.sleep(2.5)
        assert (version(), labels()) == (1, before)
        (folder / name).write_bytes(whole)
        # Another valid file: the manifest has its hash, and the self-test passes.
        manifest = Manifest.load(folder)
        facts = {key: value for key, value in manifest.files[name].items() if key not in ("sha256", "size_bytes")}
        manifest.commit({name: (whole + b"\0", facts)})
        for _ in range(60):
            if version() == 2:
                break
            time.sleep(0.1)
        assert (version(), labels()) == (2, before)


def test_an_address_in_use_and_an_unknown_model_are_errors_with_a_remedy(
    server: Server, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    run = cli("serve", "--port", server.host.split(":")[1], "-o", tmp_path)
    assert run.code == 5
    assert run.err.splitlines()[-1].startswith("  remedy: Choose another --port")
    assert_two_lines(cli("serve", "--model", "none", "--port", 0, "-o", tmp_path), 2)


def test_a_request_is_counted_in_the_metrics_and_written_to_the_log(tmp_path: Path) -> None:
    with running("--access-log", "--model", "cnn", folder=tmp_path) as server:
        httpx.post(f"{server.url}v1/digits", content=png(np.zeros((28, 28), np.uint8)))
        text = httpx.get(f"{server.url}metrics").text
        assert 'mnist_edge_requests_total{route="/v1/digits",status="200"} 1.0' in text
        assert "mnist_edge_request_seconds_bucket" in text
        server.process.terminate()
        assert server.process.stderr is not None
        logged = [json.loads(line) for line in server.process.stderr.read().splitlines() if line.startswith("{")]
    assert {"method": "POST", "path": "/v1/digits", "status": 200}.items() <= logged[-2].items()


SEVEN = [(0.25, 0.25), (0.45, 0.24), (0.7, 0.25), (0.62, 0.4), (0.52, 0.6), (0.45, 0.8)]


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, False), (1200, True), (390, True)])
def test_the_page_reads_a_drawn_seven_and_is_accessible(server: Server, tmp_path: Path, width: int, dark: bool) -> None:
    """A seven drawn with the mouse, or by touch at phone size, is read; all requests go to the service; axe finds no
    fault."""
    assert len(httpx.get(server.url).content) < 60_000
    with browser(tmp_path, width, dark) as driver:
        driver.get(server.url)
        draw_line(driver, SEVEN, touch=width < 500)
        for _ in range(100):
            if driver.execute_script("return document.getElementById('label').textContent") == "7":
                break
            time.sleep(0.05)
        assert driver.execute_script("return document.getElementById('label').textContent") == "7"
        assert "µs for this inference" in driver.execute_script("return document.getElementById('facts').textContent")
        assert driver.execute_script("return document.querySelector('#seen img').naturalWidth") == 28
        assert driver.execute_script("return scrollY") == 0
        assert all(url.startswith((server.url, "data:")) for url in requests_of(driver, server.url))
        assert_accessible(driver, width)
        if os.environ.get("SCREENSHOTS"):
            driver.save_screenshot(f"{os.environ['SCREENSHOTS']}/page-{width}-{'dark' if dark else 'light'}.png")
        driver.execute_script("document.getElementById('clear').click()")
        time.sleep(0.3)
        assert "Nothing drawn" in driver.execute_script("return document.getElementById('status').textContent")


def two_digits(folder: Path) -> Path:
    """A picture of a 1 and a 7, wider than high."""
    picture = Image.new("L", (400, 200), 255)
    pen = ImageDraw.Draw(picture)
    pen.line([(90, 40), (90, 160)], fill=0, width=14)
    pen.line([(240 + 120 * x, 160 * y + 20) for x, y in SEVEN], fill=0, width=14, joint="curve")
    path = folder / "two.png"
    picture.save(path)
    return path


def test_the_page_reads_several_digits_and_sends_them_again_when_the_model_changes(
    server: Server, tmp_path: Path
) -> None:
    def wait(expression: str, wanted: object) -> None:
        for _ in range(100):
            if driver.execute_script(f"return {expression}") == wanted:
                break
            time.sleep(0.05)
        assert driver.execute_script(f"return {expression}") == wanted

    with browser(tmp_path, 1200, False) as driver:
        driver.get(server.url)
        wait("document.querySelectorAll('#model option').length > 1", True)
        driver.find_element("id", "file").send_keys(str(two_digits(tmp_path)))
        wait("document.getElementById('label').textContent", "17")
        assert driver.execute_script("return document.querySelectorAll('#seen button').length") == 2
        boxes = driver.execute_script("return boxes")
        assert abs(boxes[0][0] - 83) < 8 and boxes[1][0] > 200
        if os.environ.get("SCREENSHOTS"):
            driver.save_screenshot(f"{os.environ['SCREENSHOTS']}/page-two.png")
        rows = "[...document.querySelectorAll('#bars li')]"
        likeliest = f"{rows}.find(row => parseFloat(row.lastChild.textContent) > 50).firstChild.textContent"
        assert driver.execute_script(f"return {likeliest}") == "1"
        driver.execute_script("document.querySelectorAll('#seen button')[1].click()")
        assert driver.execute_script(f"return {likeliest}") == "7"
        driver.execute_script("classes.dense = [...'abcdefghij']; $('model').value = 'dense'; $('model').onchange()")
        wait("document.getElementById('facts').textContent.includes('model dense')", True)
        assert driver.execute_script("return document.querySelector('#bars li').firstChild.textContent") == "a"
