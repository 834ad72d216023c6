"""Key packages of others: claimed from the relay, examined, and put into the suite that is wanted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from client_sdk.delivery import SecurityAlarm
from client_sdk.engine import spaces, trusting
from client_sdk.engine.conversation import Conversation
from client_sdk.engine.key_packages import parse_claimed
from client_sdk.engine.membership import Candidate, roles_of
from client_sdk.engine.requests import Requests
from client_sdk.errors import ApprovalRequired, CoachRelayError, CredentialRefused, ManifestInvalid
from client_sdk.identity import (
    CredentialPolicy,
    VerifiedManifest,
    check_admission,
    manifest_of,
)
from client_sdk.identity.alarms import ManifestRolledBack
from client_sdk.identity.manifest import era_at, era_counts
from client_sdk.mls import CipherSuite, KeyPackage, MLSError, verify_key_package
from client_sdk.transport import Environment
from client_sdk.vault import Vault
from relay.wire import frames as fr
from relay.wire.ids import DeviceId, Role, UserId
from relay.wire.limits import MAX_CLAIMED_DEVICES

_log = logging.getLogger(__name__)

REFUSED_SECONDS: Final = 60.0  # claiming a device's key packages again and again would use them up
MOST_DOUBLINGS: Final = 10  # in the end it is tried about once a day
MOST_PASSED_OVER: Final = (
    24  # more than a device leaves there before an update, and the relay gives them first
)
MOST_EARLIER: Final = 64
_NO_PACKAGE: Final = "no_key_package"
_NO_SUITE: Final = "no_key_package_of_the_suite"


@dataclass(frozen=True, slots=True)
class Offer:
    """What a device offers to be added by; `newest` is the newest device list known of its user."""

    device: DeviceId
    packages: Mapping[int, KeyPackage] = field(repr=False)
    manifest: VerifiedManifest
    newest: VerifiedManifest
    role: Role
    last_resort: bool


class Claims:
    """Claims for one conversation; remembers whose offers were no good, and leaves them out for a while."""

    def __init__(
        self,
        conversation: Conversation,
        *,
        requests: Requests,
        vault: Vault,
        environment: Environment,
        wake: Callable[[], None],
    ) -> None:
        self._conversation = conversation
        self._requests = requests
        self._vault = vault
        self._env = environment
        self._wake = wake
        self._refused: dict[DeviceId, tuple[float, int]] = {}

    @property
    def refused(self) -> set[DeviceId]:
        """The devices that are left out now."""
        now = self._env.monotonic()
        with self._vault.transaction() as tx:
            earlier = {DeviceId(key) for key, _ in tx.scan(spaces.EARLIER, limit=MOST_EARLIER)}
        return earlier | {device for device, (until, _) in self._refused.items() if until > now}

    def refuse(self, device: DeviceId, code: str) -> None:
        """Leave the device out for a while, longer each time."""
        _log.info("a device is not added: %s", code)
        _, before = self._refused.get(device, (0.0, 0))
        wait = REFUSED_SECONDS * 2 ** min(before, MOST_DOUBLINGS)
        self._refused[device] = (self._env.monotonic() + wait, before + 1)
        self._conversation.later(wait + 1.0, self._wake)

    def forget_refusals(self) -> None:
        """A person has decided: whoever was left out is looked at again."""
        self._refused.clear()
        self._wake()

    async def offers(self, devices: Sequence[DeviceId]) -> list[Offer]:
        """What these devices offer, of those whose people may come in."""
        if not devices:
            return []
        wanted = tuple(devices[:MAX_CLAIMED_DEVICES])
        answer = await self._requests.ask(
            lambda number: fr.ClaimKeyPackages(number, self._conversation.id, wanted), fr.KeyPackages
        )
        given = {claimed.device: claimed for claimed in answer.packages}
        offers = [
            self._examine(given.get(device, fr.ClaimedKeyPackage(device, None, False))) for device in wanted
        ]
        return [offer for offer in offers if offer is not None]

    async def candidates(
        self,
        offers: Sequence[Offer],
        suite: CipherSuite,
        *,
        at_least: Mapping[DeviceId, int] = MappingProxyType({}),
    ) -> list[Candidate]:
        """Their packages of this suite, each with a device list at least as new as asked for.

        Who supports the suite by the newest device list but was given without it is asked for again, a few
        times; the suite stays. So a relay that keeps packages back delays, and weakens nothing.
        """
        found: list[Candidate] = []
        for _ in range(MOST_PASSED_OVER):
            again: list[DeviceId] = []
            for offer in offers:
                package = offer.packages.get(suite.id)
                if package is not None and offer.manifest.version >= at_least.get(offer.device, 0):
                    found.extend(self._verified(offer, package, suite))
                elif suite.id in offer.newest.suites and not offer.last_resort:
                    again.append(offer.device)
                else:
                    self.refuse(offer.device, _NO_SUITE)
            if not again:
                return found
            offers = await self.offers(again)
        for offer in offers:
            self.refuse(offer.device, _NO_SUITE)
        return found

    def _verified(self, offer: Offer, package: KeyPackage, suite: CipherSuite) -> list[Candidate]:
        policy = CredentialPolicy(self._conversation.context.account.portal)
        try:
            verified = verify_key_package(package, suite=suite, auth=policy, now=int(self._env.now()))
        except (MLSError, CoachRelayError) as error:
            self.refuse(offer.device, error.code)
            return []
        return [Candidate(verified, offer.manifest, offer.role)]

    # One offer

    def _examine(self, claimed: fr.ClaimedKeyPackage) -> Offer | None:
        device = claimed.device
        if claimed.package is None:
            self.refuse(device, _NO_PACKAGE)
            return None
        try:
            packages = parse_claimed(claimed.package, device)
            manifest = _common_manifest(packages)
            return self._offer(claimed, packages, manifest)
        except SecurityAlarm as alarm:
            self.refuse(device, alarm.code)
            # An old list is what a device has that its user has revoked: it stays outside, and that is all.
            if not isinstance(alarm, ManifestRolledBack) and self._is_news(manifest):
                self._conversation.raise_alarm(alarm)
        except (MLSError, CoachRelayError) as error:
            self.refuse(device, error.code)
        return None

    def _is_news(self, manifest: VerifiedManifest) -> bool:
        """Whether this device list alarms for the first time: a person decides about it once."""
        key = trusting.foreign_key(manifest)
        with self._vault.transaction() as tx:
            known = tx.get(spaces.FOREIGN, key) is not None
            if not known:
                tx.put(spaces.FOREIGN, key, manifest.raw)
        return not known

    def _offer(
        self, claimed: fr.ClaimedKeyPackage, packages: Mapping[int, KeyPackage], manifest: VerifiedManifest
    ) -> Offer:
        engagement = self._conversation.engagement
        roles = roles_of(engagement) if engagement is not None else {}
        device_key = next(iter(packages.values())).leaf_node.signature_key
        if not era_counts(manifest, era_at(self._env.now())):
            raise ManifestInvalid("A device list is of an era that is to come: no recovery could surpass it.")
        self._check_admission(manifest, device_key, set(roles))
        if manifest.user not in roles:
            raise ApprovalRequired("This person is not on the engagement's roster.")
        role, newest = roles[manifest.user], self._newest(manifest)
        return Offer(claimed.device, packages, manifest, newest, role, claimed.last_resort)

    def _newest(self, manifest: VerifiedManifest) -> VerifiedManifest:
        own = self._conversation.context.account.manifest
        if manifest.user == own.user:
            return own if own.version > manifest.version else manifest
        with self._vault.transaction() as tx:
            return trusting.newest_list(tx, manifest)

    def _check_admission(self, manifest: VerifiedManifest, device_key: bytes, roster: set[UserId]) -> None:
        record, view = self._conversation.standing.record, self._conversation.standing.view
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
            takes_part=view is not None and view.governing(manifest.user) is not None,
        )


def _common_manifest(packages: Mapping[int, KeyPackage]) -> VerifiedManifest:
    """The device list that these packages carry; raises `CredentialRefused` if it is not one and the same."""
    leaves = [package.leaf_node for package in packages.values()]
    manifests = [manifest_of(leaf.credential, leaf.signature_key) for leaf in leaves]
    if any(manifest.raw != manifests[0].raw for manifest in manifests):
        raise CredentialRefused("The relay gave key packages that were not offered together.")
    return manifests[0]
