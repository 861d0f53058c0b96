"""Error responses of connections whose requests never reach the application, and header fields of all responses."""

from __future__ import annotations

import json

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

# Header fields of every response: browsers do not guess its type, do not send its address to other sites in Referer,
# and do not let other sites embed it.
HEADERS = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
]


def error_response(status: int, message: str) -> bytes:
    """A complete HTTP/1.1 response with a JSON error; it announces that the connection will be closed."""
    body = json.dumps({"error": message}).encode()
    head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n" % len(body)
    common = b"".join(f"{name}: {value}\r\n".encode() for name, value in HEADERS)
    return STATUS_LINE[status] + head + common + b"\r\n" + body
