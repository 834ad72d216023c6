"""Letting devices in: watches one conversation, claims key packages of those who wait, and commits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from client_sdk.engine import suites
from client_sdk.engine.claiming import Claims
from client_sdk.engine.conversation import Conversation
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
from client_sdk.engine.renewing import lists_of, make_renewal, plan_renewal
from client_sdk.engine.requests import Requests
from client_sdk.errors import IdentityError, RelayError, VaultError
from client_sdk.mls import CipherSuite, MLSError
from client_sdk.transport import Environment
from client_sdk.vault import Vault
from relay.wire import WireError
from relay.wire.ids import DeviceId, UserId, device_id

_log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 5.0
_LEFT: Final = "it was just removed"


class Admissions:
    """Makes the commits of one conversation that its members owe to those who wait, one at a time."""

    def __init__(
        self, conversation: Conversation, *, requests: Requests, vault: Vault, environment: Environment
    ) -> None:
        self._conversation = conversation
        self._env = environment
        self._due = asyncio.Event()
        self._present: frozenset[DeviceId] = frozenset()
        self._claims = Claims(
            conversation, requests=requests, vault=vault, environment=environment, wake=self.wake
        )

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
        if plan is not None and plan.renews is not None:
            await self._renew(plan.waiting, plan.renews)
        elif plan is not None:
            await self._commit(plan)

    def decided(self) -> None:
        """A person has decided about somebody: whoever was left out is looked at again."""
        self._claims.forget_refusals()

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
        for device in self._present - standing.view.devices:
            self._claims.refuse(
                device, _LEFT
            )  # who removed it may know why, and must get to speak without it
        self._present = standing.view.devices
        plan = plan_commit(
            standing.view,
            standing.group.own_leaf_index,
            self._conversation.context.account.manifest,
            engagement,
            admissible=self.admissible,
            refused=self._claims.refused,
        )
        outdated = self._conversation.outdated_leaves
        if outdated:
            own = standing.group.own_leaf_index
            plan = plan or Plan((), (), False, standing.view.places_before(own))
            return replace(plan, removes=tuple(sorted({*plan.removes, *outdated} - {own})))
        if self._conversation.must_rise:
            plan = plan or Plan((), (), False, standing.view.places_before(standing.group.own_leaf_index))
            return replace(plan, refresh=True)
        plan = plan or plan_renewal(standing.group, standing.view, engagement, self._claims.refused)
        moves = plan is not None and plan.renews is not None
        # The others may have moved already, by an entry that did not open here: a second move would part us.
        return None if moves and self._conversation.in_doubt else plan

    # Doing it

    async def _create(self) -> None:
        engagement = self._conversation.engagement
        if engagement is None:
            return
        waiting = waiting_devices(
            engagement,
            present={self._conversation.context.account.device},
            admissible=self.admissible,
            refused=self._claims.refused,
        )
        account = self._conversation.context.account
        offers = await self._claims.offers(waiting)
        suite = suites.choose(account.manifest, [offer.newest for offer in offers])
        candidates = await self._claims.candidates(offers, suite)
        if self._conversation.may_commit and self._conversation.must_create:
            made = make_group(
                engagement,
                account,
                candidates,
                suite=suite,
                now=int(self._env.now()),
                rng=self._conversation.context.rng,
            )
            self._conversation.commit(made, CommitReason.CREATE, after_commit=0)

    async def _commit(self, plan: Plan) -> None:
        standing = self._conversation.standing
        after_commit, group = standing.record.last_commit, standing.group
        if group is None:
            return
        candidates = await self._claims.candidates(await self._claims.offers(plan.waiting), group.suite)
        if not (candidates or plan.removes or plan.refresh):
            return
        if self._conversation.standing.record.last_commit != after_commit or self._conversation.alarm:
            return  # the group went on meanwhile, and wakes us again
        made = self._make(plan, candidates)
        if made is not None:
            self._conversation.commit(made, CommitReason.MEMBERSHIP, after_commit=after_commit)

    async def _renew(self, others: Sequence[DeviceId], suite: CipherSuite) -> None:
        """Move everybody to a stronger suite; without a key package of each one it waits."""
        standing = self._conversation.standing
        after_commit = standing.record.last_commit
        if standing.view is None:
            return
        least = lists_of(standing.view)
        candidates = await self._claims.candidates(await self._claims.offers(others), suite, at_least=least)
        went_on = self._conversation.standing.record.last_commit != after_commit
        if len(candidates) < len(others) or went_on or self._conversation.alarm:
            return  # who lacks one is asked again later; a group that went on meanwhile wakes us again
        made = self._make_renewal(candidates, suite)
        if made is not None:
            self._conversation.commit(made, CommitReason.MEMBERSHIP, after_commit=after_commit)

    def _make_renewal(self, candidates: Sequence[Candidate], suite: CipherSuite) -> Made | None:
        standing, context = self._conversation.standing, self._conversation.context
        if standing.group is None or standing.view is None:
            return None
        now, rng = int(self._env.now()), context.rng
        try:
            return make_renewal(
                standing.group, standing.view, context.account, candidates, suite, now=now, rng=rng
            )
        except (MLSError, IdentityError, WireError) as error:
            for candidate in candidates:
                key = candidate.package.key_package.leaf_node.signature_key
                self._claims.refuse(device_id(key), error.code)
            return None

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
                self._claims.refuse(device, error.code)
            return None
