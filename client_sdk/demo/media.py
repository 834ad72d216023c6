"""A short film that stands in for a camera and a microphone, and a look at what became of it.

Every picture carries its number in a bar of black and white blocks at its lower edge, which survives being
encoded twice; so a recording tells how many different pictures really came through. The sound is made of
vowels, like speech.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

BITS: Final = 16
"""Of a picture's number: an hour at 15 pictures a second."""
CHECK_BITS: Final = 8
"""Tell a number that was misread from a right one."""
_BLOCKS: Final = BITS + CHECK_BITS
_BAR: Final = 8
"""The bar is one in so many parts of the height."""
_BLACK, _MIDDLE, _WHITE = 16, 126, 235

RATE: Final = 48_000
_SYLLABLE: Final = RATE // 5
_PAUSE: Final = RATE // 20
# The first two formants of a, e, i, o, u in hertz (Peterson and Barney 1952, rounded).
_VOWELS: Final = ((730, 1090), (530, 1840), (270, 2290), (570, 840), (300, 870))
_LOUDEST: Final = 9000


def make_media(path: Path, seconds: float, *, width: int = 320, height: int = 240, fps: int = 15) -> None:
    """Make a film of moving picture (H.264) and speech-like sound (AAC), always the same one.

    It blocks for about a twentieth of its length: call it off the event loop.
    """
    import av

    with av.open(str(path), "w", format="mp4") as container:
        video: Any = container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "g": str(fps)})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio: Any = container.add_stream("aac", rate=RATE, layout="mono")
        for number in range(round(seconds * fps)):
            frame = av.VideoFrame(width, height, "yuv420p")
            _paint(frame, number)
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(video.encode(frame))
        for start, samples in _blocks(speech(seconds)):
            sound: Any = av.AudioFrame("s16", "mono", len(samples))
            sound.planes[0].update(samples.tobytes())
            sound.sample_rate, sound.pts, sound.time_base = RATE, start, Fraction(1, RATE)
            container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def speech(seconds: float) -> array[int]:
    """Mono samples at 48 kHz: vowels with short pauses, the pitch going up and down."""
    samples = array("h")
    wanted = round(seconds * RATE)
    number = 0
    while len(samples) < wanted:
        pitch = 110 + 30 * math.sin(number / 2)
        samples.extend(_syllable(_VOWELS[number % len(_VOWELS)], pitch))
        samples.extend(bytes(_PAUSE))
        number += 1
    return samples[:wanted]


def _syllable(formants: tuple[int, int], pitch: float) -> array[int]:
    """One period of the vowel again and again, getting louder and softer."""
    period = round(RATE / pitch)
    harmonics = [(k, sum(1 / (1 + ((k * pitch - f) / 90) ** 2) for f in formants)) for k in range(1, 30)]
    loudness = sum(strength for _, strength in harmonics)
    wave = [
        _LOUDEST / loudness * 2 * sum(s * math.sin(2 * math.pi * k * i / period) for k, s in harmonics)
        for i in range(period)
    ]
    samples = array("h")
    for start in range(0, _SYLLABLE, period):
        level = math.sin(math.pi * (start + period / 2) / (_SYLLABLE + period))
        samples.extend(int(max(-32768, min(32767, level * value))) for value in wave)
    return samples


def _blocks(samples: array[int], size: int = 1024) -> Iterator[tuple[int, array[int]]]:
    for start in range(0, len(samples), size):
        yield start, samples[start : start + size]


