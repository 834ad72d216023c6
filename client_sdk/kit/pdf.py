"""The page of a recovery kit as PDF: one sheet of A4 that also fits on US letter. Needs the extra `[pdf]`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ..errors import CoachRelayError
from .page import COLUMNS_OF_WORDS, KEEP, NUMBER, STEPS, TITLE, WHAT, RecoveryKit, in_fives

if TYPE_CHECKING:
    from fpdf import FPDF

MARGIN: Final = 22.0
"""Millimetres: more than any printer leaves out, on either paper."""
WIDTH: Final = 166.0
FONT: Final = "Helvetica"
WORD_FONT: Final = "Courier"
"""In it no two letters look alike, and each has the same width."""
_LINE: Final = 5.4
_BOX_ROW: Final = 11.0
_LATIN: Final = "latin-1"


class PdfUnavailable(CoachRelayError):
    """The library that makes PDF files is not installed."""

    code = "pdf_unavailable"


def kit_pdf(kit: RecoveryKit) -> bytes:
    """The page as a PDF file. Raises `PdfUnavailable` without the extra `[pdf]`."""
    pdf = _new()
    pdf.set_title(TITLE)
    pdf.set_creation_date(datetime.fromtimestamp(kit.made_at, UTC))
    pdf.add_page()
    _line(pdf, TITLE, size=18, style="B", height=9)
    _line(pdf, f"For {_latin(kit)}. Made on {kit.date}.", size=11, height=8)
    pdf.ln(3)
    _paragraph(pdf, WHAT)
    _words(pdf, kit.words)
    _paragraph(pdf, KEEP)
    _line(pdf, "If you lose your device", size=13, style="B", height=8)
    for number, step in enumerate(STEPS, 1):
        _step(pdf, number, step)
    pdf.ln(3)
    _paragraph(pdf, NUMBER)
    _line(pdf, in_fives(kit.safety_number), font=WORD_FONT, size=12, style="B", height=7)
    return bytes(pdf.output())


def _new() -> FPDF:
    try:
        from fpdf import FPDF
    except ImportError:
        raise PdfUnavailable(
            "Making a PDF needs a further library: install coach-relay[pdf], or print the text instead."
        ) from None
    pdf = FPDF(format="A4")
    pdf.set_margins(MARGIN, MARGIN, MARGIN)
    pdf.set_auto_page_break(auto=False)  # it is one page; a test holds that it fits
    return pdf


def _latin(kit: RecoveryKit) -> str:
    """For whom it is; a name that the built-in fonts lack is left out, the portal's id says it too."""
    whose = kit.whose
    plain = f"{kit.user} ({kit.portal})"
    return whose if whose == whose.encode(_LATIN, "ignore").decode(_LATIN) else plain


def _line(pdf: FPDF, text: str, *, size: float, height: float, style: str = "", font: str = FONT) -> None:
    pdf.set_font(font, style, size)
    pdf.multi_cell(WIDTH, height, text, align="L", new_x="LMARGIN", new_y="NEXT")


def _paragraph(pdf: FPDF, text: str) -> None:
    _line(pdf, text, size=11, height=_LINE)
    pdf.ln(4)


def _step(pdf: FPDF, number: int, text: str) -> None:
    pdf.set_font(FONT, "", 11)
    pdf.cell(8, _LINE, f"{number}.")
    pdf.multi_cell(WIDTH - 8, _LINE, text, align="L", new_x="LMARGIN", new_y="NEXT")
    pdf.ln(1)


def _words(pdf: FPDF, words: tuple[str, ...]) -> None:
    rows, width = len(words) // COLUMNS_OF_WORDS, WIDTH / COLUMNS_OF_WORDS
    top = pdf.get_y()
    pdf.rect(MARGIN, top, WIDTH, rows * _BOX_ROW + 6)
    for index, word in enumerate(words):
        row, column = divmod(index, COLUMNS_OF_WORDS)
        pdf.set_xy(MARGIN + column * width + 5, top + 3 + row * _BOX_ROW)
        pdf.set_font(FONT, "", 10)
        pdf.cell(8, _BOX_ROW, f"{index + 1}.", align="R")
        pdf.set_font(WORD_FONT, "B", 15)
        pdf.cell(width - 14, _BOX_ROW, word)
    pdf.set_xy(MARGIN, top + rows * _BOX_ROW + 12)
