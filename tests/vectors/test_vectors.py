"""The Python SDK and the browser's compute the same: each is checked against what the other one made.

`python.json` is written by `python -m tests.vectors`, `typescript.json` by `npm run vectors` in
client_sdk/browser; what the browser's SDK makes of `python.json` is tested there.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from client_sdk.attachments import SealedFile, open_sealed, safe_name
from client_sdk.calls.errors import CallMessageInvalid, DescriptionRefused
from client_sdk.calls.messages import call_id, message_body, parse_message
from client_sdk.calls.sdp import read_description
from client_sdk.content import BodyInvalid, Envelope, padded_length
from client_sdk.content.packing import PackingError, pack, unpack
from client_sdk.delivery import AttestLog
from client_sdk.errors import ContentError, ManifestInvalid
from client_sdk.identity import (
    CallBinding,
    ConversationInfo,
    RecoverySeed,
    call_commit,
    call_words,
    check_successor,
    safety_number,
    verify_manifest,
)
from client_sdk.identity.conversation import EXTENSION_TYPE
from client_sdk.identity.linking import LinkSecret, Side
from client_sdk.mls import Extension
from relay.wire import (
    Bundle,
    EntryKind,
    WireError,
    decode_from_device,
    decode_from_relay,
    encode_frame,
)
from relay.wire.frames import DEVICE_FRAME_TYPES, FRAME_TYPES
from relay.wire.ids import PortalId, UserId
from tests.vectors import calls, devices, making
from tests.vectors.plain import plain, whole

Vectors = dict[str, Any]
FOLDER = Path(__file__).parent
MAKERS = ("python.json", "typescript.json")
_DEVICE = {kind.__name__ for kind in DEVICE_FRAME_TYPES}


@cache
def read(name: str) -> Vectors:
    found: Vectors = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return found


@pytest.fixture(params=MAKERS)
def vectors(request: pytest.FixtureRequest) -> Vectors:
    return read(request.param)


def test_the_file_is_what_this_sdk_makes() -> None:
    made = json.loads(json.dumps(making.make()))
    sealed = {name: read("python.json")[name] for name in ("files", "histories", "archives")}
    assert {**made, **sealed} == read("python.json")


def test_both_make_the_same_kinds_of_vectors() -> None:
    first, second = map(read, MAKERS)
    assert set(first) == set(second)
    assert all(second.values())


def test_values(vectors: Vectors) -> None:
    for vector in vectors["msgpack"]:
        value = whole(vector["value"])
        assert pack(value) == bytes.fromhex(vector["packed"])
        assert plain(unpack(bytes.fromhex(vector["packed"]))) == vector["value"]


def test_what_is_no_value(vectors: Vectors) -> None:
    for data in vectors["msgpack_refused"]:
        with pytest.raises(PackingError):
            unpack(bytes.fromhex(data))


def test_frames(vectors: Vectors) -> None:
    for vector in vectors["frames"]:
        decode = decode_from_device if vector["frame"] in _DEVICE else decode_from_relay
        (frame,) = decode(bytes.fromhex(vector["packed"]))
        assert (type(frame).__name__, plain(tuple(frame))) == (vector["frame"], vector["fields"])
        assert encode_frame(frame).hex() == vector["packed"]  # type: ignore[arg-type]  # none is Unknown
    assert {vector["frame"] for vector in vectors["frames"]} == {kind.__name__ for kind in FRAME_TYPES}


def test_what_is_no_frame(vectors: Vectors) -> None:
    for vector in vectors["frames_refused"]:
        decode = decode_from_device if vector["from"] == "device" else decode_from_relay
        with pytest.raises(WireError) as refusal:
            decode(bytes.fromhex(vector["message"]))
        assert refusal.value.code == vector["code"], vector


def test_bundles(vectors: Vectors) -> None:
    for vector in vectors["bundles"]:
        assert making.bundle(Bundle.parse(bytes.fromhex(vector["packed"]))) == vector


def test_padding(vectors: Vectors) -> None:
    assert [[length, padded_length(length)] for length, _ in vectors["padding"]] == vectors["padding"]


def test_content(vectors: Vectors) -> None:
    for vector in vectors["content"]:
        said = Envelope.parse(bytes.fromhex(vector["packed"]))
        assert {**making.described(said), "packed": said.serialize().hex()} == vector


def test_what_is_no_content(vectors: Vectors) -> None:
    for vector in vectors["content_refused"]:
        with pytest.raises(ContentError) as refusal:
            Envelope.parse(bytes.fromhex(vector["packed"]))
        assert refusal.value.code == vector["code"], vector
        assert (vector["code"] == "body_invalid") == isinstance(refusal.value, BodyInvalid)


def test_manifests(vectors: Vectors) -> None:
    for vector in vectors["manifests"]:
        assert making.manifest(verify_manifest(bytes.fromhex(vector["raw"]))) == vector


def test_what_is_no_manifest(vectors: Vectors) -> None:
    for raw in vectors["manifests_refused"]:
        with pytest.raises(ManifestInvalid):
            verify_manifest(bytes.fromhex(raw))


def test_successors(vectors: Vectors) -> None:
    manifests = [verify_manifest(bytes.fromhex(vector["raw"])) for vector in vectors["manifests"]]
    for old, new, may in vectors["successors"]:
        try:
            check_successor(manifests[old], manifests[new])
        except ManifestInvalid:
            assert not may
        else:
            assert may


def test_conversations(vectors: Vectors) -> None:
    for vector in vectors["conversations"]:
        extension = Extension(EXTENSION_TYPE, bytes.fromhex(vector["packed"]))
        assert making.conversation(ConversationInfo.from_extensions([extension])) == vector


def test_the_stream(vectors: Vectors) -> None:
    log: AttestLog | None = None
    for vector in vectors["stream"]:
        body_hash = hashlib.sha256(bytes.fromhex(vector["body"])).digest()
        entry = {"seq": vector["seq"], "after_commit": vector["after_commit"], "body_hash": body_hash}
        epoch = vector["epoch"]
        if vector["authenticator"] is not None:
            begun = {"epoch": epoch, "epoch_authenticator": bytes.fromhex(vector["authenticator"])}
            log = log.after_commit(**entry, **begun) if log else AttestLog.begin(**entry, **begun)
        elif log is not None:
            log = log.after_entry(**entry, kind=EntryKind(vector["kind"]))
        assert vector["S"] == (log.attest.hash.hex() if log else None)


def test_safety_numbers(vectors: Vectors) -> None:
    for vector in vectors["safety_numbers"]:
        portal, user = PortalId(vector["portal"]), UserId(vector["user"])
        assert safety_number(portal, user, bytes.fromhex(vector["identity_key"])) == vector["number"]


def test_call_words(vectors: Vectors) -> None:
    for vector in vectors["call_words"]:
        parts = {name: bytes.fromhex(value) for name, value in vector.items() if name != "words"}
        nonces = {name: parts.pop(name) for name in ("caller_nonce", "callee_nonce")}
        assert call_commit(nonces["caller_nonce"]) == parts.pop("commit")
        assert list(call_words(CallBinding(**parts), **nonces)) == vector["words"]


def test_ephemeral_messages(vectors: Vectors) -> None:
    for vector in vectors["ephemeral"]:
        sealed, nonce = bytes.fromhex(vector["sealed"]), bytes.fromhex(vector["nonce"])
        said = whole(vector["body"])
        sender = making.box(vector, vector["leaf"])
        assert sender.seal(vector["counter"], vector["kind"], said, partial(chosen, nonce)) == sealed
        opened = making.box(vector, vector["leaf"] + 1).open(sealed, 0.0)
        assert opened is not None
        assert (opened.leaf, opened.kind, opened.body) == (vector["leaf"], vector["kind"], said)


def chosen(value: bytes, _length: int) -> bytes:
    return value


async def test_files(vectors: Vectors, tmp_path: Path) -> None:
    for number, vector in enumerate(vectors["files"]):
        spool = tmp_path / f"sealed-{number}"
        spool.write_bytes(base64.b64decode(vector["sealed"]))
        sealed = SealedFile(
            key=bytes.fromhex(vector["key"]),
            size=vector["size"],
            sealed_size=vector["sealed_size"],
            sealed_hash=bytes.fromhex(vector["sealed_hash"]),
        )
        opened = await open_sealed(spool, sealed, tmp_path, name=f"file-{number}")
        assert len(opened.read_bytes()) == vector["size"]
        assert hashlib.sha256(opened.read_bytes()).hexdigest() == vector["plain_hash"]


def test_meetings(vectors: Vectors) -> None:
    for vector in vectors["meetings"]:
        secret = LinkSecret.read(" ".join(vector["words"]))
        assert secret == LinkSecret.read(vector["code"]) == LinkSecret(bytes.fromhex(vector["secret"]))
        assert secret.channel.hex() == vector["channel"]
        known, new = (making.greeting(vector, side) for side in (Side.KNOWN, Side.NEW))
        assert [known.body.hex(), new.body.hex()] == [vector["known"]["hello"], vector["new"]["hello"]]
        sessions = {"known": known.meet(new.body)[1], "new": new.meet(known.body)[1]}
        for message in vector["messages"]:
            hearer = "new" if message["from"] == "known" else "known"
            assert sessions[hearer].open(bytes.fromhex(message["body"])) == whole(message["fields"])


def test_recovery(vectors: Vectors) -> None:
    for vector in vectors["recovery"]:
        seed = RecoverySeed.from_words(" ".join(vector["words"]))
        assert seed.value.hex() == vector["seed"]
        assert seed.key.public.hex() == vector["recovery_key"]


def test_sealed_histories(vectors: Vectors, tmp_path: Path) -> None:
    for vector in vectors["histories"]:
        devices.check_history(vector, tmp_path)


def test_archives(vectors: Vectors) -> None:
    for vector in vectors["archive_writers"]:
        devices.check_writer(vector)
    for vector in vectors["archives"]:
        devices.check_archive(vector)


def test_messages_about_calls(vectors: Vectors) -> None:
    for vector in vectors["call_messages"]:
        body = whole(vector["body"])
        message = parse_message(vector["kind"], body)
        assert message_body(message, call_id(body)) == body


def test_what_is_no_message_about_a_call(vectors: Vectors) -> None:
    for vector in vectors["call_messages_refused"]:
        with pytest.raises(CallMessageInvalid):
            parse_message(vector["kind"], whole(vector["body"]))


def test_session_descriptions(vectors: Vectors) -> None:
    for vector in vectors["descriptions"]:
        assert calls.described(vector["sdp"]) == vector
    for sdp in vectors["descriptions_refused"]:
        with pytest.raises(DescriptionRefused):
            read_description(sdp)


def test_names_of_files(vectors: Vectors) -> None:
    for given, safe in vectors["names"]:
        assert safe_name(given) == safe
