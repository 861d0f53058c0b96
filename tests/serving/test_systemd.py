"""The systemd unit: systemd accepts it, and its command and variables are those that `serve` accepts."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from mnist_edge.cli.app import app
from tests.conftest import ROOT, unavailable

UNIT = ROOT / "tools" / "pi" / "mnist-edge.service"


def exec_start() -> list[str]:
    found = re.findall(r"^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert len(found) == 1
    return shlex.split(found[0])


def serve_command() -> Any:
    """The command ``serve``, with its options."""
    return typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]


@pytest.mark.slow
def test_systemd_accepts_the_unit_without_a_warning(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        unavailable("systemd-analyze")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(exec_start()[0], sys.executable))  # a program that exists here
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    warnings = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, warnings) == (0, [])


def test_the_command_in_the_unit_has_only_options_that_exist() -> None:
    """The command line itself parses the options, without starting the server."""
    program, command, *words = exec_start()
    assert (Path(program).name, command) == ("mnist-edge", "serve")
    serve = serve_command()
    context = serve.make_context("serve", words)
    assert context.params["host"] == "0.0.0.0"
    assert context.params["port"] == 8080
    assert f"StateDirectory={Path(context.params['workspace']).relative_to('/var/lib')}\n" in UNIT.read_text()


def test_the_token_of_the_unit_is_in_the_variable_that_serve_reads() -> None:
    """The command in the unit's first comment writes the token into the file that EnvironmentFile names."""
    text = UNIT.read_text()
    command = re.search(r'"(\w+)=\$\(openssl.*install -m 600 /dev/stdin (\S+)', text)
    assert command is not None
    assert f"EnvironmentFile={command[2]}\n" in text
    (token,) = (option for option in serve_command().params if option.name == "token")
    assert command[1] == token.envvar
