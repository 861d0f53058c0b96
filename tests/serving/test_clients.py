"""Clients of the HTTP service: one generated from the OpenAPI document, and Triton's client for management calls."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.http as triton

from mnist_edge import data
from tests.conftest import unavailable
from tests.support.serving_process import Server, png, running

pytestmark = pytest.mark.slow
# Settings of the generator: it knows no picture types, and needs to run no formatter.
GENERATOR = """
content_type_overrides: {image/png: application/octet-stream, image/jpeg: application/octet-stream}
post_hooks: []
"""
PROGRAM = """
import io, json, sys
from made.api.default import infer, list_models, model_metadata, read_digits, server_ready
from made.client import Client
from made.models import InferenceRequest
from made.types import File
url, given = sys.argv[1], json.load(sys.stdin)
with Client(base_url=url) as client:
    ready = server_ready.sync(client=client).ready
    models = [item.name for item in list_models.sync(client=client).models]
    inputs = model_metadata.sync("cnn", client=client).inputs
    tensor = {"name": inputs[0].name, "shape": [1, 28, 28], "datatype": inputs[0].datatype, "data": given["pixels"]}
    answer = infer.sync("cnn", client=client, body=InferenceRequest.from_dict({"inputs": [tensor]}))
    row = answer.outputs[0].data
    picture = File(payload=io.BytesIO(bytes(given["picture"])), file_name="digit.png", mime_type="image/png")
    digits = read_digits.sync(client=client, body=picture)
    wrong = infer.sync_detailed("none", client=client, body=InferenceRequest.from_dict({"inputs": [tensor]}))
print(json.dumps({"ready": ready, "models": models, "label": row.index(max(row)),
                  "digit": digits.predictions[0].label, "status": wrong.status_code, "error": wrong.parsed.error}))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(folder=tmp_path_factory.mktemp("none")) as made:
        yield made


def test_openapi_python_client_generates_a_working_client(server: Server, mnist: data.Splits, tmp_path: Path) -> None:
    name = "openapi-python-client"
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    generator = shutil.which(name, path=folders)
    if generator is None:
        unavailable(name)
    (tmp_path / "document.json").write_bytes(httpx.get(f"{server.url}openapi.json").content)
    (tmp_path / "generator.yml").write_text(GENERATOR)
    words = ["generate", "--path", "document.json", "--meta", "none", "--output-path", "made"]
    words += ["--config", "generator.yml", "--fail-on-warning"]
    made = subprocess.run([generator, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    at = 7
    pixels = mnist.validation.images[at, ..., 0]
    given = json.dumps({"pixels": pixels.ravel().tolist(), "picture": list(png(pixels))})
    command = [sys.executable, "-c", PROGRAM, server.url]
    done = subprocess.run(command, cwd=tmp_path, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    label = int(mnist.validation.labels[at])
    found = json.loads(done.stdout)
    assert found.pop("error").startswith("There is no model 'none'")
    assert found == {"ready": True, "models": ["cnn", "dense"], "label": label, "digit": label, "status": 404}


def test_triton_s_client_gets_configuration_repository_index_and_statistics(server: Server, mnist: data.Splits) -> None:
    with contextlib.closing(triton.InferenceServerClient(server.host)) as client:
        configuration = client.get_model_config("dense")
        assert configuration["name"] == "dense"
        assert configuration["input"][0] == {"name": "image", "data_type": "TYPE_UINT8", "dims": [28, 28, 1]}
        assert configuration["output"] == [{"name": "probabilities", "data_type": "TYPE_FP32", "dims": [10]}]
        index = client.get_model_repository_index()
        assert [(item["name"], item["version"], item["state"]) for item in index] == [
            ("cnn", "1", "READY"), ("dense", "1", "READY"),
        ]  # fmt: skip
        before = client.get_inference_statistics("dense")["model_stats"][0]
        tensor = triton.InferInput("image", [100, 28, 28, 1], "UINT8")
        tensor.set_data_from_numpy(mnist.validation.images[:100])
        for _ in range(3):
            client.infer("dense", [tensor])
        tensor = triton.InferInput("image", [1, 27, 28, 1], "UINT8")
        tensor.set_data_from_numpy(np.zeros((1, 27, 28, 1), np.uint8))
        with pytest.raises(triton.InferenceServerException):
            client.infer("dense", [tensor])
        after = client.get_inference_statistics("dense", "1")["model_stats"][0]
        everything = client.get_inference_statistics()["model_stats"]
    assert after["inference_count"] - before["inference_count"] == 300
    assert after["execution_count"] > before["execution_count"]
    for kind, count in (("success", 3), ("fail", 1)):
        was, now = before["inference_stats"][kind], after["inference_stats"][kind]
        assert now["count"] - was["count"] == count
        assert now["ns"] > was["ns"]
    assert after["last_inference"] > before["last_inference"]
    assert [item["name"] for item in everything] == ["cnn", "dense"]
