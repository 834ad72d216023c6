"""The key packages by which others add this device while it is away (RFC 9420 section 10)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from client_sdk.engine.account import SUITE, Account
from client_sdk.engine.records import Record
from client_sdk.errors import CredentialRefused
from client_sdk.identity import EXTENSION_TYPE
from client_sdk.mls import (
    Capabilities,
    KeyPackage,
    KeyPackageBundle,
    Lifetime,
    MLSMessage,
    default_capabilities,
    generate_key_package,
)
from client_sdk.vault import Transaction
from relay.wire.ids import DeviceId, device_id
from relay.wire.limits import KEY_PACKAGES_LOW

SPACE: Final = "key-package"
SINGLE_USE: Final = 20  # enough for as many new conversations between two visits of this device
LIFETIME_SECONDS: Final = 90 * 86_400  # a device that was away for longer publishes new ones when it returns
CLOCK_LEEWAY_SECONDS: Final = 3_600  # the clocks of those who add may be behind ours
KEEP_USED_SECONDS: Final = 7 * 86_400  # a Welcome for a replaced package of last resort may be on its way
_MAX_KEPT: Final = 512


@dataclass(frozen=True, slots=True)
class StoredKeyPackage(Record):
    """A key package with its private keys; `delete_at` in Unix seconds."""

    bundle: bytes = field(repr=False)
    delete_at: int
    last_resort: bool
    published: bool = False
    used: bool = False

    @property
    def message(self) -> bytes:
        """The key package as it is published: an MLSMessage."""
        return MLSMessage(KeyPackageBundle.parse(self.bundle).key_package).serialize()


@dataclass(frozen=True, slots=True)
class Publication:
    """What is to be published; all of it is in the vault already."""

    packages: tuple[bytes, ...]
    last_resort: bytes | None
    last_resort_ref: bytes = b""


def capabilities() -> Capabilities:
    """What our leaves support."""
    return default_capabilities([EXTENSION_TYPE])


def lifetime(now: int) -> Lifetime:
    """The lifetime of a leaf made now."""
    return Lifetime(now - CLOCK_LEEWAY_SECONDS, now + LIFETIME_SECONDS)


def prepare(
    tx: Transaction, account: Account, left: int, now: int, rng: Callable[[int], bytes]
) -> Publication | None:
    """Make and store what the relay lacks, of whose single-use packages so many are left; None if nothing."""
    kept = _kept(tx, now)
    single = SINGLE_USE - left if left <= KEY_PACKAGES_LOW else 0
    packages = tuple(_make(tx, account, now, rng, last_resort=False)[1].message for _ in range(single))
    lasting = {ref: stored for ref, stored in kept.items() if stored.last_resort and not stored.used}
    ref, last = next(iter(lasting.items()), None) or _make(tx, account, now, rng, last_resort=True)
    if last.published:
        return Publication(packages, None) if packages else None
    return Publication(packages, last.message, ref)


def published(tx: Transaction, publication: Publication) -> None:
    """The relay has them."""
    data = tx.get(SPACE, publication.last_resort_ref)
    if data is not None:
        stored = replace(StoredKeyPackage.parse(data), published=True)
        tx.put(SPACE, publication.last_resort_ref, stored.serialize())


def _make(
    tx: Transaction, account: Account, now: int, rng: Callable[[int], bytes], *, last_resort: bool
) -> tuple[bytes, StoredKeyPackage]:
    bundle = generate_key_package(
        SUITE,
        account.signer,
        account.credential,
        lifetime=lifetime(now),
        rng=rng,
        capabilities=capabilities(),
        last_resort=last_resort,
    )
    stored = StoredKeyPackage(
        bundle.serialize(), now + LIFETIME_SECONDS + KEEP_USED_SECONDS, last_resort=last_resort
    )
    tx.put(SPACE, bundle.ref, stored.serialize())
    return bundle.ref, stored


def _kept(tx: Transaction, now: int) -> dict[bytes, StoredKeyPackage]:
    """Those that may still be used; what is over is deleted."""
    kept = {}
    for ref, data in tx.scan(SPACE, limit=_MAX_KEPT):
        stored = StoredKeyPackage.parse(data)
        if stored.delete_at <= now:
            tx.delete(SPACE, ref)
        else:
            kept[ref] = stored
    return kept


def find(tx: Transaction, ref: bytes) -> KeyPackageBundle | None:
    """The package that a Welcome names, if it is ours and unspent."""
    data = tx.get(SPACE, ref)
    return None if data is None else KeyPackageBundle.parse(StoredKeyPackage.parse(data).bundle)


def spend(tx: Transaction, bundle: KeyPackageBundle, now: int) -> None:
    """Delete a package that brought us in; one of last resort is replaced at the next publication."""
    data = tx.get(SPACE, bundle.ref)
    if data is None:
        return
    stored = StoredKeyPackage.parse(data)
    if not stored.last_resort:
        tx.delete(SPACE, bundle.ref)
    elif not stored.used:
        used = replace(stored, used=True, delete_at=now + KEEP_USED_SECONDS)
        tx.put(SPACE, bundle.ref, used.serialize())


def parse_claimed(package: bytes, device: DeviceId) -> KeyPackage:
    """The key package that the relay gave for a device; raises `MLSError` or `CredentialRefused`."""
    body = MLSMessage.parse(package).body
    if not isinstance(body, KeyPackage) or device_id(body.leaf_node.signature_key) != device:
        raise CredentialRefused("The relay gave something else than a key package of the device asked for.")
    return body
