"""What `coach` says when something is wrong: what happened, what to do, an exit code, never a traceback."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from client_sdk.cli.errors import Exit
from tests.e2e.cli.town import COACH, PASSPHRASE, Terminal, Town


def test_a_wrong_passphrase(coach: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COACH_PASSPHRASE", "not the right one")
    said = coach("anna", ["send"], "hello")
    assert said.code == Exit.VAULT
    assert "does not open this vault" in said.err


def test_no_passphrase_and_nobody_to_ask(coach: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COACH_PASSPHRASE")
    said = coach("anna", ["read"])
    assert said.code == Exit.VAULT
    assert "COACH_PASSPHRASE" in said.err


def test_a_vault_that_is_not_there_is_not_made_by_accident(coach: Terminal, tmp_path: Path) -> None:
    said = coach.raw("send", "--vault", str(tmp_path / "typo.vault"), "hello")
    assert said.code == Exit.VAULT
    assert f"coach join --vault {tmp_path / 'typo.vault'}" in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_vault(coach: Terminal, joined: Town, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear Ben " * 100)
    said = coach.raw(
        "send",
        "--vault",
        str(tmp_path / "letter.txt"),
        "--relay",
        joined.relay.url,
        "--token-url",
        joined.portal.token_url("anna"),
        "hello",
    )
    assert said.code == Exit.VAULT
    assert (tmp_path / "letter.txt").read_text() == "Dear Ben " * 100


def test_a_relay_that_is_not_there_keeps_what_was_said(coach: Terminal, unused_tcp_port: int) -> None:
    nowhere = f"http://127.0.0.1:{unused_tcp_port}"
    said = coach("anna", ["send"], "--relay", nowhere, "--patience", "1", "said offline")
    assert said.code == Exit.WAITING
    assert "not sent yet, and kept in your vault" in said.err
    offline = coach("anna", ["read"], "--relay", nowhere, "--patience", "1", "--limit", "1")
    assert offline.code == Exit.DONE
    assert "This is what your vault has." in offline.err
    assert "said offline  (waiting to be sent)" in offline.out
    coach("anna", ["send"], "said online")
    newest = coach("ben", ["read"], "--limit", "2").out
    assert [line.partition(": ")[2] for line in newest.splitlines()] == ["said offline", "said online"]


def test_joining_without_a_relay(coach: Terminal, joined: Town, tmp_path: Path, unused_tcp_port: int) -> None:
    line = (
        "join",
        "--vault",
        str(tmp_path / "v"),
        "--relay",
        f"http://127.0.0.1:{unused_tcp_port}",
        "--token-url",
        joined.portal.token_url("anna"),
        "--patience",
        "1",
    )
    said = coach.raw(*line)
    assert said.code == Exit.RELAY
    assert "--relay" in said.err


def test_a_portal_that_refuses(coach: Terminal, joined: Town, tmp_path: Path) -> None:
    said = coach.raw(
        "join",
        "--vault",
        str(tmp_path / "eve.vault"),
        "--relay",
        joined.relay.url,
        "--token-url",
        joined.portal.token_url("eve"),
    )
    assert said.code == Exit.RELAY
    assert "answered 403" in said.err
    assert "--token-url" in said.err


def test_a_token_that_the_relay_refuses(
    coach: Terminal, joined: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_by_nobody = (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
        "eyJpc3MiOiJncm93dGgiLCJzdWIiOiJhbm5hIiwiYXVkIjoiY29hY2gtcmVsYXkifQ."
        "c2lnbmVkIGJ5IG5vYm9keSBhdCBhbGwgYXQgYWxsIGF0IGFs"
    )
    said = coach("anna", ["send"], "--token-command", f"echo {signed_by_nobody}", "kept")
    assert said.code == Exit.WAITING
    assert "The relay does not accept the access token that your portal gave you" in said.err
    assert "--token-url" in said.err


def test_a_token_of_somebody_else(coach: Terminal, joined: Town) -> None:
    said = coach("anna", ["read"], "--token-url", joined.portal.token_url("ben"), "--patience", "1")
    assert "another user" in said.err


def test_damaged_settings(coach: Terminal, joined: Town, tmp_path: Path) -> None:
    shutil.copy(joined.vault("anna"), tmp_path / "anna.vault")
    (tmp_path / "anna.vault.settings.json").write_text("{")
    said = coach.raw("read", "--vault", str(tmp_path / "anna.vault"))
    assert said.code == Exit.VAULT
    assert "Delete the file" in said.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--relay", "ftp://relay", "x"], Exit.FAILED, "must begin with https://"),
        (["--relay", "http://relay.example", "x"], Exit.FAILED, "https:// only"),
        (["--engagement", "nonsense", "x"], Exit.FAILED, "begins with eng_"),
        (["--engagement", "eng_AAAAAAAAAAAAAAAAAAAAAA", "x"], Exit.RELAY, "no such engagement"),
        ([""], Exit.FAILED, "empty"),
        (["x" * 40_000], Exit.FAILED, "at most 32768"),
    ],
    ids=["scheme", "plain http", "engagement", "foreign engagement", "empty", "too long"],
)
def test_what_makes_no_sense(coach: Terminal, arguments: list[str], code: Exit, words: str) -> None:
    said = coach("anna", ["send"], *arguments)
    assert (said.code, said.out) == (code, "")
    assert words in said.err
    assert said.err.startswith("coach: ")


def test_nobody_sent_a_file_yet(coach: Terminal, joined: Town, tmp_path: Path) -> None:
    said = coach("anna", ["file", "save"], "--into", str(tmp_path))
    assert (said.code, "Nobody has sent you a file" in said.err) == (Exit.FAILED, True)


def test_a_reader_that_has_gone_is_no_error(joined: Town) -> None:
    command = f"{shlex.join(COACH)} read --vault {joined.vault('anna')} | head -c 1"
    environment = {**os.environ, "COACH_PASSPHRASE": PASSPHRASE}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize("into", ["letter.txt", "letter.txt/below"])
def test_a_folder_that_cannot_be_made_is_named(
    coach: Terminal, joined: Town, tmp_path: Path, into: str
) -> None:
    (tmp_path / "letter.txt").write_text("Dear Ben")
    coach("anna", ["file", "send"], str(tmp_path / "letter.txt"))
    said = coach("ben", ["file", "save"], "--into", str(tmp_path / into))
    assert said.code == Exit.FAILED
    assert f"coach: This machine did not do it: {tmp_path / into}: " in said.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_an_output_that_goes_nowhere_is_told_once(joined: Town, coach: Terminal) -> None:
    coach("anna", ["send"], "hello")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COACH, "read", "--vault", str(joined.vault("anna"))],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COACH_PASSPHRASE": PASSPHRASE},
            check=False,
        )
    assert done.returncode == Exit.FAILED
    assert done.stderr.startswith("coach: This machine did not do it: No space left")
    assert len(done.stderr.splitlines()) == 2


def test_a_vault_in_a_folder_that_is_not_there(coach: Terminal, joined: Town, tmp_path: Path) -> None:
    where = ("--relay", joined.relay.url, "--token-url", joined.portal.token_url("anna"))
    said = coach.raw("join", "--vault", str(tmp_path / "none" / "anna.vault"), *where)
    assert said.code == Exit.VAULT
    assert "no folder at the place of the new vault" in said.err


def test_nothing_to_read_is_said(coach: Terminal) -> None:
    said = coach("anna", ["read"], "--search", "a word that nobody said")
    assert said.out == ""
    assert said.err == "Nothing here contains “a word that nobody said”.\n"


def test_a_keyring_that_is_not_there(joined: Town, tmp_path: Path) -> None:
    where = ("--relay", joined.relay.url, "--token-url", joined.portal.token_url("anna"))
    done = subprocess.run(
        [*COACH, "join", "--vault", str(tmp_path / "new.vault"), "--keyring", *where],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"},
        check=False,
    )
    assert done.returncode == Exit.VAULT
    assert "keyring" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
