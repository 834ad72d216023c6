"""The engine of one client: takes what the link brings to the conversations, and runs what takes time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final

from client_sdk.calls import CallSettings
from client_sdk.engine import decisions, key_packages, spaces, waiting
from client_sdk.engine.account import Account
from client_sdk.engine.admitting import Admissions
from client_sdk.engine.archiving import Archives
from client_sdk.engine.calling import Calls
from client_sdk.engine.context import Context
from client_sdk.engine.conversation import Conversation
from client_sdk.engine.files import Files
from client_sdk.engine.histories import Arriving
from client_sdk.engine.linking import Linking
from client_sdk.engine.linkline import Line
from client_sdk.engine.ownlist import OwnList
from client_sdk.engine.records import Phase
from client_sdk.engine.requests import Requests
from client_sdk.errors import AccessRefused, RelayError, VaultError
from client_sdk.identity import IdentityChanged, TrustRecord
from client_sdk.transport import Environment, Incoming, Link
from client_sdk.vault import Vault
from relay.wire import decode_from_relay, encode
from relay.wire import frames as fr
from relay.wire.ids import EngagementId, UserId
from relay.wire.limits import MAX_ENGAGEMENTS_PER_USER

_log = logging.getLogger(__name__)

LOAD_PAGE: Final = 1000


class Engine:
    """Joins vault and link. It is the link's handler; `start` and `stop` are the client's."""

    def __init__(
        self,
        account: Account,
        vault: Vault,
        environment: Environment,
        make_link: Callable[[Engine], Link],
        make_files: Callable[[Engine], Files],
        call_settings: CallSettings,
    ) -> None:
        self.account = account
        self.vault = vault
        self.environment = environment
        self.link = make_link(self)
        self.link.failed = self.notify
        self.requests = Requests(self.link)
        self.files = make_files(self)
        self.archives = Archives(self)
        self.identities: dict[str, bytes] = {}
        self.own = OwnList(self)
        self.linking = Linking(self, self.own)
        self.arriving = Arriving(self)
        self._lines: dict[bytes, Line] = {}
        self.conversations: dict[EngagementId, Conversation] = {}
        self.calls: dict[EngagementId, Calls] = {}
        self._call_settings = call_settings
        self.listed = asyncio.Event()
        self._changed_meanwhile: set[EngagementId] = set()
        """Set once the relay has told, on the present connection, which engagements there are."""
        self.failure: BaseException | None = None
        self._told_again = False
        self._admissions: dict[EngagementId, Admissions] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._watchers: set[asyncio.Event] = set()

    # Life

    def start(self) -> None:
        """Load what the vault knows, and begin to connect."""
        with self.vault.transaction() as tx:
            stored = tx.scan(spaces.ENGAGEMENT, limit=LOAD_PAGE)
        for key, value in stored:
            conversation = self._conversation(EngagementId(key.decode("ascii")))
            conversation.engagement = _read_engagement(value)
        self._learn_identities()
        self.files.resume()
        for calls in self.calls.values():
            calls.resume()
        self.spawn(self.archives.run())
        self.linking.resume()
        self.arriving.resume()
        self.spawn(self.link.run())

    async def stop(self) -> None:
        """End everything that runs; nothing that was said is lost by it."""
        await asyncio.gather(*(calls.close() for calls in self.calls.values()))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something until the engine stops; what it raises is shown by `check`."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self.failure is None:
            self.failure = error
            self.notify()

    def check(self) -> None:
        """Raise what ended the engine, if something did: a fault of this program or of its disk."""
        if self.failure is not None:
            raise self.failure

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something after so many seconds."""

        async def wait() -> None:
            await self.environment.sleep(seconds)
            try:
                call()
            except VaultError as error:
                # A full disk, say. Nothing is lost; after connecting anew everything that is due is done.
                _log.warning("the vault could not be written: %s", error.code)
                self.link.reconnect()

        self.spawn(wait())

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; it is asked again whenever anything changed."""
        changed = asyncio.Event()
        self._watchers.add(changed)
        try:
            while True:
                self.check()
                if holds():
                    return
                await changed.wait()
                changed.clear()
        finally:
            self._watchers.discard(changed)

    async def wait_within(self, seconds: float, holds: Callable[[], bool]) -> bool:
        """Wait until something holds, at most so long; whether it does."""
        waiting = asyncio.ensure_future(self.wait_until(holds))
        sleeping = asyncio.ensure_future(self.environment.sleep(seconds))
        try:
            await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                waiting.result()
            return waiting.done()
        finally:
            waiting.cancel()
            sleeping.cancel()
            await asyncio.gather(waiting, sleeping, return_exceptions=True)

    def open_line(self, channel: bytes) -> Line:
        """The line to another device of this user that meets this one at a channel."""
        return self._lines.setdefault(channel, Line(self.requests, channel))

    def close_line(self, line: Line) -> None:
        """Nothing more is heard from there."""
        self._lines.pop(line.channel, None)

    async def wait_for(self, holds: Callable[[], bool]) -> None:
        """Wait for a person: as `wait_until`, but not past a refusal, which only a person can mend.

        Raises `AccessRefused`.
        """

        def holds_or_hopeless() -> bool:
            if holds():
                return True
            error = self.link.status.error
            if isinstance(error, AccessRefused):
                raise error
            return False

        await self.wait_until(holds_or_hopeless)

    def notify(self) -> None:
        """Something changed: whoever waits looks again."""
        for watcher in self._watchers:
            watcher.set()

    def changed(self, conversation: Conversation) -> None:
        """Something about a conversation is new."""
        self.own.follow(conversation)
        alarm = conversation.alarm
        if isinstance(alarm, IdentityChanged) and self._is_new(alarm):
            self._learn_identities()
        admissions = self._admissions.get(conversation.id)
        if admissions is not None:
            admissions.wake()
        self.notify()

    def use_account(self, account: Account) -> None:
        """The user's own record has changed."""
        self.account = account
        for conversation in self.conversations.values():
            conversation.context = replace(conversation.context, account=account)

    def admissible(self, conversation: Conversation) -> Callable[[UserId], bool]:
        """Whether a user may come into a conversation without anybody being asked."""
        return self._admissions[conversation.id].admissible

    def decided(self, user: UserId) -> None:
        """A person has decided about somebody's new key: that holds in every conversation with them."""
        self._learn_identities()
        for conversation in self.conversations.values():
            decisions.settle_identity(conversation, user)
            self._admissions[conversation.id].decided()

    def _is_new(self, alarm: IdentityChanged) -> bool:
        known = self.identities.get(alarm.user)
        return known is None or known.hex() != alarm.evidence.get("identity")

    def _learn_identities(self) -> None:
        """Whom this device knows by which key: where somebody still has an earlier one, nothing is sent."""
        with self.vault.transaction() as tx:
            stored = tx.scan(spaces.TRUST, limit=LOAD_PAGE)
        for _, value in stored:
            record = TrustRecord.parse(value)
            self.identities[record.user] = record.newest.identity_key
        for admissions in self._admissions.values():
            admissions.wake()

    # The link

    def connected(self, ready: fr.Ready) -> None:
        """A connection is ready: hear which engagements there are, and publish key packages."""
        self._told_again = False
        self.spawn(self._begin(ready.key_packages_left))
        self.notify()

    def disconnected(self) -> None:
        """The connection is gone."""
        self.listed.clear()
        self.requests.fail_all()
        for line in self._lines.values():
            line.broken()
        for conversation in self.conversations.values():
            conversation.disconnected()
        self.notify()

    def network_changed(self) -> None:
        """This device's network is another one: connect anew, and have calls look for a new way."""
        self.link.reconnect()
        for calls in self.calls.values():
            calls.network_changed()

    def received(self, frames: Sequence[Incoming]) -> None:
        """The frames of one message, in their order."""
        for frame in frames:
            self._take(frame)

    def _take(self, frame: Incoming) -> None:
        match frame:
            case fr.Entries():
                self._of(frame.stream, lambda c: c.on_entries(frame.entries))
            case fr.Appended():
                self._of(frame.stream, lambda c: c.on_appended(frame.results))
            case fr.Refused():
                self._of(frame.stream, lambda c: c.on_refused(frame))
            case fr.Opened():
                self._of(frame.stream, lambda c: c.on_opened(frame))
            case fr.EphemeralFrom():
                self._of(frame.stream, lambda c: c.on_ephemeral(frame.body))
            case fr.EngagementChanged():
                self._changed_meanwhile.add(frame.engagement.id)
                self._on_engagement(frame.engagement)
            case fr.RendezvousFrom():
                if frame.channel in self._lines:
                    self._lines[frame.channel].feed(frame.body)
            case fr.KeyPackagesLow():
                self.spawn(self._fill_up(frame.left))
            case _:
                self._take_answer(frame)

    def _take_answer(self, frame: Incoming) -> None:
        if not self.requests.take(frame) and isinstance(frame, fr.Error) and frame.request:
            for conversation in self.conversations.values():
                conversation.on_error(frame)

    def _of(self, stream: EngagementId, call: Callable[[Conversation], None]) -> None:
        conversation = self.conversations.get(stream)
        if conversation is not None:
            call(conversation)

    # Engagements

    async def _begin(self, key_packages_left: int) -> None:
        try:
            self._changed_meanwhile.clear()
            answer = await self.requests.ask(fr.ListEngagements, fr.Engagements)
            for engagement in answer.engagements:
                if engagement.id not in self._changed_meanwhile:  # else that is the newer word
                    self._on_engagement(engagement)
            self.listed.set()
            self.notify()
            await self._publish(key_packages_left)
            await self.own.connected()
        except (RelayError, VaultError) as error:
            _log.info("a connection could not be begun: %s", error.code)
            self.link.reconnect()

    def _on_engagement(self, engagement: fr.Engagement) -> None:
        known = self.conversations.get(engagement.id)
        if known is None and (
            engagement.status != "active" or len(self.conversations) >= MAX_ENGAGEMENTS_PER_USER
        ):
            return
        conversation = known or self._conversation(engagement.id)
        if conversation.engagement != engagement:
            with self.vault.transaction() as tx:
                packed = encode([fr.EngagementChanged(engagement)])
                tx.put(spaces.ENGAGEMENT, spaces.conversation_key(engagement.id), packed)
        if not conversation.opening and engagement.status == "active" and self.link.online:
            conversation.open()
        conversation.on_engagement(engagement)
        self._note_earlier(conversation)

    def _note_earlier(self, conversation: Conversation) -> None:
        """Who starts anew without the kit had other devices: that these turn up again is no news."""
        if conversation.standing.record.phase is Phase.OUTSIDE and waiting.starts_anew(conversation):
            with self.vault.transaction() as tx:
                for device in waiting.earlier_devices(conversation):
                    tx.put(spaces.EARLIER, device.device, b"")

    def _conversation(self, engagement: EngagementId) -> Conversation:
        conversation = self.conversations[engagement] = Conversation(
            engagement,
            context=Context(self.account, self.environment.rng),
            vault=self.vault,
            link=self.link,
            environment=self.environment,
            later=self.later,
            changed=self.changed,
        )
        admissions = self._admissions[engagement] = Admissions(
            conversation, requests=self.requests, vault=self.vault, environment=self.environment
        )
        self.spawn(admissions.run())
        calls = self.calls[engagement] = Calls(self, conversation, self._call_settings)

        def stored(placed: Sequence[bytes], said: Sequence[bytes]) -> None:
            calls.stored(placed, said)
            self.archives.changed(len(placed) + len(said))

        conversation.stored = stored
        conversation.identities = self.identities
        conversation.released = self.files.forget
        conversation.key_packages_spent = self._replace_spent
        conversation.relay_was_restored = self._relay_was_restored
        return conversation

    # Key packages

    def _replace_spent(self) -> None:
        """One of last resort that was used is replaced at once; the relay says when the others run low."""
        self.spawn(self._fill_up(key_packages.SINGLE_USE))

    def _relay_was_restored(self) -> None:
        """Have the relay know this user's device list and key packages again; once a connection is enough."""
        if not self._told_again:
            self._told_again = True
            self.spawn(self._tell_again())

    async def _tell_again(self) -> None:
        with self.vault.transaction() as tx:
            key_packages.forget_published(tx)
        try:
            await self.own.relay_was_restored()
            await self._publish(0)
        except (RelayError, VaultError) as error:
            _log.info("the relay was restored and could not be told everything: %s", error.code)

    async def _fill_up(self, left: int) -> None:
        try:
            await self._publish(left)
        except (RelayError, VaultError) as error:
            _log.info("key packages could not be published: %s", error.code)

    async def _publish(self, left: int) -> None:
        with self.vault.transaction() as tx:
            publication = key_packages.prepare(
                tx, self.account, left, int(self.environment.now()), self.environment.rng
            )
        if publication is None:
            return
        await self.requests.ask(
            lambda n: fr.PublishKeyPackages(n, publication.packages, publication.last_resort),
            fr.Published,
        )
        with self.vault.transaction() as tx:
            key_packages.published(tx, publication)


def _read_engagement(data: bytes) -> fr.Engagement | None:
    frame = decode_from_relay(data)[0]
    return frame.engagement if isinstance(frame, fr.EngagementChanged) else None
