"""Frames and requests to a board: nothing that a line does to the bytes gives a wrong answer or a hang."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_edge.errors import ContentError, MissingError, StageError, UsageError
from mnist_edge.runtime.board import frames, link
from mnist_edge.runtime.board.frames import Frame
from mnist_edge.runtime.board.line import Line, Spec
from mnist_edge.runtime.board.link import Link
from tests.support.noise import NoisyLine

BODIES = st.binary(max_size=1100) | st.binary(max_size=8).map(lambda part: part * 100)
FRAMES = st.builds(Frame, st.integers(0, 255), st.integers(0, 0xFFFF), BODIES)
INPUT = 784


def unpacked(body: bytes, memory: bytearray) -> None:
    """What the firmware does with the body of a WRITE."""
    (at,) = struct.unpack_from("<I", body)
    rest = body[4:]
    while rest:
        zeros, count = rest[:2]
        content = bytes(zeros) + rest[2 : 2 + count]
        assert len(content) == zeros + count
        memory[at : at + len(content)] = content
        at, rest = at + len(content), rest[2 + count :]


class Board:
    """A line with a board that answers each input with its CRC."""

    def __init__(self, version: int = frames.VERSION) -> None:
        self.memory = bytearray(INPUT)
        self.version = version
        self._received, self._sent = bytearray(), bytearray()

    def write(self, content: bytes) -> None:
        self._received += content
        while (end := self._received.find(0)) >= 0:
            block = bytes(self._received[:end])
            del self._received[: end + 1]
            if block:
                self._sent += frames.encode(self._answer(frames.decode(block)))

    def read(self, seconds: float) -> bytes:
        taken = bytes(self._sent)
        self._sent.clear()
        return taken

    def _answer(self, request: Frame | None) -> Frame:
        if request is None:
            return Frame(frames.REFUSAL, 0xFFFF, bytes([frames.DAMAGED]))
        body = b""
        if request.type == frames.HELLO:
            body = bytes([self.version]) + struct.pack("<IIIIIH", INPUT, 4, 300, 5, 0, 0) + b"a" * 64 + b"C99"
        if request.type == frames.WRITE:
            unpacked(request.body, self.memory)
        if request.type == frames.RUN:
            crc = zlib.crc32(self.memory)
            if struct.pack("<I", crc) != request.body:
                return Frame(frames.REFUSAL, request.sequence, bytes([frames.OTHER_INPUT]))
            body = struct.pack("<BIII", 2, 0, 100, crc)
        return Frame(request.type | frames.REPLY, request.sequence, body)


class Silence:
    """A line without a board."""

    def write(self, content: bytes) -> None:
        pass

    def read(self, seconds: float) -> bytes:
        return b""


class Talking(Silence):
    """A board with another program, which prints."""

    def read(self, seconds: float) -> bytes:
        return b"hello\r\n\0"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("START_SECONDS", 0.3), ("SECONDS", 0.3), ("FIRST_WAIT", 0.02)):
        monkeypatch.setattr(link, name, seconds)


def images(count: int) -> list[bytes]:
    draw = random.Random(0)
    share = [0.0, 0.2, 1.0]
    return [bytes(draw.randrange(256) * (draw.random() < share[n % 3]) for _ in range(INPUT)) for n in range(count)]


@given(FRAMES)
def test_a_frame_is_decoded_from_its_bytes_which_have_no_zero_inside(frame: Frame) -> None:
    sent = frames.encode(frame)
    assert (sent[:1], sent[-1:], sent[1:-1].count(0)) == (b"\0", b"\0", 0)
    assert len(sent) <= 2 + 7 + len(frame.body) + 1 + (7 + len(frame.body)) // 254
    assert frames.decode(sent[1:-1]) == frame


@given(st.binary(max_size=600))
def test_noise_is_no_frame(noise: bytes) -> None:
    assert frames.decode(noise) is None


@given(FRAMES, st.data())
def test_a_frame_with_a_changed_lost_or_doubled_byte_is_not_used(frame: Frame, data: st.DataObject) -> None:
    sent = frames.encode(frame)[1:-1]
    at = data.draw(st.integers(0, len(sent) - 1))
    byte = bytes([data.draw(st.integers(0, 255).filter(lambda value: value != sent[at]))])
    doubled = sent[: at + 1] + sent[at:]
    for damaged in (sent[:at] + byte + sent[at + 1 :], sent[:at] + sent[at + 1 :], doubled):
        for block in damaged.split(b"\0"):
            assert frames.decode(block) in (None, frame)  # one of two equal bytes is lost: nothing has changed


@given(st.binary(max_size=INPUT) | BODIES, st.integers(frames.SMALLEST_CHUNK, 900), st.binary(max_size=40))
def test_packed_parts_make_the_input(content: bytes, most: int, ends: bytes) -> None:
    content += ends
    memory, at = bytearray(b"\xff" * len(content)), 0
    while at < len(content):
        body, after = frames.packed(content, at, most)
        assert after > at
        assert len(body) <= 4 + most
        unpacked(body, memory)
        at = after
    assert memory == content


def test_answers_come_without_a_repeated_request_over_a_clean_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_WAIT", "SHORTEST_WAIT", "LONGEST_WAIT"):  # however slow this machine is now
        monkeypatch.setattr(link, name, 60.0)
    board = Link(Board(), "here")
    facts = board.hello()
    assert (facts.input_bytes, facts.kernels, facts.source_sha256) == (INPUT, "C99", "a" * 64)
    for image in images(30):
        answer = board.run(image, facts.chunk)
        assert answer == frames.Answer(struct.pack("<I", zlib.crc32(image)), None, 100)
    assert (board.repeated, board.damaged) == (0, 0)


@pytest.mark.parametrize("share", [0.002, 0.01])
def test_answers_are_right_over_a_line_that_damages_loses_and_doubles_bytes(share: float) -> None:
    line = NoisyLine(Board(), share)
    board = Link(line, "here")
    chunk = board.hello().chunk
    for image in images(6):
        assert board.run(image, chunk).output == struct.pack("<I", zlib.crc32(image))
    assert line.changed > 0
    assert board.repeated > 0


@pytest.mark.usefixtures("impatient")
def test_a_silent_port_is_missing() -> None:
    with pytest.raises(MissingError, match="Nothing answers on here"):
        Link(Silence(), "here").hello()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("line", [lambda: NoisyLine(Board(), 0.6), Talking], ids=["noise", "other program"])
def test_a_line_that_is_only_noise_is_an_error(line: Callable[[], Line]) -> None:
    with pytest.raises(StageError, match="frames were damaged") as caught:
        Link(line(), "here").hello()
    assert "lower speed" in caught.value.remedy


@pytest.mark.usefixtures("impatient")
def test_a_board_that_falls_silent_is_an_error() -> None:
    board = Link(Board(), "here")
    chunk = board.hello().chunk
    board._line = Silence()
    with pytest.raises(StageError, match="does not answer within"):
        board.run(images(1)[0], chunk)


def test_another_version_of_the_protocol_is_refused() -> None:
    with pytest.raises(ContentError, match="version 9 of the protocol, not 2"):
        Link(Board(version=9), "here").hello()


def test_the_name_of_a_board_is_a_port_or_an_emulated_board() -> None:
    assert Spec.parse("serial:/dev/ttyACM0") == Spec("serial:/dev/ttyACM0", port="/dev/ttyACM0")
    assert Spec.parse("serial:COM3@57600") == Spec("serial:COM3@57600", port="COM3", baud=57_600)
    emulated = Spec.parse("qemu:cortex-m4").board
    assert emulated is not None
    assert emulated.processor == "cortex-m4"


@pytest.mark.parametrize("text", ["", "serial:", "qemu:", "serial:@9600", "serial:a@0", "cortex-m4", "tcp:host:1"])
def test_another_name_is_refused_with_those_that_there_are(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Spec.parse(text)
    assert "serial:/dev/ttyACM0" in caught.value.remedy
    assert "qemu:cortex-m55" in caught.value.remedy


def test_an_unknown_emulated_board_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"There is no emulated board 'cortex-m5'") as caught:
        Spec.parse("qemu:cortex-m5")
    assert "Did you mean 'cortex-m55'?" in caught.value.remedy
