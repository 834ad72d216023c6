"""The client: one person's device, its vault open and its relay in reach."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import aiohttp

from client_sdk.attachments import OnProgress
from client_sdk.calls import CallSettings
from client_sdk.coming_back import OnRestored, Recovered, recover_vault
from client_sdk.content import Profile
from client_sdk.devices import Devices
from client_sdk.engagement import Engagement
from client_sdk.engine import (
    Account,
    Engine,
    Files,
    archiving,
    create_account,
    reading,
    spaces,
    token_subject,
)
from client_sdk.engine.account import AccountRecord, check_subject, with_known_suites
from client_sdk.engine.freshness import Freshness
from client_sdk.errors import EngagementUnavailable, UsageError
from client_sdk.first_link import link_vault
from client_sdk.identity import RecoverySeed, safety_number
from client_sdk.identity.linking import LinkSecret
from client_sdk.kit import RecoveryKit
from client_sdk.transport import (
    DeviceProof,
    Dial,
    Environment,
    Link,
    LinkStatus,
    RelayAddress,
    TokenSource,
    WebSocketDial,
    relay_address,
)
from client_sdk.unlocking import Passphrase, open_counter, opened_vault, vault_key
from client_sdk.vault import Key, Vault
from relay.wire.ids import EngagementId, UserId, parse_engagement_id

_KEY: Final = b"account"
KIT_WORDS_ASKED: Final = 2
"""Words typed off the page show that it was printed, or at least written down."""


class Client:
    """One device of one user. Use `Client.open`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __repr__(self) -> str:
        return f"<Client {'online' if self._engine.link.online else 'offline'}>"

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        vault: str | Path,
        *,
        relay: str,
        token: TokenSource,
        passphrase: Passphrase | None = None,
        keyring: bool = False,
        key: Key | None = None,
        name: str | None = None,
        allow_insecure: bool = False,
        on_progress: OnProgress | None = None,
        call_settings: CallSettings | None = None,
        environment: Environment | None = None,
        dial: Dial | None = None,
    ) -> AsyncIterator[Client]:
        """Open a device's vault, or make it at first use, and keep it connected until the block ends.

        `token` is awaited for an access token of the portal whenever one is needed. The vault opens with a
        `passphrase` (or a function that asks for it, called in a thread), with a key in the operating
        system's `keyring`, or with a `key`. `name` is what the others see. The first use needs the portal;
        nothing needs the relay: what is said offline waits. `on_progress` is told about uploads that an
        earlier run began.

        Raises `VaultError`, `AccessRefused` or `UsageError`. Leaving the block at any time loses nothing.
        """
        address = relay_address(relay, allow_insecure=allow_insecure)
        env = environment or Environment()
        unlock = vault_key(vault, passphrase, keyring, key)
        opened = await opened_vault(Path(vault), unlock)
        freshness = Freshness(opened, open_counter(vault, keyring, key))
        try:
            await asyncio.to_thread(freshness.opened)
            account = await _account(opened, token, name, env)
            async with aiohttp.ClientSession() as http:
                settings = call_settings or CallSettings()
                engine = _engine(account, opened, address, token, env, dial, Path(vault), http, settings)
                engine.files.on_progress = on_progress
                engine.arriving.progress = engine.linking.progress = on_progress
                engine.start()
                try:
                    client = cls(engine)
                    if name is not None and name != account.name:
                        client._rename(name)
                    yield client
                finally:
                    await engine.stop()
            await asyncio.to_thread(freshness.closing)
        finally:
            opened.close()

    @classmethod
    @asynccontextmanager
    async def link(
        cls,
        vault: str | Path,
        *,
        relay: str,
        token: TokenSource,
        show: Callable[[LinkSecret], None],
        device_name: str = "",
        passphrase: Passphrase | None = None,
        keyring: bool = False,
        key: Key | None = None,
        allow_insecure: bool = False,
        on_progress: OnProgress | None = None,
        call_settings: CallSettings | None = None,
        environment: Environment | None = None,
        dial: Dial | None = None,
    ) -> AsyncIterator[Client]:
        """Make the vault of a further device of this user, wait until another one links it, and open it.

        `show` is told the secret: let the person see `secret.words`, or `secret.code` as a QR code, and give
        them to `devices.find` on a device that may link. `device_name` is what they see there. When the block
        begins, this device has its account; the history comes in behind (`devices.wait_history`, with
        `on_progress`). Cut off, it goes on where it was when it is called again, or `open` is. The other
        arguments are those of `open`.

        Raises `LinkFailed`, `LinkTampered` or what `open` raises.
        """
        env = environment or Environment()
        unlocked = await asyncio.to_thread(vault_key(vault, passphrase, keyring, key))
        await link_vault(
            Path(vault),
            unlocked,
            address=relay_address(relay, allow_insecure=allow_insecure),
            token=token,
            device_name=device_name or platform.node(),
            show=show,
            environment=env,
            dial=dial,
        )
        opening = cls.open(
            vault,
            relay=relay,
            token=token,
            key=unlocked,
            allow_insecure=allow_insecure,
            on_progress=on_progress,
            call_settings=call_settings,
            environment=env,
            dial=dial,
        )
        async with opening as client:
            yield client

    @classmethod
    async def recover(
        cls,
        vault: str | Path,
        *,
        words: str,
        relay: str,
        token: TokenSource,
        passphrase: Passphrase | None = None,
        keyring: bool = False,
        key: Key | None = None,
        name: str = "",
        unchecked: bool = False,
        allow_insecure: bool = False,
        on_restored: OnRestored | None = None,
        environment: Environment | None = None,
        dial: Dial | None = None,
    ) -> Recovered:
        """Make the vault of somebody who comes back with the words of their recovery kit; then `open` it.

        The earlier devices are shut out of every conversation as soon as one of the others is online. Cut
        off, it goes on where it was when it is called again. `unchecked` goes on although no earlier device
        at the relay knows these words. Raises `RecoveryWordsInvalid`, `RecoveryRefused`, `VaultError` or
        `RelayError`.
        """
        return await recover_vault(
            Path(vault),
            await asyncio.to_thread(vault_key(vault, passphrase, keyring, key)),
            words=words,
            name=name,
            address=relay_address(relay, allow_insecure=allow_insecure),
            token=token,
            unchecked=unchecked,
            environment=environment or Environment(),
            dial=dial,
            on_restored=on_restored,
        )

    # Who

    @property
    def devices(self) -> Devices:
        """This person's own devices."""
        return Devices(self._engine)

    @property
    def user(self) -> UserId:
        """The portal's id for this user."""
        return self._engine.account.user

    @property
    def name(self) -> str:
        """What this user wants to be called; empty if they did not say."""
        return self._engine.account.name

    @property
    def safety_number(self) -> str:
        """This user's 30 digits, for others to compare."""
        account = self._engine.account
        return safety_number(account.portal, account.user, account.manifest.identity_key)

    async def set_name(self, name: str) -> None:
        """Change what the others call this user. Raises `ContentInvalid`."""
        self._engine.check()
        self._rename(name)

    def _rename(self, name: str) -> None:
        profile = Profile(name)
        self._store(replace(self._engine.account.record, name=name))
        for conversation in self._engine.conversations.values():
            if conversation.somebody_listens:
                conversation.say(profile, message_id=conversation.context.new_id(), in_history=False)

    def _store(self, record: AccountRecord) -> None:
        with self._engine.vault.transaction() as tx:
            tx.put(spaces.ACCOUNT, _KEY, record.serialize())
        self._engine.use_account(Account(record))

    # The recovery kit

    @property
    def recovery_kit_due(self) -> bool:
        """Whether this person has yet to print their recovery kit: remind them of it until they have."""
        return self._engine.account.recovery_seed is not None

    def recovery_kit(self) -> RecoveryKit:
        """The page to print (`client_sdk.kit` makes text or PDF of it). Raises `UsageError` once made."""
        account = self._engine.account
        return RecoveryKit(
            portal=account.portal,
            user=account.user,
            name=account.name,
            seed=self._seed(),
            safety_number=self.safety_number,
            made_at=int(self._engine.environment.now()),
        )

    async def recovery_kit_made(self, words: Mapping[int, str]) -> None:
        """The person has the page: its words leave this device for good.

        `words` are at least two of the page's words by their numbers, as the person typed them off it. Raises
        `RecoveryWordsInvalid` if one is wrong, `UsageError` if they are too few or the kit was made before.
        """
        seed = self._seed()
        if len(words) < KIT_WORDS_ASKED:
            raise UsageError(
                f"Ask for {KIT_WORDS_ASKED} of the words: then it is certain that they are on paper."
            )
        for number, word in words.items():
            seed.check_word(number, word)
        with self._engine.vault.transaction() as tx:
            archiving.put_writer(tx, archiving.read_writer(tx, self._engine.account))
        self._store(replace(self._engine.account.record, recovery=b""))

    @property
    def archive_wanted(self) -> bool:
        """Whether this device keeps a sealed archive of its history at the relay, for the recovery words."""
        return self._engine.archives.wanted

    async def keep_archive(self) -> None:
        """Keep one from now on, with everything that is here already: it ends with the engagement.

        Only the recovery words open it. Raises `UsageError` on a device that was linked.
        """
        with self._engine.vault.transaction() as tx:
            archiving.want(tx, self._engine.account, wanted=True)
        self._engine.archives.changed(archiving.SOON)

    async def erase_archive(self) -> None:
        """Keep no archive any more; what is at the relay is erased. Raises `RelayError`."""
        await self._engine.archives.erase()

    async def wait_archived(self) -> None:
        """Bring everything that is new into the archive now. Raises `RelayError`."""
        await self._engine.archives.catch_up()

    def _seed(self) -> RecoverySeed:
        seed = self._engine.account.recovery_seed
        if seed is None:
            raise UsageError(
                "The recovery kit was made already, and this device does not keep its words: use the printed "
                "page."
            )
        return seed

    @property
    def read_receipts(self) -> bool:
        """Whether the others are told how far this user has read, and this user how far they have."""
        with self._engine.vault.transaction() as tx:
            return reading.shares(tx)

    async def set_read_receipts(self, on: bool) -> None:
        """Tell how far this user has read, or keep it private, on this device and in all engagements.

        Who keeps it private is not shown how far the others have read. What was read while it was private
        is not told later.
        """
        self._engine.check()
        with self._engine.vault.transaction() as tx:
            reading.set_shares(tx, on)
        for conversation in self._engine.conversations.values():
            conversation.read_receipts_changed()
        self._engine.notify()

    # Where

    @property
    def online(self) -> bool:
        """Whether there is a connection to the relay."""
        return self._engine.link.online

    @property
    def status(self) -> LinkStatus:
        """Whether there is a connection, and if not, why."""
        return self._engine.link.status

    async def wait_online(self) -> None:
        """Wait until there is a connection to the relay; raises `AccessRefused` when it lets nobody in."""
        await self._engine.wait_for(lambda: self._engine.link.online)

    # What

    async def engagement(self, engagement: str) -> Engagement:
        """The engagement with this id; one that this device does not know yet is looked up at the relay.

        Raises `EngagementUnavailable` if there is none, it is not this user's, or it had ended before this
        device knew it.
        """
        wanted = _parse(engagement)
        if wanted not in self._engine.conversations:
            await self._engine.wait_for(
                lambda: self._engine.listed.is_set() or wanted in self._engine.conversations
            )
        conversation = self._engine.conversations.get(wanted)
        if conversation is None:
            raise EngagementUnavailable("There is no such engagement, or this user does not take part in it.")
        return Engagement(self._engine, conversation)

    async def wait_invited(self) -> list[Engagement]:
        """Wait until this user takes part in an engagement that goes on, and return all such.

        Raises `AccessRefused` when the relay does not let this device in.
        """
        known = self._engine.conversations
        await self._engine.wait_for(lambda: any(not found.is_ended for found in known.values()))
        return [room for room in await self.engagements() if not room.ended]

    async def engagements(self) -> list[Engagement]:
        """All engagements that this device knows, those that have ended included."""
        self._engine.check()
        return [Engagement(self._engine, found) for found in self._engine.conversations.values()]


