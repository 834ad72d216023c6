"""ts-mls in a Node process: installed once from exact pins, then asked one JSON line at a time."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_MODULES = HERE / "node_modules"
_PATCHES = HERE / "patches.json"
_INSTALL_SECONDS = 300
_END_SECONDS = 30


def missing() -> str | None:
    """Why ts-mls cannot be run here, or None."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            return f"{program} is not installed: ts-mls cannot be run beside our implementation"
    return None


class InstallError(Exception):
    """npm could not install the pinned packages."""


class TsMlsError(Exception):
    """ts-mls refused, or failed at, what it was asked."""


def install() -> None:
    """Install the locked packages into the ignored node_modules, unless they are there already."""
    lock, stamp = HERE / "package-lock.json", _MODULES / ".installed"
    wanted = hashlib.sha256(lock.read_bytes() + _PATCHES.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(
        command, cwd=HERE, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
    )
    if done.returncode:
        raise InstallError(f"npm ci failed: {done.stderr.strip()[-300:]}")
    _patch()
    stamp.write_text(wanted)


def _patch() -> None:
    """Mend where ts-mls departs from the RFC; each patch says how, and must fit exactly once."""
    for patch in json.loads(_PATCHES.read_text()):
        path = _MODULES / patch["file"]
        source = path.read_text()
        if source.count(patch["find"]) != 1:
            raise InstallError(f"a patch does not fit {patch['file']}: {patch['why']}")
        path.write_text(source.replace(patch["find"], patch["replace"]))


class TsMls:
    """One Node process with any number of ts-mls clients in it, told apart by name."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["node", "driver.mjs"], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, command: str, **arguments: object) -> dict[str, Any]:
        """One request, one answer; bytes are hex on both ways."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise TsMlsError("the process has no pipes")
        request = {key: plain(value) for key, value in arguments.items()}
        stdin.write(json.dumps({"command": command, **request}) + "\n")
        stdin.flush()
        answer: dict[str, Any] = json.loads(stdout.readline() or '{"error": "the process ended"}')
        if "error" in answer:
            raise TsMlsError(f"{command}: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the process by closing its input; one that takes too long on a busy machine is killed."""
        try:
            self._process.communicate(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def plain(value: object) -> object:
    """Bytes as hex, at any depth; the rest as it is."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
