"""The decoding process: it decodes pictures and large bodies, so that the server can limit their memory and time.

The server (`decoders`) sends one job at a time over a socket and receives a result for each. Both are MessagePack with
declared types, so that bytes from a client cannot become code in the server even if they take over the decoder. A job's
content follows its MessagePack as raw bytes, because encoding a large one would block the server's event loop.
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

# Heads of messages. Job: bytes of its MessagePack, bytes of its content. Result: bytes of its MessagePack, whether this
# process ends now.
JOB_HEAD, RESULT_HEAD = struct.Struct("<II"), struct.Struct("<I?")
# Memory that one job may add to a decoding process, and memory above which a process ends after a job and is replaced.
JOB_BYTES = 192 * MIB
KEPT_BYTES = 16 * MIB
# Pictures with more pixels and bodies with more bytes are decoded by one process at a time: together they would exceed
# the memory of a small board.
LARGE_PIXELS = 2_000_000
LARGE_BODY_BYTES = MIB
# Most form fields before a form's first file.
MOST_FIELDS = 16
# Niceness of decoding processes: the server's event loop has priority, so that small requests are served meanwhile.
NICENESS = 10


class PictureJob(msgspec.Struct, frozen=True, tag=True):
    """Find digits in a picture, or only scale it (preprocessor ``resize``).

    Attributes:
        content: the picture file, or a multipart form whose first file is the picture.
        form: the form's Content-Type; None if the content is the picture.
        name: name of the picture in messages.
        grid: the model's input.
        pixels: largest number of pixels that is accepted.
        multi: whether to return every digit in the picture.
    """

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
    """Read a request of TensorFlow Serving's REST protocol."""

    content: bytes
    grid: Grid


class GrpcJob(msgspec.Struct, frozen=True, tag=True):
    """Read a gRPC ``ModelInferRequest``; ``grids`` holds the input of each model by its name."""

    content: bytes
    grids: dict[str, Grid]


class FoundImage(msgspec.Struct, frozen=True):
    """One digit found in a picture; the fields are those of `vision.digit.Found`.

    Attributes:
        pixels: the network's input, uint8 in C order, of the grid's ``image_shape``.
        box: the digit's place in the picture, in pixels: left, top, width, height.
        as_is: whether the picture itself is the network's input.
        may_be_turned: whether the digit may be turned by a quarter.
    """

    pixels: bytes
    box: tuple[int, int, int, int]
    as_is: bool
    may_be_turned: bool


class Pictures(msgspec.Struct, frozen=True, tag=True):
    """The digits found in a picture; if there is none, ``reason`` says why."""

    found: list[FoundImage]
    reason: str | None = None


class ReadRequest(msgspec.Struct, frozen=True, tag=True):
    """The request that a body contains."""

    image_request: ImageRequest


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """Refusal of a job's content, as an HTTP status and a message."""

    status: int
    message: str


Job = PictureJob | V2Job | TfJob | GrpcJob
Result = Pictures | ReadRequest | Refusal


# Makes a context that only one decoding process can be in at a time.
Exclusive = Callable[[], contextlib.AbstractContextManager[None]]


def run_job(job: Job, exclusive: Exclusive = contextlib.nullcontext) -> Result:
    """Run a job; large content is decoded inside ``exclusive()``. Errors are returned as a `Refusal`, never raised."""
    try:
        return _run_job(job, exclusive)
    except RequestRefusedError as error:
        return Refusal(error.status, error.message)
    except MemoryError:
        return Refusal(413, "The picture or body takes more memory than is allowed.")
    except Exception as error:
        return Refusal(500, f"This is a bug of mnist-edge: {type(error).__name__} while decoding.")


