from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from irdream.errors import InputError
from irdream.paper.charts import (
    MEASURES,
    before_after_figure,
    distance_figure,
    ways_figure,
)
from irdream.reports.figures import ORANGE, save_figure

LABELS = ("cel", "flu", "oboe")
DISTANCES = np.array([[np.nan, 4.0, 9.5], [6.25, np.nan, np.nan], [100.0, 2.0, np.nan]])
RATIOS = np.array([[np.nan, 0.9, 1.25], [1.0, np.nan, np.nan], [0.6, 1.1, np.nan]])


def written(ax: Axes) -> dict[tuple[float, float], str]:
    return {text.get_position(): text.get_text() for text in ax.texts}


def ways() -> pd.DataFrame:
    rows = []
    for i, way in enumerate(["gain mask", "Griffin-Lim"]):
        for j, kind in enumerate(["dream", "undreamed", "random"]):
            row: dict[str, object] = {"way": way, "kind": kind}
            for k, measure in enumerate(MEASURES):
                value = 0.1 * i + 0.2 * j + 0.05 * k + 0.1
                row |= {measure: value, f"{measure}_low": value - 0.05}
                row |= {f"{measure}_high": value + 0.1}
            rows.append(row)
    return pd.DataFrame(rows)


def xs(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_xdata())


def ys(line: Line2D) -> list[float]:
    return np.asarray(line.get_ydata()).tolist()


def dots(ax: Axes) -> list[Line2D]:
    return [line for line in ax.lines if len(xs(line)) == 1]


def test_distances_and_ratios_stand_in_their_cells(tmp_path) -> None:
    figure = distance_figure(DISTANCES, RATIOS, LABELS, title="the own and a wrong label")
    left, right, *bars = figure.axes
    assert written(left) == {
        (1, 0): "4.0", (2, 0): "9.5", (0, 1): "6.2", (0, 2): "100.0", (1, 2): "2.0",
    }  # fmt: skip
    assert written(right)[1, 0] == "0.90"
    assert left.images[0].get_clim() == (2, 100)
    assert right.images[0].get_clim() == (pytest.approx(0.6), pytest.approx(1.4))
    assert bars[0].get_ylabel() == "MSE (dB²)"
    assert [label.get_text() for label in left.get_yticklabels()] == ["cello", "flute", "oboe"]
    assert (left.get_xlabel(), left.get_ylabel()) == ("wrong target", "own label")
    save_figure(figure, tmp_path / "distances.png")


def test_the_diagonal_is_gray_and_missing_pairs_are_blank() -> None:
    full = np.where(np.eye(3, dtype=bool), 50.0, 1.0)
    full[0, 1] = np.nan
    figure = distance_figure(full, full, LABELS)
    for ax in figure.axes[:2]:
        assert len(written(ax)) == 5
        gray = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
        assert [(patch.get_x(), patch.get_y()) for patch in gray] == [
            (-0.5, -0.5), (0.5, 0.5), (1.5, 1.5),
        ]  # fmt: skip
        is_blank = np.ma.getmaskarray(np.ma.asarray(ax.images[0].get_array()))
        assert (is_blank == (np.eye(3, dtype=bool) | np.isnan(full))).all()
    assert figure.axes[1].images[0].get_clim() == (0.9, 1.1)  # the diagonal is not looked at


def test_numbers_can_be_read_on_their_color() -> None:
    figure = distance_figure(DISTANCES, RATIOS, LABELS)
    colors = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    assert (colors["2.0"], colors["100.0"]) == ("white", "black")


def test_no_pair_at_all_can_be_drawn(tmp_path) -> None:
    nothing = np.full((3, 3), np.nan)
    save_figure(distance_figure(nothing, nothing, LABELS), tmp_path / "nothing.png")


@pytest.mark.parametrize("shape", [(3, 2), (4, 4), (9,)])
def test_a_matrix_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"distances .* and ratios .*; expected \(3, 3\)"):
        distance_figure(np.ones(shape), RATIOS, LABELS)
    with pytest.raises(InputError, match=r"distances .* and ratios .*; expected \(3, 3\)"):
        distance_figure(DISTANCES, np.ones(shape), LABELS)


