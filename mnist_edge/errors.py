"""Error classes. Each has a line of cause, a line of remedy and a documented exit code."""

from __future__ import annotations

from typing import ClassVar

EXIT_INTERRUPTED = 130


class MnistEdgeError(Exception):
    """Base class of all errors that mnist-edge raises. Only the command line turns them into exit codes.

    Attributes:
        exit_code: of a command that ends with this error.
        kind: name of the class of errors in the JSON of a failed command.
        cause: what is wrong, on one line.
        remedy: what the user can do, on one line.
    """

    exit_code: ClassVar[int] = 5
    kind: ClassVar[str] = "stage"

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause)
        self.cause = one_line(cause)
        self.remedy = one_line(remedy)


def one_line(text: str) -> str:
    """A text on one line: whitespace is collapsed, and unprintable characters are escaped."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    r"""A text with unprintable characters escaped: control characters, line breaks, bytes that are not UTF-8.

    Names of files and classes may contain escape sequences that control a terminal. A byte of a file name that is not
    UTF-8, which Python represents as a lone surrogate, becomes ``\xff``.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # from the error handler surrogateescape, with which Python decodes file names
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


class GateError(MnistEdgeError):
    """A check failed: parity, a regression, a size budget, or an activation calibration on test images."""

    exit_code = 1
    kind = "gate"


class UsageError(MnistEdgeError):
    """Wrong usage: a name, path or option that does not exist, or a value that is not allowed."""

    exit_code = 2
    kind = "usage"


class MissingError(MnistEdgeError):
    """A runtime, an extra, a compiler or a data source is not available on this machine."""

    exit_code = 3
    kind = "missing"


class ContentError(MnistEdgeError):
    """A file's content is unreadable or corrupt, or does not match its manifest."""

    exit_code = 4
    kind = "content"


class PictureTooLargeError(ContentError):
    """A picture has more pixels, or needs more memory to be decoded, than allowed."""


class RefusedError(ContentError):
    """An engine refuses a file whose structure is valid. The gate counts it as a failure of that engine."""


class StageError(MnistEdgeError):
    """A stage failed, for instance because of the disk, a permission or a converter."""


class UnsupportedOpError(StageError):
    """A format cannot compute an op of the model, or not with its types and shapes."""


class ImageShapeError(UsageError):
    """Images do not have the shape or dtype that the model takes."""


class InterruptError(MnistEdgeError):
    """The user or the system interrupted the command (Ctrl-C, SIGINT)."""

    exit_code = EXIT_INTERRUPTED
    kind = "interrupted"

    def __init__(self) -> None:
        super().__init__("Interrupted.", "Run the same command again; train and export go on from what was finished.")


def missing_extra(what: str, extra: str) -> MissingError:
    """The error for an optional package that is not installed.

    Args:
        what: name of the package or feature.
        extra: the extra of mnist-edge that installs the package.
    """
    return MissingError(f"{what} is not installed here.", f"Install it with: pip install 'mnist-edge[{extra}]'")


def suggest(name: str, known: list[str], what: str) -> UsageError:
    """The error for an unknown name. The remedy suggests the most similar known name.

    Args:
        name: as the user gave it.
        known: names that would be accepted.
        what: the kind of name, such as ``format``.
    """
    import difflib

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    remedy = f"Did you mean {near[0]!r}? " if near else ""
    return UsageError(f"There is no {what} {name!r}.", f"{remedy}Known: {', '.join(known) or 'none'}.")
