"""What the Python SDK's vectors are made of."""

from __future__ import annotations

import hashlib
from itertools import count
from typing import Any, Final

import msgpack

from client_sdk.content import Attest, CheckIn, CheckInAnswer, Question
from client_sdk.content.amendments import Edit, Reaction, Retract
from client_sdk.content.messages import CallEnded, CallInvite, File, Profile, Receipt, Text, Unknown
from client_sdk.errors import ManifestInvalid
from client_sdk.identity import (
    ConversationInfo,
    KeyPair,
    ManifestDevice,
    Participant,
    VerifiedManifest,
    check_successor,
    first_manifest,
    next_manifest,
    verify_manifest,
)
from relay.wire import Bundle, EntryKind
from relay.wire import frames as fr
from relay.wire.ids import BlobId, DeviceId, EngagementId, PortalId, Role, UserId
from relay.wire.limits import MAX_FRAMES_PER_MESSAGE

_PIECE: Final = 32


def some(seed: int, length: int = 16) -> bytes:
    """Bytes that look random and are always the same."""
    pieces = (hashlib.sha256(f"{seed}/{number}".encode()).digest() for number in count())
    return b"".join(next(pieces) for _ in range(-(-length // _PIECE)))[:length]


ENGAGEMENT: Final = EngagementId("eng_AAAAAAAAAAAAAAAAAAAAAA")
PORTAL, ANNA, BEN = PortalId("growth"), UserId("anna"), UserId("ben@example:7")
BLOB: Final = BlobId("zYxWvUtSrQpOnMlKjIhGfQ")
_DEVICES: Final = tuple(DeviceId(some(number)) for number in range(3))
_SMALL: Final[tuple[int, ...]] = (0, 1, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**53 - 1)

VALUES: Final[list[Any]] = [
    None,
    True,
    False,
    *_SMALL,
    2**53,
    2**63 - 1,
    2**64 - 1,
    -1,
    -32,
    -33,
    -128,
    -129,
    -32768,
    -32769,
    -(2**31),
    -(2**31) - 1,
    -(2**53),
    -(2**63),
    0.0,
    1.0,
    -1.5,
    1e300,
    "",
    "a" * 31,
    "a" * 32,
    "ü" * 200,
    "\ufeffBOM",
    "🙂 e\u0301",
    b"",
    b"\x00" * 255,
    b"\x01" * 256,
    [],
    list(range(15)),
    list(range(16)),
    [[[[[[[[]]]]]]]],
    {},
    {"b": 1, "a": [2, {"10": None, "2": 0}]},
    {str(number): number for number in range(16)},
]

NOT_VALUES: Final[list[bytes]] = [
    b"",
    b"\xc1",
    b"\x01\x02",
    b"\x91",
    b"\xa2a",
    b"\xc4\x05abc",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xa1\xff",
    b"\xa3\xed\xa0\x80",
    b"\xd4\x01\x00",
    b"\xc7\x00\x05",
    b"\xd6\xff\x00\x00\x00\x00",
    b"\x82\xa1a\x01\xa1a\x02",
    b"\x81\x01\x02",
    b"\x81\xc4\x01a\x02",
    b"\x81\x90\x02",
    b"\x91" * 9 + b"\x01",
]

_ENGAGEMENT_FRAME: Final = fr.Engagement(
    ENGAGEMENT,
    "active",
    1_800_000_000,
    720,
    (fr.Participant(ANNA, Role.COACH), fr.Participant(BEN, Role.TEAM_MEMBER)),
    (fr.EngagementDevice(ANNA, _DEVICES[0], True, False), fr.EngagementDevice(BEN, _DEVICES[1], False, True)),
    17,
)
FRAMES: Final[list[fr.Frame]] = [
    fr.Hello((1, 2, 300), some(1, 32)),
    fr.Authenticate("a.b.c" * 100, some(2, 32), some(3, 64)),
    fr.Renew(1, "tøken"),
    fr.Append(ENGAGEMENT, 1, EntryKind.MESSAGE, 0, b"", ()),
    fr.Append(ENGAGEMENT, 2**53 - 1, EntryKind.COMMIT, 2**32, some(4, 300), (BLOB, BLOB)),
    fr.Open(2, ENGAGEMENT, 0),
    fr.Ack(ENGAGEMENT, 65_536),
    fr.Ephemeral(ENGAGEMENT, some(5, 70)),
    fr.PublishKeyPackages(3, (some(6, 400), b""), some(7, 40)),
    fr.PublishKeyPackages(3, (), None),
    fr.ClaimKeyPackages(4, ENGAGEMENT, _DEVICES),
    fr.ListEngagements(5),
    fr.RequestBlobAccess(6, ENGAGEMENT),
    fr.RequestIceServers(7, ENGAGEMENT),
    fr.Rendezvous(8, some(8), some(9, 500)),
    fr.PutManifest(9, some(10, 600)),
    fr.PutManifest(10, None),
    fr.Challenge(1, some(11, 32)),
    fr.Ready(_DEVICES[0], PORTAL, BEN, 1_800_000_000, 100, 256, 1 << 20, 1_799_999_000),
    fr.Renewed(1, 1_800_003_600),
    fr.Error(0, "rate_limited", "too much of it"),
    fr.Goodbye("draining", "", 1500),
    fr.Appended(ENGAGEMENT, (fr.AppendResult(1, 1), fr.AppendResult(2, 300))),
    fr.Refused(ENGAGEMENT, 3, "stale", 12),
    fr.Opened(2, ENGAGEMENT, some(12), 10, 9, 3, 4, 5, True),
    fr.Entries(
        ENGAGEMENT,
        (
            fr.Entry(1, EntryKind.COMMIT, 0, 1_800_000_000_000, 0, some(13, 90)),
            fr.Entry(2, EntryKind.MESSAGE, 1, 1_800_000_000_001, 5, None),
        ),
    ),
    fr.EphemeralFrom(ENGAGEMENT, b""),
    fr.Published(3, 99),
    fr.KeyPackages(
        4,
        (
            fr.ClaimedKeyPackage(_DEVICES[0], some(14, 50), False),
            fr.ClaimedKeyPackage(_DEVICES[1], None, False),
        ),
    ),
    fr.Engagements(
        5, (_ENGAGEMENT_FRAME, _ENGAGEMENT_FRAME._replace(status="ended", participants=(), devices=()))
    ),
    fr.EngagementChanged(_ENGAGEMENT_FRAME),
    fr.BlobAccess(6, "blob.token", 1_800_000_900),
    fr.IceServers(
        7, (fr.IceServer(("stun:s.example",), None, None), fr.IceServer(("turn:t.example",), "u", "p")), 5
    ),
    fr.KeyPackagesLow(10),
    fr.Met(8, True),
    fr.RendezvousFrom(some(8), some(15, 20)),
    fr.HeldManifest(9, None),
    fr.PutArchive(10, ENGAGEMENT, some(39), 1, some(40, 700)),
    fr.ListArchive(11, ENGAGEMENT),
    fr.ReadArchive(12, ENGAGEMENT, some(39), 65_536),
    fr.EraseArchive(13, ENGAGEMENT, some(39)),
    fr.EraseArchive(13, ENGAGEMENT, None),
    fr.CallOutcome("relay"),
    fr.ArchiveStored(10, 0),
    fr.ArchiveListed(11, (fr.ArchiveSeries(some(39), 7),)),
    fr.ArchiveParts(12, (some(40, 700), b"")),
]
_pack = msgpack.packb
NOT_FRAMES: Final[list[tuple[str, bytes, str]]] = [
    ("relay", b"", "malformed"),
    ("relay", b"\xc1", "malformed"),
    ("relay", _pack([]), "malformed"),
    ("relay", _pack({"a": 1}), "malformed"),
    ("relay", _pack(["Goodbye"]), "malformed"),
    ("relay", _pack([68, "draining", ""]), "malformed"),
    ("relay", _pack([68, "draining", "", -1]), "malformed"),
    ("relay", _pack([68, "draining", "", True]), "malformed"),
    ("relay", _pack([68, "draining", "", 1.0]), "malformed"),
    ("relay", _pack([68, b"draining", "", 1]), "malformed"),
    ("relay", _pack([68, "x" * 65, "", 1]), "too_big"),
    ("relay", _pack([64, 1, bytes(31)]), "malformed"),
    ("relay", _pack([73, ENGAGEMENT, []]), "malformed"),
    ("relay", _pack([73, ENGAGEMENT, [[0, 0, 0, 0, 0, b""]]]), "malformed"),
    ("relay", _pack([73, ENGAGEMENT, [[1, 2, 0, 0, 0, b""]]]), "malformed"),
    ("relay", _pack([73, "eng_AAAAAAAAAAAAAAAAAAAAAB", [[1, 0, 0, 0, 0, b""]]]), "malformed"),
    ("relay", _pack([80, 1, [[[[[[]]]]]]]), "too_deep"),
    ("relay", _pack([1, [1], bytes(32)]), "out_of_order"),
    ("device", _pack([64, 1, bytes(32)]), "out_of_order"),
    ("device", _pack([1, [], bytes(32)]), "malformed"),
    ("device", _pack([1, [1] * 17, bytes(32)]), "too_big"),
    ("device", _pack([32, 1]) * (MAX_FRAMES_PER_MESSAGE + 1), "too_big"),
    ("device", _pack([12, ENGAGEMENT, 1])[:-1], "malformed"),
]

BUNDLES: Final = [
    Bundle(commit=b"", group_info=some(16, 50)),
    Bundle(
        adds=_DEVICES[:2],
        removes=_DEVICES[2:],
        commit=some(17, 300),
        welcome=some(18, 70),
        group_info=some(19, 9),
    ),
]
LENGTHS: Final = [
    0,
    1,
    255,
    256,
    257,
    272,
    273,
    1000,
    4097,
    65_536,
    65_537,
    1_000_001,
    2**31,
    2**32 + 1,
    2**40 + 7,
]

ATTEST: Final = Attest(3, 12, some(20, 32))
CLOSINGS: Final = (Attest(1, 4, some(21, 32)), Attest((1 << 32) + 2, 9, some(22, 32)))
CONTENT: Final[list[Any]] = [
    Text("How was the week?"),
    Text("ü🙂\n\x00 is allowed", reply_to=some(23), extra={"later": [1.5, {"k": b"v"}], "b": 2**60}),
    CheckIn("Energy today, 1 to 10?"),
    CheckIn(
        "This week",
        (
            Question("10", "How many?", "scale", 0, 100, extra={"unit": "h"}),
            Question("2", "Which?", "choice", choices=("one", "two")),
            Question("x", "Why?", "text"),
        ),
        extra={"due": 5},
    ),
    CheckInAnswer(some(24), {"10": 55, "2": "one", "x": "Because."}),
    Profile("Ben Ünal"),
    Receipt(),
    Receipt(extra={"x": None}),
    Receipt(300),
    File(
        name="plan.pdf",
        media_type="application/pdf",
        size=1000,
        blob=BLOB,
        key=some(25, 32),
        sealed_size=1065,
        sealed_hash=some(26, 32),
    ),
    CallInvite(some(27), ("video",)),
    CallEnded(some(28), "answered", "ben", 61),
    CallEnded(some(29), "missed"),
    CallEnded(some(29), "declined", "ben", device=some(41)),
    Edit(some(30), "Anew."),
    Retract(some(31)),
    Reaction(some(32), "❤️", False),
    CheckIn("é" * 1000),
    Unknown("poll", 1, True, "A poll.", _pack({"q": 1, "f": 0.5})),
    Unknown("text", 2, False, "", _pack({})),
]


def _content(**changed: Any) -> bytes:
    fields: dict[str, Any] = {
        "version": 1,
        "id": some(33),
        "counter": 1,
        "attest": [0, 0, bytes(32)],
        "closings": [],
        "sent_ms": 0,
        "kind": "text",
        "kind_version": 1,
        "critical": False,
        "fallback": "",
        "body": {"text": "x"},
    }
    packed: bytes = _pack(list({**fields, **changed}.values()))
    return packed


_MALFORMED: Final[list[dict[str, Any]]] = [
    {"version": 2},
    {"version": True},
    {"id": bytes(15)},
    {"id": "0" * 16},
    {"counter": 0},
    {"counter": 1.0},
    {"counter": -1},
    {"attest": [0, 0]},
    {"attest": [0, 0, bytes(31)]},
    {"closings": [[0, 0, bytes(32)]] * 9},
    {"closings": None},
    {"sent_ms": "0"},
    {"kind": ""},
    {"kind": "k" * 65},
    {"kind_version": 0},
    {"critical": 0},
    {"fallback": "f" * 1025},
    {"body": []},
    {"body": None},
]
_BODIES: Final[list[tuple[str, Any]]] = [
    ("text", {}),
    ("text", {"text": ""}),
    ("text", {"text": b"x"}),
    ("text", {"text": "x", "reply_to": "y"}),
    ("profile", {"name": "a\nb"}),
    ("profile", {"name": "\x85"}),
    ("checkin", {"prompt": "p", "questions": []}),
    (
        "checkin",
        {"prompt": "p", "questions": [{"id": "1", "text": "t", "answer": "scale", "min": 5, "max": 5}]},
    ),
    ("checkin", {"prompt": "p", "questions": [{"id": "1", "text": "t", "answer": None}]}),
    ("checkin", {"prompt": "p", "questions": [{"id": "1", "text": "t", "answer": "text", "choices": ["a"]}]}),
    ("checkin", {"prompt": "p", "questions": [{"id": "1", "text": "t"}, {"id": "1", "text": "t"}]}),
    ("checkin.answer", {"checkin": some(1), "answers": {}}),
    ("checkin.answer", {"checkin": some(1), "answers": {"1": 1.5}}),
    ("checkin.answer", {"checkin": some(1), "answers": {"1": 101}}),
    ("call.invite", {"call": some(1), "media": []}),
    ("call.invite", {"call": some(1), "media": ["audio", "audio"]}),
    ("call.ended", {"call": some(1), "outcome": "vanished", "answered_by": None, "seconds": 0}),
    ("file", {"name": "a"}),
    ("edit", {"message": bytes(15), "text": "x"}),
    ("reaction", {"message": some(1), "emoji": "x", "on": True}),
    ("reaction", {"message": some(1), "emoji": "👍", "on": 1}),
]
NOT_CONTENT: Final[list[tuple[bytes, str]]] = [
    (b"", "content_malformed"),
    (b"\x9a" + b"\x01" * 10, "content_malformed"),
    (_content() + b"\x00", "content_malformed"),
    *((_content(**changed), "content_malformed") for changed in _MALFORMED),
    *((_content(kind=kind, body=body), "body_invalid") for kind, body in _BODIES),
]


def keys(seed: int) -> KeyPair:
    """A key pair that is always the same."""
    return KeyPair.from_private(some(seed, 32))


_IDENTITY, _RECOVERY, _OTHER = keys(100), keys(101), keys(102)
_PHONE, _LAPTOP = (ManifestDevice(keys(seed).public, flags) for seed, flags in ((103, 1), (104, 6)))


def _manifests() -> list[VerifiedManifest]:
    own: dict[str, Any] = {"portal": PORTAL, "identity": _IDENTITY, "recovery_key": _RECOVERY.public}
    first = first_manifest(**own, user=ANNA, devices=[_PHONE], suites=[0xF00E, 3])
    ben = first_manifest(**{**own, "identity": _OTHER}, user=BEN, devices=[_LAPTOP, _PHONE], suites=[3])
    second = next_manifest(first, key=_IDENTITY, devices=[_PHONE, _LAPTOP])
    fork = next_manifest(first, key=_IDENTITY, devices=[_LAPTOP])
    third = next_manifest(second, key=_RECOVERY, devices=[_LAPTOP], identity_key=_OTHER.public)
    of_fork = next_manifest(fork, key=_IDENTITY, devices=[])
    other_recovery = first_manifest(
        **{**own, "recovery_key": _OTHER.public}, user=ANNA, devices=[_PHONE], suites=[]
    )
    far = _resigned(second, version=2**62, devices=[[_PHONE.device_key, 2**60]])
    return [first, ben, second, fork, third, of_fork, next_manifest(other_recovery, key=_IDENTITY), far]


def _resigned(old: VerifiedManifest, **changed: Any) -> VerifiedManifest:
    return verify_manifest(_raw(old, **changed))


def _raw(old: VerifiedManifest, *, key: KeyPair = _IDENTITY, signer: Any = 0, **changed: Any) -> bytes:
    """A signed manifest with some fields changed, also to what nobody would sign."""
    fields: dict[str, Any] = {
        "format": 1,
        "portal": old.portal,
        "user": old.user,
        "version": old.version,
        "identity_key": old.identity_key,
        "recovery_key": old.recovery_key,
        "devices": [[d.device_key, int(d.flags)] for d in old.devices],
        "suites": list(old.suites),
        "previous": old.previous,
    }
    body: bytes = _pack(list({**fields, **changed}.values()))
    packed: bytes = _pack([body, signer, key.sign("manifest", body)])
    return packed


MANIFESTS: Final = _manifests()
_FIRST, _SECOND = MANIFESTS[0], MANIFESTS[2]
NOT_MANIFESTS: Final[list[bytes]] = [
    b"",
    _FIRST.raw + b"\x00",
    _FIRST.raw[:-1] + bytes([_FIRST.raw[-1] ^ 1]),
    _raw(_FIRST, key=_OTHER),
    _raw(_FIRST, signer=1),
    _raw(_FIRST, signer=2),
    _raw(_FIRST, signer=False),
    _raw(_FIRST, format=2),
    _raw(_FIRST, format=True),
    _raw(_FIRST, portal="Growth"),
    _raw(_FIRST, user=""),
    _raw(_FIRST, version=0),
    _raw(_FIRST, version=2),
    _raw(_FIRST, version=1.0),
    _raw(_SECOND, version=1),
    _raw(_SECOND, version=2**63),
    _raw(_SECOND, previous=bytes(32)),
    _raw(_FIRST, identity_key=bytes(32)),
    _raw(_FIRST, recovery_key=bytes(31)),
    _raw(_FIRST, devices=[[_PHONE.device_key, 1]] * 2),
    _raw(_FIRST, devices=[[_PHONE.device_key]]),
    _raw(_FIRST, devices=[[some(n, 32), 0] for n in range(9)]),
    _raw(_FIRST, devices=[[_PHONE.device_key, -1]]),
    _raw(_FIRST, suites=[3, 3]),
    _raw(_FIRST, suites=[0]),
    _raw(_FIRST, suites=[0x10000]),
    _raw(_FIRST, suites=list(range(1, 18))),
    _raw(_FIRST, more=1),
]


def successors() -> list[list[Any]]:
    """[old, next, whether it may follow] for all pairs of `MANIFESTS`, by their places."""
    return [[old, new, _follows(old, new)] for old in range(len(MANIFESTS)) for new in range(len(MANIFESTS))]


def _follows(old: int, new: int) -> bool:
    try:
        check_successor(MANIFESTS[old], MANIFESTS[new])
    except ManifestInvalid:
        return False
    return True


_PEOPLE: Final = (
    Participant(ANNA, Role.COACH, _IDENTITY.public),
    Participant(BEN, Role.CLIENT, _OTHER.public),
)
CONVERSATIONS: Final = [
    ConversationInfo(
        portal=PORTAL, engagement=ENGAGEMENT, policy={"retention_hours": 720}, participants=_PEOPLE[:1]
    ),
    ConversationInfo(
        portal=PORTAL,
        engagement=ENGAGEMENT,
        generation=2**40,
        features=("polls", "sframe"),
        policy={"z": None, "a": [1, {"b": 0.5}]},
        participants=_PEOPLE,
    ),
]

ENTRIES: Final[list[tuple[int, int, int, bytes, int]]] = [
    # seq, kind, after_commit, body, the epoch that begins (0: none)
    (5, 1, 3, b"bundle", 1),
    (6, 0, 5, b"message", 0),
    (7, 0, 5, b"", 0),
    (8, 1, 5, b"void bundle", 0),
    (9, 0, 8, some(34, 5000), 0),
    (10, 1, 8, b"another bundle", (1 << 32) + 1),
    (11, 0, 10, b"x", 0),
]

WHISPERS: Final[list[tuple[int, int, int, str, dict[str, Any]]]] = [
    (7, 1, 5, "call.probe", {"call": some(35)}),
    ((1 << 32) + 1, 31, 2**40, "typing", {}),
    (
        0,
        0,
        1,
        "call.offer",
        {"call": some(36), "to": some(37), "attempt": 1, "sdp": "v=0\r\n" * 300, "commit": some(38, 32)},
    ),
]
FILE_SIZES: Final = (0, 13, 256, 257, 66_000)
