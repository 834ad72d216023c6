"""Sealing into a spool, and opening: what the receiver may rely on."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import nacl.bindings as sodium
import pytest

from client_sdk.attachments import (
    AttachmentTooLarge,
    Phase,
    Progress,
    SealedFile,
    SealedFileAltered,
    SealedFileExtended,
    SealedFileInvalid,
    SealedFileTruncated,
    SourceChanged,
    SourceUnreadable,
    SpoolMissing,
    StorageFailed,
    open_sealed,
    seal_to_spool,
    sealed_size,
)
from client_sdk.attachments.opening import _open
from client_sdk.attachments.sealing import _seal
from client_sdk.content.padding import padded_length
from relay.wire.limits import MAX_BLOB_BYTES

CHUNK = 64 * 1024
SIZES = [0, 1, 255, 256, 257, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 2_500_000]


def content(size: int) -> bytes:
    block = bytes(range(1, 252))
    return (block * (size // len(block) + 1))[:size]


async def sealed(folder: Path, size: int, name: str = "spool") -> tuple[Path, SealedFile]:
    source = folder / f"{name}.source"
    source.write_bytes(content(size))
    spool = folder / name
    return spool, await seal_to_spool(source, spool)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def nothing_in(folder: Path) -> bool:
    return not list(folder.iterdir())


@pytest.mark.parametrize("size", SIZES)
async def test_what_was_sealed_comes_out(tmp_path: Path, inbox: Path, size: int) -> None:
    spool, facts = await sealed(tmp_path, size)
    assert facts.size == size
    assert facts.sealed_size == sealed_size(size) == spool.stat().st_size
    assert facts.sealed_hash == sha256(spool.read_bytes()).digest()
    target = await open_sealed(spool, facts, inbox, name="plan.pdf")
    assert target == inbox / "plan.pdf"
    assert target.read_bytes() == content(size)
    assert [p.name for p in inbox.iterdir()] == ["plan.pdf"]


@pytest.mark.parametrize("size", [0, 300, CHUNK, 200_000])
async def test_the_format_is_the_documented_one(tmp_path: Path, size: int) -> None:
    """Opened here with bare secretstream: header, 64 KiB chunks, zeros at the end, FINAL on the last."""
    spool, facts = await sealed(tmp_path, size)
    data = spool.read_bytes()
    state = sodium.crypto_secretstream_xchacha20poly1305_state()
    sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, data[:24], facts.key)
    plain, tags, position = b"", [], 24
    while position < len(data):
        chunk, tag = sodium.crypto_secretstream_xchacha20poly1305_pull(
            state, data[position : position + 65_553]
        )
        plain, position = plain + chunk, position + 65_553
        tags.append(tag)
    assert plain == content(size) + bytes(padded_length(size) - size)
    assert tags[-1] == sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL
    assert set(tags[:-1]) <= {sodium.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE}


async def test_nearby_sizes_look_alike(tmp_path: Path) -> None:
    assert sealed_size(0) == sealed_size(256) < sealed_size(257)
    assert sealed_size(2_500_000) == sealed_size(2_500_001)


async def test_a_key_is_fresh_from_the_given_source_and_in_no_repr(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"notes")
    asked: list[int] = []

    def rng(length: int) -> bytes:
        asked.append(length)
        return b"\x5a" * length

    facts = await seal_to_spool(source, tmp_path / "spool", rng=rng)
    assert asked == [32]
    assert facts.key == b"\x5a" * 32
    assert "Z" * 4 not in repr(facts)
    assert "key" not in repr(facts)
    other = await seal_to_spool(source, tmp_path / "other")
    another = await seal_to_spool(source, tmp_path / "another")
    assert other.key != another.key


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda data: data[:-1], SealedFileTruncated),
        (lambda data: data[: 24 + 65_553], SealedFileTruncated),
        (lambda data: b"", SealedFileTruncated),
        (lambda data: data + b"\0", SealedFileExtended),
        (lambda data: data + data, SealedFileExtended),
        (lambda data: b"\x01" + data[1:], SealedFileAltered),
        (lambda data: bytes([data[0] ^ 1]) + data[1:], SealedFileAltered),
        (lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:], SealedFileAltered),
        (lambda data: data[:-1] + bytes([data[-1] ^ 0x80]), SealedFileAltered),
        (
            lambda data: (
                data[:24]
                + data[24 + 65_553 : 24 + 2 * 65_553]
                + data[24 : 24 + 65_553]
                + data[24 + 2 * 65_553 :]
            ),
            SealedFileAltered,
        ),
    ],
    ids=[
        "last byte",
        "chunk",
        "all",
        "a byte more",
        "twice",
        "header",
        "header bit",
        "bit",
        "last bit",
        "chunks changed",
    ],
)
async def test_a_changed_sealed_file_is_refused_and_leaves_nothing(
    tmp_path: Path, inbox: Path, change: Callable[[bytes], bytes], error: type[SealedFileInvalid]
) -> None:
    spool, facts = await sealed(tmp_path, 4 * CHUNK)
    spool.write_bytes(change(spool.read_bytes()))
    with pytest.raises(error):
        await open_sealed(spool, facts, inbox, name="plan.pdf")
    assert nothing_in(inbox)


async def test_another_file_in_its_place_is_refused(tmp_path: Path, inbox: Path) -> None:
    _, facts = await sealed(tmp_path, 5000, "first")
    other, other_facts = await sealed(tmp_path, 5000, "second")
    with pytest.raises(SealedFileAltered):
        await open_sealed(other, facts, inbox, name="plan.pdf")
    # with the right key, and the hash of another: the hash in the message decides
    with pytest.raises(SealedFileAltered):
        await open_sealed(other, replace(other_facts, sealed_hash=facts.sealed_hash), inbox, name="plan.pdf")
    with pytest.raises(SealedFileAltered):
        await open_sealed(other, replace(other_facts, key=facts.key), inbox, name="plan.pdf")
    assert nothing_in(inbox)


def hand_sealed(key: bytes, *chunks: tuple[bytes, int]) -> bytes:
    state = sodium.crypto_secretstream_xchacha20poly1305_state()
    data = sodium.crypto_secretstream_xchacha20poly1305_init_push(state, key)
    return data + b"".join(
        sodium.crypto_secretstream_xchacha20poly1305_push(state, plain, None, tag) for plain, tag in chunks
    )


MESSAGE = sodium.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
FINAL = sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL


@pytest.mark.parametrize(
    ("size", "chunks"),
    [
        (100, [(b"x" * 256, FINAL)]),  # the padding is not zero
        (100, [(b"x" * 100 + bytes(156), MESSAGE)]),  # no final tag
        (CHUNK * 2, [(b"x" * CHUNK, FINAL), (b"x" * CHUNK, FINAL)]),  # final too early
        (100, [(b"x" * 100 + bytes(156), sodium.crypto_secretstream_xchacha20poly1305_TAG_PUSH)]),
    ],
    ids=["padding", "no final tag", "early final tag", "another tag"],
)
async def test_a_sender_that_seals_wrongly_is_refused(
    tmp_path: Path, inbox: Path, size: int, chunks: list[tuple[bytes, int]]
) -> None:
    key = b"k" * 32
    data = hand_sealed(key, *chunks)
    spool = tmp_path / "spool"
    spool.write_bytes(data)
    facts = SealedFile(key=key, size=size, sealed_size=len(data), sealed_hash=sha256(data).digest())
    with pytest.raises(SealedFileAltered):
        await open_sealed(spool, facts, inbox, name="plan.pdf")
    assert nothing_in(inbox)


@pytest.mark.parametrize(
    "facts",
    [
        {"key": b"k" * 31},
        {"sealed_hash": b""},
        {"size": -1},
        {"size": 300},
        {"sealed_size": 256},
        {"size": MAX_BLOB_BYTES, "sealed_size": sealed_size(MAX_BLOB_BYTES)},
    ],
)
def test_impossible_facts_are_refused(facts: dict[str, object]) -> None:
    good: dict[str, object] = {
        "key": b"k" * 32,
        "size": 0,
        "sealed_size": sealed_size(0),
        "sealed_hash": b"h" * 32,
    }
    SealedFile(**good)  # type: ignore[arg-type]  # checked values in a table
    with pytest.raises(ValueError):
        SealedFile(**{**good, **facts})  # type: ignore[arg-type]  # checked values in a table


async def test_an_existing_file_is_never_overwritten_unless_asked(tmp_path: Path, inbox: Path) -> None:
    spool, facts = await sealed(tmp_path, 10)
    (inbox / "plan.pdf").write_bytes(b"mine")
    names = [(await open_sealed(spool, facts, inbox, name="plan.pdf")).name for _ in range(2)]
    assert names == ["plan (2).pdf", "plan (3).pdf"]
    assert (inbox / "plan.pdf").read_bytes() == b"mine"
    target = await open_sealed(spool, facts, inbox, name="plan.pdf", overwrite=True)
    assert target.read_bytes() == content(10)
    assert len(list(inbox.iterdir())) == 3


async def test_a_dangling_link_is_not_written_through(tmp_path: Path, inbox: Path) -> None:
    spool, facts = await sealed(tmp_path, 10)
    (inbox / "plan.pdf").symlink_to(tmp_path / "elsewhere")
    assert (await open_sealed(spool, facts, inbox, name="plan.pdf")).name == "plan (2).pdf"
    assert not (tmp_path / "elsewhere").exists()


async def test_the_senders_name_cannot_leave_the_folder(tmp_path: Path, inbox: Path) -> None:
    spool, facts = await sealed(tmp_path, 10)
    assert await open_sealed(spool, facts, inbox, name="../../evil\u202e.sh") == inbox / "evil.sh"


async def test_a_file_system_without_links_works_too(
    tmp_path: Path, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(source: object, target: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    spool, facts = await sealed(tmp_path, 10)
    names = [(await open_sealed(spool, facts, inbox, name="plan.pdf")).name for _ in range(2)]
    assert names == ["plan.pdf", "plan (2).pdf"]
    assert len(list(inbox.iterdir())) == 2


async def test_progress_is_told_to_the_end(tmp_path: Path, inbox: Path) -> None:
    told: list[Progress] = []
    source = tmp_path / "source"
    source.write_bytes(content(5_000_000))
    spool = tmp_path / "spool"
    facts = await seal_to_spool(source, spool, progress=told.append)
    assert [p.phase for p in told] == [Phase.SEAL] * len(told)
    assert told[-1] == Progress(5_000_000, 5_000_000, Phase.SEAL)
    assert [p.done for p in told] == sorted(p.done for p in told)
    assert len(told) >= 3
    told.clear()
    await open_sealed(spool, facts, inbox, name="a", progress=told.append)
    assert told[-1] == Progress(5_000_000, 5_000_000, Phase.OPEN)
    assert len(told) >= 3


@pytest.mark.parametrize("change", ["grow", "shrink", "touch"])
def test_a_source_that_changes_while_it_is_sealed_is_an_error(tmp_path: Path, change: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(content(6_000_000))
    os.utime(source, ns=(1, 1))
    pieces = _seal(source, tmp_path / "spool", b"k" * 32)
    assert next(pieces).done < 3_000_000
    match change:
        case "grow":
            with source.open("ab") as file:
                file.write(b"more")
        case "shrink":
            os.truncate(source, 3_000_000)
        case _:
            os.utime(source, ns=(2, 2))
    with pytest.raises(SourceChanged):
        list(pieces)
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


async def test_a_source_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable):
        await seal_to_spool(tmp_path / "missing", tmp_path / "spool")
    with pytest.raises(SourceUnreadable):
        await seal_to_spool(tmp_path, tmp_path / "spool")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceUnreadable):
        await seal_to_spool(tmp_path / "pipe", tmp_path / "spool")


async def test_a_source_over_the_bound_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.touch()
    os.truncate(source, MAX_BLOB_BYTES - 100)  # sparse: it takes no room
    with pytest.raises(AttachmentTooLarge):
        await seal_to_spool(source, tmp_path / "spool")
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


async def test_a_disk_that_takes_nothing_is_an_error_that_names_no_path(tmp_path: Path, inbox: Path) -> None:
    spool, facts = await sealed(tmp_path, 10)
    with pytest.raises(StorageFailed) as caught:
        await open_sealed(spool, facts, spool / "secret-folder", name="plan.pdf")
    assert "secret-folder" not in str(caught.value)
    with pytest.raises(StorageFailed):
        await seal_to_spool(tmp_path / "spool.source", tmp_path / "secret-folder" / "spool")


async def test_a_missing_spool_is_not_a_damaged_one(tmp_path: Path, inbox: Path) -> None:
    spool, facts = await sealed(tmp_path, 10)
    spool.unlink()
    with pytest.raises(SpoolMissing):
        await open_sealed(spool, facts, inbox, name="plan.pdf")


async def test_stopping_midway_leaves_nothing(tmp_path: Path, inbox: Path) -> None:
    spool, facts = await sealed(tmp_path, 8_000_000)
    before = sorted(p.name for p in tmp_path.iterdir())
    sealing = _seal(tmp_path / "spool.source", tmp_path / "other", b"k" * 32)
    next(sealing)
    assert (tmp_path / "other.part").exists()
    sealing.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    opening = _open(spool, facts, inbox, "plan.pdf", False)
    next(opening)
    assert [p.name for p in inbox.iterdir()] != ["plan.pdf"]
    opening.close()
    assert nothing_in(inbox)


async def test_the_event_loop_goes_on_while_sealing(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.touch()
    os.truncate(source, 64 * 1024 * 1024)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counter = asyncio.create_task(count())
    await seal_to_spool(source, tmp_path / "spool")
    counter.cancel()
    assert turns > 32


async def test_memory_does_not_depend_on_the_size(tmp_path: Path, inbox: Path) -> None:
    source = tmp_path / "source"
    source.touch()
    os.truncate(source, 48 * 1024 * 1024)
    tracemalloc.start()
    try:
        facts = await seal_to_spool(source, tmp_path / "spool")
        await open_sealed(tmp_path / "spool", facts, inbox, name="a")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


async def test_the_spool_is_for_this_user_alone_and_replaces_an_older_attempt(tmp_path: Path) -> None:
    (tmp_path / "spool.part").write_bytes(b"what a crash left")
    spool, _ = await sealed(tmp_path, 10)
    assert spool.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "spool.part").exists()
