from __future__ import annotations

import sys

import librosa
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from irdream.audio import resample
from irdream.errors import InputError

RATE_HZ = 22_050


def sine(seconds: float, *, rate_hz: int = RATE_HZ, hz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)


@pytest.mark.parametrize("from_hz", [8_000, 32_000, 44_100, 48_000, 96_000])
def test_a_sine_keeps_its_pitch_and_level(from_hz: int) -> None:
    resampled = resample(
        torch.from_numpy(sine(1.0, rate_hz=from_hz)), from_hz=from_hz, to_hz=RATE_HZ
    )
    np.testing.assert_allclose(resampled[2000:-2000], sine(1.0)[2000:-2000], atol=2e-3)


def test_agrees_with_librosa_on_music_band_noise() -> None:
    noise = np.random.default_rng(0).standard_normal(44_100)
    low = librosa.resample(noise, orig_sr=8_000, target_sr=44_100, res_type="polyphase")[:44_100]
    ours = resample(torch.from_numpy(low), from_hz=44_100, to_hz=RATE_HZ).numpy()
    theirs = librosa.resample(low, orig_sr=44_100, target_sr=RATE_HZ, res_type="polyphase")
    assert np.corrcoef(ours[1000:-1000], theirs[1000:-1000])[0, 1] > 0.9999


@given(from_hz=st.integers(1_000, 768_000))
@example(from_hz=44_101)
@example(from_hz=22_061)
def test_odd_rates_cost_neither_gigabytes_nor_pitch(from_hz: int) -> None:
    asked: list[tuple[int, int]] = []

    class Functional:
        @staticmethod
        def resample(waveform: torch.Tensor, old: int, new: int) -> torch.Tensor:
            asked.append((old, new))
            return waveform

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("irdream.audio.resampling._torchaudio_functional", lambda: Functional)
        resample(torch.zeros(1), from_hz=from_hz, to_hz=RATE_HZ)
    for old, new in asked:
        assert old * new * 4 < 1e8  # bytes of the filter
        assert abs(1200 * np.log2(new / old * from_hz / RATE_HZ)) < 1.0  # cents


def test_common_rates_are_exact() -> None:
    for from_hz in (8_000, 11_025, 16_000, 44_100, 48_000, 88_200, 96_000, 192_000, 384_000):
        second = resample(torch.zeros(from_hz), from_hz=from_hz, to_hz=RATE_HZ)
        assert len(second) == RATE_HZ


def test_says_how_to_mend_a_torchaudio_that_does_not_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio.functional", None)
    with pytest.raises(InputError, match=r"run `python -m irdream\.repair_torchaudio`"):
        resample(torch.zeros(100), from_hz=44_100, to_hz=RATE_HZ)