def test_each_way_has_its_dots_in_each_panel(tmp_path) -> None:
    figure = ways_figure(ways(), title="ways")
    assert [ax.get_title() for ax in figure.axes] == list(MEASURES.values())
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "gain mask", "Griffin-Lim",
    ]  # fmt: skip
    found = dots(figure.axes[1])
    places = [float(xs(dot)[0]) for dot in found]
    assert places == pytest.approx([0.15, 0.35, 0.55, 0.25, 0.45, 0.65])
    assert [dot.get_marker() for dot in found] == ["o", "D", "s"] * 2
    assert [round(-ys(dot)[0]) for dot in found] == [0, 0, 0, 1, 1, 1]
    assert xs(figure.axes[1].lines[0]) == pytest.approx([0.1, 0.25])
    assert figure.axes[0].get_xlim() == figure.axes[3].get_xlim() == (-0.03, 1.03)
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    save_figure(figure, tmp_path / "ways.png")


def test_controls_are_lighter_than_dreams() -> None:
    lines = dots(ways_figure(ways()).axes[0])
    assert lines[1].get_color() == lines[2].get_color() != lines[0].get_color()
    assert lines[1].get_markersize() < lines[0].get_markersize()


def test_the_legend_names_the_kinds_that_are_there() -> None:
    table = ways()
    figure = ways_figure(table.query("kind != 'random'"))
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["dream", "undreamed excerpt"]


def test_a_measure_that_a_way_lacks_is_not_drawn(tmp_path) -> None:
    table = ways()
    table.loc[0, ["snr_db", "snr_db_low", "snr_db_high"]] = np.nan
    save_figure(ways_figure(table), tmp_path / "ways.png")
    figure = ways_figure(table, measures={"snr_db": "SNR"})
    assert len(figure.axes) == 1
    assert np.isfinite([xs(dot)[0] for dot in dots(figure.axes[0])]).sum() == 5


def test_a_table_that_cannot_be_drawn_is_refused() -> None:
    table = ways()
    with pytest.raises(InputError, match=r"table without columns \['snr_db_low'\]; expected"):
        ways_figure(table.drop(columns="snr_db_low"))
    table.loc[1, "kind"] = "twice"
    with pytest.raises(InputError, match=r"unknown kinds \['twice'\]; expected some of \['dream'"):
        ways_figure(table)


def test_pairs_and_means_are_drawn_apart_for_own_and_other_targets(tmp_path) -> None:
    figure = before_after_figure(
        [0.5, 0.1, 0.0, 0.7], [1.0, 0.9, 0.8, 1.0], [True, False, False, True], confidence=0.9
    )
    own, other = figure.axes
    assert own.get_title() == "toward the own instrument (2)"
    assert other.get_title() == "toward another instrument (2)"
    assert own.get_ylim() == other.get_ylim()
    assert [text.get_text() for text in own.texts] == ["mean 0.60", "mean 1.00"]
    assert [text.get_text() for text in other.texts] == ["mean 0.05", "mean 0.85"]
    diamonds = [line for line in other.lines if line.get_color() == ORANGE]
    assert [ys(line)[0] for line in diamonds] == pytest.approx([0.05, 0.85])
    pairs = [ys(line) for line in other.lines if line.get_linestyle() == "-"]
    assert [0.1, 0.9] in pairs
    assert [0.0, 0.8] in pairs
    assert any(ys(line) == [0.9, 0.9] for line in own.lines)
    save_figure(figure, tmp_path / "before.png")


def test_only_own_targets_can_be_drawn(tmp_path) -> None:
    figure = before_after_figure([0.5], [1.0], [True], title="one")
    assert figure.axes[1].get_title() == "toward another instrument (0)"
    save_figure(figure, tmp_path / "before.png")


def test_numbers_without_a_pair_are_refused() -> None:
    with pytest.raises(InputError, match=r"before \(2,\), after \(1,\), is_own \(2,\); expected"):
        before_after_figure([0.5, 0.5], [1.0], [True, False])
