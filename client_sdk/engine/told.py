"""What a new device is told by the one that links it: checked as it comes, kept all at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, cast

from client_sdk.content.packing import MAX_COUNT, Value
from client_sdk.engine import reading, spaces
from client_sdk.engine.account import Account, AccountRecord
from client_sdk.engine.handover import KEY_BYTES
from client_sdk.engine.records import ConversationRecord, Record
from client_sdk.errors import CoachRelayError, DeliveryError, IdentityError, LinkTampered
from client_sdk.identity import KeyPair, TrustRecord, verify_manifest
from client_sdk.identity.linking import Hello
from client_sdk.vault import Transaction, Vault
from relay.wire import decode_from_relay
from relay.wire import frames as fr
from relay.wire.ids import (
    EngagementId,
    PortalId,
    UserId,
    parse_blob_id,
    parse_device_id,
    parse_engagement_id,
    parse_user_id,
)
from relay.wire.limits import MAX_BLOB_BYTES, MAX_ENGAGEMENTS_PER_USER

MOST_PEOPLE: Final = 4096
_KEY: Final = b"arrival"


@dataclass(frozen=True, slots=True)
class ArrivalRecord(Record):
    """A link that goes on: `granted` once this device has its account; `until` in Unix seconds."""

    secret: bytes = field(repr=False)
    device: bytes = field(repr=False)
    name: str = field(repr=False)
    granted: bool = False
    until: int = 0
    done: bool = False
    """The other device has told everything; what remains is fetched from the relay."""


@dataclass(frozen=True, slots=True)
class HistoryRef(Record):
    """A sealed history at the relay: fetched by way of the engagement `via`, for this one."""

    via: str
    blob: str
    key: bytes = field(repr=False)
    size: int


@dataclass(slots=True)
class Told:
    """What the other device has told so far, checked as it came."""

    account: Account
    names: dict[bytes, str]
    people: dict[UserId, tuple[TrustRecord, str]] = field(default_factory=dict)
    floors: dict[EngagementId, tuple[bytes, ConversationRecord]] = field(default_factory=dict)
    shares_reading: bool = True
    """Whether the person lets the others know what they have read."""


def read_grant(
    values: list[Value], record: ArrivalRecord, portal: PortalId, user: UserId, other: Hello | None
) -> Told:
    """The account that this device is given; raises `LinkTampered` if it does not fit."""
    try:
        raw, identity, name, names = values
        manifest = verify_manifest(cast(bytes, raw))
        device = KeyPair.from_private(record.device)
        listed = other is not None and manifest.lists(device.public) and manifest.lists(other.device_key)
        if (manifest.portal, manifest.user) != (portal, user) or not listed:
            raise strange()
        if not isinstance(identity, bytes) or not isinstance(name, str):
            raise strange()
        if identity and KeyPair.from_private(identity).public != manifest.identity_key:
            raise strange()
        account = AccountRecord(
            portal=portal,
            user=user,
            device=device.private,
            identity=identity,
            recovery=b"",
            manifest=manifest.raw,
            name=name,
        )
        known = [_fields(one, bytes, str) for one in _list(names)]
        return Told(Account(account), {bytes(parse_device_id(device)): called for device, called in known})
    except (ValueError, TypeError, CoachRelayError) as error:
        raise strange() from error


def read_more(told: Told, kind: str, values: list[Value]) -> None:
    """People and floors; raises `LinkTampered` if they are none."""
    try:
        if kind == "people":
            for key, trust, name in _people(values):
                user = parse_user_id(key.decode())
                known = TrustRecord.parse(trust)
                if known.user != user or len(told.people) >= MOST_PEOPLE:
                    raise strange()
                told.people[user] = known, name.decode()
        elif kind == "floor":
            engagement, shown, shares, *rest = values
            if len(told.floors) >= MAX_ENGAGEMENTS_PER_USER:
                raise strange()
            if not isinstance(shown, bytes):
                raise strange()
            conversation = parse_engagement_id(engagement)
            _check_shown(conversation, shown)
            told.floors[conversation] = shown, _floor(rest)
            told.shares_reading = told.shares_reading and shares is True
        else:
            raise strange()
    except (ValueError, TypeError, IndexError, IdentityError, DeliveryError) as error:
        raise strange() from error


def _people(values: list[Value]) -> list[tuple[bytes, bytes, bytes]]:
    (people,) = _fields(values, list)
    return [_fields(one, bytes, bytes, bytes) for one in people]


def _check_shown(engagement: EngagementId, shown: bytes) -> None:
    if shown:
        frame = decode_from_relay(shown)[0]
        if not isinstance(frame, fr.EngagementChanged) or frame.engagement.id != engagement:
            raise strange()


def _floor(values: list[Value]) -> ConversationRecord:
    incarnation, epochs, transcript, suite, last_commit, met, admitted, peers, read, reads = _fields(
        values, bytes, int, bytes, int, int, list, list, list, int, list
    )
    return ConversationRecord(
        incarnation=incarnation,
        last_commit=last_commit,
        highest_epoch=epochs - 1,
        transcript=transcript,
        suite=suite,
        met=tuple(parse_user_id(user) for user in met),
        admitted=tuple(parse_user_id(user) for user in admitted),
        peers=tuple(
            (bytes(parse_device_id(device)), str(parse_user_id(user)), seq)
            for device, user, seq in (_fields(one, bytes, str, int) for one in peers)
        ),
        read=read,
        read_told=read,
        reads=tuple(
            (str(parse_user_id(user)), seq) for user, seq in (_fields(one, str, int) for one in reads)
        ),
    )


def check_whole(told: Told, values: list[Value]) -> None:
    """Whether everything was told: as many people and floors as the other device counted.

    Where there is no floor to say it, it says whether receipts tell what was read. Raises `LinkTampered`.
    """
    counted = _fields(values[:2], int, int)
    if counted != (len(told.people), len(told.floors)):
        raise strange()
    match values[2:]:
        case []:
            return
        case [shares] if shares is False:
            told.shares_reading = False
        case _:
            raise strange()


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise strange()
    return value


def _fields(value: object, *kinds: type) -> Any:
    """The elements of a list of exactly these kinds, numbers not below 0; raises `LinkTampered`."""
    values = _list(value)
    if tuple(map(type, values)) != kinds:
        raise strange()
    if any(type(element) is int and not 0 <= element <= MAX_COUNT for element in values):
        raise strange()
    return tuple(values)


def keep_told(tx: Transaction, told: Told, account_key: bytes) -> None:
    """Everything at once: this device has its account, its trust and its floors, or nothing of it."""
    tx.put(spaces.ACCOUNT, account_key, told.account.record.serialize())
    reading.set_shares(tx, told.shares_reading)
    for device, name in told.names.items():
        tx.put(spaces.DEVICE_NAME, device, name.encode())
    for user, (trust, name) in told.people.items():
        tx.put(spaces.TRUST, user.encode(), trust.serialize())
        if name:
            tx.put(spaces.NAME, user.encode(), name.encode())
    for engagement, (shown, record) in told.floors.items():
        key = spaces.conversation_key(engagement)
        tx.put(spaces.CONVERSATION, key, record.serialize())
        if shown:
            tx.put(spaces.ENGAGEMENT, key, shown)


def read_arrival(vault: Vault) -> ArrivalRecord | None:
    """The link that this device waits for, or is in."""
    with vault.transaction() as tx:
        data = tx.get(spaces.ARRIVAL, _KEY)
    return None if data is None else ArrivalRecord.parse(data)


def put_arrival(tx: Transaction, record: ArrivalRecord | None) -> None:
    """Store it; None: there is none any more."""
    if record is None:
        tx.delete(spaces.ARRIVAL, _KEY)
    else:
        tx.put(spaces.ARRIVAL, _KEY, record.serialize())


def read_ref(values: list[Value]) -> tuple[EngagementId, HistoryRef | None]:
    try:
        engagement, via, blob, key, size = _fields(values, str, str, str, bytes, int)
        known = parse_engagement_id(engagement)
        if via == "":
            return known, None
        if len(key) != KEY_BYTES or not 1 <= size <= MAX_BLOB_BYTES:
            raise strange()
        return known, HistoryRef(parse_engagement_id(via), parse_blob_id(blob), key, size)
    except (ValueError, TypeError) as error:
        raise strange() from error


def strange() -> LinkTampered:
    """What came is none of what the other device says."""
    return LinkTampered("Your other device said something that this one does not understand. Update both.")
