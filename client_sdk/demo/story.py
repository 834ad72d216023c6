"""The order of the story's steps, what each is called, and what it tells a newcomer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from client_sdk.demo import steps_calls, steps_files, steps_inside, steps_meeting, steps_relay, steps_talking
from client_sdk.demo.stage import Stage


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it is called, why it matters, and what it does."""

    title: str
    explanation: str
    run: Callable[[Stage], Awaitable[None]]


TITLE = "Coach Relay: a coach and a client meet over a relay that cannot read them"

EXPLANATION = (
    "All of this really happens on this machine, between separate programs: a relay that passes messages "
    "on, a make-believe coaching portal that says who takes part, and two people with a program each: Anna, "
    "the coach, and Ben, her client. A check mark means that the demo compared it, value against value."
)

STEPS = (
    Step(
        "The portal opens a coaching engagement",
        "The portal knows who works with whom, and tells the relay. It gets no key to anything that is said.",
        steps_meeting.open_engagement,
    ),
    Step(
        "Anna and Ben join",
        "Each of them gets a vault: one encrypted file on their own computer, with their keys and their "
        "history. The keys are made there and never leave it.",
        steps_meeting.join,
    ),
    Step(
        "Are Anna and Ben really talking to each other?",
        "Both see a safety number for each of them. If somebody stood in between, the numbers would differ. "
        "In life Anna and Ben compare them once, by telephone or when they meet.",
        steps_meeting.compare_safety_numbers,
    ),
    Step(
        "They write to each other",
        "Messages are sealed on one computer and opened on the other.",
        steps_talking.write,
    ),
    Step(
        "Anna writes while Ben is away",
        "Ben's program is ended. The relay keeps for him what it cannot read, until he is back.",
        steps_talking.write_to_absent,
    ),
    Step(
        "A check-in between sessions",
        "A check-in asks a few questions, answered on a scale, by choice or in words.",
        steps_talking.check_in,
    ),
    Step(
        "A large file, and a computer that crashes half-way",
        "The file is sealed before it leaves. Anna's program is killed in the middle of the upload; started "
        "again, it must go on where it was, not from the beginning.",
        steps_files.send_file,
    ),
    Step(
        "A live call, recorded",
        "Picture and sound go straight from Anna to Ben, encrypted. Both see five words; they read them "
        "out to each other: the same words mean that nobody listens in between.",
        steps_calls.call,
    ),
    Step(
        "The relay crashes in the middle of a conversation",
        "The relay is killed as by a power cut while both write at once, and started again. "
        "What it had acknowledged must be there, what it had not must come again, each message once.",
        steps_relay.crash,
    ),
    Step(
        "What the relay holds",
        "Now the other side: all that the relay has on its disk, and a search in it for all that was said.",
        steps_inside.look_inside,
    ),
)

CLOSING = (
    "What the relay can tell is in the table above: who shares an engagement, when they are online, how "
    "much they send. What they say, it cannot. Until two people have compared their safety numbers or the "
    "five words of a call, they rely on portal and relay not having conspired when they first met."
)
