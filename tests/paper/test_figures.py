from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from irdream.audio.stft import DB_PER_NATURAL
from irdream.datasets.base import Excerpt
from irdream.dreaming.targets import Item
from irdream.instruments import CODES
from irdream.paper.figures import WAY_PANELS, noise_figure, targets_figure, ways_figure
from irdream.paper.noise import by_noise
from irdream.paper.study import Found
from irdream.reports.figures import save_figure

HOP_SECONDS = 512 / 22_050
RECOGNIZER: Any = SimpleNamespace(
    instruments=CODES, hop_samples=512, sample_rate_hz=22_050,
    centers_hz=lambda: torch.logspace(1.8, 4.03, 32),
)  # fmt: skip


def dreams_of(originals_db: list[np.ndarray], seed: int = 0) -> Found:
    """Return dreams of log-mels toward every instrument."""
    rng = np.random.default_rng(seed)
    found = Found(
        items=[Item(i, code) for i in range(len(originals_db)) for code in CODES],
        table=pd.DataFrame(),
        arrays={name: [] for name in ("original", "dream", "before", "after")},
    )
    for original in originals_db:
        before = rng.random(11)
        for _ in CODES:
            values = {
                "original": original / DB_PER_NATURAL,
                "dream": (original + rng.normal(0, 2, original.shape)) / DB_PER_NATURAL,
                "before": before,
                "after": rng.random(11),
            }
            for name, value in values.items():
                found.arrays[name].append(value)  # type: ignore[attr-defined]
    return found


def two_excerpts() -> Any:
    """Return a saxophone, which is not shown first, and a cello of another length."""
    rng = np.random.default_rng(1)
    grid = dreams_of([rng.normal(-50, 10, (32, frames)) for frames in (20, 30)])
    excerpts = [
        Excerpt(waveform=torch.zeros(1), labels=("cel",), name="a cello"),
        Excerpt(waveform=torch.zeros(1), labels=("sax",), name="a $saxophone_"),
    ]
    return SimpleNamespace(grid=grid, excerpts=excerpts, steps=8, data="$x_")


def four_noises() -> Any:
    """Return four noises, of which three are shown, and a recurring region of the cello's."""
    rng = np.random.default_rng(2)
    bands = np.zeros((11, 32), bool)
    bands[0, 3:9] = True
    found = {("pink", "log_mel"): dreams_of(list(rng.normal(-50, 5, (4, 32, 12))))}
    return SimpleNamespace(count=4, steps=9, found=found, bands={"pink": bands})


EXCERPTS, NOISES = two_excerpts(), four_noises()


@pytest.fixture(scope="module")
def excerpts_drawn() -> Figure:
    return targets_figure(EXCERPTS, RECOGNIZER)


@pytest.fixture(scope="module")
def noises_drawn() -> Figure:
    return noise_figure(NOISES, "pink", RECOGNIZER)


def panels(figure: Figure, colors: str) -> list[Axes]:
    return [ax for ax in figure.axes if ax.images and ax.images[0].get_cmap().name == colors]


def values(ax: Axes) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


def heights(ax: Axes) -> list[float]:
    return [bar.get_height() for bar in ax.patches if isinstance(bar, Rectangle)]


def outlines(ax: Axes) -> list[QuadContourSet]:
    return [one for one in ax.collections if isinstance(one, QuadContourSet)]


def with_bars(figure: Figure) -> list[Axes]:
    return [ax for ax in figure.axes if len(heights(ax)) == 11]


# Figure 2 ---------------------------------------------------------------------------------------


def test_excerpts_stand_before_their_dreams_on_one_scale(excerpts_drawn) -> None:
    arrays = EXCERPTS.grid.arrays
    peak = DB_PER_NATURAL * max(one.max() for one in arrays["original"])
    shown = [arrays["original"][0], *arrays["dream"][:11]]
    shown += [arrays["original"][11], *arrays["dream"][11:]]
    drawn = panels(excerpts_drawn, "magma")
    for ax, expected in zip(drawn, shown, strict=True):
        np.testing.assert_allclose(values(ax), DB_PER_NATURAL * expected - peak)
        assert ax.get_xlim() == (0, pytest.approx(expected.shape[1] * HOP_SECONDS))
    ((low, high),) = {ax.images[0].get_clim() for ax in drawn}
    loud = np.quantile(np.concatenate([one.ravel() for one in arrays["dream"]]), 0.999)
    assert high == pytest.approx(max(0, DB_PER_NATURAL * loud - peak))
    assert high - low == pytest.approx(80)
    titles = [ax.get_title() for ax in drawn]
    assert titles[:5] == ["original", "cello (own)", "clarinet", "flute", "acoustic\nguitar"]
    assert titles[12:14] == ["original", "cello"]
    assert "saxophone (own)" in titles[12:]
    for name, text in (("xlabel", "time (s)"), ("ylabel", "frequency (Hz)")):
        assert [getattr(ax, f"get_{name}")() for ax in drawn] == [text, *[""] * 11] * 2
    hz = [label.get_text() for label in drawn[0].get_yticklabels()]
    assert hz == ["300", "1000", "3000", "8000"]


def test_differences_share_a_symmetric_scale_and_say_their_rmse(excerpts_drawn) -> None:
    arrays = EXCERPTS.grid.arrays
    pairs = zip(arrays["original"], arrays["dream"], strict=True)
    changes = [DB_PER_NATURAL * (dream - original) for original, dream in pairs]
    end = np.quantile(np.abs(np.concatenate([one.ravel() for one in changes])), 0.99)
    drawn = panels(excerpts_drawn, "RdBu_r")
    for ax, change in zip(drawn, changes, strict=True):  # none of the originals
        np.testing.assert_allclose(values(ax), change)
        assert ax.get_xlabel() == f"RMSE {np.sqrt(np.mean(change**2)):.1f} dB"
        assert ax.images[0].get_clim() == (pytest.approx(-end), pytest.approx(end))


