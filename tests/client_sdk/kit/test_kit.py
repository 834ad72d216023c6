"""The page: everything on it, nothing cut off, in text and as PDF."""

from __future__ import annotations

import re
import sys

import pytest

from client_sdk.identity import RecoverySeed
from client_sdk.kit import PdfUnavailable, RecoveryKit, kit_pdf, kit_text
from relay.wire.ids import PortalId, UserId

NUMBER = "398880634689910620147853546594401234"[:30]


def kit(name: str = "Anna Lindqvist", user: str = "anna", made_at: int = 1_795_300_000) -> RecoveryKit:
    return RecoveryKit(
        portal=PortalId("growth"),
        user=UserId(user),
        name=name,
        seed=RecoverySeed(bytes(range(16))),
        safety_number=NUMBER,
        made_at=made_at,
    )


def test_the_page_says_what_it_is_for_whom_and_how_to_use_it() -> None:
    text = kit_text(kit())
    for wanted in ("RECOVERY KIT", "For Anna Lindqvist (anna, growth). Made on 21 November 2026."):
        assert wanted in text
    for wanted in ("coach recover", "Do not photograph", "39888 06346", "safety number"):
        assert wanted in text
    assert max(map(len, text.splitlines())) <= 78


def test_the_words_are_numbered_and_read_across_they_are_in_order() -> None:
    found = re.findall(r" (\d+)\. ([a-z]+)", kit_text(kit()))
    assert [int(number) for number, _ in found] == list(range(1, 13))
    assert RecoverySeed.from_words(" ".join(word for _, word in found)) == kit().seed


def test_a_page_shows_its_words_only_where_it_is_printed() -> None:
    assert not set(kit().words) & set(repr(kit()).split())
    assert kit().seed.value.hex() not in repr(kit())
    assert "Anna" not in repr(kit())


@pytest.mark.parametrize("name", ["Anna", "", "Łukasz Żółć", "안나"])
def test_the_pdf_is_one_page_whatever_the_name(name: str) -> None:
    pytest.importorskip("fpdf")
    pdf = kit_pdf(kit(name, user="u" * 64))
    assert pdf.startswith(b"%PDF-")
    assert pdf.count(b"/Type /Page\n") == 1


def test_everything_on_the_pdf_is_on_the_paper() -> None:
    fpdf = pytest.importorskip("fpdf")
    lowest = []
    original = fpdf.FPDF.output

    def output(self: object) -> object:
        lowest.append(self.get_y())  # type: ignore[attr-defined]  # the page as it was laid out
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fpdf.FPDF, "output", output)
        kit_pdf(kit("N" * 250, user="u" * 64))
    assert lowest[0] < 279 - 12  # US letter is 279 mm high, and printers leave out less than this


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fpdf", None)
    with pytest.raises(PdfUnavailable, match=r"coach-relay\[pdf\]"):
        kit_pdf(kit())
