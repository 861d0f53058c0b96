"""Random requests: generated from the service's OpenAPI document by Schemathesis, and mutated on a raw connection."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.campaigns.attacks.greedy import INFER, PREDICT
from tests.campaigns.attacks.wire import HOST, Ledger, Target, head, post

HOOKS = "tests.campaigns.attacks.schemathesis_hooks"
TENSOR = {"name": "image", "shape": [1, 28, 28, 1], "datatype": "UINT8", "data": [0] * 784}
WORDS = (
    b"\r\n", b"\r\n\r\n", b"\n", b"\0", b" ", b":", b"\xff", b"HTTP/1.1", b"HTTP/2.0",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n", b"Expect: 100-continue\r\n",
    b"Upgrade: websocket\r\nConnection: upgrade\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"{", b"]", b'"', b"1e999",
    b"NaN", b"null", b"true", b"-1", b"Inference-Header-Content-Length: 7\r\n", b"Content-Encoding: gzip\r\n",
    b"Inference-Header-Content-Length: " + b"9" * 5000 + b"\r\n", b"Authorization: Bearer \xe4\r\n", b"%00", b"../",
)  # fmt: skip


def raw_http(target: Target, ledger: Ledger) -> None:
    """Send one mutated request, with bytes changed, removed, repeated or inserted."""
    request = bytearray(random.choice(SEEDS))
    for _ in range(random.choice((0, 1, 2, 4, 8))):
        at, change = random.randrange(len(request) + 1), random.randrange(5)
        if change == 0:
            request[at : at + 1] = bytes([random.randrange(256)])
        elif change == 1:
            del request[at : at + random.randint(1, 20)]
        elif change == 2:
            request[at:at] = request[at : at + random.randint(1, 200)] * random.randint(1, 5)
        elif change == 3:
            request[at:at] = random.choice(WORDS)
        else:  # in the first lines, which parsers are most sensitive to
            early = random.randrange(200)
            request[early:early] = random.choice(WORDS)
    with target.connect(1) as connection:
        with contextlib.suppress(OSError):  # closed while sending: a response may be in the receive buffer
            connection.sendall(request)
        ledger.answer(connection)


def schemathesis(target: Target, ledger: Ledger) -> None:
    """Run Schemathesis once with a new seed, and kill it when the attack is over."""
    program = Path(sys.executable).parent / "schemathesis"
    if not program.is_file():
        raise SystemExit("Schemathesis is missing.\n  remedy: install the extra [dev] of this project.")
    with tempfile.TemporaryDirectory() as scratch:
        answers = Path(scratch) / "answers.jsonl"
        description, url = target.workspace.parent / "openapi.json", f"http://{HOST}:{target.port}"
        words = ["run", str(description), "--url", url, "--checks", "not_a_server_error", "--max-examples", "30",
                 "--seed", str(random.randrange(2**31)), "--request-timeout", "30",
                 "--phases", "examples,coverage,fuzzing", "--generation-database", "none"]  # fmt: skip
        root = str(Path(__file__).resolve().parents[3])
        environment = {
            **os.environ,
            "SCHEMATHESIS_HOOKS": HOOKS,
            "ATTACK_SOURCE": target.source,
            "ATTACK_ANSWERS": str(answers),
            "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]),
        }
        with (Path(scratch) / "log").open("wb") as log:
            process = subprocess.Popen([program, *words], cwd=scratch, stdout=log, stderr=log, env=environment)
            while process.poll() is None and not target.over:
                time.sleep(0.2)
            process.kill()
            process.wait()
        if not answers.exists():
            ledger.count("Schemathesis sent nothing")
            time.sleep(2)
            return
        for line in answers.read_text().splitlines():
            status, body = json.loads(line)
            ledger.judge(status, body.encode())


def _seeds() -> list[bytes]:
    body = json.dumps({"inputs": [TENSOR]}).encode()
    header = json.dumps({"inputs": [{**TENSOR, "data": None, "parameters": {"binary_data_size": 784}}]}).encode()
    rows = json.dumps({"instances": [[[0] * 28] * 28]}).encode()
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\nabc\r\n--x--\r\n'
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (rows[:100], rows[100:], b""))
    return [
        *(
            head(path, method="GET")
            for path in ("/", "/v2", "/v1/models", "/metrics", "/openapi.json", "/v2/models/cnn")
        ),
        *(head(path, method="GET") for path in ("/v1/models/cnn", "/v2/health/ready", "/v2/models/cnn/versions/1")),
        post(INFER, body, {"Content-Type": "application/json"}),
        post(INFER, header + bytes(784), {"Inference-Header-Content-Length": len(header)}),
        post(PREDICT, rows, {"Content-Type": "application/json"}),
        head(PREDICT, {"Transfer-Encoding": "chunked"}) + chunked,
        post("/v1/digits?multi=true", form, {"Content-Type": "multipart/form-data; boundary=x"}),
        post("/v1/digits", b"\x89PNG\r\n\x1a\n" + bytes(100)),
    ]


SEEDS = _seeds()