def _run_job(job: Job, exclusive: Exclusive) -> Result:
    if isinstance(job, PictureJob):
        return _read_picture(job, exclusive)
    with exclusive() if len(job.content) > LARGE_BODY_BYTES else contextlib.nullcontext():
        if isinstance(job, V2Job):
            return ReadRequest(v2.read(job.content, job.header, job.grid))
        if isinstance(job, TfJob):
            return ReadRequest(tfserving.read(job.content, job.grid))
        from mnist_edge.serving import messages

        return ReadRequest(messages.read(job.content, job.grids))


def _read_picture(job: PictureJob, exclusive: Exclusive) -> Pictures:
    content = job.content if job.form is None else _first_file(job.content, job.form)
    try:
        return _find_digits(job, content, min(LARGE_PIXELS, job.pixels))
    except PictureTooLargeError as error:
        if job.pixels <= LARGE_PIXELS:
            raise RequestRefusedError(413, error.cause) from None
    try:
        with exclusive():
            return _find_digits(job, content, job.pixels)
    except PictureTooLargeError as error:
        raise RequestRefusedError(413, error.cause) from None


def _find_digits(job: PictureJob, content: bytes, max_pixels: int) -> Pictures:
    try:
        colour, preprocessor = job.grid.channels > 1, job.grid.preprocessor
        picture = read_picture(content, job.name, colour=colour, max_pixels=max_pixels, preprocessor=preprocessor)
        found = prepare(picture, preprocessor, job.grid.image_shape, job.multi)
    except NoDigit as reason:
        return Pictures([], str(reason))
    except PictureTooLargeError:
        raise
    except MnistEdgeError as error:
        raise RequestRefusedError(400, error.cause) from None
    return Pictures([FoundImage(item.pixels.tobytes(), item.box, item.as_is, item.may_be_turned) for item in found])


def _first_file(content: bytes, content_type: str) -> bytes:
    """The first file of a multipart form.

    Raises:
        RequestRefusedError: 400, the form is damaged, has too many fields, or has no file.
    """
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import File, create_form_parser

    found: list[bytes] = []
    fields = 0

    def take(file: File) -> None:
        file.file_object.seek(0)
        found.append(file.file_object.read())
        raise _FileFoundError

    def count(_: object) -> None:
        nonlocal fields
        fields += 1
        if fields > MOST_FIELDS:
            raise RequestRefusedError(400, f"The form has more than {MOST_FIELDS} fields before its file.")

    with contextlib.suppress(_FileFoundError):
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


class _FileFoundError(Exception):
    """Stops the form parser once the first file has been read."""


def run(connection: socket.socket, large_job_lock: IO[bytes]) -> None:
    """Run jobs until the server closes the connection or this process has kept too much memory.

    Args:
        connection: the socket to the server; each message is a head and MessagePack.
        large_job_lock: a writable file; the process that decodes large content locks it.
    """
    os.nice(NICENESS)
    return_large_blocks(DECODER_RETURNED_BYTES)
    # Ctrl-C and systemd's stop signal reach all processes; a decoding process ends when its server closes the socket.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # else a library's warning could block until standard error is read
    in_use_at_start = _memory()
    resource.setrlimit(resource.RLIMIT_AS, (_memory(virtual=True) + JOB_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    encoder = msgspec.msgpack.Encoder()
    for job in _jobs(connection):
        result = encoder.encode(run_job(job, lambda: _locked(large_job_lock)))
        del job
        ends = _memory() > in_use_at_start + KEPT_BYTES
        connection.sendall(RESULT_HEAD.pack(len(result), ends) + result)
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
def _locked(lock: IO[bytes]) -> Iterator[None]:
    fcntl.lockf(lock, fcntl.LOCK_EX)  # belongs to the process, although the descriptor was inherited, and ends with it
    try:
        yield
    finally:
        fcntl.lockf(lock, fcntl.LOCK_UN)


def _memory(virtual: bool = False) -> int:
    """Resident or virtual memory of this process, in bytes."""
    pages = Path("/proc/self/statm").read_text().split()
    return int(pages[0 if virtual else 1]) * resource.getpagesize()
