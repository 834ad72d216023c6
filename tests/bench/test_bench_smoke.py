"""The harness measures something true: tiny counts, no assertion on time."""

from __future__ import annotations

import json
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from relay.wire.codec import decode_from_device
from relay.wire.frames import Ack, Append, EntryKind
from relay.wire.ids import EngagementId
from tests.bench import machine
from tests.bench.context import Context
from tests.bench.figures import Bound, Figure, Target, percentile
from tests.bench.picture import draw
from tests.bench.plan import TINY
from tests.bench.progress import Progress
from tests.bench.report import notes, number, table, write_json
from tests.bench.run import MEASUREMENTS
from tests.bench.traffic import Bodies, Pair
from tests.bench.websocket import WebSocket
from tests.support import real_redis

STREAM = EngagementId("eng_" + "A" * 22)
FIGURES_OF = {
    "throughput": 3,
    "latency": 3,
    "drain": 2,
    "memory": 2,
    "mls": 4,
    "mls-groups": 15,
    "files": 6,
    "redis": 3,
    "nodes": 4,
}
NEEDS_REDIS = {"redis", "nodes"}


def test_every_measurement_is_tried() -> None:
    assert set(FIGURES_OF) == set(MEASUREMENTS)


@pytest.mark.parametrize("name", list(MEASUREMENTS))
def test_a_measurement_gives_its_figures(name: str, tmp_path: Path) -> None:
    if name in NEEDS_REDIS and real_redis.PROGRAM is None:
        pytest.skip(real_redis.MISSING)
    context = Context(
        plan=TINY, cores=machine.choose_cores(), folder=tmp_path, progress=Progress(silent=True)
    )
    figures = MEASUREMENTS[name](context)
    assert len(figures) == FIGURES_OF[name]
    for figure in figures:
        assert len(figure.rounds) == TINY.rounds
        assert len(figure.baseline_rounds) in (0, TINY.rounds)
        assert figure.unit in ("KB", "MiB") or figure.value > 0
        assert figure.target is None or figure.met in (True, False)


async def test_the_prepared_frames_are_those_of_the_protocol() -> None:
    pair = Pair(STREAM, WebSocket(), WebSocket(), counter=1, seq=1)
    bodies = Bodies(512)
    frames = decode_from_device(pair.appends(2, bodies) + pair.appends(1, bodies) + pair.ack(7))
    assert [type(frame) for frame in frames] == [Append, Append, Append, Ack]
    appends = [frame for frame in frames if isinstance(frame, Append)]
    assert [append.counter for append in appends] == [2, 3, 4]
    assert {(append.stream, append.kind, append.after_commit) for append in appends} == {
        (STREAM, EntryKind.MESSAGE, 1)
    }
    assert len({append.body for append in appends}) == 3
    assert {len(append.body) for append in appends} == {512}
    assert frames[-1] == Ack(STREAM, 7)


@pytest.mark.parametrize(
    ("bound", "limit", "value", "baseline", "met"),
    [
        (Bound.RATIO_AT_LEAST, 0.2, 2.0, 10.0, True),
        (Bound.RATIO_AT_LEAST, 0.2, 1.9, 10.0, False),
        (Bound.RATIO_AT_MOST, 5.0, 5.0, 1.0, True),
        (Bound.RATIO_AT_MOST, 5.0, 5.1, 1.0, False),
        (Bound.VALUE_AT_MOST, 0.3, 0.3, None, True),
        (Bound.VALUE_AT_MOST, 0.3, 0.31, 99.0, False),
        (Bound.RATIO_AT_LEAST, 0.2, 2.0, None, False),
    ],
)
def test_a_target_is_met_or_missed(
    bound: Bound, limit: float, value: float, baseline: float | None, met: bool
) -> None:
    rounds = () if baseline is None else (baseline,)
    figure = Figure(name="f", unit="s", rounds=(value,), baseline_rounds=rounds, target=Target(bound, limit))
    assert figure.met is met


def test_a_figure_is_the_median_of_its_rounds() -> None:
    figure = Figure(name="f", unit="s", rounds=(9.0, 1.0, 3.0), baseline_rounds=(1.5, 100.0, 0.0))
    assert (figure.value, figure.baseline, figure.ratio, figure.met) == (3.0, 1.5, 2.0, None)


def test_percentiles_are_of_the_values() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1.0)) == (50.0, 99.0, 100.0)
    assert percentile([4.0], 0.99) == 4.0
    with pytest.raises(ValueError):
        percentile([], 0.5)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.01234, "0.0123"), (9.996, "10"), (99.96, "100"), (1234.5, "1,234"), (1e-5, "0.000010")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_the_report_holds_every_figure(tmp_path: Path) -> None:
    figures = [
        Figure(
            name="fast <enough>",
            unit="s",
            rounds=(0.1,),
            target=Target(Bound.VALUE_AT_MOST, 0.3),
            note="said once",
        ),
        Figure(
            name="slow",
            unit="thousand/s",
            rounds=(1.0,),
            baseline_name="bare & simple",
            baseline_rounds=(10.0,),
            target=Target(Bound.RATIO_AT_LEAST, 0.2),
            note="said once",
        ),
        Figure(name="nothing", unit="KB", rounds=(0.0,)),
    ]
    lines = table(figures).splitlines()
    assert [line.split("  ")[0] for line in lines[2:]] == ["fast <enough>", "slow", "nothing"]
    assert lines[2].endswith("<= 0.3 s      met")
    assert lines[3].endswith("0.1  ratio >= 0.2  MISSED")
    assert notes(figures) == ["said once"]

    write_json(tmp_path / "latest.json", figures, machine={"cpu": "one"})
    written = json.loads((tmp_path / "latest.json").read_text(encoding="utf-8"))
    assert [(figure["name"], figure["ratio"], figure["met"]) for figure in written["figures"]] == [
        ("fast <enough>", None, True),
        ("slow", 0.1, False),
        ("nothing", None, None),
    ]

    picture = ElementTree.fromstring(draw(figures, title="A & B", subtitle="<one machine>"))
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"fast <enough>", "slow", "nothing", "10 thousand/s, bare & simple"} <= set(texts)


def test_what_the_machine_says_is_plausible(tmp_path: Path) -> None:
    assert machine.cpu_seconds(os.getpid()) > 0
    assert 0 < machine.resident_bytes(os.getpid()) <= machine.peak_resident_bytes()
    assert machine.Others().share() >= 0
    assert machine.syncs_per_second(tmp_path, seconds=0.01) > 0
    assert machine.allow_open_files(10) == 10
