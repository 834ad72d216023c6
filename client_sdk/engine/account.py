"""Who this device is: its key, its user's identity, and the signed list that says so."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

from client_sdk.engine import suites
from client_sdk.engine.records import Record
from client_sdk.errors import AccessRefused, UsageError
from client_sdk.identity import RecoverySeed
from client_sdk.identity.keys import KeyPair, generate_key_pair
from client_sdk.identity.manifest import (
    DeviceFlags,
    ManifestDevice,
    VerifiedManifest,
    first_manifest,
    next_manifest,
    verify_manifest,
)
from client_sdk.mls import BasicCredential, SignatureKeyPair
from relay.wire.errors import WireError
from relay.wire.ids import DeviceId, PortalId, UserId, device_id, parse_portal_id, parse_user_id


@dataclass(frozen=True, slots=True)
class AccountRecord(Record):
    """The vault's record of the account. `recovery` is the seed of the recovery kit, until that is made."""

    portal: str
    user: str
    device: bytes = field(repr=False)
    identity: bytes = field(repr=False)
    recovery: bytes = field(repr=False)
    manifest: bytes = field(repr=False)
    name: str = field(default="", repr=False)


@dataclass(frozen=True)  # not slotted: the keys are derived once
class Account:
    """This device and its user."""

    record: AccountRecord = field(repr=False)

    @property
    def portal(self) -> PortalId:
        return PortalId(self.record.portal)

    @property
    def user(self) -> UserId:
        return UserId(self.record.user)

    @property
    def name(self) -> str:
        """What the user wants to be called; empty if nothing was said."""
        return self.record.name

    @cached_property
    def device_key(self) -> KeyPair:
        return KeyPair.from_private(self.record.device)

    @cached_property
    def device(self) -> DeviceId:
        return device_id(self.device_key.public)

    @cached_property
    def signer(self) -> SignatureKeyPair:
        """The device key as it signs in the group."""
        return SignatureKeyPair(self.device_key.public, self.device_key.private)

    @cached_property
    def manifest(self) -> VerifiedManifest:
        return verify_manifest(self.record.manifest)

    @property
    def recovery_seed(self) -> RecoverySeed | None:
        """What the recovery kit is made of; None once it was made, and on devices that were linked."""
        return RecoverySeed(self.record.recovery) if self.record.recovery else None

    @property
    def credential(self) -> BasicCredential:
        return BasicCredential(self.record.manifest)


def create_account(portal: PortalId, user: UserId, name: str, rng: Callable[[int], bytes]) -> Account:
    """A new user of a portal, on their first device."""
    identity, seed, device = generate_key_pair(rng), RecoverySeed.generate(rng), generate_key_pair(rng)
    manifest = first_manifest(
        portal=portal,
        user=user,
        identity=identity,
        recovery_key=seed.key.public,
        devices=[ManifestDevice(device.public, DeviceFlags.MAY_LINK)],
        suites=[suite.id for suite in suites.KNOWN],
    )
    secrets = (device.private, identity.private, seed.value)
    return Account(AccountRecord(portal, user, *secrets, manifest.raw, name))


def with_known_suites(account: Account) -> Account:
    """The account, its device list naming every suite of this version: one made before names fewer.

    Only a device with the identity key signs lists; another one gets the new list from it. Two such devices
    sign the same bytes, so that doing it at the same time makes no second list of one version.
    """
    known = tuple(suite.id for suite in suites.KNOWN)
    listed, private = account.manifest.suites, account.record.identity
    if not private or set(known) <= set(listed):
        return account
    key = KeyPair.from_private(private)
    if not hmac.compare_digest(key.public, account.manifest.identity_key):
        return account
    others = tuple(suite for suite in listed if suite not in known)
    manifest = next_manifest(account.manifest, key=key, suites=(*known, *others))
    return Account(replace(account.record, manifest=manifest.raw))


def token_subject(token: str) -> tuple[PortalId, UserId]:
    """The portal and user that an access token names; the relay, not this device, verifies it.

    Raises `AccessRefused` for anything that is not such a token.
    """
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return parse_portal_id(claims["iss"]), parse_user_id(claims["sub"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error, WireError):
        raise AccessRefused("The portal gave something that is not an access token.") from None


def check_subject(account: Account, token: str) -> None:
    """Raise `UsageError` if the token is for another user than the vault's."""
    if token_subject(token) != (account.portal, account.user):
        raise UsageError("This vault belongs to another user than the access token.")
