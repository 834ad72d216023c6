"""The search that looks for plaintext at the relay: it must find what is there, however it is written."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.demo.search import Needle, chunks_of, search

WORDS = "Better than I feared – I said it."


@pytest.mark.parametrize(
    "written",
    [
        lambda words: words.encode(),
        lambda words: words.encode("utf-16-le"),
        lambda words: json.dumps({"text": words}).encode(),
        lambda words: words.encode().hex().encode(),
        lambda words: base64.b64encode(words.encode()),
        lambda words: base64.b64encode(b"x" + words.encode() + b"y"),
        lambda words: base64.urlsafe_b64encode(b"xy" + words.encode()),
    ],
)
def test_words_are_found_in_every_spelling(tmp_path: Path, written: Callable[[str], bytes]) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"\0" * 1000 + written(WORDS) + b"\xff" * 1000)
    found = search([tmp_path], [Needle("message", WORDS.encode())])
    assert found.found() == {"message"}
    assert found.hits[0].file == tmp_path / "deep" / "file"


@given(value=st.binary(min_size=8, max_size=40), before=st.binary(max_size=5), after=st.binary(max_size=5))
def test_base64_is_found_wherever_it_begins(value: bytes, before: bytes, after: bytes) -> None:
    whole = base64.b64encode(before + value + after)
    assert any(spelling in whole for spelling in Needle("key", value, text=False).spellings())


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    found = search([tmp_path], [Needle("message", WORDS.encode())])
    assert found.hits == ()
    assert (found.files, found.size) == (1, 100_000)


def test_copies_are_read_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same").write_bytes(WORDS.encode())
    found = search([tmp_path / "a", tmp_path / "b"], [Needle("message", WORDS.encode())])
    assert found.files == 1


def test_a_needle_that_chance_would_find_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too short"):
        search([tmp_path], [Needle("name", b"Ben")])


def test_pieces_cover_a_whole_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 10)
    pieces = list(chunks_of(tmp_path / "file", every=1000))
    assert [piece[0] for piece in pieces] == [0, 1000 % 256, 2000 % 256]
    assert {len(piece) for piece in pieces} == {32}


def test_a_needle_does_not_show_its_value() -> None:
    assert "I said it" not in repr(Needle("message", WORDS.encode()))
