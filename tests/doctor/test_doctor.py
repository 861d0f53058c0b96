"""One fault per test, a real one if possible: `doctor` reports it with a remedy and without personal data."""

from __future__ import annotations

import getpass
import http.server
import os
import platform
import socket
import ssl
import struct
import subprocess
import sys
import sysconfig
import threading
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnist_edge.data import fetch
from mnist_edge.doctor import places, system
from mnist_edge.doctor.examine import scrub
from mnist_edge.results import Finding
from tests.conftest import Run, assert_two_lines, unavailable

LIGHT = ["typer<0.29", "Pillow", "platformdirs", "pooch", "tflite-runtime", "numpy>=2"]


def finding_of(run: Run, check: str) -> dict[str, Any]:
    return next(item for item in run.json["checks"] if item["check"] == check)


def assert_finding(finding: Finding, status: str, found: str, remedy: str) -> None:
    assert finding.status == status, finding
    assert found in finding.found
    assert finding.remedy is not None
    assert remedy in finding.remedy


def test_a_healthy_machine_passes_every_check_and_is_not_named(cli: Callable[..., Run]) -> None:
    run = cli("doctor", "--json")
    assert run.code == 0, run
    assert {item["status"] for item in run.json["checks"]} <= {"ok", "absent", "warning"}
    assert finding_of(run, "engine litert")["status"] == "ok"
    assert "32 of 32 golden images" in finding_of(run, "engine onnxruntime")["found"]
    assert {"numpy", "mnist-edge", "ai-edge-litert"} <= set(run.json["packages"])
    shown = cli("doctor").out
    assert "engine litert" in shown
    for name in (getpass.getuser(), socket.gethostname(), str(Path.home()), Path.cwd().name):
        if name not in ("root", "localhost"):
            assert name not in run.out + shown


@pytest.mark.slow
def test_numpy_2_with_tflite_runtime_and_a_missing_engine_are_reported(
    wheel: Path, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    if platform.python_version_tuple()[:2] != ("3", "11"):
        unavailable("A Python that tflite-runtime has a wheel for")
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    for words in (LIGHT, ["--no-deps", str(wheel)]):
        subprocess.run([python, "-m", "pip", "install", "--quiet", *words], check=True, capture_output=True)
    run = cli("doctor", "--json", python=python, cwd=tmp_path)
    assert run.code == 3, run
    assert finding_of(run, "engine tflite-runtime")["status"] == "failed"
    assert "numpy<2" in finding_of(run, "engine tflite-runtime")["remedy"]
    assert finding_of(run, "engine litert")["status"] == "absent"
    assert finding_of(run, "any engine")["status"] == "failed"
    assert run.json["error"]["code"] == 3
    subprocess.run([python, "-m", "pip", "uninstall", "-y", "-q", "tflite-runtime"], check=True, capture_output=True)
    run = cli("doctor", "--json", python=python, cwd=tmp_path)
    assert run.code == 3
    assert finding_of(run, "engine tflite-runtime")["status"] == "absent"
    assert "mnist-edge[litert]" in finding_of(run, "any engine")["remedy"]


FAULTY_ENGINES = {
    "an instruction that the processor does not have": (
        "import os, signal; os.kill(os.getpid(), signal.SIGILL)", "illegal instruction", "64-bit",
    ),
    "a library that is not there": (
        "raise ImportError('libatomic.so.1: cannot open shared object file: No such file or directory')",
        "libatomic.so.1", "sudo apt install libatomic1",
    ),
    "a wheel for another processor": (
        "raise ImportError('_interpreter.so: wrong ELF class: ELFCLASS32')", "wrong ELF class", "--force-reinstall",
    ),
    "a wheel for a newer system": (
        "raise ImportError(\"/lib/libc.so.6: version `GLIBC_2.99' not found\")", "GLIBC_2.99", "newer system",
    ),
    "an engine that ends the process": ("import os; os.abort()", "SIGABRT", "pip install --force-reinstall"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTY_ENGINES)
def test_an_unusable_engine_is_reported_with_its_cause_and_remedy(
    fault: str, tmp_path: Path, cli: Callable[..., Run]
) -> None:
    body, found, remedy = FAULTY_ENGINES[fault]
    package = tmp_path / "ai_edge_litert"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "interpreter.py").write_text(body)
    run = cli("doctor", "--json", env={"PYTHONPATH": str(tmp_path)})
    finding = finding_of(run, "engine litert")
    assert finding["status"] == "failed", finding
    assert found in finding["found"]
    assert remedy in finding["remedy"]
    assert run.code == 3
    assert finding_of(run, "engine onnxruntime")["status"] == "ok"


def test_a_cache_that_cannot_be_written_is_reported_without_its_path(tmp_path: Path, cli: Callable[..., Run]) -> None:
    (tmp_path / "file").touch()
    run = cli("doctor", "--json", env={"XDG_CACHE_HOME": str(tmp_path / "file")})
    assert run.code in (3, 5)
    assert finding_of(run, "cache")["status"] == "failed"
    assert "XDG_CACHE_HOME" in finding_of(run, "cache")["remedy"]
    assert str(tmp_path) not in run.out + run.err


def test_a_damaged_file_in_the_cache_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fetch.cache_folder().mkdir(parents=True)
    (fetch.cache_folder() / "t10k-labels-idx1-ubyte").write_bytes(b"damaged")
    assert_finding(places.cache(), "warning", "t10k-labels", "mnist-edge data --fetch")


def test_unreachable_mirrors_are_reported(tmp_path: Path, cli: Callable[..., Run]) -> None:
    nowhere = {"XDG_CACHE_HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9"}
    run = cli("doctor", env=nowhere)
    assert run.code == 3
    assert "--data FOLDER" in run.out
    assert_two_lines(run, 3)


def test_a_certificate_that_is_not_accepted_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    try:
        subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    except FileNotFoundError:
        unavailable("openssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(fetch, "MIRRORS", (f"https://localhost:{server.server_port}/",))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert_finding(places.mirrors(), "failed", "certificate", "timedatectl")
        server.shutdown()


def in_a_namespace(prepare: str, *words: str) -> Run:
    """Run a command of mnist-edge in a mount namespace, after a shell command that changes the mounts."""
    if os.getuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        unavailable("The right to a mount namespace")
    line = f"{prepare} && exec {sys.executable} -m mnist_edge {' '.join(words)}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", line], capture_output=True, text=True, check=False)
    return Run(done.returncode, done.stdout, done.stderr)


