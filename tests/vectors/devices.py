"""Vectors of what devices of one person hand on: sealed histories, parts of archives, and who may write them.

Histories and parts are sealed with randomness of the libraries: they are other bytes at each making.
"""

from __future__ import annotations

import base64
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from client_sdk.content import Edit, Envelope, Reaction, Text
from client_sdk.engine import journal
from client_sdk.engine.archive_parts import (
    NO_HEAD,
    Changed,
    Content,
    Place,
    Restored,
    Writer,
    head_of,
    open_part,
    seal_part,
)
from client_sdk.engine.handover import Import, export_history
from client_sdk.identity import KeyPair, RecoverySeed
from client_sdk.vault import HistoryItem, Vault
from relay.wire.ids import EngagementId, PortalId, UserId
from tests.vectors import samples

Vectors = dict[str, Any]
KEY = bytes(32)
SEED = RecoverySeed(samples.some(31))
DEVICE = KeyPair.from_private(samples.some(32, 32))


def _said(number: int, seq: int, user: str, content: Any) -> HistoryItem:
    said = Envelope(samples.some(100 + number), number, samples.ATTEST, (), 1_800_000_000_000 + seq, content)
    return HistoryItem(
        conversation=samples.ENGAGEMENT,
        id=said.id,
        seq=seq,
        sent_ms=said.sent_ms,
        sender_user=user,
        sender_device=samples.some(33),
        kind=said.kind,
        text=journal.searchable(content),
        payload=journal.Said(said.serialize()).serialize(),
        mine=user == samples.ANNA,
        about=journal.about(content),
    )


def items() -> list[HistoryItem]:
    """A message, its edit and a reaction to it, a gap, and a message that was taken back."""
    first = _said(1, 3, samples.ANNA, Text("How was the wëek?"))
    taken = _said(5, 7, samples.BEN, Text("never mind"))
    gap = replace(first, id=samples.some(104), seq=6, sender_user="", sender_device=b"", mine=False)
    return [
        first,
        _said(2, 4, samples.ANNA, Edit(first.id, "How was your week?")),
        _said(3, 5, samples.BEN, Reaction(first.id, "👍")),
        replace(gap, kind=journal.GAP, text="Something is missing here.", payload=b"not_brought"),
        replace(taken, kind=journal.RETRACTED, text="", payload=b""),
    ]


def described(item: HistoryItem) -> list[Any]:
    """What both SDKs have to make of an item, in JSON."""
    about = None if item.about is None else item.about.hex()
    return [item.id.hex(), item.seq, item.sender_user, item.kind, item.text, about]


def make() -> Vectors:
    """The vectors that are always the same."""
    before = Restored(samples.ENGAGEMENT, samples.some(34), 2, samples.some(35, 32))
    writers = [Writer(DEVICE.public, 0), Writer(DEVICE.public, 2**31, [before])]
    return {"archive_writers": [_writer(writer) for writer in writers]}


def _writer(writer: Writer) -> Vectors:
    return {
        "portal": samples.PORTAL,
        "user": samples.ANNA,
        "recovery_seed": SEED.value.hex(),
        "device_key": writer.device_key.hex(),
        "rank": writer.rank,
        "before": [[b.engagement, b.series.hex(), b.parts, b.head.hex()] for b in writer.before],
        "packed": writer.signed(samples.PORTAL, samples.ANNA, SEED.key).hex(),
    }


def seal() -> Vectors:
    """The vectors that are other bytes at each call."""
    return {"histories": [history()], "archives": [archive()]}


def history() -> Vectors:
    """A sealed history."""
    key = samples.some(36, 32)
    with tempfile.TemporaryDirectory() as folder:
        sealed = Path(folder, "sealed")
        with Vault.open(Path(folder, "vault"), key=KEY, create=True) as vault:
            with vault.transaction() as tx:
                for item in items():
                    tx.add_item(item)
            export_history(vault, samples.ENGAGEMENT, sealed, key)
        packed = base64.b64encode(sealed.read_bytes()).decode()
    whose = {"engagement": samples.ENGAGEMENT, "user": samples.ANNA}
    return {**whose, "key": key.hex(), "items": [described(item) for item in items()], "sealed": packed}


