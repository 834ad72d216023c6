"""safe_name: whatever a peer calls a file, it becomes a harmless name."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from client_sdk.attachments.names import MAX_SUFFIX_BYTES, numbered_name, safe_name


@pytest.mark.parametrize(
    ("given_name", "safe"),
    [
        ("plan.pdf", "plan.pdf"),
        ("Übung für Montag.docx", "Übung für Montag.docx"),
        ("目標.txt", "目標.txt"),
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("C:\\Windows\\system32\\cmd.exe", "cmd.exe"),
        ("\\\\server\\share\\a.txt", "a.txt"),
        ("folder/", "folder"),
        ("a/..", "a"),
        ("..", "file"),
        (".", "file"),
        ("", "file"),
        ("   ", "file"),
        ("///", "file"),
        (".bashrc", "bashrc"),
        ("...hidden", "hidden"),
        ("-rf", "rf"),
        ("name. . .", "name"),
        ("a\0b.txt", "ab.txt"),
        ("a\nb\t c.txt", "a b c.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("a\u200b\ufeffb", "ab"),
        ("a\u2066b\u2069", "ab"),
        ("a\ud800b", "ab"),
        ("a.txt:stream", "a.txt_stream"),
        ('what? "yes" <no> *|', "what_ _yes_ _no_ __"),
        ("a\u2215b\uff0fc\uff3cd", "a_b_c_d"),
        ("CON", "_CON"),
        ("con.txt", "_con.txt"),
        ("Lpt1.tar.gz", "_Lpt1.tar.gz"),
        ("COM¹", "_COM¹"),
        ("nul .txt", "_nul .txt"),
        ("CONIN$", "_CONIN$"),
        ("console.txt", "console.txt"),
        ("COM10", "COM10"),
        ("e\u0301.txt", "é.txt"),
        ("\u3164", "_"),
        ("a\u00a0b", "a b"),
    ],
)
def test_examples(given_name: str, safe: str) -> None:
    assert safe_name(given_name) == safe


def test_a_long_name_keeps_its_suffix() -> None:
    safe = safe_name("ü" * 300 + ".pdf")
    assert safe.endswith("ü.pdf")
    assert 250 <= len(safe.encode()) <= 255


def test_a_long_suffix_is_no_suffix() -> None:
    safe = safe_name("a." + "b" * 300)
    assert len(safe.encode()) <= 255
    assert safe.startswith("a.bbb")


def test_characters_are_not_cut_apart() -> None:
    safe = safe_name("🏔" * 100)
    assert set(safe) == {"🏔"}
    assert len(safe.encode()) <= 255


RESERVED = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"
}
NASTY = st.sampled_from(
    ["/", "\\", "..", ".", " ", "\0", "\u202e", "\u2028", ":", "CON", "com1", "-", "~", "🏔", "\t"]
)
PARTS = st.lists(NASTY | st.text(max_size=12) | st.text("ab.", min_size=200, max_size=300), max_size=6)


@given(PARTS.map("".join))
@example("CON" + " " * 300 + ".txt")
@example("a" * 252 + " .b")
@example("a" * 250 + "." * 20 + "b")
@example("CON." + "a" * 300)
@example("aux\u200b")
@example("\u200b.\u200b.")
@example("<" + "\u0338")
def test_every_name_becomes_safe(name: str) -> None:
    safe = safe_name(name)
    assert safe
    assert len(safe.encode()) <= 255
    assert not set(safe) & set('/\\\0<>:"|?*')
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for c in safe)
    assert safe[0] not in ".- "
    assert safe[-1] not in ". "
    assert safe.partition(".")[0].strip().lower() not in RESERVED
    assert safe_name(safe) == safe


@given(PARTS.map("".join), st.integers(2, 1000))
def test_a_numbered_name_is_safe_too(name: str, number: int) -> None:
    numbered = numbered_name(safe_name(name), number)
    assert len(numbered.encode()) <= 255
    assert f" ({number})" in numbered
    assert safe_name(numbered) == numbered


def test_the_number_stands_before_the_suffix() -> None:
    assert numbered_name("plan.pdf", 2) == "plan (2).pdf"
    assert numbered_name("plan", 3) == "plan (3)"
    assert numbered_name("a." + "b" * MAX_SUFFIX_BYTES, 2) == "a." + "b" * MAX_SUFFIX_BYTES + " (2)"
