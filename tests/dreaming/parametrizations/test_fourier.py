"""A detail as its spectrum: what is low, what is heavy, what an octave leaves out."""

import pytest
import torch

from irdream.dreaming.batch import Originals
from irdream.dreaming.parametrizations import Fourier, LogMel, Waveform


def test_weights_fall_with_the_frequency_of_each_axis(bench) -> None:
    origin = bench.origin(Fourier(of=LogMel(), decay=(1.0, 2.0)), bench.sounds(1, 800), [1])
    weights = origin.own["weights"][0, 0]  # 9 bands, 20 frames

    assert weights.shape == (9, 11)
    torch.testing.assert_close(weights[:, 2] / weights[:, 4], torch.full_like(weights[:, 0], 4.0))
    torch.testing.assert_close(weights[1] / weights[3], torch.full_like(weights[0], 3.0))
    assert torch.equal(weights[1], weights[-1])  # f and -f
    torch.testing.assert_close(weights[0], weights[1])  # 0 weighs as 1 / n does


@pytest.mark.parametrize("frames", [19, 20])
def test_without_decay_a_gradient_step_is_the_same_as_without_fourier(bench, frames) -> None:
    plain, fourier = LogMel(), Fourier(of=LogMel(), decay=(0.0, 0.0))
    sounds = bench.sounds(2, 40 * frames)
    generator = torch.Generator().manual_seed(1)
    white = torch.randn(2, 9, frames, generator=generator, dtype=torch.float64)
    changes = []
    for parametrization in (plain, fourier):
        origin = bench.origin(parametrization, sounds, [1, 2])
        start = parametrization.parameters(origin).requires_grad_()
        (gradient,) = torch.autograd.grad(parametrization.signal(origin, start), start, white)
        rms = gradient.flatten(1).square().mean(dim=1).sqrt()
        step = gradient / rms.view(-1, *[1] * (start.ndim - 1)) * parametrization.unit(origin)
        changes.append(parametrization.signal(origin, start + step) - origin.signal)
    torch.testing.assert_close(changes[0], changes[1])


def test_one_coefficient_is_one_wave(bench) -> None:
    fourier = Fourier(of=Waveform())
    origin = bench.origin(fourier, torch.zeros(1, 500, dtype=torch.float64), [1])
    parameters = fourier.parameters(origin)
    parameters[0, 1, 3] = 1e-3  # imaginary part
    wave = fourier.signal(origin, parameters)[0]

    time = torch.arange(500, dtype=torch.float64) / 500
    torch.testing.assert_close(wave / wave.min(), torch.sin(2 * torch.pi * 3 * time), atol=1e-4,
                               rtol=0)  # fmt: skip


@pytest.mark.parametrize("points", [18, 19])
def test_an_octave_has_only_low_frequencies(bench, points) -> None:
    fourier = Fourier(of=LogMel(range_db=(-1000.0, 1000.0)))
    origin = bench.origin(fourier, bench.sounds(1, 40 * points), [1])
    coarse = fourier.regrid(origin, bench.changed(fourier, origin, size=30.0), (1.0, 3.0))
    detail = fourier.signal(origin, coarse) - origin.signal

    power = torch.fft.rfft(detail, dim=2).abs().sum(dim=(0, 1))
    assert coarse.shape == (1, 2, 9, 4)
    assert (power[:4] > 1e-3).all()
    assert (power[4:] < 1e-9).all()


def test_an_octave_of_a_sound_goes_by_time() -> None:
    fourier = Fourier(of=Waveform())
    waveform = torch.zeros(1, 100, dtype=torch.float64)
    originals = Originals(recognizer=None, log_mel=waveform, sound=waveform, keys=torch.zeros(1))
    origin = fourier.start(originals)
    parameters = fourier.parameters(origin)
    assert fourier.regrid(origin, parameters, (4.0, 2.0)).shape == (1, 2, 26)
