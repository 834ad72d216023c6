"""Our own vectors of trees, transcripts, Welcomes and encodings: see `make_vectors`, which writes them."""

from __future__ import annotations

from typing import Any

from client_sdk import mls
from client_sdk.mls.framing import AuthData, AuthenticatedContent, FramedContent
from client_sdk.mls.key_schedule import next_confirmed_hash, next_interim_hash
from client_sdk.mls.leaf_node import LeafSource
from client_sdk.mls.proposals import Commit, ReceivedAdd
from client_sdk.mls.protection import sign_content
from client_sdk.mls.ratchet_tree import RatchetTree
from client_sdk.mls.treekem import NewPath, encrypt_path, generate_path
from client_sdk.mls.welcome import GroupSecrets

from .support import Client, Group, seeded

Vector = dict[str, Any]
GROUP_ID = b"group"  # what the tests' groups are called


def tree_math(leaves: int) -> Vector:
    """From the definition: a parent stands in the middle of its subtree; nothing of the package is asked."""
    width = 2 * leaves - 1
    left: list[int | None] = [None] * width
    right, parent, sibling = left.copy(), left.copy(), left.copy()

    def middle(start: int, end: int) -> int:
        found = (start + end) // 2
        if start < end:
            one, other = left[found], right[found] = middle(start, found - 1), middle(found + 1, end)
            parent[one] = parent[other] = found
            sibling[one], sibling[other] = other, one
        return found

    return {
        "n_leaves": leaves,
        "n_nodes": width,
        "root": middle(0, width - 1),
        "left": left,
        "right": right,
        "parent": parent,
        "sibling": sibling,
    }


def deserialization() -> list[Vector]:
    """The least and the greatest length of each form."""
    lengths = {"00": 0, "3f": 63, "4040": 64, "7fff": 16383, "80004000": 16384, "bfffffff": (1 << 30) - 1}
    return [{"vlbytes_header": header, "length": length} for header, length in lengths.items()]


def transcript_hashes(suite: mls.CipherSuite) -> Vector:
    """One commit's way into the transcript."""
    rng = seeded(f"transcript {suite.id}")
    key, before, signer = (
        rng(suite.hash_length),
        rng(suite.hash_length),
        mls.generate_signature_key(suite, rng),
    )
    sender, body = mls.Sender(mls.SenderType.MEMBER, 1), Commit((mls.Remove(0),), None)
    content = FramedContent(GROUP_ID, 5, sender, b"aad", mls.ContentType.COMMIT, body)
    form = mls.WireFormat.PUBLIC_MESSAGE
    signature = sign_content(suite, signer, form, content, b"context")
    unconfirmed = AuthenticatedContent(form, content, AuthData(signature, None))
    confirmed = next_confirmed_hash(suite, before, unconfirmed.transcript_input())
    tag = suite.mac(key, confirmed)
    whole = AuthenticatedContent(form, content, AuthData(signature, tag))
    return {
        "cipher_suite": suite.id,
        "confirmation_key": key.hex(),
        "authenticated_content": whole.serialize().hex(),
        "interim_transcript_hash_before": before.hex(),
        "confirmed_transcript_hash_after": confirmed.hex(),
        "interim_transcript_hash_after": next_interim_hash(suite, confirmed, tag).hex(),
    }


def lived_in(suite: mls.CipherSuite) -> Group:
    """Four members, one of whom came without a path: parents, a blank place and an unmerged leaf."""
    group = Group("anna", "ben", "cleo", "dan", "eve", suite=suite)
    for name in ("anna", "cleo", "eve"):
        group.commit(name)
    group.commit("anna", [mls.Remove(group.leaf("dan"))])
    group.commit("eve")
    fay = Client("fay", suite)
    output = group.commit(
        "ben", [mls.Add(group.clients["ben"].verified(fay.bundle().key_package))], force_path=False
    )
    assert output.welcome is not None
    return group


def tree_operations(suite: mls.CipherSuite) -> list[Vector]:
    """Add into a blank place, Add that widens the tree, Update, Remove, and a Remove that narrows it."""
    group, gil = lived_in(suite), Client("gil", suite)
    tree, package = group.states["anna"].epoch_state.tree, gil.bundle().key_package
    state = group.states["cleo"]
    fresh = suite.kem.generate_key_pair(gil.rng).public
    leaf = mls.LeafNode(
        fresh,
        state.own_leaf.signature_key,
        state.own_leaf.credential,
        state.own_leaf.capabilities,
        LeafSource.UPDATE,
        None,
        None,
        (),
        b"",
    ).signed_by(suite, group.clients["cleo"].signer, GROUP_ID, 2)
    add = ReceivedAdd(package)
    full, _ = tree.add_leaf(package.leaf_node)
    while full.next_leaf_index() < full.leaf_width:
        full, _ = full.add_leaf(package.leaf_node)
    narrow = RatchetTree.parse(
        suite, Group("anna", "ben", "cleo", suite=suite).states["anna"].serialize_tree()
    )
    cases: list[tuple[RatchetTree, mls.Proposal, int, RatchetTree]] = [
        (tree, add, 0, tree.add_leaf(package.leaf_node)[0]),
        (full, add, 0, full.add_leaf(package.leaf_node)[0]),
        (tree, mls.Update(leaf), 2, tree.update_leaf(2, leaf)),
        (tree, mls.Remove(1), 0, tree.remove_leaf(1)),
        (narrow, mls.Remove(2), 0, narrow.remove_leaf(2)),
    ]
    return [
        {
            "cipher_suite": suite.id,
            "proposal": proposal.serialize().hex(),
            "proposal_sender": sender,
            "tree_before": before.serialize().hex(),
            "tree_hash_before": before.tree_hash().hex(),
            "tree_after": after.serialize().hex(),
            "tree_hash_after": after.tree_hash().hex(),
        }
        for before, proposal, sender, after in cases
    ]


