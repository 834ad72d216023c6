"""People with keys, devices and device lists, and conversations of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from client_sdk.identity import (
    ConversationInfo,
    ConversationView,
    DeviceFlags,
    IdentityKeys,
    KeyPair,
    Leaf,
    ManifestDevice,
    Participant,
    Rng,
    VerifiedManifest,
    first_manifest,
    generate_key_pair,
    next_manifest,
    recovered_manifest,
)
from relay.wire.ids import EngagementId, PortalId, Role, UserId

PORTAL = PortalId("harbor")
ENGAGEMENT = EngagementId("eng_AAAAAAAAAAAAAAAAAAAAAA")


def seeded(seed: str) -> Rng:
    """A deterministic random source."""
    drawn = 0

    def draw(count: int) -> bytes:
        nonlocal drawn
        drawn += 1
        return hashlib.shake_256(f"{seed}/{drawn}".encode()).digest(count)

    return draw


@dataclass
class Person:
    """A user with an identity and some devices, the first of which may link others."""

    name: str
    role: Role = Role.CLIENT
    count: int = 1
    portal: PortalId = PORTAL
    seed: str = "the real one"
    devices: list[KeyPair] = field(init=False)
    manifest: VerifiedManifest = field(init=False)

    def __post_init__(self) -> None:
        self.user = UserId(self.name)
        self.rng = seeded(f"{self.name}, {self.seed}")
        self.keys = IdentityKeys.generate(self.rng)
        self.devices = [generate_key_pair(self.rng) for _ in range(self.count)]
        self.manifest = first_manifest(
            portal=self.portal,
            user=self.user,
            identity=self.keys.identity,
            recovery_key=self.keys.recovery.public,
            devices=self.listed(self.devices),
            suites=[3],
        )

    @staticmethod
    def listed(devices: Iterable[KeyPair]) -> list[ManifestDevice]:
        return [
            ManifestDevice(d.public, DeviceFlags.MAY_LINK if i == 0 else 0) for i, d in enumerate(devices)
        ]

    def link(self) -> VerifiedManifest:
        """One device more."""
        self.devices.append(generate_key_pair(self.rng))
        return self.signed(self.devices)

    def signed(self, devices: Iterable[KeyPair]) -> VerifiedManifest:
        """The next manifest, with these devices."""
        self.manifest = next_manifest(self.manifest, key=self.keys.identity, devices=self.listed(devices))
        return self.manifest

    def recovered(self, devices: Iterable[KeyPair]) -> VerifiedManifest:
        """The next manifest, with a new identity key, by the recovery key."""
        fresh = generate_key_pair(self.rng)
        self.manifest = next_manifest(
            self.manifest, key=self.keys.recovery, devices=self.listed(devices), identity_key=fresh.public
        )
        self.keys = IdentityKeys(fresh, self.keys.recovery)
        return self.manifest

    def recover(self, *, era: int, count: int = 1) -> VerifiedManifest:
        """What the recovery words make on an empty device: a new era, a new identity key, new devices."""
        self.rng = seeded(f"{self.name}, recovered in era {era}")
        self.keys = IdentityKeys(generate_key_pair(self.rng), self.keys.recovery)
        self.devices = [generate_key_pair(self.rng) for _ in range(count)]
        self.manifest = recovered_manifest(
            portal=self.portal,
            user=self.user,
            era=era,
            recovery=self.keys.recovery,
            identity_key=self.keys.identity.public,
            devices=self.listed(self.devices),
            suites=[3],
        )
        return self.manifest

    def participant(self) -> Participant:
        return Participant(self.user, self.role, self.manifest.identity_key)

    def leaf(self, index: int, device: int = 0, manifest: VerifiedManifest | None = None) -> Leaf:
        return Leaf(index, self.devices[device].public, manifest or self.manifest)


def info_of(*people: Person) -> ConversationInfo:
    return ConversationInfo(
        portal=PORTAL, engagement=ENGAGEMENT, participants=tuple(p.participant() for p in people)
    )


def view(people: Iterable[Person], leaves: Iterable[Leaf]) -> ConversationView:
    info = info_of(*people)
    return ConversationView(info.group_id, info, tuple(leaves))
