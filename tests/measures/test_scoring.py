"""Aggregations by hand, batches of windows, and whole excerpts."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from irdream.audio import load_audio, write_wav
from irdream.datasets.folder import Folder
from irdream.ensemble import Ensemble
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.measures.scoring import (
    POOLED_WINDOWS,
    Scoring,
    aggregate,
    check_any_length,
    unwindowed_scores,
    window_scores,
)
from irdream.models import Han2016, Pons2017Multi, Pons2017Single, Transfer
from irdream.progress import Stopwatch
from irdream.recognizer import Recognizer

# Two windows of one excerpt, one window of another, silence.
WINDOWS = [
    np.array([[0.9, 0.2, 0.0], [0.3, 0.4, 0.0]]),
    np.array([[0.1, 0.2, 0.5]]),
    np.zeros((3, 3)),
]


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("s1", [[0.6, 0.3, 0.0], [0.1, 0.2, 0.5], [0, 0, 0]]),  # means
        ("s2", [[1.0, 0.5, 0.0], [0.2, 0.4, 1.0], [0, 0, 0]]),  # sums over the largest
        ("max", [[1.0, 0.4 / 0.9, 0.0], [0.2, 0.4, 1.0], [0, 0, 0]]),  # of few windows: maxima
    ],
)
def test_aggregations_by_hand(aggregation, expected):
    np.testing.assert_allclose(aggregate(WINDOWS, aggregation), expected)


def test_max_is_local_in_time():
    assert POOLED_WINDOWS == 4
    windows = np.array([[0.5, 0.0]] * 8)
    windows[0] = [0.9, 0.6]  # in the first of five pooled windows
    windows[4] = [0.5, 0.2]  # in the other four
    expected = [[1.0, (0.6 + 4 * 0.2) / (0.9 + 4 * 0.5)]]
    np.testing.assert_allclose(aggregate([windows], "max"), expected)


# Batches of windows


class Levels(nn.Module):
    """The log-mel of a waveform is its level in 20 samples, the same in all bands."""

    sample_rate_hz, hop_samples = 1000, 20

    def forward(self, waveform: Tensor) -> Tensor:
        return waveform.unfold(-1, 20, 20).mean(-1)[:, None].expand(-1, 11, -1)


class Means(nn.Module):
    def __init__(self, seen: list[tuple[int, bool]]) -> None:
        super().__init__()
        self.weight, self.seen = nn.Parameter(torch.arange(11.0)), seen

    def forward(self, log_mel: Tensor) -> Tensor:
        self.seen.append((len(log_mel), torch.is_grad_enabled()))
        return self.weight * log_mel.mean(-1)


@pytest.mark.parametrize("batch_windows", [1, 3, 1000])
def test_batches_do_not_change_the_scores(batch_windows):
    seen: list[tuple[int, bool]] = []
    recognizer = Recognizer(frontend=Levels(), model=Means(seen)).eval()
    waveforms = [torch.rand(samples) for samples in (1000, 3310, 1000, 2000, 5170)]
    log_mels = [recognizer.log_mel(waveform[None]) for waveform in waveforms]
    with torch.no_grad():
        expected = [recognizer.scores(recognizer.window_logits(x))[0].numpy() for x in log_mels]
    seen.clear()
    windows = (recognizer.windows(log_mel)[0] for log_mel in log_mels)
    found = list(window_scores(recognizer, windows, batch_windows=batch_windows))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    sizes = [size for size, _ in seen]
    assert max(sizes) <= batch_windows
    assert len(sizes) <= 2 + sum(len(x) for x in expected) / batch_windows
    assert not any(has_gradient for _, has_gradient in seen)


def test_an_ensemble_is_scored_by_what_it_says_of_whole_excerpts(tmp_path) -> None:
    both = Ensemble([_with_head(seed) for seed in (0, 1)]).eval()
    for i, name in enumerate(("a", "b")):
        noise = torch.randn(7000 + 999 * i, generator=torch.Generator().manual_seed(i))
        (tmp_path / name).mkdir()
        write_wav(tmp_path / name / "x.wav", 0.1 * noise, sample_rate_hz=4000)
    report, _, _ = Scoring(threshold=0.5).score(both, Folder(root=tmp_path), Stopwatch())
    paths = [tmp_path / name / "x.wav" for name in ("a", "b")]
    with torch.no_grad():
        waveforms = [load_audio(path, sample_rate_hz=4000)[None] for path in paths]
        expected = torch.cat([both(waveform) for waveform in waveforms]).numpy()
    np.testing.assert_allclose(report.scores["s1"], expected, rtol=1e-5)


def _with_head(seed: int) -> Recognizer:
    torch.manual_seed(seed)
    frontend = HanLogMel(sample_rate_hz=4000, n_fft=128, hop_samples=50, n_mels=10)
    model = nn.Sequential(nn.AdaptiveAvgPool2d((10, 1)), nn.Flatten(), nn.Linear(10, 2))
    return Recognizer(
        frontend=frontend, model=model, instruments=("a", "b"), window_seconds=0.5 * (1 + seed)
    )


# Whole excerpts


def test_no_gradient_is_kept_and_any_length_is_taken() -> None:
    model = Han2016().eval()
    kept = []
    model.register_forward_hook(lambda *_: kept.append(torch.is_grad_enabled()))
    recognizer = Recognizer(frontend=HanLogMel(), model=model)
    check_any_length(recognizer)
    for frames in (1, 43, 200):
        scores = unwindowed_scores(recognizer, torch.zeros(128, frames))
        assert scores.shape == (11,)
        assert np.isfinite(scores).all()
    assert kept == [False] * 3
    one = torch.randn(128, 43)  # as long as a window
    with torch.no_grad():
        expected = recognizer.scores(recognizer.window_logits(one[None]))[0, 0]
    np.testing.assert_allclose(unwindowed_scores(recognizer, one), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "model",
    [Pons2017Single(), Pons2017Multi(), nn.Flatten(), Transfer(embedding=nn.Flatten(), features=1)],
    ids=lambda model: type(model).__name__,
)
def test_networks_that_take_windows_of_one_length_say_so(model: nn.Module) -> None:
    message = rf"aggregation=network .* and {type(model).__name__} takes windows of one length; ta"
    with pytest.raises(InputError, match=message) as error:
        check_any_length(Recognizer(frontend=HanLogMel(), model=model))
    assert "\n" not in str(error.value)
