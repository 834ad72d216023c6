"""Logs: JSON lines that say what happened and to how many, never to whom.

Only fields of `FIELDS` are written, and nothing of what other libraries say but that they said it: their
messages may hold addresses and headers. An exception is written as its type and the places in the source,
without its message or values.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

logger: Final = logging.getLogger("relay")

FIELDS: Final = frozenset(
    {
        "method",
        "route",
        "status",
        "ms",
        "code",
        "count",
        "bytes",
        "signal",
        "seconds",
        "operations",
        "version",
        "connections",
    }
)
MAX_FRAMES: Final = 12  # the innermost calls of a traceback: enough to find the fault

_SOURCE: Final = Path(__file__).resolve().parents[2]


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `event` and the fields that may be told."""

    def format(self, record: logging.LogRecord) -> str:
        ours = f"{record.name}.".startswith("relay.")
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.msg if ours else f"library {record.name}",
        }
        if ours:
            entry |= {name: value for name, value in vars(record).items() if name in FIELDS}
        if record.exc_info and record.exc_info[1]:
            entry["error"], entry["trace"] = type(record.exc_info[1]).__name__, _places(record.exc_info[1])
        return json.dumps(entry, default=lambda value: type(value).__name__)


def log(level: int, event: str, *, error: BaseException | None = None, **fields: object) -> None:
    """Write an event; `event` is a fixed text and `fields` are of `FIELDS`."""
    logger.log(level, event, exc_info=error, extra=fields)


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send every log record of the process to `stream` (standard error) as JSON lines, from `level` on."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logger.setLevel(level.upper())
    logging.captureWarnings(True)


def _places(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
    return [f"{_relative(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]


def _relative(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(_SOURCE)) if path.is_relative_to(_SOURCE) else path.name
