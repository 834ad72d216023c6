"""Edits, retractions and reactions on their way into the history (docs/PROTOCOL.md 9.1).

An amendment that counts is a row of its own, which the application never sees as an item; what it makes of
the message is also written into the message's row, so that the earlier words are gone from the vault.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from client_sdk.content import (
    Act,
    Amended,
    Edit,
    File,
    Reaction,
    Retract,
    Text,
    amended,
    may_amend,
    that_count,
)
from client_sdk.content.packing import pack, unpack
from client_sdk.engine import spaces
from client_sdk.engine.journal import RETRACTED, Said, read
from client_sdk.engine.standing import Work
from client_sdk.engine.withdrawing import note_withdrawn
from client_sdk.errors import ContentTooBig
from client_sdk.vault import HistoryItem, Transaction
from client_sdk.vault.history import UNPLACED
from relay.wire.ids import EngagementId

_log = logging.getLogger(__name__)

MOST_HELD: Final = 256
"""Amendments of one conversation to messages that are not here: what comes while a history is on its way to a
new device; nobody amends more in that time, and a member who floods displaces only what nobody can see."""


def act_of(row: HistoryItem, number: int) -> Act | None:
    """The amendment in a row, None if this version cannot use it; `number` orders those not placed yet."""
    content = Said.parse(row.payload).content()
    if not isinstance(content, Edit | Retract | Reaction):
        return None
    place = (UNPLACED, number) if row.seq is None else (row.seq, 0)
    return Act(place, row.sender_user, content)


def view(target: HistoryItem, amendments: Sequence[HistoryItem]) -> Amended:
    """What a message has become by its amendments, those included that still wait here."""
    if target.kind == RETRACTED:
        return Amended(retracted=True)
    acts = (act_of(row, number) for number, row in enumerate(amendments))
    return amended((act for act in acts if act is not None), author=target.sender_user, kind=target.kind)


def place_own(work: Work, message_id: bytes, seq: int) -> None:
    """The stream has given our message its position."""
    own = _find(work.tx, work.engagement, message_id)
    if own is None:
        return
    if own.about is not None:
        take(work, replace(own, seq=seq))
    else:
        work.tx.update_item(replace(own, seq=seq))
        arrived(work, message_id)


def take(work: Work, amendment: HistoryItem) -> bool:
    """An amendment has its position: do as it says. Whether it changes anything that can be seen."""
    known = _find(work.tx, work.engagement, amendment.id)
    if known is not None and (known.about != amendment.about or known.sender_user != amendment.sender_user):
        return False  # another message has this id: nobody takes its place
    work.tx.remove_item(work.engagement, amendment.id)
    target = _find(work.tx, work.engagement, amendment.about or b"")
    if target is None:
        _hold(work, amendment)
        return False
    act = act_of(amendment, 0)
    if act is None or not may_amend(act, author=target.sender_user, kind=target.kind):
        _log.info("an amendment that its sender may not make was dropped")
        return False
    if target.kind == RETRACTED and not isinstance(act.what, Retract):
        return False
    work.tx.add_item(amendment)
    settle(work, target)
    return _find(work.tx, work.engagement, amendment.id) is not None


def arrived(work: Work, message_id: bytes) -> None:
    """A message has come; if amendments to it came before, they count now."""
    held = _held(work)
    if not held:
        return
    target = _find(work.tx, work.engagement, message_id)
    if target is None:
        return
    its = {row.id for row in work.tx.amendments(work.engagement, [message_id])}
    if its & set(held):
        _put_held(work, [item_id for item_id in held if item_id not in its])
        settle(work, target)


def may_be_taken_back(target: HistoryItem) -> bool:
    """Whether its author may take it back, or has."""
    act = Act((0, 0), target.sender_user, Retract(target.id))
    return may_amend(act, author=target.sender_user, kind=target.kind)


def settle_held(work: Work) -> None:
    """A history has come: amendments that came before it count now."""
    for item_id in _held(work):
        row = _find(work.tx, work.engagement, item_id)
        if row is not None and row.about is not None:
            arrived(work, row.about)


def settle(work: Work, target: HistoryItem) -> None:
    """Make a message's row what its placed amendments say, and forget those that do not count."""
    author, kind = target.sender_user, target.kind
    acts: dict[Act, bytes] = {}
    for row in work.tx.amendments(work.engagement, [target.id]):
        act = act_of(row, 0) if row.seq is not None else None
        if act is not None:
            acts[act] = row.id
    counting = {act for act in that_count(acts) if may_amend(act, author=author, kind=kind)}
    became = amended(counting, author=author, kind=kind)
    if became.retracted or target.kind == RETRACTED:
        counting = {act for act in counting if isinstance(act.what, Retract)}
        erase(work, target)
    elif became.text is not None:
        _reword(work, target, became.text)
    for act in acts.keys() - counting:
        work.tx.remove_item(work.engagement, acts[act])


