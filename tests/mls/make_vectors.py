"""Writes our own vectors, small ones in the working group's formats for each of our suites.

    python -m tests.mls.make_vectors

They hold the present behaviour fast: a change that alters any of them breaks stored states and other clients.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from client_sdk import mls
from client_sdk.mls.framing import (
    AuthData,
    ContentType,
    FramedContent,
    Sender,
    SenderType,
    WireFormat,
    serialize_body,
)
from client_sdk.mls.key_schedule import (
    derive_epoch,
    epoch_secret,
    joiner_secret,
    mls_exporter,
    welcome_secret,
)
from client_sdk.mls.proposals import Commit
from client_sdk.mls.protection import protect_private, protect_public, sender_data_key, sign_content
from client_sdk.mls.psk import psk_secret
from client_sdk.mls.secret_tree import SecretTree
from client_sdk.mls.xwing import XWing

from . import make_tree_vectors as trees
from .support import Client, Group, seeded

FOLDER = Path(__file__).parent / "vectors"
SUITES = (mls.SUITE_1, mls.SUITE_3, mls.SUITE_XWING)
Vector = dict[str, Any]


def crypto_basics(suite: mls.CipherSuite) -> Vector:
    rng = seeded(f"crypto {suite.id}")
    signer, pair = mls.generate_signature_key(suite, rng), suite.kem.generate_key_pair(rng)
    secret, value = rng(suite.hash_length), rng(40)
    kem_output, ciphertext = suite.encrypt_with_label(pair.public, b"label", b"context", b"plain", rng)
    signature = signer.sign(suite, b"label", value)
    return {
        "cipher_suite": suite.id,
        "ref_hash": {"label": "ref", "value": value.hex(), "out": suite.ref_hash(b"ref", value).hex()},
        "expand_with_label": {
            "secret": secret.hex(),
            "label": "expand",
            "context": value.hex(),
            "length": 77,
            "out": suite.expand_with_label(secret, b"expand", value, 77).hex(),
        },
        "derive_secret": {
            "secret": secret.hex(),
            "label": "derive",
            "out": suite.derive_secret(secret, b"derive").hex(),
        },
        "derive_tree_secret": {
            "secret": secret.hex(),
            "label": "tree",
            "generation": 70000,
            "length": 20,
            "out": suite.derive_tree_secret(secret, b"tree", 70000, 20).hex(),
        },
        "sign_with_label": {
            "priv": signer.private.hex(),
            "pub": signer.public.hex(),
            "content": value.hex(),
            "label": "label",
            "signature": signature.hex(),
        },
        "encrypt_with_label": {
            "priv": pair.private.hex(),
            "pub": pair.public.hex(),
            "label": "label",
            "context": b"context".hex(),
            "plaintext": b"plain".hex(),
            "kem_output": kem_output.hex(),
            "ciphertext": ciphertext.hex(),
        },
    }


def psk(suite: mls.CipherSuite) -> Vector:
    rng = seeded(f"psk {suite.id}")
    listed = [(rng(9), rng(32), rng(suite.hash_length)) for _ in range(3)]
    ids = [(mls.PreSharedKeyID(mls.ExternalPsk(name), nonce), key) for name, key, nonce in listed]
    return {
        "cipher_suite": suite.id,
        "psks": [
            {"psk_id": name.hex(), "psk": key.hex(), "psk_nonce": nonce.hex()} for name, key, nonce in listed
        ],
        "psk_secret": psk_secret(suite, ids).hex(),
    }


def key_schedule(suite: mls.CipherSuite) -> Vector:
    rng = seeded(f"schedule {suite.id}")
    length, group_id = suite.hash_length, b"own vectors"
    init = first = rng(length)
    epochs = []
    for number in range(3):
        tree_hash, confirmed, commit, mixed = (rng(length) for _ in range(4))
        context = mls.GroupContext(1, suite.id, group_id, number, tree_hash, confirmed, ())
        joiner = joiner_secret(suite, init, commit, context)
        secrets, fresh = derive_epoch(suite, epoch_secret(suite, joiner, mixed, context))
        exported = mls_exporter(suite, secrets.exporter_secret, b"own", b"context", 50)
        epochs.append(
            {name: getattr(secrets, name).hex() for name in secrets.__dataclass_fields__}
            | {
                "tree_hash": tree_hash.hex(),
                "confirmed_transcript_hash": confirmed.hex(),
                "commit_secret": commit.hex(),
                "psk_secret": mixed.hex(),
                "group_context": context.encoded.hex(),
                "joiner_secret": joiner.hex(),
                "welcome_secret": welcome_secret(suite, joiner, mixed).hex(),
                "encryption_secret": fresh.encryption_secret.hex(),
                "confirmation_key": fresh.confirmation_key.hex(),
                "external_pub": secrets.external_key_pair(suite).public.hex(),
                "exporter": {
                    "label": "own",
                    "context": b"context".hex(),
                    "length": 50,
                    "secret": exported.hex(),
                },
            }
        )
        init = secrets.init_secret
    return {
        "cipher_suite": suite.id,
        "group_id": group_id.hex(),
        "initial_init_secret": first.hex(),
        "epochs": epochs,
    }


def secret_tree(suite: mls.CipherSuite) -> Vector:
    rng = seeded(f"tree {suite.id}")
    secret, encryption, ciphertext = (rng(suite.hash_length) for _ in range(3))
    key, nonce = sender_data_key(suite, secret, ciphertext)
    tree, leaves = SecretTree.create(4, encryption), []
    for index in range(4):
        pair, tree = tree.open_leaf(suite, index)
        cases = []
        handshake, application = pair.handshake, pair.application
        for generation in (0, 1, 15):
            one, handshake = handshake.take(suite, generation)
            other, application = application.take(suite, generation)
            cases.append(
                {
                    "generation": generation,
                    "handshake_key": one.key.hex(),
                    "handshake_nonce": one.nonce.hex(),
                    "application_key": other.key.hex(),
                    "application_nonce": other.nonce.hex(),
                }
            )
        leaves.append(cases)
    return {
        "cipher_suite": suite.id,
        "sender_data": {
            "sender_data_secret": secret.hex(),
            "ciphertext": ciphertext.hex(),
            "key": key.hex(),
            "nonce": nonce.hex(),
        },
        "encryption_secret": encryption.hex(),
        "leaves": leaves,
    }


def message_protection(suite: mls.CipherSuite) -> Vector:
    rng = seeded(f"messages {suite.id}")
    length, signer = suite.hash_length, mls.generate_signature_key(suite, rng)
    sender_data, encryption, membership, tree_hash, confirmed = (rng(length) for _ in range(5))
    context = mls.GroupContext(1, suite.id, b"own vectors", 7, tree_hash, confirmed, ())
    made: Vector = {
        "cipher_suite": suite.id,
        "group_id": context.group_id.hex(),
        "epoch": context.epoch,
        "tree_hash": tree_hash.hex(),
        "confirmed_transcript_hash": confirmed.hex(),
        "signature_priv": signer.private.hex(),
        "signature_pub": signer.public.hex(),
        "encryption_secret": encryption.hex(),
        "sender_data_secret": sender_data.hex(),
        "membership_key": membership.hex(),
    }
    bodies: dict[ContentType, bytes | mls.Proposal | Commit] = {
        ContentType.PROPOSAL: mls.Remove(1),
        ContentType.COMMIT: Commit((mls.Remove(0),), None),
        ContentType.APPLICATION: b"How was the week?",
    }
    for kind, body in bodies.items():
        name, sender = kind.name.lower(), Sender(SenderType.MEMBER, 1)
        content = FramedContent(context.group_id, context.epoch, sender, b"", kind, body)
        tag = rng(length) if kind is ContentType.COMMIT else None
        made[name] = (body if isinstance(body, bytes) else serialize_body(body)).hex()
        for form in (WireFormat.PRIVATE_MESSAGE, WireFormat.PUBLIC_MESSAGE):
            auth = AuthData(sign_content(suite, signer, form, content, context.encoded), tag)
            if form is WireFormat.PRIVATE_MESSAGE:
                tree = SecretTree.create(2, encryption)
                sealed, _ = protect_private(suite, sender_data, tree, content, auth, rng=rng, padding=None)
                made[f"{name}_priv"] = mls.MLSMessage(sealed).serialize().hex()
            elif kind is not ContentType.APPLICATION:
                public = protect_public(suite, membership, content, auth, context.encoded)
                made[f"{name}_pub"] = mls.MLSMessage(public).serialize().hex()
    return made


def passive_client(suite: mls.CipherSuite, *, commits: int) -> Vector:
    """A client that joins from a Welcome and follows some commits."""
    group, dan = Group("anna", "ben", "cleo", suite=suite), Client("passive dan", suite)
    bundle = dan.bundle()
    welcome = group.commit_welcome("anna", bundle.key_package)
    state = group.states["dan"] = dan.join(welcome, bundle)
    group.clients["dan"] = dan
    epochs = []
    for number in range(commits):
        proposals: list[str] = []
        if number == 1:
            ben = group.clients["ben"]
            sent = mls.create_update(group.states["ben"], auth=ben.auth, rng=ben.rng)
            group.states["ben"] = sent.state
            for name in ("anna", "cleo", "dan"):
                received = group.clients[name].receive(group.states[name], sent.message)
                if isinstance(received, mls.ProposalReceived):
                    group.states[name] = received.state
            proposals = [sent.message.hex()]
            refs = [mls.ProposalRef(group.states["cleo"].pending[0].ref)]
            output = group.commit("cleo", refs)
        elif number == 2:
            output = group.commit("anna", [mls.Remove(group.leaf("cleo"))])
        elif number == 3:
            output = group.rejoin("ben", group.leaf("ben"))
        else:
            output = group.commit("ben")
        authenticator = group.states["dan"].epoch_authenticator.hex()
        epochs.append(
            {"proposals": proposals, "commit": output.commit.hex(), "epoch_authenticator": authenticator}
        )
    return {
        "cipher_suite": suite.id,
        "external_psks": [],
        "key_package": mls.MLSMessage(bundle.key_package).serialize().hex(),
        "signature_priv": dan.signer.private.hex(),
        "encryption_priv": bundle.encryption_private.hex(),
        "init_priv": bundle.init_private.hex(),
        "welcome": welcome.hex(),
        "ratchet_tree": None,
        "initial_epoch_authenticator": state.epoch_authenticator.hex(),
        "epochs": epochs,
    }


def xwing() -> list[Vector]:
    kem, found = XWing(), []
    for number in range(2):
        pair = kem.generate_key_pair(seeded(f"own x-wing {number}"))
        secret, encapsulated = kem.encapsulate(pair.public, seeded(f"own x-wing {number}"))
        found.append(
            {
                "sk": pair.private.hex(),
                "pk": pair.public.hex(),
                "ct": encapsulated.hex(),
                "ss": secret.hex(),
            }
        )
    return found


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    files: dict[str, list[Vector]] = {
        "crypto-basics": [crypto_basics(suite) for suite in SUITES],
        "psk_secret": [psk(suite) for suite in SUITES],
        "key-schedule": [key_schedule(suite) for suite in SUITES],
        "secret-tree": [secret_tree(suite) for suite in SUITES],
        "message-protection": [message_protection(suite) for suite in SUITES],
        "passive-client-welcome": [passive_client(suite, commits=0) for suite in SUITES],
        "passive-client-handling-commit": [passive_client(suite, commits=4) for suite in SUITES],
        "tree-math": [trees.tree_math(1 << height) for height in range(6)],
        "deserialization": trees.deserialization(),
        "transcript-hashes": [trees.transcript_hashes(suite) for suite in SUITES],
        "tree-operations": [vector for suite in SUITES[:2] for vector in trees.tree_operations(suite)],
        "tree-validation": [trees.tree_validation(suite) for suite in SUITES],
        "treekem": [trees.treekem(suite) for suite in SUITES],
        "welcome": [trees.welcome(suite) for suite in SUITES],
        "messages": [trees.messages()],
        "xwing": xwing(),
    }
    for name, vectors in files.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
