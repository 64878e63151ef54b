"""Scores of the output, and penalties, on numbers worked out by hand and on a convolution."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from irdream.dreaming.batch import Originals
from irdream.dreaming.objectives import (
    L1,
    L2,
    Blur,
    Complement,
    ForwardOutput,
    Logit,
    LogProbability,
    Margin,
    MeanGain,
    Probability,
    TotalVariation,
)
from irdream.errors import InputError

LOGITS = torch.tensor([[[0.0, math.log(3.0)], [math.log(3.0), 0.0]], [[2.0, 2.0], [0.0, 0.0]]])
OUTPUT = ForwardOutput(logits=LOGITS, log_probabilities=LOGITS.log_softmax(dim=-1))
TARGETS = torch.tensor([1, 0])  # of the first item .75 and .25 in its windows, of the second .5


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (LogProbability(), [(math.log(0.75) + math.log(0.25)) / 2, math.log(0.5)]),
        (Probability(), [0.5, 0.5]),
        (Logit(), [math.log(3.0) / 2, 1.0]),
        (Margin(), [(math.log(0.75 / 0.25) + math.log(0.25 / 0.75)) / 2, 0.0]),
    ],
    ids=repr,
)
def test_scores_are_means_over_the_windows(objective, expected) -> None:
    torch.testing.assert_close(objective(OUTPUT, TARGETS), torch.tensor(expected))


def test_margin_is_the_logit_over_all_others() -> None:
    logits = torch.tensor([[[1.0, 2.0, 4.0]]])
    output = ForwardOutput(logits=logits, log_probabilities=logits.log_softmax(dim=-1))
    expected = torch.tensor([4.0 - math.log(math.exp(1.0) + math.exp(2.0))])
    torch.testing.assert_close(Margin()(output, torch.tensor([2])), expected)


def test_margin_of_a_certain_window_is_finite_and_has_a_gradient() -> None:
    logits = torch.tensor([[[0.0, 200.0, 0.0]]], requires_grad=True)
    output = ForwardOutput(logits=logits, log_probabilities=logits.log_softmax(dim=-1))
    margin = Margin()(output, torch.tensor([1]))
    torch.testing.assert_close(margin, torch.tensor([200.0 - math.log(2.0)]))
    (gradient,) = torch.autograd.grad(margin.sum(), logits)
    torch.testing.assert_close(gradient, torch.tensor([[[-0.5, 1.0, -0.5]]]))


class Loudness:
    """A network on waveforms: class 0 is as likely as the mean is high."""

    def log_mel(self, waveform):
        return waveform

    def window_logits(self, waveform):
        return torch.stack([waveform.mean(dim=1), torch.zeros(len(waveform))], dim=1)[:, None]

    def log_probabilities(self, logits):
        return logits.log_softmax(dim=-1)


def test_the_complement_is_what_the_original_has_beside_the_dream() -> None:
    objective = Complement()
    originals = Originals(recognizer=Loudness(), log_mel=LOGITS, keys=TARGETS)
    assert not objective.prepare(lambda log_mel, layers: {}, originals)
    start, dream = torch.tensor([[3.0, 3.0], [1.0, 1.0]]), torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    output = ForwardOutput(
        logits=LOGITS, log_probabilities=LOGITS, waveform=dream, start_waveform=start
    )
    expected = torch.tensor([-math.log(1 + math.exp(2.0)), math.log(0.5)])  # log(1 - p) of 2 and 0
    torch.testing.assert_close(objective(output, torch.tensor([0, 0])), expected)
    with pytest.raises(InputError, match="Complement of dreams that are no sound; expected a para"):
        objective(OUTPUT, TARGETS)


def test_the_mean_gain_of_an_item() -> None:
    gain = torch.tensor([[[1.0, 0.5], [0.25, 0.25]], [[1.0, 1.0], [1.0, 1.0]]])
    output = ForwardOutput(logits=LOGITS, log_probabilities=LOGITS, signal=gain.log())
    torch.testing.assert_close(MeanGain()(output, TARGETS), torch.tensor([0.5, 1.0]))


@pytest.mark.parametrize("objective", [LogProbability(), Probability(), Margin()], ids=repr)
@pytest.mark.parametrize("confidence", [0.1, 0.5, 0.9])
def test_the_goal_is_the_score_at_that_probability(objective, confidence) -> None:
    """Of a single window."""
    probabilities = torch.tensor([[[confidence, 0.7 * (1 - confidence), 0.3 * (1 - confidence)]]])
    output = ForwardOutput(logits=probabilities, log_probabilities=probabilities.log())
    score = float(objective(output, torch.tensor([0])))
    assert objective.goal(confidence) == pytest.approx(score, abs=1e-6)


def test_an_items_probability_is_the_mean_of_its_windows() -> None:
    torch.testing.assert_close(OUTPUT.probabilities(), torch.full((2, 2), 0.5))


# Roughness and change

DB = math.log(10.0) / 20.0  # one dB in the natural units of a log-mel
NONE = torch.empty(0)


def value(objective, dream_db, start_db=None, *, unit: float = DB) -> float:
    """Return the score of one item whose log-mels are given in dB."""
    dream = torch.as_tensor(dream_db, dtype=torch.float64)[None] * unit
    start = torch.zeros_like(dream)
    if start_db is not None:
        start = torch.as_tensor(start_db, dtype=torch.float64)[None] * unit
    output = ForwardOutput(logits=NONE, log_probabilities=NONE, log_mel=dream, start=start)
    score = objective(output, NONE)
    assert score.shape == (1,)
    return float(score)


STEPS = [[0.0, 1.0, 3.0], [2.0, 2.0, 0.0]]  # along mels |2| |1| |3|, along frames |1 2 0 2|
CHANGE = [[0.0, 1.0, -3.0], [2.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("objective", "dream_db", "expected"),
    [
        (TotalVariation(), STEPS, (2 + 1 + 3) / 3 + (1 + 2 + 0 + 2) / 4),
        (TotalVariation(), [[5.0, 5.0], [5.0, 5.0]], 0.0),
        (TotalVariation(), [[1.0, 4.0]], 3.0),  # one band: along the frames alone
        (TotalVariation(), [[7.0]], 0.0),
        (L1(), CHANGE, (1 + 3 + 2) / 6),
        (L2(), CHANGE, (1 + 9 + 4) / 6),
        (Blur(mels=0.0), [[0.0, 4.0, 0.0]], (1 + 4 + 1) / 3),  # blurred: 1, 2, 1
        (Blur(frames=0.0), [[0.0], [4.0], [0.0]], (1 + 4 + 1) / 3),
        (Blur(mels=0.0, frames=2.0), [[0.0, 4.0]], 2 * (1 + 1) / 2),  # blurred: 1, 3
        (Blur(), [[3.0]], 0.0),
        (Blur(), [[1.0, 1.0], [1.0, 1.0]], 0.0),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_quantities_in_db(objective, dream_db, expected) -> None:
    assert value(objective, dream_db) == pytest.approx(expected)


def test_change_is_measured_from_the_start() -> None:
    dream = [[10.0, 12.0], [14.0, 10.0]]
    assert value(L1(), dream, [[10.0, 10.0], [10.0, 10.0]]) == pytest.approx(1.5)
    assert value(L2(), dream, [[10.0, 10.0], [10.0, 10.0]]) == pytest.approx(5.0)
    assert value(L2(), dream, dream) == 0.0


WAVE, ORIGINAL = [0.0, 1.0, 2.0, 2.0, -1.0], [0.0, 1.0, 2.0, 0.0, 2.0]


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (TotalVariation(), (1 + 1 + 0 + 3) / 4),
        (L1(), (2 + 3) / 5),
        (L2(), (4 + 9) / 5),
        (Blur(frames=3.0), 3 * (1 + 0 + 1 + 9 + 9) / 16 / 5),  # second differences 1 0 -1 -3 3
    ],
    ids=repr,
)
def test_of_a_waveform_along_its_one_axis_in_full_scale(objective, expected) -> None:
    assert value(objective, WAVE, ORIGINAL, unit=1.0) == pytest.approx(expected)


def blurred(log_mel: Tensor, kernel: Tensor, padding: tuple[int, int, int, int]) -> Tensor:
    padded = F.pad(log_mel[:, None], padding, mode="replicate")
    return F.conv2d(padded, kernel[None, None].double())[:, 0]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), mels=st.integers(1, 9), frames=st.integers(1, 40))
def test_blur_is_the_distance_to_a_convolution(seed, mels, frames) -> None:
    generator = torch.Generator().manual_seed(seed)
    log_mel = torch.randn(3, mels, frames, generator=generator, dtype=torch.float64)
    kernel = torch.tensor([[1.0, 2.0, 1.0]]) / 4
    along_frames = (log_mel - blurred(log_mel, kernel, (1, 1, 0, 0))).square().mean(dim=(1, 2))
    along_mels = (log_mel - blurred(log_mel, kernel.T, (0, 0, 1, 1))).square().mean(dim=(1, 2))
    output = ForwardOutput(logits=NONE, log_probabilities=NONE, log_mel=log_mel * DB)
    expected = 2.0 * along_mels + 0.5 * along_frames
    torch.testing.assert_close(Blur(mels=2.0, frames=0.5)(output, NONE), expected)


def test_at_the_start_no_change_has_no_gradient_and_no_nan() -> None:
    start = torch.randn(1, 4, 5)
    for objective in (L1(), L2()):
        dream = start.clone().requires_grad_()
        output = ForwardOutput(logits=NONE, log_probabilities=NONE, log_mel=dream, start=start)
        (gradient,) = torch.autograd.grad(objective(output, NONE).sum(), dream)
        assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("weight", [-1, math.nan])
@pytest.mark.parametrize("name", ["mels", "frames"])
def test_a_negative_weight_of_the_blur_is_refused(name, weight) -> None:
    with pytest.raises(InputError, match=rf"{name}={weight}; expected a number, at least 0"):
        Blur(**{name: weight})
