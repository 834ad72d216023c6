"""What the Python SDK computes. All but the sealed files, whose headers are random, is always the same."""

from __future__ import annotations

import base64
import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgpack

from client_sdk.attachments import seal_to_spool
from client_sdk.content import Envelope, padded_length
from client_sdk.content.envelope import Content
from client_sdk.content.messages import Unknown
from client_sdk.delivery import AttestLog
from client_sdk.engine.ephemeral import EphemeralBox
from client_sdk.identity import (
    CallBinding,
    ConversationInfo,
    KeyPair,
    RecoverySeed,
    VerifiedManifest,
    call_commit,
    call_words,
    safety_number,
)
from client_sdk.identity.linking import Greeting, LinkSecret, Side
from client_sdk.mls import GroupState, Member
from relay.wire import Bundle, EntryKind, encode_frame
from relay.wire import frames as fr
from relay.wire.ids import PortalId, UserId
from tests.vectors import calls, devices, samples
from tests.vectors.plain import plain

Vectors = dict[str, Any]


def make() -> Vectors:
    """All vectors but those that are sealed with the randomness of libraries."""
    return {
        "msgpack": [
            {"value": plain(value), "packed": msgpack.packb(value).hex()} for value in samples.VALUES
        ],
        "msgpack_refused": [data.hex() for data in samples.NOT_VALUES],
        "frames": [frame(sample) for sample in samples.FRAMES],
        "frames_refused": [
            {"from": side, "message": message.hex(), "code": code}
            for side, message, code in samples.NOT_FRAMES
        ],
        "bundles": [bundle(sample) for sample in samples.BUNDLES],
        "padding": [[length, padded_length(length)] for length in samples.LENGTHS],
        "content": [content(said) for said in samples.CONTENT],
        "content_refused": [{"packed": data.hex(), "code": code} for data, code in samples.NOT_CONTENT],
        "manifests": [manifest(one) for one in samples.MANIFESTS],
        "manifests_refused": [data.hex() for data in samples.NOT_MANIFESTS],
        "successors": samples.successors(),
        "conversations": [conversation(info) for info in samples.CONVERSATIONS],
        "stream": stream(),
        "safety_numbers": [safety(one) for one in samples.MANIFESTS[:2]],
        "call_words": [words(number) for number in range(3)],
        "ephemeral": [ephemeral(*sample) for sample in samples.WHISPERS],
        "meetings": [meeting(number) for number in range(2)],
        "recovery": [recovery(samples.some(number + 1, 16)) for number in range(3)],
        **calls.make(),
        **devices.make(),
    }


def meeting(number: int) -> Vectors:
    """Two devices of one person meet by a secret, and say something to each other."""
    secret = LinkSecret(samples.some(number + 1, 16))
    made: Vectors = {
        "portal": samples.PORTAL,
        "user": samples.ANNA,
        "secret": secret.value.hex(),
        "words": list(secret.words),
        "code": secret.code,
        "channel": secret.channel.hex(),
    }
    for side, name in ((Side.KNOWN, "phone"), (Side.NEW, "Annas Läptop")):
        start = 10 * number + 2 * side
        random = {"private": samples.some(start + 3, 32), "nonce": samples.some(start + 4, 24)}
        key = samples.some(start + 5, 32)
        made[side.name.lower()] = {"device_key": key.hex(), "name": name} | {
            kind: value.hex() for kind, value in random.items()
        }
    known, new = greeting(made, Side.KNOWN), greeting(made, Side.NEW)
    made["known"]["hello"], made["new"]["hello"] = known.body.hex(), new.body.hex()
    sessions = {Side.KNOWN: known.meet(new.body)[1], Side.NEW: new.meet(known.body)[1]}
    said: list[tuple[Side, list[Any]]] = [
        (Side.NEW, ["ready"]),
        (Side.KNOWN, ["grant", samples.MANIFESTS[0].raw, b"", "Anna", [[samples.some(9, 16), "phone"]]]),
        (Side.NEW, ["stored"]),
        (Side.KNOWN, ["floors", 1, 2**40]),
    ]
    made["messages"] = [
        {"from": side.name.lower(), "fields": plain(fields), "body": sessions[side].seal(*fields).hex()}
        for side, fields in said
    ]
    return made


