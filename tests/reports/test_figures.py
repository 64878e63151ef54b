import subprocess
import sys

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image

from irdream.reports.figures import DPI, caption, curve_figure, draw_bars, save_figure


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
    modules = "irdream.tasks.dream, irdream.reports.dreams, irdream.reports.dream_figures"
    code = f"import sys, {modules}; print({{'matplotlib.pyplot', 'sklearn'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
