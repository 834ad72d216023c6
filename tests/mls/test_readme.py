"""The README's example runs as it stands there."""

from __future__ import annotations

from pathlib import Path

import pytest

import client_sdk.mls as package


def test_the_example_works(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(package.__file__).parent / "README.md").read_text(encoding="utf-8")
    example = text.split("```python\n")[1].split("```")[0]
    exec(compile(example, "README.md", "exec"), {})
    assert capsys.readouterr().out == "0 b'How was the week?'\n"
