"""Which version runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """The version of this installation, or "unknown" when it runs from a bare source tree."""
    try:
        return version("coach-relay")
    except PackageNotFoundError:
        return "unknown"
