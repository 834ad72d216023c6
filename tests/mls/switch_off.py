"""Switches each check of client_sdk/mls off, one at a time: its test in docs/MLS.md must then fail.

    python -m tests.mls.switch_off [RULE ...]

A check is switched off in the source as it is imported: ``raise SomeError("RULE", ...)`` becomes nothing.
Each rule runs in a process of its own, so that nothing stays switched off.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.abc
import importlib.machinery
import os
import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "client_sdk" / "mls"
TABLE = ROOT / "docs" / "MLS.md"
_PACKAGE = "client_sdk.mls"
_RULE = re.compile(r"[A-Z][A-Z0-9]+(?:-[A-Z0-9]+)+")
_ROW = re.compile(
    r"^\| `(?P<id>[A-Z0-9-]+)` \| (?P<section>[^|]+) \| `(?P<where>[^|]+)` \| `(?P<test>[^|]+)` \|", re.M
)
_NAMED_BY_CLASS = {"WrongGroup": "FRAME-GROUP", "WrongEpoch": "FRAME-EPOCH"}
_TEST_SECONDS = 120
_TEST_BYTES = 2 << 30  # some checks are bounds
_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Row:
    """One refusal as docs/MLS.md lists it."""

    id: str
    section: str
    where: tuple[str, ...]
    test: str


def table() -> list[Row]:
    """The rows of docs/MLS.md."""
    rows = _ROW.finditer(TABLE.read_text(encoding="utf-8"))
    return [
        Row(row["id"], row["section"].strip(), tuple(row["where"].split(", ")), row["test"].strip())
        for row in rows
    ]


def rules_in_source() -> dict[str, set[str]]:
    """Every rule id the package can raise, and the files that name it."""
    found: dict[str, set[str]] = {}
    for path in sorted(SOURCES.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _RULE.fullmatch(node.value):
                found.setdefault(node.value, set()).add(path.name)
    return found


# ---- switching off -----------------------------------------------------------------------------------


class Off(ast.NodeTransformer):
    """Takes the raising of one rule out of a module."""

    def __init__(self, rule: str) -> None:
        self.rule = rule

    def visit_Raise(self, node: ast.Raise) -> ast.stmt:
        call = node.exc
        name = ast.unparse(call.func if isinstance(call, ast.Call) else call) if call else ""
        if _NAMED_BY_CLASS.get(name) == self.rule:
            return ast.copy_location(ast.Pass(), node)
        if not isinstance(call, ast.Call) or not call.args:
            return node
        first = call.args[0]
        if isinstance(first, ast.Constant):
            return ast.copy_location(ast.Pass(), node) if first.value == self.rule else node
        if isinstance(first, ast.Name) and first.id == "rule":  # a helper that is told the rule to raise
            test = ast.parse(f"rule != {self.rule!r}", mode="eval").body
            return ast.copy_location(ast.If(test=test, body=[node], orelse=[]), node)
        return node


class _Loader(importlib.machinery.SourceFileLoader):
    rule = ""

    def get_code(self, fullname: str) -> object:  # type: ignore[override]  # code objects have no public type
        source = self.get_data(self.path)
        tree = ast.fix_missing_locations(Off(self.rule).visit(ast.parse(source)))
        return compile(tree, self.path, "exec")


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(_PACKAGE + "."):
            return None
        file = SOURCES / (fullname.rsplit(".", 1)[1] + ".py")
        return importlib.machinery.ModuleSpec(fullname, _Loader(fullname, str(file)), origin=str(file))


def run_without(rule: str, test: str) -> int:
    """Run one test in this process with one rule switched off; pytest's exit code."""
    resource.setrlimit(resource.RLIMIT_AS, (_TEST_BYTES, _TEST_BYTES))
    _Loader.rule = rule
    sys.meta_path.insert(0, _Finder())
    import pytest

    with contextlib.redirect_stdout(open(os.devnull, "w", encoding="utf-8")):
        options = ["-q", "-x", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(ROOT)]
        return int(pytest.main([*options, str(ROOT / "tests" / "mls" / test)]))


def is_noticed(rule: str, test: str) -> bool:
    """Whether the test fails without the rule."""
    command = [sys.executable, "-m", "tests.mls.switch_off", "--run", rule, test]
    quick = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, timeout=_TEST_SECONDS, check=False, env=quick
    )
    return done.returncode == 1  # tests failed; any other number means they did not run


def main(arguments: list[str]) -> int:
    """Check the given rules, or all of the table; 1 if any goes unnoticed."""
    if arguments[:1] == ["--run"]:
        return run_without(arguments[1], arguments[2])
    rows = [row for row in table() if not arguments or row.id in arguments]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        noticed = list(pool.map(lambda row: is_noticed(row.id, row.test), rows))
    for row, seen in zip(rows, noticed, strict=True):
        if not seen:
            print(f"{row.id}: {row.test} does not notice that it is gone")
    print(f"{sum(noticed)} of {len(rows)} checks are missed by their tests when switched off")
    return 0 if all(noticed) and rows else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
