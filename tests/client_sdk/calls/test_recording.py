"""Recording: gaps stay gaps, odd pictures fit, and what cannot be written is said."""

from __future__ import annotations

import asyncio
import errno
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from client_sdk.calls.errors import RecordingFailed
from client_sdk.calls.recording import MAX_WAITING, Recorder, _Film
from client_sdk.demo.media import RATE, _paint, check_recording, speech

SPEECH = speech(1)
BOTH = frozenset({"audio", "video"})


def picture(number: int, width: int = 320, height: int = 240) -> Any:
    frame = av.VideoFrame(width, height, "yuv420p")
    _paint(frame, number)
    return frame


def sound(number: int, rate: int = RATE, layout: str = "mono") -> Any:
    samples = rate // 50
    frame: Any = av.AudioFrame("s16", layout, samples)
    data = SPEECH[number % 50 * samples :][:samples].tobytes()
    frame.planes[0].update(data * len(frame.layout.channels))
    frame.sample_rate, frame.pts, frame.time_base = rate, number * samples, Fraction(1, rate)
    return frame


async def record(path: Path, frames: list[tuple[Any, float]], kinds: frozenset[str] = BOTH) -> Recorder:
    recorder = Recorder(path, kinds=kinds)
    for frame, at in frames:
        recorder.put(frame, at)
    await recorder.close()
    return recorder


def a_second(start: float = 0.0, first: int = 0) -> list[tuple[Any, float]]:
    frames = [(picture(first + n), start + n / 15) for n in range(15)]
    frames += [(sound(n), start + n / 50) for n in range(50)]
    return sorted(frames, key=lambda entry: entry[1])


async def test_picture_and_sound_become_a_film(tmp_path: Path) -> None:
    path = tmp_path / "call.mp4"
    recorder = await record(path, a_second())
    facts = check_recording(path)
    assert (facts.frames, facts.distinct_frames, facts.unreadable_frames) == (15, 15, 0)
    assert facts.audio_seconds == pytest.approx(1, abs=0.1)
    assert facts.audio_energy > 0.03
    assert recorder.left_out == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"moov" in path.read_bytes()[-20_000:]  # an ordinary MP4, no longer fragmented


async def test_a_lost_connection_is_a_gap_of_its_length(tmp_path: Path) -> None:
    path = tmp_path / "call.mp4"
    await record(path, a_second() + a_second(3.0, 15))
    facts = check_recording(path)
    assert facts.distinct_frames == 30
    assert facts.duration == pytest.approx(4, abs=0.15)
    assert facts.audio_seconds == pytest.approx(4, abs=0.15)


async def test_jitter_makes_no_gap(tmp_path: Path) -> None:
    path = tmp_path / "call.mp4"
    late = [(frame, at + (0.05 if n % 3 else 0)) for n, (frame, at) in enumerate(a_second())]
    await record(path, late)
    assert check_recording(path).audio_seconds == pytest.approx(1, abs=0.1)


async def test_pictures_out_of_order_or_of_one_moment_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "call.mp4"
    frames = [(sound(0), 0.0), (picture(1), 0.1), (picture(2), 0.1), (picture(3), 0.05), (picture(4), 0.2)]
    await record(path, frames)
    assert check_recording(path).frames == 2


async def test_other_sizes_are_fitted_into_the_first(tmp_path: Path) -> None:
    path = tmp_path / "call.mp4"
    frames = a_second() + [(picture(20 + n, 240, 320), 1 + n / 15) for n in range(5)]
    frames += [(picture(30 + n, 640, 480), 2 + n / 15) for n in range(5)]
    await record(path, frames)
    facts = check_recording(path)
    assert (facts.width, facts.height, facts.frames) == (320, 240, 25)
    assert facts.distinct_frames >= 20  # those of the same shape are readable


async def test_sound_alone_in_a_video_call_gets_a_black_canvas_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "call.mp4"
    await record(path, [(sound(n), n / 50) for n in range(75)])
    with av.open(str(path)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) == pytest.approx(
            1.5 * RATE, rel=0.05
        )


async def test_sound_alone_in_a_sound_call(tmp_path: Path) -> None:
    path = tmp_path / "call.mp4"
    await record(path, [(sound(n, 8000), n / 50) for n in range(50)], frozenset({"audio"}))
    with av.open(str(path)) as container:
        assert not container.streams.video
        assert sum(frame.samples for frame in container.decode(audio=0)) == pytest.approx(RATE, rel=0.1)


async def test_picture_alone(tmp_path: Path) -> None:
    path = tmp_path / "call.mp4"
    await record(path, [(picture(n), n / 15) for n in range(15)])
    assert check_recording(path).distinct_frames == 15


async def test_nothing_leaves_no_file(tmp_path: Path) -> None:
    recorder = await record(tmp_path / "call.mp4", [])
    assert list(tmp_path.iterdir()) == []
    await recorder.close()  # twice is no fault


async def test_a_file_that_stands_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "call.mp4").write_bytes(b"mine")
    with pytest.raises(RecordingFailed):
        Recorder(tmp_path / "call.mp4", kinds=BOTH)
    with pytest.raises(RecordingFailed) as caught:
        Recorder(tmp_path / "secret-folder" / "call.mp4", kinds=BOTH)
    assert "secret" not in str(caught.value)
    assert (tmp_path / "call.mp4").read_bytes() == b"mine"


async def test_a_failure_is_told_at_the_end_and_never_blocks(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "call.mp4", kinds=BOTH)
    recorder.put(picture(1), 0.0)
    recorder.put(object(), 0.1)  # nothing that can be encoded
    for number in range(2 * MAX_WAITING):
        recorder.put(picture(number), 0.2 + number / 15)
    with pytest.raises(RecordingFailed):
        await recorder.close()


async def test_a_file_that_cannot_be_finished_is_told_and_never_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: _Film) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(_Film, "close", full)
    recorder = Recorder(tmp_path / "call.mp4", kinds=BOTH)
    recorder.put(picture(0), 0.0)
    async with asyncio.timeout(30):
        with pytest.raises(RecordingFailed):
            await recorder.close()


async def test_when_the_machine_is_too_slow_pictures_are_left_out_and_sound_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go = threading.Event()
    add = _Film.add

    def slow(film: _Film, frame: Any, at: float) -> None:
        may_go.wait(60)
        add(film, frame, at)

    monkeypatch.setattr(_Film, "add", slow)
    recorder = Recorder(tmp_path / "call.mp4", kinds=BOTH)
    for number in range(MAX_WAITING):
        recorder.put(picture(0, 64, 64), number / 15)
    left_out = recorder.left_out
    assert left_out > 0
    for number in range(20):
        recorder.put(sound(number), number / 50)
    assert recorder.left_out == left_out
    may_go.set()
    await recorder.close()


CRASH = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.client_sdk.calls.test_recording import BOTH, Recorder, a_second
recorder = Recorder(Path(sys.argv[1]), kinds=BOTH)
for second in range(5):
    for frame, at in a_second(second, 15 * second):
        while recorder._queue.qsize() > 100:
            time.sleep(0.01)
        recorder.put(frame, at)
while recorder._queue.qsize():
    time.sleep(0.01)
os._exit(1)
"""


def test_after_a_crash_what_was_recorded_plays(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    path = tmp_path / "call.mp4"
    subprocess.run([sys.executable, "-c", CRASH, str(path), str(root)], check=False, timeout=60, cwd=root)
    facts = check_recording(path)
    assert 30 <= facts.distinct_frames < 75
    assert facts.audio_energy > 0.03
