"""A live call whose other side is recorded and then checked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from client_sdk.cli.progress import in_seconds
from client_sdk.demo.media import check_recording, make_media
from client_sdk.demo.stage import Stage

FPS: Final = 15
SIZE: Final = (320, 240)
LEAST_PART: Final = 0.7
"""Of the call's length: connecting and hanging up take their time at both ends."""
LEAST_PICTURES: Final = 0.4
"""Of the film's pictures: a busy machine drops some, as a busy network would."""
LEAST_LOUDNESS: Final = 0.005
"""Root mean square, full scale being 1; the film's sound has about ten times as much, silence none."""


async def call(stage: Stage) -> None:
    """Anna calls with a film as her camera; Ben answers, records, and both compare the five words."""
    seconds = stage.options.call_seconds
    film, recording = stage.folder / "anna" / "camera.mp4", stage.folder / "ben" / "call.mp4"
    await asyncio.to_thread(lambda: make_media(film, seconds + 2, width=SIZE[0], height=SIZE[1], fps=FPS))
    await _connect(stage, film, recording)
    await _compare_words(stage)
    await stage.copy_relay_files("during-the-call")
    with stage.screen.progress("Anna", "speaks", unit=in_seconds) as move:
        for second in range(round(seconds) + 1):
            move(second, round(seconds))
            await asyncio.sleep(min(1.0, seconds - second))
    await stage.anna.ask("hang_up")
    ended = await stage.ben.ask("wait_ended")
    stage.screen.did("Anna", f"hung up after {ended['seconds']} s")
    await _check_recording(stage, recording, seconds)


async def _connect(stage: Stage, film: Path, recording: Path) -> None:
    seen = len(stage.ben.events)
    ringing = asyncio.create_task(stage.anna.ask("call", media=str(film)))
    stage.screen.did("Anna", "calls Ben; a short film stands in for her camera and microphone")
    await stage.ben.wait_for("Anna's call", lambda event: event["event"] == "ring", since=seen)
    await stage.ben.ask("accept", record=str(recording))
    stage.screen.did("Ben", "answers, and records")
    await ringing


async def _compare_words(stage: Stage) -> None:
    anna, ben = await stage.both("words")
    stage.check_equal(
        "the call is connected on both sides, with five words", expected=[5, 5], found=[len(anna), len(ben)]
    )
    stage.screen.did("Anna", f"sees the words  {' '.join(anna)}")
    stage.screen.did("Ben", f"sees the words  {' '.join(ben)}")
    stage.check_equal("the five words are the same: nobody listens in between", expected=anna, found=ben)
    for separator in (" ", ",", "-", '", "'):
        stage.said.text("the call's words, in four spellings", separator.join(anna))


async def _check_recording(stage: Stage, recording: Path, seconds: float) -> None:
    facts = await asyncio.to_thread(check_recording, recording)
    stage.screen.did("Ben", f"kept the recording “{recording.name}”: {facts}")
    least = seconds * LEAST_PART
    stage.check(
        f"the recording lasts {facts.duration:.1f} s",
        facts.duration >= least,
        expected=f"at least {least:.1f} s",
        found=facts,
    )
    pictures = seconds * FPS * LEAST_PICTURES
    stage.check(
        f"{facts.distinct_frames} different pictures of Anna's film came through, in the right shape",
        facts.distinct_frames >= pictures and (facts.width, facts.height) == SIZE,
        expected=f"at least {pictures:.0f} pictures of {SIZE[0]}x{SIZE[1]}",
        found=facts,
    )
    stage.check(
        f"her voice can be heard in it for {facts.audio_seconds:.1f} s (loudness {facts.audio_energy:.3f})",
        facts.audio_energy >= LEAST_LOUDNESS and facts.audio_seconds >= least,
        expected=f"at least {least:.1f} s and a loudness of {LEAST_LOUDNESS}",
        found=facts,
    )
