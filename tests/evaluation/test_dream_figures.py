from __future__ import annotations

import gc
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from irdream.errors import InputError
from irdream.evaluation.dream_figures import DreamFigures, spectrograms_figure
from irdream.evaluation.dream_sheet import Outputs, Series
from irdream.evaluation.figures import save_figure
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


def series(**settings) -> DreamFigures:
    return DreamFigures(Series(hop_seconds=HOP_SECONDS, mel_frequencies_hz=MEL_HZ, **settings))


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


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


def test_color_bars_say_db_and_have_the_limits_of_their_panels():
    figure = draw(*spectrograms())
    scales = figure.axes[3:]
    labels = [text.get_text() for ax in scales for text in ax.texts]
    assert labels == ["dB re loudest of original", "difference (dB)"]
    for ax, panel in zip(scales, figure.axes[1:3], strict=True):
        assert ax.get_ylim() == panel.images[0].get_clim()


def test_panels_have_the_given_labels():
    original, _ = spectrograms()
    figure = draw(original, original + 1, labels=("noise", "dreamed noise"))
    titles = [ax.get_title() for ax in figure.axes[:3]]
    assert titles == ["noise", "dreamed noise", "dreamed noise − noise: RMSE 1.00 dB"]
    assert figure.axes[3].texts[0].get_text() == "dB re loudest of noise"


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


# What a figure holds, one kind each: length, target, with or without WAV, without bars, title.
def contents(kind: int) -> dict[str, Any]:
    rng = np.random.default_rng(kind)
    original = rng.normal(-50 - kind, 15, (128, (43, 130, 130, 862, 43)[kind]))
    before, after, on_wav = rng.random((3, 11))
    outputs = Outputs(
        before=before,
        after=after,
        on_wav=None if kind == 2 else on_wav,
        target=CODES[kind],
    )
    return {
        "original_db": original,
        "dream_db": original + rng.normal(0, 0.01 + kind, original.shape),
        "title": ("", "a dream", "音楽 \udcff", "x" * 500, "$\\frac{1}{$ \n\t\x07")[kind],
        "outputs": None if kind == 4 else outputs,
    }


def test_a_figure_of_a_series_is_the_same_as_a_single_one(tmp_path):
    settings = {"instruments": CODES, "confidence": 0.9, "labels": ("noise", "dream")}
    figures = series(**settings)
    for kind in (1, 2, 4):
        given = contents(kind)
        figures.write(tmp_path / "series.png", **given)
        outputs = given.pop("outputs")
        if outputs is not None:
            given |= {
                "probabilities_before": outputs.before,
                "probabilities_after": outputs.after,
                "probabilities_wav": outputs.on_wav,
                "target": outputs.target,
            }
        save_figure(
            draw(given.pop("original_db"), given.pop("dream_db"), **given, **settings),
            tmp_path / "single.png",
        )
        np.testing.assert_allclose(
            pixels(tmp_path / "series.png").astype(int),
            pixels(tmp_path / "single.png").astype(int),
            atol=2,
        )


def test_no_figure_depends_on_those_before_it(tmp_path):
    written: dict[int, set[bytes]] = {kind: set() for kind in range(5)}
    for order in ([0, 1, 3, 4, 0, 2], [2, 4, 3, 1]):
        figures = series(instruments=CODES, confidence=0.9)
        for kind in order:
            figures.write(tmp_path / "one.png", **contents(kind))
            written[kind].add((tmp_path / "one.png").read_bytes())
    assert [len(found) for found in written.values()] == [1] * 5


def test_a_refused_figure_leaves_no_trace_in_the_next(tmp_path):
    figures = series(instruments=CODES)
    figures.write(tmp_path / "before.png", **contents(0))
    wrong = contents(1)
    wrong["outputs"] = Outputs(before=[0.5], after=[0.1], target="flu")
    with pytest.raises(InputError, match=r"outputs of \[1\] instruments; expected 11 in each"):
        figures.write(tmp_path / "wrong.png", **wrong)
    with pytest.raises(FileNotFoundError):
        figures.write(tmp_path / "missing" / "wrong.png", **contents(1))
    figures.write(tmp_path / "after.png", **contents(0))
    assert (tmp_path / "before.png").read_bytes() == (tmp_path / "after.png").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_outputs_on_the_wav_are_for_all_instruments(tmp_path):
    outputs = Outputs(before=np.zeros(11), after=np.zeros(11), on_wav=[0.5])
    with pytest.raises(InputError, match=r"outputs of \[1, 11\] instruments; expected 11"):
        series(instruments=CODES).write(
            tmp_path / "a.png", np.zeros((128, 43)), np.zeros((128, 43)), outputs=outputs
        )


def test_spectrograms_of_another_front_end():
    with pytest.raises(InputError, match="a spectrogram of 64 mel bands; expected 128, one for"):
        draw(np.zeros((64, 43)), np.zeros((64, 43)))


def test_a_series_of_another_front_end(tmp_path):
    figures = DreamFigures(Series(hop_seconds=0.01, mel_frequencies_hz=np.geomspace(50, 4000, 12)))
    plane = np.random.default_rng(0).normal(size=(12, 300))
    figures.write(tmp_path / "a.png", plane, plane + 1)
    assert pixels(tmp_path / "a.png").shape == (390, 1375, 3)


def test_a_series_keeps_nothing_of_its_figures(tmp_path):
    figures = series(instruments=CODES, confidence=0.9)
    objects = []
    for _ in range(3):
        for kind in (0, 2):
            figures.write(tmp_path / "one.png", **contents(kind))
        gc.collect()
        objects.append(len(gc.get_objects()))
    assert objects[2] - objects[1] < 50  # one figure has some thousands


def texts(figure) -> list[tuple[str, Bbox]]:
    """Return what is written and where: tick labels only where they are within their axes."""
    renderer = figure.canvas.get_renderer()
    figure.canvas.draw()
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


@pytest.mark.parametrize("has_bars", [True, False])
@pytest.mark.parametrize(
    ("seconds", "change_db"), [(1.0, 0.0), (3.0, 0.1), (20.0, 90.0), (86_400.0, 3.0)]
)
def test_nothing_overlaps_or_is_cut_off(seconds, change_db, has_bars, probabilities):
    original = np.random.default_rng(0).normal(-50, 15, (128, 43))
    change = np.random.default_rng(1).normal(0, change_db, original.shape)
    figure = spectrograms_figure(
        original, original + change,
        hop_seconds=seconds / 43, mel_frequencies_hz=np.geomspace(60, 21_000, 128),
        title="a name of some length toward electric guitar: 0.00 → 0.96, as WAV 0.41",
        range_db=120, **(probabilities if has_bars else {}),
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


def test_a_figure_is_a_small_png_and_nothing_else_is_left(probabilities, tmp_path):
    path = tmp_path / "dream.png"
    save_figure(draw(*spectrograms(), title="a dream", **probabilities), path)
    assert path.stat().st_size < 200_000
    assert pixels(path).shape == (625, 1375, 3)
    assert list(tmp_path.iterdir()) == [path]
