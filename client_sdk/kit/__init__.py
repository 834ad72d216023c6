"""The recovery kit: the page that a person prints and puts away."""

from .page import RecoveryKit, kit_text
from .pdf import PdfUnavailable, kit_pdf

__all__ = ["PdfUnavailable", "RecoveryKit", "kit_pdf", "kit_text"]