def greeting(vector: Vectors, side: Side) -> Greeting:
    """The greeting of one side, with the randomness that the vector names."""
    mine = vector[side.name.lower()]
    random = iter([bytes.fromhex(mine["private"]), bytes.fromhex(mine["nonce"])])
    return Greeting(
        LinkSecret(bytes.fromhex(vector["secret"])),
        side,
        portal=PortalId(vector["portal"]),
        user=UserId(vector["user"]),
        device_key=bytes.fromhex(mine["device_key"]),
        name=mine["name"],
        rng=lambda _length: next(random),
    )


def recovery(seed: bytes) -> Vectors:
    known = RecoverySeed(seed)
    return {"seed": seed.hex(), "words": list(known.words), "recovery_key": known.key.public.hex()}


def frame(sample: fr.Frame) -> Vectors:
    return {
        "frame": type(sample).__name__,
        "fields": plain(tuple(sample)),
        "packed": encode_frame(sample).hex(),
    }


def bundle(sample: Bundle) -> Vectors:
    fields = (sample.adds, sample.removes, sample.commit, sample.welcome, sample.group_info)
    return {"fields": plain(fields), "packed": sample.serialize().hex()}


def described(said: Envelope) -> Vectors:
    """An envelope in JSON: the body of a known kind as its map."""
    body = said.content.values if isinstance(said.content, Unknown) else said.content.to_body()
    attests = [[a.epoch, a.seq, a.hash.hex()] for a in (said.attest, *said.closings)]
    return {
        "id": said.id.hex(),
        "counter": said.counter,
        "attest": attests[0],
        "closings": attests[1:],
        "sent_ms": said.sent_ms,
        "kind": said.kind,
        "known": not isinstance(said.content, Unknown),
        "body": plain(body),
    }


def content(said: Content) -> Vectors:
    envelope = Envelope(samples.some(16), 7, samples.ATTEST, samples.CLOSINGS, 1_800_000_000_000, said)
    return {**described(envelope), "packed": envelope.serialize().hex()}


def manifest(one: VerifiedManifest) -> Vectors:
    return {
        "portal": one.portal,
        "user": one.user,
        "version": plain(one.version),
        "identity_key": one.identity_key.hex(),
        "recovery_key": one.recovery_key.hex(),
        "devices": [[d.device_key.hex(), plain(int(d.flags)), d.id.hex()] for d in one.devices],
        "suites": list(one.suites),
        "previous": one.previous.hex(),
        "signer": int(one.signer),
        "raw": one.raw.hex(),
        "hash": one.hash.hex(),
    }


def conversation(info: ConversationInfo) -> Vectors:
    people = [[p.user, p.role.value, p.identity_key] for p in info.participants]
    fields = [info.portal, info.engagement, info.generation, info.features, info.policy, people]
    return {
        "fields": plain(fields),
        "packed": info.to_extension().data.hex(),
        "group_id": info.group_id.hex(),
    }


def stream() -> list[Vectors]:
    """Entries, and what a member who entered at the first one attests after each."""
    made: list[Vectors] = []
    log: AttestLog | None = None
    for seq, kind, after_commit, body, epoch in samples.ENTRIES:
        entry = {"seq": seq, "after_commit": after_commit, "body_hash": hashlib.sha256(body).digest()}
        authenticator = samples.some(epoch + 1, 64 if epoch > 1 else 32)
        if epoch and log is None:
            log = AttestLog.begin(**cast(Any, entry), epoch=epoch, epoch_authenticator=authenticator)
        elif log is not None and epoch:
            log = log.after_commit(**cast(Any, entry), epoch=epoch, epoch_authenticator=authenticator)
        elif log is not None:
            log = log.after_entry(**cast(Any, entry), kind=EntryKind(kind))
        made.append(
            {
                "seq": seq,
                "kind": kind,
                "after_commit": after_commit,
                "body": body.hex(),
                "epoch": epoch,
                "authenticator": authenticator.hex() if epoch else None,
                "S": log.attest.hash.hex() if log else None,
            }
        )
    return made


