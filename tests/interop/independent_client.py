"""A second client, written from docs/PROTOCOL.md alone, with nothing of the SDK but its generic MLS library.

It takes part in one engagement and keeps everything in memory. What it needs and the document does not say is
a fault of the document. Rejoining, changed manifests, ephemeral messages, files and calls are left out.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiohttp
import msgpack
from nacl.exceptions import CryptoError
from nacl.signing import SigningKey, VerifyKey

from client_sdk import mls

MESSAGE, COMMIT = 0, 1
CONVERSATION = 0xF0C1
DAY = 24 * 3600
SUITE = mls.SUITE_XWING
ANSWERS = {66, 72, 80, 81, 82, 84, 85}


class RuleBroken(Exception):
    """Something is not as the document says."""


def require(holds: object, rule: str) -> None:
    if not holds:
        raise RuleBroken(rule)


# Section 1: notation


def label(name: str) -> bytes:
    return b"coach-relay/1 " + name.encode() + b"\0"


def digest(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def pack(value: object) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed


def sign(key: SigningKey, name: str, message: bytes) -> bytes:
    return bytes(key.sign(label(name) + message).signature)


def device_id(device_key: bytes) -> bytes:
    return digest(label("device"), device_key)[:16]


# Section 6: identity


def first_manifest(
    portal: str, user: str, identity: SigningKey, recovery: SigningKey, device: bytes
) -> bytes:
    keys = [bytes(identity.verify_key), bytes(recovery.verify_key)]
    body = pack([1, portal, user, 1, *keys, [[device, 1]], [SUITE.id], bytes(32)])
    return pack([body, 0, sign(identity, "manifest", body)])


def manifest_of(credential: mls.Credential, signature_key: bytes) -> tuple[str, str, bytes]:
    """(portal, user, identity key) of a leaf's manifest."""
    body, signer, signature = msgpack.unpackb(credential.content)
    form, portal, user, version, identity, recovery, devices, _, _ = msgpack.unpackb(body)
    require(form == 1 and signer in (0, 1) and version >= 1 and len(devices) <= 8, "a manifest's form")
    VerifyKey((identity, recovery)[signer]).verify(label("manifest") + body, signature)
    require(signature_key in dict(devices), "the manifest lists the leaf's key")
    return portal, user, identity


class Identities:
    """What MLS asks about single leaves."""

    def verify_credential(self, credential: mls.Credential, signature_key: bytes) -> None:
        manifest_of(credential, signature_key)

    def verify_successor(self, old: mls.LeafNode, new: mls.LeafNode) -> None:
        require(new.credential == old.credential, "the manifest stays")


def checked(state: mls.GroupState, portal: str, engagement: str) -> set[bytes]:
    """The devices of a group that keeps the rules."""
    data = mls.find_extension(state.extensions, CONVERSATION)
    form, *names, generation, _, _, people = msgpack.unpackb(data or b"\0")
    require(form == 1 and names == [portal, engagement], "our engagement")
    name = digest(label("group"), pack([portal, engagement, generation]))
    require(state.group_id == name, "the group's id")
    admitted = {user: identity for user, _role, identity in people}
    leaves = [member.leaf_node for member in state.members]
    for leaf in leaves:
        home, user, identity = manifest_of(leaf.credential, leaf.signature_key)
        require(home == portal and admitted.get(user) == identity, "who takes part")
    return {device_id(leaf.signature_key) for leaf in leaves}


# Section 7: the group


