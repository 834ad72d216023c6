"""What is fuzzed of client_sdk/mls: every decoder, and any bytes in any state.

A target takes bytes. It may only raise `MLSError`, which is expected and swallowed here; anything else is a
finding, as is a state that a refusal has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import cast

from client_sdk import mls
from client_sdk.mls.codec import Reader, parse_all
from client_sdk.mls.extensions import EXTERNAL_SENDERS, RATCHET_TREE, REQUIRED_CAPABILITIES, parse_extensions
from client_sdk.mls.framing import (
    AuthData,
    AuthenticatedContent,
    Body,
    ContentType,
    FramedContent,
    Sender,
    SenderType,
    WireFormat,
    parse_authenticated_content,
)
from client_sdk.mls.key_schedule import welcome_secret
from client_sdk.mls.leaf_node import parse_capabilities, parse_leaf_node
from client_sdk.mls.proposals import Commit, parse_commit, parse_proposal
from client_sdk.mls.protection import protect_private, sign_content
from client_sdk.mls.psk import parse_psk_id
from client_sdk.mls.ratchet_tree import RatchetTree
from client_sdk.mls.secret_tree import parse_secret_tree
from client_sdk.mls.tree_validation import check_tree
from client_sdk.mls.update_path import HpkeCiphertext, parse_update_path
from client_sdk.mls.welcome import (
    WELCOME_LABEL,
    GroupSecrets,
    parse_group_info,
    parse_welcome,
    seal_group_info,
)
from tests.mls.support import FOREVER, NOW, Auth, Client, Group, seeded

Target = Callable[[bytes], None]
SUITES = (mls.SUITE_1, mls.SUITE_XWING)


@dataclass(frozen=True, slots=True)
class Raw:
    """A body that is whatever bytes it is given."""

    data: bytes

    def serialize(self) -> bytes:
        return self.data


def round_trip(parse: Callable[[Reader], object]) -> Target:
    """What decodes is encoded again as it came: there is one encoding of everything."""

    def target(data: bytes) -> None:
        try:
            value = parse_all(data, parse)
        except mls.MLSError:
            return
        serialize = getattr(value, "serialize", None)
        if serialize is not None and serialize() != data:
            raise AssertionError("two encodings of one value")

    return target


def message(data: bytes) -> None:
    """The outermost decoder."""
    try:
        found = mls.MLSMessage.parse(data)
    except mls.MLSError:
        return
    if found.serialize() != data:
        raise AssertionError("two encodings of one message")


def extension_bodies(data: bytes) -> None:
    """A list of extensions, and the bodies of those that have a form."""
    for parse in (
        lambda: parse_all(data, parse_extensions),
        lambda: mls.RequiredCapabilities.find((mls.Extension(REQUIRED_CAPABILITIES, data),)),
        lambda: mls.ExternalSender.find_all((mls.Extension(EXTERNAL_SENDERS, data),)),
    ):
        with suppress(mls.MLSError):
            parse()


def tree(data: bytes) -> None:
    """A ratchet tree, and all that a joiner checks of it."""
    try:
        found = RatchetTree.parse(mls.SUITE_1, data)
        check_tree(found, group_id=b"group", extensions=(), auth=Auth(), max_lifetime=FOREVER)
    except mls.MLSError:
        return


def key_package(data: bytes) -> None:
    """A key package, checked whole."""
    for suite in SUITES:
        try:
            mls.verify_key_package(mls.KeyPackage.parse(data), suite=suite, auth=Auth(), now=NOW)
        except mls.MLSError:
            continue


def stored_state(data: bytes) -> None:
    """Bytes from a vault that is not to be trusted."""
    for parse in (mls.GroupState.parse, mls.KeyPackageBundle.parse):
        try:
            parse(data)
        except mls.MLSError:
            continue
    half = len(data) // 2
    try:
        mls.GroupState.assemble(data[:half], data[half:])
    except mls.MLSError:
        return


@cache
def group(number: int) -> Group:
    """Three members, one proposal waiting at Ben's."""
    made = Group("anna", "ben", "cleo", suite=SUITES[number])
    made.talk()
    sent = mls.create_proposal(made.states["cleo"], mls.Remove(0), auth=Auth(), rng=seeded("fuzz"))
    received = made.clients["ben"].receive(made.states["ben"], sent.message)
    if not isinstance(received, mls.ProposalReceived):
        raise AssertionError("not a proposal")
    made.states["waiting"] = received.state
    return made


def snapshot(state: mls.GroupState) -> tuple[object, ...]:
    """Copies of all that could be changed in a state, whose other parts are frozen."""
    keys, tree = state.epoch_state.private_keys, state.secret_tree
    return dict(keys), dict(tree.secrets), dict(tree.ratchets), state.pending, state.own_updates


