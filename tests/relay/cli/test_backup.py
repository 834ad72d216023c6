"""`coach-relay backup` and `restore`: what they refuse, and what stands there afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

import apsw
import pytest

from relay.cli.main import main
from relay.errors import StoreUnavailable
from relay.store.sqlite import DataFolder, SqliteStreamStore
from relay.store.sqlite.folder import held_lock
from tests.conformance.support import BEN, STREAM, commit, group_of_two, held, message, messages

PART = b"sealed " * 1000


@pytest.fixture(autouse=True)
def nobody_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO(""))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A relay's data: a stream, a record, two parts of a file and one that is on its way."""
    folder = tmp_path / "data"

    async def fill() -> None:
        opened = DataFolder.open(folder)
        await group_of_two(opened.streams)
        await opened.directory.put("space", "key", b"value")
        await opened.close()

    asyncio.run(fill())
    (folder / "blobs" / "blob").mkdir(parents=True)
    (folder / "blobs" / ".staging").mkdir()
    (folder / "blobs" / ".staging" / "half").write_bytes(b"half")
    for number in range(2):
        (folder / "blobs" / "blob" / f"{number:06d}").write_bytes(PART)
    return folder


def run(data: Path, *args: str) -> int:
    return main([*args, "--data-dir", str(data)])


async def incarnation(folder: Path) -> bytes:
    store = SqliteStreamStore.open(folder)
    try:
        view = await store.view(STREAM)
        assert view is not None
        return view.incarnation
    finally:
        await store.close()


