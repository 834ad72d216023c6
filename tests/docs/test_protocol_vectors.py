"""The worked examples of docs/PROTOCOL.md (section 15) are what the SDK computes, byte for byte."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from client_sdk.attachments import SealedFile, open_sealed
from client_sdk.content import Attest, Envelope, Text, padded_length
from client_sdk.delivery import stream_hash
from client_sdk.engine.ephemeral import EXPORTER_LABEL, EphemeralBox
from client_sdk.identity import (
    CallBinding,
    ConversationInfo,
    Participant,
    call_commit,
    call_words,
    safety_number,
    verify_manifest,
)
from client_sdk.identity.keys import KeyPair
from client_sdk.identity.manifest import ManifestDevice, first_manifest
from client_sdk.mls import GroupState, Member
from relay.wire.ids import DeviceId, EngagementId, PortalId, Role, UserId, device_id
from relay.wire.proof import connect_proof_bytes

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "PROTOCOL.md"

Example = dict[str, Any]


@pytest.fixture(scope="module")
def vectors() -> Example:
    section = DOCUMENT.read_text(encoding="utf-8").partition("\n## 15. ")[2]
    blocks = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == 1
    found: Example = json.loads(blocks[0])
    return found


def key(vectors: Example, name: str) -> KeyPair:
    return KeyPair.from_private(bytes.fromhex(vectors["keys"][f"{name}_seed"]))


def raw(example: Example, *names: str) -> list[bytes]:
    return [bytes.fromhex(example[name]) for name in names]


def test_every_example_is_tested(vectors: Example) -> None:
    tested = {name.removeprefix("test_the_") for name in globals() if name.startswith("test_the_")}
    assert set(vectors) == tested


def test_the_keys(vectors: Example) -> None:
    for name in ("identity", "recovery", "device"):
        assert key(vectors, name).public.hex() == vectors["keys"][f"{name}_key"]


def test_the_device_id(vectors: Example) -> None:
    assert device_id(key(vectors, "device").public).hex() == vectors["device_id"]


def test_the_connect(vectors: Example) -> None:
    connect = vectors["connect"]
    device = DeviceId(bytes.fromhex(vectors["device_id"]))
    nonces = raw(connect, "relay_nonce", "client_nonce")
    signed = connect_proof_bytes(connect["origin"], PortalId(connect["portal"]), device, *nonces)
    assert signed.hex() == connect["signed"]
    assert key(vectors, "device").sign_labelled(signed).hex() == connect["signature"]


def test_the_manifest(vectors: Example) -> None:
    example = vectors["manifest"]
    manifest = first_manifest(
        portal=PortalId(example["portal"]),
        user=UserId(example["user"]),
        identity=key(vectors, "identity"),
        recovery_key=key(vectors, "recovery").public,
        devices=[ManifestDevice(bytes.fromhex(device), flags) for device, flags in example["devices"]],
        suites=example["suites"],
    )
    assert manifest.raw.hex() == example["manifest"]
    assert manifest.hash.hex() == example["hash"]
    assert verify_manifest(bytes.fromhex(example["manifest"])).version == example["version"]


def test_the_safety_number(vectors: Example) -> None:
    manifest = verify_manifest(bytes.fromhex(vectors["manifest"]["manifest"]))
    number = safety_number(manifest.portal, manifest.user, manifest.identity_key)
    assert number == vectors["safety_number"]


def test_the_group(vectors: Example) -> None:
    example = vectors["group"]
    info = ConversationInfo(
        portal=PortalId(vectors["manifest"]["portal"]),
        engagement=EngagementId(example["engagement"]),
        generation=example["generation"],
        policy={"retention_hours": example["retention_hours"]},
        participants=tuple(
            Participant(UserId(user), Role(role), bytes.fromhex(identity))
            for user, role, identity in example["participants"]
        ),
    )
    assert info.group_id.hex() == example["group_id"]
    assert info.to_extension().data.hex() == example["extension_f0c1"]


def test_the_stream(vectors: Example) -> None:
    (authenticator,) = raw(vectors["stream"], "epoch_authenticator")
    newest = b""
    for example in vectors["stream"]["entries"]:
        entry = stream_hash.entry_hash(
            seq=example["seq"],
            kind=example["kind"],
            after_commit=example["after_commit"],
            body_hash=hashlib.sha256(bytes.fromhex(example["body"])).digest(),
        )
        assert entry.hex() == example["entry"]
        if example["accepted"]:
            newest = stream_hash.after_commit(epoch_authenticator=authenticator, entry=entry)
        else:
            newest = stream_hash.after_entry(previous=newest, entry=entry)
        assert newest.hex() == example["S"]


def test_the_padding(vectors: Example) -> None:
    assert [[length, padded_length(length)] for length, _ in vectors["padding"]] == vectors["padding"]
    assert len(vectors["padding"]) > 5


def test_the_content(vectors: Example) -> None:
    example = vectors["content"]
    attest, *closings = (
        Attest(epoch, seq, bytes.fromhex(value))
        for epoch, seq, value in (example["attest"], *example["closings"])
    )
    (message_id,) = raw(example, "id")
    text = Text(example["text"])
    said = Envelope(message_id, example["counter"], attest, tuple(closings), example["sent_ms"], text)
    assert text.fallback == example["fallback"]
    assert said.serialize().hex() == example["content"]
    assert Envelope.parse(bytes.fromhex(example["content"])) == said


@dataclass
class ExampleLeaf:
    signature_key: bytes


@dataclass
class ExampleGroup:
    """What ephemeral messages need of a group, its exporter's output chosen."""

    group_id: bytes
    epoch: int
    own_leaf_index: int
    members: list[Member]
    exported: tuple[bytes, bytes]
    epoch_authenticator: bytes = bytes(32)

    def export_secret(self, label: str, context: bytes, length: int) -> bytes:
        assert (label, length) == (EXPORTER_LABEL, 32)
        return self.exported[1] if context == self.exported[0] else bytes(32)


