"""Programs that check what operators' own programs will read; deploy/test-programs.sh installs them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

SECONDS: Final = 60
_HERE: Final = Path(sys.executable).parent


def program(name: str) -> str:
    """Where a program is: beside our Python, or on the path; skips the test if nowhere."""
    found = shutil.which(name, path=str(_HERE)) or shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not here: deploy/test-programs.sh installs it")
    return found


def output_of(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """Run something that must succeed; what it printed on either stream."""
    done = subprocess.run(
        command,
        env=env,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.stdout[-3000:]}")
    return done.stdout
