"""Coming back on an empty device: a new identity that the recovery key signs, checked against the relay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from client_sdk.engine import suites
from client_sdk.engine.account import Account, AccountRecord
from client_sdk.engine.key_packages import parse_claimed
from client_sdk.errors import (
    CoachRelayError,
    ManifestInvalid,
    RecoveryRefused,
    RelayRefused,
    RelayUnreachable,
)
from client_sdk.identity import (
    DeviceFlags,
    ManifestDevice,
    RecoverySeed,
    VerifiedManifest,
    generate_key_pair,
    manifest_of,
    recovered_manifest,
    verify_manifest,
)
from client_sdk.identity.manifest import era_at, era_counts
from client_sdk.mls import MLSError
from client_sdk.transport import DeviceProof, Dial, Incoming, Session, open_session
from client_sdk.transport.session import GoodbyeReceived
from relay.wire import encode
from relay.wire import frames as fr
from relay.wire.ids import DeviceId, EngagementId, PortalId, UserId
from relay.wire.limits import HANDSHAKE_SECONDS, MAX_CLAIMED_DEVICES

ANSWER_SECONDS: Final = 120.0
"""For one answer: the largest, 2 MiB of an archive, takes 64 s over a line of 256 kbit/s."""

_A = TypeVar("_A", bound=Incoming)


def recovered_account(
    portal: PortalId,
    user: UserId,
    name: str,
    seed: RecoverySeed,
    *,
    now: float,
    rng: Callable[[int], bytes],
) -> Account:
    """This user on an empty device: a new device key, a new identity key, and the list that says so.

    The words stay on paper: nothing of the seed is kept.
    """
    identity, device = generate_key_pair(rng), generate_key_pair(rng)
    manifest = recovered_manifest(
        portal=portal,
        user=user,
        era=max(1, era_at(now)),
        recovery=seed.key,
        identity_key=identity.public,
        devices=[ManifestDevice(device.public, DeviceFlags.MAY_LINK)],
        suites=[suite.id for suite in suites.KNOWN],
    )
    return Account(AccountRecord(portal, user, device.private, identity.private, b"", manifest.raw, name))


def outranking(account: Account, known: VerifiedManifest | None, seed: RecoverySeed) -> Account:
    """The account with a list that outranks the newest that was found, should a clock be wrong."""
    if known is None or known.era < account.manifest.era:
        return account
    manifest = recovered_manifest(
        portal=account.portal,
        user=account.user,
        era=known.era + 1,
        recovery=seed.key,
        identity_key=account.manifest.identity_key,
        devices=account.manifest.devices,
        suites=account.manifest.suites,
    )
    return Account(replace(account.record, manifest=manifest.raw))


@dataclass(frozen=True, slots=True)
class Recovered:
    """What came back: in how many conversations, and how many items of their history.

    `until_ms` is when the newest part of an archive was written (0: there was none); `broken` says that the
    relay lost, withheld or altered some of it.
    """

    conversations: int
    items: int = 0
    until_ms: int = 0
    broken: bool = False


@dataclass(slots=True)
class Asking:
    """Requests on one connection that does nothing else."""

    session: Session
    _number: int = field(default=0, init=False)

    async def ask(self, frame: Callable[[int], fr.DeviceFrame], answer: type[_A]) -> _A:
        """The answer to a request; raises `RelayRefused` or `RelayUnreachable`."""
        self._number += 1
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self.session.send_message(encode([frame(self._number)]))
                return await self._answer(answer)
        except TimeoutError:
            raise RelayUnreachable("The relay does not answer any more. Begin again: it goes on.") from None

    async def _answer(self, answer: type[_A]) -> _A:
        while True:
            for found in await self.session.receive():
                if getattr(found, "request", 0) != self._number:
                    continue  # what the relay tells unasked
                if isinstance(found, fr.Error):
                    raise RelayRefused(f"The relay refused a request ({found.code}).", code=found.code)
                if not isinstance(found, answer):
                    raise RelayUnreachable("The relay answered something else.")
                return found


@asynccontextmanager
async def asking(
    dial: Dial, proof: DeviceProof, token: str, rng: Callable[[int], bytes]
) -> AsyncIterator[Asking]:
    """A connection for requests alone, until the block ends; raises `RelayError`."""
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            socket = await dial()
    except TimeoutError:
        raise RelayUnreachable("The relay does not answer.") from None
    try:
        yield Asking(await open_session(socket, proof, token, rng))
    except GoodbyeReceived as goodbye:
        raise goodbye.meaning() from None
    finally:
        await socket.close()


async def own_engagements(asking: Asking) -> Sequence[fr.Engagement]:
    """The engagements of this user that have not ended."""
    answer = await asking.ask(fr.ListEngagements, fr.Engagements)
    return [engagement for engagement in answer.engagements if engagement.status == "active"]


async def newest_known(
    asking: Asking, account: Account, engagements: Sequence[fr.Engagement], *, unchecked: bool
) -> VerifiedManifest | None:
    """The newest device list at the relay that these recovery words belong to.

    The relay holds it, and the earlier devices' key packages carry it. Raises `RecoveryRefused` if there is
    none: the words, or the portal's account, are others than those on the page. `unchecked` goes on all the
    same, for whoever is sure of both and suspects that somebody hides it. A list of an era too far ahead,
    which only an identity key signed, shows that the words fit and outranks nothing.
    """
    held = await _held(asking)
    lists = [*held, *await _lists(asking, account, engagements)]
    fitting = [found for found in lists if found.recovery_key == account.manifest.recovery_key]
    if not fitting and not unchecked:
        raise RecoveryRefused(_OTHER if lists else _UNKNOWN)
    counting = [found for found in fitting if era_counts(found, account.manifest.era)]
    return max(counting, key=lambda found: found.version, default=None)


_OTHER: Final = (
    "These words exist, but they are not those of this account. Check each of them, and whether you are "
    "logged in to your portal as the person on the page."
)
_UNKNOWN: Final = (
    "The relay knows no earlier device of yours. Check whether you are logged in to your portal as the "
    "person on the page."
)


async def shut_out(asking: Asking, account: Account) -> None:
    """Have the relay take the new list: from now on it lets no earlier device in.

    A relay that does not take it cannot keep it from the conversations.
    """
    await asking.ask(lambda number: fr.PutManifest(number, account.record.manifest), fr.HeldManifest)


async def _held(asking: Asking) -> list[VerifiedManifest]:
    answer = await asking.ask(lambda number: fr.PutManifest(number, None), fr.HeldManifest)
    try:
        return [] if answer.manifest is None else [verify_manifest(answer.manifest)]
    except ManifestInvalid:
        return []  # nothing that anybody of us signed


async def _lists(
    asking: Asking, account: Account, engagements: Sequence[fr.Engagement]
) -> list[VerifiedManifest]:
    """The lists of this user's earlier devices, each asked for once."""
    asked: set[DeviceId] = {account.device}
    found: list[VerifiedManifest] = []
    for engagement in engagements:
        mine = (found.device for found in engagement.devices if found.user == account.user)
        devices = tuple(device for device in mine if device not in asked)
        if devices:
            asked.update(devices)
            found += await _claimed(asking, account, engagement.id, devices[:MAX_CLAIMED_DEVICES])
    return found


async def _claimed(
    asking: Asking, account: Account, engagement: EngagementId, devices: tuple[DeviceId, ...]
) -> list[VerifiedManifest]:
    answer = await asking.ask(lambda number: fr.ClaimKeyPackages(number, engagement, devices), fr.KeyPackages)
    found = []
    for claimed in answer.packages:
        manifest = _list_in(claimed)
        if manifest is not None and (manifest.portal, manifest.user) == (account.portal, account.user):
            found.append(manifest)
    return found


def _list_in(claimed: fr.ClaimedKeyPackage) -> VerifiedManifest | None:
    """The list in a key package; None for whatever else the relay gives."""
    try:
        packages = parse_claimed(claimed.package or b"", claimed.device)
        leaf = next(iter(packages.values())).leaf_node
        return manifest_of(leaf.credential, leaf.signature_key)
    except (MLSError, CoachRelayError):
        return None
