"""Emulated processors: an arm64 Debian root file system with Raspberry Pi OS's Python, and x86-64 without VNNI.

By QEMU's user-mode emulation. Needs Debian's qemu-user-static; the root file system also needs debootstrap, the rights
of root, and a kernel that allows mounting binfmt_misc and starting namespaces.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import platformdirs

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(platformdirs.user_cache_dir("mnist-edge")) / "emulation"
# Arm's part numbers in /proc/cpuinfo, of the processors of a Raspberry Pi 4, a 3 and a 5.
PARTS = {"cortex-a72": "0xd08", "cortex-a53": "0xd03", "cortex-a76": "0xd0b"}
QEMU = "qemu-aarch64-static"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
# Registration of arm64 ELF executables and shared objects with binfmt_misc (kernel documentation, binfmt-misc). Flag F:
# the kernel opens the interpreter at once, so that the root file system need not hold it.
MAGIC = (
    rb":mnist-edge-arm64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:"
    rb"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:%s:F"
)


class NotHereError(Exception):
    """This machine cannot emulate the processor; the message is the reason."""


@dataclass(frozen=True)
class Processor:
    """A real or emulated processor: prefix of a program's command line, environment variables, path of Python."""

    prefix: list[str]
    environment: dict[str, str]
    python: str

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run a program to its end and capture its output."""
        command = [*self.prefix, *map(str, words)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)


def here() -> Processor:
    """This machine, with the Python that runs this script."""
    return Processor([], {**os.environ, "PYTHONPATH": str(ROOT)}, sys.executable)


def haswell() -> Processor:
    """An x86-64 processor with AVX2 and without VNNI, with this Python; its child processes are not emulated."""
    qemu = shutil.which("qemu-x86_64-static")
    if qemu is None:
        raise NotHereError("qemu-x86_64-static is not installed (Debian: qemu-user-static)")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return Processor([qemu, "-cpu", "Haswell"], environment, sys.executable)


def raspberry_pi(root: Path, cpu: str) -> Processor:
    """A board without network, with the root file system ``root``, in which the bundle is installed."""
    describe_board(root, cpu)
    enter = (
        f"mount --bind /dev {root}/dev && mount -t proc proc {root}/proc"
        f' && mount --bind {root}/board-cpuinfo {root}/proc/cpuinfo && exec chroot {root} "$@"'
    )
    environment = {"HOME": "/home", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "QEMU_CPU": cpu}
    prefix = ["unshare", "--mount", "--net", "sh", "-c", enter, "sh"]
    return Processor(prefix, environment, "/home/edge/bin/python")


def make_root(release: str) -> Path:
    """Arm64 root file system of a Debian release, unpacked once and kept; its packages need not be configured."""
    for program in ("debootstrap", QEMU, "unshare", "chroot"):
        if shutil.which(program) is None:
            raise NotHereError(f"{program} is not installed (Debian: debootstrap, qemu-user-static, util-linux)")
    if os.geteuid() != 0:
        raise NotHereError("chroot needs the rights of root")
    register()
    root = CACHE / f"root-{release}-arm64"
    if not (root / "complete").exists():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        include = "--include=python3,libstdc++6,zlib1g"
        call(["debootstrap", "--foreign", "--arch=arm64", "--variant=minbase", include, release, str(root)])
        for package in (root / "var" / "cache" / "apt" / "archives").glob("*.deb"):
            call(["dpkg", "-x", str(package), str(root)])
            package.unlink()
        (root / "complete").touch()
    return root


def register() -> None:
    """Let the kernel start arm64 programs by QEMU, in any root file system."""
    try:
        if not (BINFMT / "register").exists():
            call(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)])
        if not (BINFMT / "mnist-edge-arm64").exists():
            (BINFMT / "register").write_bytes(MAGIC.replace(b"%s", str(shutil.which(QEMU)).encode()))
        call(["unshare", "--mount", "--net", "true"])
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotHereError(
            f"this kernel does not let us register arm64 programs or start namespaces ({error})"
        ) from error


def install(root: Path, bundle: Path, cpu: str) -> subprocess.CompletedProcess[str]:
    """Unpack a bundle in /home of the root file system and run its install script without network, as users do."""
    home = root / "home"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    call(["tar", "xf", str(bundle), "-C", str(home)])
    (folder,) = home.iterdir()
    return raspberry_pi(root, cpu).run("sh", f"/home/{folder.name}/install.sh", "/home/edge")


def describe_board(root: Path, cpu: str) -> None:
    """Write the files of /sys and /proc that engines read, for a board with four cores.

    The files of this machine would crash them, because they describe the caches of an x86 processor.
    """
    folder = root / "sys" / "devices" / "system" / "cpu"
    files = {"possible": "0-3", "present": "0-3", "online": "0-3", "kernel_max": "3"}
    for core in range(4):
        files |= {
            f"cpu{core}/topology/core_id": str(core),
            f"cpu{core}/topology/physical_package_id": "0",
            f"cpu{core}/topology/core_siblings_list": "0-3",
            f"cpu{core}/topology/package_cpus_list": "0-3",
            f"cpu{core}/topology/cluster_cpus_list": "0-3",
            f"cpu{core}/topology/thread_siblings_list": str(core),
            f"cpu{core}/cpufreq/cpuinfo_max_freq": "1500000",
            f"cpu{core}/cpufreq/cpuinfo_min_freq": "600000",
        }
    for name, value in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{value}\n")
    cores = (
        f"processor\t: {core}\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n"
        f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {PARTS[cpu]}\nCPU revision\t: 3\n\n"
        for core in range(4)
    )
    text = "".join(cores) + f"Model\t\t: EMULATED {cpu} (QEMU user mode): no times of a board\n"
    (root / "board-cpuinfo").write_text(text)


def call(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
