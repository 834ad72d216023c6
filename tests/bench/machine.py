"""What the operating system tells about processes, cores, memory and the disk (Linux: /proc)."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_SYNC_RECORD: Final = bytes(600)  # about a row: 512 bytes of payload and what is around it
_FILES_TO_SPARE: Final = 200


@dataclass(frozen=True, slots=True)
class Cores:
    """The core that servers run on and the one of the load; both None on a machine with one core."""

    server: int | None
    load: int | None


def choose_cores() -> Cores:
    """Two different cores of those this process may use, if there are two."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[0], usable[1]) if len(usable) > 1 else Cores(None, None)


@contextlib.contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Pin this thread, and the processes that it starts meanwhile, to a core."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads."""
    fields = (
        Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    )
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


class Others:
    """Watches how much of the machine goes to programs that this one did not start."""

    def __init__(self) -> None:
        self._start = self._now()

    def share(self) -> float:
        """Their processor time since the start, in cores. Ask when our own processes have ended."""
        others, clock = (now - before for now, before in zip(self._now(), self._start, strict=True))
        return max(0.0, others / clock)

    @staticmethod
    def _now() -> tuple[float, float]:
        line = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
        user, nice, system, _idle, _waiting, irq, softirq, stolen = map(int, line.split()[1:9])
        busy = (user + nice + system + irq + softirq + stolen) / _TICKS_PER_SECOND
        return busy - sum(os.times()[:4]), time.monotonic()


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM now."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


def peak_resident_bytes() -> int:
    """The most memory that this process ever had in RAM."""
    # Not ru_maxrss: that one remembers the program that started us, from before exec.
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def allow_open_files(wanted: int) -> int:
    """Raise the soft limit of open files as far as needed; answer how many connections it leaves room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _FILES_TO_SPARE
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(wanted, soft - _FILES_TO_SPARE)


def file_system(path: Path) -> str:
    """The type of the file system that holds a path, such as ext4 or tmpfs."""
    resolved = path.resolve()
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
        _, mount, fs_type, *_ = line.split()
        if resolved.is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, fs_type
    return kind


def syncs_per_second(directory: Path, *, seconds: float) -> float:
    """How often a second this disk makes 600 appended bytes durable: the floor under everything."""
    path = directory / "fdatasync"
    done = 0
    with path.open("wb", buffering=0) as file:
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            file.write(_SYNC_RECORD)
            os.fdatasync(file.fileno())
            done += 1
        elapsed = time.perf_counter() - start
    path.unlink()
    return done / elapsed


def describe(directory: Path) -> dict[str, str]:
    """What somebody must know to compare figures with those of another machine."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": f"{model}, {len(os.sched_getaffinity(0))} usable cores",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "file_system": file_system(directory),
    }
