"""Sealed files altered where the relay keeps them: the receiver gets the file that was sent, or none."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from client_sdk.attachments.retrying import Retry
from client_sdk.engine import FileItem
from client_sdk.errors import CoachRelayError
from tests.faults.people import pair
from tests.support.real_relay import RealRelay

CONTENT = b"the plan that we agreed on. " * 8_000


def altered(part: Path, _other: Path) -> None:
    sealed = bytearray(part.read_bytes())
    sealed[len(sealed) // 2] ^= 1
    part.write_bytes(sealed)


def truncated(part: Path, _other: Path) -> None:
    part.write_bytes(part.read_bytes()[:-1])


def cut_at_a_chunk(part: Path, _other: Path) -> None:
    part.write_bytes(part.read_bytes()[: 24 + 65_553])


def extended(part: Path, _other: Path) -> None:
    part.write_bytes(part.read_bytes() + b"\0")


def swapped(part: Path, other: Path) -> None:
    assert part.stat().st_size == other.stat().st_size
    part.write_bytes(other.read_bytes())


CHANGES = (altered, truncated, cut_at_a_chunk, extended, swapped)


def kept(relay: RealRelay) -> set[Path]:
    """The files that the relay keeps."""
    return {path for path in (relay.data / "blobs").iterdir() if not path.name.startswith(".")}


async def at_once(_seconds: float) -> None:
    """A relay that has lost a part of a file is asked ten times; nobody has to wait here."""


async def test_the_file_that_was_sent_or_none(
    relay: RealRelay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client_sdk.attachments.downloading.Retry", partial(Retry, sleep=at_once))
    engagement = await relay.create_engagement(anna="coach", ben="client")
    plan, inbox = tmp_path / "plan.pdf", tmp_path / "inbox"
    plan.write_bytes(CONTENT)
    inbox.mkdir()
    refused = set()
    async with asyncio.timeout(150), pair(relay, tmp_path, engagement) as (anna, ben):
        coming = ben.items()
        await anna.send_file(plan, name="whole.pdf")
        whole = await anext(coming)
        (untouched,) = kept(relay)
        for change in CHANGES:
            before = kept(relay)
            await anna.send_file(plan, name=f"{change.__name__}.pdf")
            file = await anext(coming)
            assert isinstance(file, FileItem)
            (blob,) = kept(relay) - before
            change(blob / "000000", untouched / "000000")
            try:
                saved = await file.save(inbox)
            except CoachRelayError:
                refused.add(change)
            else:
                assert saved.read_bytes() == CONTENT
                saved.unlink()
            assert list(inbox.iterdir()) == []
        # What follows the end of a file the relay itself never serves.
        assert refused == {altered, truncated, cut_at_a_chunk, swapped}
        assert isinstance(whole, FileItem)
        assert (await whole.save(inbox)).read_bytes() == CONTENT, "the other one is as it was"