def test_all_comes_back_and_says_that_it_was_set_back(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = asyncio.run(incarnation(data))
    assert run(data, "backup", str(tmp_path / "copy")) == 0
    record = json.loads((tmp_path / "copy" / "backup.json").read_text())
    assert record["parts"] == 2
    assert not list(tmp_path.glob("copy.*"))
    assert run(tmp_path / "new", "restore", str(tmp_path / "copy"), "--yes") == 0
    assert "Start the relay" in capsys.readouterr().err

    async def look() -> None:
        opened = DataFolder.open(tmp_path / "new")
        assert [entry.seq for entry in await held(opened.streams)] == [1]
        found = await opened.directory.get("space", "key")
        assert found is not None
        assert found.value == b"value"
        await opened.close()

    asyncio.run(look())
    assert asyncio.run(incarnation(tmp_path / "new")) != before
    parts = sorted(path.name for path in (tmp_path / "new" / "blobs" / "blob").iterdir())
    assert parts == ["000000", "000001"]
    assert not (tmp_path / "new" / "blobs" / ".staging").exists()
    assert [path.name for path in (tmp_path / "new").iterdir() if path.name.endswith(".json")] == []


def test_every_restore_is_another_history(data: Path, tmp_path: Path) -> None:
    assert run(data, "backup", str(tmp_path / "copy")) == 0
    seen = {asyncio.run(incarnation(data))}
    for number in range(2):
        folder = tmp_path / f"new-{number}"
        assert run(folder, "restore", str(tmp_path / "copy"), "--yes") == 0
        seen.add(asyncio.run(incarnation(folder)))
    assert len(seen) == 3


async def test_a_copy_is_of_one_moment_while_the_relay_writes(data: Path, tmp_path: Path) -> None:
    opened = DataFolder.open(data)
    stop = False

    async def write() -> int:
        counter = 1
        while not stop:
            outcomes = await commit(opened.streams, messages(BEN, counter, *[b"x" * 4000] * 8))
            assert all(outcome.code is None for outcome in outcomes)
            counter += 8
        return counter

    writing = asyncio.create_task(write())
    await asyncio.sleep(0)
    for number in range(3):
        code = await asyncio.to_thread(run, data, "backup", str(tmp_path / f"copy-{number}"))
        assert code == 0
    stop = True
    written = await writing
    await opened.close()
    heads = []
    for number in range(3):
        folder = tmp_path / f"new-{number}"
        assert await asyncio.to_thread(run, folder, "restore", str(tmp_path / f"copy-{number}"), "--yes") == 0
        store = SqliteStreamStore.open(folder)
        seqs = [entry.seq for entry in await held(store)]
        assert seqs == list(range(1, len(seqs) + 1)), "no gap"
        heads.append(seqs[-1])
        await store.close()
    assert heads == sorted(heads)
    assert 1 <= heads[-1] <= written


@pytest.mark.parametrize("name", ["copy", "copy.unfinished"])
def test_a_destination_that_is_there_is_left_alone(
    data: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).mkdir()
    assert run(data, "backup", str(tmp_path / "copy")) == 1
    assert list((tmp_path / name).iterdir()) == []
    assert name in capsys.readouterr().err


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_relay_on_redis_is_told_where_its_data_is(
    data: Path,
    tmp_path: Path,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COACH_RELAY_REDIS_URL", "redis://127.0.0.1:6379")
    assert run(data, command, str(tmp_path / "copy")) == 1
    assert "Redis" in capsys.readouterr().err
    assert not (tmp_path / "copy").exists()


def test_a_folder_without_a_relay_is_not_backed_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", "backup", str(tmp_path / "copy")) == 1
    assert "streams.db" in capsys.readouterr().err
    assert not (tmp_path / "copy").exists()


def test_a_damaged_database_is_not_called_a_backup(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (data / "streams.db").open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 4096)
    assert run(data, "backup", str(tmp_path / "copy")) == 1
    assert "damaged" in capsys.readouterr().err
    assert not (tmp_path / "copy").exists()


def test_data_is_replaced_only_when_told_and_kept_beside(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data, "backup", str(tmp_path / "copy")) == 0
    assert run(data, "restore", str(tmp_path / "copy"), "--yes") == 1
    assert "--replace" in capsys.readouterr().err
    assert run(data, "restore", str(tmp_path / "copy"), "--replace", "--yes") == 0
    (aside,) = tmp_path.glob("data.before-*")
    assert (aside / "streams.db").exists()
    assert asyncio.run(incarnation(data)) != asyncio.run(incarnation(aside))


def test_it_asks(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(data, "backup", str(tmp_path / "copy")) == 0
    assert run(data, "restore", str(tmp_path / "copy"), "--replace") == 1
    assert "--yes" in capsys.readouterr().err
    assert list(tmp_path.glob("data.before-*")) == []


def test_not_under_a_relay_that_runs(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(data, "backup", str(tmp_path / "copy")) == 0
    with held_lock(data):
        assert run(data, "restore", str(tmp_path / "copy"), "--replace", "--yes") == 1
    assert "another relay" in capsys.readouterr().err
    assert list(tmp_path.glob("data.*")) == []


def test_a_link_to_the_data_stays_one(data: Path, tmp_path: Path) -> None:
    assert run(data, "backup", str(tmp_path / "copy")) == 0
    link = tmp_path / "link"
    link.symlink_to(data)
    before = asyncio.run(incarnation(data))
    assert run(link, "restore", str(tmp_path / "copy"), "--replace", "--yes") == 0
    assert link.is_symlink()
    assert asyncio.run(incarnation(data)) != before


def test_a_volume_is_filled_where_it_is(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A container's volume, or a folder beside which the relay's user may write nothing."""
    monkeypatch.setattr("relay.cli.restore._stays", lambda _target: True)
    assert run(data, "backup", str(tmp_path / "copy")) == 0
    inode, before = data.stat().st_ino, asyncio.run(incarnation(data))
    assert run(data, "restore", str(tmp_path / "copy"), "--replace", "--yes") == 0
    assert data.stat().st_ino == inode
    after = asyncio.run(incarnation(data))
    assert after != before
    (aside,) = data.glob("before-*")
    assert str(aside) in capsys.readouterr().err
    assert asyncio.run(incarnation(aside)) == before
    assert [path.read_bytes() for path in sorted((data / "blobs" / "blob").iterdir())] == [PART, PART]
    assert list(tmp_path.glob("data.*")) == []
    monkeypatch.undo()
    (data / "streams.db").unlink()
    (data / "directory.db").unlink()
    monkeypatch.setattr(sys, "stdin", StringIO(""))
    assert run(data, "restore", str(tmp_path / "copy"), "--replace", "--yes") == 0
    assert asyncio.run(incarnation(aside)) == before, "what was put aside in it is never deleted"


_STEPS = ("rename", "mkdir", "fsync", "unlink", "rmdir", "chmod")


def restore_and_die(data: Path, copy: Path, step: int) -> bool:
    """Restore in a process that is killed after so many things that it did to the disk; whether it was."""
    child = os.fork()
    if child == 0:
        left = [step]

        def counted(name: str) -> Callable[..., object]:
            real = getattr(os, name)

            def call(*args: Any, **options: Any) -> object:
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **options)

            return call

        for name in _STEPS:
            setattr(os, name, counted(name))
        os._exit(run(data, "restore", str(copy), "--replace", "--yes"))
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def incarnation_of_all(folder: Path) -> set[bytes]:
    """Of each whole set of data: in the folder, and put aside from it."""
    asides = [*folder.parent.glob("data.before-*"), *folder.glob("before-*")]
    whole = [path for path in asides if any(path.iterdir())]
    for path in whole:
        assert {"streams.db", "directory.db", "blobs"} <= {one.name for one in path.iterdir()}, path
    return {asyncio.run(incarnation(path)) for path in [folder, *whole]}


@pytest.mark.parametrize("inside", [False, True])
def test_a_restore_that_is_killed_anywhere_is_finished_or_said(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    monkeypatch.setattr("relay.cli.restore._stays", lambda _target: inside)
    copy, kept = tmp_path / "copy", tmp_path / "kept"
    assert run(data, "backup", str(copy)) == 0
    shutil.copytree(data, kept)
    before = asyncio.run(incarnation(kept))
    outcomes = set()
    for step in count():
        for path in (data, *tmp_path.glob("data.before-*")):
            shutil.rmtree(path)
        shutil.copytree(kept, data)
        if not restore_and_die(data, copy, step):
            break
        outcomes.add(_what_the_next_relay_finds(data, before))
        if not (data / "streams.db").exists() or asyncio.run(incarnation(data)) == before:
            assert run(data, "restore", str(copy), "--replace", "--yes") == 0
        assert before in incarnation_of_all(data), f"the data from before is whole after {step} steps"
        assert asyncio.run(incarnation(data)) != before
    assert outcomes == {"goes on as before", "is told what to do", "is restored"}


def _what_the_next_relay_finds(data: Path, before: bytes) -> str:
    try:
        asyncio.run(DataFolder.open(data).close())
    except StoreUnavailable:
        with pytest.raises(StoreUnavailable, match="restore` again with --replace, or remove"):
            DataFolder.open(data)
        assert asyncio.run(incarnation(data)) == before, "nothing was changed"
        return "is told what to do"
    return "goes on as before" if asyncio.run(incarnation(data)) == before else "is restored"


def test_what_was_cut_off_is_finished_by_the_next_restore_too(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What stood there before is in one place afterwards, whole."""
    copy = tmp_path / "copy"
    assert run(data, "backup", str(copy)) == 0
    before, step = asyncio.run(incarnation(data)), 0
    shutil.copytree(data, tmp_path / "kept")
    while not list(tmp_path.glob("data.before-*/*")):
        shutil.rmtree(data)
        shutil.copytree(tmp_path / "kept", data)
        step += 1
        restore_and_die(data, copy, step)
    capsys.readouterr()
    assert run(data, "restore", str(copy), "--replace", "--yes") == 0
    assert "was cut off before this one" in capsys.readouterr().err
    assert before in incarnation_of_all(data)
    assert len(incarnation_of_all(data)) == 3


def test_what_a_relay_left_while_a_person_was_asked_is_not_deleted(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data, "backup", str(tmp_path / "copy")) == 0
    empty = tmp_path / "empty"

    def asked(*_: object) -> None:
        async def relay() -> None:
            await DataFolder.open(empty).close()

        asyncio.run(relay())

    monkeypatch.setattr("relay.cli.restore.confirm", asked)
    assert run(empty, "restore", str(tmp_path / "copy")) == 1
    assert "--replace" in capsys.readouterr().err
    assert (empty / "streams.db").exists()


@pytest.mark.parametrize("harm", ["record", "size", "bytes", "format"])
def test_what_is_no_whole_backup_is_not_restored(
    data: Path, tmp_path: Path, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    assert run(data, "backup", str(copy)) == 0
    if harm == "record":
        (copy / "backup.json").unlink()
    elif harm == "size":
        (copy / "directory.db").write_bytes((copy / "directory.db").read_bytes()[:-1])
    elif harm == "bytes":
        with (copy / "streams.db").open("r+b") as file:
            file.seek(8192)
            file.write(b"\xff" * 4096)
    else:
        (copy / "backup.json").write_text('{"format": 99}')
    capsys.readouterr()
    assert run(tmp_path / "new", "restore", str(copy), "--yes") == 1
    assert capsys.readouterr().err.startswith("coach-relay: ")
    assert not (tmp_path / "new").exists()


def test_a_copy_is_one_file_without_a_log(data: Path, tmp_path: Path) -> None:
    assert run(data, "backup", str(tmp_path / "copy")) == 0
    names = {path.name for path in (tmp_path / "copy").iterdir()}
    assert names == {"backup.json", "blobs", "directory.db", "streams.db"}
    connection = apsw.Connection(str(tmp_path / "copy" / "streams.db"), flags=apsw.SQLITE_OPEN_READONLY)
    assert connection.pragma("journal_mode") == "delete"
    connection.close()
    assert all(path.stat().st_mode & 0o077 == 0 for path in [tmp_path / "copy"])


async def test_old_data_gets_its_history_when_it_is_opened(data: Path, tmp_path: Path) -> None:
    """A backup of the version before has no table of the history yet."""
    assert await asyncio.to_thread(run, data, "backup", str(tmp_path / "copy")) == 0
    connection = apsw.Connection(str(tmp_path / "copy" / "streams.db"))
    connection.execute("DROP TABLE history; PRAGMA user_version = 1; VACUUM")
    connection.close()
    record = json.loads((tmp_path / "copy" / "backup.json").read_text())
    record["databases"]["streams.db"] = (tmp_path / "copy" / "streams.db").stat().st_size
    (tmp_path / "copy" / "backup.json").write_text(json.dumps(record))
    before = await incarnation(data)
    restore = ("restore", str(tmp_path / "copy"), "--yes")
    assert await asyncio.to_thread(run, tmp_path / "new", *restore) == 0
    assert await incarnation(tmp_path / "new") != before
    store = SqliteStreamStore.open(tmp_path / "new")
    (outcome,) = await commit(store, message(BEN, 1))
    assert outcome.seq == 2
    await store.close()
