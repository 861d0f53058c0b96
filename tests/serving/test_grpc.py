"""The service over gRPC: unmodified clients, error statuses, limits, the token, TLS, and an orderly stop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import signal
import socket
import subprocess
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from PIL import Image
from tritonclient.grpc import service_pb2

from mnist_edge import data
from mnist_edge.runtime import open_session
from mnist_edge.runtime.selftest import golden_path
from mnist_edge.serving.access import Access
from mnist_edge.serving.grpc_server import Calls
from mnist_edge.serving.limits import Limits, RequestRefusedError
from mnist_edge.serving.messages import MESSAGES
from mnist_edge.serving.metrics import Metrics
from mnist_edge.store.workspace import SHIPPED
from tests.conftest import ROOT, Run, assert_two_lines
from tests.support.serving_process import Server, make_certificate, png, running

pytestmark = pytest.mark.slow
N = 100
SERVICE = "/inference.GRPCInferenceService"
HEALTH = "/grpc.health.v1.Health/Check"
KSERVE_CLIENT = ROOT / "benchmarks" / "serving_peers" / "kserve_grpc_client.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running("--grpc-port", 0, folder=tmp_path_factory.mktemp("none")) as made:
        yield made


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with contextlib.closing(triton.InferenceServerClient(server.grpc)) as made:
        yield made


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc) as made:
        yield made


@pytest.fixture(scope="module")
def images(mnist: data.Splits) -> np.ndarray:
    return mnist.validation.images[:N]


@pytest.fixture(scope="module")
def expected(images: np.ndarray) -> np.ndarray:
    return open_session(SHIPPED / "cnn" / "cnn-int8.tflite").predict(images)


def tensor(pixels: np.ndarray, datatype: str = "UINT8") -> triton.InferInput:
    made = triton.InferInput("image", list(pixels.shape), datatype)
    made.set_data_from_numpy(pixels)
    return made


def message(images: np.ndarray | None = None, model: str = "cnn", **fields: Any) -> Any:
    """A ModelInferRequest for images, by default one of zeros; ``fields`` replaces fields of its tensor."""
    pixels = np.zeros((1, 28, 28, 1), np.uint8) if images is None else images
    made = service_pb2.ModelInferRequest(model_name=model)
    made.inputs.add(**{"name": "image", "datatype": "UINT8", "shape": list(pixels.shape), **fields})
    if "contents" not in fields:
        made.raw_input_contents.append(pixels.tobytes())
    return made


def call(channel: grpc.Channel, path: str, content: bytes, **options: Any) -> bytes:
    answer: bytes = channel.unary_unary(path)(content, timeout=options.pop("timeout", 60), **options)
    return answer


def failure(run: Callable[[], Any]) -> tuple[str, str]:
    """The name of a failed call's status, and its message."""
    with pytest.raises(grpc.RpcError) as caught:
        run()
    return caught.value.code().name, caught.value.details()


def test_the_messages_have_the_fields_of_triton_s_client() -> None:
    theirs = service_pb2.DESCRIPTOR.message_types_by_name
    renamed = {"Parameter": ["InferParameter"], "Contents": ["InferTensorContents"],
               "Tensor": ["ModelInferRequest.InferInputTensor", "ModelInferResponse.InferOutputTensor",
                          "ModelMetadataResponse.TensorMetadata"],
               "RequestedOutput": ["ModelInferRequest.InferRequestedOutputTensor"]}  # fmt: skip
    for name in MESSAGES.keys() - {"HealthCheckRequest", "HealthCheckResponse"}:
        mine = {item.name: (item.number, item.type, item.is_repeated) for item in MESSAGES[name].DESCRIPTOR.fields}
        seen = set()
        for other in renamed.get(name, [name]):
            outer, _, inner = other.partition(".")
            found = theirs[outer].nested_types_by_name[inner] if inner else theirs[outer]
            for item in found.fields:
                if item.name in mine:
                    assert mine[item.name] == (item.number, item.type, item.is_repeated)
                    seen.add(item.name)
        assert seen == mine.keys()


