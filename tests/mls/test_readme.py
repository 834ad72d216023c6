"""The package stands alone: the README's example runs as it stands there, and where there is nothing else."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import client_sdk.mls as package

FOLDER = Path(package.__file__).parent
SAYS = "0 b'How was the week?'\n"
LIBRARIES = {"nacl", "cryptography"}
STANDARD = {
    "__future__",
    "collections",
    "dataclasses",
    "enum",
    "functools",
    "hashlib",
    "hmac",
    "struct",
    "typing",
}


def example() -> str:
    return (FOLDER / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]


def test_the_example_works(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(example(), "README.md", "exec"), {})
    assert capsys.readouterr().out == SAYS


def test_the_example_has_twenty_lines() -> None:
    assert len([line for line in example().splitlines() if line]) <= 20


def test_the_example_works_where_there_is_nothing_else(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "mls", ignore=shutil.ignore_patterns("__pycache__"))
    alone = example().replace("from client_sdk import mls", "import mls")
    done = subprocess.run(
        [sys.executable, "-c", alone], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == (SAYS, "")


def test_nothing_is_imported_but_itself_and_two_libraries() -> None:
    """No clock, no randomness, no I/O, nothing of the SDK around it."""
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level <= 1, path.name
                names = [node.module or ""] if node.level == 0 else []
            for name in names:
                assert name.split(".")[0] in STANDARD | LIBRARIES, (path.name, name)
