"""`coach devices`: a second device by twelve words, and away again, against a real relay."""

from __future__ import annotations

import io
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import segno

from client_sdk.cli.errors import Exit
from client_sdk.devices import LinkSecret
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
            assert "sending what was said" in typed.out
            assert "Anna's laptop is linked." in typed.out
            out, _ = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, out
            assert "Linked: you are Anna" in out
            assert "receiving what was said" in out
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


def test_the_code_that_is_drawn_says_the_same_as_the_words(joined: Town) -> None:
    where = ("--relay", joined.relay.url, "--token-url", joined.portal.token_url("anna"))
    process = start("devices", "new", "--vault", str(joined.vault("drawn")), *where)
    try:
        shown = read_until(process, "Waiting ...")
    finally:
        process.kill()
        process.communicate()
    drawn = io.StringIO()
    words = " ".join(re.findall(r"\d+\. ([a-z]+)", shown))
    segno.make(LinkSecret.read(words).code, error="m").terminal(out=drawn, compact=True)
    assert drawn.getvalue().strip()
    assert drawn.getvalue() in shown


def test_the_list_names_them(coach: Terminal, laptop: str) -> None:
    listed = coach(laptop, ["devices", "list"]).out
    assert "Anna's laptop (this device)" in listed
    assert "may link others" in listed
    assert "Anna's laptop\n" in coach("anna", ["devices", "list"]).out


def test_a_device_is_called_what_its_person_says(coach: Terminal, laptop: str) -> None:
    renamed = coach("anna", ["devices", "rename"], "Anna's laptop", "Anna's laptop\tat work")
    assert "is called Anna's laptop at work here now." in renamed.out
    assert "Anna's laptop at work\n" in coach("anna", ["devices", "list"]).out
    assert coach("anna", ["devices", "rename"], "Anna's laptop at work", "Anna's laptop").code == Exit.DONE
    this = coach("anna", ["devices", "list"]).out.splitlines()[0]
    assert not this.split("  ")[2].startswith("device "), "the computer's name, at least"


def test_who_may_not_link_is_told_before_typing_words(coach: Terminal, laptop: str) -> None:
    refused = coach(laptop, ["devices", "link"])
    assert refused.code == Exit.FAILED
    assert "This device may not change the list of your devices. Do it on one of these: " in refused.err


def test_linking_goes_on_after_the_program_died(joined: Town, coach: Terminal, laptop: str) -> None:
    with new_device(joined, "phone", "anna", "Phone") as (process, words):
        typed = start("devices", "link", "--vault", str(joined.vault("anna")), *words, "--confirm", "phone")
        read_until(process, "Linked")
        typed.kill()
        typed.communicate()
        again = coach("anna", ["devices", "link"])
        if again.code != Exit.DONE:  # it had been done before it died
            assert "There is no terminal to ask on." in again.err
        else:
            assert "Going on with linking Phone: leave both devices on until it is done." in again.out
            assert "Phone is linked." in again.out
        out, _ = process.communicate(timeout=PATIENCE)
        assert "Everything is here." in out
    assert coach("phone", ["read"]).out == coach("anna", ["read"]).out
    assert coach("anna", ["devices", "revoke"], "phone", "--yes").code in (Exit.DONE, Exit.FAILED)
    assert coach("anna", ["devices", "revoke"], "Phone", "--yes").code == Exit.DONE


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
    saying = coach(laptop, ["send"], "from outside")
    assert saying.code == Exit.RELAY
    assert "The message is not sent, and stays in this vault. Another of your devices, or your" in saying.err
    assert "token" not in saying.err
    linking = coach(laptop, ["devices", "link"])
    assert linking.code == Exit.RELAY
    assert "has removed this device" in linking.err