def safety(one: VerifiedManifest) -> Vectors:
    number = safety_number(one.portal, one.user, one.identity_key)
    return {"portal": one.portal, "user": one.user, "identity_key": one.identity_key.hex(), "number": number}


def words(number: int) -> Vectors:
    parts = {
        "caller_identity": samples.some(number, 32),
        "callee_identity": samples.some(number + 10, 32),
        "group_id": samples.some(number + 20, 32),
        "call": samples.some(number + 30, 16),
        "epoch_authenticator": samples.some(number + 40, 64 if number else 32),
        "caller_fingerprint": samples.some(number + 50, 32),
        "callee_fingerprint": samples.some(number + 60, 32),
    }
    nonces = {"caller_nonce": samples.some(number + 70, 32), "callee_nonce": samples.some(number + 80, 32)}
    said = call_words(CallBinding(**parts), **nonces)
    hexed = {name: value.hex() for name, value in {**parts, **nonces}.items()}
    return {**hexed, "commit": call_commit(nonces["caller_nonce"]).hex(), "words": list(said)}


@dataclass
class SampleLeaf:
    signature_key: bytes


@dataclass
class SampleGroup:
    """What ephemeral messages need of a group; the exporter's output is chosen."""

    group_id: bytes
    own_leaf_index: int
    members: list[Member]
    exported: bytes
    epoch_authenticator: bytes = bytes(32)

    def export_secret(self, _label: str, _context: bytes, _length: int) -> bytes:
        return self.exported


def box(example: Mapping[str, Any], own_leaf: int) -> EphemeralBox:
    """An ephemeral box of the epoch of an example, as the device at this leaf has it."""
    device = KeyPair.from_private(bytes.fromhex(example["device_seed"]))
    group_id, exported = (bytes.fromhex(example[name]) for name in ("group_id", "exported_key"))
    members = [Member(example["leaf"], cast(Any, SampleLeaf(device.public)))]
    group = SampleGroup(group_id, own_leaf, members, exported)
    return EphemeralBox(cast(GroupState, group), example["epoch"], device.sign_labelled)


def ephemeral(epoch: int, leaf: int, counter: int, kind: str, body: dict[str, Any]) -> Vectors:
    example = {
        "device_seed": samples.some(leaf + 1, 32).hex(),
        "group_id": samples.some(epoch % 100 + 2, 32).hex(),
        "exported_key": samples.some(leaf + 3, 32).hex(),
        "nonce": samples.some(counter + 4, 24).hex(),
        "epoch": epoch,
        "leaf": leaf,
        "counter": counter,
        "kind": kind,
        "body": plain(body),
    }
    nonce = bytes.fromhex(cast(str, example["nonce"]))
    sealed = box(example, leaf).seal(counter, kind, body, lambda _length: nonce)
    return {**example, "sealed": sealed.hex()}


async def seal_files() -> list[Vectors]:
    """Sealed files of several sizes: other bytes at each call."""
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for size in samples.FILE_SIZES:
            source, spool = Path(folder, "plain"), Path(folder, "sealed")
            source.write_bytes(samples.some(5, size))
            sealed = await seal_to_spool(source, spool, rng=lambda length: samples.some(6, length))
            made.append(
                {
                    "size": size,
                    "key": sealed.key.hex(),
                    "sealed_size": sealed.sealed_size,
                    "sealed_hash": sealed.sealed_hash.hex(),
                    "plain_hash": hashlib.sha256(source.read_bytes()).hexdigest(),
                    "sealed": base64.b64encode(spool.read_bytes()).decode(),
                }
            )
    return made
