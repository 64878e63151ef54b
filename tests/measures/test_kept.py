"""Onsets, pitch and a steady gain, against librosa and numbers by hand."""

from __future__ import annotations

import math

import librosa
import numpy as np
import pytest
import torch
from torch import Tensor

from irdream.audio.pitch import pitch_hz
from irdream.errors import InputError
from irdream.measures.dreams import DB_PER_NATURAL
from irdream.measures.kept import (
    onset_correlation,
    onset_strength_db,
    pitch_error_cents,
    warble_db,
)

RATE_HZ = 22_050


def log_mels(items: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(items, 12, 40, generator=generator, dtype=torch.float64) * 2 - 4


def tone(hz: Tensor | float, *, harmonics: int = 8, seconds: float = 1.0) -> Tensor:
    """Return a sound with falling harmonics, (samples,); its pitch may be a curve."""
    hz = torch.as_tensor(hz, dtype=torch.float64).expand(round(seconds * RATE_HZ))
    phase = 2 * math.pi * (hz / RATE_HZ).cumsum(0)
    return sum((torch.sin(k * phase) / k for k in range(1, harmonics + 1)), torch.zeros(1)) * 0.3


def test_onset_strength_is_librosas() -> None:
    found = onset_strength_db(log_mels())
    for one, mine in zip(log_mels(), found, strict=True):
        db = (one * DB_PER_NATURAL).numpy()
        expected = librosa.onset.onset_strength(
            S=np.maximum(db, db.max() - 80), sr=RATE_HZ, center=False
        )
        np.testing.assert_allclose(mine, expected[1:], rtol=1e-6)


def test_onsets_are_kept_by_a_level_and_lost_in_noise() -> None:
    original = log_mels()
    torch.testing.assert_close(
        onset_correlation(original, original + 1.0), torch.ones(2, dtype=torch.float64)
    )
    assert (onset_correlation(original, original.flip(2)).abs() < 0.6).all()
    assert onset_correlation(original, torch.zeros_like(original)).isnan().all()


@pytest.mark.parametrize("hz", [65.4, 110.0, 261.6, 440.0, 1046.5, 1480.0])
@pytest.mark.parametrize("harmonics", [1, 8])
def test_the_pitch_of_a_tone_is_found_to_three_cents(hz, harmonics) -> None:
    found = pitch_hz(tone(hz, harmonics=harmonics)[None], sample_rate_hz=RATE_HZ)[0]
    assert found.isfinite().all()
    assert (1200 * (found / hz).log2()).abs().max() < 3


def test_the_pitch_of_a_vibrato_is_that_of_pyin() -> None:
    time = torch.arange(2 * RATE_HZ) / RATE_HZ
    curve = 440 * 2 ** (0.5 / 12 * torch.sin(2 * math.pi * 5 * time))
    sound = tone(curve, seconds=2.0)
    found = pitch_hz(sound[None], sample_rate_hz=RATE_HZ)[0]
    expected, voiced, _ = librosa.pyin(
        sound.numpy(), fmin=60, fmax=1600, sr=RATE_HZ, frame_length=1102, hop_length=441,
        center=False,
    )  # fmt: skip
    frames = min(len(found), len(expected))
    cents = 1200 * np.log2(found[:frames].numpy() / expected[:frames])[voiced[:frames]]
    assert np.abs(cents).max() < 25  # its grid is 10 cents
    assert voiced.mean() > 0.9


def test_noise_and_silence_have_no_pitch() -> None:
    noise = torch.randn(1, RATE_HZ, generator=torch.Generator().manual_seed(0))
    assert pitch_hz(noise, sample_rate_hz=RATE_HZ).isfinite().double().mean() < 0.1
    assert pitch_hz(torch.zeros(1, RATE_HZ), sample_rate_hz=RATE_HZ).isnan().all()
    assert pitch_error_cents(noise, noise, sample_rate_hz=RATE_HZ).isnan().all()
    with pytest.raises(InputError, match="a waveform of 900 samples is too short; expected 1102"):
        pitch_hz(noise[:, :900], sample_rate_hz=RATE_HZ)
    assert pitch_error_cents(noise[:, :900], noise[:, :900], sample_rate_hz=RATE_HZ).isnan().all()


def test_pitch_error_is_the_median_shift() -> None:
    original = tone(220.0)[None]
    shifted = torch.cat([tone(220.0 * 2 ** (0.3 / 12))[:15_000], tone(220.0)[15_000:]])[None]
    error = pitch_error_cents(original, shifted, sample_rate_hz=RATE_HZ)
    assert float(error[0]) == pytest.approx(30, abs=2)
    louder = pitch_error_cents(original, original * 0.2, sample_rate_hz=RATE_HZ)
    assert float(louder[0]) == pytest.approx(0, abs=1e-6)


def test_warble_is_the_variation_of_the_gain() -> None:
    original = log_mels() / 2  # within 80 dB
    steady = torch.linspace(-0.5, 0.5, 12, dtype=torch.float64)[:, None]
    assert (warble_db(original, original + steady, frames_a_second=50.0) < 1e-9).all()
    flicker = 0.5 * torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(20) / DB_PER_NATURAL
    found = warble_db(original, original + flicker, frames_a_second=50.0)
    torch.testing.assert_close(found, torch.full((2,), 50.0, dtype=torch.float64))
