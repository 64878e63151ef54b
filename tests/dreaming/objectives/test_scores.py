"""Scores of the output, and penalties, on numbers worked out by hand and on a convolution."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from irdream.audio.masking import masking_threshold, masking_violation
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
    MaskingPenalty,
    MeanGain,
    Probability,
    TotalVariation,
)
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer

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


SETTINGS = {"n_fft": 128, "hop_samples": 40, "sample_rate_hz": 8000}
FRONTEND = HanLogMel(sample_rate_hz=8000, n_fft=128, hop_samples=40, n_mels=12).double()
RECOGNIZER = Recognizer(frontend=FRONTEND, model=nn.Identity())
FIRST = torch.zeros(3, dtype=torch.long)


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def read_layers(log_mel, layers):
    return {}


def output_of(penalty, waveform, change, *, sound: bool) -> ForwardOutput:
    """Return the output for a changed sound, or a changed log-mel."""
    start = RECOGNIZER.log_mel(waveform)
    logs = torch.zeros(len(waveform), 1, 11, dtype=torch.float64).log_softmax(dim=2)
    step = ForwardOutput(
        logits=logs,
        log_probabilities=logs,
        log_mel=start if sound else start + change,
        start=start,
        prepared=penalty.prepare(read_layers, Originals.of(RECOGNIZER, waveform)),
        items=torch.arange(len(waveform)),
    )
    return replace(step, waveform=waveform + change, start_waveform=waveform) if sound else step


def changes(sound: bool, size: float, waveform: torch.Tensor, seed: int = 9) -> torch.Tensor:
    shape = waveform.shape if sound else RECOGNIZER.log_mel(waveform).shape
    return size * noise(seed, *shape)


def test_of_a_sound_it_is_the_mean_excess() -> None:
    waveform, change = 0.2 * noise(1, 3, 2000), 0.02 * noise(2, 3, 2000)
    penalty = MaskingPenalty()

    found = penalty(output_of(penalty, waveform, change, sound=True), FIRST)

    expected = masking_violation(waveform, waveform + change, **SETTINGS).excess_db
    assert (found > 0).all()
    torch.testing.assert_close(found, expected)


def test_of_a_log_mel_it_is_the_mean_excess_of_the_bands() -> None:
    waveform = 0.2 * noise(1, 3, 2000)
    penalty = MaskingPenalty(margin_db=3.0, full_scale_db=80.0)
    step = output_of(penalty, waveform, changes(False, 0.5, waveform), sound=False)

    found = penalty(step, FIRST)

    threshold = masking_threshold(waveform, **SETTINGS, full_scale_db=80.0).sqrt()
    most = (FRONTEND.mel_basis @ threshold)[..., :50]
    change = (step.log_mel.exp() - step.start.exp()).abs()
    expected = (20 * (change / most).log10() + 3.0).relu().mean(dim=(1, 2))
    assert (expected > 0).all()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("sound", [True, False])
@pytest.mark.parametrize("silent", [True, False])
def test_no_change_costs_nothing_and_has_no_slope(sound, silent) -> None:
    waveform = 0.2 * noise(1, 3, 900) * (not silent)
    change = changes(sound, 0.0, waveform).requires_grad_()
    penalty = MaskingPenalty()

    found = penalty(output_of(penalty, waveform, change, sound=sound), FIRST)
    (gradient,) = torch.autograd.grad(found.sum(), change)

    assert found.tolist() == [0.0, 0.0, 0.0]
    assert not gradient.any()


@pytest.mark.parametrize("sound", [True, False])
def test_any_change_of_silence_is_audible(sound) -> None:
    waveform = torch.zeros(3, 900, dtype=torch.float64)
    change = changes(sound, 0.01 if sound else 8.0, waveform).requires_grad_()
    penalty = MaskingPenalty()

    found = penalty(output_of(penalty, waveform, change, sound=sound), FIRST)
    (gradient,) = torch.autograd.grad(found.sum(), change)

    assert (found > 1.0).all()
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("sound", [True, False])
@settings(max_examples=20, deadline=None, derandomize=True)
@given(samples=st.integers(65, 900), seed=st.integers(0, 2**31))
def test_gradients_agree_with_finite_differences(sound, samples, seed) -> None:
    waveform = 0.2 * noise(seed, 1, samples)
    change = changes(sound, 0.1, waveform).requires_grad_()
    direction = changes(sound, 1.0, waveform, seed=seed + 1)
    penalty = MaskingPenalty()

    def score(change: torch.Tensor) -> torch.Tensor:
        return penalty(output_of(penalty, waveform, change, sound=sound), FIRST[:1]).sum()

    (gradient,) = torch.autograd.grad(score(change), change)
    step = 1e-7 * direction
    measured = (score(change + step) - score(change - step)) / 2e-7
    assert (gradient * direction).sum().item() == pytest.approx(
        measured.item(), rel=1e-4, abs=1e-5 * gradient.norm().item()
    )


def test_going_down_its_gradient_makes_a_change_less_audible() -> None:
    waveform = 0.2 * noise(1, 3, 2000)
    change = 0.02 * noise(2, 3, 2000)
    penalty = MaskingPenalty()
    before = masking_violation(waveform, waveform + change, **SETTINGS)
    for _ in range(20):
        change.requires_grad_()
        found = penalty(output_of(penalty, waveform, change, sound=True), FIRST)
        (gradient,) = torch.autograd.grad(found.sum(), change)
        change = change.detach() - 3e-4 * gradient / gradient.square().mean().sqrt()
    after = masking_violation(waveform, waveform + change, **SETTINGS)

    assert (after.excess_db < 0.8 * before.excess_db).all()


def test_what_it_prepares_has_an_axis_of_items_and_its_name() -> None:
    waveform = 0.2 * noise(1, 3, 900)
    both = LogProbability() - MaskingPenalty() - MaskingPenalty(margin_db=6.0)
    prepared = both.prepare(read_layers, Originals.of(RECOGNIZER, waveform))

    assert len(prepared) == 4
    assert all(key.startswith("masking_penalty") for key in prepared)
    assert all(len(value) == 3 for value in prepared.values())