def tree_validation(suite: mls.CipherSuite) -> Vector:
    """A tree with all that a tree can have."""
    tree = lived_in(suite).states["anna"].epoch_state.tree
    nodes = range(len(tree.nodes))
    return {
        "cipher_suite": suite.id,
        "group_id": GROUP_ID.hex(),
        "tree": tree.serialize().hex(),
        "tree_hashes": [tree.tree_hash(node).hex() for node in nodes],
        "resolutions": [list(tree.resolution(node)) for node in nodes],
    }


def treekem(suite: mls.CipherSuite) -> Vector:
    """Four leaves under the path of the first, and a path by each of the others."""
    clients = [Client(f"treekem {number}", suite) for number in range(4)]
    bundles = [client.bundle() for client in clients]
    tree = RatchetTree(suite, (bundles[0].key_package.leaf_node,))
    for bundle in bundles[1:]:
        tree, _ = tree.add_leaf(bundle.key_package.leaf_node)
    first = new_path(tree, clients[0], 0)
    tree, confirmed = first.tree, seeded(f"treekem {suite.id}")(suite.hash_length)
    privates = [first.private_keys[0], *(bundle.encryption_private for bundle in bundles[1:])]
    paths = []
    for sender in (1, 2, 3):
        new = new_path(tree, clients[sender], sender)
        context = mls.GroupContext(1, suite.id, GROUP_ID, 9, new.tree.tree_hash(), confirmed, ()).encoded
        path = encrypt_path(new, sender, context, (), clients[sender].rng)
        secrets = [None if leaf == sender else lowest(new, leaf).hex() for leaf in range(4)]
        paths.append(
            {
                "sender": sender,
                "update_path": path.serialize().hex(),
                "path_secrets": secrets,
                "commit_secret": new.commit_secret.hex(),
                "tree_hash_after": new.tree.tree_hash().hex(),
            }
        )
    return {
        "cipher_suite": suite.id,
        "group_id": GROUP_ID.hex(),
        "epoch": 9,
        "confirmed_transcript_hash": confirmed.hex(),
        "ratchet_tree": tree.serialize().hex(),
        "leaves_private": [
            {
                "index": leaf,
                "encryption_priv": privates[leaf].hex(),
                "signature_priv": clients[leaf].signer.private.hex(),
                "path_secrets": [
                    {"node": node, "path_secret": secret.hex()}
                    for node, secret in first.path_secrets.items()
                    if node in tree.direct_path(leaf)
                ],
            }
            for leaf in range(4)
        ],
        "update_paths": paths,
    }


def new_path(tree: RatchetTree, client: Client, sender: int) -> NewPath:
    """A path by one of the leaves."""
    old = tree.require_leaf(sender, "")

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
        return leaf.signed_by(tree.suite, client.signer, GROUP_ID, sender)

    return generate_path(tree, sender, make_leaf, client.rng)


def lowest(new: NewPath, leaf: int) -> bytes:
    """The path secret of the lowest node of the path that lies above a leaf."""
    return next(new.path_secrets[node] for node in new.tree.direct_path(leaf) if node in new.path_secrets)


def welcome(suite: mls.CipherSuite) -> Vector:
    """A Welcome without PSKs."""
    group, dan = Group("anna", "ben", suite=suite), Client("dan", suite)
    bundle = dan.bundle()
    return {
        "cipher_suite": suite.id,
        "init_priv": bundle.init_private.hex(),
        "key_package": mls.MLSMessage(bundle.key_package).serialize().hex(),
        "signer_pub": group.clients["anna"].signer.public.hex(),
        "welcome": group.commit_welcome("anna", bundle.key_package).hex(),
    }


def messages() -> Vector:
    """One encoding of each kind."""
    suite = mls.SUITE_1
    group, dan = Group("anna", "ben", "cleo"), Client("dan")
    anna, bundle = group.states["anna"], dan.bundle()
    psk = mls.PreSharedKeyID(mls.ExternalPsk(b"id"), bytes(32))
    extension = mls.Extension(0xF001, b"x")
    proposals: dict[str, mls.Proposal] = {
        "add": ReceivedAdd(bundle.key_package),
        "update": mls.Update(bundle.key_package.leaf_node),
        "remove": mls.Remove(2),
        "pre_shared_key": mls.PreSharedKey(psk),
        "re_init": mls.ReInit(b"next", 1, suite.id, (extension,)),
        "external_init": mls.ExternalInit(bytes(32)),
        "group_context_extensions": mls.GroupContextExtensions((extension,)),
    }
    rejoining = group.clients["cleo"].rejoin(mls.export_group_info(anna), 2).commit
    body = mls.MLSMessage.parse(rejoining).body
    assert isinstance(body, mls.PublicMessage)
    assert isinstance(body.content.body, Commit)
    found = {f"{name}_proposal": proposal.serialize()[2:] for name, proposal in proposals.items()}
    found |= {
        "mls_key_package": mls.MLSMessage(bundle.key_package).serialize(),
        "mls_group_info": mls.export_group_info(anna),
        "ratchet_tree": anna.serialize_tree(),
        "group_secrets": GroupSecrets(bytes(32), bytes(32), (psk,)).serialize(),
        "commit": body.content.body.serialize(),
        "public_message_commit": rejoining,
        "private_message": group.send("anna", b"How was the week?"),
        "mls_welcome": group.commit_welcome("anna", bundle.key_package),
    }
    return {name: data.hex() for name, data in found.items()}
