"""Letting devices in: watches one conversation, claims key packages of those who wait, and commits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from client_sdk.delivery import SecurityAlarm
from client_sdk.engine import spaces, trusting
from client_sdk.engine.account import SUITE
from client_sdk.engine.conversation import Conversation
from client_sdk.engine.key_packages import parse_claimed
from client_sdk.engine.membership import (
    WAIT_PER_PLACE_SECONDS,
    Candidate,
    Made,
    Plan,
    make_commit,
    make_group,
    plan_commit,
    roles_of,
    waiting_devices,
)
from client_sdk.engine.records import CommitReason
from client_sdk.engine.requests import Requests
from client_sdk.errors import ApprovalRequired, CoachRelayError, IdentityError, RelayError, VaultError
from client_sdk.identity import CredentialPolicy, VerifiedManifest, check_admission, manifest_of
from client_sdk.identity.alarms import ManifestRolledBack
from client_sdk.mls import KeyPackage, MLSError, verify_key_package
from client_sdk.transport import Environment
from client_sdk.vault import Vault
from relay.wire import WireError
from relay.wire import frames as fr
from relay.wire.ids import DeviceId, UserId
from relay.wire.limits import MAX_CLAIMED_DEVICES

_log = logging.getLogger(__name__)

REFUSED_SECONDS: Final = 60.0  # claiming a device's key packages again and again would use them up
MOST_DOUBLINGS: Final = 10  # in the end it is tried about once a day
RETRY_SECONDS: Final = 5.0
_NO_PACKAGE: Final = "no_key_package"


class Admissions:
    """Makes the commits of one conversation that its members owe to those who wait, one at a time."""

    def __init__(
        self, conversation: Conversation, *, requests: Requests, vault: Vault, environment: Environment
    ) -> None:
        self._conversation = conversation
        self._requests = requests
        self._vault = vault
        self._env = environment
        self._due = asyncio.Event()
        self._refused: dict[DeviceId, tuple[float, int]] = {}

    def wake(self) -> None:
        """Something changed: look again."""
        self._due.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self._look()
            except (RelayError, VaultError) as error:
                _log.info("a device could not be let in just now: %s", error.code)
                await self._env.sleep(RETRY_SECONDS)
                self._due.set()

    async def _look(self) -> None:
        if not self._conversation.may_commit:
            return
        if self._conversation.must_create:
            await self._create()
            return
        plan = self._plan()
        if plan is not None and plan.places:
            await self._env.sleep(self._env.fraction() * WAIT_PER_PLACE_SECONDS * plan.places)
            plan = self._plan() if self._conversation.may_commit else None
        if plan is not None:
            await self._commit(plan)

    # What is to be done

    def admissible(self, user: UserId) -> bool:
        """Whether a device of this user may be added without asking a person."""
        record, own = self._conversation.standing.record, self._conversation.context.account.user
        engagement = self._conversation.engagement
        if user == own or user in record.met or user in record.admitted:
            return True
        roster = set(roles_of(engagement)) if engagement is not None else set()
        return not record.met and roster == {own, user}

    def _plan(self) -> Plan | None:
        standing, engagement = self._conversation.standing, self._conversation.engagement
        if standing.view is None or standing.group is None or engagement is None:
            return None
        return plan_commit(
            standing.view,
            standing.group.own_leaf_index,
            self._conversation.context.account.manifest,
            engagement,
            admissible=self.admissible,
            refused=self._refused_now(),
        )

    def _refused_now(self) -> set[DeviceId]:
        now = self._env.monotonic()
        return {device for device, (until, _) in self._refused.items() if until > now}

    def _refuse(self, device: DeviceId, code: str) -> None:
        """Leave the device out for a while, longer each time."""
        _log.info("a waiting device is not added: %s", code)
        _, before = self._refused.get(device, (0.0, 0))
        wait = REFUSED_SECONDS * 2 ** min(before, MOST_DOUBLINGS)
        self._refused[device] = (self._env.monotonic() + wait, before + 1)
        self._conversation.later(wait + 1.0, self.wake)

    # Doing it

    async def _create(self) -> None:
        engagement = self._conversation.engagement
        if engagement is None:
            return
        waiting = waiting_devices(
            engagement,
            present={self._conversation.context.account.device},
            admissible=self.admissible,
            refused=self._refused_now(),
        )
        candidates = await self._claim(waiting)
        if self._conversation.may_commit and self._conversation.must_create:
            made = make_group(
                engagement,
                self._conversation.context.account,
                candidates,
                now=int(self._env.now()),
                rng=self._conversation.context.rng,
            )
            self._conversation.commit(made, CommitReason.CREATE, after_commit=0)

    async def _commit(self, plan: Plan) -> None:
        after_commit = self._conversation.standing.record.last_commit
        candidates = await self._claim(plan.waiting) if plan.waiting else []
        if not (candidates or plan.removes or plan.refresh):
            return
        if self._conversation.standing.record.last_commit != after_commit or self._conversation.alarm:
            return  # the group went on meanwhile, and wakes us again
        made = self._make(plan, candidates)
        if made is not None:
            self._conversation.commit(made, CommitReason.MEMBERSHIP, after_commit=after_commit)

    def _make(self, plan: Plan, candidates: Sequence[Candidate]) -> Made | None:
        standing = self._conversation.standing
        if standing.group is None or standing.view is None:
            return None
        try:
            return make_commit(
                standing.group,
                standing.view,
                self._conversation.context.account,
                candidates,
                removes=plan.removes,
                now=int(self._env.now()),
                rng=self._conversation.context.rng,
            )
        except (MLSError, IdentityError, WireError) as error:
            for device in plan.waiting:
                self._refuse(device, error.code)
            return None

    async def _claim(self, devices: Sequence[DeviceId]) -> list[Candidate]:
        """The devices of these whose key packages are good and whose people may come in."""
        if not devices:
            return []
        wanted = tuple(devices[:MAX_CLAIMED_DEVICES])
        answer = await self._requests.ask(
            lambda number: fr.ClaimKeyPackages(number, self._conversation.id, wanted), fr.KeyPackages
        )
        given = {claimed.device: claimed.package for claimed in answer.packages}
        candidates = [self._examine(device, given.get(device)) for device in wanted]
        return [candidate for candidate in candidates if candidate is not None]

    def _examine(self, device: DeviceId, package: bytes | None) -> Candidate | None:
        if package is None:
            self._refuse(device, _NO_PACKAGE)
            return None
        try:
            parsed = parse_claimed(package, device)
            manifest = manifest_of(parsed.leaf_node.credential, parsed.leaf_node.signature_key)
            return self._check(parsed, manifest)
        except SecurityAlarm as alarm:
            self._refuse(device, alarm.code)
            # An old list is what a device has that its user has revoked: it stays outside, and that is all.
            if not isinstance(alarm, ManifestRolledBack) and self._is_news(manifest):
                self._conversation.raise_alarm(alarm)
        except (MLSError, CoachRelayError) as error:
            self._refuse(device, error.code)
        return None

    def _is_news(self, manifest: VerifiedManifest) -> bool:
        """Whether this device list alarms for the first time: a person decides about it once."""
        key = manifest.user.encode() + manifest.hash
        with self._vault.transaction() as tx:
            known = tx.get(spaces.FOREIGN, key) is not None
            tx.put(spaces.FOREIGN, key, b"")
        return not known

    def _check(self, package: KeyPackage, manifest: VerifiedManifest) -> Candidate:
        leaf, account = package.leaf_node, self._conversation.context.account
        engagement = self._conversation.engagement
        roles = roles_of(engagement) if engagement is not None else {}
        self._check_admission(manifest, leaf.signature_key, set(roles))
        if manifest.user not in roles:
            raise ApprovalRequired("This person is not on the engagement's roster.")
        policy = CredentialPolicy(account.portal)
        verified = verify_key_package(package, suite=SUITE, auth=policy, now=int(self._env.now()))
        return Candidate(verified, manifest, roles[manifest.user])

    def _check_admission(self, manifest: VerifiedManifest, device_key: bytes, roster: set[UserId]) -> None:
        record = self._conversation.standing.record
        with self._vault.transaction() as tx:
            known = trusting.trust_of(tx, manifest.user)
        check_admission(
            manifest,
            device_key,
            own=self._conversation.context.account.manifest,
            record=known,
            roster=roster,
            met=[UserId(user) for user in record.met],
            approved=manifest.user in record.admitted,
        )
