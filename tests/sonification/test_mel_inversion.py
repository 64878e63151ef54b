from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from irdream.audio.stft import stft
from irdream.frontends import HanLogMel
from irdream.sonification import MelInversion
from irdream.sonification.mel_inversion import invert_mel

DB = math.log(10) / 20
HOP = 512


@pytest.fixture(scope="module")
def frontend() -> HanLogMel:
    return HanLogMel()


def noise(samples: int = 20 * HOP) -> Tensor:
    return torch.rand(1, samples, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8


def sonify(waveform: Tensor, frontend: HanLogMel, *, gain_db: float = 0.0) -> Tensor:
    original = frontend(waveform)
    return MelInversion()(
        dream=original + gain_db * DB, original=original, waveform=waveform, frontend=frontend
    )


@pytest.mark.parametrize("rest", [0, 1, 256, 511])
def test_an_undreamed_noise_keeps_its_length_and_its_phase(frontend: HanLogMel, rest) -> None:
    waveform = noise(20 * HOP + rest)
    sound = sonify(waveform, frontend)
    assert sound.shape == waveform.shape
    assert not sound.requires_grad
    before, after = stft(waveform, frontend)[0], stft(sound, frontend)[0]
    coherence = (before.conj() * after).real.sum() / (before.abs() * after.abs()).sum()
    assert coherence > 0.95  # measured: 0.98; with a random phase it is 0


def test_a_gain_on_all_bands_is_a_gain_on_the_sound(frontend: HanLogMel) -> None:
    ratio = sonify(noise(), frontend, gain_db=-6.0).norm() / sonify(noise(), frontend).norm()
    assert 20 * math.log10(float(ratio)) == pytest.approx(-6.0, abs=0.05)


def test_the_fine_structure_is_lost(frontend: HanLogMel) -> None:
    # Above 4 kHz a band covers several bins, and only their sum is known.
    waveform = noise()
    error = (sonify(waveform, frontend) - waveform).norm() / waveform.norm()
    assert 0.1 < error < 0.5


def test_mel_bands_are_inverted(frontend: HanLogMel) -> None:
    spectrum = torch.rand(2, 513, 9, generator=torch.Generator().manual_seed(0))
    mel = frontend.mel_basis @ spectrum
    bins = invert_mel(mel, frontend.mel_basis, iterations=100)
    assert bins.shape == spectrum.shape
    assert bins.min() >= 0
    again = frontend.mel_basis @ bins
    assert (again - mel).norm() < 0.01 * mel.norm()
    assert ((again - mel).abs() / mel).mean() < 0.02


def test_the_updates_come_nearer_than_least_squares_alone(frontend: HanLogMel) -> None:
    # A single loud bin, whose least-squares inverse swings below zero beside it.
    spectrum = torch.zeros(1, 513, 1)
    spectrum[:, 300] = 1.0
    mel = frontend.mel_basis @ spectrum
    errors = []
    for iterations in (0, 10, 100):
        bins = invert_mel(mel, frontend.mel_basis, iterations=iterations)
        assert bins.min() >= 0
        errors.append(float((frontend.mel_basis @ bins - mel).norm() / mel.norm()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.05


def test_nothing_is_inverted_to_nothing(frontend: HanLogMel) -> None:
    bins = invert_mel(torch.zeros(1, 128, 3), frontend.mel_basis, iterations=10)
    assert bins.isfinite().all()
    assert bins.abs().max() < 1e-6
