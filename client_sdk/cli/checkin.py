"""`coach checkin`: asks a few questions between sessions, and answers them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Final

from client_sdk import CheckIn, Engagement, Question
from client_sdk.cli.asking import ask as ask_person
from client_sdk.cli.errors import CliError, Exit
from client_sdk.cli.opened import opened
from client_sdk.cli.options import add_command, add_vault_options
from client_sdk.cli.printable import one_line
from client_sdk.cli.reading import find_item, newest
from client_sdk.cli.sending import report_sent
from client_sdk.cli.showing import question_line
from client_sdk.engine import CheckInItem

EXAMPLES = """\
  coach checkin ask --vault anna.vault "Energy today, 1 to 10?"
  coach checkin answer --vault ben.vault 7
"""
ASK_EXAMPLES = """\
  coach checkin ask --vault anna.vault "Energy today, 1 to 10?"
  coach checkin ask --vault anna.vault "Your week" --scale "How is your energy?" \\
      --choice "Did you take the step?|yes|partly|not yet" --words "What got in the way?"
"""
ANSWER_EXAMPLES = """\
  coach checkin answer --vault ben.vault                      asks you each question of the newest check-in
  coach checkin answer --vault ben.vault 7 partly "I waited"  answers in the order of the questions
  coach checkin answer --vault ben.vault --checkin 3fa92c01 7 - "-"   - leaves a question out
"""
LEFT_OUT: Final = "-"


def register(commands: Any) -> None:
    """Add the command and its two actions."""
    parser = add_command(
        commands, "checkin", about="ask a check-in, or answer one", examples=EXAMPLES, run=None
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    asking = add_command(actions, "ask", about="ask a few questions", examples=ASK_EXAMPLES, run=ask)
    asking.add_argument("prompt", help="what it is about; alone it is one question, answered from 1 to 10")
    for kind, form in (("scale", "TEXT"), ("choice", "TEXT|CHOICE|CHOICE"), ("words", "TEXT")):
        asking.add_argument(f"--{kind}", action=_AddQuestion, metavar=form, help=_HELP[kind])
    add_vault_options(asking)
    answering = add_command(
        actions,
        "answer",
        about="answer the newest check-in, or the one named",
        examples=ANSWER_EXAMPLES,
        run=answer,
    )
    answering.add_argument("answers", nargs="*", help="one for each question; without any, you are asked")
    answering.add_argument("--checkin", metavar="ID", default="", help="which one, as `coach read` shows it")
    add_vault_options(answering)


_HELP: Final = {
    "scale": "a question answered from 1 to 10; repeatable, as the others",
    "choice": "a question answered by one of the choices",
    "words": "a question answered in words",
}


class _AddQuestion(argparse.Action):
    """Collects the questions of all kinds in the order in which they were given."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        _option: str | None = None,
    ) -> None:
        questions = [*(getattr(namespace, "questions", None) or []), (self.dest, str(values))]
        namespace.questions = questions


async def ask(args: argparse.Namespace) -> Exit:
    """Send a check-in."""
    given = getattr(args, "questions", None) or []
    questions = tuple(_question(number, *one) for number, one in enumerate(given, 1))
    checkin = CheckIn(args.prompt, questions)
    async with opened(args) as here:
        await here.room.send(checkin)
        return await report_sent(here, "The check-in")


def _question(number: int, kind: str, text: str) -> Question:
    if kind == "choice":
        asked, *choices = (part.strip() for part in text.split("|"))
        return Question(str(number), asked, "choice", choices=tuple(choices))
    return Question(str(number), text, "scale" if kind == "scale" else "text")


async def answer(args: argparse.Namespace) -> Exit:
    """Answer a check-in."""
    async with opened(args) as here:
        await here.catch_up()
        item = await _wanted(here.room, args.checkin)
        answers = _answers(item, args.answers or _ask_person(item))
        await here.room.answer(item, answers)
        return await report_sent(here, "The answer")


async def _wanted(room: Engagement, prefix: str) -> CheckInItem:
    if prefix:
        return await find_item(room, prefix, CheckInItem, "check-in")
    return await newest(room, CheckInItem, "check-in")


def _ask_person(item: CheckInItem) -> list[str]:
    if not sys.stdin.isatty():
        raise CliError(
            f"No answers were given; “{one_line(item.prompt)}” has {len(item.questions)} questions.",
            do="Give one answer for each, in their order; - leaves one out.",
            exit_code=Exit.USAGE,
        )
    print(f"{one_line(item.sender.name)} asks: {one_line(item.prompt)}   (Enter leaves a question out)")
    return [ask_person(f"{question_line(item, index)} ") or LEFT_OUT for index in range(len(item.questions))]


def _answers(item: CheckInItem, given: Sequence[str]) -> dict[str, int | str]:
    if len(given) > len(item.questions):
        raise CliError(
            f"There are {len(given)} answers, and the check-in has {len(item.questions)} questions.",
            do="Put an answer of several words into quotation marks.",
            exit_code=Exit.USAGE,
        )
    pairs = zip(item.questions, given, strict=False)
    return {question.id: _value(question, text) for question, text in pairs if text != LEFT_OUT}


def _value(question: Question, text: str) -> int | str:
    # What is no number stays as it is: the SDK says what the question takes.
    return int(text) if question.answer == "scale" and text.strip().isdecimal() else text
