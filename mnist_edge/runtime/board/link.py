"""Requests to a board over a line that may damage, lose or double bytes: they are repeated until they are answered.

Each request can be repeated without harm, because the board then does the same again. A damaged frame is not used: its
CRC has 32 bits, and the CRC of the whole input is compared before the net runs.
"""

from __future__ import annotations

import struct
import time
import zlib

from mnist_edge.errors import ContentError, MissingError, StageError
from mnist_edge.runtime.board import frames
from mnist_edge.runtime.board.frames import Answer, Facts, Frame
from mnist_edge.runtime.board.line import Line

# Seconds without a valid answer after which a request fails: at first, when the board may be starting, and later.
START_SECONDS, SECONDS = 15.0, 30.0
TRIES = 200
# Seconds until a request is repeated: at first; at least and at most.
FIRST_WAIT, SHORTEST_WAIT, LONGEST_WAIT = 0.5, 0.02, 5.0
# The reply may be behind a damaged frame, such as what a bootloader prints.
WAIT_AFTER_DAMAGE = 0.02
# Bytes that are added to the largest part of an input after each frame that got through.
GROWTH = 4


class UnansweredError(StageError):
    """A board answers a request not at all, or only in damaged frames."""


class Link:
    """A connection to the harness on a board.

    Attributes:
        repeated: number of requests that were repeated. damaged: number of damaged frames that either side received.
    """

    def __init__(self, line: Line, name: str) -> None:
        self.repeated = self.damaged = 0
        self._line, self._name = line, name
        self._received = bytearray()
        self._sequence = 0
        self._waits: dict[int, float] = {}  # by type of request
        self._chunk = frames.SMALLEST_CHUNK

    def hello(self) -> Facts:
        """Ask the board for its facts.

        Raises:
            MissingError: nothing answers. ContentError: it speaks another version of the protocol.
            StageError: the line is gone, or damages everything.
        """
        try:
            body = self._request(frames.HELLO, bytes([frames.VERSION]), START_SECONDS).body
        except UnansweredError as error:
            if self.damaged:
                raise
            raise MissingError(
                f"Nothing answers on {self._name} within {START_SECONDS:g} s.",
                "Flash the harness (docs/microcontrollers.md), reset the board, and check port, speed and wires.",
            ) from error
        version, facts = frames.version_of(body), frames.facts_of(body)
        if version != frames.VERSION or facts is None or facts.chunk < frames.SMALLEST_CHUNK:
            raise ContentError(
                f"The firmware on {self._name} speaks version {version} of the protocol, not {frames.VERSION}.",
                "Build the firmware with the harness of this mnist-edge, and flash it.",
            )
        self._chunk = facts.chunk
        return facts

    def run(self, content: bytes, largest: int) -> Answer:
        """Run the net on an input.

        Args:
            content: bytes of the input. largest: most bytes of the packed input in one frame.

        Raises:
            StageError: the board does not answer any more, or its answer has another form.
        """
        answer = frames.answer_of(self._run(frames.RUN, content, largest))
        if answer is None:
            raise self._failed("answers in another form", SECONDS)
        return answer

    def trace(self, content: bytes, facts: Facts) -> tuple[int, ...]:
        """CRC-32 of the outputs of each layer for an input, from firmware with taps.

        Raises:
            StageError: as `run`.
        """
        found = frames.checksums_of(self._run(frames.TRACE, content, facts.chunk), facts.layers)
        if found is None:
            raise self._failed("answers in another form", SECONDS)
        return found

    def _run(self, kind: int, content: bytes, largest: int) -> bytes:
        """The body of the reply to RUN or TRACE, after the input was sent."""
        deadline = time.monotonic() + SECONDS
        while True:
            self._write(content, largest)
            reply = self._request(kind, struct.pack("<I", zlib.crc32(content)), SECONDS)
            if reply.type != frames.REFUSAL:
                return reply.body
            if time.monotonic() > deadline:  # the board has lost the input: it was reset, or its memory is damaged
                raise self._failed("has lost the image", SECONDS)

    def _write(self, content: bytes, largest: int) -> None:
        """Send an input in frames that become shorter while the line loses them."""
        at, deadline = 0, time.monotonic() + SECONDS
        while at < len(content):
            body, after = frames.packed(content, at, self._chunk)
            if self._try(frames.WRITE, self._next(), body) is not None:
                at = after
                self._chunk = min(self._chunk + GROWTH, largest)
                deadline = time.monotonic() + SECONDS
            elif time.monotonic() > deadline:
                raise self._failed("does not answer", SECONDS)
            else:
                self._chunk = max(self._chunk // 2, frames.SMALLEST_CHUNK)
                self.repeated += 1

    def _request(self, kind: int, body: bytes, seconds: float) -> Frame:
        """The reply to a request, which is repeated.

        Raises:
            StageError: there is no valid reply.
        """
        sequence, deadline = self._next(), time.monotonic() + seconds
        for attempt in range(TRIES):
            reply = self._try(kind, sequence, body, attempt)
            if reply is not None:
                return reply
            if time.monotonic() > deadline:
                break
            self.repeated += 1
        raise self._failed("does not answer", seconds)

    def _try(self, kind: int, sequence: int, body: bytes, attempt: int = 0) -> Frame | None:
        """Send a request once. None if no reply comes in time, or the board says that the request was damaged."""
        usual = self._waits.get(kind, FIRST_WAIT)
        begun = time.monotonic()
        deadline = begun + min(usual * 2 ** min(attempt, 10), LONGEST_WAIT)
        self._line.write(frames.encode(Frame(kind, sequence, body)))
        while True:
            seconds = deadline - time.monotonic()
            block = self._block(max(seconds, 0))
            if block is None:
                self._waits[kind] = min(2 * usual, FIRST_WAIT) if kind == frames.WRITE else usual
                return None
            frame = frames.decode(block)
            is_ours = frame is not None and frame.sequence == sequence
            if frame is not None and is_ours and frame.type in (kind | frames.REPLY, frames.REFUSAL):
                self._waits[kind] = max(SHORTEST_WAIT, 4 * (time.monotonic() - begun), usual / 2)
                return frame
            if frame is None or frame.type == frames.REFUSAL:
                self.damaged += 1
                deadline = min(deadline, time.monotonic() + WAIT_AFTER_DAMAGE)

    def _block(self, seconds: float) -> bytes | None:
        """The bytes up to the next zero, which is not the first; None if they do not arrive in this time."""
        deadline = time.monotonic() + seconds
        while True:
            while self._received[:1] == b"\0":
                del self._received[:1]
            end = self._received.find(0)
            if end > 0:
                block = bytes(self._received[:end])
                del self._received[:end]
                return block
            left = deadline - time.monotonic()
            if left < 0:
                return None
            self._received += self._line.read(left)

    def _next(self) -> int:
        self._sequence = (self._sequence + 1) % 0xFFFF  # a refusal of a damaged request has the number 0xFFFF
        return self._sequence

    def _failed(self, what: str, seconds: float) -> UnansweredError:
        if self.damaged:
            return UnansweredError(
                f"The board at {self._name} {what}: {self.damaged:,} frames were damaged.",
                "Check wires and ground, or use a lower speed in the firmware and here: serial:/dev/ttyUSB0@57600.",
            )
        return UnansweredError(
            f"The board at {self._name} {what} within {seconds:g} s.",
            "It has crashed, or its stack is too small: reset it, and run the same command.",
        )
