"""What is dreamed: ranges, units, and gradients that agree with finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from irdream.dreaming.parametrizations import LogMel, Waveform
from irdream.errors import InputError


def test_a_log_mel_stays_in_its_range() -> None:
    db = 20.0 / math.log(10.0)
    signal = torch.linspace(-200.0, 50.0, 12).view(1, 3, 4) / db
    clipped = LogMel(range_db=(-60.0, 10.0)).constrain(signal) * db

    torch.testing.assert_close(clipped.min(), torch.tensor(-60.0))
    torch.testing.assert_close(clipped.max(), torch.tensor(10.0))


def test_a_log_mel_is_no_sound_and_a_waveform_is(recognizer, waveform) -> None:
    log_mel = LogMel()
    assert log_mel.waveform(log_mel.start(recognizer, waveform)) is None
    torch.testing.assert_close(log_mel.start(recognizer, waveform), recognizer.log_mel(waveform))
    assert torch.equal(Waveform().waveform(waveform), waveform)


def test_a_waveform_stays_below_its_peak() -> None:
    assert Waveform(peak=0.5).constrain(torch.tensor([[2.0, -2.0, 0.1]])).tolist() == [
        [0.5, -0.5, pytest.approx(0.1)]
    ]


def test_a_step_on_silence_is_not_nothing() -> None:
    assert Waveform().step(torch.zeros(1, 100), 2.0).item() == pytest.approx(2e-5)


@pytest.mark.parametrize("parametrization", [LogMel(), Waveform()], ids=["log_mel", "waveform"])
def test_gradients_agree_with_finite_differences(recognizer, parametrization) -> None:
    recognizer.double().eval()
    generator = torch.Generator().manual_seed(1)
    waveform = torch.randn(1, 8100, generator=generator, dtype=torch.float64) / 4
    start = parametrization.start(recognizer, waveform)
    direction = torch.randn(start.shape, generator=generator, dtype=torch.float64)

    def score(x: torch.Tensor) -> torch.Tensor:
        log_mel = parametrization.log_mel(recognizer, parametrization.constrain(x))
        return recognizer.window_logits(log_mel)[..., 4].sum()

    x = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(x), x)
    step = 1e-6
    difference = (score(start + step * direction) - score(start - step * direction)) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("range_db", [(1.0,), (20.0, -100.0)])
def test_a_range_that_is_none_is_refused(range_db) -> None:
    with pytest.raises(InputError, match=r"parametrization.range_db=.*; expected \[least, most\]"):
        LogMel(range_db=range_db)


def test_a_peak_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match=r"parametrization.peak=0; expected a number above 0"):
        Waveform(peak=0)
