import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from irdream.instruments import CODES
from irdream.reports.figures import (
    DPI,
    caption,
    curve_figure,
    draw_bars,
    save_figure,
    spectrograms_figure,
)


def test_a_png_has_its_resolution(tmp_path):
    save_figure(curve_figure([[0.1, 0.4, 0.95]], bar=0.9, title="x"), tmp_path / "c.png")
    with Image.open(tmp_path / "c.png") as image:
        image.load()  # checks the checksums
        assert image.size == (6 * DPI, round(3.6 * DPI))
        assert image.info["dpi"] == pytest.approx((DPI, DPI), rel=1e-3)


def test_any_file_name_can_be_a_title(tmp_path):
    title = "$\\frac{1}{$ 音楽 \n\t\x07 \udcff " + "x" * 500
    save_figure(curve_figure([[0.1]], title=title), tmp_path / "curve.png")


def test_a_caption_keeps_both_ends_of_a_long_text():
    assert caption("short") == "short"
    assert caption("a" * 80 + "b" * 80, length=20) == "a" * 10 + " … " + "b" * 10


def test_the_bar_of_the_target_is_marked():
    ax = Figure().subplots()
    draw_bars(ax, np.array([0.2, 0.9]), ["cel", "flu"], "flu", 0.5)
    assert [label.get_fontweight() for label in ax.get_xticklabels()] == ["normal", "bold"]
    assert len({patch.get_facecolor() for patch in ax.patches}) == 2


def test_every_dream_has_its_curve_and_where_it_ended():
    ax = curve_figure([[0.1, 0.9], [0.0, 0.2, 0.4]]).axes[0]
    (curves,) = (one for one in ax.collections if isinstance(one, LineCollection))
    first, second = curves.get_segments()
    np.testing.assert_allclose(first, [[0, 0.1], [1, 0.9]])
    np.testing.assert_allclose(second, [[0, 0.0], [1, 0.2], [2, 0.4]])
    np.testing.assert_allclose(np.asarray(ax.lines[0].get_xydata()), [[1, 0.9], [2, 0.4]])


def test_the_median_keeps_the_last_value_of_dreams_that_stopped():
    figure = curve_figure([[0.1, 0.9], [0.0, 0.2, 0.4, 0.95], [0.1, 0.1, 0.1, 0.1]], bar=0.9)
    ax = figure.axes[0]
    median = next(line for line in ax.lines if line.get_label() == "median of 3 dreams")
    np.testing.assert_allclose(np.asarray(median.get_ydata()), [0.1, 0.2, 0.4, 0.9])
    assert any(np.allclose(np.asarray(line.get_ydata()), 0.9) for line in ax.lines)


def test_no_curves_can_be_drawn(tmp_path):
    save_figure(curve_figure([], bar=0.9), tmp_path / "curve.png")


def test_a_dream_imports_neither_pyplot_nor_scikit_learn():
    modules = "irdream.tasks.dream, irdream.reports.dreams, irdream.reports.figures"
    code = f"import sys, {modules}; print({{'matplotlib.pyplot', 'sklearn'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# Spectrograms

HOP_SECONDS = 512 / 22_050
MEL_HZ = np.geomspace(60, 10_800, 128)


def spectrograms(frames: int = 43) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    original = rng.normal(-50, 15, (128, frames))
    return original, original + rng.normal(0, 2, original.shape)


BEFORE, AFTER = np.full(11, 0.02), np.full(11, 0.005)
BEFORE[8], AFTER[2] = 0.8, 0.95
OUTPUTS = {
    "instruments": CODES, "probabilities_before": BEFORE, "probabilities_after": AFTER,
    "probabilities_wav": BEFORE, "target": "flu", "confidence": 0.9,
}  # fmt: skip


def draw(original, dream, **settings):
    given = {"hop_seconds": HOP_SECONDS, "frequencies_hz": MEL_HZ, **OUTPUTS, **settings}
    return spectrograms_figure(original, dream, **given)


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def values(image: AxesImage) -> np.ndarray:
    return np.asarray(image.get_array())


def test_original_and_dream_share_one_scale_and_the_difference_is_symmetric():
    original, dream = spectrograms()
    first, second, difference = (ax.images[0] for ax in draw(original, dream).axes[:3])
    assert first.get_clim() == second.get_clim()
    low, high = difference.get_clim()
    assert low == -high
    np.testing.assert_allclose(values(first), original - original.max())
    np.testing.assert_allclose(values(second), dream - original.max())
    np.testing.assert_allclose(values(difference), dream - original)


