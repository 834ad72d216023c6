"""A conversation as files that anybody can read: a page, plain text, and JSON for programs."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from client_sdk.cli.showing import Shown
from client_sdk.engine import AnyItem, FileItem

PAGE: Final = "conversation.html"
TEXT: Final = "conversation.txt"
DATA: Final = "conversation.json"
FILES: Final = "files"
_INTERNAL: Final = frozenset({"origin", "key", "blob", "sealed_size", "sealed_hash"})
"""What only this SDK needs: above all the keys of files."""
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE: Final = (
    "body{font:16px/1.5 sans-serif;max-width:45em;margin:2em auto;padding:0 1em}"
    "pre{font:inherit;white-space:pre-wrap;margin:.4em 0}.mine{background:#eef4fb}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A conversation to be written; `files` are the saved files' paths within the folder, by their items."""

    engagement: str
    me: str
    people: Sequence[str] = field(repr=False)
    at: datetime
    items: Sequence[AnyItem] = field(repr=False)
    files: Mapping[bytes, str] = field(repr=False)
    missing: Mapping[bytes, str] = field(repr=False)

    @property
    def heading(self) -> str:
        """Whose conversation it is, and when it was written."""
        return f"{self.engagement}: {', '.join((self.me, *self.people))}. Written {self.at:%Y-%m-%d %H:%M}."


def existing(folder: Path) -> list[Path]:
    """What an export into this folder would replace."""
    return [path for name in (PAGE, TEXT, DATA, FILES) if (path := folder / name).exists()]


def write(folder: Path, exported: Exported) -> None:
    """Write the three files, readable for this user alone; raises `OSError`."""
    shown = Shown()
    lines = [shown.text_of(item) for item in exported.items]
    _replace(folder / TEXT, "\n".join((exported.heading, "", *lines, "")))
    _replace(folder / PAGE, _page(exported, lines))
    _replace(folder / DATA, json.dumps(_data(exported), ensure_ascii=False, indent=1) + "\n")


def _replace(path: Path, text: str) -> None:
    """The file is the old one or the new one, never a part."""
    new = path.with_name(path.name + ".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def _page(exported: Exported, lines: Sequence[str]) -> str:
    parts = [_entry(exported, item, line) for item, line in zip(exported.items, lines, strict=True)]
    head = (
        '<!doctype html><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{html.escape(exported.engagement)}</title><style>{_STYLE}</style>"
    )
    return "\n".join((head, f"<h1>{html.escape(exported.heading)}</h1>", *parts, ""))


def _entry(exported: Exported, item: AnyItem, line: str) -> str:
    text = html.escape(line)
    path = exported.files.get(item.id)
    if path is not None:
        text += f'\n<a href="{html.escape(_link(path), quote=True)}">{html.escape(path)}</a>'
    if item.id in exported.missing:
        text += f"\n({html.escape(exported.missing[item.id])})"
    return f'<pre class="{"mine" if item.mine else "theirs"}">{text}</pre>'


def _link(path: str) -> str:
    return Path(path).as_posix().replace("%", "%25").replace("#", "%23").replace("?", "%3F")


def _data(exported: Exported) -> dict[str, Any]:
    return {
        "engagement": exported.engagement,
        "me": exported.me,
        "people": list(exported.people),
        "written_at": exported.at.isoformat(),
        "items": [_item(exported, item) for item in exported.items],
    }


def _item(exported: Exported, item: AnyItem) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": item.id.hex(),
        "kind": getattr(item, "kind", None) or getattr(item, "KIND", "unknown"),
        "seq": item.seq,
        "sent_at": item.sent_at.isoformat(),
        "sender": item.sender.user,
        "sender_name": item.sender.name,
        "mine": item.mine,
        "edited": item.edited,
    }
    found |= {f.name: _plain(getattr(item, f.name)) for f in fields(item) if f.name not in _INTERNAL}
    if isinstance(item, FileItem):
        found["path"] = exported.files.get(item.id)
        found["missing"] = exported.missing.get(item.id)
    return found


def _plain(value: Any) -> Any:
    """A value as JSON has it: bytes as hex, objects by their fields."""
    if isinstance(value, bytes):
        return value.hex()
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(inner) for inner in value]
    return value
