"""What a connection answers by itself, before there is a request that the application could answer."""

from __future__ import annotations

import json

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

# On every answer: browsers do not guess its type, do not tell other sites its address, and do not embed it there.
HEADERS = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
]


def error_answer(status: int, message: str) -> bytes:
    """A whole answer in HTTP/1.1, after which the connection is closed."""
    body = json.dumps({"error": message}).encode()
    head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n" % len(body)
    own = b"".join(f"{name}: {value}\r\n".encode() for name, value in HEADERS)
    return STATUS_LINE[status] + head + own + b"\r\n" + body
