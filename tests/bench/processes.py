"""Processes that serve: started on their core, ended by their id."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tests.bench import machine
from tests.bench.errors import ProcessError

ROOT: Final = Path(__file__).resolve().parents[2]
_END_SECONDS: Final = 30.0
_MEASURE_SECONDS: Final = 120.0


@contextlib.contextmanager
def running(
    arguments: list[str], *, core: int | None, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A Python process on a core, its output piped and its errors in a log. It ends with the block."""
    with log.open("ab") as sink, machine.pinned(core):
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=sink,
            text=True,
            env={**os.environ, **(environment or {}), "PYTHONUNBUFFERED": "1"},
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def first_line(process: subprocess.Popen[str], log: Path) -> str:
    """The first line that it prints; raises `ProcessError` with the end of its log if it ends instead."""
    line = process.stdout.readline() if process.stdout is not None else ""
    if not line:
        raise ProcessError(
            f"a server did not start:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}"
        )
    return line.strip()


def measure(arguments: list[str], *, core: int | None) -> Any:
    """What a measuring process prints as JSON."""
    with machine.pinned(core):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=_MEASURE_SECONDS,
            check=False,
        )
    if done.returncode != 0:
        raise ProcessError(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)
