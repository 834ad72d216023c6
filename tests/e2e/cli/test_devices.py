"""`coach devices`: a second device by twelve words, and away again, against a real relay."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from client_sdk.cli.errors import Exit
from tests.e2e.cli.town import PATIENCE, Terminal, Town, read_until, start


@contextmanager
def new_device(
    town: Town, vault: str, user: str, name: str
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A new device that shows its words, until the block ends."""
    where = ("--relay", town.relay.url, "--token-url", town.portal.token_url(user))
    process = start("devices", "new", "--vault", str(town.vault(vault)), *where, "--device-name", name)
    try:
        shown = read_until(process, "Waiting ...")
        yield process, re.findall(r"\d+\. ([a-z]+)", shown)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def laptop(joined: Town, coach: Terminal) -> str:
    """The vault of Anna's second device."""
    if not joined.vault("laptop").exists():
        with new_device(joined, "laptop", "anna", "Anna's laptop") as (process, words):
            assert len(words) == 12
            typed = coach("anna", ["devices", "link"], *words, "--confirm", "anna's LAPTOP")
            assert (typed.code, typed.err) == (Exit.DONE, "")
            assert "Anna's laptop is linked." in typed.out
            out, _ = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, out
            assert "Linked: you are Anna" in out
            assert "Everything is here." in out
    return "laptop"


def test_a_new_device_has_what_was_said(joined: Town, coach: Terminal, laptop: str) -> None:
    coach("ben", ["send"], "for both of your devices")
    before = coach("anna", ["read"]).out
    assert coach(laptop, ["read"]).out == before
    assert "for both of your devices" in before
    assert coach(laptop, ["send"], "from the laptop").code == Exit.DONE
    assert "from the laptop" in coach("ben", ["read"]).out
    assert "you: from the laptop" in coach("anna", ["read"]).out


def test_the_list_names_them(coach: Terminal, laptop: str) -> None:
    listed = coach(laptop, ["devices", "list"]).out
    assert "Anna's laptop (this device)" in listed
    assert "may link others" in listed
    assert "Anna's laptop\n" in coach("anna", ["devices", "list"]).out


def test_what_cannot_be_is_said_in_words(coach: Terminal, laptop: str) -> None:
    refused = coach(laptop, ["devices", "revoke"], "nobody", "--yes")
    assert refused.code == Exit.FAILED
    assert "There is no device called “nobody”. Your devices: " in refused.err
    wrong = coach("anna", ["devices", "link"], *["abandon"] * 11, "--confirm", "x")
    assert "these are 11" in wrong.err
    listed = coach("anna", ["devices", "list"]).out
    first = next(line.split()[0] for line in listed.splitlines() if "this device" in line)
    may_not = coach(laptop, ["devices", "revoke"], first, "--yes")
    assert "This device may not change the list of your devices." in may_not.err


def test_another_name_than_the_one_shown_links_nothing(joined: Town, coach: Terminal, laptop: str) -> None:
    with new_device(joined, "stranger", "anna", "somebody else's phone") as (process, words):
        typed = coach("anna", ["devices", "link"], *words, "--confirm", "Anna's tablet")
        assert typed.code == Exit.FAILED
        assert "Not linked." in typed.out
        out, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode != 0
        assert "this one was not let in" in out
    assert "somebody else" not in coach("anna", ["devices", "list"]).out


def test_a_lost_device_is_removed(coach: Terminal, laptop: str) -> None:
    removed = coach("anna", ["devices", "revoke"], "Anna's laptop", "--yes")
    assert (removed.code, removed.err) == (Exit.DONE, "")
    assert "The relay does not let it in any more." in removed.out
    assert "Every conversation has removed Anna's laptop" in removed.out
    coach("ben", ["send"], "not for the laptop")
    assert "not for the laptop" in coach("anna", ["read"]).out
    tried = coach(laptop, ["read"])
    assert "not for the laptop" not in tried.out
    assert "device_revoked" in tried.err
