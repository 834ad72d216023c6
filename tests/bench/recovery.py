"""`python -m tests.bench.recovery`: how long it takes to come back with a long history.

Ten thousand messages in a vault are archived at a real relay, and restored into an empty vault with the
recovery words: the time from the words to the whole history, and to being let into the conversation by the
other one's device.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from client_sdk import Client, Text
from client_sdk.content import Envelope
from client_sdk.content.envelope import Attest
from client_sdk.engine import journal
from client_sdk.vault import HistoryItem, Vault
from tests.support.real_relay import RealRelay

MESSAGES: Final = 10_000
TARGET_SECONDS: Final = 20.0
WORDS: Final = "What we said last week about the board meeting still goes round in my head. " * 2
PROOF_BYTES: Final = 64
PATIENCE: Final = 60.0
TOGETHER: Final = 500


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if it took longer than the target under `--strict`."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.recovery", description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--strict", action="store_true", help=f"fail above {TARGET_SECONDS:.0f} s")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="recovery-") as folder:
        took = asyncio.run(measure(Path(folder), options.messages))
    return int(options.strict and took > TARGET_SECONDS)


async def measure(folder: Path, messages: int) -> float:
    """Seconds from the words to being back with everything."""
    relay = RealRelay(folder)
    await relay.start()
    try:
        engagement = await relay.create_engagement(anna="coach", ben="client")
        words = await _archive(folder, relay, engagement, messages)
        async with _opened(folder, relay, "ben", "ben") as ben:
            await asyncio.wait_for(ben.wait_online(), PATIENCE)
            return await _recover(folder, relay, engagement, words, messages)
    finally:
        await relay.stop()


async def _archive(folder: Path, relay: RealRelay, engagement: str, messages: int) -> str:
    async with _opened(folder, relay, "anna", "anna") as anna, _opened(folder, relay, "ben", "ben") as ben:
        rooms = [await asyncio.wait_for(me.engagement(engagement), PATIENCE) for me in (anna, ben)]
        await asyncio.gather(*(asyncio.wait_for(room.wait_joined(), PATIENCE) for room in rooms))
        words = " ".join(anna.recovery_kit().words)
    with Vault.open(folder / "anna.vault", key=_key("anna"), create=False) as vault:
        for start in range(0, messages, TOGETHER):
            with vault.transaction() as tx:
                for number in range(start, min(start + TOGETHER, messages)):
                    tx.add_item(_message(engagement, number))
    async with _opened(folder, relay, "anna", "anna") as anna:
        room = await asyncio.wait_for(anna.engagement(engagement), PATIENCE)
        await asyncio.wait_for(room.wait_caught_up(), PATIENCE)
        began = time.perf_counter()
        await anna.keep_archive()
        await anna.wait_archived()
        _print(f"{messages:,} messages archived", time.perf_counter() - began)
    return words


async def _recover(folder: Path, relay: RealRelay, engagement: str, words: str, messages: int) -> float:
    began = time.perf_counter()
    found = await Client.recover(
        folder / "new.vault", words=words, relay=relay.url, token=relay.token_for("anna"), key=_key("new")
    )
    _print(f"{found.items:,} items back from the archive", time.perf_counter() - began)
    async with _opened(folder, relay, "anna", "new") as anna:
        room = await asyncio.wait_for(anna.engagement(engagement), PATIENCE)
        await asyncio.wait_for(room.wait_joined(), PATIENCE)
        took = time.perf_counter() - began
    _print("and let in again by the other one", took)
    if found.items < messages or found.broken:
        raise SystemExit("not everything came back")
    return took


def _opened(folder: Path, relay: RealRelay, user: str, vault: str) -> AbstractAsyncContextManager[Client]:
    return Client.open(
        folder / f"{vault}.vault", relay=relay.url, token=relay.token_for(user), key=_key(vault)
    )


def _key(name: str) -> bytes:
    return name.encode().ljust(32, b".")


def _message(engagement: str, number: int) -> HistoryItem:
    """As the engine keeps a message that came, with its signed bytes as evidence."""
    item_id = number.to_bytes(16, "big")
    attest = Attest(1, number + 1, os.urandom(32))
    envelope = Envelope(item_id, number + 1, attest, (), number, Text(WORDS))
    data = envelope.serialize()
    said = journal.Said(data, 1, 0, data + os.urandom(PROOF_BYTES), os.urandom(PROOF_BYTES))
    return HistoryItem(
        conversation=engagement,
        id=item_id,
        seq=number + 10,
        sent_ms=number,
        sender_user="ben",
        sender_device=bytes(16),
        kind="text",
        text=WORDS,
        payload=said.serialize(),
        mine=False,
    )


def _print(what: str, seconds: float) -> None:
    print(f"{what}: {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
