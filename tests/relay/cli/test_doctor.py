"""`coach-relay doctor`: what it finds, what it says to do, and its exit code."""

from __future__ import annotations

import errno
import os
import resource
import socket
import time
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from relay.cli import checks
from relay.cli.checks import CHECKS, FLOORS, SQLITE_FLOOR
from relay.cli.findings import Finding, Level
from relay.cli.main import main
from relay.config import Settings, load_settings
from relay.store.sqlite import DataFolder, database
from tests.relay.cli.processes import ROOT, relay_process
from tests.relay.cli.test_serve import certificate


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(environ={}, options={"data_dir": tmp_path / "data", "port": 0})


def failures(findings: list[Finding]) -> list[str]:
    return [finding.what for finding in findings if finding.level is Level.FAILED]


def looked(settings: Settings) -> list[Finding]:
    return [finding for check in CHECKS for finding in check(settings)]


async def make_data(settings: Settings) -> None:
    await DataFolder.open(settings.data_dir).close()


def test_a_new_machine_is_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--data-dir", str(tmp_path / "data")]) == 0
    said = capsys.readouterr().out
    assert "does not exist yet" in said
    assert said.endswith("Nothing failed.\n")
    assert not (tmp_path / "data").exists()


async def test_a_relay_that_has_run_is_fine(settings: Settings) -> None:
    await make_data(settings)
    findings = looked(settings)
    assert failures(findings) == []
    said = " ".join(finding.what for finding in findings)
    for name in (
        "Python",
        "SQLite",
        "aiohttp",
        "durable",
        "streams.db is whole",
        "directory.db is whole",
        "clock",
    ):
        assert name in said


async def test_it_runs_beside_the_relay(tmp_path: Path) -> None:
    async with relay_process(tmp_path) as relay:
        port = int(relay.url.rpartition(":")[2])
        settings = load_settings(environ={}, options={"data_dir": Path(relay.data), "port": port})
        findings = looked(settings)
        assert failures(findings) == []
        assert any("something listens" in finding.what for finding in findings)
        assert await relay.stop() == 0


def test_every_failure_says_what_to_do(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "PYTHON_FLOOR", (9, 0))
    monkeypatch.setattr(checks, "SQLITE_FLOOR", "99.0.0")
    monkeypatch.setattr(checks, "FLOORS", {"aiohttp": "99.0", "no-such-package": "1.0"})
    findings = looked(settings)
    assert len(failures(findings)) == 4
    assert all(finding.do for finding in findings if finding.level is not Level.OK)


def test_wrong_settings_are_a_failed_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "relay.toml").write_text("prot = 1")
    assert main(["doctor", "--config", str(tmp_path / "relay.toml")]) == 1
    assert "the nearest one is port" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["streams.db", "directory.db"])
async def test_a_damaged_database_is_found(
    settings: Settings, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await make_data(settings)
    (settings.data_dir / name).write_bytes(b"SQLite format 3\0" + b"\xff" * 8176)
    assert main(["doctor", "--data-dir", str(settings.data_dir)]) == 1
    assert f"FAILED  {name}" in capsys.readouterr().out


async def test_damage_inside_a_database_is_found(settings: Settings) -> None:
    await make_data(settings)
    path = settings.data_dir / "directory.db"
    with path.open("r+b") as file:
        file.seek(8192)  # the header of its second page
        file.write(b"\xff" * 200)
    assert any("directory.db" in what for what in failures(looked(settings)))


async def test_it_changes_nothing(settings: Settings) -> None:
    await make_data(settings)
    before = {path.name: path.read_bytes() for path in settings.data_dir.iterdir()}
    looked(settings)
    after = {
        path.name: path.read_bytes()
        for path in settings.data_dir.iterdir()
        if not path.name.endswith(("-shm", "-wal"))
    }
    assert after == before


def test_a_folder_that_is_a_file(settings: Settings) -> None:
    settings.data_dir.write_text("")
    assert any("cannot be written" in what for what in failures(list(checks.check_folder(settings))))


def test_others_may_not_look(settings: Settings) -> None:
    settings.data_dir.mkdir(mode=0o755)
    assert any("chmod 700" in finding.do for finding in checks.check_folder(settings))


def test_too_little_room(tmp_path: Path) -> None:
    options = {"data_dir": tmp_path, "reserved_disk_bytes": 2**50}
    settings = load_settings(environ={}, options=options)
    assert any("uploads are refused" in what for what in failures(list(checks.check_folder(settings))))


def test_a_slow_disk(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.data_dir.mkdir(mode=0o700)
    monkeypatch.setattr(checks, "SLOW_FSYNC_MS", 0.0)
    assert any("faster disk" in finding.do for finding in checks.check_folder(settings))


def test_a_disk_that_takes_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    settings.data_dir.mkdir(mode=0o700)
    monkeypatch.setattr(os, "fdatasync", full)
    assert "nothing can be written there: No space left on device" in failures(
        list(checks.check_folder(settings))
    )


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    options = {
        "host": "192.0.2.1",
        "behind_proxy": True,
        "public_origins": ["https://r.example"],
        "data_dir": tmp_path,
    }
    settings = load_settings(environ={}, options=options)
    assert failures(list(checks.check_port(settings)))


def test_a_port_that_something_has(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = load_settings(environ={}, options={"port": taken.getsockname()[1], "data_dir": tmp_path})
        assert [finding.level for finding in checks.check_port(settings)] == [Level.OK]


def test_too_few_open_files(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, 4096))
    assert [finding.level for finding in checks.check_descriptors(settings)] == [Level.NOTE]


@pytest.mark.parametrize(("days", "level"), [(30, Level.OK), (45, Level.NOTE), (100, Level.FAILED)])
def test_a_certificate_runs_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, level: Level
) -> None:
    cert, key = certificate(tmp_path)  # good for 40 days
    options = {"tls_cert": cert, "tls_key": key, "data_dir": tmp_path}
    settings = load_settings(environ={}, options=options)
    monkeypatch.setattr(checks, "CERTIFICATE_DAYS", days if days < 100 else 14)
    if days == 100:
        monkeypatch.setattr(checks, "_now", lambda: time.time() + timedelta(days=days).total_seconds())
    assert [finding.level for finding in checks.check_certificate(settings)] == [level]


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    cert.write_text("not a certificate")
    settings = load_settings(environ={}, options={"tls_cert": cert, "tls_key": key, "data_dir": tmp_path})
    assert failures(list(checks.check_certificate(settings)))


async def test_a_clock_that_was_set_back(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    await make_data(settings)
    monkeypatch.setattr(checks, "_now", lambda: time.time() - 3600)
    assert any("set back" in what for what in failures(list(checks.check_clock(settings))))
    monkeypatch.setattr(checks, "_now", lambda: 1_000_000_000.0)
    assert any("years behind" in what for what in failures(list(checks.check_clock(settings))))


def test_the_floors_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["relay"]
    declared = dict(line.split(";")[0].split(">=") for line in wanted)
    assert {name: declared[name] for name in FLOORS} == FLOORS
    assert tuple(map(int, SQLITE_FLOOR.split("."))) == database.SQLITE_FLOOR
