"""Attacks on memory: many headers, connections, large bodies, JSON bombs, form parts, pictures in one request."""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import json
import socket
import time
import zlib
from collections.abc import Iterator

from PIL import Image

from tests.campaigns.attacks.wire import Ledger, Target, ask, flood, head, long_header, many_headers, post

INFER, PREDICT = "/v2/models/cnn/infer", "/v1/models/cnn:predict"
HEADER_BYTES = 200 * 2**20
HEADERS = 100_000
BODY_CONNECTIONS = 100
OPEN_CONNECTIONS = 1000


def header_line(target: Target, ledger: Ledger) -> None:
    """Send a header line of 200 MiB."""
    flood(target, ledger, long_header(HEADER_BYTES))


def header_count(target: Target, ledger: Ledger) -> None:
    """Send 100,000 headers."""
    flood(target, ledger, many_headers(HEADERS))


def connections(target: Target, ledger: Ledger) -> None:
    """Open 1,000 connections at once, each with one request."""
    opened: list[socket.socket] = []
    failed = 0
    while len(opened) < OPEN_CONNECTIONS and failed < 20 and not target.over:
        try:
            opened.append(target.connect(2))
            opened[-1].sendall(head("/v2", method="GET"))
        except OSError:
            failed += 1
            ledger.count("not connected")
    ledger.answers(opened, target.deadline, 5)


def bodies(target: Target, ledger: Ledger) -> None:
    """Send the largest allowed body but its last byte on each of 100 connections, wait, then send the last bytes."""
    opened: list[socket.socket] = []
    body = bytes(target.body_bytes)
    request = post("/v1/digits", body)
    for _ in range(BODY_CONNECTIONS):
        with contextlib.suppress(OSError):
            connection = target.connect(2)
            opened.append(connection)
            connection.settimeout(1)
            connection.sendall(request[:-1])
        if target.over:
            break
    time.sleep(2)
    for connection in opened:
        with contextlib.suppress(OSError):
            connection.sendall(b"\0")
    ledger.answers(opened, target.deadline, 5)


def too_large_bodies(target: Target, ledger: Ledger) -> None:
    """Send a body with a too large Content-Length, one without an end, and one that decompresses to 1 GiB."""
    ask(target, ledger, head("/v1/digits", {"Content-Length": 2**40}))

    def endless() -> Iterator[bytes]:
        yield head("/v1/digits", {"Transfer-Encoding": "chunked"})
        for _ in range(64):
            yield b"100000\r\n" + bytes(2**20) + b"\r\n"

    flood(target, ledger, endless())
    ask(target, ledger, post(PREDICT, gzip_bomb(), {"Content-Encoding": "gzip"}))


def json_bombs(target: Target, ledger: Ledger) -> None:
    """Send every JSON bomb once."""
    for path, body in bombs(target.body_bytes):
        ask(target, ledger, post(path, body, {"Content-Type": "application/json"}))
        if target.over:
            break


def form_parts(target: Target, ledger: Ledger) -> None:
    """Send a form of 100,000 parts."""
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    ask(target, ledger, post("/v1/digits", parts(target.body_bytes), headers))


def many_pictures(target: Target, ledger: Ledger) -> None:
    """Send one V2 request with 631 PNG files of 4,000 x 4,000 pixels."""
    ask(target, ledger, post(INFER, pictures(631, target.body_bytes)), timeout=60)


def prepare(size: int) -> None:
    """Make and cache all bodies before the attackers' processes are forked, so that they share them."""
    gzip_bomb(), bombs(size), parts(size), pictures(631, size)


@functools.cache
def gzip_bomb() -> bytes:
    """1 GiB of zeros, compressed."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(1024)) + packer.flush()


@functools.cache
def bombs(size: int) -> list[tuple[str, bytes]]:
    """JSON bodies that are cheap to send and expensive to read, each with its path.

    Args:
        size: bytes of the largest body.
    """

    def tensor(**changes: object) -> bytes:
        item = {"name": "image", "shape": [1, 28, 28, 1], "datatype": "UINT8", "data": [0] * 784, **changes}
        return json.dumps({"inputs": [item]}).encode()

    ones = b"[1]," * ((size - 100) // 4) + b"[1]"
    deep = size // 2 - 100
    return [
        (PREDICT, json.dumps({"instances": ["a" * 100_000, *["b"] * 1_000]}).encode()),
        (PREDICT, b'{"instances": [' + ones + b"]}"),
        (PREDICT, b'{"instances": ' + b"[" * deep + b"]" * deep + b"}"),
        (PREDICT, b'{"instances": [' + b"1e309," * (size // 7) + b"1]}"),
        (PREDICT, b'{"instances": ' + b"1" * (size - 100) + b"}"),
        (PREDICT, b"{" + b",".join(b'"%07d": 1' % number for number in range(size // 14)) + b"}"),
        (INFER, tensor(shape=[2_147_483_647] * 100_000)),
        (INFER, tensor(shape=[1] * 100_000)),
        (INFER, tensor(datatype=["UINT8"])),
        (INFER, tensor(datatype={})),
        (INFER, tensor(shape=[True, 28, 28, 1])),
        (INFER, tensor(shape=[2**31] * 500)),
        (INFER, tensor(data=["a" * 100_000, *["b"] * 1_000])),
        (INFER, tensor(data=[[[[0]] * 28] * 28])),
        (INFER, tensor(shape=[0, 28, 28, 1], data=[])),
        (INFER, tensor(data=[1e308] * 784, datatype="FP64")),
        (INFER, b'{"inputs": [{"name": "image", "shape": [1,28,28,1], "datatype": "UINT8", "data": [' + ones + b"]}]}"),
        (INFER, b'"' + b"\\u0000" * (size // 6 - 100) + b'"'),
    ]


@functools.cache
def parts(size: int) -> bytes:
    """A form of 100,000 parts, or as many as the size allows."""
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n'
    return part * min(100_000, size // len(part) - 1) + b"--x--\r\n"


@functools.cache
def pictures(count: int, size: int) -> bytes:
    """A V2 request with ``count`` PNG files of 4,000 x 4,000 white pixels, or as many as the size allows."""
    stream = io.BytesIO()
    Image.new("L", (4000, 4000), 255).save(stream, "PNG", compress_level=9)
    text = base64.b64encode(stream.getvalue()).decode()
    count = min(count, (size - 1000) // (len(text) + 4))
    item = {"name": "picture", "shape": [count], "datatype": "BYTES", "data": [text] * count}
    return json.dumps({"inputs": [item]}).encode()
