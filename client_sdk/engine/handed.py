"""Items of a history as another device of the same person wrote them: each checked before it is kept.

Only devices that this person linked, or that the recovery key let write, are read. One of them may be in
somebody else's hands, and what is kept once is read for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from client_sdk.content.packing import MAX_COUNT, PackingError, unpack
from client_sdk.engine import journal
from client_sdk.errors import ContentError, UsageError
from client_sdk.vault import HistoryItem
from relay.wire.errors import WireError
from relay.wire.ids import EngagementId, parse_user_id

ID_BYTES: Final = 16
_SAID_VERSION: Final = 1
_EVIDENCE: Final = (int, int, bytes, bytes)


class NotAnItem(ValueError):
    """No device of ours writes this."""


def handed_item(engagement: EngagementId, values: Mapping[str, Any]) -> HistoryItem:
    """The item in these columns; unknown ones are left out. Raises `NotAnItem`.

    It is not this device's own: what another device said is that one's to send again.
    """
    try:
        return _item(engagement, values)
    except (UsageError, WireError, ContentError, PackingError, UnicodeDecodeError) as error:
        raise NotAnItem("an item that no device writes") from error


def _item(engagement: EngagementId, values: Mapping[str, Any]) -> HistoryItem:
    user, kind = _typed(values, "sender_user", str), _typed(values, "kind", str)
    payload = _typed(values, "payload", bytes)
    item = HistoryItem(
        conversation=engagement,
        id=_typed(values, "id", bytes),
        seq=_count(values, "seq", least=1),
        sent_ms=_count(values, "sent_ms", least=0),
        sender_user=user and parse_user_id(user),
        sender_device=_typed(values, "sender_device", bytes),
        kind=kind,
        text=_text(values, is_shown=user == ""),
        payload=payload,
        mine=False,
    )
    if len(item.id) != ID_BYTES:
        raise NotAnItem("an id of another form")
    if user == "" or kind == journal.RETRACTED:  # nobody's words, or no words any more
        _ = payload.decode() if kind == journal.GAP else ""
        return item
    return _saying(item, values.get("about"))


def _saying(item: HistoryItem, about: object) -> HistoryItem:
    """With what it says read once, so that it can be read ever after."""
    said = _said(item.payload)
    envelope = journal.read(said.envelope)
    target = journal.about(envelope.content) if isinstance(about, bytes) else None
    if target is None and isinstance(about, bytes):
        raise NotAnItem("an amendment that is none")
    return replace(item, kind=envelope.kind, payload=said.serialize(), about=target)


def _said(payload: bytes) -> journal.Said:
    """The message, with the evidence for it if that is of its form."""
    values: Any = unpack(payload)
    match values:
        case [int(version), bytes(envelope), *evidence] if version == _SAID_VERSION and version is not True:
            fits = tuple(map(type, evidence)) == _EVIDENCE
            return journal.Said(envelope, *evidence) if fits else journal.Said(envelope)
    raise NotAnItem("words of another form")


def _text(values: Mapping[str, Any], *, is_shown: bool) -> str:
    """What a search looks in; of a notice it is what is shown."""
    is_there = is_shown or isinstance(values.get("text"), str)
    return str(_typed(values, "text", str)) if is_there else ""


def _typed(values: Mapping[str, Any], name: str, kind: type) -> Any:
    value = values.get(name)
    if type(value) is not kind:
        raise NotAnItem(f"{name} of another form")
    return value


def _count(values: Mapping[str, Any], name: str, *, least: int) -> int:
    value: int = _typed(values, name, int)
    if not least <= value <= MAX_COUNT:
        raise NotAnItem(f"{name} out of range")
    return value