def test_outputs_stand_below_and_the_target_is_marked(excerpts_drawn) -> None:
    arrays, bars = EXCERPTS.grid.arrays, with_bars(excerpts_drawn)
    assert len(bars) == 2 * 12
    np.testing.assert_allclose(heights(bars[12]), arrays["before"][11])
    sax = bars[13 + CODES.index("sax")]
    np.testing.assert_allclose(heights(sax), arrays["after"][11 + CODES.index("sax")])
    colors = [patch.get_facecolor() for patch in sax.patches]
    assert colors.count(colors[CODES.index("sax")]) == 1
    assert len({patch.get_facecolor() for patch in bars[12].patches}) == 1
    assert [label.get_text() for label in sax.get_xticklabels()] == list(CODES)


# Figure 3 ---------------------------------------------------------------------------------------


def test_noises_and_their_dreams_share_one_scale(noises_drawn) -> None:
    dreamed = NOISES.found["pink", "log_mel"]
    original, dream, after = (by_noise(dreamed.of(n), 4) for n in ("original", "dream", "after"))
    peak = original[:3].max()
    drawn = panels(noises_drawn, "magma")
    assert len(drawn) == 3 * 12
    np.testing.assert_allclose(values(drawn[12]), DB_PER_NATURAL * (original[1, 0] - peak))
    np.testing.assert_allclose(values(drawn[35]), DB_PER_NATURAL * (dream[2, 10] - peak))
    assert len({ax.images[0].get_clim() for ax in drawn}) == 1
    assert [ax.get_title() for ax in drawn[:2]] == ["noise", "cello"]
    corners = [[text.get_text() for text in ax.texts] for ax in drawn]
    assert corners[0] == []
    assert corners[14] == [f"{after[1, 1, 1]:.2f}"]


def test_below_the_dreams_are_their_mean_difference_and_outputs(noises_drawn) -> None:
    dreamed = NOISES.found["pink", "log_mel"]
    changes = DB_PER_NATURAL * by_noise(dreamed.of("dream") - dreamed.of("original"), 4)[:3]
    drawn = panels(noises_drawn, "RdBu_r")
    assert len(drawn) == 11
    np.testing.assert_allclose(values(drawn[1]), changes.mean(axis=0)[1])
    rmse_db = np.sqrt((changes**2).mean(axis=(2, 3))).mean(axis=0)
    assert drawn[1].get_xlabel() == f"RMSE {rmse_db[1]:.1f} dB"
    bars = with_bars(noises_drawn)
    assert len(bars) == 12
    before, after = (by_noise(dreamed.of(name), 4) for name in ("before", "after"))
    np.testing.assert_allclose(heights(bars[0]), before[:, 0].mean(axis=0))
    np.testing.assert_allclose(heights(bars[2]), after[:, 1].mean(axis=0))


def test_recurring_bands_are_outlined_in_their_column_alone(noises_drawn) -> None:
    for colors, columns in (("magma", 12), ("RdBu_r", 11)):
        is_outlined = [bool(outlines(ax)) for ax in panels(noises_drawn, colors)]
        assert is_outlined == [i % columns == columns - 11 for i in range(len(is_outlined))]
    ax = panels(noises_drawn, "RdBu_r")[0]
    (line,) = outlines(ax)[0].get_paths()
    points = np.asarray(line.vertices)
    (begin, lowest), (end, highest) = points.min(axis=0), points.max(axis=0)
    # All frames and bands 3 to 8, with their edges.
    assert (lowest, highest) == (pytest.approx(2.5), pytest.approx(8.5))
    assert (begin, end) == (pytest.approx(0), pytest.approx(12 * HOP_SECONDS))
    assert ax.get_ylim() == (-0.5, 31.5)


# Ways to sound ----------------------------------------------------------------------------------


def ways() -> pd.DataFrame:
    rows = []
    for i, way in enumerate(["gain mask", "Griffin-Lim"]):
        for j, kind in enumerate(["dream", "undreamed", "random"]):
            row: dict[str, object] = {"way": way, "kind": kind}
            for k, measure in enumerate(WAY_PANELS):
                value = 0.1 * i + 0.2 * j + 0.05 * k + 0.1
                row |= {measure: value, f"{measure}_low": value - 0.05}
                row |= {f"{measure}_high": value + 0.1}
            rows.append(row)
    return pd.DataFrame(rows)


def test_each_way_has_its_dots_and_intervals_in_each_panel(tmp_path) -> None:
    table = ways()
    table.loc[0, ["snr_db", "snr_db_low", "snr_db_high"]] = np.nan  # is not drawn
    figure = ways_figure(table)
    assert [ax.get_title() for ax in figure.axes] == list(WAY_PANELS.values())
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["gain mask", "Griffin-Lim"]
    dream, undreamed, random = figure.axes[1].containers
    for container, first in ((dream, 0.15), (undreamed, 0.35), (random, 0.55)):
        dots, _, (intervals,) = container
        assert dots.get_xdata() == pytest.approx([first, first + 0.1])
        assert [round(-y) for y in dots.get_ydata()] == [0, 1]
        edges = np.array(intervals.get_segments())[:, :, 0]
        assert edges[0] == pytest.approx([first - 0.05, first + 0.1])
    assert dream[0].get_color() != undreamed[0].get_color() == random[0].get_color()
    assert figure.axes[0].get_xlim() == figure.axes[3].get_xlim() == (-0.03, 1.03)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["dream", "undreamed excerpt", "random change of equal size"]
    save_figure(figure, tmp_path / "ways.png")
