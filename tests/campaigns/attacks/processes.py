"""A service as a process: started within limits of memory and descriptors, and its memory with its children's."""

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
    """Sums over a process and its descendants, in MiB; shared pages count once in PSS and in every process in RSS."""

    pss: float
    rss: float


def tree(pid: int) -> list[int]:
    """A process and its descendants that live."""
    found, at = [pid], 0
    while at < len(found):
        for task in Path(f"/proc/{found[at]}/task").glob("*"):
            with contextlib.suppress(OSError):
                found += [int(word) for word in (task / "children").read_text().split()]
        at += 1
    return found


def memory(pid: int, pids: list[int] | None = None) -> Memory:
    """Memory of a process tree now, or of these processes."""
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
    """Resident memory of every process of a tree, in MiB."""
    return [f"{memory(one, [one]).rss:.0f}" for one in tree(pid)]


def peak_rss(pid: int) -> float:
    """Largest resident memory that any process of the tree has ever had, in MiB."""
    most = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    most = max(most, int(line.split()[1]))
    return most / 1024


@dataclass(frozen=True)
class MemoryGroup:
    """A cgroup with a limit of memory, of version 1 or 2."""

    folder: Path
    second: bool

    @classmethod
    def make(cls, mib: int) -> MemoryGroup | None:
        """A new group, or None if this machine does not let us make one."""
        second = (CGROUPS / "cgroup.controllers").is_file()
        folder = (CGROUPS if second else CGROUPS / "memory") / f"mnist-edge-campaign-{os.getpid()}"
        limit = "memory.max" if second else "memory.limit_in_bytes"
        try:
            if second:
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
        return cls(folder, second)

    def join(self) -> None:
        """Move the calling process into the group."""
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def peak(self) -> float:
        """Largest memory of the group in MiB, page cache included."""
        name = "memory.peak" if self.second else "memory.max_usage_in_bytes"
        try:
            return int((self.folder / name).read_text()) / 2**20
        except OSError:  # memory.peak needs Linux 5.19
            return float("nan")

    def kills(self) -> int:
        """How many of its processes the kernel ended for want of memory."""
        text = (self.folder / ("memory.events" if self.second else "memory.oom_control")).read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill "))

    def remove(self) -> None:
        """Remove the group, as soon as the last of its ended processes is out of it."""
        for _ in range(20):
            with contextlib.suppress(OSError):
                self.folder.rmdir()
                break
            time.sleep(0.1)


def enter(group: MemoryGroup | None, descriptors: int | None) -> None:
    """What the service's process does before it becomes the service: join the group, limit its descriptors."""
    if group is not None:
        group.join()
    if descriptors is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