def test_a_missing_sys_file_system_is_reported() -> None:
    finding = finding_of(in_a_namespace("mount -t tmpfs none /sys", "doctor", "--json"), "/sys")
    assert finding["status"] == "warning"
    assert "mount -t sysfs" in finding["remedy"]


def test_too_little_free_memory_is_reported(tmp_path: Path) -> None:
    little = tmp_path / "meminfo"
    little.write_text("MemTotal: 500000 kB\nMemAvailable: 60000 kB\n")
    finding = finding_of(in_a_namespace(f"mount --bind {little} /proc/meminfo", "doctor", "--json"), "memory")
    assert finding["status"] == "warning"
    assert finding["found"].startswith("58 MiB free")
    assert "swap" in finding["remedy"]


def test_undervoltage_and_throttling_are_reported(tmp_path: Path, cli: Callable[..., Run]) -> None:
    """A substitute for a Raspberry Pi's tool reports them."""
    tool = tmp_path / "vcgencmd"
    tool.write_text("#!/bin/sh\necho throttled=0x50005\n")
    tool.chmod(0o755)
    finding = finding_of(cli("doctor", "--json", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}), "power")
    assert finding["status"] == "warning"
    for words in ("the voltage is too low", "the processor is throttled", "the voltage was too low"):
        assert words in finding["found"]
    assert "supply" in finding["remedy"]


def test_a_clock_that_was_never_set_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 86_400.0)
    assert_finding(system.clock(), "failed", "certificates are not valid yet", "timedatectl set-ntp true")


def test_32_bit_programs_on_a_64_bit_kernel_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(struct, "calcsize", lambda _: 4)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert_finding(system.user_space(), "warning", "32-bit programs on a 64-bit kernel", "64-bit edition")


def test_a_python_that_refuses_pip_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert_finding(system.python(), "warning", "refuses pip install", "python3 -m venv")


def test_paths_names_and_addresses_are_removed_from_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada-lovelace")
    monkeypatch.setattr(socket, "gethostname", lambda: "analytical-engine")
    text = scrub(
        "/home/ada-lovelace/venv/lib/libfoo.so: ada-lovelace@analytical-engine at 192.168.1.7 or fe80::1:2:3:4, 10 MiB"
    )
    assert text == "<path>/libfoo.so: <name>@<name> at <address> or <address>, 10 MiB"
