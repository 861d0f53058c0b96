"""HTTP/1.1 connections with limits that uvicorn lacks: on connections, header fields, body parts and time.

uvicorn's protocol class parses requests and sends responses; this subclass counts bytes and fields, and sets timers.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mnist_edge.serving.limits import Limits
from mnist_edge.serving.responses import error_response

# How long a client that has closed its sending side is still served: it may be waiting for the response, or be gone.
HALF_CLOSED_SECONDS = 1.0
# How long a connection stays open if the response is sent before the request has arrived completely: a client that
# reads only after it has sent everything would otherwise lose the response.
LINGER_SECONDS = 5.0
# Most pipelined requests of one connection that wait for earlier responses; a further request is refused.
MOST_PIPELINED = 16
# Most parts of one body: chunks, or the pieces in which it is received.
MOST_PARTS = 20_000


class Connections:
    """The open connections of a process, counted in total and by client network."""

    def __init__(self, limits: Limits, observe: Callable[[float], None]) -> None:
        """Start with no connection; ``observe`` is called with the number of connections whenever it changes."""
        self.limits, self._observe = limits, observe
        self._count = 0
        self._of_network: Counter[str] = Counter()
        self.protocols: set[BoundedProtocol] = set()

    def admit(self, address: str) -> bool:
        """Count a new connection from an address; return False if it must be refused."""
        limits, network = self.limits, _network(address)
        if self._of_network[network] >= limits.connections_per_address:
            return False
        if self._count >= limits.connections and not self._make_room(network):
            return False
        self._of_network[network] += 1
        self._count += 1
        self._observe(self._count)
        return True

    def _make_room(self, network: str) -> bool:
        """Close a connection of the network that has most of them: the one that has been without a request longest."""
        largest, count = self._of_network.most_common(1)[0]
        waiting = [
            item
            for item in self.protocols
            if item.waiting_since is not None and item.network == largest and not item.transport.get_write_buffer_size()
        ]
        if count <= self._of_network[network] + 1 or not waiting:
            return False
        oldest = min(waiting, key=lambda item: item.waiting_since or 0.0)
        oldest.waiting_since = None
        oldest.transport.abort()
        return True

    def release(self, address: str) -> None:
        """Forget a connection that was admitted."""
        network = _network(address)
        self._of_network[network] -= 1
        if not self._of_network[network]:
            del self._of_network[network]
        self._count -= 1
        self._observe(self._count)

    def unsent_bytes(self) -> int:
        """Bytes of responses that wait in memory because their clients do not read them."""
        return sum(protocol.transport.get_write_buffer_size() for protocol in self.protocols)


class BoundedProtocol(HttpToolsProtocol):
    """One HTTP/1.1 connection, limited in bytes, header fields, body parts and time.

    Attributes:
        on_end: called when the connection has ended.
        network: the client's address, or its IPv6 network (`_network`).
        waiting_since: the loop's time since which the connection has no complete request; None while it has one.
    """

    def __init__(self, connections: Connections, **uvicorn_arguments: Any) -> None:
        super().__init__(**uvicorn_arguments)
        self._connections, self._limits = connections, connections.limits
        self.on_end: Callable[[], None] = lambda: None
        self.network = ""
        self.waiting_since: float | None = None
        self._refused = False
        self._in_head = self._in_body = False
        self._head_bytes = self._head_fields = self._body_parts = self._silent_bytes = 0
        self._running: Any = None  # the request being handled; ``cycle`` is the newest request
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for a request."""
        super().connection_made(transport)
        self.flow = _PipelineFlowControl(self, transport)
        self.network = _network(self.client[0] if self.client else "")
        self.waiting_since = self.loop.time()
        self._connections.protocols.add(self)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection and its timers."""
        self._connections.protocols.discard(self)
        self.on_end()
        self._stop_head_timer()
        self._stop_write_timer()
        waiting = [cycle for cycle, _ in self.pipeline]
        self.pipeline.clear()
        for cycle in (self._running, *waiting):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Still serve a complete request after the client has closed its sending side."""
        cycle = self.cycle
        if self.scheme == "https" or self._in_body or cycle is None or cycle.response_complete:
            return None
        cycle.keep_alive = False
        self.loop.call_later(HALF_CLOSED_SECONDS, self._treat_as_disconnected, cycle)
        return True

    def _treat_as_disconnected(self, cycle: Any) -> None:
        if not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            self.transport.close()

    # Limits on bytes, header fields and body parts

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, then refuse the request if its head or the framing of its body is too large."""
        if self._refused:
            return
        self._silent_bytes += len(data)  # bytes since the parser's last callback, each of which sets it to 0
        super().data_received(data)
        waits_for_head = self._in_head or (self.waiting_since is not None and not self._in_body)
        if waits_for_head and self._head_timer is None:
            self._start_head_timer()
        if self._silent_bytes > self._limits.head_bytes or (self._in_head and self._head_is_large()):
            self._refuse_head()

    def on_message_begin(self) -> None:
        """Reset the counts for a new request."""
        super().on_message_begin()
        self._in_head, self._in_body = True, False
        self._head_bytes = self._head_fields = self._body_parts = self._silent_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Count a part of the request target."""
        self._silent_bytes = 0
        self._head_bytes += len(url)
        if self._head_bytes <= self._limits.head_bytes:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header field; a trailer field is counted and otherwise ignored."""
        self._silent_bytes = 0
        self._head_fields += 1
        self._head_bytes += len(name) + len(value)
        if not self._head_is_large():
            if self._in_head:
                super().on_header(name, value)
        elif not self._in_head:
            self._refuse_head()

    def on_headers_complete(self) -> None:
        """Start handling the request, if its head is within the limits."""
        self._stop_head_timer()
        if self._head_is_large() or len(self.pipeline) >= MOST_PIPELINED:
            self._refuse_head()
        elif not self._refused:
            super().on_headers_complete()
        self._in_head, self._in_body = False, True

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body, unless the request was refused or has too many parts."""
        if self._refused:
            return
        self._silent_bytes = 0
        self._body_parts += 1
        if self._body_parts > MOST_PARTS:
            self._refuse(413, f"The body may have at most {MOST_PARTS:,} parts.")
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request has arrived completely."""
        self._in_body = False
        self._silent_bytes = 0
        if self.cycle is None or not self.cycle.response_complete:
            self.waiting_since = None
        if not self._refused:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Give a client that is still sending some time to read the response."""
        still_sending = self._in_body and self._running is self.cycle
        if self._running is self.cycle or (self._in_body and len(self.pipeline) == 1):
            self.waiting_since = self.loop.time()
        super().on_response_complete()
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self.loop.call_later(self._limits.write_seconds, self.transport.abort)
        if still_sending and not self.transport.is_closing():
            self.loop.call_later(LINGER_SECONDS, self._end_linger, self.cycle)

    def _end_linger(self, cycle: Any) -> None:
        if self._in_body and self.cycle is cycle:
            self.transport.abort()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _head_is_large(self) -> bool:
        return self._head_fields > self._limits.head_fields or self._head_bytes > self._limits.head_bytes

    # Limits on time

    def pause_writing(self) -> None:
        """Abort the connection if the client does not read its response in time."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self._limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the write timer, because the client reads."""
        super().resume_writing()
        self._stop_write_timer()

    def timeout_keep_alive_handler(self) -> None:
        """End an idle connection; abort it if its client has not read the response, which `close` would wait for."""
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
        """Respond to bytes that are not HTTP with a JSON error, like every other error."""
        self._refuse(400, msg)

    def _refuse_head(self) -> None:
        limits = self._limits
        self._refuse(431, f"The header may have at most {limits.head_fields} fields and {limits.head_bytes:,} bytes.")

    def _refuse(self, status: int, message: str) -> None:
        """Stop reading. Send an error and close; or only close, once earlier pipelined requests have been served."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._stop_head_timer()
        running = self._running
        pending = running is not None and not running.response_complete
        if pending and not (self._in_body and running is self.cycle):
            self.cycle.keep_alive = False
            return
        if not (pending and running.response_started):
            self.transport.write(error_response(status, message))
        if pending:
            running.disconnected = True
            running.message_event.set()
        self.transport.close()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)


class _PipelineFlowControl(FlowControl):
    """Flow control that reads nothing from a connection while one of its requests waits for an earlier response."""

    def __init__(self, protocol: BoundedProtocol, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._pipeline = protocol.pipeline

    def resume_reading(self) -> None:
        """Resume reading, if no pipelined request waits."""
        if not self._pipeline:
            super().resume_reading()


def _network(address: str) -> str:
    """The addresses that one client is likely to own: an IPv4 address, or an IPv6 network with a prefix of 64 bits."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address
