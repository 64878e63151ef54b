from __future__ import annotations

from typing import Any

import matplotlib.image
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from irdream.errors import InputError
from irdream.instruments import CODES
from irdream.paper.figures import noise_figure, targets_figure
from irdream.reports.figures import save_figure

SPECTROGRAMS: dict[str, Any] = {
    "hop_seconds": 512 / 22_050,
    "mel_frequencies_hz": np.geomspace(60, 10_800, 32),
}


def excerpts(rows: int = 2, frames: int = 20) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    originals = rng.normal(-50, 10, (rows, 32, frames))
    return {
        "originals": originals, "instruments": CODES, "targets": [2, 7, 3],
        "dreams": originals[:, None] + rng.normal(0, 2, (rows, 3, 32, frames)),
        "row_names": ["a cello", "a $saxophone_"][:rows],
        "probabilities_before": rng.random((rows, 11)),
        "probabilities": rng.random((rows, 3, 11)), **SPECTROGRAMS,
    }  # fmt: skip


def noises(count: int = 3, targets: int = 2) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    originals = rng.normal(-50, 5, (count, 32, 12))
    regions = np.zeros((targets, 32, 12), bool)
    regions[0, 3:9, 0:5] = True
    return {
        "noises": originals, "instruments": CODES, "targets": [0, 4][:targets], "regions": regions,
        "dreams": originals[:, None] + rng.normal(0, 3, (count, targets, 32, 12)),
        "probabilities": rng.random((count, targets)),
        "mean_outputs": rng.random((targets, 11)), **SPECTROGRAMS,
    }  # fmt: skip


@pytest.fixture(scope="module")
def two_excerpts() -> Figure:
    return targets_figure(**excerpts(), own=[None, 7], title="two excerpts")


@pytest.fixture(scope="module")
def three_noises() -> Figure:
    return noise_figure(**noises())


def planes(figure: Figure, colors: str) -> list[Axes]:
    return [ax for ax in figure.axes if ax.images and ax.images[0].get_cmap().name == colors]


def values(ax: Axes) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


def heights(ax: Axes) -> list[float]:
    return [bar.get_height() for bar in ax.patches if isinstance(bar, Rectangle)]


def outlines(ax: Axes) -> list[QuadContourSet]:
    return [one for one in ax.collections if isinstance(one, QuadContourSet)]


def with_bars(figure: Figure) -> list[Axes]:
    return [ax for ax in figure.axes if len(heights(ax)) == 11]


def test_excerpts_stand_before_their_dreams_on_one_scale(two_excerpts) -> None:
    given = excerpts()
    drawn = planes(two_excerpts, "magma")
    peak = given["originals"].max()
    shown = [[o, *row] for o, row in zip(given["originals"], given["dreams"], strict=True)]
    assert len(drawn) == 2 * 4
    for ax, expected in zip(drawn, [one for row in shown for one in row], strict=True):
        np.testing.assert_allclose(values(ax), expected - peak)
    low, high = drawn[0].images[0].get_clim()
    assert {ax.images[0].get_clim() for ax in drawn} == {(low, high)}
    assert high == pytest.approx(max(0, np.quantile(given["dreams"], 0.999) - peak))
    assert high - low == pytest.approx(80)


def test_a_louder_dream_raises_the_end_of_the_scale_and_not_its_zero() -> None:
    given = excerpts()
    given["dreams"][1, 2, :, 5:] = given["originals"].max() + 30
    low, high = planes(targets_figure(**given, range_db=70), "magma")[0].images[0].get_clim()
    assert (low, high) == (pytest.approx(-40), pytest.approx(30))


def test_differences_share_a_symmetric_scale_and_say_their_rmse() -> None:
    given = excerpts()
    given["dreams"][1, 0] = given["originals"][1] - 3
    drawn = planes(targets_figure(**given), "RdBu_r")
    assert len(drawn) == 2 * 3  # none of the originals
    np.testing.assert_allclose(values(drawn[3]), -3)
    assert drawn[3].get_xlabel() == "RMSE 3.0 dB"
    end = np.quantile(np.abs(given["dreams"] - given["originals"][:, None]), 0.99)
    for ax in drawn:
        assert ax.images[0].get_clim() == (pytest.approx(-end), pytest.approx(end))


def test_outputs_stand_below_and_the_target_is_marked(two_excerpts) -> None:
    given = excerpts()
    bars = with_bars(two_excerpts)
    assert len(bars) == 2 * 4
    np.testing.assert_allclose(heights(bars[4]), given["probabilities_before"][1])
    np.testing.assert_allclose(heights(bars[6]), given["probabilities"][1, 1])
    colors = [patch.get_facecolor() for patch in bars[6].patches]
    assert colors.count(colors[CODES.index("sax")]) == 1
    assert len({patch.get_facecolor() for patch in bars[4].patches}) == 1
    assert [label.get_text() for label in bars[6].get_xticklabels()] == list(CODES)


def test_columns_are_named_and_the_own_instrument_is_marked(two_excerpts) -> None:
    titles = [ax.get_title() for ax in planes(two_excerpts, "magma")]
    assert titles[:4] == ["original", "flute", "saxophone", "acoustic\nguitar"]
    assert titles[4:] == ["original", "flute", "saxophone (own)", "acoustic\nguitar"]


