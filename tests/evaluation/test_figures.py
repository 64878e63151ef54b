from __future__ import annotations

import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from irdream.evaluation.figures import caption, curve_figure, save_figure, spectrograms_figure
from irdream.instruments import CODES

HOP_SECONDS = 512 / 22_050
MEL_HZ = np.geomspace(60, 10_800, 128)


def spectrograms(frames: int = 43) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    original = rng.normal(-50, 15, (128, frames))
    return original, original + rng.normal(0, 2, original.shape)


def draw(original, dream, **settings):
    return spectrograms_figure(
        original, dream, hop_seconds=HOP_SECONDS, mel_frequencies_hz=MEL_HZ, **settings
    )


def values(image: AxesImage) -> np.ndarray:
    return np.asarray(image.get_array())


@pytest.fixture
def probabilities():
    before, after = np.full(11, 0.02), np.full(11, 0.005)
    before[8], after[2] = 0.8, 0.95
    return {
        "instruments": CODES, "probabilities_before": before, "probabilities_after": after,
        "probabilities_wav": before, "target": "flu", "confidence": 0.9,
    }  # fmt: skip


def test_original_and_dream_share_one_scale_and_the_difference_is_symmetric():
    original, dream = spectrograms()
    first, second, difference = (ax.images[0] for ax in draw(original, dream).axes[:3])
    assert first.get_clim() == second.get_clim()
    low, high = difference.get_clim()
    assert low == -high
    np.testing.assert_allclose(values(first), original - original.max())
    np.testing.assert_allclose(values(second), dream - original.max())
    np.testing.assert_allclose(values(difference), dream - original)


def test_the_scale_ends_at_the_loudest_of_both():
    original, dream = spectrograms()
    dream[5, 5] = original.max() + 10
    low, high = draw(original, dream, range_db=60).axes[0].images[0].get_clim()
    assert (low, high) == (pytest.approx(-50), pytest.approx(10))


def test_axes_are_in_seconds_and_hz():
    ax = draw(*spectrograms()).axes[0]
    assert ax.get_xlim() == (0, pytest.approx(43 * HOP_SECONDS))
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["100", "300", "1000", "3000", "8000"]
    bands = np.interp(ax.get_yticks(), np.arange(128), MEL_HZ)
    np.testing.assert_allclose(bands, [100, 300, 1000, 3000, 8000], rtol=1e-3)


def test_color_bars_say_db():
    labels = [ax.get_ylabel() for ax in draw(*spectrograms()).axes]
    assert [label for label in labels if "dB" in label] == [
        "dB re loudest of original",
        "difference (dB)",
    ]


def test_panels_have_the_given_labels():
    original, _ = spectrograms()
    figure = draw(original, original + 1, labels=("noise", "dreamed noise"))
    titles = [ax.get_title() for ax in figure.axes[:3]]
    assert titles == ["noise", "dreamed noise", "dreamed noise − noise: RMSE 1.00 dB"]
    assert figure.axes[3].get_ylabel() == "dB re loudest of noise"


def test_bars_show_outputs_before_and_after_and_their_change(probabilities):
    axes = draw(*spectrograms(), **probabilities).axes[3:6]
    heights = [
        np.array([bar.get_height() for bar in ax.patches if isinstance(bar, Rectangle)])
        for ax in axes
    ]
    before, after = probabilities["probabilities_before"], probabilities["probabilities_after"]
    for drawn, expected in zip(heights, (before, after, after - before), strict=True):
        np.testing.assert_allclose(drawn, expected)
    colors = [bar.get_facecolor() for bar in axes[1].patches]
    assert colors.count(colors[2]) == 1


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


def test_a_figure_is_a_small_png_and_nothing_else_is_left(probabilities, tmp_path):
    path = tmp_path / "dream.png"
    save_figure(draw(*spectrograms(), title="a dream", **probabilities), path)
    assert path.stat().st_size < 200_000
    height, width, _ = matplotlib.image.imread(path).shape
    assert (width, height) == (1375, 625)
    assert list(tmp_path.iterdir()) == [path]


def test_saving_into_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        save_figure(curve_figure([[0.1]]), tmp_path / "missing" / "curve.png")
    assert list(tmp_path.iterdir()) == []


def test_any_file_name_can_be_a_title(tmp_path):
    title = "$\\frac{1}{$ 音楽 \n\t\x07 \udcff " + "x" * 500
    save_figure(draw(*spectrograms(), title=title), tmp_path / "title.png")
    save_figure(curve_figure([[0.1]], title=title), tmp_path / "curve.png")


def test_a_caption_keeps_both_ends_of_a_long_text():
    assert caption("short") == "short"
    assert caption("a" * 80 + "b" * 80, length=20) == "a" * 10 + " … " + "b" * 10


def test_the_median_keeps_the_last_value_of_dreams_that_stopped():
    figure = curve_figure([[0.1, 0.9], [0.0, 0.2, 0.4, 0.95], [0.1, 0.1, 0.1, 0.1]], confidence=0.9)
    ax = figure.axes[0]
    median = next(line for line in ax.lines if line.get_label() == "median of 3 dreams")
    np.testing.assert_allclose(np.asarray(median.get_ydata()), [0.1, 0.2, 0.4, 0.9])
    assert any(np.allclose(np.asarray(line.get_ydata()), 0.9) for line in ax.lines)


def test_no_curves_can_be_drawn(tmp_path):
    save_figure(curve_figure([], confidence=0.9), tmp_path / "curve.png")


def test_pyplot_is_not_imported():
    code = "import sys, irdream.evaluation.figures; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
