"""The program: its commands, and their errors as two lines and an exit code."""

from __future__ import annotations

import difflib
import io
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
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
    watch,
)
from mnist_edge.cli.output import Output, OutputError, discard, writing_output
from mnist_edge.errors import EXIT_INTERRUPTED, InterruptError, MnistEdgeError, StageError, UsageError
from mnist_edge.store.workspace import BUILT_IN_MODELS, DEFAULT_WORKSPACE, is_model_folder

# Base class of the parser's errors. Its name has changed between versions of Typer; the name BadParameter has not.
_ParserUsageError: type[Any] = typer.BadParameter.__mro__[1]

STDERR = 2  # the last of the standard file descriptors
app = typer.Typer(
    name="mnist-edge",
    help="From a Keras model to a proven int8 file on a small device.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_COMMANDS = (
    train, cross_validate, sweep, evaluate, export, verify, predict, watch, serve, bench, bundle, info, data, doctor,
)  # fmt: skip
for module in _COMMANDS:
    # Without a short help, the program's help cuts the first line of the docstring.
    app.command(module.NAME, short_help=(module.command.__doc__ or "").splitlines()[0])(module.command)


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
    """Run a command line, print its errors, and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = next((word for word in words if not word.startswith("-")), "")
    output = Output(name, as_json="--json" in words, debug="--debug" in words)
    Output.json_begun, Output.has_failed, Output.words = False, False, tuple(words)
    try:
        _prepare_streams()
        result = app(words, prog_name="mnist-edge", standalone_mode=False)
        with writing_output():  # flush the help or the version that the parser has printed
            pass
        if result == EXIT_INTERRUPTED and not Output.has_failed:  # the parser has caught the interrupt
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except MnistEdgeError as error:
        return output.fail(error)
    except _ParserUsageError as error:
        # There were no arguments, and the help was shown.
        return 2 if type(error).__name__ == "NoArgsIsHelpError" else output.fail(_usage_error(error, words))
    except (KeyboardInterrupt, typer.Abort):
        return output.fail(InterruptError())
    except (BrokenPipeError, SystemExit):  # Typer turns BrokenPipeError into SystemExit(1)
        return _reader_left()
    except Exception as error:
        return output.fail(_output_error() or _unexpected(error))


def _prepare_streams() -> None:
    """Make names printable in any encoding, and replace standard streams that were closed before the program began.

    Raises:
        OutputError: there is no standard output.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.stdin is None or sys.stderr is None:
        # Otherwise the next files to be opened get these descriptors, and libraries write their messages into them.
        while (handle := os.open(os.devnull, os.O_RDWR)) <= STDERR:
            pass
        os.close(handle)


def _output_error() -> OutputError | None:
    """The error of flushing standard output; None if it can be written."""
    try:
        with writing_output():
            pass
    except OutputError as error:
        return error
    return None


def _usage_error(error: Any, words: list[str]) -> UsageError:
    """A parser's error as a cause and a remedy.

    The remedy for an unknown option or command has the nearest known one, that for a model's name without ``--model``
    the whole command with it.

    Args:
        error: of the parser. words: the command line, without the program.
    """
    message = re.split(r"\s+(?:Did you mean|\(Possible)", error.format_message())[0]
    message = message.rstrip(".?! ") + "."
    context = error.ctx
    known: list[str] = []
    # A missing or invalid value quotes an option that exists, or the value.
    if context is not None and not isinstance(error, typer.BadParameter):
        known = [option for parameter in context.command.params for option in parameter.opts]
        known += list(getattr(context.command, "commands", {}))
    if (corrected := _with_model_option(message, context, words)) is not None:
        return UsageError(message, f"A model is named with --model: {shlex.join(['mnist-edge', *corrected])}")
    # Which attributes the error and the command have depends on their types, which are Typer's own.
    word = getattr(error, "option_name", None) or (re.findall(r"'([^']+)'", message) or [""])[-1]
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    hint = f"Did you mean {near[0]}? " if near else ""
    path = context.command_path if context is not None else "mnist-edge"
    return UsageError(message, f"{hint}See: {path} --help")


def _with_model_option(message: str, context: Any, words: list[str]) -> list[str] | None:
    """The command line with ``--model`` before the model that stands there without it; None if it is not that error."""
    found = re.fullmatch(r"Got unexpected extra argument(?:\(s\))? \((.+)\)\.", message)
    if found is None or words.count(found[1]) != 1 or any(word.startswith("--model") for word in words):
        return None
    model = found[1]
    workspace = Path(context.params.get("workspace") or DEFAULT_WORKSPACE)
    takes_model = any("--model" in parameter.opts for parameter in context.command.params)
    if not takes_model or not (model in BUILT_IN_MODELS or Path(model).exists() or is_model_folder(workspace / model)):
        return None
    return [part for word in words for part in (("--model", word) if word == model else (word,))]


def _unexpected(error: Exception) -> MnistEdgeError:
    """An unexpected exception as an error of the system or a bug of this program."""
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
    """Return the exit code after the reader of our output (such as ``head``) has closed it."""
    discard(sys.stdout)
    return 0
