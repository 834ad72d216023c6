"""The same bytes for the parsers of both SDKs: what one takes the other takes, and reads the same in it.

A member whose client refuses what the others' take is cut off by whoever says such a thing; one whose client
falls over it has no conversation any more. The changes are seeded; `PARSERS_ROUNDS=500` looks for new ones
for minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any, Final

import msgpack
import pytest

from client_sdk.content.packing import MAX_COUNT
from client_sdk.identity import KeyPair
from tests.abuse import mutations, parsers
from tests.abuse.parsers import DEVICE, ENGAGEMENT, KEY, SEED
from tests.browser.chromium import PACKAGE
from tests.vectors import samples

ROUNDS: Final = int(os.environ.get("PARSERS_ROUNDS", "5"))
EACH: Final = 12
BUILD_SECONDS: Final = 120
FRAMES: Final = ("relay", "device")
# What is space, and where a text ends, is not the same in every language; no parser is meant for these.
_AROUND: Final = "\x85\x1c\ufeff\u2028\xa0"

Case = tuple[str, bytes]

pytestmark = pytest.mark.skipif(
    shutil.which("npx") is None or not (PACKAGE / "node_modules").is_dir(),
    reason="Node, or what npm installs in client_sdk/browser, is not here",
)


class Judge:
    """The browser's parsers, in a process of Node."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [shutil.which("node") or "node", "--no-warnings", str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def verdicts(self, cases: Sequence[Case]) -> list[str]:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the parsers have no pipe")
        self._process.stdin.write(json.dumps([[name, data.hex()] for name, data in cases]) + "\n")
        self._process.stdin.flush()
        found: list[str] = json.loads(self._process.stdout.readline())
        return found

    def stop(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    folder = tmp_path_factory.mktemp("judge")
    built = subprocess.run(
        [
            *(shutil.which("npx") or "npx", "vite", "build", "-c"),
            "e2e/judge.config.ts",
            "--outDir",
            str(folder),
        ],
        cwd=PACKAGE,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    made = Judge(folder / "judge.js")
    yield made
    made.stop()


def changed(random: Random) -> Iterator[Case]:
    """Changed samples of each parser."""
    for kind in parsers.kinds():
        for _ in range(EACH):
            try:
                yield kind.parser, _changed_sample(random, kind)
            except (ValueError, OverflowError):
                continue  # what cannot be packed cannot come
    for name, texts in parsers.texts():
        for _ in range(EACH):
            text = mutations.changed_text(random, random.choice(texts)).strip(_AROUND)
            yield name, text.encode()


def _changed_sample(random: Random, kind: parsers.Kind) -> bytes:
    value = random.choice(kind.samples)
    match random.randrange(10):
        case 0:
            return mutations.changed_bytes(random, kind.seal(mutations.packed(value)))
        case 1 | 2:
            return kind.seal(mutations.changed_bytes(random, mutations.packed(value)))
        case _:
            return kind.seal(mutations.packed(mutations.changed_value(random, value)))


def agree(name: str, data: bytes, ours: str, theirs: str) -> bool:
    """Whether both take it and read the same in it, or neither takes it."""
    if "crash" in (ours[:5], theirs[:5]):
        return False
    if ours[:2] != theirs[:2]:
        # The browser's numbers are doubles: a relay that counts beyond 2^53 loses it, and nobody else. What
        # an unknown frame holds, nobody looks at.
        return name in FRAMES and ours.startswith("ok") and (_beyond(data) or "unknown" in ours)
    return ours[:2] == "no" or ours == theirs


def _beyond(data: bytes) -> bool:
    def beyond(value: Any) -> bool:
        if isinstance(value, list):
            return any(map(beyond, value))
        return type(value) is int and abs(value) > MAX_COUNT

    return any(map(beyond, msgpack.Unpacker(BytesIO(data), strict_map_key=False)))


def test_the_samples_themselves_are_read_alike(judge: Judge) -> None:
    cases = [
        (kind.parser, kind.seal(mutations.packed(value)))
        for kind in parsers.kinds()
        for value in kind.samples
    ]
    for (name, data), theirs in zip(cases, judge.verdicts(cases), strict=True):
        ours = parsers.verdict(name, data)
        assert ours.startswith("ok"), (name, data.hex(), ours)
        assert ours == theirs, (name, data.hex())


@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_both_read_the_same_or_neither_does(judge: Judge, seed: int) -> None:
    random = Random(seed)
    for _ in range(ROUNDS):
        cases = list(changed(random))
        for (name, data), theirs in zip(cases, judge.verdicts(cases), strict=True):
            ours = parsers.verdict(name, data)
            assert agree(name, data, ours, theirs), (
                f"{name} {data.hex()}\n  Python: {ours}\n  browser: {theirs}"
            )


_ROW: Final = list(parsers.rows()[0].values())
_CONTENT: Final = [1, 0, [], [], b""]
_FLOOR: Final = parsers.floor_sample()


def _content(**changed: Any) -> list[Any]:
    fields = dict(zip(("form", "at_ms", "rows", "people", "writer"), _CONTENT, strict=True))
    return list({**fields, **changed}.values())


def _row(at: int, value: Any) -> list[Any]:
    return [*_ROW[:at], value, *_ROW[at + 1 :]]


# What one of the two took, or fell over, before both were held against each other.
FOUND: Final[tuple[tuple[str, Any], ...]] = (
    *(("part", _content(writer=size)) for size in (2**30, 2**62)),  # so many zero bytes
    *(("part", _content(at_ms=value)) for value in (float("inf"), -1, 1.5, "0")),
    ("part", _content(rows={})),
    *(("part", _content(rows=[row])) for row in ([], ["x"], [1], _ROW[:3])),
    ("part", _content(rows=[{}])),
    *(("part", _content(rows=[_row(at, 1.5)])) for at in range(8) if at != 6),
    *(
        ("part", _content(rows=[_row(7, payload)]))
        for payload in (b"", b"\x90", b"\x92\x01\x02", b"\x92\x01\xc4\x00")
    ),
    ("part", _content(people=[["ben", 3, "Ben"]])),
    ("part", [*_CONTENT, 1]),
    ("item", {**parsers.rows()[0], "sender_user": "no id"}),
    ("item", {**parsers.rows()[0], "seq": None}),
    ("item", {**parsers.rows()[0], "about": b"x" * 16}),
    ("people", [""]),
    ("people", [[[5, b"", b""]]]),
    ("people", [["", "", ""]]),
    ("people", [{}]),
    ("floor", [*_FLOOR[:1], "x", *_FLOOR[2:]]),
    ("floor", [*_FLOOR[:1], [], *_FLOOR[2:]]),
    ("floor", [*_FLOOR[:8], b"", *_FLOOR[9:]]),
    ("floor", [*_FLOOR[:10], [[1]], *_FLOOR[11:]]),
    *(
        ("ref", value)
        for value in ([ENGAGEMENT, ""], [ENGAGEMENT, 0, "", b"", 0], [ENGAGEMENT, "", "", b"", 0, 0])
    ),
    *(("floors", value) for value in ([0], [0, 0, 0], [0, 0, True], [0, 0, False, 1], [False, 0])),
    ("grant", [parsers.OWN_LIST.raw, b"", "Anna", [], 1]),
    ("grant", [parsers.OWN_LIST.raw, b"", "Anna", [[SEED, 5]]]),
    ("hello", [True, "growth", "anna", KeyPair.from_private(KEY).public, "other", KEY]),
    ("writer", [1, "growth", "anna", 2**40, 0, []]),
    ("writer", [1, "growth", "anna", DEVICE.public, float("inf"), []]),
    ("trust", [True, *parsers.trust_sample()[1:]]),
    ("trust", [*parsers.trust_sample()[:4], -1, 0, False]),
)


@pytest.mark.parametrize(("name", "value"), FOUND)
def test_what_one_of_them_took_once_is_refused_by_both(judge: Judge, name: str, value: Any) -> None:
    kind = next(kind for kind in parsers.kinds() if kind.parser == name)
    data = kind.seal(mutations.packed(value))
    (theirs,) = judge.verdicts([(name, data)])
    assert [parsers.verdict(name, data)[:3], theirs[:3]] == ["no ", "no "]


def test_numbers_in_messages_are_those_that_every_client_holds(judge: Judge) -> None:
    said = [1, samples.some(1), 1, [0, 0, bytes(32)], [], 0, "text", 1, False, "", {"text": "x"}]
    for at, least in ((2, 1), (5, 0), (7, 1)):
        for value, verdict in ((least, "ok"), (MAX_COUNT, "ok"), (MAX_COUNT + 1, "no"), (2**63 - 1, "no")):
            data = mutations.packed([*said[:at], value, *said[at + 1 :]])
            (theirs,) = judge.verdicts([("envelope", data)])
            assert [parsers.verdict("envelope", data)[:2], theirs[:2]] == [verdict, verdict], (at, value)
