"""The key packages by which others add this device while it is away (RFC 9420 section 10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from client_sdk.content.packing import PackingError, pack, unpack
from client_sdk.engine import suites
from client_sdk.engine.account import Account
from client_sdk.engine.records import Record
from client_sdk.errors import CredentialRefused
from client_sdk.identity import EXTENSION_TYPE
from client_sdk.identity.manifest import MOST_SUITES
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
    """A key package with its private keys; `delete_at` in Unix seconds.

    `offer` are the refs of the packages that were offered with it, one a suite: whoever uses one of them
    has used them all. Empty: this one alone, as versions with one suite made it.
    """

    bundle: bytes = field(repr=False)
    delete_at: int
    last_resort: bool
    published: bool = False
    used: bool = False
    offer: tuple[bytes, ...] = ()

    def opened(self) -> KeyPackageBundle:
        """The package and its private keys."""
        return KeyPackageBundle.parse(self.bundle)


@dataclass(frozen=True, slots=True)
class Publication:
    """What is to be published; all of it is in the vault already."""

    packages: tuple[bytes, ...]
    last_resort: bytes | None
    last_resort_refs: tuple[bytes, ...] = ()


def capabilities() -> Capabilities:
    """What our leaves support."""
    return default_capabilities([EXTENSION_TYPE])


def lifetime(now: int) -> Lifetime:
    """The lifetime of a leaf made now."""
    return Lifetime(now - CLOCK_LEEWAY_SECONDS, now + LIFETIME_SECONDS)


def prepare(
    tx: Transaction, account: Account, left: int, now: int, rng: Callable[[int], bytes]
) -> Publication | None:
    """Make and store what the relay lacks, of whose single-use offers so many are left; None if nothing.

    A publication with one of last resort takes the place of all that the relay has.
    """
    kept = _kept(tx, now)
    lasting = _lasting(tx, kept, account, now) or _make(tx, account, now, rng, last_resort=True)
    begins_anew = not all(stored.published for stored in lasting.values())
    single = SINGLE_USE if begins_anew else SINGLE_USE - left if left <= KEY_PACKAGES_LOW else 0
    packages = tuple(_message(_make(tx, account, now, rng, last_resort=False)) for _ in range(single))
    if begins_anew:
        return Publication(packages, _message(lasting), tuple(lasting))
    return Publication(packages, None) if packages else None


def published(tx: Transaction, publication: Publication) -> None:
    """The relay has them."""
    for ref in publication.last_resort_refs:
        data = tx.get(SPACE, ref)
        if data is not None:
            tx.put(SPACE, ref, replace(StoredKeyPackage.parse(data), published=True).serialize())


def forget_published(tx: Transaction) -> None:
    """The relay may have lost what was published, or hold what was used: all of it is published anew."""
    for ref, data in tx.scan(SPACE, limit=_MAX_KEPT):
        stored = StoredKeyPackage.parse(data)
        if stored.published:
            tx.put(SPACE, ref, replace(stored, published=False).serialize())


def _make(
    tx: Transaction, account: Account, now: int, rng: Callable[[int], bytes], *, last_resort: bool
) -> dict[bytes, StoredKeyPackage]:
    """One offer: a package for each suite that this user's device list names, in its order."""
    bundles = [
        generate_key_package(
            suite,
            account.signer,
            account.credential,
            lifetime=lifetime(now),
            rng=rng,
            capabilities=capabilities(),
            last_resort=last_resort,
        )
        for suite in suites.supported(account.manifest)
    ]
    offer = tuple(bundle.ref for bundle in bundles)
    delete_at = now + LIFETIME_SECONDS + KEEP_USED_SECONDS
    made = {
        bundle.ref: StoredKeyPackage(bundle.serialize(), delete_at, last_resort=last_resort, offer=offer)
        for bundle in bundles
    }
    for ref, stored in made.items():
        tx.put(SPACE, ref, stored.serialize())
    return made


def _message(offer: Mapping[bytes, StoredKeyPackage]) -> bytes:
    """An offer as it is published: `msgpack([MLSMessage, ...])` (PROTOCOL 4)."""
    return pack([MLSMessage(stored.opened().key_package).serialize() for stored in offer.values()])


def _lasting(
    tx: Transaction, kept: Mapping[bytes, StoredKeyPackage], account: Account, now: int
) -> dict[bytes, StoredKeyPackage]:
    """The offer of last resort that is good still; one that carries an older device list is given up."""
    lasting = {ref: stored for ref, stored in kept.items() if stored.last_resort and not stored.used}
    good = {
        ref: stored
        for ref, stored in lasting.items()
        if stored.offer and stored.opened().key_package.leaf_node.credential == account.credential
    }
    for ref in lasting.keys() - good.keys():
        _give_up(tx, ref, lasting[ref], now)
    first = next(iter(good.values()), None)
    return {} if first is None else {ref: good[ref] for ref in first.offer if ref in good}


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
    return None if data is None else StoredKeyPackage.parse(data).opened()


def spend(tx: Transaction, bundle: KeyPackageBundle, now: int) -> None:
    """Delete a package that brought us in, and those offered with it; one of last resort is replaced soon."""
    data = tx.get(SPACE, bundle.ref)
    if data is None:
        return
    for ref in StoredKeyPackage.parse(data).offer or (bundle.ref,):
        found = tx.get(SPACE, ref)
        stored = None if found is None else StoredKeyPackage.parse(found)
        if stored is not None and not stored.last_resort:
            tx.delete(SPACE, ref)
        elif stored is not None and not stored.used:
            _give_up(tx, ref, stored, now)


def _give_up(tx: Transaction, ref: bytes, stored: StoredKeyPackage, now: int) -> None:
    """One of last resort is not offered any more, but a Welcome for it may be on its way."""
    used = replace(stored, used=True, delete_at=now + KEEP_USED_SECONDS)
    tx.put(SPACE, ref, used.serialize())


def parse_claimed(offer: bytes, device: DeviceId) -> dict[int, KeyPackage]:
    """The packages that the relay gave for a device, by their suites.

    Raises `MLSError` or `CredentialRefused`.
    """
    packages = [MLSMessage.parse(message).body for message in _messages(offer)]
    found = {package.cipher_suite: package for package in packages if isinstance(package, KeyPackage)}
    foreign = any(device_id(package.leaf_node.signature_key) != device for package in found.values())
    if foreign or not found or len(found) != len(packages):
        raise CredentialRefused("The relay gave something else than key packages of the device asked for.")
    return found


def _messages(offer: bytes) -> list[bytes]:
    if offer.startswith(b"\0"):
        return [offer]  # an MLSMessage alone: an offer for one suite
    try:
        messages = unpack(offer)
    except PackingError:
        messages = None
    listed = messages if isinstance(messages, list) else []
    found = [message for message in listed if isinstance(message, bytes)]
    if not 1 <= len(listed) == len(found) <= MOST_SUITES:
        raise CredentialRefused("The relay gave something that is no offer of key packages.")
    return found
