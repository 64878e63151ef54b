"""The penalty on what is audible of a change."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from irdream.audio.masking import masking_threshold, masking_violation
from irdream.dreaming.batch import Originals
from irdream.dreaming.objectives import ForwardOutput, LogProbability, MaskingPenalty
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer

SETTINGS = {"n_fft": 128, "hop_samples": 40, "sample_rate_hz": 8000}
FRONTEND = HanLogMel(sample_rate_hz=8000, n_fft=128, hop_samples=40, n_mels=12).double()
RECOGNIZER = Recognizer(frontend=FRONTEND, model=nn.Identity())
TARGETS = torch.zeros(3, dtype=torch.long)


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def read_layers(log_mel, layers):
    return {}


def originals(log_mel: torch.Tensor, waveform: torch.Tensor) -> Originals:
    return Originals(
        recognizer=RECOGNIZER, log_mel=log_mel, sound=waveform, keys=torch.arange(len(waveform))
    )


def output_of(penalty, waveform, change, *, sound: bool) -> ForwardOutput:
    """Return the output for a changed sound, or a changed log-mel."""
    start = RECOGNIZER.log_mel(waveform)
    logs = torch.zeros(len(waveform), 1, 11, dtype=torch.float64).log_softmax(dim=2)
    step = ForwardOutput(
        logits=logs,
        log_probabilities=logs,
        log_mel=start if sound else start + change,
        start=start,
        prepared=penalty.prepare(read_layers, originals(start, waveform)),
        items=torch.arange(len(waveform)),
    )
    return replace(step, waveform=waveform + change, start_waveform=waveform) if sound else step


def changes(sound: bool, size: float, waveform: torch.Tensor, seed: int = 9) -> torch.Tensor:
    shape = waveform.shape if sound else RECOGNIZER.log_mel(waveform).shape
    return size * noise(seed, *shape)


def test_of_a_sound_it_is_the_mean_excess() -> None:
    waveform, change = 0.2 * noise(1, 3, 2000), 0.02 * noise(2, 3, 2000)
    penalty = MaskingPenalty()

    found = penalty(output_of(penalty, waveform, change, sound=True), TARGETS)

    expected = masking_violation(waveform, waveform + change, **SETTINGS).excess_db
    assert (found > 0).all()
    torch.testing.assert_close(found, expected)


def test_of_a_log_mel_it_is_the_mean_excess_of_the_bands() -> None:
    waveform = 0.2 * noise(1, 3, 2000)
    penalty = MaskingPenalty(margin_db=3.0, full_scale_db=80.0)
    step = output_of(penalty, waveform, changes(False, 0.5, waveform), sound=False)

    found = penalty(step, TARGETS)

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

    found = penalty(output_of(penalty, waveform, change, sound=sound), TARGETS)
    (gradient,) = torch.autograd.grad(found.sum(), change)

    assert found.tolist() == [0.0, 0.0, 0.0]
    assert not gradient.any()


@pytest.mark.parametrize("sound", [True, False])
def test_any_change_of_silence_is_audible(sound) -> None:
    waveform = torch.zeros(3, 900, dtype=torch.float64)
    change = changes(sound, 0.01 if sound else 8.0, waveform).requires_grad_()
    penalty = MaskingPenalty()

    found = penalty(output_of(penalty, waveform, change, sound=sound), TARGETS)
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
        return penalty(output_of(penalty, waveform, change, sound=sound), TARGETS[:1]).sum()

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
        found = penalty(output_of(penalty, waveform, change, sound=True), TARGETS)
        (gradient,) = torch.autograd.grad(found.sum(), change)
        change = change.detach() - 3e-4 * gradient / gradient.square().mean().sqrt()
    after = masking_violation(waveform, waveform + change, **SETTINGS)

    assert (after.excess_db < 0.8 * before.excess_db).all()


def test_what_it_prepares_has_an_axis_of_items_and_its_name() -> None:
    waveform = 0.2 * noise(1, 3, 900)
    start = RECOGNIZER.log_mel(waveform)
    both = LogProbability() - MaskingPenalty() - MaskingPenalty(margin_db=6.0)
    prepared = both.prepare(read_layers, originals(start, waveform))

    assert len(prepared) == 4
    assert all(key.startswith("masking_penalty") for key in prepared)
    assert all(len(value) == 3 for value in prepared.values())