def test_the_ephemeral(vectors: Example) -> None:
    example, device = vectors["ephemeral"], key(vectors, "device")
    (group_id,) = raw(vectors["group"], "group_id")
    exported, nonce, call, body = raw(example, "exported_key", "nonce", "call", "body")
    leaf: int = example["leaf"]
    members = [Member(leaf, cast(Any, ExampleLeaf(device.public)))]

    def box(own_leaf: int) -> EphemeralBox:
        context = leaf.to_bytes(4, "big")
        group = ExampleGroup(group_id, example["epoch"], own_leaf, members, (context, exported))
        return EphemeralBox(cast(GroupState, group), example["epoch"], device.sign_labelled)

    sealed = box(leaf).seal(example["counter"], example["kind"], {"call": call}, lambda _count: nonce)
    assert sealed == body
    opened = box(leaf + 1).open(body, 0.0)
    assert opened is not None
    assert (opened.leaf, opened.kind, opened.body) == (leaf, example["kind"], {"call": call})


async def test_the_file(vectors: Example, tmp_path: Path) -> None:
    example = vectors["file"]
    plain, file_key, sealed_hash, sealed = raw(example, "plaintext", "key", "sealed_hash", "sealed")
    (tmp_path / "spool").write_bytes(sealed)
    described = SealedFile(size=len(plain), sealed_size=len(sealed), sealed_hash=sealed_hash, key=file_key)
    opened = await open_sealed(tmp_path / "spool", described, tmp_path / "inbox", name=example["name"])
    assert opened.read_bytes() == plain
    assert opened.name == example["name"]


def test_the_call_words(vectors: Example) -> None:
    example = vectors["call_words"]
    caller_nonce, callee_nonce = raw(example, "caller_nonce", "callee_nonce")
    binding = CallBinding(
        caller_identity=bytes.fromhex(example["caller_identity_key"]),
        callee_identity=bytes.fromhex(example["callee_identity_key"]),
        group_id=bytes.fromhex(vectors["group"]["group_id"]),
        call=bytes.fromhex(example["call"]),
        epoch_authenticator=bytes.fromhex(example["epoch_authenticator"]),
        caller_fingerprint=bytes.fromhex(example["caller_fingerprint"]),
        callee_fingerprint=bytes.fromhex(example["callee_fingerprint"]),
    )
    words = call_words(binding, caller_nonce=caller_nonce, callee_nonce=callee_nonce)
    assert " ".join(words) == example["words"]
    assert call_commit(caller_nonce).hex() == example["commit"]
