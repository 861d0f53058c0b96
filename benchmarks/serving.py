#!/usr/bin/env python3
"""The service and its peers under load, interleaved in one run. Writes benchmarks/results/serving.md.

    python benchmarks/serving.py [--seconds 5] [--rounds 3] [--only CASE ...] [--peers NAME ...] [--environments FOLDER]

Peers: bare Starlette, FastAPI, KServe, MLServer and LitServe, each in a virtual environment that this script makes and
keeps. All run the same int8 cnn file with the same engine, with one interpreter in one process, and share this
machine's cores with the load generators wrk and, for gRPC, h2load (apt-get install wrk nghttp2-client).
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import load
import numpy as np
import platformdirs
from load import Body, Load
from numpy.typing import NDArray
from serving_peers import HERE, OURS, PEERS
from serving_peers.page import CASES, CLIENT, DIGITS, GRPC, INFER, Results, page

from mnist_edge.runtime.selftest import golden_path
from mnist_edge.store.workspace import SHIPPED

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.campaigns.attacks.clients import STROKES, drawing

RESULTS = Path(__file__).resolve().parent / "results" / "serving.md"
MODEL = SHIPPED / "cnn" / "cnn-int8.tflite"
GRPC_METHOD = "/inference.GRPCInferenceService/ModelInfer"
LENGTH = "Inference-Header-Content-Length"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="duration of each load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=[*CASES, GRPC, CLIENT], help="may be repeated")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument(
        "--environments", type=Path, default=platformdirs.user_cache_path("mnist-edge") / "serving-peers"
    )
    options = parser.parse_args()
    load.require("wrk", "wrk")
    wanted = options.only or [*CASES, GRPC, CLIENT]
    results = Results()
    with tempfile.TemporaryDirectory() as scratch:
        peers = [name for name in PEERS if name in options.peers]
        measure(results, peers, [case for case in wanted if case in CASES], options, Path(scratch))
        if GRPC in wanted or CLIENT in wanted:
            measure_grpc(results, wanted, options, Path(scratch))
    words = [
        f"--seconds {options.seconds:g} --rounds {options.rounds}",
        *(f"--only {case}" for case in options.only or []),
    ]
    words += [] if options.peers == list(PEERS) else ["--peers", *options.peers]
    lines = page(results, f"python benchmarks/serving.py {' '.join(words)}")
    print("\n".join(lines))
    if options.only is None and options.peers == list(PEERS):
        RESULTS.write_text("\n".join(lines) + "\n")
    else:
        print(f"{RESULTS.name} is not written: only a part was measured.", file=sys.stderr)


def measure(
    results: Results, peers: Sequence[str], cases: Sequence[str], options: argparse.Namespace, scratch: Path
) -> None:
    """Start all servers, check one answer of each case, and load them in turn."""
    ports: dict[str, int] = {}
    alive: dict[str, load.Running] = {}
    bodies = {case: request_bodies(case) for case in cases}
    with contextlib.ExitStack() as stack:
        for name in peers:
            peer = PEERS[name]
            try:
                python = load.environment(options.environments, name, peer.requirements) if peer.requirements else None
                python = python or Path(sys.executable)
                ports[name] = load.free_port()
                words = peer.command(python, ports[name], MODEL, scratch)
                url = f"http://{load.HOST}:{ports[name]}{INFER}"
                alive[name] = stack.enter_context(load.running(words, url, scratch / f"{name}.log"))
                results.versions[name] = load.versions(python, peer.packages)
            except (RuntimeError, subprocess.CalledProcessError) as error:
                results.notes.append(f"{name} was NOT MEASURED: {str(error).splitlines()[0]}")
                print(f"######## {results.notes[-1]}\n{error}", file=sys.stderr)
        time.sleep(2)
        for name in alive:
            for case in cases:
                if case in PEERS[name].cases:
                    check(ports[name], case, bodies[case][0])
        rest = {name: server.pss_mib() for name, server in alive.items()}
        for case in cases:
            script = load.wrk_script(scratch, case, bodies[case])
            servers = [name for name in alive if case in PEERS[name].cases]
            taken = results.loads[case] = {name: [] for name in servers}
            _, path, _, connections = CASES[case]
            for turn in range(options.rounds):
                for name in servers if turn % 2 == 0 else reversed(servers):
                    url = f"http://{load.HOST}:{ports[name]}{path}"
                    taken[name].append(load.wrk(url, script, connections, options.seconds))
                    print(case, name, taken[name][-1], file=sys.stderr, flush=True)
        results.memory = {name: (rest[name], server.pss_mib()) for name, server in alive.items()}


def golden() -> tuple[NDArray[np.uint8], list[int]]:
    """64 images of the golden set, and the right label of each."""
    with np.load(golden_path(MODEL)) as kept:
        images = np.concatenate([kept["images"]] * 2)
        labels = kept["probabilities"][0].argmax(axis=1).tolist() * 2
    return images, labels


def request_bodies(case: str) -> list[Body]:
    """The requests of a case, sent in turn."""
    if case == "drawings":
        pictures = [drawing(digit, seed) for digit in STROKES for seed in range(4)]
        return [Body(content, {"Content-Type": "image/png"}) for content in pictures]
    images, _ = golden()
    count = CASES[case][2] if case in CASES else 1
    tensor = {"name": "image", "shape": [count, 28, 28, 1], "datatype": "UINT8"}
    batches = [images[:64]] if count == 64 else [images[at : at + 1] for at in range(16)]
    if not case.startswith("binary"):
        return [
            Body(json.dumps({"inputs": [{**tensor, "data": batch.ravel().tolist()}]}).encode(),
                 {"Content-Type": "application/json"})
            for batch in batches
        ]  # fmt: skip
    wanted = [{"name": "probabilities", "parameters": {"binary_data": True}}]
    sized = {**tensor, "parameters": {"binary_data_size": count * 784}}
    head = json.dumps({"inputs": [sized], "outputs": wanted}).encode()
    headers = {LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}
    return [Body(head + batch.tobytes(), headers) for batch in batches]


def check(port: int, case: str, body: Body) -> int:
    """Send one request, and exit if the answer is wrong.

    Returns:
        Size of the answer's body in bytes.
    """
    connection = http.client.HTTPConnection(load.HOST, port, timeout=30)
    path = CASES[case][1]
    connection.request("POST", path, body.content, dict(body.headers))
    response = connection.getresponse()
    content = response.read()
    connection.close()
    if response.status != 200:
        sys.exit(f"{case} on port {port} answers {response.status}: {content[:300]!r}")
    if path == DIGITS:
        return len(content)
    length = response.headers.get(LENGTH)
    if length:
        values = np.frombuffer(content[int(length) :], "<f4")
    else:
        values = np.array(json.loads(content)["outputs"][0]["data"], np.float32)
    labels = values.reshape(-1, 10).argmax(axis=1).tolist()
    if labels != golden()[1][: len(labels)]:
        sys.exit(f"{case} on port {port} answers wrong labels: {labels}")
    return len(content)


def measure_grpc(results: Results, wanted: Sequence[str], options: argparse.Namespace, scratch: Path) -> None:
    """Compare gRPC with REST for the same image and load generator, and run KServe's own client."""
    help_text = subprocess.run([sys.executable, "-m", "mnist_edge", "serve", "--help"], capture_output=True, text=True,
                               check=True, env={"COLUMNS": "200", "PATH": ""}).stdout  # fmt: skip
    if "--grpc-port" not in help_text:
        results.notes.append("gRPC was NOT MEASURED: `mnist-edge serve` has no option --grpc-port.")
        print(f"######## {results.notes[-1]}", file=sys.stderr)
        return
    port, grpc_port = load.free_port(), load.free_port()
    words = [*PEERS[OURS].command(Path(sys.executable), port, MODEL, scratch), "--grpc-port", grpc_port]
    base = f"http://{load.HOST}:{port}"
    with load.running(words, f"{base}/v2/health/live", scratch / "grpc.log"):
        if CLIENT in wanted:
            python = load.environment(options.environments, "KServe", PEERS["KServe"].requirements)
            script = HERE / "kserve_grpc_client.py"
            done = subprocess.run([python, script, str(grpc_port), golden_path(MODEL)], capture_output=True, text=True,
                                  check=False)  # fmt: skip
            results.notes.append(done.stdout.strip() or f"KServe's gRPC client FAILED: {done.stderr.strip()[-300:]}")
            print(results.notes[-1], done.stderr, file=sys.stderr)
        if GRPC not in wanted:
            return
        load.require("h2load", "nghttp2-client")
        message, rest = grpc_body(), request_bodies("json-1-8")[0]
        asked = {"gRPC": (f"http://{load.HOST}:{grpc_port}{GRPC_METHOD}", message), "REST": (base + INFER, rest)}
        sizes = {"gRPC": grpc_check(grpc_port, message), "REST": check(port, "json-1-8", rest)}
        taken: dict[str, list[Load]] = {"gRPC": [], "REST": []}
        for turn in range(options.rounds):
            for name in sorted(taken, reverse=turn % 2 == 1):
                settings = load.H2Load(8, options.seconds, http1=name == "REST", least=sizes[name])
                taken[name].append(load.h2load(*asked[name], settings, scratch))
                print(name, taken[name][-1], file=sys.stderr, flush=True)
        results.loads[GRPC] = taken