def test_one_panel_of_each_excerpt_has_seconds_and_hz(two_excerpts) -> None:
    drawn = planes(two_excerpts, "magma")
    assert [ax.get_xlabel() for ax in drawn] == ["time (s)", "", "", ""] * 2
    assert [ax.get_ylabel() for ax in drawn] == ["frequency (Hz)", "", "", ""] * 2
    assert [label.get_text() for label in drawn[0].get_yticklabels()] == [
        "300", "1000", "3000", "8000",
    ]  # fmt: skip
    for ax in drawn:
        assert ax.get_xlim() == (0, pytest.approx(20 * 512 / 22_050))


def test_without_targets_there_is_a_column_for_each_instrument() -> None:
    given = excerpts(rows=1) | {"targets": None, "instruments": ("flu", "gong", "oboe")}
    given |= {"probabilities_before": np.ones((1, 3)), "probabilities": np.ones((1, 3, 3))}
    titles = [ax.get_title() for ax in planes(targets_figure(**given), "magma")]
    assert titles == ["original", "flute", "gong", "oboe"]


def test_excerpts_may_have_different_lengths() -> None:
    given = excerpts()
    given["originals"] = [np.zeros((32, 10)), np.zeros((32, 30))]
    given["dreams"] = [[np.ones((32, 10))] * 3, [np.ones((32, 30))] * 3]
    drawn = planes(targets_figure(**given), "RdBu_r")
    assert [values(ax).shape[1] for ax in drawn] == [10] * 3 + [30] * 3


def test_noises_and_their_dreams_share_one_scale(three_noises) -> None:
    given = noises()
    drawn = planes(three_noises, "magma")
    peak = given["noises"].max()
    assert len(drawn) == 3 * 3
    np.testing.assert_allclose(values(drawn[3]), given["noises"][1] - peak)
    np.testing.assert_allclose(values(drawn[8]), given["dreams"][2, 1] - peak)
    assert len({ax.images[0].get_clim() for ax in drawn}) == 1
    assert [ax.get_title() for ax in drawn[:3]] == ["noise", "cello", "electric\nguitar"]
    corners = [[text.get_text() for text in ax.texts] for ax in drawn]
    assert corners[0] == []
    assert corners[5] == [f"{given['probabilities'][1, 1]:.2f}"]


def test_below_the_dreams_are_their_mean_difference_and_outputs(three_noises) -> None:
    given = noises()
    changes = given["dreams"] - given["noises"][:, None]
    drawn = planes(three_noises, "RdBu_r")
    assert len(drawn) == 2
    np.testing.assert_allclose(values(drawn[1]), changes.mean(axis=0)[1])
    rmse_db = np.sqrt((changes**2).mean(axis=(2, 3))).mean(axis=0)
    assert drawn[1].get_xlabel() == f"RMSE {rmse_db[1]:.1f} dB"
    bars = with_bars(three_noises)
    assert len(bars) == 2
    np.testing.assert_allclose(heights(bars[1]), given["mean_outputs"][1])
    bars = with_bars(noise_figure(**given, outputs_before=np.full(11, 0.25)))
    assert len(bars) == 3
    assert heights(bars[0]) == [0.25] * 11


def test_recurring_regions_are_outlined_in_their_column_alone(three_noises) -> None:
    for colors, columns in (("magma", 3), ("RdBu_r", 2)):
        is_outlined = [bool(outlines(ax)) for ax in planes(three_noises, colors)]
        first = columns - 2  # the column of the target with a region
        assert is_outlined == [i % columns == first for i in range(len(is_outlined))]
    ax = planes(three_noises, "RdBu_r")[0]
    (line,) = outlines(ax)[0].get_paths()
    points = np.asarray(line.vertices)
    (begin, lowest), (end, highest) = points.min(axis=0), points.max(axis=0)
    # Frames 0 to 4 and bands 3 to 8, with their edges.
    assert (lowest, highest) == (pytest.approx(2.5), pytest.approx(8.5))
    assert (begin, end) == (pytest.approx(0), pytest.approx(5 * 512 / 22_050))
    assert ax.get_ylim() == (-0.5, 31.5)


def test_regions_of_bands_are_outlined_over_all_frames() -> None:
    given = noises()
    given["regions"] = given["regions"].any(axis=2, keepdims=True)
    (line,) = outlines(planes(noise_figure(**given), "RdBu_r")[0])[0].get_paths()
    assert np.asarray(line.vertices)[:, 0].max() == pytest.approx(12 * 512 / 22_050)


def test_figures_are_2000_pixels_wide(tmp_path) -> None:
    given = noises(count=1)
    given["regions"] &= False
    drawn = {"targets": targets_figure(**excerpts(), title="$x_"), "noise": noise_figure(**given)}
    for name, figure in drawn.items():
        path = tmp_path / f"{name}.png"
        save_figure(figure, path)
        assert matplotlib.image.imread(path).shape[1] == 2000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("probabilities", np.zeros((2, 11, 3))),
        ("dreams", np.zeros((2, 4, 32, 20))),
        ("row_names", ["one"]),
        ("targets", [1, 2]),
    ],
)
def test_dreams_that_belong_to_no_column_are_refused(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=r"dreams for rows .* expected \d dreams a row and"):
        targets_figure(**excerpts() | {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dreams", np.zeros((3, 3, 32, 12))),
        ("probabilities", np.zeros((2, 3))),
        ("mean_outputs", np.zeros((2, 10))),
        ("regions", np.zeros((2, 32, 11), bool)),
    ],
)
def test_noises_of_other_shapes_are_refused(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"{name} have shape .*; expected .* with noises \(3, 32"):
        noise_figure(**noises() | {name: value})