def _paint(frame: Any, number: int) -> None:
    """Slanted waves that move, a bright square that crosses them, and the bar with the number."""
    width, height = frame.width, frame.height
    wave = bytes(40 + abs(x % 256 - 128) for x in range(256 + width))
    rows = [bytearray(wave[(number * 4 + y) % 256 :][:width]) for y in range(height)]
    side = height // 5
    left, top = (number * 5) % (width - side), (number * 3) % (height - height // _BAR - side)
    for row in rows[top : top + side]:
        row[left : left + side] = bytes([_WHITE - 15]) * side
    bar = _bar(number, width)
    rows[height - height // _BAR :] = [bar] * (height // _BAR)
    _fill(frame.planes[0], rows)
    for plane, shift in zip(frame.planes[1:], (0, 64), strict=True):
        hue = int(128 + 40 * math.sin((number + shift) / 20))
        _fill(plane, [bytes([hue]) * plane.width] * plane.height)


def _fill(plane: Any, rows: list[Any]) -> None:
    padding = bytes(plane.line_size - len(rows[0]))
    plane.update(b"".join(bytes(row) + padding for row in rows))


def _code(number: int) -> int:
    number %= 1 << BITS
    return number << CHECK_BITS | (number * 167 + 91) % (1 << CHECK_BITS)


def _bar(number: int, width: int) -> bytearray:
    code = _code(number)
    edges = [round(block * width / _BLOCKS) for block in range(_BLOCKS + 1)]
    bar = bytearray()
    for block in range(_BLOCKS):
        is_set = code >> (_BLOCKS - 1 - block) & 1
        bar += bytes([_WHITE if is_set else _BLACK]) * (edges[block + 1] - edges[block])
    return bar


def read_number(frame: Any) -> int | None:
    """The number in a picture's bar, or None if there is none to be read."""
    plane = frame.planes[0]
    luma = memoryview(plane)
    y = frame.height - frame.height // (2 * _BAR)
    code = 0
    for block in range(_BLOCKS):
        x = round((block + 0.5) * frame.width / _BLOCKS)
        code = code << 1 | (luma[y * plane.line_size + x] > _MIDDLE)
    number = code >> CHECK_BITS
    return number if code == _code(number) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingFacts:
    """What is in a recording.

    ``duration`` and ``audio_seconds`` in seconds; ``frames`` pictures, of which ``distinct_frames`` show
    different numbers and ``unreadable_frames`` none; ``audio_energy`` is the root mean square of the samples,
    1 being full scale.
    """

    duration: float
    width: int
    height: int
    frames: int
    distinct_frames: int
    unreadable_frames: int
    audio_seconds: float
    audio_energy: float
    video_codec: str
    audio_codec: str

    def __str__(self) -> str:
        sound = "sound" if self.audio_energy > 0.005 else "silence"
        pictures = f"{self.distinct_frames} different pictures of {self.width}x{self.height}"
        return f"{self.duration:.1f} s, {pictures}, {sound}"


def check_recording(path: Path) -> RecordingFacts:
    """Decode a recording of a film from `make_media` and say what came through.

    It blocks: call it off the event loop. Raises ValueError if the file lacks picture or sound, and what PyAV
    raises if it is no film.
    """
    import av

    with av.open(str(path)) as container:
        if not container.streams.video or not container.streams.audio:
            raise ValueError("the recording lacks picture or sound")
        video, audio = container.streams.video[0], container.streams.audio[0]
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        numbers: list[int | None] = []
        samples, squares, last = 0, 0, 0.0
        for frame in container.decode(video, audio):
            if isinstance(frame, av.VideoFrame):
                numbers.append(read_number(frame))
                last = max(last, frame.time or 0.0)
            elif isinstance(frame, av.AudioFrame):
                last = max(last, (frame.time or 0.0) + frame.samples / frame.sample_rate)
                for sound in resampler.resample(frame):
                    values = array("h", bytes(sound.planes[0])[: 2 * sound.samples])
                    samples += len(values)
                    squares += sum(value * value for value in values)
        return RecordingFacts(
            duration=last,
            width=video.codec_context.width,
            height=video.codec_context.height,
            frames=len(numbers),
            distinct_frames=len(set(numbers) - {None}),
            unreadable_frames=numbers.count(None),
            audio_seconds=samples / RATE,
            audio_energy=math.sqrt(squares / samples) / 32768 if samples else 0.0,
            video_codec=video.codec_context.name,
            audio_codec=audio.codec_context.name,
        )
