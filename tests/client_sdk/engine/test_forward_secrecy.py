"""What was used up is gone from the disk: after hundreds of epochs every page is searched for old secrets."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from client_sdk.engine.membership import make_commit
from client_sdk.engine.records import CommitReason
from client_sdk.mls import SUITE_3, SUITE_XWING, CipherSuite
from client_sdk.mls.hpke import DhKemX25519, KemKeyPair
from client_sdk.mls.xwing import XWing
from tests.client_sdk.vault.pages import decrypted_pages
from tests.support.fake_time import SeededRandom
from tests.support.suites import Versions
from tests.support.world import Device, World

EPOCHS = 300
PIECE = 16
"""A secret is searched for by its first and by its last bytes: it may lie across two pages."""

KINDS = {
    *("key", "secret", "tree", "handshake", "application"),  # messages (RFC 9420 section 9)
    *("path", "node", "leaf or parent key", "drawn"),  # the tree (section 7)
    *("joiner", "welcome", "epoch", "extracted", "init", "encryption", "confirm", "sender data"),  # section 8
    *("exporter", "external", "membership", "resumption", "authentication", "derived psk"),
}


class Recorder:
    """Every secret that the MLS package derives or draws while a test runs, by kind."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.secrets: dict[bytes, str] = {}
        self._patch = monkeypatch
        expand, extract = CipherSuite.expand_with_label, CipherSuite.extract

        def expanded(suite: CipherSuite, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
            return self._note(label.decode(), expand(suite, secret, label, context, length))

        def extracted(suite: CipherSuite, salt: bytes, ikm: bytes) -> bytes:
            return self._note("extracted", extract(suite, salt, ikm))

        monkeypatch.setattr(CipherSuite, "expand_with_label", expanded)
        monkeypatch.setattr(CipherSuite, "extract", extracted)
        for kem in (DhKemX25519, XWing):
            for name in ("generate_key_pair", "derive_key_pair"):
                self._watch_keys(kem, name)
        draw = SeededRandom.__call__

        def drawn(random: SeededRandom, size: int) -> bytes:
            found = draw(random, size)
            inside = "/client_sdk/mls/" in sys._getframe(1).f_code.co_filename
            return self._note("drawn", found) if inside else found

        monkeypatch.setattr(SeededRandom, "__call__", drawn)

    def _watch_keys(self, kem: type, name: str) -> None:
        make: Callable[..., KemKeyPair] = getattr(kem, name)

        def made(*args: Any) -> KemKeyPair:
            pair = make(*args)
            self._note("leaf or parent key", pair.private)
            return pair

        self._patch.setattr(kem, name, made)

    def _note(self, kind: str, secret: bytes) -> bytes:
        if len(secret) >= PIECE:
            self.secrets.setdefault(secret, kind)
        return secret


def alive(device: Device) -> bytes:
    """Everything that this device may still need: its group's state and its unused key packages."""
    standing = device.conversation.standing
    assert standing.group is not None
    assert standing.pending is None
    with device.engine.vault.transaction() as tx:
        packages = b"".join(data for _, data in tx.scan("key-package", limit=1000))
    return standing.group.epoch_part() + standing.group.ratchet_part() + packages


def found_in(data: bytes, secrets: Iterable[bytes]) -> set[bytes]:
    """Those of the secrets of which a piece lies in the data."""
    by_piece: dict[bytes, bytes] = {}
    for secret in secrets:
        by_piece[secret[:PIECE]] = by_piece[secret[-PIECE:]] = secret
    windows = (data[start : start + PIECE] for start in range(len(data) - PIECE + 1))
    return {by_piece[window] for window in windows if window in by_piece}


def files_of(world: World, user: str) -> dict[str, bytes]:
    """The vault's files as they lie on the disk, and its pages decrypted, the free ones too."""
    path = world.folder / f"{user}.vault"
    raw = {file.name: file.read_bytes() for file in world.folder.glob(f"{user}.vault*") if file.is_file()}
    return {**raw, "pages": b"".join(decrypted_pages(path, user.encode().ljust(32, b".")))}


async def talk(world: World, anna: Device, ben: Device, epochs: int) -> None:
    """Each epoch is begun by the other one, and both say something in it."""
    for number in range(epochs):
        device = (anna, ben)[number % 2]
        standing, context = device.conversation.standing, device.conversation.context
        assert standing.group is not None
        assert standing.view is not None
        now = int(world.time.now())
        made = make_commit(standing.group, standing.view, context.account, [], now=now, rng=context.rng)
        before = standing.record.highest_epoch
        device.conversation.commit(made, CommitReason.MEMBERSHIP, after_commit=standing.record.last_commit)
        await world.settle()
        assert anna.conversation.standing.epoch == ben.conversation.standing.epoch == before + 1
        for speaker in (anna, ben):
            await speaker.room.send(f"{speaker.client.user} {number}")
            await world.settle()


@pytest.mark.timeout(600)
async def test_no_secret_that_was_used_up_is_on_the_disk(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, versions = Recorder(monkeypatch), Versions(monkeypatch, "anna", "ben")
    async with world.pair() as (anna, ben):
        assert anna.conversation.standing.record.suite == SUITE_3.id
        await talk(world, anna, ben, EPOCHS // 3)
    versions.update(["anna", "ben"])
    async with world.device("anna") as anna, world.device("ben") as ben:
        await world.pass_time(20)
        assert anna.conversation.standing.record.suite == SUITE_XWING.id
        await talk(world, anna, ben, EPOCHS - EPOCHS // 3)
        assert len(await anna.texts()) == len(await ben.texts()) == 500
        kept = {"anna": alive(anna), "ben": alive(ben)}
        check_files(world, recorder, kept)  # while the programs run: the write-ahead log is there as well
    check_files(world, recorder, kept)


def check_files(world: World, recorder: Recorder, kept: dict[str, bytes]) -> None:
    live = found_in(kept["anna"] + kept["ben"], recorder.secrets)
    dead = recorder.secrets.keys() - live
    kinds = Counter(recorder.secrets[secret] for secret in dead)
    assert set(kinds) >= KINDS, "each kind was used up and recorded"
    assert kinds["init"] >= EPOCHS
    for user, state in kept.items():
        files = files_of(world, user)
        still = found_in(state, recorder.secrets)
        assert len(still) > 10
        assert found_in(files["pages"], still) == still, "the search finds what is alive"
        for name, data in files.items():
            assert [recorder.secrets[secret] for secret in found_in(data, dead)] == [], name
            if name != "pages":
                assert not found_in(data, still), "nor lies anything there unencrypted"
