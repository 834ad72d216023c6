"""The film that stands in for a camera, and the look at a recording of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest

from client_sdk.demo.media import RATE, check_recording, make_media, read_number, speech


def test_a_film_is_moving_picture_and_sound(film: Path) -> None:
    facts = check_recording(film)
    assert (facts.frames, facts.distinct_frames, facts.unreadable_frames) == (45, 45, 0)
    assert (facts.width, facts.height) == (320, 240)
    assert facts.duration == pytest.approx(3, abs=0.1)
    assert facts.audio_seconds == pytest.approx(3, abs=0.1)
    assert facts.audio_energy > 0.05
    assert (facts.video_codec, facts.audio_codec) == ("h264", "aac")
    assert str(facts) == "3.0 s, 45 different pictures of 320x240, sound"


def test_each_picture_says_its_number(film: Path) -> None:
    with av.open(str(film)) as container:
        assert [read_number(frame) for frame in container.decode(video=0)] == list(range(45))


def test_other_sizes_and_rates(tmp_path: Path) -> None:
    make_media(tmp_path / "film.mp4", 0.5, width=640, height=360, fps=30)
    facts = check_recording(tmp_path / "film.mp4")
    assert (facts.width, facts.height, facts.distinct_frames) == (640, 360, 15)


def test_a_picture_without_a_number_has_none() -> None:
    grey: Any = av.VideoFrame(320, 240, "yuv420p")
    for value in (0, 128, 255):
        grey.planes[0].update(bytes([value]) * grey.planes[0].buffer_size)
        assert read_number(grey) is None


def test_speech_has_vowels_and_pauses_and_is_never_too_loud() -> None:
    samples = speech(2)
    assert len(samples) == 2 * RATE
    assert 4000 < max(samples) < 32767
    blocks = [max(map(abs, samples[i : i + 480])) for i in range(0, len(samples), 480)]
    assert sum(level == 0 for level in blocks) > 10
    assert sum(level > 1000 for level in blocks) > 50


def test_a_film_without_sound_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=15)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(ValueError):
        check_recording(path)
