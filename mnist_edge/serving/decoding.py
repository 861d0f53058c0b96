"""Pictures and large bodies, decoded in a process of their own, which can be ended and whose memory is limited.

The server sends jobs over a socket, one at a time, and gets a result for each (`decoders`). Both are MessagePack with
declared types: nothing that a client sends can become code in the server, even if a decoder is taken over. A job's
content follows as it is: copying a large one would hold up the event loop.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import msgspec

from mnist_edge.errors import MnistEdgeError, PictureTooLargeError
from mnist_edge.serving import tfserving, v2
from mnist_edge.serving.limits import MIB, RequestRefusedError
from mnist_edge.serving.memory import DECODER_RETURNED_BYTES, return_large_blocks
from mnist_edge.serving.requests import Grid, ImageRequest
from mnist_edge.vision.digit import NoDigit
from mnist_edge.vision.pictures import prepare, read_picture

# A job begins with two lengths, its own and that of its content; a result with its length and whether the decoder ends.
JOB_HEAD, RESULT_HEAD = struct.Struct("<II"), struct.Struct("<I?")
# Memory that one job may add to a decoder. A decoder that has kept more than KEPT_BYTES of it is replaced.
JOB_BYTES = 192 * MIB
KEPT_BYTES = 16 * MIB
# A picture or body from which on a decoder waits until no other works on a large one: together they would exceed the
# memory of a small board.
LARGE_PIXELS = 2_000_000
LARGE_BODY = MIB
MOST_FIELDS = 16
# Decoders give way to the server's event loop, so that small requests and health are answered meanwhile.
NICENESS = 10


class PictureJob(msgspec.Struct, frozen=True, tag=True):
    """Find digits in a picture, or scale it (preprocessor ``resize``). A form's first file is the picture."""

    content: bytes
    form: str | None
    name: str
    grid: Grid
    pixels: int
    multi: bool = False


class V2Job(msgspec.Struct, frozen=True, tag=True):
    """Read a request of the Open Inference Protocol."""

    content: bytes
    header: str | None
    grid: Grid


class TfJob(msgspec.Struct, frozen=True, tag=True):
    """Read a request of TensorFlow Serving's REST."""

    content: bytes
    grid: Grid


class GrpcJob(msgspec.Struct, frozen=True, tag=True):
    """Read a ``ModelInferRequest``, for one of the models that have these grids."""

    content: bytes
    grids: dict[str, Grid]


class FoundImage(msgspec.Struct, frozen=True):
    """One image for the network: uint8, (h, w) of the grid, with its box in the picture: left, top, width, height."""

    pixels: bytes
    box: tuple[int, int, int, int]
    as_is: bool
    may_be_turned: bool


class Pictures(msgspec.Struct, frozen=True, tag=True):
    """What a picture holds; ``reason`` says why it holds no digit."""

    found: list[FoundImage]
    reason: str | None = None


class ReadRequest(msgspec.Struct, frozen=True, tag=True):
    """What a body asks for."""

    asked: ImageRequest


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """Why the job's content is refused: an HTTP status and a message."""

    status: int
    message: str


Job = PictureJob | V2Job | TfJob | GrpcJob
Result = Pictures | ReadRequest | Refusal


Exclusive = Callable[[], contextlib.AbstractContextManager[None]]


def do(job: Job, exclusive: Exclusive = contextlib.nullcontext) -> Result:
    """Do a job; what needs much memory is done within ``exclusive()``."""
    try:
        return _done(job, exclusive)
    except RequestRefusedError as error:
        return Refusal(error.status, error.message)
    except MemoryError:
        return Refusal(413, "It takes more memory than is allowed.")
    except Exception as error:
        return Refusal(500, f"This is a bug of mnist-edge: {type(error).__name__} while decoding.")


def _done(job: Job, exclusive: Exclusive) -> Result:
    if isinstance(job, PictureJob):
        return _pictures(job, exclusive)
    with exclusive() if len(job.content) > LARGE_BODY else contextlib.nullcontext():
        if isinstance(job, V2Job):
            return ReadRequest(v2.read(job.content, job.header, job.grid))
        if isinstance(job, TfJob):
            return ReadRequest(tfserving.read(job.content, job.grid))
        from mnist_edge.serving import messages

        return ReadRequest(messages.read(job.content, job.grids))


