"""What a participant's program tells the demo: one JSON object a line on standard output."""

from __future__ import annotations

import json
from typing import Any

from client_sdk.engine.items import (
    Alarm,
    AnyItem,
    CallEndedItem,
    CheckInAnswerItem,
    CheckInItem,
    FileItem,
    Gap,
    TextItem,
)


def report(**fields: object) -> None:
    """Print one line for the demo."""
    print(json.dumps(fields, ensure_ascii=False), flush=True)


def as_fields(item: AnyItem) -> dict[str, Any]:
    """Return an item of the conversation as values that JSON has; ids as hex."""
    common = {
        "id": item.id.hex(),
        "kind": getattr(item, "KIND", "unknown"),
        "sender": item.sender.user,
        "name": item.sender.name,
        "seq": item.seq,
    }
    return common | _body(item)


def _body(item: AnyItem) -> dict[str, Any]:
    match item:
        case TextItem():
            return {"text": item.text}
        case CheckInItem():
            return {"prompt": item.prompt, "questions": [question.to_value() for question in item.questions]}
        case CheckInAnswerItem():
            return {"checkin": item.checkin.hex(), "answers": dict(item.answers)}
        case FileItem():
            return {"name_of_file": item.name, "size": item.size, "key": item.key.hex()}
        case CallEndedItem():
            return {"outcome": item.outcome, "seconds": item.seconds}
        case Gap():
            return {"text": item.reason}
        case Alarm():
            return {"text": item.sentence}
    return {}