def test_the_scale_ends_at_what_is_loud_in_both_and_not_at_a_few_points():
    original, dream = spectrograms()
    dream[:, :2] = original.max() + 10
    low, high = draw(original, dream).axes[0].images[0].get_clim()
    assert (low, high) == (pytest.approx(-70), pytest.approx(10))
    one_point = original.copy()
    one_point[5, 5] += 500
    assert draw(original, one_point).axes[0].images[0].get_clim()[1] < 30


def test_axes_are_in_seconds_and_hz():
    ax = draw(*spectrograms()).axes[0]
    assert ax.get_xlim() == (0, pytest.approx(43 * HOP_SECONDS))
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["100", "300", "1000", "3000", "8000"]
    bands = np.interp(ax.get_yticks(), np.arange(128), MEL_HZ)
    np.testing.assert_allclose(bands, [100, 300, 1000, 3000, 8000], rtol=1e-3)


def test_color_bars_say_db_and_have_the_limits_of_their_panels():
    figure = draw(*spectrograms())
    scales = figure.axes[4:]
    labels = [ax.get_ylabel() for ax in scales]
    assert labels == ["dB re loudest of original", "difference (dB)"]
    for ax, panel in zip(scales, figure.axes[1:3], strict=True):
        assert ax.get_ylim() == pytest.approx(panel.images[0].get_clim())


def test_panels_say_what_they_are():
    original, _ = spectrograms()
    titles = [ax.get_title() for ax in draw(original, original + 1).axes[:3]]
    assert titles == ["original", "dream", "dream − original: RMSE 1.00 dB"]


def test_bars_show_outputs_before_and_after_and_diamonds_those_on_the_wav():
    ax = draw(*spectrograms()).axes[3]
    bars = [bar for bar in ax.patches if isinstance(bar, Rectangle)]
    heights = np.array([bar.get_height() for bar in bars]).reshape(2, 11)
    np.testing.assert_allclose(heights[0], BEFORE)
    np.testing.assert_allclose(heights[1], AFTER)
    colors = [bar.get_facecolor() for bar in bars[11:]]
    assert colors.count(colors[CODES.index("flu")]) == 1
    (diamonds,) = (line for line in ax.lines if line.get_marker() == "D")
    np.testing.assert_allclose(np.asarray(diamonds.get_ydata()), BEFORE)


def test_long_excerpts_are_averaged_to_the_pixels_of_a_panel():
    original, dream = spectrograms(frames=2001)
    figure = draw(original, dream)
    drawn = values(figure.axes[2].images[0])
    assert drawn.shape == (128, 400)
    np.testing.assert_allclose(drawn[:, 0], (dream - original)[:, :5].mean(axis=1))
    assert figure.axes[0].get_xlim()[1] == pytest.approx(2001 * HOP_SECONDS)


@pytest.mark.parametrize("level_db", [-230.0, 0.0])
def test_a_silent_excerpt_and_no_change_can_be_drawn(level_db, tmp_path):
    silence = np.full((128, 43), level_db)
    save_figure(draw(silence, silence), tmp_path / "silence.png")


def texts(figure) -> list[tuple[str, Bbox]]:
    """Return what is written and where: tick labels only where they are within their axes."""
    canvas = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    canvas.draw()
    found: list[Text] = [*figure.texts, figure._suptitle]
    for ax in figure.axes:
        found += [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts]
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            found += [t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
            found += [t.label2 for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
        found += ax.get_legend().get_texts() if ax.get_legend() else []
    shown = {id(text): text for text in found if text.get_visible() and text.get_text()}
    return [(text.get_text(), text.get_window_extent(renderer)) for text in shown.values()]


@pytest.mark.parametrize(
    ("seconds", "change_db"), [(1.0, 0.0), (3.0, 0.1), (20.0, 90.0), (86_400.0, 3.0)]
)
def test_nothing_overlaps_or_is_cut_off(seconds, change_db):
    original = np.random.default_rng(0).normal(-50, 15, (128, 43))
    change = np.random.default_rng(1).normal(0, change_db, original.shape)
    figure = draw(
        original, original + change,
        hop_seconds=seconds / 43, frequencies_hz=np.geomspace(60, 21_000, 128),
        title="a name of some length toward electric guitar: 0.00 → 0.96, as WAV 0.41",
    )  # fmt: skip
    written = texts(figure)
    width, height = figure.bbox.size
    for text, box in written:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= width, text
        assert box.y1 <= height, text
    panels = [("a panel", ax.bbox) for ax in figure.axes]
    for (one, here), (other, there) in combinations([*written, *panels], 2):
        both = Bbox.intersection(here, there)
        assert both is None or min(both.size) < 2, (one, other)


def test_a_figure_is_a_small_png_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "dream.png"
    save_figure(draw(*spectrograms(), title="a dream"), path)
    assert path.stat().st_size < 200_000
    assert pixels(path).shape[:2] == (625, 1375)
    assert list(tmp_path.iterdir()) == [path]
