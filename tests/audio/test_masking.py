"""The masking threshold against numbers worked out by hand and a loop written plainly."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from irdream.audio import masking
from irdream.audio.masking import (
    bark,
    masking_threshold,
    masking_threshold_db,
    masking_violation,
    quiet_threshold_db,
    reference_power,
)
from irdream.errors import InputError

RATE_HZ, BINS = 22_050, 513
SETTINGS = {"n_fft": 1024, "hop_samples": 512, "sample_rate_hz": RATE_HZ}
HZ = np.linspace(0.0, RATE_HZ / 2, BINS)


def bark_by_hand(hz):
    return 13 * np.arctan(0.00076 * hz) + 3.5 * np.arctan((hz / 7500) ** 2)


def quiet_by_hand(hz):
    khz = np.clip(hz, 20, 20_000) / 1000
    return 3.64 * khz**-0.8 - 6.5 * np.exp(-0.6 * (khz - 3.3) ** 2) + 0.001 * khz**4


def threshold_by_hand(power: np.ndarray, hz: np.ndarray) -> np.ndarray:
    """The threshold in dB of one frame whose loudest bin is 96 dB, masker by masker."""
    z, quiet = bark_by_hand(hz), quiet_by_hand(hz)
    linear = power / power.max() * 10**9.6
    maskers = []
    for k in range(1, len(power) - 1):
        if linear[k] > linear[k - 1] and linear[k] >= linear[k + 1]:
            level = 10 * np.log10(linear[k - 1] + linear[k] + linear[k + 1])
            if level > quiet[k]:
                maskers.append((level, k))
    kept: list[tuple[float, int]] = []
    for level, k in sorted(maskers, reverse=True):
        if all(abs(z[k] - z[other]) >= 0.5 for _, other in kept):
            kept.append((level, k))
    total = 10 ** (quiet / 10)
    for level, k in kept:
        for b in range(len(power)):
            away = z[b] - z[k]
            slope = 27 if away < 0 else -27 + 0.37 * max(level - 40, 0)
            total[b] += 10 ** ((level - 6.025 - 0.275 * z[k] + slope * away) / 10)
    return 10 * np.log10(total)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_silence_hides_nothing(dtype) -> None:
    silence = torch.zeros(2, BINS, 3, dtype=dtype)
    expected = torch.from_numpy(quiet_by_hand(HZ)).to(dtype)[None, :, None].expand(2, -1, 3)

    torch.testing.assert_close(masking_threshold_db(silence, sample_rate_hz=RATE_HZ), expected)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), bins=st.integers(3, 40), rate_hz=st.integers(2000, 48_000))
def test_it_is_what_a_plain_loop_computes(seed, bins, rate_hz) -> None:
    power = np.random.default_rng(seed).lognormal(sigma=6.0, size=bins)
    hz = np.linspace(0.0, rate_hz / 2, bins)

    threshold = masking_threshold_db(torch.from_numpy(power)[None, :, None], sample_rate_hz=rate_hz)

    np.testing.assert_allclose(threshold[0, :, 0].numpy(), threshold_by_hand(power, hz), atol=1e-8)


@settings(max_examples=20, deadline=None)
@given(items=st.integers(1, 4), frames=st.integers(1, 9), chunk=st.integers(1, 60))
def test_an_item_does_not_depend_on_the_others_nor_on_the_slices(items, frames, chunk) -> None:
    generator = torch.Generator().manual_seed(items * 100 + frames)
    power = torch.randn(items, 33, frames, generator=generator, dtype=torch.float64).square()
    together = masking_threshold_db(power, sample_rate_hz=8000)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masking, "_VALUES_AT_ONCE", chunk * 33)
        sliced = masking_threshold_db(power, sample_rate_hz=8000)
    alone = masking_threshold_db(power[-1:], sample_rate_hz=8000)

    torch.testing.assert_close(sliced, together, atol=1e-9, rtol=0.0)
    torch.testing.assert_close(alone, together[-1:], atol=1e-9, rtol=0.0)


def test_the_reference_is_the_loudest_bin_or_full_scale() -> None:
    tone = torch.sin(2 * math.pi * 100 / 1024 * torch.arange(8192, dtype=torch.float64))[None]
    spectrum = torch.stft(
        tone, 1024, 512, window=torch.hann_window(1024, dtype=torch.float64), return_complex=True
    )
    power = spectrum.abs().square()[..., 2:-2]

    assert power.max().item() == pytest.approx(65_536, rel=1e-6)
    assert reference_power(0.01 * power).item() == pytest.approx(0.01 * 65_536, rel=1e-6)
    at_90 = reference_power(power, full_scale_db=90.0)
    assert at_90.item() == pytest.approx(65_536 * 10**0.6, rel=1e-9)
    assert reference_power(torch.zeros(1, 513, 2)).item() == 65_536


def test_float32_agrees_with_float64() -> None:
    waveform = torch.randn(2, 9000, generator=torch.Generator().manual_seed(1))
    single, double = (masking_threshold(w, **SETTINGS) for w in (waveform, waveform.double()))

    assert single.dtype == torch.float32
    assert single.shape == (2, 513, 1 + 18)
    difference_db = 10 * (single.double().log10() - double.log10())
    assert difference_db.abs().max() < 0.02


def test_the_violation_of_no_change_and_of_ten_times_the_change() -> None:
    generator = torch.Generator().manual_seed(3)
    waveform, noise = torch.randn(2, 2, 6000, generator=generator, dtype=torch.float64)
    none = masking_violation(waveform, waveform, **SETTINGS)
    little, much = (
        masking_violation(waveform, waveform + size * noise, **SETTINGS) for size in (0.01, 0.1)
    )

    assert none.share.tolist() == [0.0, 0.0]
    assert none.excess_db.tolist() == [0.0, 0.0]
    assert none.noise_to_mask_db.tolist() == pytest.approx([-100.0, -100.0])
    torch.testing.assert_close(much.noise_to_mask_db, little.noise_to_mask_db + 20.0)
    assert (much.share > little.share).all()
    assert (much.excess_db > little.excess_db).all()


def test_the_violation_counts_bins_above_the_threshold() -> None:
    """Against the original's own threshold and a change of one known spectrum."""
    generator = torch.Generator().manual_seed(4)
    waveform, noise = torch.randn(2, 1, 6000, generator=generator, dtype=torch.float64)
    taper = torch.hann_window(1024, dtype=torch.float64)
    spectrum = torch.stft(
        torch.nn.functional.pad(0.1 * noise, (0, 144)), 1024, 512, window=taper, return_complex=True
    )
    level = 10 * (spectrum.abs().square() / masking_threshold(waveform, **SETTINGS)).log10()

    found = masking_violation(waveform, waveform + 0.1 * noise, **SETTINGS)

    assert 0 < found.share.item() < 1
    assert found.share.item() == pytest.approx((level > 0).double().mean().item())
    assert found.excess_db.item() == pytest.approx(level.relu().mean().item())


