"""The line to a board: a serial port, or an emulated board's own."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from mnist_edge.errors import MissingError, StageError, UsageError, missing_extra, suggest
from mnist_edge.toolchains import firmware
from mnist_edge.toolchains.boards import BOARDS, Board

if TYPE_CHECKING:
    import serial

DEFAULT_BAUD = 115_200


class Line(Protocol):
    """A line that carries bytes in both directions, and may damage, lose or double them."""

    def write(self, content: bytes) -> None:
        """Send bytes.

        Raises:
            StageError: the line is gone.
        """

    def read(self, seconds: float) -> bytes:
        """The bytes that have arrived; empty if none does in this time.

        Raises:
            StageError: the line is gone.
        """


@dataclass(frozen=True)
class Spec:
    """The value of ``--board``: a serial port with its speed, or an emulated board.

    Attributes:
        text: as the user gave it. port: of a serial line, baud: its speed. board: an emulated one.
    """

    text: str
    port: str = ""
    baud: int = DEFAULT_BAUD
    board: Board | None = None

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Read ``serial:PORT``, ``serial:PORT@BAUD`` or ``qemu:PROCESSOR``.

        Raises:
            UsageError: it has another form, or there is no such emulated board.
        """
        kind, _, rest = text.partition(":")
        emulated = {name: board for name, board in BOARDS.items() if board.uart}
        if kind == "serial" and rest:
            port, _, baud = rest.rpartition("@") if rest.rpartition("@")[2].isdecimal() else (rest, "", "")
            if port and 0 < int(baud or DEFAULT_BAUD) < 10**8:
                return cls(text, port=port, baud=int(baud or DEFAULT_BAUD))
        if kind == "qemu" and rest:
            if rest not in emulated:
                raise suggest(rest, list(emulated), "emulated board")
            return cls(text, board=emulated[rest])
        raise UsageError(
            f"{text!r} is no board.",
            f"Name a serial port, serial:/dev/ttyACM0 or serial:/dev/ttyUSB0@57600, or an emulated board: "
            f"{', '.join(f'qemu:{name}' for name in emulated)}.",
        )

    @contextlib.contextmanager
    def open(self, source: bytes, taps: bool = False) -> Iterator[Line]:
        """Open the line. An emulated board runs firmware that is built from the generated C ``source`` first.

        Args:
            source: generated C. taps: whether the firmware that is built reports what each layer stored.

        Raises:
            MissingError: the port, a package or a program is missing.
            StageError: the port cannot be opened, or the firmware does not fit on the board.
        """
        if self.board is None:
            with contextlib.closing(_open_port(self.port, self.baud)) as port:
                yield SerialLine(port, self.port)
            return
        with tempfile.TemporaryDirectory() as folder:
            program = firmware.build(self.board, source, Path(folder), taps)
            with emulated_line(self.board, program) as line:
                yield line


@contextlib.contextmanager
def emulated_line(board: Board, program: Path) -> Iterator[Line]:
    """Run a program on an emulated board in a child process; its serial line is the child's input and output."""
    command = [*board.emulator, "-display", "none", "-monitor", "none", "-serial", "stdio", "-kernel", str(program)]
    # Emulated firmware waits for bytes in a loop: it must not outlive this process.
    killed_with_us = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
    with (
        tempfile.TemporaryFile() as messages,
        subprocess.Popen(
            [*killed_with_us, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages, bufsize=0
        ) as child,
    ):
        try:
            yield EmulatedLine(child, board.processor, messages)
        finally:
            child.kill()


class EmulatedLine:
    """The serial line of an emulated board."""

    def __init__(self, child: subprocess.Popen[bytes], name: str, messages: IO[bytes]) -> None:
        if child.stdin is None or child.stdout is None:
            raise ValueError("the child process has no pipes")
        self._in, self._out = child.stdin.fileno(), child.stdout.fileno()
        self._name, self._messages = name, messages

    def write(self, content: bytes) -> None:
        """See `Line.write`."""
        try:
            while content:
                content = content[os.write(self._in, content) :]
        except OSError as error:
            raise self._ended() from error

    def read(self, seconds: float) -> bytes:
        """See `Line.read`."""
        if not select.select([self._out], [], [], seconds)[0]:
            return b""
        content = os.read(self._out, 1 << 16)
        if not content:
            raise self._ended()
        return content

    def _ended(self) -> StageError:
        self._messages.seek(0)
        message = self._messages.read(1000).decode(errors="replace").strip()
        return StageError(
            f"The emulator of {self._name} has ended: {message or 'without a message'}",
            "Check that it knows the board, as QEMU 7.2 does: qemu-system-arm -M help",
        )


class SerialLine:
    """A serial port."""

    def __init__(self, port: serial.Serial, name: str) -> None:
        self._port, self._name = port, name

    def write(self, content: bytes) -> None:
        """See `Line.write`."""
        try:
            self._port.write(content)
        except OSError as error:
            raise self._gone() from error

    def read(self, seconds: float) -> bytes:
        """See `Line.read`."""
        try:
            self._port.timeout = seconds
            first: bytes = self._port.read(1)
            rest: bytes = self._port.read(self._port.in_waiting) if first else b""
        except OSError as error:
            raise self._gone() from error
        return first + rest

    def _gone(self) -> StageError:
        return StageError(f"The port {self._name} is gone.", "Plug the board in again, and run the same command.")


def _open_port(name: str, baud: int) -> serial.Serial:
    """Open a serial port.

    Raises:
        MissingError: there is no such port, or pyserial is not installed. StageError: it cannot be opened.
    """
    try:
        import serial
    except ImportError as error:
        raise missing_extra("pyserial", "board") from error
    try:
        return serial.Serial(name, baud, write_timeout=10)
    except (OSError, ValueError) as error:
        if not Path(name).exists() and "/" in name:
            raise MissingError(f"There is no port {name}.", "Plug the board in; list ports: ls /dev/tty*") from error
        raise StageError(
            f"The port {name} cannot be opened: {error}",
            "Close other programs that use it. For the right to open it: sudo usermod -aG dialout $USER",
        ) from error
