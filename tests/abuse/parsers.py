"""Both SDKs' parsers, side by side: samples, what is sealed around them, what the Python SDK makes of bytes.

`client_sdk/browser/e2e/judge.ts` is the other half: the same parsers of the browser's SDK.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, cast

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_secretstream_xchacha20poly1305_init_push,
    crypto_secretstream_xchacha20poly1305_push,
    crypto_secretstream_xchacha20poly1305_state,
)
from nacl.signing import VerifyKey

from client_sdk.attachments import safe_name
from client_sdk.calls.messages import call_id, message_body, parse_message
from client_sdk.calls.sdp import read_description
from client_sdk.content import Envelope
from client_sdk.content.packing import PackingError, pack, unpack
from client_sdk.engine import handover
from client_sdk.engine.account import Account, AccountRecord
from client_sdk.engine.archive_parts import Place, Writer, open_part
from client_sdk.engine.ephemeral import EphemeralBox
from client_sdk.engine.handed import NotAnItem, handed_item
from client_sdk.engine.told import ArrivalRecord, Told, check_whole, read_grant, read_more, read_ref
from client_sdk.errors import CoachRelayError
from client_sdk.identity import (
    ConversationInfo,
    KeyPair,
    RecoverySeed,
    TrustRecord,
    TrustState,
    first_manifest,
    verify_manifest,
)
from client_sdk.identity.conversation import EXTENSION_TYPE
from client_sdk.identity.linking import Greeting, Hello, LinkSecret, Side
from client_sdk.identity.manifest import ManifestDevice
from client_sdk.identity.safety import Compared
from client_sdk.mls import SUITE_3, Extension, Member
from client_sdk.vault import HistoryItem
from relay.wire import Bundle, decode_from_device, decode_from_relay, encode_frame
from relay.wire import frames as fr
from relay.wire.errors import WireError
from relay.wire.ids import label
from tests.vectors import calls, devices, samples
from tests.vectors.making import SampleGroup, SampleLeaf

PORTAL, ANNA, BEN = samples.PORTAL, samples.ANNA, samples.BEN
ENGAGEMENT: Final = samples.ENGAGEMENT
KEY: Final = b"\x01" * 32
SEED: Final = b"\x02" * 16
DEVICE: Final = KeyPair.from_private(b"\x03" * 32)
OTHER: Final = KeyPair.from_private(b"\x04" * 32)
RECOVERY: Final = RecoverySeed(SEED)
PLACE: Final = Place(PORTAL, ANNA, ENGAGEMENT, SEED, 1, KEY)
OWN_LIST: Final = first_manifest(
    portal=PORTAL,
    user=ANNA,
    identity=KeyPair.from_private(KEY),
    recovery_key=RECOVERY.key.public,
    devices=[ManifestDevice(DEVICE.public, 1), ManifestDevice(OTHER.public, 0)],
    suites=[3],
)
_BENS_LIST: Final = next(one for one in samples.MANIFESTS if one.user == BEN)
_TRUST: Final = TrustRecord(
    identity_key=_BENS_LIST.identity_key, newest=_BENS_LIST, state=TrustState.VERIFIED, first_seen_ms=1
)


def _digest(found: str) -> str:
    return f"ok {hashlib.sha256(found.encode()).hexdigest()[:32]} {found[:200]}"


def _values(data: bytes) -> list[Any]:
    found = unpack(data)
    if not isinstance(found, list):
        raise PackingError("no list")
    return found


def _frames(found: list[Any]) -> str:
    return ",".join(
        f"unknown {f.frame_type}" if isinstance(f, fr.Unknown) else encode_frame(f).hex() for f in found
    )


def _manifest(data: bytes) -> str:
    one = verify_manifest(data)
    ids, flags = [bytes(d.id) for d in one.devices], [int(d.flags) for d in one.devices]
    return pack([one.version, list(one.suites), ids, flags]).hex()


def _info(data: bytes) -> str:
    info = ConversationInfo.from_extensions([Extension(EXTENSION_TYPE, data)])
    return info.to_extension().data.hex()


def _call(data: bytes) -> str:
    match _values(data):
        case [str(kind), dict(body), *_]:
            return pack(message_body(parse_message(kind, body), call_id(body))).hex()
    raise PackingError("no call")


def _sdp(data: bytes) -> str:
    found = read_description(data.decode())
    return f"{found.fingerprint.hex()} {','.join(found.kinds)}"


def _safety(data: bytes) -> str:
    Compared(PORTAL, ANNA, DEVICE.public, BEN, OTHER.public).check_scanned(data.decode())
    return ""


def box(own_leaf: int) -> EphemeralBox:
    """The ephemeral box of the device at this leaf; `DEVICE` is at leaf 1."""
    members = [Member(1, cast(Any, SampleLeaf(DEVICE.public)))]
    return EphemeralBox(cast(Any, SampleGroup(KEY, own_leaf, members, KEY, KEY)), 7, DEVICE.sign_labelled)


def _whisper(data: bytes) -> str:
    opened = box(2).open(data, 0.0)
    return "waits" if opened is None else pack([opened.leaf, opened.kind, opened.body]).hex()


def _greeting(side: Side, key: bytes) -> Greeting:
    whose: Any = {"portal": PORTAL, "user": ANNA, "device_key": key, "name": "here"}
    return Greeting(LinkSecret(SEED), side, **whose, rng=lambda length: b"\x05" * length)


def _hello(data: bytes) -> str:
    hello, _ = _greeting(Side.NEW, DEVICE.public).meet(data)
    return pack([hello.portal, hello.user, hello.device_key, hello.name]).hex()


def _told() -> Told:
    account = AccountRecord(PORTAL, ANNA, DEVICE.private, b"", b"", OWN_LIST.raw, "Anna")
    return Told(Account(account), {})


def _grant(data: bytes) -> str:
    record = ArrivalRecord(SEED, DEVICE.private, "here")
    other = Hello(PORTAL, ANNA, OTHER.public, "there", KEY)
    told = read_grant(_values(data), record, PORTAL, ANNA, other)
    given = told.account.record
    identity = KeyPair.from_private(given.identity).public if given.identity else b""
    names = [[device.hex(), name] for device, name in told.names.items()]
    return pack([given.name, identity, given.manifest, names]).hex()


def _people(data: bytes) -> str:
    told = _told()
    read_more(told, "people", _values(data))
    return pack([[user, trust.serialize(), name] for user, (trust, name) in told.people.items()]).hex()


def _floor(data: bytes) -> str:
    told = _told()
    read_more(told, "floor", _values(data))
    return ",".join(
        pack(
            [
                *(engagement, r.incarnation, r.last_commit, r.highest_epoch, r.transcript, r.suite),
                *(list(r.met), list(r.admitted)),
                [[device, *known] for device, known in {d.hex(): (u, s) for d, u, s in r.peers}.items()],
                *(r.read, [list(one) for one in dict(r.reads).items()]),
            ]
        ).hex()
        for engagement, (_, r) in told.floors.items()
    )


def _floors(data: bytes) -> str:
    told = _told()
    check_whole(told, _values(data))
    return str(told.shares_reading).lower()


def _ref(data: bytes) -> str:
    engagement, ref = read_ref(_values(data))
    return pack([engagement, ref and [ref.via, ref.blob, ref.key, ref.size]]).hex()


def _writer(data: bytes) -> str:
    writer = Writer.verify(data, PORTAL, ANNA, RECOVERY.key.public)
    before = [[known.engagement, known.series, known.parts, known.head] for known in writer.before]
    return pack([writer.device_key, writer.rank, before]).hex()


def _kept(item: HistoryItem) -> list[Any]:
    """What of an item both SDKs keep."""
    if item.about is not None and item.sender_user:
        return [item.id.hex(), item.seq, item.sender_user, item.kind]
    said = item.text if item.sender_user == "" else ""
    return [item.id.hex(), item.seq, item.sender_user, item.sender_device.hex(), item.sent_ms, said]


def _part(data: bytes) -> str:
    opened = open_part(PLACE, data, RECOVERY)
    opened.check(DEVICE.public)
    content = opened.content
    rows = [["gone", c.id.hex()] if c.item is None else _kept(c.item) for c in content.changed]
    return pack([content.at_ms, rows, [list(one) for one in content.people], content.writer]).hex()


def _history(data: bytes) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder, "sealed")
        path.write_bytes(data)
        return ",".join(pack(record).hex() for record in handover._open(path, KEY))


def _item(data: bytes) -> str:
    row = unpack(data)
    if not isinstance(row, dict):
        raise PackingError("no map")
    try:
        return pack(_kept(handed_item(ENGAGEMENT, row))).hex()
    except NotAnItem as error:
        raise PackingError("no item") from error


PARSERS: Final[Mapping[str, Callable[[bytes], str]]] = {
    "value": lambda data: pack(unpack(data)).hex(),
    "relay": lambda data: _frames(decode_from_relay(data)),
    "device": lambda data: _frames(decode_from_device(data)),
    "bundle": lambda data: Bundle.parse(data).serialize().hex(),
    "envelope": lambda data: Envelope.parse(data).serialize().hex(),
    "manifest": _manifest,
    "info": _info,
    "trust": lambda data: TrustRecord.parse(data).serialize().hex(),
    "call": _call,
    "sdp": _sdp,
    "name": lambda data: safe_name(data.decode()).encode().hex(),
    "words": lambda data: RecoverySeed.from_words(data.decode()).value.hex(),
    "link": lambda data: LinkSecret.read(data.decode()).value.hex(),
    "safety": _safety,
    "whisper": _whisper,
    "hello": _hello,
    "grant": _grant,
    "people": _people,
    "floor": _floor,
    "floors": _floors,
    "ref": _ref,
    "writer": _writer,
    "part": _part,
    "history": _history,
    "item": _item,
}


def verdict(parser: str, data: bytes) -> str:
    """`ok` and what was read, `no` and why, or `crash`: an error that is none of ours."""
    try:
        return _digest(PARSERS[parser](data))
    except (CoachRelayError, WireError) as error:
        return f"no {error.code}"
    except (PackingError, UnicodeDecodeError):
        return "no packing"
    except Exception as error:
        return f"crash {type(error).__name__}: {error}"


@dataclass(frozen=True, slots=True)
class Kind:
    """A parser, the values that its samples hold, and how these become what it reads."""

    parser: str
    samples: list[Any]
    seal: Callable[[bytes], bytes] = bytes
    """Around packed samples: sealing, signing, or nothing."""


def _signed_list(body: bytes) -> bytes:
    return pack([body, 0, KeyPair.from_private(KEY).sign("manifest", body)])


def _own_body() -> list[Any]:
    envelope = cast(list[Any], unpack(OWN_LIST.raw))
    return cast(list[Any], unpack(envelope[0]))


def _whispered(plain: bytes) -> bytes:
    framed = len(plain).to_bytes(4, "big") + plain
    header, nonce = pack([KEY, 7, 1, 5]), bytes(24)
    sealed = crypto_aead_xchacha20poly1305_ietf_encrypt(framed.ljust(300, b"\0"), header, nonce, KEY)
    signature = DEVICE.sign_labelled(label("ephemeral") + header + nonce + sealed)
    return pack([7, 1, 5, nonce, sealed, signature])


def _greeted(plain: bytes) -> bytes:
    secret, nonce = LinkSecret(SEED), bytes(24)
    bound = label("link hello") + b"\0" + secret.channel
    key = secret.hello_key(Side.KNOWN)
    return b"\0" + nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(plain, bound, nonce, key)


def _written(body: bytes) -> bytes:
    return pack([body, RECOVERY.key.sign("archive writer", body)])


def _archived(plain: bytes) -> bytes:
    public = bytes(VerifyKey(RECOVERY.key.public).to_curve25519_public_key())
    framed = len(plain).to_bytes(4, "big") + plain
    output, sealed = SUITE_3.hpke.seal(public, label("archive") + PLACE.context, framed, lambda n: b"r" * n)
    signed = PLACE.context + hashlib.sha256(output + sealed).digest()
    return pack([1, output, sealed, DEVICE.sign("archive", signed)])


def _handed_over(plain: bytes) -> bytes:
    state = crypto_secretstream_xchacha20poly1305_state()
    whole = crypto_secretstream_xchacha20poly1305_init_push(state, KEY)
    for chunk, tag in ((len(plain).to_bytes(4, "big") + plain, 0), (bytes(40), 3)):
        sealed = crypto_secretstream_xchacha20poly1305_push(state, chunk, None, tag)
        whole += len(sealed).to_bytes(4, "big") + sealed
    return whole


def trust_sample() -> list[Any]:
    """What a device knows of one person."""
    return cast(list[Any], unpack(_TRUST.serialize()))


def rows() -> list[dict[str, Any]]:
    """Items as another device writes them."""
    names = (
        "id",
        "seq",
        "sent_ms",
        "sender_user",
        "sender_device",
        "kind",
        "text",
        "payload",
        "mine",
        "about",
    )
    return [{name: getattr(item, name) for name in names} for item in devices.items()]


def floor_sample() -> list[Any]:
    """What a new device is told of one conversation."""
    people = [[bytes(16), BEN, 7]], 5, [[BEN, 4]]
    return [ENGAGEMENT, b"", True, SEED, 3, KEY, 3, 2, [BEN], [], *people]


def kinds() -> Iterator[Kind]:
    """All of them."""
    envelopes = [
        Envelope(samples.some(16), 7, samples.ATTEST, samples.CLOSINGS, 1, c) for c in samples.CONTENT
    ]
    frames = [(type(f) in fr.DEVICE_FRAME_TYPES, [fr.FRAME_TYPES[type(f)], *f]) for f in samples.FRAMES]
    yield Kind("value", [value for value in samples.VALUES if value == value])
    yield Kind("relay", [_listed(frame) for from_device, frame in frames if not from_device])
    yield Kind("device", [_listed(frame) for from_device, frame in frames if from_device])
    yield Kind("bundle", [unpack(bundle.serialize()) for bundle in samples.BUNDLES])
    yield Kind("envelope", [unpack(said.serialize()) for said in envelopes])
    yield Kind("manifest", [unpack(one.raw) for one in samples.MANIFESTS])
    yield Kind("manifest", [_own_body()], _signed_list)
    yield Kind("info", [unpack(info.to_extension().data) for info in samples.CONVERSATIONS])
    yield Kind("trust", [trust_sample()])
    yield Kind("call", [[m.kind, message_body(m, samples.some(9))] for m in calls.MESSAGES])
    whisper = ["call.probe", {"call": SEED, "more": [1, {"x": 2}]}]
    yield Kind("whisper", [unpack(_whispered(pack(whisper)))])
    yield Kind("whisper", [whisper, ["typing", {"on": True}]], _whispered)
    yield Kind("hello", [[1, PORTAL, ANNA, OTHER.public, "the other one", KEY]], _greeted)
    names = [[bytes(16), "phone"], [SEED, "Läptop"]]
    yield Kind("grant", [[OWN_LIST.raw, key, "Anna", names] for key in (b"", KEY)])
    yield Kind("people", [[[[b"ben@example:7", _TRUST.serialize(), b"Ben"]]]])
    yield Kind("floor", [floor_sample()])
    yield Kind("floors", [[0, 0], [0, 0, False]])
    yield Kind("ref", [[ENGAGEMENT, ENGAGEMENT, samples.BLOB, KEY, 70_000], [ENGAGEMENT, "", "", b"", 0]])
    before = [[ENGAGEMENT, SEED, 2, KEY]]
    yield Kind("writer", [[1, PORTAL, ANNA, DEVICE.public, 3, before]], _written)
    listed = [list(row.values()) for row in rows()]
    content = [1, 1_800_000_000_000, [*listed, [SEED]], [["ben", b"t", "Bën"]], b"w"]
    yield Kind("part", [content], _archived)
    yield Kind("part", [unpack(_archived(pack(content)))])
    yield Kind("history", [["item", row] for row in rows()], _handed_over)
    yield Kind("item", rows())


def texts() -> Iterator[tuple[str, list[str]]]:
    """Samples of the parsers of text."""
    scanned = Compared(PORTAL, BEN, OTHER.public, ANNA, DEVICE.public).code
    yield "sdp", [*calls.DESCRIPTIONS, *calls.NOT_DESCRIPTIONS]
    yield "name", list(calls.NAMES)
    yield "words", [" ".join(RECOVERY.words), ", ".join(word[:4].upper() for word in RECOVERY.words)]
    yield "link", [" ".join(LinkSecret(SEED).words), LinkSecret(SEED).code]
    yield "safety", [scanned]


def _listed(value: Any) -> Any:
    """Named tuples as the lists that they are packed to."""
    return [_listed(item) for item in value] if isinstance(value, tuple | list) else value