def _pictures(job: PictureJob, exclusive: Exclusive) -> Pictures:
    content = job.content if job.form is None else _first_file(job.content, job.form)
    try:
        return _found(job, content, min(LARGE_PIXELS, job.pixels))
    except PictureTooLargeError as error:
        if job.pixels <= LARGE_PIXELS:
            raise RequestRefusedError(413, error.cause) from None
    try:
        with exclusive():
            return _found(job, content, job.pixels)
    except PictureTooLargeError as error:
        raise RequestRefusedError(413, error.cause) from None


def _found(job: PictureJob, content: bytes, max_pixels: int) -> Pictures:
    try:
        picture = read_picture(content, job.name, max_pixels=max_pixels)
        found = prepare(picture, job.grid.preprocessor, (job.grid.height, job.grid.width), job.multi)
    except NoDigit as reason:
        return Pictures([], str(reason))
    except PictureTooLargeError:
        raise
    except MnistEdgeError as error:
        raise RequestRefusedError(400, error.cause) from None
    return Pictures([FoundImage(item.pixels.tobytes(), item.box, item.as_is, item.may_be_turned) for item in found])


def _first_file(content: bytes, content_type: str) -> bytes:
    """The first file of a form.

    Raises:
        RequestRefusedError: 400, the form is damaged, has too many fields, or no file.
    """
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import File, create_form_parser

    found: list[bytes] = []
    fields = 0

    def take(file: File) -> None:
        file.file_object.seek(0)
        found.append(file.file_object.read())
        raise _EnoughError

    def count(_: object) -> None:
        nonlocal fields
        fields += 1
        if fields > MOST_FIELDS:
            raise RequestRefusedError(400, f"The form has more than {MOST_FIELDS} fields before its file.")

    with contextlib.suppress(_EnoughError):
        try:
            in_memory = {"MAX_MEMORY_FILE_SIZE": len(content) + 1}
            parser = create_form_parser({"Content-Type": content_type.encode()}, count, take, config=in_memory)
            parser.write(content)
            parser.finalize()
        except (FormParserError, ValueError) as error:
            raise RequestRefusedError(400, "The form is damaged.") from error
    if not found:
        raise RequestRefusedError(400, "The form holds no file.")
    return found[0]


class _EnoughError(Exception):
    """Ends the parsing of a form whose file was found."""


def run(connection: socket.socket, large: IO[bytes]) -> None:
    """Do jobs until the server closes the connection or this process has kept too much memory.

    Args:
        connection: to the server; each message is a head and MessagePack.
        large: a file that can be written; its lock is held by the one decoder that works on something large.
    """
    os.nice(NICENESS)
    return_large_blocks(DECODER_RETURNED_BYTES)
    # Ctrl-C and systemd's stop signal go to all processes; decoders end when their server does.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # a library that warns would wait for whoever reads standard error
    in_use = _memory()
    resource.setrlimit(resource.RLIMIT_AS, (_memory(virtual=True) + JOB_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    encoder = msgspec.msgpack.Encoder()
    for job in _jobs(connection):
        answer = encoder.encode(do(job, lambda: _exclusive(large)))
        del job
        ends = _memory() > in_use + KEPT_BYTES
        connection.sendall(RESULT_HEAD.pack(len(answer), ends) + answer)
        if ends:
            return


def _jobs(connection: socket.socket) -> Iterator[Job]:
    decoder: msgspec.msgpack.Decoder[Job] = msgspec.msgpack.Decoder(Job)
    stream = connection.makefile("rb")
    while len(head := stream.read(JOB_HEAD.size)) == JOB_HEAD.size:
        length, content_length = JOB_HEAD.unpack(head)
        job = decoder.decode(stream.read(length))
        yield msgspec.structs.replace(job, content=stream.read(content_length))


@contextlib.contextmanager
def _exclusive(lock: IO[bytes]) -> Iterator[None]:
    fcntl.lockf(lock, fcntl.LOCK_EX)  # of the process, not of the descriptor, and released with it
    try:
        yield
    finally:
        fcntl.lockf(lock, fcntl.LOCK_UN)


def _memory(virtual: bool = False) -> int:
    """Bytes of this process, resident or virtual."""
    pages = Path("/proc/self/statm").read_text().split()
    return int(pages[0 if virtual else 1]) * resource.getpagesize()
