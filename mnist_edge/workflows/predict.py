"""``predict``: the digits in pictures."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from mnist_edge.errors import ContentError
from mnist_edge.runtime import open_session
from mnist_edge.runtime.predict import STDIN, Seen, as_text, find_pictures, predict_picture, unread
from mnist_edge.runtime.selection import pick_file
from mnist_edge.store.workspace import DEFAULT_MODEL, DEFAULT_WORKSPACE, short_name
from mnist_edge.vision.pictures import MAX_FILE_BYTES

__all__ = ["PredictOptions", "PredictResult", "as_text", "predict"]

READ_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """What ``predict`` reads, and with which model.

    Attributes:
        sources: pictures, folders of pictures, or ``-`` for one picture on standard input.
        model: a file, a model's folder, a workspace or a name.
        workspace: where names are looked up.
        engine: a name, or ``auto``. threads: that it may use.
        raw: take the whole picture as it is, instead of looking for a digit in it.
        multi: read every digit in a picture.
        trust: accept a model file whose content differs from its manifest.
    """

    sources: tuple[str, ...]
    model: str = DEFAULT_MODEL
    workspace: Path = DEFAULT_WORKSPACE
    engine: str = "auto"
    threads: int = 1
    raw: bool = False
    multi: bool = False
    trust: bool = False


@dataclass(frozen=True)
class PredictResult:
    """The predictions, and the file and the engine that made them.

    Attributes:
        seen: a prediction per picture, or per digit with ``multi``, with the image that the network was given.
        path: of the model file. file: its short name. model: the model's name.
        engine: its name. engine_reason: why it was chosen.
        calibrated: whether the manifest has a temperature for this file. verified: whether the manifest has its hash.
        error: the error for pictures that could not be read; None if all could.
    """

    seen: tuple[Seen, ...]
    path: Path
    file: str
    model: str
    engine: str
    engine_reason: str
    calibrated: bool
    verified: bool
    error: ContentError | None


def predict(options: PredictOptions) -> PredictResult:
    """Read pictures. A picture that cannot be read is an error in its own prediction, and does not stop the others.

    Raises:
        UsageError: no such picture, model or engine.
        MissingError: no engine for the model's file.
        ContentError: the model's file is corrupt or not what its manifest says, or standard input is no picture.
    """
    pictures = find_pictures(options.sources)
    session = open_session(
        pick_file(options.workspace, options.model, options.engine), options.engine, options.threads, options.trust
    )
    seen = tuple(
        item
        for name in pictures
        for item in predict_picture(
            session, name, _standard_input() if name == STDIN else None, raw=options.raw, multi=options.multi
        )
    )
    return PredictResult(
        seen,
        session.path,
        file=short_name(session.path, options.workspace),
        model=session.contract.model,
        engine=session.engine,
        engine_reason=session.reason,
        calibrated=session.temperature is not None,
        verified=session.verified,
        error=unread([item.prediction for item in seen]),
    )


def _standard_input() -> bytes:
    """A picture from standard input. An endless stream is read no further than the largest picture file.

    Raises:
        ContentError: more bytes than that, or no input at all.
    """
    remedy = "Give one whole PNG or JPEG file on standard input."
    if sys.stdin is None:
        raise ContentError("Standard input is closed.", remedy)
    content = bytearray()
    while chunk := sys.stdin.buffer.read(READ_BYTES):
        content += chunk
        if len(content) > MAX_FILE_BYTES:
            raise ContentError(f"Standard input has more than {MAX_FILE_BYTES >> 20} MiB.", remedy)
    return bytes(content)