def test_of_silence_any_sound_is_heard() -> None:
    silence = torch.zeros(1, 4096)
    tone = 0.1 * torch.sin(torch.arange(4096) * 0.5)[None]
    found = masking_violation(silence, tone, **SETTINGS)
    assert found.noise_to_mask_db.item() > 40
    assert masking_threshold(silence, **SETTINGS).min() > 0


def test_a_sound_shorter_than_a_frame_is_refused() -> None:
    with pytest.raises(InputError, match="a waveform of 300 samples is too short; expected more"):
        masking_threshold(torch.zeros(1, 300), **SETTINGS)


# Hz, Bark and dB SPL of ISO/IEC 11172-3:1993, table D.1b (44.1 kHz), without the -12 dB that it
# grants to 96 kbit/s and more.
ISO_11172_3 = [
    (86.13, 0.850, 25.87), (172.27, 1.694, 14.85), (430.66, 4.124, 7.10), (861.33, 7.581, 3.92),
    (1722.66, 12.125, 0.90), (2497.85, 14.504, -2.63), (3359.18, 16.260, -4.98),
    (4134.38, 17.447, -2.82), (5512.50, 19.108, 1.51), (8268.75, 21.457, 5.35),
    (11_025.00, 22.857, 15.30), (12_747.66, 23.414, 26.88),
]  # fmt: skip


