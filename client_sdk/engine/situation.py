"""Where one conversation stands, on this device and at the relay, and the one way in which that changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from client_sdk.delivery import MOST_IN_FLIGHT, SecurityAlarm
from client_sdk.engine import journal, spaces, suites, trusting
from client_sdk.engine.context import Context
from client_sdk.engine.records import Phase
from client_sdk.engine.standing import Standing, Work, load
from client_sdk.engine.suites import Protection
from client_sdk.engine.whispers import Whispers
from client_sdk.errors import UpdateRequired
from client_sdk.identity.conversation import GENERATION_EPOCHS
from client_sdk.transport import Environment
from client_sdk.vault import Vault
from relay.wire import frames as fr
from relay.wire.ids import EngagementId


class Situation:
    """What this device knows: durably (`standing`), and of the present connection."""

    def __init__(
        self, engagement: EngagementId, context: Context, vault: Vault, environment: Environment
    ) -> None:
        self.id = engagement
        self.context = context
        self._vault = vault
        self._env = environment
        self.engagement: fr.Engagement | None = None
        """The relay's last word about it."""
        self.identities: Mapping[str, bytes] = {}
        """The newest identity key that this device knows of each person, kept by the engine."""
        self.stopped = ""
        """The code by which the relay stopped us; empty if it did not."""
        self.released: Callable[[Sequence[str]], None] = lambda _blobs: None
        """Told which files at the relay nobody can open any more."""
        self._opened: fr.Opened | None = None
        self._open_request = 0
        self._needed_commit = 0
        with vault.transaction() as tx:
            self.standing: Standing = load(tx, engagement)
        self.whispers = Whispers(engagement, context, vault, environment)
        self.whispers.follow(self.standing)

    @property
    def alarm(self) -> SecurityAlarm | None:
        """The alarm that waits for a person's decision."""
        return self.standing.alarm

    @property
    def is_member(self) -> bool:
        return self.standing.record.phase is Phase.MEMBER

    @property
    def repairing(self) -> bool:
        """Whether the relay lost something that this device is bringing back."""
        record, view = self.standing.record, self.standing.view
        lost = record.reoffers
        back = () if view is None else view.devices.intersection(record.removed)
        behind = record.phase is Phase.REPAIRING or self.below_floor or bool(back)
        return behind or any(item.id in lost for item in self.standing.box.items)

    @property
    def is_ended(self) -> bool:
        return self.engagement is not None and self.engagement.status == "ended"

    @property
    def is_open(self) -> bool:
        """Whether the relay delivers the stream on the present connection."""
        return self._opened is not None

    @property
    def opening(self) -> bool:
        """Whether the relay was asked, on the present connection, to deliver the stream."""
        return self._open_request > 0

    @property
    def caught_up(self) -> bool:
        """Whether everything is here that the relay had when the stream was opened."""
        return self._opened is not None and (
            self.standing.record.cursor >= self._opened.head or not self._opened.member
        )

    @property
    def may_commit(self) -> bool:
        """Whether a commit of ours could be sent now."""
        standing = self.standing
        return (
            self.caught_up
            and standing.pending is None
            and standing.record.phase is not Phase.REPAIRING
            and not (standing.record.alarm or self.stopped or self.is_ended)
            and standing.record.last_commit >= self._needed_commit
            and len(standing.box.in_flight) < MOST_IN_FLIGHT
            and not standing.box.late
        )

    @property
    def must_create(self) -> bool:
        """Whether there is no group yet, and this device's user is one of those who may make it."""
        opened, engagement, record = self._opened, self.engagement, self.standing.record
        if opened is None or engagement is None or record.phase is not Phase.OUTSIDE:
            return False
        invited = any(person.user == self.context.account.user for person in engagement.participants)
        return invited and opened.last_commit == 0 == record.last_commit

    @property
    def list_is_known(self) -> bool:
        """Whether the group has this user's newest device list: a device that left it reads nothing more."""
        view, own = self.standing.view, self.context.account.manifest
        governing = None if view is None else view.governing(own.user)
        return governing is not None and governing.version >= own.version

    @property
    def outdated_leaves(self) -> tuple[int, ...]:
        """Leaves of people of whom this device knows another identity by now, from another conversation.

        And those of devices that had left before the relay lost that they did.
        """
        view, known = self.standing.view, self.identities
        if view is None:
            return ()
        return tuple(
            leaf.index
            for leaf in view.leaves
            if known.get(leaf.user, leaf.manifest.identity_key) != leaf.manifest.identity_key
            or leaf.device in self.standing.record.removed
        )

    @property
    def below_floor(self) -> bool:
        """Whether the group is not yet as far again as it was before the relay lost that."""
        record = self.standing.record
        return record.phase is Phase.MEMBER and record.highest_epoch < record.floor

    @property
    def must_rise(self) -> bool:
        """Whether more epochs of this group bring it there: to a group that takes over it moves by itself."""
        record = self.standing.record
        same = record.floor // GENERATION_EPOCHS == record.highest_epoch // GENERATION_EPOCHS
        return self.below_floor and same

    @property
    def is_supported(self) -> bool:
        """Whether this version has every feature that the conversation requires."""
        view = self.standing.view
        try:
            if view is not None:
                view.info.check_features()
        except UpdateRequired:
            return False
        return True

    @property
    def in_doubt(self) -> bool:
        """Whether the newest commit that was void here may have opened for others: they may have gone on."""
        with self._vault.transaction() as tx:
            return tx.get(spaces.DOUBT, spaces.conversation_key(self.id)) is not None

    @property
    def protection(self) -> Protection:
        """Whether what is said here stays secret from somebody with a quantum computer."""
        record, group = self.standing.record, self.standing.group
        suite = record.suite if group is None else group.suite.id
        return suites.protection(suite, 1 + record.highest_epoch // GENERATION_EPOCHS)

    @property
    def somebody_listens(self) -> bool:
        """Whether a device of another user is in the group."""
        view = self.standing.view
        return view is not None and any(leaf.user != self.context.account.user for leaf in view.leaves)

    @contextmanager
    def work(self, name: str) -> Iterator[Work]:
        """One change: what happens inside is durable when the block ends, or did not happen."""
        self._env.step(f"{name}: begin")
        with self._vault.transaction() as tx:
            work = Work(tx, self.id, self.standing, self._env.now())
            before = work.record.alarm
            yield work
            alarm = work.record.alarm
            if alarm and alarm != before:
                self._keep_alarm(work)
            self._env.step(f"{name}: made")
            standing = work.store()
            self._env.step(f"{name}: stored")
        self._env.step(f"{name}: durable")
        self.standing = standing
        self.whispers.follow(standing)
        if work.released:
            self.released(work.released)

    def _keep_alarm(self, work: Work) -> None:
        alarm = Standing(work.record).alarm
        if alarm is not None:
            seq, notice_id = work.record.cursor, self.context.new_id()
            sentence = trusting.told(work.tx, alarm)
            journal.keep_notice(work, journal.ALARM, sentence, seq, notice_id, code=alarm.code)