def receive(state: mls.GroupState, data: bytes) -> None:
    """Give bytes to a member; a refusal leaves its state as it was."""
    before = snapshot(state)
    with suppress(mls.MLSError):
        mls.process_message(state, data, auth=Auth(), now=NOW, max_lifetime=FOREVER)
    if snapshot(state) != before:
        raise AssertionError("a state was changed")


def any_state(data: bytes) -> None:
    """Any bytes to a member, with and without a waiting proposal."""
    for number in range(len(SUITES)):
        for name in ("ben", "waiting"):
            receive(group(number).states[name], data)


def rogue(content_type: ContentType) -> Target:
    """Any bytes as the body of a message that a rogue member signs and encrypts properly."""

    def target(data: bytes) -> None:
        made = group(0)
        anna, rng = made.states["anna"], seeded("rogue")
        epoch = anna.epoch_state
        sender, body = Sender(SenderType.MEMBER, anna.own_leaf_index), Raw(data)
        content = FramedContent(anna.group_id, anna.epoch, sender, b"", content_type, _as_body(body))
        wire_format = WireFormat.PRIVATE_MESSAGE
        signature = sign_content(anna.suite, epoch.signer, wire_format, content, epoch.context.encoded)
        tag = bytes(32) if content_type is ContentType.COMMIT else None
        secret, auth = epoch.secrets.sender_data_secret, AuthData(signature, tag)
        sealed, _ = protect_private(
            anna.suite, secret, anna.secret_tree, content, auth, rng=rng, padding=None
        )
        for name in ("ben", "waiting"):
            receive(made.states[name], mls.MLSMessage(sealed).serialize())

    return target


def _as_body(body: Raw) -> Body:
    return body  # type: ignore[return-value]  # no body of the protocol, and that is the point


@cache
def joiner(number: int) -> tuple[Client, mls.KeyPackageBundle, bytes, bytes]:
    """A client, its key package, and the Welcome and GroupInfo that are meant for it."""
    dan = Client("dan", SUITES[number])
    bundle, made = dan.bundle(), group(number)
    add = mls.Add(mls.VerifiedKeyPackage(bundle.key_package))
    output = made.clients["anna"].commit(made.states["anna"], [add])
    return dan, bundle, output.welcome or b"", output.group_info


def welcome(data: bytes) -> None:
    """Any bytes as a Welcome."""
    for number in range(len(SUITES)):
        dan, bundle, _, _ = joiner(number)
        try:
            dan.join(data, bundle)
        except mls.MLSError:
            continue


def group_secrets(data: bytes) -> None:
    """Any bytes as the group secrets a rogue member seals for a joiner."""
    dan, bundle, real, _ = joiner(0)
    parsed = mls.MLSMessage.parse(real).body
    if not isinstance(parsed, mls.Welcome):
        raise AssertionError("not a Welcome")
    info, package = parsed.encrypted_group_info, bundle.key_package
    sealed = dan.suite.encrypt_with_label(package.init_key, b"Welcome", info, data, seeded("secrets"))
    entry = type(parsed.secrets[0])(bundle.ref, type(parsed.secrets[0].encrypted)(*sealed))
    welcome(mls.MLSMessage(mls.Welcome(parsed.cipher_suite, (entry,), info)).serialize())


def sealed_group_info(data: bytes) -> None:
    """Any bytes as the GroupInfo a rogue member seals in a Welcome."""
    dan, bundle, real, _ = joiner(0)
    parsed, suite = mls.MLSMessage.parse(real).body, dan.suite
    if not isinstance(parsed, mls.Welcome):
        raise AssertionError("not a Welcome")
    (entry,), info = parsed.secrets, parsed.encrypted_group_info
    sealed = entry.encrypted
    plain = suite.decrypt_with_label(
        bundle.init_private, WELCOME_LABEL, info, sealed.kem_output, sealed.ciphertext
    )
    secret = welcome_secret(suite, GroupSecrets.parse(plain).joiner_secret, bytes(suite.hash_length))
    other = seal_group_info(suite, secret, cast("mls.GroupInfo", Raw(data)))
    again = suite.encrypt_with_label(
        bundle.key_package.init_key, WELCOME_LABEL, other, plain, seeded("sealed")
    )
    made = mls.Welcome(suite.id, (replace(entry, encrypted=HpkeCiphertext(*again)),), other)
    welcome(mls.MLSMessage(made).serialize())


def rogue_tree(data: bytes) -> None:
    """Any bytes as the tree of a GroupInfo that a rogue member signs, with the hash that fits."""
    dan, _, _, published = joiner(0)
    info = mls.MLSMessage.parse(published).body
    if not isinstance(info, mls.GroupInfo):
        raise AssertionError("not a GroupInfo")
    context = info.group_context
    with suppress(mls.MLSError):
        context = replace(context, tree_hash=RatchetTree.parse(dan.suite, data).tree_hash())
    others = tuple(extension for extension in info.extensions if extension.type != RATCHET_TREE)
    lying = replace(info, group_context=context, extensions=(mls.Extension(RATCHET_TREE, data), *others))
    signed = lying.signed_by(dan.suite, group(0).clients["anna"].signer)
    with suppress(mls.MLSError):
        dan.rejoin(mls.MLSMessage(signed).serialize(), None, max_lifetime=FOREVER)