def grpc_body() -> Body:
    """One image as a ModelInfer request, in gRPC's frame."""
    from tritonclient.grpc import service_pb2

    request = service_pb2.ModelInferRequest(model_name="cnn")
    tensor = request.inputs.add(name="image", datatype="UINT8")
    tensor.shape.extend([1, 28, 28, 1])
    request.raw_input_contents.append(golden()[0][0].tobytes())
    content = request.SerializeToString()
    headers = {"content-type": "application/grpc", "te": "trailers"}
    return Body(b"\0" + len(content).to_bytes(4, "big") + content, headers)


def grpc_check(port: int, body: Body) -> int:
    """Send one request by grpcio, and check that the answer is right.

    Returns:
        Size of the answer in gRPC's frame, in bytes.
    """
    import grpc
    from tritonclient.grpc import service_pb2

    with grpc.insecure_channel(f"{load.HOST}:{port}") as channel:
        content: bytes = channel.unary_unary(GRPC_METHOD)(body.content[5:], timeout=30)
    response = service_pb2.ModelInferResponse.FromString(content)
    output = response.raw_output_contents
    values = np.frombuffer(output[0], "<f4") if output else np.array(response.outputs[0].contents.fp32_contents)
    assert int(values.argmax()) == golden()[1][0], values
    return len(content) + 5


if __name__ == "__main__":
    main()
