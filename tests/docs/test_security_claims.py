"""docs/SECURITY.md claims nothing without naming a test that exists, or saying that it is not yet shown."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from client_sdk.delivery.alarms import ALARMS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "SECURITY.md").read_text(encoding="utf-8")
REFERENCE = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
CLAIMED = sorted(set(REFERENCE.findall(TEXT)))
NOT_SHOWN = "**not yet shown**"
PARTIES = 10


@cache
def names_in(path: str) -> frozenset[str]:
    """The names of the tests in a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=path)
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(function.name for function in functions if function.name.startswith("test_"))


def cannot() -> list[str]:
    """Every point under a "Cannot:"."""
    points: list[str] = []
    inside = False
    for line in TEXT.splitlines():
        if line in ("Can:", "Cannot:") or line.startswith("#"):
            inside = line == "Cannot:"
        elif inside and line.startswith("- "):
            points.append(line)
    return points


def rows(heading: str) -> list[list[str]]:
    """The rows of the table under a heading."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize(("path", "name"), CLAIMED, ids=lambda value: str(value).rpartition("/")[2])
def test_every_test_that_is_named_exists(path: str, name: str) -> None:
    assert (ROOT / path).is_file()
    assert name in names_in(path)


def test_every_cannot_names_its_test() -> None:
    points = cannot()
    assert len(points) > 30
    leading_on = "see [attacks of a malicious relay]"
    bare = [point for point in points if not REFERENCE.search(point) and leading_on not in point]
    assert bare == []


@pytest.mark.parametrize("heading", ["A malicious relay", "Bad luck"])
def test_every_row_names_its_test(heading: str) -> None:
    table = rows(heading)
    assert len(table) >= 8
    assert [row for row in table if len(row) != 3 or not REFERENCE.search(row[2])] == []


def test_every_party_has_its_section() -> None:
    parties = TEXT.partition("\n## The parties\n")[2].partition("\n## ")[0]
    assert parties.count("\n### ") == PARTIES
    assert parties.count("\nCannot:\n") == PARTIES


def test_alarms_are_called_by_their_codes() -> None:
    named = {
        code for row in rows("A malicious relay") for code in re.findall(r"`(\w+)`", row[1]) if "_" in code
    }
    assert named
    assert named <= set(ALARMS)


def test_nothing_is_called_a_test_that_is_written_differently() -> None:
    """A reference with a typing error would not be looked for."""
    assert TEXT.count("tests/") == len(REFERENCE.findall(TEXT))
    assert NOT_SHOWN in TEXT
