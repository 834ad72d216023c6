"""The picture of MLS by group size shows every figure."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from tests.bench.mls_compare import SUITES, WHAT, GroupFigure
from tests.bench.mls_picture import draw_groups

SIZES = (2, 10, 50)


def figures(*, compared: bool) -> list[GroupFigure]:
    return [
        GroupFigure(
            name="f",
            unit="us",
            rounds=(members * 1.5 + place,),
            baseline_rounds=(members * 70.0 + place,) if compared else (),
            what=what,
            members=members,
            suite=suite,
        )
        for suite in SUITES
        for members in SIZES
        for place, what in enumerate(WHAT)
    ]


@pytest.mark.parametrize("compared", [True, False])
def test_every_figure_has_its_place(compared: bool) -> None:
    picture = ElementTree.fromstring(draw_groups(figures(compared=compared), subtitle="<one machine>"))
    lines = picture.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == len(SUITES) * len(WHAT) * (2 if compared else 1)
    spots = [tuple(map(float, spot.split(","))) for line in lines for spot in line.attrib["points"].split()]
    assert len(spots) == len(lines) * len(SIZES)
    width, height = map(float, picture.attrib["viewBox"].split()[2:])
    assert all(0 < x < width and 0 < y < height for x, y in spots)
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"suite X-Wing", *WHAT, "2", "10", "50", "<one machine>"} <= set(texts)


def test_one_size_is_drawn_too() -> None:
    alone = [figure for figure in figures(compared=True) if figure.members == 2]
    assert ElementTree.fromstring(draw_groups(alone, subtitle="")) is not None
