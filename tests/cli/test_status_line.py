"""The line on a terminal that shows what is seen now."""

from __future__ import annotations

import io
import os
import sys

import pytest

from mnist_edge.cli import status_line, watch
from mnist_edge.cli.output import Output
from mnist_edge.cli.status_line import StatusLine
from mnist_edge.results import Prediction


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_replaces_the_one_before_and_is_removed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    monkeypatch.setattr(status_line, "PAUSE", 0)
    terminal = Terminal()
    with StatusLine(terminal, shown=True) as line:
        line.write("7 (99%)")
        line.write("a name with \x1b and more than ten characters")
    assert terminal.getvalue() == "\r7 (99%)\x1b[K\ra name wi\x1b[K\r\x1b[K"


def test_nothing_is_written_elsewhere_than_on_a_terminal_or_if_it_is_not_wanted() -> None:
    for stream, shown in ((io.StringIO(), True), (Terminal(), False), (None, True)):
        with StatusLine(stream, shown) as line:
            line.write("7")
        assert stream is None or stream.getvalue() == ""


def test_a_digit_that_does_not_fit_is_counted_and_not_cut() -> None:
    digits = [Prediction("", label=at, name=str(at), confidence=1.0, box=(10, 20, 30, 40)) for at in (4, 1, 3)]
    one = "4 (100%) at 10, 20, 30 x 40"
    assert watch._seen([*digits, Prediction("", box=(1, 2, 3, 4))], 15.2, 120).count(" | ") == 3
    assert watch._seen(digits, 15.2, 60) == f"15 frames/s | {one} | 2 more"
    assert watch._seen(digits, 15.2, 30) == "15 frames/s | 3 more"
    assert watch._seen(digits, 15.2, 5) == "15 frames/s | 3 more"  # the line is cut when it is written


def test_a_reader_that_has_gone_is_noticed_before_anything_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    output = Output("watch", True, False)
    output.require_reader()  # pytest's own output
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        output.require_reader()
        os.close(read)
        with pytest.raises(BrokenPipeError):
            output.require_reader()
        monkeypatch.undo()
