"""Check-ins: structured messages between sessions, and their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self, cast

from ..errors import AnswerInvalid, ContentInvalid
from .checks import Extra, Fields, check_bytes, check_extra, check_int, check_name, check_text
from .messages import ID_BYTES
from .packing import Value

PROMPT_BYTES = 2 * 1024
"""A prompt or a question is a few sentences; whoever needs more sends a text or a file."""

ANSWER_BYTES = 8 * 1024
"""One written answer: about four printed pages."""

MOST_QUESTIONS = 20
"""More than anybody answers on a phone."""

MOST_CHOICES = 20

SCALE_HIGH = 100
"""Scales run within 0 to 100: finer ones measure nothing."""

QUESTION_ID_BYTES = 64

AnswerType = Literal["scale", "choice", "text"]

_QUESTION_KEYS = frozenset({"id", "text", "answer", "min", "max", "choices"})


@dataclass(frozen=True, slots=True)
class Question:
    """One question: on a scale (``min`` to ``max``, 1 to 10 unless given), by choice, or in words."""

    id: str
    text: str = field(repr=False)
    answer: AnswerType = "scale"
    min: int | None = None
    max: int | None = None
    choices: tuple[str, ...] = field(default=(), repr=False)
    extra: Extra = field(default_factory=dict, kw_only=True, repr=False, hash=False)

    def __post_init__(self) -> None:
        check_name("A question's id", self.id, most=QUESTION_ID_BYTES)
        check_text("A question", self.text, most=PROMPT_BYTES)
        if not isinstance(self.answer, str) or self.answer not in ("scale", "choice", "text"):
            raise ContentInvalid('A question is answered by "scale", "choice" or "text".')
        self._check_scale()
        self._check_choices()
        check_extra(self.extra, _QUESTION_KEYS)

    def _check_scale(self) -> None:
        if self.answer != "scale":
            if self.min is not None or self.max is not None:
                raise ContentInvalid("Only a question on a scale has min and max.")
            return
        low = 1 if self.min is None else self.min
        high = 10 if self.max is None else self.max
        check_int("A scale's low end", low, 0, SCALE_HIGH)
        check_int("A scale's high end", high, low + 1, SCALE_HIGH)
        object.__setattr__(self, "min", low)
        object.__setattr__(self, "max", high)

    def _check_choices(self) -> None:
        if not isinstance(self.choices, tuple):
            raise ContentInvalid("The choices of a question are a tuple of texts.")
        for choice in self.choices:
            check_name("A choice", choice)
        if self.answer != "choice" and self.choices:
            raise ContentInvalid("Only a question answered by choice has choices.")
        if self.answer == "choice" and not 2 <= len(self.choices) == len(set(self.choices)) <= MOST_CHOICES:
            raise ContentInvalid(f"A question by choice has 2 to {MOST_CHOICES} different choices.")

    def check_answer(self, value: object) -> None:
        """Whether ``value`` answers this question; raises AnswerInvalid."""
        match self.answer:
            case "scale":
                low, high = cast(int, self.min), cast(int, self.max)
                if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                    raise AnswerInvalid(
                        f"Question {self.id!r} asks for a whole number from {low} to {high}. Answer with one."
                    )
            case "choice":
                if value not in self.choices:
                    raise AnswerInvalid(f"Question {self.id!r} is answered by one of its choices. Pick one.")
            case "text":
                try:
                    check_text("The answer", value, most=ANSWER_BYTES)
                except ContentInvalid as error:
                    raise AnswerInvalid(f"Question {self.id!r} is answered in words. {error}") from error

    def to_value(self) -> dict[str, Value]:
        """The question as a map; every key is always there."""
        return {
            "id": self.id,
            "text": self.text,
            "answer": self.answer,
            "min": self.min,
            "max": self.max,
            "choices": list(self.choices),
            **self.extra,
        }

    @classmethod
    def from_value(cls, value: object) -> Self:
        """Check a received question; raises ContentInvalid."""
        fields = Fields(value, "A question")
        choices = fields.take_or("choices", [])
        return cls(
            id=cast(str, fields.take("id")),
            text=cast(str, fields.take("text")),
            answer=cast(AnswerType, fields.take("answer")),
            min=cast("int | None", fields.take_or("min", None)),
            max=cast("int | None", fields.take_or("max", None)),
            choices=cast(tuple[str, ...], tuple(choices) if isinstance(choices, list) else choices),
            extra=fields.rest(),
        )


@dataclass(frozen=True, slots=True)
class CheckIn:
    """A prompt with up to 20 questions. A prompt alone asks one question on a scale from 1 to 10."""

    KIND: ClassVar[str] = "checkin"

    prompt: str = field(repr=False)
    questions: tuple[Question, ...] = ()
    extra: Extra = field(default_factory=dict, kw_only=True, repr=False, hash=False)

    def __post_init__(self) -> None:
        check_text("The prompt", self.prompt, most=PROMPT_BYTES)
        if not self.questions:
            object.__setattr__(self, "questions", (Question("1", self.prompt),))
        if not isinstance(self.questions, tuple) or not all(isinstance(q, Question) for q in self.questions):
            raise ContentInvalid("The questions of a check-in are a tuple of Question.")
        if len(self.questions) > MOST_QUESTIONS:
            raise ContentInvalid(f"A check-in has at most {MOST_QUESTIONS} questions. Send two.")
        if len({q.id for q in self.questions}) != len(self.questions):
            raise ContentInvalid("Two questions of a check-in have the same id.")
        check_extra(self.extra, frozenset({"prompt", "questions"}))

    @property
    def fallback(self) -> str:
        """What a client shows that does not know this kind."""
        return f"Check-in: {self.prompt}"

    def to_body(self) -> dict[str, Value]:
        """The body as a map."""
        return {"prompt": self.prompt, "questions": [q.to_value() for q in self.questions], **self.extra}

    @classmethod
    def from_body(cls, body: object) -> Self:
        """Check a received body; raises ContentInvalid."""
        fields = Fields(body, "A check-in")
        questions = fields.take_tuple("questions")
        if not questions:
            raise ContentInvalid("A check-in has no question.")
        if len(questions) > MOST_QUESTIONS:
            raise ContentInvalid(f"A check-in has at most {MOST_QUESTIONS} questions.")
        return cls(
            prompt=cast(str, fields.take("prompt")),
            questions=tuple(Question.from_value(q) for q in questions),
            extra=fields.rest(),
        )


@dataclass(frozen=True, slots=True)
class CheckInAnswer:
    """Answers to a check-in: ``checkin`` is that message's id, ``answers`` go by question id.

    Questions may be left out. Whether the answers fit is for ``check_answers`` to say, which has both.
    """

    KIND: ClassVar[str] = "checkin.answer"

    checkin: bytes
    answers: Mapping[str, int | str] = field(repr=False, hash=False)
    extra: Extra = field(default_factory=dict, kw_only=True, repr=False, hash=False)

    def __post_init__(self) -> None:
        check_bytes("The check-in's id", self.checkin, ID_BYTES)
        if not isinstance(self.answers, Mapping) or not 1 <= len(self.answers) <= MOST_QUESTIONS:
            raise ContentInvalid(f"The answers to a check-in are a map with 1 to {MOST_QUESTIONS} entries.")
        for question, value in self.answers.items():
            check_name("A question's id", question, most=QUESTION_ID_BYTES)
            if isinstance(value, str):
                check_text("An answer", value, most=ANSWER_BYTES)
            else:
                check_int("An answer", value, 0, SCALE_HIGH)
        check_extra(self.extra, frozenset({"checkin", "answers"}))

    @property
    def fallback(self) -> str:
        """What a client shows that does not know this kind."""
        return "I answered the check-in."

    def to_body(self) -> dict[str, Value]:
        """The body as a map."""
        return {"checkin": self.checkin, "answers": dict(self.answers), **self.extra}

    @classmethod
    def from_body(cls, body: object) -> Self:
        """Check a received body; raises ContentInvalid."""
        fields = Fields(body, "An answer to a check-in")
        return cls(
            checkin=cast(bytes, fields.take("checkin")),
            answers=cast(Mapping[str, int | str], fields.take("answers")),
            extra=fields.rest(),
        )


def check_answers(checkin: CheckIn, answer: CheckInAnswer) -> None:
    """Whether every answer fits its question (range, one of the choices, words); raises AnswerInvalid."""
    questions = {question.id: question for question in checkin.questions}
    for question_id, value in answer.answers.items():
        if question_id not in questions:
            raise AnswerInvalid(f"The check-in has no question {question_id!r}. Answer the ones it has.")
        questions[question_id].check_answer(value)
