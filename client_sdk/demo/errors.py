"""How the demo fails: always with what to look at."""

from __future__ import annotations

from pathlib import Path

from client_sdk.errors import CoachRelayError


class DemoError(CoachRelayError):
    """The demo could not go on; `log` names the file that tells more."""

    code = "demo"

    def __init__(self, message: str, *, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log


class CheckFailed(DemoError):
    """Something the demo compared was not as it must be."""

    code = "demo_check_failed"

    def __init__(self, what: str, *, expected: object, found: object) -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.found = found