def test_triton_s_client_gets_the_answers_of_the_session(
    client: triton.InferenceServerClient, images: np.ndarray, expected: np.ndarray
) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("cnn")
    assert client.is_model_ready("cnn", "1")
    assert not client.is_model_ready("none")
    assert client.get_server_metadata().name == "mnist-edge"
    metadata = client.get_model_metadata("cnn")
    assert [(item.name, list(item.shape)) for item in metadata.inputs] == [
        ("image", [-1, 28, 28, 1]),
        ("picture", [-1]),
    ]
    assert metadata.outputs[0].datatype == "FP32"
    for count in (1, N):
        answer = client.infer("cnn", [tensor(images[:count])], request_id="some id")
        assert answer.get_response().id == "some id"
        assert answer.get_response().model_version == "1"
        assert np.abs(answer.as_numpy("probabilities") - expected[:count]).max() < 1e-6
    as_float = client.infer("cnn", [tensor(images.astype(np.float32), "FP32")]).as_numpy("probabilities")
    assert np.abs(as_float - expected).max() < 1e-6


def test_kserve_s_own_client_gets_the_golden_answers(tmp_path: Path) -> None:
    """The client runs in an environment of its own, because it has 70 dependencies."""
    venv.create(tmp_path / "kserve", with_pip=True)
    python = tmp_path / "kserve" / "bin" / "python"
    packages = ["kserve>=0.15,<1", "setuptools<81"]
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--no-compile", "--disable-pip-version-check", *packages], check=True
    )
    golden = golden_path(SHIPPED / "cnn" / "cnn-int8.tflite")
    with running("--grpc-port", 0, "--token", "a-good-token", folder=tmp_path / "none") as server:
        words = [python, KSERVE_CLIENT, server.grpc.rpartition(":")[2], golden]
        asked = subprocess.run([*words, "a-good-token"], capture_output=True, text=True, check=False, timeout=300)
        refused = subprocess.run([*words, "wrong"], capture_output=True, text=True, check=False, timeout=300)
    assert asked.returncode == 0 and "gets the expected answers" in asked.stdout, asked.stderr
    assert refused.returncode != 0 and "UNAUTHENTICATED" in refused.stderr


def test_a_request_for_the_best_classes_gets_them_in_place_of_probabilities(
    client: triton.InferenceServerClient, images: np.ndarray, expected: np.ndarray
) -> None:
    wanted = triton.InferRequestedOutput("probabilities", class_count=2)
    rows = client.infer("cnn", [tensor(images)], outputs=[wanted]).as_numpy("probabilities")
    assert rows.shape == (N, 2)
    assert [int(row[0].split(b":")[1]) for row in rows] == expected.argmax(axis=1).tolist()


@pytest.mark.parametrize("datatype", ["UINT8", "INT64", "FP64"])
def test_values_in_typed_contents_are_read_in_every_datatype(
    channel: grpc.Channel, images: np.ndarray, expected: np.ndarray, datatype: str
) -> None:
    field = {"UINT8": "uint_contents", "INT64": "int64_contents", "FP64": "fp64_contents"}[datatype]
    for count in (1, N):  # a small message, and one that a decoding process reads
        contents = service_pb2.InferTensorContents(**{field: images[:count].ravel().tolist()})
        asked = message(images[:count], datatype=datatype, contents=contents)
        content = call(channel, f"{SERVICE}/ModelInfer", asked.SerializeToString())
        raw = service_pb2.ModelInferResponse.FromString(content).raw_output_contents[0]
        assert np.abs(np.frombuffer(raw, np.float32).reshape(-1, 10) - expected[:count]).max() < 1e-6


