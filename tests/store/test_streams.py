"""Redirection of native output: what native code writes goes to a file, and what Python prints to the terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, sys
from pathlib import Path
from mnist_edge.store.streams import native_output
log = Path(sys.argv[1])
for turn in range(2):
    with native_output(log):
        print(f"answer {turn}")
        os.write(1, b"native chatter\\n")
        os.write(2, b"[E:native error]\\n")
        print(f"progress {turn}", file=sys.stderr)
    print("after", file=sys.stderr)
os.write(2, b"native again\\n")
"""


def test_native_output_goes_to_the_log_and_python_output_to_the_terminal(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "log")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "answer 0\nanswer 1\n"
    assert done.stderr == "progress 0\nafter\nprogress 1\nafter\nnative again\n"
    assert (tmp_path / "log").read_text() == "native chatter\n[E:native error]\n" * 2


def test_python_still_sees_a_terminal_while_native_output_is_redirected(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    code = (
        "import sys; from pathlib import Path; from mnist_edge.store.streams import native_output\n"
        "with native_output(Path(sys.argv[1])): print(sys.stderr.isatty(), file=sys.stderr)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "log")], stderr=theirs, check=True)
    os.close(theirs)
    assert b"True" in os.read(ours, 100)
    os.close(ours)