def _parse(engagement: str) -> EngagementId:
    try:
        return parse_engagement_id(engagement)
    except ValueError:
        raise UsageError("This is not the id of an engagement: it begins with eng_.") from None


async def _account(vault: Vault, token: TokenSource, name: str | None, env: Environment) -> Account:
    with vault.transaction() as tx:
        stored = tx.get(spaces.ACCOUNT, _KEY)
        if stored is not None:
            before = Account(AccountRecord.parse(stored))
            account = with_known_suites(before)
            if account is not before:
                tx.put(spaces.ACCOUNT, _KEY, account.record.serialize())
            return account
    if name is not None:
        Profile(name)
    portal, user = token_subject(await token())
    account = create_account(portal, user, name or "", env.rng)
    with vault.transaction() as tx:
        tx.put(spaces.ACCOUNT, _KEY, account.record.serialize())
    return account


def _engine(
    account: Account,
    vault: Vault,
    address: RelayAddress,
    token: TokenSource,
    env: Environment,
    dial: Dial | None,
    path: Path,
    http: aiohttp.ClientSession,
    call_settings: CallSettings,
) -> Engine:
    proof = DeviceProof(
        origin=address.origin,
        portal=account.portal,
        device_key=account.device_key.public,
        sign=account.device_key.sign_labelled,
    )

    async def checked_token() -> str:
        fetched = await token()
        check_subject(account, fetched)
        return fetched

    def make_link(engine: Engine) -> Link:
        dialling = dial or WebSocketDial(http, address.connect, moved=engine.network_changed)
        return Link(dialling, proof, checked_token, engine, env)

    def make_files(engine: Engine) -> Files:
        spool = path.with_name(path.name + ".files")
        return Files(engine, base=address.base, spool=spool, session=lambda: http)

    return Engine(account, vault, env, make_link, make_files, call_settings)
