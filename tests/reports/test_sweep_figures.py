import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from irdream.errors import InputError
from irdream.reports.figures import save_figure
from irdream.reports.sweep_figures import heat_map_figure, sweep_curve_figure

RMSE = "dream/rmse_db"


def jobs(*rows: tuple[object, object, float, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["dream.step_size", "dream.octaves", RMSE, "status"])
    return frame.assign(number=range(len(frame)))


def job(step_size: object, octaves: object, rmse_db: float = math.nan, status: str = ""):
    return (step_size, octaves, rmse_db, status or ("failed" if rmse_db != rmse_db else "finished"))


TWO_BY_TWO = jobs(job(10, 2, 4.0), job(10, 1, 3.0), job(0.5, 1, 1.0), job(0.5, 2, 2.0))


def heat_map(table: pd.DataFrame) -> Figure:
    return heat_map_figure(table, "dream.step_size", "dream.octaves", RMSE)


def curves(table: pd.DataFrame, by: str | None = "dream.octaves") -> Figure:
    return sweep_curve_figure(table, "dream.step_size", RMSE, by)


def written(ax: Axes) -> dict[tuple[float, float], str]:
    return {text.get_position(): text.get_text() for text in ax.texts}


def ticks(ax: Axes) -> tuple[list[str], list[str]]:
    across, down = ax.get_xticklabels(), ax.get_yticklabels()
    return [text.get_text() for text in across], [text.get_text() for text in down]


def points(line: Line2D) -> tuple[list[float], list[float]]:
    return np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()


def means(ax: Axes) -> list[Line2D]:
    return [line for line in ax.lines if line.get_label() and line.get_linewidth() == 1.6]


def test_the_map_is_ordered_by_number_and_carries_its_numbers(tmp_path):
    figure = heat_map(TWO_BY_TWO)
    ax, bar = figure.axes
    assert ticks(ax) == (["1", "2"], ["0.5", "10"])
    assert written(ax) == {(0, 0): "1.00", (1, 0): "2.00", (0, 1): "3.00", (1, 1): "4.00"}
    assert np.asarray(ax.images[0].get_array()).tolist() == [[1, 2], [3, 4]]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("dream.octaves", "dream.step_size")
    assert (ax.get_title(), bar.get_ylabel()) == (RMSE, f"{RMSE} (lower is better)")
    save_figure(figure, tmp_path / "map.png")


def test_a_cell_of_several_jobs_shows_their_mean():
    table = jobs(job(1, 1, 1.0), job(1, 1, 2.0), job(1, 1, 6.0), job(1, 2, 20.0))
    ax = heat_map(table).axes[0]
    assert written(ax) == {(0, 0): "3.0", (1, 0): "20.0"}
    assert ax.get_title() == f"{RMSE}\nmean of 1 to 3 jobs"


def test_failed_jobs_are_marked_and_no_job_is_blank():
    table = jobs(
        job(1, 1, 1.0), job(1, 1), job(1, 2), job(2, 1), job(2, 1), job(3, 2, status="running"),
        job(3, 1, 4.0),
    )  # fmt: skip
    ax = heat_map(table).axes[0]
    assert written(ax) == {
        (0, 0): "1.00\n× 1 of 2", (1, 0): "×", (0, 1): "× 2 of 2", (1, 1): "", (0, 2): "4.00",
        (1, 2): "–",
    }  # fmt: skip
    gray = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    assert [(p.get_x(), p.get_y(), bool(p.get_hatch())) for p in gray] == [
        (0.5, -0.5, True), (-0.5, 0.5, True), (0.5, 1.5, False),
    ]  # fmt: skip
    is_blank = np.ma.getmaskarray(np.ma.asarray(ax.images[0].get_array()))
    assert is_blank.tolist() == [[False, True], [True, True], [False, True]]


@pytest.mark.parametrize(
    ("greatest", "text"),
    [(1234.5, "1234"), (96.44, "96.4"), (9.644, "9.64"), (0.9644, "0.964"), (0.0, "0.00"),
     (-20.0, "-20.0"), (1e-5, "0.0000100")],
)  # fmt: skip
def test_the_greatest_number_has_three_digits(greatest: float, text: str):
    assert written(heat_map(jobs(job(1, 1, greatest))).axes[0]) == {(0, 0): text}


def test_numbers_can_be_read_on_their_color():
    colors = {text.get_text(): text.get_color() for text in heat_map(TWO_BY_TWO).axes[0].texts}
    assert (colors["1.00"], colors["4.00"]) == ("white", "black")


def test_words_keep_their_order_and_long_ones_are_turned(tmp_path):
    names = ["voice", "cello", "${a}_${b}" * 9]
    table = jobs(*[job(0.25, name, float(k)) for k, name in enumerate(names)])
    figure = heat_map(table)
    ax = figure.axes[0]
    assert ticks(ax)[0][:2] == names[:2]
    assert {label.get_rotation() for label in ax.get_xticklabels()} == {90.0}
    save_figure(figure, tmp_path / "map.png")  # two $ are no formula


def test_a_map_of_many_jobs_can_be_read(tmp_path):
    rows = [
        job(step, octaves, step + octaves) for step in range(4) for octaves in range(4)
        for _ in range(11)
    ]  # fmt: skip
    figure = heat_map(jobs(*rows))
    assert figure.axes[0].get_title().endswith("mean of 11 jobs")
    assert min(float(text.get_fontsize()) for text in figure.axes[0].texts) >= 9
    wide = heat_map(jobs(*[job(1, octaves, 1.0) for octaves in range(200)]))
    assert wide.get_figwidth() <= 18
    assert not wide.axes[0].texts  # too small to be read
    save_figure(wide, tmp_path / "wide.png")


def test_nothing_but_failures_can_be_drawn(tmp_path):
    table = jobs(job(1, 1), job(2, 1))
    save_figure(heat_map(table), tmp_path / "map.png")
    save_figure(curves(table), tmp_path / "curves.png")


def test_each_value_has_a_line_through_its_means(tmp_path):
    rows = [job(1, 2, 3.0), job(0.5, 2, 1.0), job(0.5, 2, 2.0), job(0.5, 1, 7.0), job(1, 1, 8.0)]
    figure = curves(jobs(*rows))
    ax = figure.axes[0]
    assert [line.get_label() for line in means(ax)] == ["1", "2"]
    assert [points(line) for line in means(ax)] == [
        ([0.5, 1.0], [7.0, 8.0]), ([0.5, 1.0], [1.5, 3.0]),
    ]  # fmt: skip
    dots = [line for line in ax.lines if line.get_marker() == "."]
    assert [sorted(points(line)[1]) for line in dots] == [[1.0, 2.0, 3.0]]
    assert ax.get_title() == f"{RMSE}\na dot a job, a line through the means"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1", "2"]
    assert figure.legends[0].get_title().get_text() == "dream.octaves"
    assert ticks(ax)[0] == ["0.5", "1"]
    assert ax.get_ylim()[0] < 1 < 8 < ax.get_ylim()[1]
    save_figure(figure, tmp_path / "curves.png")


def test_one_line_needs_no_legend():
    figure = curves(TWO_BY_TWO.iloc[:3], by=None)
    (line,) = means(figure.axes[0])
    assert points(line) == ([0.5, 10.0], [1.0, 3.5])
    assert not figure.legends


def test_a_cross_marks_where_jobs_failed():
    figure = curves(jobs(job(1, 1, 1.0), job(2, 1), job(4, 2), job(2, 2, status="running")))
    ax = figure.axes[0]
    crosses = [points(line)[0] for line in ax.lines if line.get_marker() == "x"]
    assert crosses == [[2.0], [4.0]]
    assert ax.get_title() == f"{RMSE}\n× failed: 2 of 4 jobs"


@pytest.mark.parametrize(
    ("steps", "scale"),
    [((0.1, 1, 10), "log"), ((1, 2, 10), "linear"), ((0, 1, 100), "linear"), ((1, 100), "linear")],
)
def test_more_than_a_decade_is_drawn_by_its_logarithm(steps: tuple[float, ...], scale: str):
    ax = curves(jobs(*[job(step, 1, step) for step in steps])).axes[0]
    assert ax.get_xscale() == scale
    assert ticks(ax)[0] == [f"{step:g}" for step in steps]


def test_eleven_instruments_can_be_told_apart(tmp_path):
    rows = [job(step, f"instrument {k}", k + step) for step in (1, 2) for k in range(11)]
    figure = curves(jobs(*rows))
    looks = {
        (to_hex(line.get_color()), line.get_marker(), str(line.get_linestyle()))
        for line in means(figure.axes[0])
    }
    assert len(looks) == 11
    save_figure(figure, tmp_path / "curves.png")


def test_what_cannot_be_drawn_is_refused():
    message = r"^column 'dream.step' is not in the table of the sweep; .*did you mean 'dream.step_"
    for draw in (
        lambda: heat_map_figure(TWO_BY_TWO, "dream.step", "dream.octaves", RMSE),
        lambda: sweep_curve_figure(TWO_BY_TWO, "dream.step", RMSE),
    ):
        with pytest.raises(InputError, match=message):
            draw()
    for value in ("null", None):
        table = jobs(job(value, 1, 1.0), job(2, 1, 1.0))
        with pytest.raises(InputError, match=r"^key='dream.step_size' has the value .*; expected"):
            curves(table)
