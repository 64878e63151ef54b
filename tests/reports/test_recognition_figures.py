from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from irdream.instruments import CODES
from irdream.measures.recognition import Report
from irdream.reports.figures import save_figure
from irdream.reports.recognition_figures import confusion_figure, scores_figure


def report(labels_per_excerpt: int = 1, excerpts: int = 44) -> Report:
    rng = np.random.default_rng(0)
    truth = np.zeros((excerpts, 11), bool)
    for k in range(labels_per_excerpt):
        truth[np.arange(excerpts), (np.arange(excerpts) + k) % 11] = True
    scores = np.clip(rng.random(truth.shape) * 0.6 + truth * 0.4, 0, 1)
    return Report(
        dataset="rendered, test part", instruments=CODES, names=("",) * excerpts, truth=truth,
        scores={"s1": scores, "s2": scores}, thresholds={"s1": 0.6, "s2": 0.6},
    )  # fmt: skip


def texts(figure) -> str:
    found = [figure.get_suptitle()]
    for ax in figure.axes:
        found += [ax.get_title(), *(text.get_text() for text in ax.texts)]
    return "\n".join(found)


def test_scores_figure_shows_f1_per_instrument_and_what_was_scored(tmp_path):
    ours = report()
    figure = scores_figure(ours)
    widths = [bar.get_width() for bar in figure.axes[0].patches if isinstance(bar, Rectangle)]
    np.testing.assert_allclose(widths, ours.per_instrument.f1)
    assert figure.axes[0].get_yticklabels()[0].get_text() == "cello (4)"
    assert "rendered, test part: 44 excerpts, 44 labels" in texts(figure)
    assert "ours is on other data: not comparable" in texts(figure)
    save_figure(figure, tmp_path / "scores.png")
    assert (tmp_path / "scores.png").stat().st_size < 200_000


def test_no_warning_on_the_whole_irmas_test_set(monkeypatch):
    monkeypatch.setattr(Report, "is_irmas_test", True)
    assert "not comparable" not in texts(scores_figure(report()))


def test_confusion_figure_counts(tmp_path):
    ours = report()
    figure = confusion_figure(ours)
    drawn = sum(int(text.get_text()) for text in figure.axes[0].texts)
    assert drawn == 44
    assert f"44 excerpts with one label, top-1 {ours.top1:.3f}" in texts(figure)
    save_figure(figure, tmp_path / "confusion.png")


@pytest.mark.parametrize("draw", [scores_figure, confusion_figure])
def test_figures_without_single_labels(draw, tmp_path):
    figure = draw(report(labels_per_excerpt=2, excerpts=1))
    save_figure(figure, tmp_path / "figure.png")
    assert "nan" not in texts(figure)
