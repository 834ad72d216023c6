"""`coach` against a real relay and the example portal: what a person types, and what they see."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from client_sdk.cli.errors import Exit
from client_sdk.demo.media import check_recording, make_media
from tests.e2e.cli.town import PASSPHRASE, PATIENCE, Terminal, Town, read_until, start


def test_join_remembers_where_everything_is(joined: Town) -> None:
    settings = json.loads((joined.folder / "anna.vault.settings.json").read_text())
    assert settings == {
        "relay": joined.relay.url,
        "token_url": joined.portal.token_url("anna"),
        "token_command": "",
        "engagement": joined.engagement,
        "keyring": False,
    }
    assert PASSPHRASE not in (joined.folder / "anna.vault.settings.json").read_text()


def test_joining_again_changes_the_name(joined: Town, coach: Terminal) -> None:
    again = coach.raw(*joined.join("ben", "--name", "Ben O."))
    assert again.code == Exit.DONE
    assert f"you are ben in {joined.engagement}" in again.out
    assert "Anna Lindqvist (coach)" in again.out
    coach("ben", ["send"], "so you know my new name")
    assert "Ben O.: so you know my new name" in coach("anna", ["read"]).out


def test_a_message_is_sent_and_read(coach: Terminal) -> None:
    sent = coach("anna", ["send"], "How was the week?")
    assert (sent.code, sent.out, sent.err) == (Exit.DONE, "The message is sent.\n", "")
    assert "Anna Lindqvist: How was the week?" in coach("ben", ["read"]).out
    assert "you: How was the week?" in coach("anna", ["read"]).out


def test_reading_can_be_limited_and_searched(coach: Terminal) -> None:
    for words in ("apples in May", "pears in June", "plums in July"):
        coach("anna", ["send"], words)
    newest = coach("ben", ["read"], "--limit", "2").out
    assert [line.partition(": ")[2] for line in newest.splitlines()] == ["pears in June", "plums in July"]
    found = coach("ben", ["read"], "--search", "apples").out
    assert [line.partition(": ")[2] for line in found.splitlines()] == ["apples in May"]


def test_a_long_text_comes_from_standard_input(coach: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "read", lambda: "Dear Ben,\n\nthis is long.", raising=False)
    assert coach("anna", ["send"], "-").code == Exit.DONE
    assert "Dear Ben,\n    \n    this is long." in coach("ben", ["read"], "--limit", "1").out


def test_following_shows_what_comes_and_ends_with_ctrl_c(joined: Town, coach: Terminal) -> None:
    following = start("read", "--vault", str(joined.vault("ben")), "--follow")
    try:
        read_until(following, "live from here")
        coach("anna", ["send"], "are you there?")
        assert "Anna Lindqvist: are you there?" in read_until(following, "are you there?")
        in_use = coach("ben", ["send"], "at the same time")
        assert in_use.code == Exit.VAULT
        assert "Another program has this vault open" in in_use.err
        following.send_signal(signal.SIGINT)
        rest, _none = following.communicate(timeout=PATIENCE)
        assert (following.returncode, "Traceback" in rest) == (Exit.DONE, False)
    finally:
        following.kill()
        following.communicate()


def test_a_check_in_is_asked_and_answered(coach: Terminal) -> None:
    asked = ("--scale", "Energy?", "--choice", "The step?|yes|partly", "--words", "What got in the way?")
    assert coach("anna", ["checkin", "ask"], "Your week", *asked).code == Exit.DONE
    shown = coach("ben", ["read"], "--limit", "1").out
    assert "1. Energy?  [1 to 10]\n    2. The step?  [yes / partly]\n    3. What got" in shown
    wrong = coach("ben", ["checkin", "answer"], "11", "partly", "fear")
    assert (wrong.code, "from 1 to 10" in wrong.err) == (Exit.FAILED, True)
    answered = coach("ben", ["checkin", "answer"], "7", "partly", "-")
    assert (answered.code, answered.out) == (Exit.DONE, "The answer is sent.\n")
    seen = coach("anna", ["read"], "--limit", "2").out
    assert "Energy?  7\n    The step?  partly" in seen
    assert seen.count("What got in the way?") == 1


def test_a_check_in_can_be_named(coach: Terminal) -> None:
    coach("anna", ["checkin", "ask"], "First?")
    coach("anna", ["checkin", "ask"], "Second?")
    ids = re.findall(r"check-in ([0-9a-f]{8}): First", coach("ben", ["read"]).out)
    assert coach("ben", ["checkin", "answer"], "--checkin", ids[0], "3").code == Exit.DONE
    assert f"answers to check-in {ids[0]}" in coach("anna", ["read"], "--limit", "1").out
    unknown = coach("ben", ["checkin", "answer"], "--checkin", "zzzz", "3")
    assert (unknown.code, "no check-in whose id begins with 'zzzz'" in unknown.err) == (Exit.FAILED, True)


def test_answers_that_are_missing_or_too_many(coach: Terminal) -> None:
    coach("anna", ["checkin", "ask"], "One?")
    too_many = coach("ben", ["checkin", "answer"], "1", "2")
    assert (too_many.code, "2 answers, and the check-in has 1" in too_many.err) == (Exit.USAGE, True)
    none = coach("ben", ["checkin", "answer"])
    assert (none.code, "No answers were given" in none.err) == (Exit.USAGE, True)


def test_a_file_is_sent_and_saved(joined: Town, coach: Terminal, tmp_path: Path) -> None:
    source = tmp_path / "plan.bin"
    source.write_bytes(os.urandom(300_000))
    sent = coach("anna", ["file", "send"], str(source))
    assert (sent.code, "The file plan.bin is sent." in sent.out) == (Exit.DONE, True)
    inbox = tmp_path / "inbox" / "deep"
    saved = coach("ben", ["file", "save"], "--into", str(inbox))
    assert saved.code == Exit.DONE
    assert f"Saved {inbox / 'plan.bin'} (300 kB), sent by Anna Lindqvist." in saved.out
    assert (inbox / "plan.bin").read_bytes() == source.read_bytes()
    again = coach("ben", ["file", "save"], "--into", str(inbox), "--overwrite")
    assert (again.code, [path.name for path in inbox.iterdir()]) == (Exit.DONE, ["plan.bin"])
    missing = coach("anna", ["file", "send"], str(tmp_path / "no such file"))
    assert (missing.code, "There is no file" in missing.err) == (Exit.USAGE, True)


def test_both_see_the_same_safety_numbers(coach: Terminal) -> None:
    numbers = [
        set(re.findall(r"(?:\d{5} ){5}\d{5}", coach(user, ["verify"]).out)) for user in ("anna", "ben")
    ]
    assert numbers[0] == numbers[1]
    assert len(numbers[0]) == 2


def test_verifying_is_remembered(coach: Terminal) -> None:
    shown = coach("anna", ["verify"]).out
    assert "Not marked as verified." in shown
    assert "quantum computers: messages and files yes, calls not yet." in shown
    assert "is verified from now on" in coach("anna", ["verify"], "--yes").out
    assert "is verified already" in coach("anna", ["verify"]).out
    stranger = coach("anna", ["verify"], "--person", "eve")
    assert (stranger.code, "no eve here" in stranger.err) == (Exit.FAILED, True)


def test_a_call_has_the_same_words_and_is_recorded(joined: Town, tmp_path: Path) -> None:
    film, recording = tmp_path / "film.mp4", tmp_path / "call.mp4"
    make_media(film, 6)
    ben, anna = str(joined.vault("ben")), str(joined.vault("anna"))
    answering = start("call", "answer", "--vault", ben, "--record", str(recording), "--listen", "--loopback")
    read_until(answering, "Waiting for a call")
    ringing = start("call", "ring", "--vault", anna, "--media", str(film), "--seconds", "3", "--loopback")
    outputs = [process.communicate(timeout=PATIENCE)[0] for process in (answering, ringing)]
    assert [answering.returncode, ringing.returncode] == [0, 0], outputs
    words = [re.findall(r"to each other: (.*)", output) for output in outputs]
    assert words[0] == words[1]
    assert len(words[0][0].split()) == 5
    assert "Anna Lindqvist is calling." in outputs[0]
    assert "The call is over; it lasted 3 s." in outputs[1]
    facts = check_recording(recording)
    assert facts.duration >= 1.5
    assert facts.distinct_frames >= 10
    assert facts.audio_energy >= 0.005


def test_who_hides_their_address_needs_a_turn_server_and_is_told(joined: Town) -> None:
    ben, anna = str(joined.vault("ben")), str(joined.vault("anna"))
    answering = start("call", "answer", "--vault", ben, "--listen", "--loopback")
    read_until(answering, "Waiting for a call")
    ringing = start("call", "ring", "--vault", anna, "--listen", "--relay-only")
    outputs = [process.communicate(timeout=PATIENCE)[0] for process in (answering, ringing)]
    assert [answering.returncode, ringing.returncode] == [Exit.FAILED, Exit.FAILED], outputs
    assert "With --relay-only it needs a TURN server" in outputs[1]
    assert "With --relay-only" not in outputs[0]


def test_a_call_without_anything_to_send_says_what_to_do(coach: Terminal, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no film")
    unplayable = coach("anna", ["call", "ring"], "--media", str(tmp_path / "notes.txt"))
    assert (unplayable.code, "--listen" in unplayable.err) == (Exit.FAILED, True)
    missing = coach("anna", ["call", "ring"], "--media", str(tmp_path / "none.mp4"))
    assert (missing.code, "There is no file" in missing.err) == (Exit.USAGE, True)


def test_answering_changing_taking_back_and_reacting(coach: Terminal) -> None:
    coach("anna", ["send"], "See you at nine.")
    answered = coach("ben", ["send"], "Fine.", "--reply-to", "last")
    assert (answered.code, answered.out) == (Exit.DONE, "The message is sent.\n")
    assert "Fine.\n    ↳ in reply to your message: “See you at nine.”" in coach("anna", ["read"]).out
    edited = coach("anna", ["edit"], "last", "See you at ten.")
    assert (edited.code, edited.out) == (Exit.DONE, "The new wording of “See you at nine.” is sent.\n")
    reacted = coach("ben", ["react"], "last", "thumbs-up")
    assert (reacted.code, reacted.out) == (Exit.DONE, "Your 👍 for “See you at ten.” is sent.\n")
    shown = coach("anna", ["read"], "--limit", "2").out
    assert "you: See you at ten.  (edited)  ✓✓ delivered\n    👍 Ben" in shown
    assert coach("ben", ["react"], "last", "👍", "--off").code == Exit.DONE
    assert "👍" not in coach("anna", ["read"]).out
    ids = re.findall(r"^([0-9a-f]{8})  .*See you at ten", coach("anna", ["read"], "--ids").out, re.MULTILINE)
    not_his = coach("ben", ["retract"], ids[0])
    assert (not_his.code, "Only who said something can take it back" in not_his.err) == (Exit.FAILED, True)
    gone = coach("anna", ["retract"], ids[0])
    assert gone.code == Exit.DONE
    assert "“See you at ten.” is taken back. Whoever has read" in gone.out
    after = coach("ben", ["read"]).out
    assert "Anna Lindqvist took back a message\n" in after
    assert "See you" not in after.replace("a message that was taken back", "")
    assert coach("ben", ["read"], "--search", "See you").out == ""


def test_reading_can_be_kept_to_oneself(coach: Terminal) -> None:
    coach("anna", ["send"], "Have you read this?")
    assert "you do not see what they have read" in coach("ben", ["receipts"], "off").out
    coach("ben", ["read"])
    assert "Have you read this?  ✓✓ delivered" in coach("anna", ["read"], "--limit", "1").out
    assert "you see what they have read" in coach("ben", ["receipts"], "on").out
    coach("anna", ["send"], "And this?")
    coach("ben", ["read"], "--unseen")
    assert "And this?  ✓✓ delivered" in coach("anna", ["read"], "--limit", "1").out
    coach("ben", ["read"])
    assert "And this?  ✓✓ read" in coach("anna", ["read"], "--limit", "1").out
