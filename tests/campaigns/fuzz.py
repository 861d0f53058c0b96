"""Fuzz the readers of untrusted input: each must return a value or raise a documented error, nothing else.

    python -m tests.campaigns.fuzz [TARGET ...] --seconds 60  # needs atheris: pip install 'mnist-edge[fuzz]'

Coverage-guided fuzzing of each of the nine targets for ``--seconds``, so by default nine minutes. Inputs that fail are
saved in ``regressions``. `test_fuzz` is the short, deterministic version: it runs every target on mutated seeds and on
all saved inputs.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import io
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
# Inputs that once failed: a folder for each target.
REGRESSIONS = Path(__file__).parent / "regressions"
RESULTS = ROOT / "benchmarks" / "results" / "fuzz.md"
SHIPPED = ROOT / "mnist_edge" / "shipped"
PATHS = ("/v2/models/dense/infer", "/v1/models/dense:predict", "/v1/digits")
# Bytes that are kept of each end of a large seed: fuzzing more of it finds nothing new.
SEED_BYTES = 1 << 16


def returns_or_refuses(call: Callable[[], object]) -> None:
    """Call a reader, which may raise only the errors that are reported to users."""
    from mnist_edge.errors import MnistEdgeError
    from mnist_edge.vision.digit import NoDigit

    try:
        call()
    except (MnistEdgeError, NoDigit) as error:
        assert str(error), "an error without a message"


def idx(content: bytes) -> None:
    from mnist_edge.data import idx as reader

    for dimensions in (1, 3):
        returns_or_refuses(lambda dimensions=dimensions: reader.parse(content, "x", dimensions))


def npz(content: bytes) -> None:
    from mnist_edge import data
    from mnist_edge.formats.float_answers import FloatAnswers
    from mnist_edge.runtime.selftest import Golden

    returns_or_refuses(lambda: FloatAnswers.from_bytes(content))
    returns_or_refuses(lambda: Golden.from_bytes(content))
    path = _scratch() / "x.npz"
    path.write_bytes(content)
    returns_or_refuses(lambda: data.load_test(path))


def picture(content: bytes) -> None:
    from mnist_edge.vision.pictures import prepare, read_picture

    def read() -> None:
        found = read_picture(content, "x")
        if found.width * found.height <= 1 << 20:  # a larger picture takes another second
            prepare(found, "digit", (28, 28), multi=True)

    returns_or_refuses(read)


def manifest(content: bytes) -> None:
    from mnist_edge.parity.verify import _leaked
    from mnist_edge.runtime.exported import artifact_paths
    from mnist_edge.runtime.selection import pick_file
    from mnist_edge.store.manifest import MANIFEST_NAME, read_verified
    from mnist_edge.store.model_file import ModelFile

    folder = _scratch() / "dense"
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST_NAME).write_bytes(content)
    path = folder / "dense-int8.tflite"
    path.write_bytes(b"x")
    for call in (
        lambda: read_verified(path), lambda: ModelFile.open(path).temperature, lambda: artifact_paths(folder.parent),
        lambda: pick_file(folder.parent, "dense"), lambda: _leaked(ModelFile.open(path), _blank_images()),
    ):  # fmt: skip
        returns_or_refuses(call)


def tflite(content: bytes) -> None:
    from mnist_edge.formats import structure
    from mnist_edge.formats import tflite as reader

    returns_or_refuses(lambda: structure.check(reader.read(content), reader.ALLOWED))


def onnx(content: bytes) -> None:
    from mnist_edge.formats import onnx as reader
    from mnist_edge.formats import structure

    returns_or_refuses(lambda: structure.check(reader.read(content), reader.ALLOWED))


def c(content: bytes) -> None:
    from mnist_edge.formats import c as reader

    returns_or_refuses(lambda: reader.read(content))


def contract(content: bytes) -> None:
    from mnist_edge.formats import Contract

    returns_or_refuses(lambda: Contract.from_text(content.decode("utf-8", "replace")))


def http(content: bytes) -> None:
    """Post to the service: byte 1 selects the path, byte 2 is the length of the JSON before binary tensors."""
    if len(content) < 2:
        return
    path, head, body = PATHS[content[0] % len(PATHS)], content[1], content[2:]
    headers = {"inference-header-content-length": str(head)} if head else {}
    status = asyncio.run(_post(path, body, headers))
    assert 200 <= status < 500, (path, status)


TARGETS: dict[str, Callable[[bytes], None]] = {
    item.__name__: item for item in (idx, npz, picture, manifest, tflite, onnx, c, contract, http)
}


def seeds(target: str) -> list[bytes]:
    """Valid inputs of a target, with which fuzzing begins."""
    from mnist_edge.data.idx import encode

    dense, stream = SHIPPED / "dense", io.BytesIO()
    images, labels = np.zeros((2, 4, 4), np.uint8), np.zeros(2, np.uint8)
    np.savez(stream, x_train=images, y_train=labels, x_test=images, y_test=labels)
    made: dict[str, Callable[[], list[bytes]]] = {
        "idx": lambda: [encode(images), encode(labels)],
        "npz": lambda: [stream.getvalue(), *(path.read_bytes() for path in sorted(dense.glob("*.npz")))],
        "picture": lambda: [_image(form) for form in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "PPM", "WEBP")],
        "manifest": lambda: [(dense / "manifest.json").read_bytes()],
        "contract": lambda: [_contract_text()],
        "c": lambda: [f"const char mnist_edge_facts[] = {json.dumps(json.dumps(_facts()))};".encode()],
        "http": _requests,
    }
    models = lambda: [_shortened(path.read_bytes()) for path in sorted(SHIPPED.glob(f"*/*.{target}"))]  # noqa: E731
    return made.get(target, models)()


def _requests() -> list[bytes]:
    image = [[0] * 28 for _ in range(28)]
    tensor = {"name": "image", "shape": [1, 28, 28, 1], "datatype": "UINT8"}
    v2 = json.dumps({"inputs": [{**tensor, "data": [0] * 784}]}).encode()
    extended = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": 784}}]}).encode()
    return [
        b"\x00\x00" + v2, b"\x00" + bytes([len(extended)]) + extended + bytes(784),
        b"\x01\x00" + json.dumps({"instances": [image]}).encode(), b"\x02\x00" + _image("PNG"),
    ]  # fmt: skip


def _shortened(content: bytes) -> bytes:
    """A small model file unchanged; of a large one the first and last bytes, which hold its structure."""
    return content if len(content) <= 2 * SEED_BYTES else content[:SEED_BYTES] + content[-SEED_BYTES:]


def _image(form: str) -> bytes:
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((32, 32)).save(stream, form)
    return stream.getvalue()


def _contract_text() -> bytes:
    from mnist_edge.formats import METADATA_KEY
    from mnist_edge.formats.tflite import read

    return read((SHIPPED / "dense" / "dense-int8.tflite").read_bytes()).metadata[METADATA_KEY].encode()


def _facts() -> dict[str, Any]:
    end = {"dtype": "int8", "shape": [10], "scale": 0.5, "zero_point": 0}
    return {"prefix": "net", "contract": _contract_text().decode(), "scratch": 9, "input": end, "output": end}


@functools.cache
def _scratch() -> Path:
    folder = tempfile.TemporaryDirectory()
    _open_folders.append(folder)
    return Path(folder.name)


# Keeps temporary folders until the process ends.
_open_folders: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def _blank_images() -> Any:
    from mnist_edge.data import Split

    return Split(np.zeros((1, 28, 28, 1), np.uint8), np.zeros(1, np.int64), np.zeros(1, np.int64))


@functools.cache
def _service() -> Any:
    from mnist_edge.serving.access import Access
    from mnist_edge.serving.app import build
    from mnist_edge.serving.decoding import Job, Refusal, Result, run_job
    from mnist_edge.serving.limits import Limits, RequestRefusedError
    from mnist_edge.serving.log import Log
    from mnist_edge.serving.metrics import Metrics
    from mnist_edge.serving.models import Models, Source
    from mnist_edge.serving.service import Service

    class InProcess:
        """Runs decoding jobs in this process, so that the fuzzer sees which code they cover."""

        async def run(self, job: Job, is_disconnected: object = None) -> Result:
            result = run_job(job)
            if isinstance(result, Refusal):
                raise RequestRefusedError(result.status, result.message)
            return result

        def available(self) -> bool:
            return True

    metrics, limits = Metrics(), Limits()
    models = Models(Source(Path("nowhere"), "auto", ("dense",)), 1, limits, metrics, lambda _: None)
    access = Access(None, frozenset({"fuzz"}), frozenset())
    return build(Service(models, limits, metrics, InProcess(), access, Log(metrics), threads=1))


async def _post(path: str, body: bytes, headers: dict[str, str]) -> int:
    import httpx

    transport = httpx.ASGITransport(_service())
    async with httpx.AsyncClient(transport=transport, base_url="http://fuzz") as client:
        return (await client.post(path, content=body, headers=headers)).status_code


def fuzz(target: str, seconds: int, corpus: Path) -> int:
    """Fuzz one target with atheris, which ends this process when it has finished."""
    import atheris

    with atheris.instrument_imports(include=["mnist_edge"]):
        pass
    for at, seed in enumerate(seeds(target)):
        (corpus / f"seed-{at}").write_bytes(seed)
    TARGETS[target](seeds(target)[0])  # fills the caches before atheris measures
    settings = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=3000", f"-max_len={2 * SEED_BYTES}"]
    settings += ["-print_final_stats=1", f"-artifact_prefix={corpus}/finding-"]
    atheris.Setup([sys.argv[0], str(corpus), *settings], TARGETS[target])
    atheris.Fuzz()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", default=list(TARGETS), help=f"of {', '.join(TARGETS)}; by default all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.relative_to(ROOT)}")
    parser.add_argument("--one", metavar="CORPUS", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return fuzz(options.targets[0], options.seconds, options.one)
    lines = [
        "# Fuzzing", "",
        f"`python -m tests.campaigns.fuzz --seconds {options.seconds} --write`: coverage-guided (atheris) from valid "
        f"inputs, {options.seconds} s for each target.",
        "Edges and features are those of mnist_edge's own Python code, as libFuzzer counts them.", "",
        "| target | executions | edges | features | corpus | found |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    failed = 0
    for target in options.targets:
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable,
                "-m",
                "tests.campaigns.fuzz",
                target,
                "--seconds",
                str(options.seconds),
                "--one",
                folder,
            ]
            done = subprocess.run(command, capture_output=True, cwd=ROOT, check=False)
            output = done.stderr.decode(errors="replace")
            found = sorted(Path(folder).glob("finding-*"))
            for path in found:
                (REGRESSIONS / target).mkdir(parents=True, exist_ok=True)
                (REGRESSIONS / target / path.name.removeprefix("finding-")).write_bytes(path.read_bytes())
            runs = re.findall(r"number_of_executed_units:\s*(\d+)", output) or re.findall(r"Done (\d+) runs", output)
            counts = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", output)
            row = [target, f"{int(runs[-1]):,}" if runs else "?", *(counts[-1] if counts else "???"), str(len(found))]
            lines.append(f"| {' | '.join(row)} |")
            print(lines[-1], flush=True)
            if done.returncode or found:
                failed = 1
                print(output[-3000:], file=sys.stderr)
    if options.write:
        RESULTS.write_text("\n".join(lines) + "\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())
