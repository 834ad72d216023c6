"""Kinds check themselves when they are made; answers are checked against their questions."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from client_sdk.content import CallEnded, CheckIn, CheckInAnswer, File, Outcome, Question, Text, check_answers
from client_sdk.errors import AnswerInvalid, ContentError, ContentInvalid

ID = bytes(16)
CHECKIN = CheckIn(
    "How was the week?",
    (
        Question("energy", "Energy today?"),
        Question("sleep", "Hours of sleep?", min=0, max=12),
        Question("mood", "Mood?", answer="choice", choices=("calm", "tense")),
        Question("note", "Anything else?", answer="text"),
    ),
)


def test_a_prompt_alone_asks_one_question_on_a_scale() -> None:
    (question,) = CheckIn("Energy today, 1 to 10?").questions
    assert (question.answer, question.min, question.max) == ("scale", 1, 10)
    assert question.text == "Energy today, 1 to 10?"


@pytest.mark.parametrize(
    "answers",
    [
        {"energy": 1},
        {"energy": 10, "sleep": 0, "mood": "tense", "note": "It went well."},
        {"sleep": 12},
    ],
)
def test_answers_that_fit_are_taken(answers: dict[str, int | str]) -> None:
    check_answers(CHECKIN, CheckInAnswer(ID, answers))


@pytest.mark.parametrize(
    "answers",
    [
        {"energy": 0},
        {"energy": 11},
        {"energy": "5"},
        {"sleep": 13},
        {"mood": "angry"},
        {"mood": 1},
        {"note": 5},
        {"weight": 70},
        {"energy": 5, "mood": "Calm"},
    ],
)
def test_answers_that_do_not_fit_are_refused(answers: dict[str, int | str]) -> None:
    with pytest.raises(AnswerInvalid) as caught:
        check_answers(CHECKIN, CheckInAnswer(ID, answers))
    assert caught.value.code == "answer_invalid"


def test_a_truth_value_is_no_number_on_a_scale() -> None:
    with pytest.raises(AnswerInvalid):
        CHECKIN.questions[0].check_answer(True)


@pytest.mark.parametrize(
    "arguments",
    [
        {"id": "", "text": "t"},
        {"id": "a\n", "text": "t"},
        {"id": "a", "text": ""},
        {"id": "a", "text": "t" * 2049},
        {"id": "a", "text": "t", "min": 3, "max": 3},
        {"id": "a", "text": "t", "min": -1},
        {"id": "a", "text": "t", "max": 101},
        {"id": "a", "text": "t", "min": True},
        {"id": "a", "text": "t", "answer": "text", "min": 1},
        {"id": "a", "text": "t", "choices": ("x", "y")},
        {"id": "a", "text": "t", "answer": "choice", "choices": ("x", "x")},
        {"id": "a", "text": "t", "answer": "choice", "choices": tuple(str(n) for n in range(21))},
        {"id": "a", "text": "t", "answer": "choice", "choices": ["x", "y"]},
        {"id": "a", "text": "t", "answer": "choice", "choices": ("x", "y" * 256)},
        {"id": "a", "text": "t", "extra": {"text": "again"}},
    ],
)
def test_a_question_against_the_rules_is_not_made(arguments: dict[str, Any]) -> None:
    with pytest.raises(ContentInvalid):
        Question(**arguments)


def test_a_text_holds_32_kib_and_not_a_byte_more() -> None:
    assert Text("x" * 32 * 1024)
    for wrong in ("", "x" * (32 * 1024 + 1), "\ud800", b"bytes", None):
        with pytest.raises(ContentInvalid):
            Text(wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_extra_keys_are_checked() -> None:
    wrongs: list[Any] = [{"text": "x"}, {5: 6}, {"a": object()}, {"a": 2**64}, {"a": "\ud800"}, []]
    for wrong in wrongs:
        with pytest.raises(ContentInvalid):
            Text("x", extra=wrong)


FILE: dict[str, Any] = {
    "name": "plan.pdf",
    "media_type": "application/pdf",
    "size": 10,
    "blob": "AAAAAAAAAAAAAAAAAAAAAA",
    "key": bytes(32),
    "sealed_size": 300,
    "sealed_hash": bytes(32),
}


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "a\x00b"},
        {"name": "x" * 256},
        {"media_type": "pdf"},
        {"media_type": "a/b; c=d"},
        {"size": -1},
        {"size": True},
        {"blob": "../../etc/passwd"},
        {"blob": "A" * 21 + "B"},
        {"blob": 5},
        {"key": bytes(31)},
        {"key": bytearray(32)},
        {"sealed_size": 0},
        {"sealed_hash": bytes(33)},
    ],
)
def test_a_file_against_the_rules_is_not_made(change: dict[str, Any]) -> None:
    assert File(**FILE)
    with pytest.raises(ContentInvalid):
        File(**{**FILE, **change})


def test_a_files_key_stands_in_no_repr() -> None:
    shown = repr(File(**{**FILE, "key": b"k" * 32}))
    assert "kkkk" not in shown
    assert "plan" not in shown


def test_every_outcome_of_a_call_has_words() -> None:
    for outcome in get_args(Outcome):
        assert CallEnded(ID, outcome).fallback.endswith(".")


def test_errors_say_what_to_do_and_not_what_was_said() -> None:
    with pytest.raises(ContentError) as caught:
        Text("confidential" * 4000)
    assert "Shorten or split it." in str(caught.value)
    assert "confidential" not in str(caught.value)