def padded(size: int) -> int:
    if size <= 256:
        return 256
    exponent = size.bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    return -(-size // step) * step


def group_extensions(conversation: list[Any]) -> tuple[mls.Extension, ...]:
    required = mls.RequiredCapabilities(extension_types=(CONVERSATION,)).to_extension()
    return required, mls.Extension(CONVERSATION, pack(conversation))


class Said(NamedTuple):
    """A message of somebody else."""

    user: str
    id: bytes
    kind: str
    body: dict[str, Any]
    fallback: str


@dataclass
class Outgoing:
    """A message's content, or a bundle and the state after it; `append` is what was sent and not answered."""

    content: list[Any]
    bundle: bytes = b""
    after: mls.GroupState | None = None
    append: list[Any] | None = None


class Device:
    """One device of one user; `creates` says whether it creates the group where there is none."""

    def __init__(self, url: str, portal: str, user: str, engagement: str, *, creates: bool = False) -> None:
        self.url, self.portal, self.user = url, portal, user
        self.engagement, self.creates = engagement, creates
        self.key, identity, recovery = (SigningKey.generate() for _ in range(3))
        self.signer = mls.SignatureKeyPair(bytes(self.key.verify_key), bytes(self.key))
        manifest = first_manifest(portal, user, identity, recovery, self.signer.public)
        self.credential = mls.BasicCredential(manifest)
        self.id = device_id(self.signer.public)
        self.identity_key = bytes(identity.verify_key)
        self.packages: dict[bytes, mls.KeyPackageBundle] = {}
        self.state: mls.GroupState | None = None
        self.position = self.last_commit = self.counter = self.stale_until = 0
        self.hashes: dict[int, tuple[int, bytes]] = {}  # (epoch, S) at each position since we joined
        self.closings: list[list[Any]] = []
        self.outbox: list[Outgoing] = []
        self.spoken = self.asked = 0
        self.heard_counters: dict[int, int] = {}
        self.said: list[Said] = []
        self.refusals: list[str] = []
        self.lose_answers = False
        self._requests: dict[int, asyncio.Future[list[Any]]] = {}
        self._changed = asyncio.Event()

    @property
    def group(self) -> mls.GroupState:
        if self.state is None:
            raise RuleBroken("not in the group")
        return self.state

    # Section 2: the connection

    async def connect(self, http: aiohttp.ClientSession, token: str) -> None:
        self._socket = await http.ws_connect(self.url + "/v1/connect", compress=0)
        nonce = os.urandom(32)
        await self._send(1, [1], nonce)
        [[kind, version, relay_nonce]] = await self._receive()
        require((kind, version) == (64, 1), "Challenge")
        proof = sign(self.key, "connect", pack([self.url, self.portal, self.id, relay_nonce, nonce]))
        await self._send(2, token, self.signer.public, proof)
        [[kind, device, portal, user, *_]] = await self._receive()
        require((kind, device, portal, user) == (65, self.id, self.portal, self.user), "Ready")
        self._running = asyncio.create_task(self._run())
        self._running.add_done_callback(lambda _: self._changed.set())
        await self._publish()
        opened = await self._request(11, self.engagement, self.position)
        listed = (await self._request(32))[2]
        self.roster = next(found for found in listed if found[0] == self.engagement)
        await self.flush(again=True)
        if self.creates and opened[5] == 0:
            await self.create()

    async def close(self) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self._socket.close()

    async def wait(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not holds() and not self._running.done():
                self._changed.clear()
                await self._changed.wait()
        if self._running.done():
            self._running.result()

    async def _send(self, *frame: object) -> None:
        await self._socket.send_bytes(pack(frame))

    async def _receive(self) -> list[list[Any]]:
        unpacker = msgpack.Unpacker()
        unpacker.feed(await self._socket.receive_bytes())
        return list(unpacker)

    async def _request(self, kind: int, *fields: object) -> list[Any]:
        self.asked += 1
        answer = self._requests[self.asked] = asyncio.get_running_loop().create_future()
        await self._send(kind, self.asked, *fields)
        return await asyncio.wait_for(answer, 20)

    async def _run(self) -> None:
        while True:
            for frame in await self._receive():
                await self._take(*frame)
            self._changed.set()

    async def _take(self, kind: int, *fields: Any) -> None:
        if kind in ANSWERS:
            self._requests.pop(fields[0]).set_result([kind, *fields])
        elif kind == 71:
            await self._refused(*fields[1:])
        elif kind == 73 and not self.lose_answers:
            for entry in fields[1]:
                self._entry(*entry)
            await self._send(12, self.engagement, self.position)
            await self.flush()
        elif kind == 83 and fields[0][0] == self.engagement:
            self.roster = fields[0]

    # Sections 4 and 8: the stream

    async def _publish(self) -> None:
        own = SUITE, self.signer, self.credential
        made = [mls.generate_key_package(*own, **self._leaf(), last_resort=at == 0) for at in range(3)]
        self.packages |= {bundle.ref: bundle for bundle in made}
        last, *single = [pack([mls.MLSMessage(bundle.key_package).serialize()]) for bundle in made]
        await self._request(30, single, last)

    def _leaf(self) -> dict[str, Any]:
        now, able = int(time.time()), mls.default_capabilities([CONVERSATION])
        return {"lifetime": mls.Lifetime(now - 3600, now + 90 * DAY), "capabilities": able, "rng": os.urandom}

    async def say(self, kind: str, body: dict[str, Any], fallback: str = "") -> bytes:
        self.spoken += 1
        name, sent_ms = os.urandom(16), time.time_ns() // 1_000_000
        content = [1, name, self.spoken, None, None, sent_ms, kind, 1, False, fallback, body]
        self.outbox.append(Outgoing(content))
        await self.flush()
        return name

    async def flush(self, *, again: bool = False) -> None:
        """Send what is first, once; the identical bytes `again` after a lost connection."""
        if not self.outbox or self.last_commit < self.stale_until:
            return
        first = self.outbox[0]
        if (first.after or self.hashes) and (again or first.append is None):
            first.append = first.append or [self.counter + 1, *self._entry_for(first), []]
            await self._send(10, self.engagement, *first.append)

    def _entry_for(self, first: Outgoing) -> list[Any]:
        if first.bundle:
            return [COMMIT, self.last_commit, first.bundle]
        first.content[3:5] = self._attest(), self.closings[-8:]
        sealed = mls.encrypt(self.group, pack(first.content), rng=os.urandom, padding=padded)
        self.state = sealed.state
        return [MESSAGE, self.last_commit, sealed.message]

    def _attest(self) -> list[Any]:
        epoch, value = self.hashes[self.position]
        return [epoch, self.position, value]

    async def _refused(self, counter: int, code: str, last_commit: int) -> None:
        self.refusals.append(code)
        require((code, counter) == ("stale", self.counter + 1), f"refused: {code}")
        self.stale_until, self.outbox[0].append = last_commit, None
        if self.outbox[0].bundle:
            del self.outbox[0]  # another commit was first; who wanted to create the group waits to be added
        await self.flush()

    def _entry(self, seq: int, kind: int, after: int, _ms: int, counter: int, body: bytes | None) -> None:
        if seq <= self.position:
            return
        require(not self.hashes or (seq, after) == (self.position + 1, self.last_commit), "no gap")
        own, data = None, body or b""
        if counter:
            own, self.counter = self.outbox.pop(0), counter
            sent, *_, data, _ = own.append or [0, b"", []]
            require(sent == counter, "what we sent")
        hashed = digest(label("entry"), *(n.to_bytes(8, "big") for n in (seq, kind, after)), digest(data))
        entered = self._enter(data, own) if kind == COMMIT else None
        if kind == MESSAGE and own is None and self.hashes:
            self._hear(data, seq)
        if entered is not None:
            self.closings += [self._attest()] if self.hashes else []
            self.state = entered
            self.hashes[seq] = (entered.epoch, digest(label("commit"), entered.epoch_authenticator, hashed))
        elif self.hashes:
            epoch, before = self.hashes[self.position]
            self.hashes[seq] = (epoch, digest(label("stream"), before, hashed))
        if own is not None and not own.bundle:
            self.closings.clear()  # they went with this message
        self.position = seq
        self.last_commit = seq if kind == COMMIT else self.last_commit

    def _enter(self, body: bytes, own: Outgoing | None) -> mls.GroupState | None:
        """The group after a commit entry; None if it is void, or not for us."""
        try:
            return own.after if own is not None else self._judged(*msgpack.unpackb(body))
        except (RuleBroken, mls.MLSError, CryptoError, ValueError, TypeError):
            return None

    def _judged(
        self, form: int, adds: list[bytes], removes: list[bytes], commit: bytes, welcome: bytes, _info: bytes
    ) -> mls.GroupState:
        require(form == 1, "a bundle's form")
        now, auth = int(time.time()), Identities()
        if not self.hashes:
            require(self.id in adds, "we are added")
            state = mls.join_from_welcome(welcome, self.packages.get, self.signer, auth=auth, now=now)
            checked(state, self.portal, self.engagement)
            return state
        received = mls.process_message(self.group, commit, auth=auth, now=now)
        if not isinstance(received, mls.CommitReceived):
            raise RuleBroken("a commit that leaves us in")
        before, after = (checked(g, self.portal, self.engagement) for g in (self.group, received.state))
        require((set(adds), set(removes)) == (after - before, before - after), "the bundle's names")
        return received.state

    def _hear(self, body: bytes, seq: int) -> None:
        received = mls.process_message(self.group, body, auth=Identities(), now=int(time.time()))
        if not isinstance(received, mls.ApplicationReceived):
            raise RuleBroken("a message")
        self.state = received.state
        content = msgpack.unpackb(received.plaintext)
        _, name, counter, attest, closings, _, kind, _, _, fallback, said = content
        require(attest[0] == received.epoch and self.last_commit <= attest[1] < seq, "a present attest")
        for epoch, position, value in (attest, *closings):
            require(self.hashes.get(position, (epoch, value)) == (epoch, value), "the same stream")
        require(counter == self.heard_counters.get(received.sender, counter - 1) + 1, "no message is missing")
        self.heard_counters[received.sender] = counter
        leaf = self.group.member(received.sender)
        user = manifest_of(leaf.credential, leaf.signature_key)[1] if leaf else ""
        self.said.append(Said(user, name, kind, said, fallback))

    # Sections 5 and 7: creating the group, adding who waits

    async def create(self) -> None:
        roles, hours = dict(self.roster[4]), self.roster[3]
        people, policy = [[self.user, roles[self.user], self.identity_key]], {"retention_hours": hours}
        about = [1, self.portal, self.engagement, 1, [], policy, people]
        name = digest(label("group"), pack(about[1:4]))
        own = {**self._leaf(), "extensions": group_extensions(about)}
        self.state = mls.create_group(SUITE, name, self.signer, self.credential, **own)
        bundle = pack([1, [], [], b"", None, mls.export_group_info(self.state)])
        self.outbox.insert(0, Outgoing([], bundle, self.state))
        await self.flush()

    async def add_waiting(self) -> None:
        """Add the devices of the roster that wait, their users trusted at first use."""
        waiting = [device for _, device, member, ready in self.roster[5] if ready and not member]
        proposals: list[mls.Proposal] = []
        about = msgpack.unpackb(mls.find_extension(self.group.extensions, CONVERSATION) or b"")
        for device, data, _ in (await self._request(31, self.engagement, waiting))[2]:
            offered = [mls.MLSMessage.parse(message).body for message in msgpack.unpackb(data)]
            packages = [package for package in offered if isinstance(package, mls.KeyPackage)]
            parsed = next(package for package in packages if package.cipher_suite == SUITE.id)
            leaf, now = parsed.leaf_node, int(time.time())
            require(device_id(leaf.signature_key) == device, "of the device asked for")
            _, user, identity = manifest_of(leaf.credential, leaf.signature_key)
            about[6].append([user, dict(self.roster[4])[user], identity])
            package = mls.verify_key_package(parsed, suite=SUITE, auth=Identities(), now=now)
            proposals.append(mls.Add(package))
        proposals.append(mls.GroupContextExtensions(group_extensions(about)))
        await self.commit(proposals, adds=waiting)

    async def commit(self, proposals: list[mls.Proposal], *, adds: list[bytes] | None = None) -> None:
        made = mls.create_commit(
            self.group, proposals, auth=Identities(), now=int(time.time()), rng=os.urandom
        )
        self.state = made.current
        bundle = pack([1, adds or [], [], made.commit, made.welcome, made.group_info])
        self.outbox.append(Outgoing([], bundle, made.state))
        await self.flush()
