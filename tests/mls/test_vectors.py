"""Vectors: the MLS working group's (folder ``mls`` of those that are at hand, see support), and our own.

Ours are in the same formats, were written by `python -m tests.mls.make_vectors`, and run everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from client_sdk import mls
from client_sdk.mls import tree_math
from client_sdk.mls.codec import Reader, parse_all
from client_sdk.mls.framing import (
    AuthData,
    FramedContent,
    parse_authenticated_content,
    serialize_body,
)
from client_sdk.mls.key_schedule import (
    derive_epoch,
    epoch_secret,
    joiner_secret,
    mls_exporter,
    next_confirmed_hash,
    next_interim_hash,
    welcome_secret,
)
from client_sdk.mls.leaf_node import LeafSource
from client_sdk.mls.proposals import parse_commit, parse_proposal
from client_sdk.mls.protection import (
    open_private,
    open_public,
    open_sender_data,
    protect_private,
    protect_public,
    sender_data_key,
    sign_content,
    verify_content,
)
from client_sdk.mls.psk import psk_secret
from client_sdk.mls.ratchet_tree import ParentNode, RatchetTree
from client_sdk.mls.secret_tree import SecretTree
from client_sdk.mls.suites import signature_public_key
from client_sdk.mls.tree_validation import check_tree
from client_sdk.mls.treekem import (
    NewPath,
    decrypt_path,
    encrypt_path,
    generate_path,
    merge_path,
    node_key_pair,
)
from client_sdk.mls.update_path import parse_update_path
from client_sdk.mls.welcome import GroupSecrets, open_group_info

from .support import FOREVER, NOW, PUBLISHED, Auth, seeded

Vector = dict[str, Any]

OWN = Path(__file__).parent / "vectors"
SUITES = {1, 3, 0xF00E, None}


def _found(folder: Path, name: str, label: str) -> list[ParameterSet]:
    path = folder / f"{name}.json"
    listed = json.loads(path.read_text()) if path.exists() else []
    chosen = [
        (number, vector) for number, vector in enumerate(listed) if vector.get("cipher_suite") in SUITES
    ]
    if listed and not chosen:
        raise AssertionError(f"{path.name} holds nothing for our suites")
    return [
        pytest.param(vector, id=f"{label} {number} suite {vector.get('cipher_suite', '-')}")
        for number, vector in chosen
    ]


@pytest.mark.skipif(PUBLISHED is None, reason="published vectors are not at hand: only our own ran")
def test_the_published_vectors_are_at_hand() -> None:
    """Says once, for all of them, if they are not."""
    assert (Path(PUBLISHED or "") / "mls").is_dir()


def each(name: str) -> Callable[[Callable[..., None]], Callable[..., None] | None]:
    """A test for each vector of that file, ours and the published, that needs no suite or one we speak."""
    found = _found(OWN, name, "own")
    if PUBLISHED is not None:
        published = _found(Path(PUBLISHED) / "mls", name, "published")
        if not published:
            raise AssertionError(f"there are no published vectors called {name}")
        found += published
    if not found:
        return lambda _test: None  # nothing of ours either: the one skip above speaks for it
    return pytest.mark.parametrize("vector", found)


def raw(text: str) -> bytes:
    return bytes.fromhex(text)


@each("tree-math")
def test_tree_math(vector: Vector) -> None:
    leaves = vector["n_leaves"]
    assert tree_math.node_width(leaves) == vector["n_nodes"]
    assert tree_math.root(leaves) == vector["root"]
    for node in range(vector["n_nodes"]):
        inner, top = tree_math.level(node) > 0, node == vector["root"]
        assert (tree_math.left(node) if inner else None) == vector["left"][node]
        assert (tree_math.right(node) if inner else None) == vector["right"][node]
        assert (None if top else tree_math.parent(node)) == vector["parent"][node]
        assert (None if top else tree_math.sibling(node)) == vector["sibling"][node]


@each("deserialization")
def test_deserialization(vector: Vector) -> None:
    header = raw(vector["vlbytes_header"])
    reader = Reader(header)
    assert reader.varint() == vector["length"]
    reader.finish()


@each("crypto-basics")
def test_crypto_basics(vector: Vector) -> None:
    suite = mls.cipher_suite(vector["cipher_suite"])
    case = vector["ref_hash"]
    assert suite.ref_hash(case["label"].encode(), raw(case["value"])) == raw(case["out"])
    case = vector["expand_with_label"]
    args = (raw(case["secret"]), case["label"].encode(), raw(case["context"]), case["length"])
    assert suite.expand_with_label(*args) == raw(case["out"])
    case = vector["derive_secret"]
    assert suite.derive_secret(raw(case["secret"]), case["label"].encode()) == raw(case["out"])
    case = vector["derive_tree_secret"]
    tree_args = (raw(case["secret"]), case["label"].encode(), case["generation"], case["length"])
    assert suite.derive_tree_secret(*tree_args) == raw(case["out"])
    case = vector["sign_with_label"]
    label, content, public = case["label"].encode(), raw(case["content"]), raw(case["pub"])
    suite.verify_with_label(public, label, content, raw(case["signature"]), "T")
    assert suite.sign_with_label(raw(case["priv"]), public, label, content) == raw(case["signature"])
    case = vector["encrypt_with_label"]
    label, context, private = case["label"].encode(), raw(case["context"]), raw(case["priv"])
    sealed = raw(case["kem_output"]), raw(case["ciphertext"])
    assert suite.decrypt_with_label(private, label, context, *sealed) == raw(case["plaintext"])
    again = suite.encrypt_with_label(raw(case["pub"]), label, context, raw(case["plaintext"]), seeded("hpke"))
    assert suite.decrypt_with_label(private, label, context, *again) == raw(case["plaintext"])


@each("psk_secret")
def test_psk_secret(vector: Vector) -> None:
    suite = mls.cipher_suite(vector["cipher_suite"])
    psks = [
        (mls.PreSharedKeyID(mls.ExternalPsk(raw(psk["psk_id"])), raw(psk["psk_nonce"])), raw(psk["psk"]))
        for psk in vector["psks"]
    ]
    assert psk_secret(suite, psks) == raw(vector["psk_secret"])


@each("key-schedule")
def test_key_schedule(vector: Vector) -> None:
    suite, init = mls.cipher_suite(vector["cipher_suite"]), raw(vector["initial_init_secret"])
    for number, epoch in enumerate(vector["epochs"]):
        context = mls.GroupContext.parse(raw(epoch["group_context"]))
        built = mls.GroupContext(
            1,
            suite.id,
            raw(vector["group_id"]),
            number,
            raw(epoch["tree_hash"]),
            raw(epoch["confirmed_transcript_hash"]),
            (),
        )
        assert built == context
        assert built.encoded == raw(epoch["group_context"])
        psk = raw(epoch["psk_secret"])
        joiner = joiner_secret(suite, init, raw(epoch["commit_secret"]), context)
        assert joiner == raw(epoch["joiner_secret"])
        assert welcome_secret(suite, joiner, psk) == raw(epoch["welcome_secret"])
        secrets, fresh = derive_epoch(suite, epoch_secret(suite, joiner, psk, context))
        for name in secrets.__dataclass_fields__:
            assert getattr(secrets, name) == raw(epoch[name]), name
        assert fresh.encryption_secret == raw(epoch["encryption_secret"])
        assert fresh.confirmation_key == raw(epoch["confirmation_key"])
        assert secrets.external_key_pair(suite).public == raw(epoch["external_pub"])
        case = epoch["exporter"]
        label, exported = case["label"].encode(), raw(case["secret"])
        args = (secrets.exporter_secret, label, raw(case["context"]), case["length"])
        assert mls_exporter(suite, *args) == exported
        init = secrets.init_secret


@each("transcript-hashes")
def test_transcript_hashes(vector: Vector) -> None:
    suite = mls.cipher_suite(vector["cipher_suite"])
    message = parse_all(raw(vector["authenticated_content"]), parse_authenticated_content)
    assert message.serialize() == raw(vector["authenticated_content"])
    before = raw(vector["interim_transcript_hash_before"])
    confirmed = next_confirmed_hash(suite, before, message.transcript_input())
    assert confirmed == raw(vector["confirmed_transcript_hash_after"])
    tag = message.auth.confirmation_tag
    assert tag == suite.mac(raw(vector["confirmation_key"]), confirmed)
    assert next_interim_hash(suite, confirmed, tag) == raw(vector["interim_transcript_hash_after"])


@each("secret-tree")
def test_secret_tree(vector: Vector) -> None:
    suite = mls.cipher_suite(vector["cipher_suite"])
    case = vector["sender_data"]
    found = sender_data_key(suite, raw(case["sender_data_secret"]), raw(case["ciphertext"]))
    assert found == (raw(case["key"]), raw(case["nonce"]))
    tree = SecretTree.create(len(vector["leaves"]), raw(vector["encryption_secret"]))
    for index, generations in enumerate(vector["leaves"]):
        pair, tree = tree.open_leaf(suite, index)
        handshake, application = pair.handshake, pair.application
        for case in generations:
            key, application = application.take(suite, case["generation"])
            assert (key.key, key.nonce) == (raw(case["application_key"]), raw(case["application_nonce"]))
            key, handshake = handshake.take(suite, case["generation"])
            assert (key.key, key.nonce) == (raw(case["handshake_key"]), raw(case["handshake_nonce"]))
    assert not tree.secrets, "every consumed tree secret is gone"


@pytest.mark.parametrize("kind", ["proposal", "commit", "application"])
@each("message-protection")
def test_message_protection(kind: str, vector: Vector) -> None:
    suite = mls.cipher_suite(vector["cipher_suite"])
    context = mls.GroupContext(
        1,
        suite.id,
        raw(vector["group_id"]),
        vector["epoch"],
        raw(vector["tree_hash"]),
        raw(vector["confirmed_transcript_hash"]),
        (),
    ).encoded
    signer = mls.SignatureKeyPair(raw(vector["signature_pub"]), raw(vector["signature_priv"]))
    secret, membership = raw(vector["sender_data_secret"]), raw(vector["membership_key"])
    expected = raw(vector[kind])

    def tree(vector: Vector = vector) -> SecretTree:
        return SecretTree.create(2, raw(vector["encryption_secret"]))

    def unprotect(
        data: bytes,
        suite: mls.CipherSuite = suite,
        secret: bytes = secret,
        membership: bytes = membership,
        context: bytes = context,
        public: bytes = signer.public,
    ) -> FramedContent:
        body = mls.MLSMessage.parse(data).body
        assert mls.MLSMessage(body).serialize() == data
        if isinstance(body, mls.PrivateMessage):
            sender = open_sender_data(suite, secret, body)
            opened, _ = open_private(suite, tree(), body, sender)
        else:
            assert isinstance(body, mls.PublicMessage)
            opened = open_public(suite, membership, body, context)
        verify_content(suite, public, opened, context)
        return opened.content

    content = unprotect(raw(vector[f"{kind}_priv"]))
    plain = content.body if isinstance(content.body, bytes) else serialize_body(content.body)
    assert plain == expected
    if kind != "application":
        assert serialize_body(unprotect(raw(vector[f"{kind}_pub"])).body) == expected

    tag = b"t" * 32 if kind == "commit" else None
    for wire_format in (mls.WireFormat.PRIVATE_MESSAGE, mls.WireFormat.PUBLIC_MESSAGE):
        if wire_format is mls.WireFormat.PUBLIC_MESSAGE and kind == "application":
            continue
        auth = AuthData(sign_content(suite, signer, wire_format, content, context), tag)
        body: mls.PrivateMessage | mls.PublicMessage
        if wire_format is mls.WireFormat.PRIVATE_MESSAGE:
            body, _ = protect_private(suite, secret, tree(), content, auth, rng=seeded("x"), padding=None)
        else:
            body = protect_public(suite, membership, content, auth, context)
        again = unprotect(mls.MLSMessage(body).serialize())
        assert again.body == content.body


@each("tree-operations")
def test_tree_operations(vector: Vector) -> None:
    suite = mls.cipher_suite(vector["cipher_suite"])
    tree = RatchetTree.parse(suite, raw(vector["tree_before"]))
    assert tree.tree_hash() == raw(vector["tree_hash_before"])
    proposal = parse_all(raw(vector["proposal"]), parse_proposal)
    assert proposal.serialize() == raw(vector["proposal"])
    sender = vector["proposal_sender"]
    if isinstance(proposal, mls.Update):
        tree = tree.update_leaf(sender, proposal.leaf_node)
    elif isinstance(proposal, mls.Remove):
        tree = tree.remove_leaf(proposal.leaf_index)
    else:
        package = getattr(proposal, "key_package", None)
        assert isinstance(package, mls.KeyPackage)
        tree, _ = tree.add_leaf(package.leaf_node)
    assert tree.serialize() == raw(vector["tree_after"])
    assert tree.tree_hash() == raw(vector["tree_hash_after"])


@each("tree-validation")
def test_tree_validation(vector: Vector) -> None:
    suite = mls.cipher_suite(vector["cipher_suite"])
    tree = RatchetTree.parse(suite, raw(vector["tree"]))
    assert tree.serialize() == raw(vector["tree"])
    assert [list(tree.resolution(node)) for node in range(len(tree.nodes))] == vector["resolutions"]
    assert [tree.tree_hash(node) for node in range(len(tree.nodes))] == list(map(raw, vector["tree_hashes"]))
    check_tree(tree, group_id=raw(vector["group_id"]), extensions=(), auth=Auth(), max_lifetime=FOREVER)


@each("treekem")
def test_treekem(vector: Vector) -> None:
    suite = mls.cipher_suite(vector["cipher_suite"])
    tree = RatchetTree.parse(suite, raw(vector["ratchet_tree"]))
    group_id = raw(vector["group_id"])
    keys: dict[int, dict[int, bytes]] = {}
    signers: dict[int, mls.SignatureKeyPair] = {}
    for member in vector["leaves_private"]:
        index = member["index"]
        seed = raw(member["signature_priv"])
        signers[index] = mls.SignatureKeyPair(signature_public_key(seed), seed)
        keys[index] = {2 * index: raw(member["encryption_priv"])}
        for entry in member["path_secrets"]:
            pair, node = node_key_pair(suite, raw(entry["path_secret"])), tree.nodes[entry["node"]]
            assert isinstance(node, ParentNode)
            assert node.encryption_key == pair.public
            keys[index][entry["node"]] = pair.private
    for case in vector["update_paths"]:
        sender, path = case["sender"], parse_all(raw(case["update_path"]), parse_update_path)
        assert path.serialize() == raw(case["update_path"])
        path.leaf_node.verify_signature(suite, group_id, sender)
        merged = merge_path(tree, sender, path, ())
        assert merged.tree_hash() == raw(case["tree_hash_after"])
        context = mls.GroupContext(
            1,
            suite.id,
            group_id,
            vector["epoch"],
            merged.tree_hash(),
            raw(vector["confirmed_transcript_hash"]),
            (),
        ).encoded
        for receiver, secret in enumerate(case["path_secrets"]):
            if secret is None:
                continue
            opened = decrypt_path(
                merged,
                sender,
                path,
                own_leaf=receiver,
                private_keys=keys[receiver],
                context=context,
                joined=(),
            )
            assert opened.commit_secret == raw(case["commit_secret"])
            first = node_key_pair(suite, raw(secret))
            assert first.private in opened.private_keys.values()
        check_own_path(tree, sender, signers[sender], keys, group_id, context)


def check_own_path(
    tree: RatchetTree,
    sender: int,
    signer: mls.SignatureKeyPair,
    keys: dict[int, dict[int, bytes]],
    group_id: bytes,
    context: bytes,
) -> None:
    """A path of our own making must be readable by all the others too."""
    old = tree.leaf(sender)
    assert old is not None

    def make_leaf(encryption_key: bytes, parent_hash: bytes) -> mls.LeafNode:
        leaf = mls.LeafNode(
            encryption_key,
            old.signature_key,
            old.credential,
            old.capabilities,
            LeafSource.COMMIT,
            None,
            parent_hash,
            old.extensions,
            b"",
        )
        return leaf.signed_by(tree.suite, signer, group_id, sender)

    new: NewPath = generate_path(tree, sender, make_leaf, seeded(f"path {sender}"))
    path = encrypt_path(new, sender, context, (), seeded(f"seal {sender}"))
    merged = merge_path(tree, sender, path, ())
    assert merged.tree_hash() == new.tree.tree_hash()
    for receiver, private in keys.items():
        if receiver != sender:
            opened = decrypt_path(
                merged, sender, path, own_leaf=receiver, private_keys=private, context=context, joined=()
            )
            assert opened.commit_secret == new.commit_secret


@each("welcome")
def test_welcome(vector: Vector) -> None:
    suite = mls.cipher_suite(vector["cipher_suite"])
    package = mls.MLSMessage.parse(raw(vector["key_package"])).body
    welcome = mls.MLSMessage.parse(raw(vector["welcome"])).body
    assert isinstance(package, mls.KeyPackage)
    assert isinstance(welcome, mls.Welcome)
    entry = next(entry for entry in welcome.secrets if entry.new_member == package.ref(suite))
    secrets = GroupSecrets.parse(
        suite.decrypt_with_label(
            raw(vector["init_priv"]),
            b"Welcome",
            welcome.encrypted_group_info,
            entry.encrypted.kem_output,
            entry.encrypted.ciphertext,
        )
    )
    none = psk_secret(suite, [])
    secret = welcome_secret(suite, secrets.joiner_secret, none)
    info = open_group_info(suite, secret, welcome.encrypted_group_info)
    info.verify_signature(suite, raw(vector["signer_pub"]))
    member = epoch_secret(suite, secrets.joiner_secret, none, info.group_context)
    _, fresh = derive_epoch(suite, member)
    tag = suite.mac(fresh.confirmation_key, info.group_context.confirmed_transcript_hash)
    assert tag == info.confirmation_tag


@each("messages")
def test_messages(vector: Vector) -> None:
    body_parsers = {
        "add_proposal": b"\x00\x01",
        "update_proposal": b"\x00\x02",
        "remove_proposal": b"\x00\x03",
        "pre_shared_key_proposal": b"\x00\x04",
        "re_init_proposal": b"\x00\x05",
        "external_init_proposal": b"\x00\x06",
        "group_context_extensions_proposal": b"\x00\x07",
    }
    for name, text in vector.items():
        data = raw(text)
        if name in body_parsers:
            data = body_parsers[name] + data
            assert parse_all(data, parse_proposal).serialize() == data
        elif name == "commit":
            assert parse_all(data, parse_commit).serialize() == data
        elif name == "ratchet_tree":
            assert RatchetTree.parse(mls.SUITE_1, data).serialize() == data
        elif name == "group_secrets":
            assert GroupSecrets.parse(data).serialize() == data
        else:
            assert mls.MLSMessage.parse(data).serialize() == data


def play_passive_client(vector: Vector) -> None:
    """Join from the Welcome, then follow every commit, as the vector's passive client did."""
    suite = mls.cipher_suite(vector["cipher_suite"])
    package = mls.MLSMessage.parse(raw(vector["key_package"])).body
    assert isinstance(package, mls.KeyPackage)
    signature_private = raw(vector["signature_priv"])
    signer = mls.SignatureKeyPair(signature_public_key(signature_private), signature_private)
    bundle = mls.KeyPackageBundle(
        package, raw(vector["init_priv"]), raw(vector["encryption_priv"]), package.ref(suite)
    )
    psks: dict[mls.ExternalPsk | mls.ResumptionPsk, bytes] = {
        mls.ExternalPsk(raw(psk["psk_id"])): raw(psk["psk"]) for psk in vector["external_psks"]
    }
    tree = vector["ratchet_tree"]
    state = mls.join_from_welcome(
        raw(vector["welcome"]),
        bundle,
        signer,
        auth=Auth(),
        now=NOW,
        ratchet_tree=None if tree is None else raw(tree),
        psks=psks,
        max_lifetime=FOREVER,
    )
    assert state.epoch_authenticator == raw(vector["initial_epoch_authenticator"])
    for epoch in vector["epochs"]:
        usage = mls.ResumptionUsage.APPLICATION
        psks[mls.ResumptionPsk(usage, state.group_id, state.epoch)] = state.resumption_psk
        for message in (*epoch["proposals"], epoch["commit"]):
            received = mls.process_message(
                state, raw(message), auth=Auth(), now=NOW, psks=psks, max_lifetime=FOREVER
            )
            assert not isinstance(received, mls.RemovedFromGroup)
            state = mls.GroupState.parse(received.state.serialize())
            assert state == received.state
        assert state.epoch_authenticator == raw(epoch["epoch_authenticator"])


@each("passive-client-welcome")
def test_passive_client_welcome(vector: Vector) -> None:
    play_passive_client(vector)


@each("passive-client-handling-commit")
def test_passive_client_handling_commit(vector: Vector) -> None:
    play_passive_client(vector)