def take_back(work: Work, message_id: bytes) -> bool:
    """Drop a message of ours that has never left this device, as if unsaid; False if it may have."""
    item = next((item for item in work.box.items if item.id == message_id), None)
    row = _find(work.tx, work.engagement, message_id)
    if item is None or row is None or item.in_flight or work.waiting(message_id).body:
        return False
    rejoined_by_ms = (work.record.rejoined_at + 1) * 1000  # it is kept in whole seconds: that second counts
    if row.sent_ms < rejoined_by_ms or message_id in work.record.reoffers:
        return False  # it is said again after a rejoin or a loss: some may have it
    gone = {message_id, *(about.id for about in work.tx.amendments(work.engagement, [message_id]))}
    work.box = replace(work.box, items=tuple(item for item in work.box.items if item.id not in gone))
    for item_id in gone:
        work.drop_waiting(item_id)
        work.tx.remove_item(work.engagement, item_id)
    return True


def withdraw(work: Work, item_id: bytes) -> None:
    """An amendment of ours can never be sent: it did not happen."""
    row = _find(work.tx, work.engagement, item_id)
    if row is not None and row.about is not None:
        work.tx.remove_item(work.engagement, item_id)


def reworded(envelope: bytes, text: str) -> bytes | None:
    """A text's message with new words and all else as it was; None if it is no text."""
    said = read(envelope)
    if not isinstance(said.content, Text):
        return None
    try:
        return replace(said, content=replace(said.content, text=text)).serialize()
    except ContentTooBig:  # what a later version added to it gives way
        return replace(said, content=replace(said.content, text=text, extra={})).serialize()


def _reword(work: Work, target: HistoryItem, text: str) -> None:
    envelope = reworded(Said.parse(target.payload).envelope, text)
    if envelope is not None and target.text != text:
        # The signed bytes of the first wording go too; those of the edit are in its own row.
        work.tx.update_item(replace(target, text=text, payload=Said(envelope).serialize()))


def erase(work: Work, target: HistoryItem) -> None:
    """A message was taken back: nothing of what it said stays here."""
    if target.kind == RETRACTED:
        return
    content = Said.parse(target.payload).content()
    if isinstance(content, File):
        work.released.append(content.blob)
        if target.mine:
            note_withdrawn(work.tx, work.engagement, content.blob)
    work.tx.update_item(replace(target, kind=RETRACTED, text="", payload=b""))


def _find(tx: Transaction, engagement: EngagementId, item_id: bytes) -> HistoryItem | None:
    return next(iter(tx.history(engagement, only=item_id, limit=1)), None)


# Amendments to what is not here


def _hold(work: Work, amendment: HistoryItem) -> None:
    held = [*(item_id for item_id in _held(work) if item_id != amendment.id), amendment.id]
    for item_id in held[:-MOST_HELD]:
        work.tx.remove_item(work.engagement, item_id)
    work.tx.add_item(amendment)
    _put_held(work, held[-MOST_HELD:])


def _held(work: Work) -> list[bytes]:
    stored = work.tx.get(spaces.HELD, work.key)
    found = unpack(stored) if stored is not None else []
    return [item_id for item_id in found if isinstance(item_id, bytes)] if isinstance(found, list) else []


def _put_held(work: Work, held: Sequence[bytes]) -> None:
    work.tx.put(spaces.HELD, work.key, pack(list(held)))