def group_info(data: bytes) -> None:
    """Any bytes as a GroupInfo to join by from outside."""
    for number in range(len(SUITES)):
        dan, _, _, _ = joiner(number)
        try:
            dan.rejoin(data, None)
        except mls.MLSError:
            continue


DECODERS: dict[str, Target] = {
    "message": message,
    "authenticated_content": round_trip(parse_authenticated_content),
    "capabilities": round_trip(parse_capabilities),
    "extensions": extension_bodies,
    "commit": round_trip(parse_commit),
    "group_info_body": round_trip(parse_group_info),
    "group_secrets_body": lambda data: round_trip(lambda reader: GroupSecrets.parse(reader.rest()))(data),
    "leaf_node": round_trip(parse_leaf_node),
    "proposal": round_trip(parse_proposal),
    "psk_id": round_trip(parse_psk_id),
    "secret_tree": round_trip(parse_secret_tree),
    "update_path": round_trip(parse_update_path),
    "welcome_body": round_trip(parse_welcome),
    "tree": tree,
    "key_package": key_package,
    "stored_state": stored_state,
}
STATES: dict[str, Target] = {
    "any_state": any_state,
    "rogue_commit": rogue(ContentType.COMMIT),
    "rogue_proposal": rogue(ContentType.PROPOSAL),
    "welcome": welcome,
    "group_secrets": group_secrets,
    "group_info": group_info,
    "sealed_group_info": sealed_group_info,
    "rogue_tree": rogue_tree,
}
TARGETS = {**DECODERS, **STATES}


def bare(external_commit: bytes) -> list[bytes]:
    """An external commit, what it is signed with, and the parts of it."""
    body = mls.MLSMessage.parse(external_commit).body
    if not isinstance(body, mls.PublicMessage) or not isinstance(body.content.body, Commit):
        raise AssertionError("not an external commit")
    commit, whole = (
        body.content.body,
        AuthenticatedContent(WireFormat.PUBLIC_MESSAGE, body.content, body.auth),
    )
    path = b"" if commit.path is None else commit.path.serialize()
    return [external_commit, whole.serialize(), commit.serialize(), path]


@cache
def seeds() -> tuple[bytes, ...]:
    """Real encodings to start from: one of everything."""
    made: list[bytes] = []
    for number in range(len(SUITES)):
        members, (_, bundle, invitation, info) = group(number), joiner(number)
        anna, state = members.clients["anna"], members.states["anna"]
        package = bundle.key_package
        extension = mls.Extension(0xF001, b"x")
        proposals: list[mls.Proposal] = [
            mls.Remove(2),
            mls.Add(mls.VerifiedKeyPackage(package)),
            mls.PreSharedKey(mls.PreSharedKeyID(mls.ExternalPsk(b"id"), bytes(state.suite.hash_length))),
            mls.ReInit(b"next", 1, 1, (extension,)),
            mls.GroupContextExtensions((extension,)),
            mls.ExternalInit(bytes(32)),
        ]
        output = anna.commit(state)
        sealed = mls.MLSMessage.parse(output.commit).body
        made += [proposal.serialize() for proposal in proposals]
        made += [state.serialize(), state.epoch_part() + state.ratchet_part(), state.serialize_tree()]
        made += [output.commit, invitation, info, package.serialize(), package.leaf_node.encoded]
        made += [bundle.serialize(), mls.MLSMessage(package).serialize(), sealed.serialize()]
        made += bare(members.clients["cleo"].rejoin(info, 2).commit)
        made += [data[4:] for data in (output.commit, invitation, info)]
        made += [package.leaf_node.capabilities.serialize(), state.secret_tree.serialize()]
        psks = (mls.ExternalPsk(b"id"), mls.ResumptionPsk(mls.ResumptionUsage.BRANCH, b"group", 9))
        ids = tuple(mls.PreSharedKeyID(psk, bytes(state.suite.hash_length)) for psk in psks)
        made += [psk_id.serialize() for psk_id in ids]
        made += [
            GroupSecrets(bytes(state.suite.hash_length), bytes(state.suite.hash_length), ids).serialize()
        ]
        made += [mls.RequiredCapabilities((1,), (2,), (1,)).to_extension().data]
        made += [mls.ExternalSender(anna.signer.public, anna.credential).serialize()]
        made += [b"\0\0", b"\x03\1" + mls.Remove(2).serialize()[:0] + b"\0"]
    return tuple(made)
