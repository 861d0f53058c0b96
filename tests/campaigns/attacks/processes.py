"""The processes of a service: limits on their memory and file descriptors, and measuring their memory."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Memory:
    """Memory of a process and its descendants in MiB: a shared page counts once in PSS, once per process in RSS."""

    pss: float
    rss: float


def tree(pid: int) -> list[int]:
    """Process numbers of a process and its living descendants."""
    found, at = [pid], 0
    while at < len(found):
        for task in Path(f"/proc/{found[at]}/task").glob("*"):
            with contextlib.suppress(OSError):
                found += [int(word) for word in (task / "children").read_text().split()]
        at += 1
    return found


def memory(pid: int, pids: list[int] | None = None) -> Memory:
    """Current memory of a process and its descendants, or of the processes ``pids``."""
    pss = rss = 0
    for one in pids or tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in ("Pss", "Rss"):
                    pss += int(value.split()[0]) if name == "Pss" else 0
                    rss += int(value.split()[0]) if name == "Rss" else 0
    return Memory(pss / 1024, rss / 1024)


def each_rss(pid: int) -> list[str]:
    """Resident memory of a process and of each of its descendants, in MiB."""
    return [f"{memory(one, [one]).rss:.0f}" for one in tree(pid)]


def peak_rss(pid: int) -> float:
    """Largest peak resident memory of a process and its descendants, in MiB."""
    most = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    most = max(most, int(line.split()[1]))
    return most / 1024


@dataclass(frozen=True)
class MemoryGroup:
    """A cgroup with a memory limit.

    Attributes:
        folder: its folder in the cgroup file system.
        is_version_2: whether the system has cgroups of version 2, not 1.
    """

    folder: Path
    is_version_2: bool

    @classmethod
    def make(cls, mib: int) -> MemoryGroup | None:
        """Create a group with a limit of ``mib`` MiB; None if this machine does not permit it."""
        is_version_2 = (CGROUPS / "cgroup.controllers").is_file()
        folder = (CGROUPS if is_version_2 else CGROUPS / "memory") / f"mnist-edge-campaign-{os.getpid()}"
        limit = "memory.max" if is_version_2 else "memory.limit_in_bytes"
        try:
            if is_version_2:
                with contextlib.suppress(OSError):
                    (CGROUPS / "cgroup.subtree_control").write_text("+memory")
            elif not (CGROUPS / "memory").is_dir():
                return None
            folder.mkdir()
            (folder / limit).write_text(str(mib * 2**20))
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()
            return None
        return cls(folder, is_version_2)

    def join(self) -> None:
        """Move the calling process into the group."""
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def peak(self) -> float:
        """Largest memory of the group in MiB, page cache included."""
        name = "memory.peak" if self.is_version_2 else "memory.max_usage_in_bytes"
        try:
            return int((self.folder / name).read_text()) / 2**20
        except OSError:  # memory.peak needs Linux 5.19
            return float("nan")

    def kills(self) -> int:
        """Number of its processes that the kernel killed because the limit was reached."""
        text = (self.folder / ("memory.events" if self.is_version_2 else "memory.oom_control")).read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill "))

    def remove(self) -> None:
        """Remove the group; retry until its last process has left it."""
        for _ in range(20):
            with contextlib.suppress(OSError):
                self.folder.rmdir()
                break
            time.sleep(0.1)


def enter(group: MemoryGroup | None, descriptors: int | None) -> None:
    """Join the group and limit the file descriptors, in the child process before it executes the service."""
    if group is not None:
        group.join()
    if descriptors is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
