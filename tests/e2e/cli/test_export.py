"""`coach export`: a folder that reads without this program, and asks before it replaces anything."""

from __future__ import annotations

import io
import json
import stat
import sys
from pathlib import Path

import pytest

from client_sdk.cli import export
from client_sdk.cli.errors import Exit
from client_sdk.cli.exporting import DATA, PAGE, TEXT
from tests.e2e.cli.town import Terminal

SCRIPT = "<script>alert('not here')</script> & more"


def test_everything_in_a_folder(
    coach: Terminal, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "Plan #1.txt"
    source.write_text("the plan")
    coach("anna", ["send"], SCRIPT)
    coach("anna", ["file", "send"], str(source))
    coach("ben", ["read"])
    folder = tmp_path / "out"
    done = coach("ben", ["export"], str(folder))
    assert done.code == Exit.DONE, done.err
    assert "not encrypted any more" in done.out

    data = json.loads((folder / DATA).read_text())
    texts = [item["text"] for item in data["items"] if item["kind"] == "text"]
    assert SCRIPT in texts
    (file,) = [item for item in data["items"] if item["kind"] == "file" and item["name"] == source.name]
    assert (folder / file["path"]).read_text() == "the plan"
    assert not {"key", "blob", "origin"} & set(file)
    page = (folder / PAGE).read_text()
    assert SCRIPT not in page
    assert "&lt;script&gt;" in page
    assert "Plan %231.txt" in page
    assert SCRIPT in (folder / TEXT).read_text()
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in (PAGE, TEXT, DATA)} == {0o600}

    (folder / TEXT).write_text("mine")
    refused = coach("ben", ["export"], str(folder))
    assert refused.code == Exit.USAGE
    assert "--overwrite" in refused.err
    monkeypatch.setattr(sys, "stdin", type("Tty", (io.StringIO,), {"isatty": lambda self: True})())
    answers = iter(["n", "y"])
    monkeypatch.setattr(export, "ask", lambda question: next(answers))
    assert "Nothing was written" in coach("ben", ["export"], str(folder)).out
    assert (folder / TEXT).read_text() == "mine"
    assert coach("ben", ["export"], str(folder), "--no-files").code == Exit.DONE
    assert SCRIPT in (folder / TEXT).read_text()


def test_verifying_by_a_code_that_is_scanned(coach: Terminal) -> None:
    shown = coach("anna", ["verify"], "--qr")
    assert shown.code == Exit.DONE
    assert "█" in shown.out or "▀" in shown.out
    code = next(line for line in shown.out.splitlines() if line.startswith("coach-relay:safety:"))
    wrong = coach("ben", ["verify"], "--scanned", code[:-4])
    assert wrong.code == Exit.FAILED
    assert "verified from now on" in coach("ben", ["verify"], "--scanned", code).out
