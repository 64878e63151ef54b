"""The waveform as it is, and a gain on its spectrum: peak, unit, what becomes of a sound."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from irdream.audio.stft import stft
from irdream.dreaming.parametrizations import StftGain, StftMask, Waveform
from irdream.errors import InputError
from irdream.frontends import ConstantQ
from irdream.recognizer import Recognizer


class Given(nn.Module):
    """A front end that gives the sound itself."""

    sample_rate_hz = hop_samples = 1


# The sound


def started(bench, waveform: Waveform, sounds: torch.Tensor) -> Any:
    return bench.start(waveform, sounds, sounds)


def test_a_sound_stays_below_its_peak(bench) -> None:
    origin = started(bench, Waveform(peak=0.5), torch.tensor([[0.9, -0.9, 0.1]]))
    dream = Waveform(peak=0.5).signal(origin, torch.zeros(1, 3))
    assert dream.tolist() == [[0.5, -0.5, pytest.approx(0.1)]]


def test_sounds_above_full_scale_are_dreamed_as_they_are(bench) -> None:
    sounds = torch.tensor([[900.0, -1200.0, 3.0], [0.9, -0.9, 0.1]])
    origin = started(bench, Waveform(), sounds)
    assert torch.equal(Waveform().signal(origin, torch.zeros(2, 3)), sounds)
    louder = Waveform().signal(origin, torch.tensor([1.0, -1.0])[:, None].expand(2, 3))
    assert louder.tolist() == [[901, -1199, 4], pytest.approx([-0.1, -1, -0.9])]


def test_a_unit_is_a_hundredth_of_the_rms(bench) -> None:
    origin = started(
        bench, Waveform(), torch.tensor([[3.0, -4.0, 3.0, -4.0], [0.0, 0.0, 0.0, 0.0]])
    )
    unit = Waveform().unit(origin)
    torch.testing.assert_close(unit[0], torch.tensor([0.125**0.5 / 10]))
    assert unit[1].item() == pytest.approx(1e-5)  # silence can be changed


# A gain on its spectrum


def test_a_sound_can_keep_the_peak_of_its_original(bench) -> None:
    gain, sounds = StftGain(keep_peak=True), bench.sounds(2, 777)
    origin = bench.origin(gain, sounds, [1, 2])
    for by in (0.5, 1.0, 3.0):
        level = torch.full_like(origin.signal, math.log(by))
        torch.testing.assert_close(gain.waveform(origin, level), sounds)
    changed = gain.waveform(origin, bench.changed(gain, origin))
    torch.testing.assert_close(changed.abs().amax(dim=1), sounds.abs().amax(dim=1))
    assert not torch.allclose(changed, sounds, atol=1e-2)


def test_a_gain_on_high_bins_leaves_a_low_tone(bench) -> None:
    gain = StftGain()
    time = torch.arange(2000, dtype=torch.float64) / 2000
    low, high = (torch.sin(2 * math.pi * hz * time)[None] / 2 for hz in (125.0, 750.0))
    origin = bench.origin(gain, low + high, [1])
    signal = torch.zeros_like(origin.signal)
    signal[:, 16:] = -20.0  # of 33 bins of 31.25 Hz, so from 500 Hz

    sound = gain.waveform(origin, signal)
    torch.testing.assert_close(sound[:, 100:-100], low[:, 100:-100], rtol=0, atol=2e-3)


def test_the_origin_has_the_magnitudes_and_the_phases(bench) -> None:
    origin = bench.origin(StftGain(), bench.sounds(2, 777), [1, 2])
    expected = stft(origin.sound, bench.recognizer.frontend)
    assert torch.equal(origin.own["stft"], expected)
    assert torch.equal(origin.spectrum, expected.abs())
    assert origin.signal.shape == expected.shape
    assert not origin.signal.any()


def test_a_mask_and_its_complement_add_up_to_the_sound(bench) -> None:
    mask, sounds = StftMask(bins=4, frames=4), bench.sounds(2, 777)
    origin = bench.origin(mask, sounds, [1, 2])
    undreamed, parameters = mask.parameters(origin), bench.changed(mask, origin)
    assert parameters.shape == (2, 8, 5)  # of 33 bins and 21 frames
    half = mask.waveform(origin, mask.signal(origin, undreamed))
    torch.testing.assert_close(half, sounds / 2)
    kept, rest = (mask.signal(origin, sign * parameters) for sign in (1, -1))
    assert 0 < float(kept.exp().min()) < 0.1 < 0.9 < float(kept.exp().max()) < 1
    both = [mask.waveform(origin, signal) for signal in (kept, rest)]
    torch.testing.assert_close(both[0] + both[1], sounds)


def test_the_gain_is_limited(bench) -> None:
    gain = StftGain(max_gain_db=20.0)
    origin = bench.origin(gain, bench.sounds(1, 500), [1])
    signal = gain.signal(origin, torch.full_like(origin.signal, -9.0))
    torch.testing.assert_close(signal, torch.full_like(signal, -math.log(10.0)))


@pytest.mark.parametrize("keep_peak", [False, True])
def test_silence_stays_silent_and_its_gradient_finite(bench, keep_peak) -> None:
    gain = StftGain(keep_peak=keep_peak)
    origin = bench.origin(gain, torch.zeros(1, 500, dtype=torch.float64), [1])
    at = bench.changed(gain, origin).requires_grad_()
    _, sound, log_mel = bench.forward(gain, origin, at)
    (gradient,) = torch.autograd.grad(log_mel.sum(), at)
    assert sound is not None
    assert not sound.any()
    assert torch.isfinite(gradient).all()


def test_a_front_end_that_is_no_stft_is_refused(bench) -> None:
    raw = Recognizer(frontend=Given(), model=nn.Identity())
    with pytest.raises(InputError, match=r"StftGain with Given; expected a front end with n_fft"):
        StftGain().start(bench.originals(bench.sounds(1, 500), recognizer=raw))


def test_a_front_end_that_is_no_stft_gets_a_gain_on_one(bench) -> None:
    frontend = ConstantQ(sample_rate_hz=2000, n_bins=24)
    recognizer = Recognizer(frontend=frontend, model=nn.Identity())
    gain, sounds = StftGain(), bench.sounds(1, 4000)
    origin = gain.start(bench.originals(sounds, sounds, recognizer=recognizer))
    doubled = torch.full_like(origin.signal, math.log(2.0))
    sound = gain.waveform(origin, doubled)
    torch.testing.assert_close(sound, 2 * sounds.to(sound), atol=1e-5, rtol=0)
