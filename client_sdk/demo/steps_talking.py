"""Messages both ways, a message to somebody who is away, and a check-in."""

from __future__ import annotations

from typing import Any

from client_sdk.demo.actors import Actor
from client_sdk.demo.stage import Stage

FROM_ANNA = "Hello Ben, how was the talk with your board on Tuesday?"
FROM_BEN = "Better than I feared – I said what I wanted to say. My hands were shaking, though."
WHILE_AWAY = (
    "That took courage. One thought for the week: who on the board is already on your side?",
    "We can pick this up on Thursday at ten.",
)
PROMPT = "Your week in three questions"
QUESTIONS: list[dict[str, Any]] = [
    {
        "id": "energy",
        "text": "How is your energy today, from 1 to 10?",
        "answer": "scale",
        "min": 1,
        "max": 10,
    },
    {
        "id": "step",
        "text": "Did you take the step we agreed on?",
        "answer": "choice",
        "choices": ["yes", "partly", "not yet"],
    },
    {"id": "words", "text": "What got in the way?", "answer": "text"},
]
ANSWERS: dict[str, int | str] = {
    "energy": 7,
    "step": "partly",
    "words": "I waited for a perfect moment that never came.",
}


async def write(stage: Stage) -> None:
    """One message each way."""
    await say(stage, stage.anna, stage.ben, FROM_ANNA)
    await say(stage, stage.ben, stage.anna, FROM_BEN)


async def write_to_absent(stage: Stage) -> None:
    """Ben's program ends, Anna writes, Ben comes back."""
    await stage.ben.close()
    stage.screen.did("Ben", "closed his program; nothing of his runs now")
    for words in WHILE_AWAY:
        await stage.anna.ask("send", text=words)
        stage.screen.says("Anna", words)
    await stage.anna.ask("wait_sent")
    stage.check_equal(
        "the relay took both messages while Ben was away", expected=0, found=await stage.anna.ask("outbox")
    )
    await stage.copy_relay_files("ben-away")
    seen = len(stage.ben.events)
    await come_back(stage, stage.ben)
    stage.screen.did("Ben", "started his program again and opened his vault")
    for words in WHILE_AWAY:
        await stage.ben.wait_item("the message from while he was away", since=seen, text=words, sender="anna")
    received = [event["text"] for event in stage.ben.items(since=seen) if event["kind"] == "text"]
    stage.check_equal("Ben received both, once each, in order", expected=list(WHILE_AWAY), found=received)
    stage.said.text("messages", *WHILE_AWAY)


async def check_in(stage: Stage) -> None:
    """Anna asks three questions, Ben answers them."""
    checkin = await stage.anna.ask("check_in", prompt=PROMPT, questions=QUESTIONS)
    stage.screen.did("Anna", f"asked for a check-in: “{PROMPT}”")
    asked = await stage.ben.wait_item("the check-in", kind="checkin", id=checkin)
    stage.check_equal(
        "Ben sees Anna's three questions as she wrote them",
        expected=[q["text"] for q in QUESTIONS],
        found=[q["text"] for q in asked["questions"]],
    )
    await stage.ben.ask("answer", checkin=checkin, answers=ANSWERS)
    for question in QUESTIONS:
        stage.screen.did("Ben", f"{question['text']} {ANSWERS[question['id']]}")
    answer = await stage.anna.wait_item("Ben's answers", kind="checkin.answer", checkin=checkin)
    stage.check_equal(
        "Anna received exactly these answers, to this check-in", expected=ANSWERS, found=answer["answers"]
    )
    stage.said.text(
        "the check-in's prompt and questions", PROMPT, *(question["text"] for question in QUESTIONS)
    )
    stage.said.text("the check-in's answers", str(ANSWERS["words"]))


async def say(stage: Stage, sender: Actor, receiver: Actor, words: str) -> None:
    """Send a text and check that it arrives, word for word and under the sender's name."""
    seen = len(receiver.events)
    stage.screen.says(sender.name, words)
    message = await sender.ask("send", text=words)
    found = await receiver.wait_item("the message", since=seen, id=message)
    stage.check_equal(
        f"{receiver.name} received it word for word, as coming from {sender.full_name}",
        expected=(words, sender.full_name),
        found=(found["text"], found["name"]),
    )
    stage.said.text("messages", words)


async def come_back(stage: Stage, actor: Actor) -> None:
    """Start a participant's program again with the vault it has."""
    await actor.start()
    await actor.ask("open", engagement=stage.engagement)
    await actor.ask("caught_up")
