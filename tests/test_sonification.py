import math
from typing import Any

import pytest
import torch
from torch import Tensor

from irdream.audio.stft import stft
from irdream.frontends import HanLogMel
from irdream.sonification import GriffinLim, MelInversion, StftGain, invert_mel

FRONTEND = HanLogMel()
DB = math.log(10) / 20  # one decibel as a natural logarithm
HOP = 512
# Ends that fall anywhere in a hop; at 511 the last taper ends with the sound.
LENGTHS = [20 * HOP + rest for rest in (0, 1, 256, 400, 511)]
EVERY = [StftGain(), MelInversion(iterations=10), GriffinLim(iterations=4)]
every = pytest.mark.parametrize("sonification", EVERY, ids=lambda s: type(s).__name__)


def noise(samples: int = 22_050, *, items: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(items, samples, generator=generator) * 1.6 - 0.8


def tone(*, pitch_hz: float = 220.0) -> Tensor:
    """Nineteen harmonics for a second, the n-th with amplitude 1 / n; (1, samples), peak 1."""
    time = torch.arange(22_050) / 22_050
    wave = sum(torch.sin(2 * torch.pi * pitch_hz * n * time) / n for n in range(1, 20))
    assert isinstance(wave, Tensor)
    return (wave / wave.abs().max())[None]


def sonify(sonification: Any, waveform: Tensor, change: Tensor | float = 0.0) -> Tensor:
    original = FRONTEND(waveform)
    return sonification(
        dream=original + change, original=original, waveform=waveform, frontend=FRONTEND
    )


# Every sonification


@every
@pytest.mark.parametrize("samples", LENGTHS)
def test_length_and_no_click_at_the_end(sonification: Any, samples: int) -> None:
    change = torch.randn(1, 128, 1, generator=torch.Generator().manual_seed(1)) * 3 * DB
    sound = sonify(sonification, noise(samples), change.requires_grad_())
    assert sound.shape == (1, samples)
    assert sound[:, -HOP:].abs().max() < 1.5 * sound[:, :-HOP].abs().max()
    assert not sound.requires_grad


@every
def test_an_item_does_not_depend_on_the_others(sonification: Any) -> None:
    waveform = noise(items=3) * torch.tensor([[1.0], [0.01], [1.0]])
    change = torch.randn(3, 128, 43, generator=torch.Generator().manual_seed(2)) * 3 * DB
    together = sonify(sonification, waveform, change)
    alone = sonify(sonification, waveform[1:2], change[1:2])
    assert torch.allclose(together[1:2], alone, rtol=0, atol=1e-5)
    assert torch.equal(sonify(sonification, waveform, change), together)


@every
def test_silence_stays_silent(sonification: Any) -> None:
    sound = sonify(sonification, torch.zeros(1, 22_050))
    assert sound.isfinite().all()
    assert sound.abs().max() < 1e-4


# A gain on the spectrum


@pytest.mark.parametrize("samples", [*LENGTHS, 600, 1024])
def test_no_difference_gives_the_original_back(samples: int) -> None:
    waveform = noise(samples, items=2)
    assert torch.allclose(sonify(StftGain(), waveform), waveform, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("gain_db", "max_gain_db", "expected_db"),
    [(-20, 60, -20), (6.0206, 60, 6.0206), (40, 60, 40), (40, 12, 12), (-40, 12, -12)],
)
def test_the_same_gain_everywhere_scales_the_sound(
    gain_db: float, max_gain_db: float, expected_db: float
) -> None:
    waveform = noise(LENGTHS[-1])
    sound = sonify(StftGain(max_gain_db=max_gain_db), waveform, gain_db * DB)
    factor = 10 ** (expected_db / 20)
    assert torch.allclose(sound, waveform * factor, rtol=0, atol=1e-5 * max(factor, 1))


def test_a_gain_in_one_band_changes_that_band_only() -> None:
    waveform, gain = noise(), torch.zeros(1, 128, 1)
    gain[:, 60:80] = 6 * DB
    sound = sonify(StftGain(), waveform, gain)
    change = (FRONTEND(sound) - FRONTEND(waveform)).mean(dim=(0, 2)) / DB
    assert change[62:78] == pytest.approx([6.0] * 16, abs=0.1)
    assert change[:58].abs().max() < 0.1
    assert change[82:].abs().max() < 0.1
    assert (change[58:62].diff() > 0).all()
    assert (change[78:82].diff() < 0).all()


def test_a_gain_in_time_changes_that_time_only() -> None:
    waveform, gain = noise(), torch.zeros(1, 1, 43)
    gain[..., 20:] = 6 * DB
    sound = sonify(StftGain(), waveform, gain)
    assert torch.allclose(sound[:, : 19 * HOP], waveform[:, : 19 * HOP], atol=1e-5)
    louder = waveform[:, 20 * HOP :] * 10 ** (6 / 20)
    assert torch.allclose(sound[:, 20 * HOP :], louder, atol=1e-5)


# The mel bands inverted


def test_an_undreamed_noise_keeps_its_phase_and_loses_its_fine_structure() -> None:
    waveform = noise(LENGTHS[2])
    sound = sonify(MelInversion(), waveform)
    before, after = stft(waveform, FRONTEND)[0], stft(sound, FRONTEND)[0]
    coherence = (before.conj() * after).real.sum() / (before.abs() * after.abs()).sum()
    assert coherence > 0.95  # measured: 0.98; with a random phase it is 0
    # Above 4 kHz a band covers several bins, and only their sum is known.
    assert 0.1 < (sound - waveform).norm() / waveform.norm() < 0.5


def test_mel_bands_are_inverted() -> None:
    mel = FRONTEND.mel_basis @ torch.rand(2, 513, 9, generator=torch.Generator().manual_seed(0))
    bins = invert_mel(mel, FRONTEND.mel_basis, iterations=100)
    assert bins.shape == (2, 513, 9)
    assert bins.min() >= 0
    again = FRONTEND.mel_basis @ bins
    assert (again - mel).norm() < 0.01 * mel.norm()
    assert ((again - mel).abs() / mel).mean() < 0.02


def test_the_updates_come_nearer_than_least_squares_alone() -> None:
    # A single loud bin, whose least-squares inverse swings below zero beside it.
    spectrum = torch.zeros(1, 513, 1)
    spectrum[:, 300] = 1.0
    mel = FRONTEND.mel_basis @ spectrum
    errors = []
    for iterations in (0, 10, 100):
        bins = invert_mel(mel, FRONTEND.mel_basis, iterations=iterations)
        assert bins.min() >= 0
        errors.append(float((FRONTEND.mel_basis @ bins - mel).norm() / mel.norm()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.05


# Griffin-Lim


@pytest.mark.parametrize(("waveform", "most_db"), [(tone(), 3.0), (noise(), 1.0)])
def test_a_sound_comes_back_within_some_decibels(waveform: Tensor, most_db: float) -> None:
    # Measured over the loudest 40 dB of the tone: 3.3 dB after 16 iterations, 2.4 after 64, 1.2
    # after 200; of the noise 0.3 dB.
    log_mel = FRONTEND(waveform)
    loud = log_mel > log_mel.max() - 40 * DB
    difference_db = (FRONTEND(sonify(GriffinLim(), waveform)) - log_mel)[loud] / DB
    assert difference_db.square().mean().sqrt() < most_db
    assert difference_db.mean().abs() < 1


def test_a_log_mel_of_powers_comes_back() -> None:
    frontend = HanLogMel(power=2)
    log_mel = frontend(noise())
    sound = MelInversion()(dream=log_mel, original=log_mel, waveform=noise(), frontend=frontend)
    assert (frontend(sound) - log_mel).square().mean().sqrt() < DB  # 0.6 dB, measured


def test_the_original_is_not_used_but_for_its_length() -> None:
    log_mel = FRONTEND(tone())
    sounds = [
        GriffinLim(iterations=1)(dream=log_mel, original=a, waveform=b, frontend=FRONTEND)
        for a, b in ((log_mel, tone()), (0 * log_mel, 0 * tone()))
    ]
    assert torch.equal(*sounds)
