"""docs/MLS.md lists every refusal, and each of them is missed by its test when it is switched off."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from .switch_off import TABLE, is_noticed, rules_in_source, table

HERE = Path(__file__).parent
SAMPLE = ["LEAF-SIGNATURE", "PATH-FRESH-KEYS", "RESUME-PARAMETERS"]  # `make rules` runs them all
JUDGED = "## What the application judges"
MADE = "## What holds by the way it is made"


def functions(file: str) -> set[str]:
    tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_table_is_the_source() -> None:
    listed = {row.id: set(row.where) for row in table()}
    assert len(listed) == len(table()), "an id is listed twice"
    assert listed == rules_in_source()


def test_the_table_is_sorted_and_names_its_sections() -> None:
    ids = [row.id for row in table()]
    assert ids == sorted(ids)
    assert all(row.section for row in table())


def test_every_named_test_exists_and_names_its_rule() -> None:
    for row in table():
        file, _, name = row.test.partition("::")
        assert name in functions(file), row
        assert f'"{row.id}"' in (HERE / file).read_text(encoding="utf-8"), row


@pytest.mark.parametrize(("heading", "rows"), [(JUDGED, 5), (MADE, 20)])
def test_tests_of_what_is_no_refusal_exist(heading: str, rows: int) -> None:
    section = TABLE.read_text(encoding="utf-8").split(heading)[1].split("\n## ")[0]
    cells = [line.split(" | ")[-1] for line in section.splitlines() if "::" in line]
    named = [cell.strip(" `|") for cell in cells]
    assert len(named) == rows
    for test in named:
        file, _, name = test.partition("::")
        assert name in functions(file), test


@pytest.mark.parametrize("rule", SAMPLE)
def test_a_check_that_is_switched_off_is_missed(rule: str) -> None:
    (row,) = [row for row in table() if row.id == rule]
    assert is_noticed(row.id, row.test)


def test_a_check_that_is_on_is_not() -> None:
    (row,) = [row for row in table() if row.id == SAMPLE[0]]
    assert not is_noticed("NO-SUCH-RULE", row.test)