@pytest.mark.parametrize("raw", [True, False])
def test_a_picture_is_read_as_over_http(
    server: Server, channel: grpc.Channel, client: triton.InferenceServerClient, images: np.ndarray, raw: bool
) -> None:
    canvas = np.full((200, 160), 230, np.uint8)
    digit = Image.fromarray(images[0, ..., 0]).resize((112, 112))
    canvas[40:152, 20:132] -= (np.asarray(digit) * 0.7).astype(np.uint8)
    content = png(canvas)
    by_http = httpx.post(f"{server.url}v1/digits", content=content).json()["predictions"][0]["label"]
    if raw:
        given = triton.InferInput("picture", [1], "BYTES")
        given.set_data_from_numpy(np.array([content], object))
        answer = client.infer("cnn", [given]).as_numpy("probabilities")
    else:
        contents = service_pb2.InferTensorContents(bytes_contents=[content])
        asked = message(name="picture", datatype="BYTES", shape=[1], contents=contents)
        found = call(channel, f"{SERVICE}/ModelInfer", asked.SerializeToString())
        answer = np.frombuffer(service_pb2.ModelInferResponse.FromString(found).raw_output_contents[0], np.float32)
    assert int(np.argmax(answer)) == by_http


def nested(field: int, content: bytes) -> bytes:
    """Encode a message or bytes as a field of another message."""
    size, length = len(content), b""
    while size > 127:
        length, size = length + bytes([128 | size & 127]), size >> 7
    return bytes([field << 3 | 2]) + length + bytes([size]) + content


def wrong(change: Callable[[Any], object]) -> bytes:
    asked = message()
    change(asked)
    content: bytes = asked.SerializeToString()
    return content


