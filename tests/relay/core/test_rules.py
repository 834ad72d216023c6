"""The smaller rules: bodies, counters, retention, limits, records, key packages, tokens for blobs."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import engagements, portals
from relay.core.blob_access import BlobGrant, mint_blob_token, verify_blob_token
from relay.core.counters import Sender
from relay.core.devices import DeviceBinding, UserDevices, note_device
from relay.core.engagements import EngagementRecord
from relay.core.ice import TURN_SECONDS, turn_server
from relay.core.keypackages import accept_published, is_low
from relay.core.limits import Rate, TokenBucket
from relay.core.operations import AppendEntries, StreamView
from relay.core.portals import PortalRecord
from relay.core.quotas import Quotas
from relay.core.retention import check_retention_hours, expire, expires_before
from relay.core.streams import MAX_HELD_ENTRIES, Member, StreamState, append, check_body
from relay.core.token_keys import TokenPublicKey
from relay.core.uploads import UploadRecord, claim_upload, finish_upload, is_due, new_upload
from relay.errors import AccessRefused, Ended, InvalidRequest, StoreCorrupt
from relay.wire import Bundle, EntryKind, ErrorCode, WireError
from relay.wire.frames import Participant
from relay.wire.ids import BlobId, DeviceId, EngagementId, PortalId, Role, UserId

STREAM = EngagementId("eng_" + "s" * 21 + "A")
BLOB = BlobId("b" * 21 + "A")
PORTAL = PortalId("portal")
DEVICE = DeviceId(b"d" * 16)
HOUR = 3_600_000
NOW = 472_222 * HOUR


# Bodies


def test_a_message_is_not_looked_into() -> None:
    assert check_body(EntryKind.MESSAGE, 0, b"\xff" * 65_536) is None
    with pytest.raises(WireError) as refused:
        check_body(EntryKind.MESSAGE, 0, bytes(65_537))
    assert refused.value.code is ErrorCode.ENTRY_TOO_BIG


def test_a_commit_is_a_bundle() -> None:
    bundle = Bundle(adds=(DEVICE,), commit=b"c", welcome=b"w", group_info=b"g")
    assert check_body(EntryKind.COMMIT, 0, bundle.serialize()) == bundle
    with pytest.raises(WireError) as refused:
        check_body(EntryKind.COMMIT, 0, b"no bundle")
    assert refused.value.code is ErrorCode.BUNDLE_INVALID


@pytest.mark.parametrize(
    ("after_commit", "bundle"),
    [
        (1, Bundle(commit=b"", group_info=b"g")),
        (0, Bundle(adds=(DEVICE,), commit=b"", group_info=b"g")),
        (0, Bundle(removes=(DEVICE,), commit=b"", group_info=b"g")),
    ],
)
def test_only_a_creator_alone_has_no_commit(after_commit: int, bundle: Bundle) -> None:
    with pytest.raises(WireError) as refused:
        check_body(EntryKind.COMMIT, after_commit, bundle.serialize())
    assert refused.value.code is ErrorCode.BUNDLE_INVALID


def test_a_conversation_does_not_fill_the_disk() -> None:
    state = StreamState(b"i" * 16, head=MAX_HELD_ENTRIES, last_commit=1, members={DEVICE: Member(0, 1)})
    entries = AppendEntries(STREAM, DEVICE, 1, EntryKind.MESSAGE, 1, (b"", b"", b""), NOW)
    refused = [(ErrorCode.RATE_LIMITED, 1), (ErrorCode.COUNTER_GAP, 2)]
    assert [(outcome.code, outcome.entries) for outcome in append(state, entries)] == refused
    state.floor = 1
    stored = [(None, 1), (ErrorCode.RATE_LIMITED, 1), (ErrorCode.COUNTER_GAP, 1)]
    assert [(outcome.code, outcome.entries) for outcome in append(state, entries)] == stored


def test_a_commit_comes_alone() -> None:
    state = StreamState(b"i" * 16)
    with pytest.raises(ValueError, match="alone"):
        append(state, AppendEntries(STREAM, DEVICE, 1, EntryKind.COMMIT, 0, (b"", b""), NOW))
    assert state == StreamState(b"i" * 16)


@pytest.mark.parametrize(
    ("head", "last_commit", "floor", "first"),
    [(0, 0, 0, 1), (5, 1, 0, 1), (5, 2, 3, 4), (5, 4, 3, 4), (5, 3, 3, 3), (5, 5, 5, 5), (5, 2, 5, 6)],
)
def test_the_first_from_which_nothing_is_missing(head: int, last_commit: int, floor: int, first: int) -> None:
    assert StreamView(b"", head, last_commit, floor, {}, {}, {}).first == first


# Counters


def test_a_sender_remembers_its_newest_64() -> None:
    sender = Sender()
    for counter in range(1, 101):
        sender.remember(counter, counter + 1000, NOW + counter, [bytes([counter]) * 16])
    assert sender.recall(36, NOW + 100) is None
    for counter in range(37, 101):
        known = sender.recall(counter, NOW + 100)
        assert known == (counter + 1000, NOW + counter, bytes([counter]) * 16)


def test_a_sender_remembers_for_a_day_and_forgets() -> None:
    sender = Sender()
    sender.remember(1, 5, NOW, [b"a" * 16])
    sender.remember(2, 6, NOW + HOUR, [b"b" * 16])
    assert sender.recall(1, NOW + 24 * HOUR - 1) is not None
    assert sender.recall(1, NOW + 24 * HOUR) is None
    assert sender.forget(NOW + 1)
    assert sender.recall(1, NOW) is None
    assert sender.recall(2, NOW) is not None
    assert not sender.forget(NOW + 1)
    assert sender.forget(NOW + 2 * HOUR)
    assert not any(sender.window)


# Retention


@pytest.mark.parametrize("minute", [0, 1, 59])
def test_age_is_rounded_up_to_the_hour(minute: int) -> None:
    written = NOW + minute * 60_000

    def is_due_at(time_ms: int) -> bool:
        return written < expires_before(time_ms, 24)

    assert not is_due_at(NOW + 25 * HOUR - 1)
    assert is_due_at(NOW + 25 * HOUR)


def test_what_is_due_and_what_is_forgotten() -> None:
    assert expire(STREAM, NOW + 5, 48) == (STREAM, NOW - 48 * HOUR, NOW + 5 - 24 * HOUR)


def test_retention_has_its_bounds() -> None:
    assert check_retention_hours(None) == 720
    assert check_retention_hours(1) == 1
    assert check_retention_hours(4320) == 4320
    for hours in (0, -1, 4321):
        with pytest.raises(InvalidRequest):
            check_retention_hours(hours)


# Limits


def test_a_bucket_empties_and_fills() -> None:
    bucket = TokenBucket(Rate(per_second=2, burst=3), 10.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(10.4)
    assert bucket.take(10.5)
    assert [bucket.take(1000.0) for _ in range(4)] == [True, True, True, False]


def test_a_bucket_gives_all_or_nothing() -> None:
    bucket = TokenBucket(Rate(per_second=1, burst=10), 0.0)
    assert bucket.take(0.0, 8)
    assert not bucket.take(0.0, 3)
    assert bucket.take(0.0, 2)


def test_a_clock_that_runs_backwards_gives_nothing() -> None:
    bucket = TokenBucket(Rate(per_second=1, burst=1), 100.0)
    assert bucket.take(100.0)
    assert not bucket.take(50.0)
    assert not bucket.take(100.5)
    assert bucket.take(101.0)


@given(st.floats(0.1, 100), st.integers(1, 50), st.lists(st.floats(0, 5), max_size=60))
def test_a_bucket_never_gives_more_than_its_rate(rate: float, burst: int, waits: list[float]) -> None:
    bucket = TokenBucket(Rate(per_second=rate, burst=burst), 0.0)
    now = 0.0
    given_out = 0
    for wait in waits:
        now += wait
        given_out += bucket.take(now)
    assert given_out <= burst + now * rate + 1e-6


@pytest.mark.parametrize(("per_second", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_rate_is_positive(per_second: float, burst: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        Rate(per_second=per_second, burst=burst)


# Records

RECORDS: list[EngagementRecord | DeviceBinding | UserDevices | PortalRecord | UploadRecord] = [
    EngagementRecord(
        id=STREAM,
        portal=PORTAL,
        created=7,
        ended=9,
        retention_hours=24,
        participants=(Participant(UserId("anna"), Role.COACH), Participant(UserId("ben"), Role.CLIENT)),
    ),
    DeviceBinding(PORTAL, UserId("anna")),
    UserDevices({DEVICE: 19_000, DeviceId(b"e" * 16): 0}),
    PortalRecord(
        id=PORTAL, api_key_hash=b"h" * 32, token_secret=b"s" * 32, origins=("https://p.example",), created=7
    ),
    PortalRecord(
        id=PORTAL,
        api_key_hash=b"h" * 32,
        token_secret=b"",
        created=7,
        token_keys=(TokenPublicKey(b"k" * 32, 7),),
        former=portals.FormerKeys(b"H" * 32, b"S" * 32, 9),
        quotas=Quotas(1, 2, 3),
    ),
    UploadRecord(blob=BLOB, engagement=STREAM, size=9, created_ms=5, finished=True, named_ms=6),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_comes_back(record: EngagementRecord) -> None:
    assert type(record).parse(record.serialize()) == record


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
@given(data=st.data())
def test_a_damaged_record_fails_closed(record: EngagementRecord, data: st.DataObject) -> None:
    value = bytearray(record.serialize())
    if data.draw(st.booleans()):
        value = value[: data.draw(st.integers(0, len(value) - 1))]
    else:
        value[data.draw(st.integers(0, len(value) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        parsed = type(record).parse(bytes(value))
    except StoreCorrupt:
        return
    assert type(record).parse(parsed.serialize()) == parsed


@given(st.binary(max_size=100))
def test_random_bytes_are_no_record(value: bytes) -> None:
    for record in RECORDS:
        with pytest.raises(StoreCorrupt):
            type(record).parse(value)


def test_a_huge_record_is_none() -> None:
    with pytest.raises(StoreCorrupt):
        DeviceBinding.parse(bytes(64 * 1024 + 1))


# Engagements and devices


def test_an_engagement_ends_once() -> None:
    record = RECORDS[0]
    assert isinstance(record, EngagementRecord)
    active = replace(record, ended=0)
    assert active.status == "active"
    ended = engagements.as_ended(active, 50)
    assert (ended.status, ended.ended) == ("ended", 50)
    assert engagements.as_ended(ended, 60) == ended
    with pytest.raises(Ended):
        engagements.with_participants(ended, record.participants)


def test_a_ninth_device_needs_room() -> None:
    day = 86_400
    devices = UserDevices()
    for number in range(8):
        devices, gone = note_device(devices, DeviceId(b"%016d" % number), number * day)
        assert gone == ()
    with pytest.raises(AccessRefused) as refused:
        note_device(devices, DEVICE, 180 * day)
    assert refused.value.code == "device_limit"
    after, gone = note_device(devices, DEVICE, 182 * day)
    assert gone == (DeviceId(b"%016d" % 0), DeviceId(b"%016d" % 1))
    assert set(after.seen) == set(devices.seen) - set(gone) | {DEVICE}
    again, gone = note_device(devices, DeviceId(b"%016d" % 3), 500 * day)
    assert gone == ()
    assert len(again.seen) == 8


def test_beside_eight_listed_ones_one_more_may_come() -> None:
    """Who has lost all eight comes back by a ninth, which no list names yet."""
    devices = UserDevices()
    listed = [DeviceId(b"%016d" % number) for number in range(8)]
    for device in listed:
        devices, _ = note_device(devices, device, 0, listed)
    devices, gone = note_device(devices, DEVICE, 0, listed)
    assert gone == ()
    assert set(devices.seen) == {*listed, DEVICE}
    assert UserDevices.parse(devices.serialize()) == devices
    later = DeviceId(b"another stranger")
    devices, gone = note_device(devices, later, 86_400, listed)
    assert gone == (DEVICE,), "not two more"
    assert set(devices.seen) == {*listed, later}
    again, gone = note_device(devices, listed[3], 86_400, listed)
    assert gone == ()
    assert set(again.seen) == set(devices.seen), "who is listed is never in its way"


# Key packages


def test_there_is_room_for_a_hundred_key_packages() -> None:
    packages = [b"%d" % number for number in range(100)]
    assert accept_published(0, packages, None) == tuple(packages)
    assert accept_published(95, packages, b"last") == tuple(packages[:5])
    assert accept_published(100, packages, None) == ()
    assert [is_low(left) for left in (0, 10, 11)] == [True, True, False]
    for wrong in (([b""], None), ([], b""), ([b"x"], b"x")):
        with pytest.raises(InvalidRequest):
            accept_published(0, *wrong)


# Blob tokens

SECRET = b"s" * 32
GRANT = BlobGrant(PORTAL, STREAM, DEVICE, 1000)


def test_a_blob_token_grants_what_it_was_minted_for() -> None:
    token = mint_blob_token(SECRET, GRANT)
    assert verify_blob_token(SECRET, token, now=999) == GRANT
    for now in (1000, 10**9):
        with pytest.raises(AccessRefused) as refused:
            verify_blob_token(SECRET, token, now=now)
        assert refused.value.code == "token_expired"
    with pytest.raises(AccessRefused) as refused:
        verify_blob_token(b"t" * 32, token, now=0)
    assert refused.value.code == "token_invalid"


@given(st.data())
def test_a_changed_blob_token_is_worth_nothing(data: st.DataObject) -> None:
    raw = bytearray(base64.urlsafe_b64decode(mint_blob_token(SECRET, GRANT) + "=="))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(AccessRefused):
        verify_blob_token(SECRET, base64.urlsafe_b64encode(raw).decode(), now=0)


@given(st.text(max_size=200) | st.just("A" * 600))
def test_what_is_no_blob_token(token: str) -> None:
    with pytest.raises(AccessRefused) as refused:
        verify_blob_token(SECRET, token, now=0)
    assert refused.value.code == "token_invalid"


@pytest.mark.parametrize("length", range(32))
def test_a_tag_that_is_cut_is_worth_nothing(length: int) -> None:
    raw = base64.urlsafe_b64decode(mint_blob_token(SECRET, GRANT) + "==")
    cut = raw[:length] + raw[32:]
    with pytest.raises(AccessRefused):
        verify_blob_token(SECRET, base64.urlsafe_b64encode(cut).decode(), now=0)


# Uploads


def test_an_upload_lives_as_long_as_it_is_needed() -> None:
    upload = new_upload(BLOB, STREAM, 10, NOW)

    def due(record: UploadRecord, hours: int, *, ended: bool = False) -> bool:
        return is_due(record, now_ms=NOW + hours * HOUR, ended=ended, retention_hours=48)

    assert [due(upload, hours) for hours in (0, 23, 24)] == [False, False, True]
    finished = finish_upload(upload)
    assert due(finished, 24)
    claimed = claim_upload(finished, NOW + HOUR)
    assert [due(claimed, hours) for hours in (24, 49, 52)] == [False, False, True]
    assert due(claimed, 2, ended=True)


# Portals and TURN


def test_an_api_key_is_kept_as_a_hash() -> None:
    key = portals.make_api_key(PORTAL, bytes(32))
    assert key == "crk_portal_" + "A" * 43
    record = portals.new_portal("portal", api_key=key, token_secret=b"s" * 32, now=5)
    assert key.encode() not in record.serialize()
    record.check_api_key(key, 5)
    with pytest.raises(AccessRefused):
        record.check_api_key(key[:-1] + "B", 5)
    assert portals.portal_of_api_key(key) == PORTAL
    with pytest.raises(InvalidRequest):
        portals.make_api_key(PORTAL, bytes(31))
    with pytest.raises(InvalidRequest):
        portals.new_portal("portal", api_key=key, token_secret=b"short", now=5)


def test_a_turn_credential_is_what_coturn_checks() -> None:
    server, expires = turn_server(["turn:t.example"], b"secret", "random", now=1000)
    assert expires == 1000 + TURN_SECONDS
    assert server.username == f"{expires}:random"
    wanted = hmac.new(b"secret", server.username.encode(), hashlib.sha1).digest()
    assert server.credential == base64.b64encode(wanted).decode()
