"""What figures draw."""

import re
from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from clinfit.evaluation.analyses.curves import curves
from clinfit.evaluation.answers import LabelAnswers
from clinfit.report.figures.basic import FOREST, Estimate, forest_figure
from clinfit.report.figures.clinical import Curve, precision_recall_steps, roc_figure
from clinfit.report.figures.pareto import HEIGHT, label_places, tick
from clinfit.report.figures.subgroups import GroupEstimate, subgroup_figure
from clinfit.report.figures.svg import FRONT, Drawing


def test_the_area_under_the_drawn_curve_is_the_average_precision() -> None:
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 2, 80)
    yes = np.round(np.clip(0.3 * gold + 0.7 * rng.random(80), 0, 1), 1)
    nothing = np.full(80, np.nan)
    answers = LabelAnswers(("no", "yes"), 1, gold, (yes > 0.5).astype(int), np.column_stack([1 - yes, yes]), nothing)
    drawn = curves(answers, 0.95)
    assert drawn is not None
    recall, precision = precision_recall_steps(drawn["precision_recall"])
    assert recall[0] == 0
    assert np.trapezoid(precision, recall) == pytest.approx(average_precision_score(gold, yes))


@pytest.mark.parametrize("width", [FRONT[0], FOREST])
@pytest.mark.parametrize(
    "name", ["tiny", "a model with a long name, seed 1 (after stage 1)", "x" * 90, "", "a " * 40], ids=len
)
def test_names_of_any_length_leave_room_for_what_is_drawn(name: str, width: float) -> None:
    names = [f"{name}{end}" for end in "12"]
    drawn = forest_figure(
        [Estimate(one, 0.5, 0.4, 0.6, False) for one in names], "AUROC", False, 0.95, "f", None, width
    )
    groups = [GroupEstimate(one, "60", 0.5, 0.4, 0.6) for one in names]
    for figure in (drawn, subgroup_figure(groups, 0.5, "AUROC", False, 0.95, "g")):
        assert isinstance(figure, Drawing)
        (axes,) = figure.figure.axes
        assert axes.get_position().width > 0.25
        shown = [tick.get_text() for tick in axes.get_yticklabels()]
        assert len(set(shown)) == 2, "no two become alike"
        letters = [text.replace("\n", "").replace(" ", "") for text in shown]
        assert all(one.replace(" ", "") in text for one, text in zip(names, letters, strict=True))


def test_ticks_of_neighbouring_powers_of_ten_differ() -> None:
    ticks = [tick(value) for value in np.logspace(-6, 3, 10)]
    assert ticks == ["1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1.0 s", "10.0 s", "100.0 s", "16.7 min"]


def test_names_in_the_cost_figure_stand_clear_of_each_other_and_of_the_marks() -> None:
    """Eight systems, most of them equally good and equally fast."""
    rng = np.random.default_rng(2)
    marks = [(60 + 20 * float(a), 180 + 6 * float(b)) for a, b in rng.random((5, 2))] + [
        (70, 40),
        (330, 150),
        (345, 152),
    ]
    widths = [5.4 * n for n in (17, 5, 13, 9, 11, 8, 12, 13)]
    lines = [(70.0, 39.0, 200.0, 41.0)]
    places = label_places(marks, widths, lines, (40, 20, 380, 230))
    boxes = []
    for (x, y), width, (side, rise) in zip(marks, widths, places, strict=True):
        start = x + 8 if side == "left" else x - 8 - width
        boxes.append((start, y + rise - HEIGHT / 2, start + width, y + rise + HEIGHT / 2))
    others = [*boxes, *lines, *((x - 4, y - 4, x + 4, y + 4) for x, y in marks)]

    def share(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
        return min(one[2], other[2]) > max(one[0], other[0]) and min(one[3], other[3]) > max(one[1], other[1])

    assert not any(share(one, other) for one, other in combinations(boxes, 2))
    assert not any(share(box, other) for box in boxes for other in others if other is not box)


def test_a_legend_takes_room_of_its_own() -> None:
    """The figure grows by its legend, which stands beneath the axes: no curve can lie under it."""
    curves = [Curve(f"system {k}: 0.9", [(0, 0, 1), (1, 1, 0)]) for k in range(7)]
    one, seven = (roc_figure(part, "roc") for part in (curves[:1], curves))
    heights = [float(re.search(r'viewBox="0 0 \S+ (\S+)"', figure)[1]) for figure in (one, seven)]  # type: ignore[index]
    assert heights[1] - heights[0] == pytest.approx(6 * 0.165 * 72, abs=0.5)
    legend = seven[seven.index('id="roc-legend_1"') :]
    texts = [float(y) for y in re.findall(r'<text [^>]*y="([\d.]+)"', legend)]
    axis = seven[seven.index('id="roc-xtick_1"') : seven.index('id="roc-legend_1"')]
    ticks = [float(y) for y in re.findall(r'<text [^>]*y="([\d.]+)"', axis)]
    assert texts and ticks and min(texts) > ticks[0] + 10