TOO_MANY = 2**20
BAD = {
    "no message of the protocol": (b"\xff" * 50, "INVALID_ARGUMENT"),
    "a large one of zeros": (bytes(3 * 2**20), "INVALID_ARGUMENT"),
    "nothing": (b"", "NOT_FOUND"),
    "no model": (wrong(lambda it: setattr(it, "model_name", "none")), "NOT_FOUND"),
    "another version": (wrong(lambda it: setattr(it, "model_version", "9")), "NOT_FOUND"),
    "no input": (wrong(lambda it: it.ClearField("inputs")), "INVALID_ARGUMENT"),
    "two inputs": (wrong(lambda it: it.inputs.add(name="image")), "INVALID_ARGUMENT"),
    "another input": (wrong(lambda it: setattr(it.inputs[0], "name", "x")), "INVALID_ARGUMENT"),
    "another output": (wrong(lambda it: it.outputs.add(name="x")), "INVALID_ARGUMENT"),
    "another dtype": (wrong(lambda it: setattr(it.inputs[0], "datatype", "FP8")), "INVALID_ARGUMENT"),
    "no data": (wrong(lambda it: it.ClearField("raw_input_contents")), "INVALID_ARGUMENT"),
    "too little data": (wrong(lambda it: it.raw_input_contents.__setitem__(0, bytes(783))), "INVALID_ARGUMENT"),
    "data twice": (wrong(lambda it: it.inputs[0].contents.uint_contents.append(1)), "INVALID_ARGUMENT"),
    "a negative shape": (message(shape=[-1, 28, 28, 1]).SerializeToString(), "INVALID_ARGUMENT"),
    "a huge shape": (message(shape=[2**62, 28, 28, 1]).SerializeToString(), "INVALID_ARGUMENT"),
    "many dimensions": (message(shape=[1] * 50_000).SerializeToString(), "INVALID_ARGUMENT"),
    "too many images": (message(np.zeros((2000, 28, 28, 1), np.uint8)).SerializeToString(), "INVALID_ARGUMENT"),
    "300": (
        message(contents=service_pb2.InferTensorContents(uint_contents=[300] * 784)).SerializeToString(),
        "INVALID_ARGUMENT",
    ),
    "NaN": (
        message(np.full((1, 28, 28, 1), np.nan, np.float32), datatype="FP32").SerializeToString(),
        "INVALID_ARGUMENT",
    ),
    "no classes": (wrong(lambda it: setattr(it.parameters["classification"], "int64_param", 0)), "INVALID_ARGUMENT"),
    "a word for classes": (
        wrong(lambda it: setattr(it.parameters["classification"], "string_param", "x")),
        "INVALID_ARGUMENT",
    ),
    "no picture": (
        message(
            name="picture", datatype="BYTES", shape=[1],
            contents=service_pb2.InferTensorContents(bytes_contents=[b"text"]),
        ).SerializeToString(),
        "INVALID_ARGUMENT",
    ),
    "millions of inputs": (nested(1, b"cnn") + nested(5, b"") * TOO_MANY, "INVALID_ARGUMENT"),
    "millions of strings": (
        nested(1, b"cnn") + nested(5, nested(1, b"image") + nested(5, nested(8, b"") * TOO_MANY)),
        "INVALID_ARGUMENT",
    ),
    "a message above the limit": (bytes(5 * 2**20), "RESOURCE_EXHAUSTED"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_request_gets_a_fitting_status_and_the_service_continues(channel: grpc.Channel, name: str) -> None:
    content, status = BAD[name]
    found, details = failure(lambda: call(channel, f"{SERVICE}/ModelInfer", content))
    assert found == status, details
    assert "bug" not in details
    assert call(channel, f"{SERVICE}/ServerReady", b"") == b"\x08\x01"


def memory_of(pid: int) -> int:
    """The largest peak resident memory of a process's children, in bytes."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    peaks = [line for child in children for line in Path(f"/proc/{child}/status").read_text().splitlines()]
    return max(int(line.split()[1]) * 1024 for line in peaks if line.startswith("VmHWM:"))


def test_a_compressed_message_is_refused_before_it_is_decompressed(server: Server, channel: grpc.Channel) -> None:
    bomb = message(np.zeros((1, 100 * 2**20), np.uint8)).SerializeToString()
    options = {"compression": grpc.Compression.Gzip}
    before = memory_of(server.process.pid)
    assert failure(lambda: call(channel, f"{SERVICE}/ModelInfer", bomb, **options))[0] == "UNIMPLEMENTED"
    assert memory_of(server.process.pid) < before + 50 * 2**20


@pytest.mark.parametrize(
    ("metadata", "status"),
    [
        ([("x", "a" * 100_000)], "RESOURCE_EXHAUSTED"),
        ([(f"x{at}", "a" * 100) for at in range(1000)], "RESOURCE_EXHAUSTED"),
        ([("origin", "http://example.org")], "PERMISSION_DENIED"),
    ],
)
def test_too_much_metadata_and_the_origin_of_a_web_page_are_refused(
    channel: grpc.Channel, metadata: list[tuple[str, str]], status: str
) -> None:
    assert failure(lambda: call(channel, f"{SERVICE}/ServerLive", b"", metadata=metadata))[0] == status
    assert call(channel, f"{SERVICE}/ServerLive", b"") == b"\x08\x01"


def test_the_health_protocol_reports_serving_and_unknown_services(channel: grpc.Channel) -> None:
    assert call(channel, HEALTH, b"") == b"\x08\x01"  # SERVING
    assert call(channel, HEALTH, nested(1, b"inference.GRPCInferenceService")) == b"\x08\x01"
    assert failure(lambda: call(channel, HEALTH, nested(1, b"another")))[0] == "NOT_FOUND"


def test_a_call_without_a_message_and_a_call_of_an_unknown_method_are_refused(channel: grpc.Channel) -> None:
    streaming = channel.stream_unary(f"{SERVICE}/ModelInfer")
    assert failure(lambda: streaming(iter([]), timeout=60))[0] == "INVALID_ARGUMENT"
    assert failure(lambda: call(channel, f"{SERVICE}/Nothing", b""))[0] == "UNIMPLEMENTED"


def test_a_message_that_never_arrives_times_out_and_delays_no_other_call(server: Server, channel: grpc.Channel) -> None:
    never = concurrent.futures.Future()

    def wait() -> Iterator[bytes]:
        never.result()
        yield b""

    waiting = [channel.stream_unary(f"{SERVICE}/ModelInfer").future(wait(), timeout=20) for _ in range(5)]
    call(channel, f"{SERVICE}/ModelInfer", message().SerializeToString(), timeout=9)
    assert {item.exception().code().name for item in waiting} == {"DEADLINE_EXCEEDED"}
    assert all("did not come within 10 s" in item.exception().details() for item in waiting)
    never.set_result(None)


def test_connections_beyond_the_limit_are_closed_at_once(tmp_path: Path) -> None:
    # Half of the connections are for HTTP.
    with (
        running("--grpc-port", 0, "--connections", 10, "--model", "dense", folder=tmp_path) as server,
        contextlib.ExitStack() as stack,
    ):
        host, port = server.grpc.split(":")
        idle = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(30)]
        time.sleep(1)
        assert len([item for item in idle if is_open(item)]) <= 5
        assert httpx.get(f"{server.url}v2/health/ready").json() == {"ready": True}
        # Connections that send nothing are closed after 10 s.
        for item in idle:
            item.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                while item.recv(1000):
                    pass
        with grpc.insecure_channel(server.grpc) as channel:
            assert call(channel, HEALTH, b"", wait_for_ready=True) == b"\x08\x01"


def is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while connection.recv(1000):
            pass
    except BlockingIOError:
        return True
    except ConnectionResetError:
        pass
    return False


def test_every_method_but_health_requires_the_token(tmp_path: Path) -> None:
    words = ("--grpc-port", 0, "--token", "a-good-token", "--model", "dense", "--workers", 2)
    with running(*words, folder=tmp_path) as server:
        for _ in range(6):  # several channels, so that both server processes are reached
            options = [("grpc.use_local_subchannel_pool", 1)]
            with grpc.insecure_channel(server.grpc, options) as channel:
                assert call(channel, HEALTH, b"") == b"\x08\x01"
                assert call(channel, f"{SERVICE}/ServerLive", b"") == b"\x08\x01"
                for method in ("ServerMetadata", "ModelReady", "ModelMetadata", "ModelInfer"):
                    for metadata in ([], [("authorization", "Bearer wrong")], [("authorization", "a-good-token")]):
                        found = failure(lambda: call(channel, f"{SERVICE}/{method}", b"", metadata=metadata))  # noqa: B023
                        assert found[0] == "UNAUTHENTICATED"
                right = [("authorization", "bearer a-good-token")]
                assert b"mnist-edge" in call(channel, f"{SERVICE}/ServerMetadata", b"", metadata=right)


def test_a_certificate_encrypts_both_grpc_and_http(tmp_path: Path, images: np.ndarray) -> None:
    made = make_certificate(tmp_path)
    files = ("--certfile", made.certfile, "--keyfile", made.keyfile)
    with running("--grpc-port", 0, "--model", "dense", *files, folder=tmp_path) as server:
        assert server.url.startswith("https://")
        with contextlib.closing(
            triton.InferenceServerClient(server.grpc, ssl=True, root_certificates=str(made.certfile))
        ) as client:
            assert client.infer("dense", [tensor(images[:1])]).as_numpy("probabilities").shape == (1, 10)
        with grpc.insecure_channel(server.grpc) as channel:
            assert failure(lambda: call(channel, HEALTH, b""))[0] == "UNAVAILABLE"
        assert httpx.get(f"{server.url}v2/health/ready", verify=made.context).json() == {"ready": True}
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}v2/health/ready")
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{server.url}v2/health/ready".replace("https", "http"))


def test_a_full_queue_refuses_calls_a_late_call_leaves_it_and_accepted_calls_are_answered(
    tmp_path: Path, images: np.ndarray
) -> None:
    large = message(np.resize(images, (1000, 28, 28, 1))).SerializeToString()
    with running(
        "--grpc-port",
        0,
        "--threads",
        1,
        "--queue",
        1,
        "--timeout",
        60,
        "--access-log",
        "--model",
        "cnn",
        folder=tmp_path,
    ) as server:
        metrics = f"{server.url}metrics"
        with grpc.insecure_channel(server.grpc) as channel:
            infer = channel.unary_unary(f"{SERVICE}/ModelInfer")
            ended = [item.exception() for item in [infer.future(large, timeout=60) for _ in range(24)]]
            assert {error.code().name for error in ended if error is not None} == {"UNAVAILABLE"}
            assert None in ended
            # A call whose deadline has passed leaves the queue.
            assert failure(lambda: infer(large, timeout=0.02))[0] == "DEADLINE_EXCEEDED"
            for _ in range(100):
                if "mnist_edge_queue 0.0" in httpx.get(metrics).text:
                    break
                time.sleep(0.05)
            assert "mnist_edge_queue 0.0" in httpx.get(metrics).text
            text = httpx.get(metrics).text
            assert f'mnist_edge_requests_total{{route="{SERVICE}/ModelInfer",status="UNAVAILABLE"}}' in text
            # Stopped while it works: the accepted call is answered.
            late = infer.future(large, timeout=60)
            while "mnist_edge_queue 0.0" in httpx.get(metrics).text:
                assert not late.done()
            server.process.send_signal(signal.SIGTERM)
            assert len(late.result()) > 40_000
        assert server.process.wait(30) == 0
        assert server.process.stderr is not None
        logged = [json.loads(line) for line in server.process.stderr if line.startswith("{")]
        of_grpc = [line for line in logged if line["method"] == "gRPC"]
        assert {line["path"] for line in of_grpc} == {f"{SERVICE}/ModelInfer"}
        assert of_grpc[-1]["status"] == "OK"
        assert of_grpc[-1]["client"].startswith("ipv4:127.0.0.1:")


class Context:
    """The part of the gRPC library's call context that is used before a message is read."""

    def __init__(self) -> None:
        self.ended: tuple[str, str] | None = None

    def invocation_metadata(self) -> None:
        return None

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        self.ended = code.name, details


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RequestRefusedError(500, "The model answers with NaN."), "INTERNAL"),
        (RequestRefusedError(504, "late"), "DEADLINE_EXCEEDED"),
        (RequestRefusedError(413, "large"), "INVALID_ARGUMENT"),
        (ZeroDivisionError("unforeseen"), "INTERNAL"),
    ],
)
def test_no_error_of_a_method_gives_the_status_unknown(error: Exception, status: str) -> None:
    def why_not_ready() -> None:
        raise error

    logged: list[str] = []
    service = SimpleNamespace(
        limits=Limits(),
        access=Access(None, frozenset(), frozenset()),
        metrics=Metrics(),
        log=logged.append,
        access_log=False,
        why_not_ready=why_not_ready,
    )
    handlers = Calls(cast(Any, service)).handlers("inference.GRPCInferenceService")
    method = handlers.service(SimpleNamespace(method=f"{SERVICE}/ServerReady")).stream_unary
    context = Context()
    asyncio.run(method(None, context))
    assert context.ended is not None
    foreseen = isinstance(error, RequestRefusedError)
    assert context.ended == (status, str(error) if foreseen else "This is a bug of mnist-edge; its log says more.")
    assert logged == ([] if foreseen else ["mnist-edge serve: ZeroDivisionError: unforeseen"])


def test_a_call_ends_when_its_work_takes_too_long(tmp_path: Path, images: np.ndarray) -> None:
    large = message(np.resize(images, (1000, 28, 28, 1))).SerializeToString()
    words = ("--grpc-port", 0, "--threads", 1, "--timeout", 0.1, "--model", "cnn")
    with running(*words, folder=tmp_path) as server, grpc.insecure_channel(server.grpc) as channel:
        calls = [channel.unary_unary(f"{SERVICE}/ModelInfer").future(large, timeout=60) for _ in range(8)]
        errors = [error for item in calls if (error := item.exception()) is not None]
        assert {error.code().name for error in errors} == {"DEADLINE_EXCEEDED"}
        assert "No answer within 0.1 s" in errors[0].details()


def test_a_port_in_use_is_an_error_with_a_remedy(server: Server, tmp_path: Path, cli: Callable[..., Run]) -> None:
    run = cli("serve", "--port", 0, "--grpc-port", server.grpc.split(":")[1], "-o", tmp_path)
    assert_two_lines(run, 5)
    assert "--grpc-port" in run.err
