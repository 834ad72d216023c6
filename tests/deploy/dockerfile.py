"""deploy/Dockerfile as data, and its steps without a container engine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.relay.cli.processes import ROOT, environment

FILE: Final = ROOT / "deploy" / "Dockerfile"
BUILD_SECONDS: Final = 300
IN_THE_IMAGE: Final = ("/opt/coach-relay", "/src", "/wheels", "/data")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One line of it, continued lines joined."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The exec form of ENTRYPOINT and CMD."""
        return [str(word) for word in json.loads(self.text)]


def stages() -> list[list[Instruction]]:
    """The instructions of each stage, its FROM first."""
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    found: list[list[Instruction]] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        name, _, text = line.partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append(Instruction(name, text.strip()))
    return found


def last(name: str) -> Instruction:
    """The instruction of the final image with that name; there is one."""
    (found,) = [one for one in stages()[-1] if one.name == name]
    return found


def image_environment() -> dict[str, str]:
    """What the final image sets, but for the search path."""
    pairs = dict(re.findall(r"(\w+)=(\S+)", last("ENV").text))
    del pairs["PATH"]
    return pairs


def health_check() -> list[str]:
    """The command of HEALTHCHECK."""
    return [str(word) for word in json.loads(last("HEALTHCHECK").text.partition("CMD")[2])]


def build(root: Path) -> Path:
    """Do what the first stage does, below `root` instead of /, with this Python; return the program's folder.

    Only what .dockerignore lets through and COPY names is there. Ownership is left out: there is one user.
    """
    source = root / "src"
    source.mkdir(parents=True)
    for step in stages()[0]:
        if step.name == "COPY":
            *names, target = step.text.split()
            for name in names:
                _copy(ROOT / name, source / target)
        elif step.name == "RUN":
            _run(step.text, root, source)
    return root / "opt" / "coach-relay"


def _copy(path: Path, target: Path) -> None:
    if path.is_dir():
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "node_modules", "dist")
        shutil.copytree(path, target, ignore=ignored)
    else:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def _run(text: str, root: Path, source: Path) -> None:
    command = re.sub(r"-o 10001 -g 10001 ", "", text)
    for path in IN_THE_IMAGE:
        command = re.sub(rf"(?<![\w/.]){re.escape(path)}\b", str(root) + path, command)
    python = root / "python"
    if not python.exists():  # stands for the base image's own Python, which it may install into
        subprocess.run([sys.executable, "-m", "venv", str(python)], check=True, timeout=BUILD_SECONDS)
    env = environment(PATH=f"{python / 'bin'}:/usr/bin:/bin", PIP_DISABLE_PIP_VERSION_CHECK="1")
    del env["PYTHONPATH"], env["PYTHONWARNINGS"]
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=source,
        env=env,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.stdout[-500:]} {done.stderr[-2000:]}")
