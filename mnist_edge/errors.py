"""Every failure a user can meet: one line of cause, one line of remedy, one documented exit code."""

from __future__ import annotations

from typing import ClassVar

EXIT_INTERRUPTED = 130


class MnistEdgeError(Exception):
    """Base of the tree. Library code raises these; only the command line turns them into exit codes."""

    exit_code: ClassVar[int] = 5
    kind: ClassVar[str] = "stage"

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause)
        self.cause = one_line(cause)
        self.remedy = one_line(remedy)


def one_line(text: str) -> str:
    """A text on one line, with whitespace collapsed and made printable."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    r"""A text whose unprintable characters are escaped: control characters, line breaks, bytes that are not UTF-8.

    Names of files and classes may hold anything, also commands to a terminal. A byte of a file's name that is not
    UTF-8, which Python keeps as a lone surrogate, is shown as that byte: ``\xff``.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # the error handler surrogateescape, which file names are decoded with
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


class GateError(MnistEdgeError):
    """A check was made and its answer is no: parity, regression, calibration on test images."""

    exit_code = 1
    kind = "gate"


class UsageError(MnistEdgeError):
    """The command line or a call asks for something that does not exist."""

    exit_code = 2
    kind = "usage"


class MissingError(MnistEdgeError):
    """A runtime, an extra, a compiler or a data source is not on this machine."""

    exit_code = 3
    kind = "missing"


class ContentError(MnistEdgeError):
    """A file's content is unreadable, corrupt, or not what its manifest says."""

    exit_code = 4
    kind = "content"


class PictureTooLargeError(ContentError):
    """A picture has more pixels, or takes more memory to decode, than allowed."""


class RefusedError(ContentError):
    """An engine refuses a file whose structure is sound. A gate counts it as a failure of that engine."""


class StageError(MnistEdgeError):
    """A stage failed: disk, permission, conversion."""


class ImageShapeError(UsageError):
    """Images have not the shape or dtype that the model takes."""


class InterruptError(MnistEdgeError):
    """The user or the system interrupted the command (Ctrl-C, SIGINT)."""

    exit_code = EXIT_INTERRUPTED
    kind = "interrupted"

    def __init__(self) -> None:
        super().__init__("Interrupted.", "Run the same command again; train and export go on from what was finished.")


def missing_extra(what: str, extra: str) -> MissingError:
    """The error for an optional package that is not installed.

    Args:
        what: what was asked for, in a user's words.
        extra: the extra of mnist-edge that brings the package.
    """
    return MissingError(f"{what} is not installed here.", f"Install it with: pip install 'mnist-edge[{extra}]'")


def suggest(name: str, known: list[str], what: str) -> UsageError:
    """The error for a name that is not known, with the nearest known one."""
    import difflib

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    remedy = f"Did you mean {near[0]!r}? " if near else ""
    return UsageError(f"There is no {what} {name!r}.", f"{remedy}Known: {', '.join(known) or 'none'}.")