def test_bark_and_threshold_in_quiet_are_those_of_the_standard() -> None:
    hz, expected_bark, expected_db = torch.tensor(ISO_11172_3, dtype=torch.float64).unbind(dim=1)
    # Half a digit of the table, and as much again for its rounded frequencies.
    torch.testing.assert_close(bark(hz), expected_bark, atol=1e-3, rtol=0.0)
    torch.testing.assert_close(quiet_threshold_db(hz), expected_db, atol=0.01, rtol=0.0)
    lowest = quiet_threshold_db(torch.tensor([0.0, 20.0]))  # finite at 0 Hz: as at 20 Hz
    assert lowest.tolist() == pytest.approx([83.2193] * 2, abs=2e-3)


# Another implementation: PsychoacousticMasker(window_size=1024, hop_size=512, sample_rate=22_050)
# of adversarial-robustness-toolbox 1.20.1; bins 1, 23, ... 507 of the frames 0 and 9, in dB. Its
# threshold in quiet is 12 dB lower, as the standard has it from 96 kbit/s on, and its frames begin
# with the sound: ours are made so here. It thins maskers by the Bark of their places in the list,
# not in the spectrum; so the first sound has a single masker, and of the second it was given those
# that are half a Bark apart.
TOOLBOX_TONE_DB = [
    [66.444, -5.672, -8.513, 29.891, 80.910, 82.512, 76.542, 71.668, 67.524, 63.883, 60.605,
     57.608, 54.843, 52.281, 49.910, 47.720, 45.705, 43.857, 42.169, 40.630, 39.230, 37.957,
     36.800, 35.749],
    [66.444, -5.672, -8.515, 24.447, 75.464, 74.809, 66.632, 59.955, 54.278, 49.291, 44.802,
     40.697, 36.908, 33.400, 30.152, 27.153, 24.394, 21.866, 19.560, 17.466, 15.579, 13.904,
     12.474, 11.389],
]  # fmt: skip
TOOLBOX_HARMONICS_DB = [
    [66.445, 88.606, 79.796, 73.198, 56.062, 44.153, 35.954, 30.954, 26.842, 31.057, 25.623,
     27.547, 23.503, 24.237, 21.375, 28.710, 23.013, 21.502, 23.264, 20.305, 24.189, 29.227,
     23.663, 18.682],
    [66.444, 79.806, 62.058, 45.932, 21.816, 21.971, 21.428, 24.309, 17.743, 23.711, 22.603,
     16.070, 20.766, 19.356, 24.873, 20.906, 21.723, 27.827, 26.076, 22.782, 27.788, 25.895,
     22.738, 25.036],
]  # fmt: skip
N = np.arange(8192)
DECAYING_TONE = np.exp(-3 * N / RATE_HZ) * np.sin(2 * np.pi * 93.3 * N / 1024)
HARMONICS_IN_NOISE = 0.02 * ((N**3 * 7919 % 65_537) / 65_537 - 0.5) + sum(
    np.exp(-4 * h * N / RATE_HZ) * np.sin(2 * np.pi * 440 * h * N / RATE_HZ) / h for h in (1, 2, 3)
)


@pytest.mark.parametrize(
    ("sound", "expected_db"),
    [(DECAYING_TONE, TOOLBOX_TONE_DB), (HARMONICS_IN_NOISE, TOOLBOX_HARMONICS_DB)],
    ids=["one masker", "several"],
)
def test_it_is_what_another_library_computes(monkeypatch, sound, expected_db) -> None:
    monkeypatch.setattr(masking, "quiet_threshold_db", lambda hz: quiet_threshold_db(hz) - 12.0)
    taper = torch.hann_window(1024, dtype=torch.float64)
    waveform = torch.from_numpy(sound)[None]
    spectrum = torch.stft(waveform, 1024, 512, window=taper, center=False, return_complex=True)
    threshold = masking_threshold_db(spectrum.abs().square(), sample_rate_hz=RATE_HZ)[0]
    # 0.0005 for its three decimals and 1e-4 for its single precision.
    np.testing.assert_allclose(threshold[1::22, [0, 9]].T.numpy(), expected_db, atol=6e-4)
