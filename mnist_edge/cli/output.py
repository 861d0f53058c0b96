r"""Output of commands: tables and notes for people, or exactly one JSON object on standard output.

Text for people is escaped, so that file names cannot contain terminal commands or line breaks. JSON contains names
unchanged: it is ASCII, and a byte of a file name that is not UTF-8 appears as the escape of a lone surrogate,
``"\udcff"`` for the byte 255, as by Python's ``os.fsdecode`` (PEP 383); ``os.fsencode`` gives the byte back.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import re
import select
import shlex
import shutil
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import mnist_edge
from mnist_edge.errors import MnistEdgeError, StageError, printable
from mnist_edge.results import SCHEMA_VERSION
from mnist_edge.results.serialization import to_json

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from mnist_edge.data.fetch import Progress

PLAIN_WIDTH = 120


class OutputError(StageError):
    """Standard output cannot be written."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The output cannot be written: {reason}.", "Make room on that disk, or write the output somewhere else."
        )


@contextlib.contextmanager
def writing_output() -> Iterator[None]:
    """Write to standard output within this block, and flush at its end. If the reader has gone, the rest is dropped.

    Raises:
        OutputError: the disk is full, or the descriptor is not open for writing.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
    except OSError as error:
        discard(sys.stdout)
        raise OutputError(error.strerror or str(error)) from error


def discard(stream: Any) -> None:
    """Drop what a stream has buffered, so that the interpreter does not fail to write it when it ends."""
    with contextlib.suppress(OSError, ValueError):  # the stream has no descriptor
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def line(*words: object) -> str:
    """A command of this program, with quotes around words that a shell would split or expand."""
    return shlex.join(["mnist-edge", *map(str, words)])


def opening(page: Path) -> list[str]:
    """The command that opens a page in a browser, if this system has one."""
    program = "open" if sys.platform == "darwin" else "xdg-open"
    return [shlex.join([program, str(page)])] if shutil.which(program) else []


def sample_name() -> str:
    """A name for a picture that a suggested ``data --sample`` writes: one that no file in this folder has."""
    names = (f"digit{number}.png" for number in itertools.chain([""], itertools.count(2)))
    return next(name for name in names if not Path(name).exists())


def with_program(text: str) -> str:
    """Replace ``mnist-edge`` in the commands of a text by the path or command that started this program."""
    return re.sub(r"(?<![\w/-])mnist-edge(?= [a-z-])", lambda _: _program(), text)


def _program() -> str:
    """The words with which a shell calls this program again: its name, its path, or Python and the module."""
    called = Path(sys.argv[0])
    if called == Path(mnist_edge.__file__).with_name("__main__.py"):
        return f"{_shortest(Path(sys.executable))} -m mnist_edge"
    return _shortest(called) if called.stem == "mnist-edge" else "mnist-edge"


def _shortest(program: Path) -> str:
    """The name of a program if a shell finds it by its name, else its path."""
    found = shutil.which(program.name)
    if found is not None and Path(found).absolute() == program.absolute():
        return program.name
    return shlex.quote(str(program))


def note(text: str) -> None:
    """Write a line to standard error. If that cannot be written, the line is lost and the command goes on."""
    _to_stderr(printable(text))


def _to_stderr(text: str) -> None:
    if sys.stderr is None:  # the descriptor was closed before the program began
        return
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr)


def error_facts(error: MnistEdgeError) -> dict[str, Any]:
    """The fields of an error in the JSON output."""
    return {"code": error.exit_code, "kind": error.kind, "message": error.cause, "remedy": error.remedy}


class Output:
    """The output of a command: its result on standard output, everything else on standard error."""

    # Whether this command has begun to print its JSON object: an interrupt after that must not print a second one.
    json_begun: ClassVar[bool] = False
    # Whether this command has printed an error: an interrupt must not be reported twice.
    has_failed: ClassVar[bool] = False
    # What the user typed after the program's name.
    words: ClassVar[tuple[str, ...]] = ()

    def __init__(self, command: str, as_json: bool = False, debug: bool = False) -> None:
        self.command = command
        self._as_json = as_json
        self._debug = debug

    def result(self, payload: dict[str, Any], *shown: RenderableType, error: MnistEdgeError | None = None) -> int:
        """Show a command's result, and return its exit code.

        Args:
            payload: the JSON object, without the keys that every object has.
            shown: text and tables that are printed instead without ``--json``.
            error: why the command failed although it has a result (a gate, a picture that could not be read).
        """
        if self._as_json:
            return self.fail(error, payload) if error else self._json(payload, 0)
        with writing_output():
            for item in shown:
                if isinstance(item, str):  # importing rich takes longer than a prediction
                    print(printable(item))
                else:
                    print(_rendered(item), end="")
        return self.fail(error) if error else 0

    def event(self, payload: dict[str, Any], shown: str) -> None:
        """Print one line at once, while the command goes on: a JSON object with ``--json``, else a text.

        Raises:
            BrokenPipeError: the reader has gone; a command without an end must stop then.
            OutputError: the disk is full, or the descriptor is not open for writing.
        """
        text = json.dumps(self._whole(payload), allow_nan=False) if self._as_json else printable(shown)
        try:
            print(text, flush=True)
        except BrokenPipeError:
            raise
        except OSError as error:
            discard(sys.stdout)
            raise OutputError(error.strerror or str(error)) from error

    def require_reader(self) -> None:
        """Check that somebody reads the output, for a command that may have nothing to print for a long time.

        Raises:
            BrokenPipeError: the output is a pipe, and its reader has gone.
        """
        if sys.platform == "win32":
            return
        poll = select.poll()
        with contextlib.suppress(OSError, ValueError):  # an output without a descriptor
            poll.register(sys.stdout.fileno(), 0)
        if any(event & select.POLLERR for _, event in poll.poll(0)):
            raise BrokenPipeError

    def command_line(self) -> str:
        """The command as the user typed it, for a remedy that changes it."""
        return shlex.join(["mnist-edge", *self.words])

    def next(self, *commands: str) -> None:
        """Print commands to continue with. ``mnist-edge`` in them is replaced as by `with_program`."""
        if commands and not self._as_json:
            with writing_output():
                print("\n".join(["", "Next:", *(f"  {printable(with_program(command))}" for command in commands)]))

    def note(self, text: str) -> None:
        """Write a line to standard error, see `note`."""
        note(text)

    def fail(self, error: MnistEdgeError, payload: dict[str, Any] | None = None) -> int:
        """Print an error as two lines, cause and remedy (with ``--debug`` the traceback too); return its exit code."""
        if self._debug:
            text = io.StringIO()
            traceback.print_exception(error, file=text)
            _to_stderr("\n".join(printable(line) for line in text.getvalue().splitlines()))
        Output.has_failed = True
        note(f"mnist-edge: {error.cause}")
        # The output of doctor is meant to be sent to others, and names no folder.
        note(f"  remedy: {error.remedy if self.command == 'doctor' else with_program(error.remedy)}")
        if self._as_json and not isinstance(error, OutputError) and not Output.json_begun:
            try:
                self._json({**(payload or {}), "error": error_facts(error)}, error.exit_code)
            except OutputError as lost:
                return self.fail(lost)
        return error.exit_code

    @contextlib.contextmanager
    def progress(self) -> Iterator[Progress]:
        """A callback that shows progress: bars on a terminal, elsewhere a line when a step begins."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = _console(stderr=True)
        tasks: dict[str, Any] = {}
        if not console.is_terminal:

            def begin(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = None
                    self.note(f"{what} ...")

            yield begin
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
        with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:

            def update(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bars.add_task(what)
                bars.update(tasks[what], completed=done, total=total, visible=done < total)

            yield update

    def _whole(self, payload: dict[str, Any]) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, "command": self.command, **to_json(payload)}

    def _json(self, payload: dict[str, Any], code: int) -> int:
        text = json.dumps(self._whole(payload), allow_nan=False)
        Output.json_begun = True
        with writing_output():
            print(text)
        return code


def table(title: str, *columns: str) -> Any:
    """An empty table whose cells are made printable; a column whose name begins with ``>`` is aligned right."""
    from rich.table import Table

    class PrintableTable(Table):
        def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
            super().add_row(*(printable(cell) if isinstance(cell, str) else cell for cell in cells), **options)

    made = PrintableTable(title=title or None, title_justify="left", box=None, padding=(0, 1, 0, 0))
    for column in columns:
        right = column.startswith(">")
        made.add_column(column.removeprefix(">"), justify="right" if right else "left", overflow="fold")
    return made


def _rendered(item: RenderableType) -> str:
    """A table as text, with colours if standard output is a terminal."""
    console = _console()
    with console.capture() as captured:
        console.print(item, highlight=False, markup=False)
    return captured.get()


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr)
    # A pipe or a log has no width of its own, and rich's default of 80 columns would fold wide tables.
    return console if console.is_terminal else Console(stderr=stderr, width=PLAIN_WIDTH)
