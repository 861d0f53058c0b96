"""HTTP/1.1 connections with limits that uvicorn does not have: their number, header fields, time, half-closed ones.

uvicorn's own protocol class parses and answers; this subclass counts bytes and fields, and sets timers.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections import Counter
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from mnist_edge.serving.limits import Limits

# A client that has closed its side is answered for so long: it may be waiting, or gone for good.
HALF_CLOSED_SECONDS = 1.0
# A client that is still sending when it is answered may go on so long: one that never reads while it sends would
# otherwise lose the answer.
LINGER_SECONDS = 5.0


class Connections:
    """The open connections of a process."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._open: dict[BoundedProtocol, str] = {}
        self._of_address: Counter[str] = Counter()

    def admit(self, protocol: BoundedProtocol, address: str) -> bool:
        """Count a new connection, if there is room for it."""
        limits = self.limits
        if len(self._open) >= limits.connections or self._of_address[address] >= limits.connections_per_address:
            return False
        self._open[protocol] = address
        self._of_address[address] += 1
        return True

    def leave(self, protocol: BoundedProtocol) -> None:
        """Forget a connection, counted or not."""
        address = self._open.pop(protocol, None)
        if address is not None:
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]

    def unsent_bytes(self) -> int:
        """How many bytes of answers wait in memory for clients that do not read."""
        return sum(protocol.transport.get_write_buffer_size() for protocol in self._open)

    def __len__(self) -> int:
        return len(self._open)


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, counted: Connections, **parts: Any) -> None:
        super().__init__(**parts)
        self._counted, self._limits = counted, counted.limits
        self._refused = False
        self._in_head = self._in_body = False
        self._head_bytes = self._head_fields = self._body_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection; refuse it if there are too many."""
        super().connection_made(transport)
        if self._counted.admit(self, _network(self.client[0] if self.client else "")):
            self._start_head_timer()
        else:
            self._refuse(503, "There are too many connections.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and its timers."""
        self._counted.leave(self)
        self._stop_head_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Let a request that is whole be answered although the client has closed its side."""
        cycle = self.cycle
        if self.scheme == "https" or self._in_body or cycle is None or cycle.response_complete:
            return None
        cycle.keep_alive = False
        self.loop.call_later(HALF_CLOSED_SECONDS, self._take_as_gone, cycle)
        return True

    def _take_as_gone(self, cycle: Any) -> None:
        if not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            self.transport.close()

    # Bytes and fields

    def data_received(self, data: bytes) -> None:
        """Parse what has come, then see whether the head or the body has become too large."""
        if self._refused:
            return
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.head_bytes:
                self._refuse(431, f"The header may have {self._limits.head_bytes:,} bytes.")
            elif self._head_timer is None:
                self._start_head_timer()
        elif self._in_body:  # with the sizes of chunks and a trailer, which may be larger than what they frame
            self._body_bytes += len(data)
            if self._body_bytes > 2 * self._limits.body_bytes:
                self._refuse(413, f"The body may have {self._limits.body_bytes:,} bytes.")

    def on_message_begin(self) -> None:
        """Begin to count."""
        super().on_message_begin()
        self._in_head, self._in_body = True, False
        self._head_bytes = self._head_fields = self._body_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header field, or one of a trailer."""
        self._head_fields += 1
        if self._head_fields <= self._limits.head_fields:
            super().on_header(name, value)
        elif not self._in_head:
            self._refuse(431, f"There may be {self._limits.head_fields} header fields.")

    def on_headers_complete(self) -> None:
        """Start the request, if its head is within the limits."""
        self._in_head, self._in_body = False, True
        self._stop_head_timer()
        if self._head_fields > self._limits.head_fields:
            self._refuse(431, f"There may be {self._limits.head_fields} header fields.")
        elif not self._refused:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body of a request that was not refused."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End the counting."""
        self._in_body = False
        if not self._refused:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Give a client that is still sending some time to read the answer."""
        super().on_response_complete()
        if self._in_body and not self.transport.is_closing():
            self.loop.call_later(LINGER_SECONDS, self._end_linger, self.cycle)

    def _end_linger(self, cycle: Any) -> None:
        if self._in_body and self.cycle is cycle:
            self.transport.abort()

    # Time

    def pause_writing(self) -> None:
        """Limit the time in which a client must take what is written."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self._limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop that timer: the client reads."""
        super().resume_writing()
        self._stop_write_timer()

    def timeout_keep_alive_handler(self) -> None:
        """End an idle connection, also one whose client never read its answer: closing would wait for it."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self._limits.head_seconds, self._head_is_late)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _head_is_late(self) -> None:
        if self._in_head:
            self._refuse(408, f"The header did not come within {self._limits.head_seconds:g} s.")
        else:
            self.transport.close()

    # Refusals

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as every other error is answered."""
        self._refuse(400, msg)

    def _refuse(self, status: int, message: str) -> None:
        """Answer with an error, if no other answer is on its way, and close."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._stop_head_timer()
        cycle = self.cycle
        pending = cycle is not None and not cycle.response_complete
        if not (pending and cycle.response_started):
            body = json.dumps({"error": message}).encode()
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + body)
        if pending:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)


def _network(address: str) -> str:
    """What one client is likely to own: an IPv4 address, or an IPv6 network of 64 bits."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address
