"""The program: its commands, and how what they raise becomes two lines and an exit code."""

from __future__ import annotations

import difflib
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from mnist_edge import __version__
from mnist_edge.cli import (
    bench,
    bundle,
    cross_validate,
    data,
    doctor,
    evaluate,
    export,
    info,
    predict,
    serve,
    sweep,
    train,
    verify,
)
from mnist_edge.cli.output import Output, OutputError, discard, writing_output
from mnist_edge.errors import EXIT_INTERRUPTED, InterruptError, MnistEdgeError, StageError, UsageError

# Typer's parser raises these; its name for their base has moved between versions, its own BadParameter has not.
_ParserUsageError: type[Any] = typer.BadParameter.__mro__[1]

STDERR = 2  # the last of the standard descriptors
app = typer.Typer(
    name="mnist-edge",
    help="From a Keras model to a proven int8 file on a small device.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_COMMANDS = (train, cross_validate, sweep, evaluate, export, verify, predict, serve, bench, bundle, info, data, doctor)
for module in _COMMANDS:
    app.command(module.NAME)(module.command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mnist-edge {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """From a Keras model to a proven int8 file on a small device."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code. Nothing but the exit code 130 leaves here as an exception would."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = next((word for word in words if not word.startswith("-")), "")
    output = Output(name, as_json="--json" in words, debug="--debug" in words)
    Output.json_begun, Output.words = False, tuple(words)
    try:
        _prepare_streams()
        result = app(words, prog_name="mnist-edge", standalone_mode=False)
        with writing_output():  # what the parser has printed: help and version
            pass
        if result == EXIT_INTERRUPTED:  # the parser has caught it, and says nothing
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except MnistEdgeError as error:
        return output.fail(error)
    except _ParserUsageError as error:
        # No arguments at all: the help was shown, and nothing was done.
        return 2 if type(error).__name__ == "NoArgsIsHelpError" else output.fail(_in_our_words(error))
    except (KeyboardInterrupt, typer.Abort):
        return output.fail(InterruptError())
    except (BrokenPipeError, SystemExit):  # the parser makes an exit of the former, with the code of a failed gate
        return _reader_left()
    except Exception as error:
        return output.fail(_output_error() or _our_bug(error))


def _prepare_streams() -> None:
    """Make names printable in any encoding, and see to standard streams that were closed before the program began.

    Raises:
        OutputError: there is no standard output.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.stdin is None or sys.stderr is None:
        # Else the next files that are opened would take these descriptors, and libraries would write into them.
        while (handle := os.open(os.devnull, os.O_RDWR)) <= STDERR:
            pass
        os.close(handle)


def _output_error() -> OutputError | None:
    """The error of a standard output to which what was printed cannot be written; None if it can."""
    try:
        with writing_output():
            pass
    except OutputError as error:
        return error
    return None


def _in_our_words(error: Any) -> UsageError:
    """A parser's complaint as a cause and a remedy, with the nearest name there is."""
    message = re.split(r"\s+(?:Did you mean|\(Possible)", error.format_message())[0]
    message = message.rstrip(".?! ") + "."
    context = error.ctx
    known: list[str] = []
    if context is not None:
        known = [option for parameter in context.command.params for option in parameter.opts]
        known += list(getattr(context.command, "commands", {}))
    word = getattr(error, "option_name", None) or (re.findall(r"'([^']+)'", message) or [""])[-1]
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    hint = f"Did you mean {near[0]}? " if near else ""
    path = context.command_path if context is not None else "mnist-edge"
    return UsageError(message, f"{hint}See {path} --help.")


def _our_bug(error: Exception) -> MnistEdgeError:
    if isinstance(error, OSError):
        failed: MnistEdgeError = StageError(
            f"The system refused: {error}.", "Check the disk, its permissions and the path."
        )
    else:
        failed = StageError(
            f"This is a bug of mnist-edge: {type(error).__name__}: {error}.",
            "Please report it, with the output of the same command and --debug.",
        )
    failed.__cause__ = error
    return failed


def _reader_left() -> int:
    """Whoever read our output (``head``, say) has gone: keep the interpreter from complaining about it."""
    discard(sys.stdout)
    return 0