def archive() -> Vectors:
    """An archive of two parts: in the second, an item is gone."""
    whose = (samples.PORTAL, samples.ANNA, samples.ENGAGEMENT, samples.some(37))
    word = Writer(DEVICE.public, 0).signed(samples.PORTAL, samples.ANNA, SEED.key)
    contents = [
        Content(1_800_000_000_000, [Changed(item.id, item) for item in items()], writer=word),
        Content(1_800_000_000_001, [Changed(items()[0].id, None)], [("ben", samples.some(38, 40), "Bën")]),
    ]
    parts: list[bytes] = []
    for number, content in enumerate(contents, 1):
        place = Place(*whose, number, head_of(parts[-1]) if parts else NO_HEAD)
        public = SEED.key.public
        parts.append(seal_part(place, content, recovery_key=public, device=DEVICE, rng=lambda n: b"r" * n))
    return {
        **dict(zip(("portal", "user", "engagement"), whose[:3], strict=True)),
        "series": whose[3].hex(),
        "recovery_seed": SEED.value.hex(),
        "device_key": DEVICE.public.hex(),
        "parts": [[base64.b64encode(p).decode(), _content(c)] for p, c in zip(parts, contents, strict=True)],
    }


def _content(content: Content) -> list[Any]:
    changed = [[c.id.hex()] if c.item is None else described(c.item) for c in content.changed]
    people = [[user, trust.hex(), name] for user, trust, name in content.people]
    return [content.at_ms, changed, people, content.writer.hex()]


def check_writer(vector: Vectors) -> None:
    """Raise what does not hold of a writer, whoever signed it."""
    seed = RecoverySeed(bytes.fromhex(vector["recovery_seed"]))
    portal, user = PortalId(vector["portal"]), UserId(vector["user"])
    writer = Writer.verify(bytes.fromhex(vector["packed"]), portal, user, seed.key.public)
    assert (writer.device_key.hex(), writer.rank) == (vector["device_key"], vector["rank"])
    before = [[b.engagement, b.series.hex(), b.parts, b.head.hex()] for b in writer.before]
    assert before == vector["before"]
    assert writer.signed(portal, user, seed.key).hex() == vector["packed"]


def check_history(vector: Vectors, folder: Path) -> None:
    """Take a sealed history in, whoever sealed it."""
    sealed, engagement = folder / "sealed", EngagementId(vector["engagement"])
    sealed.write_bytes(base64.b64decode(vector["sealed"]))
    with Vault.open(folder / "vault", key=KEY, create=True) as vault:
        importing = Import(vault, engagement, sealed, bytes.fromhex(vector["key"]), up_to=None)
        while importing.step():
            pass
        with vault.transaction() as tx:
            found = tx.history(engagement, limit=100)
    assert sorted((described(item) for item in found), key=_position) == vector["items"]


def _position(item: list[Any]) -> int:
    return int(item[1])


def check_archive(vector: Vectors) -> None:
    """Open the parts of an archive, whoever sealed them."""
    seed, previous = RecoverySeed(bytes.fromhex(vector["recovery_seed"])), NO_HEAD
    engagement, series = EngagementId(vector["engagement"]), bytes.fromhex(vector["series"])
    for number, (packed, content) in enumerate(vector["parts"], 1):
        whose = (PortalId(vector["portal"]), UserId(vector["user"]), engagement, series)
        part = base64.b64decode(packed)
        opened = open_part(Place(*whose, number, previous), part, seed)
        opened.check(bytes.fromhex(vector["device_key"]))
        assert _content(opened.content) == content
        previous = head_of(part)
