"""By hand; onsets, pitch and a steady gain against librosa, voicing against Praat."""

import math

import librosa
import numpy as np
import pytest
import torch
from torch import Tensor

from irdream.audio import pitch
from irdream.audio.pitch import pitch_hz
from irdream.audio.stft import DB_PER_NATURAL
from irdream.errors import InputError
from irdream.measures.dreams import (
    correlation,
    db_x,
    difference_db,
    log_spectral_distance_db,
    loudness_lufs,
    max_abs_db,
    mse_db2,
    onset_correlation,
    onset_strength_db,
    pitch_error_cents,
    rmse_db,
    segmental_snr_db,
    snr_db,
    spectral_flatness,
    total_variation_db,
    voiced_share,
    warble_db,
)

TEN = math.log(10.0)  # a factor of ten, which is 20 dB of magnitude

# Two items of 1 band and 2 frames, and what was added to them.
ORIGINAL = torch.tensor([[[-3.0, 1.0]], [[0.0, 5.0]]])
ADDED = torch.tensor([[[TEN, 0.0]], [[-TEN / 2, TEN / 4]]])


def test_differences_are_in_db_of_magnitude() -> None:
    dream = ORIGINAL + ADDED
    expected = torch.tensor([[[20.0, 0.0]], [[-10.0, 5.0]]])
    assert torch.allclose(difference_db(ORIGINAL, dream), expected, atol=1e-4)
    # sqrt((400 + 0) / 2) and sqrt((100 + 25) / 2)
    assert rmse_db(ORIGINAL, dream).tolist() == pytest.approx([14.1421, 7.9057], rel=1e-4)
    assert mse_db2(ORIGINAL, dream).tolist() == pytest.approx([200.0, 62.5], rel=1e-4)
    assert max_abs_db(ORIGINAL, dream).tolist() == pytest.approx([20.0, 10.0], rel=1e-4)


@pytest.mark.parametrize("measure", [rmse_db, mse_db2, max_abs_db])
def test_neither_direction_nor_axes_matter_and_nothing_changed_is_zero(measure) -> None:
    log_mel, dream = normal(3, 8, 5), normal(3, 8, 5, seed=1)
    expected = measure(log_mel, dream)
    assert expected.shape == (3,)
    assert torch.equal(measure(dream, log_mel), expected)
    torch.testing.assert_close(measure(log_mel.mT, dream.mT), expected)
    assert measure(log_mel, log_mel).tolist() == [0, 0, 0]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_correlation_of_each_item() -> None:
    wanted = torch.tensor([[[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]], [[0.0, 0.0, 3.0]]])
    real = torch.tensor([[[10.0, 12.0, 14.0]], [[0.3, 0.2, 0.1]], [[0.0, 3.0, 0.0]]])
    # The last: deviations (-1, -1, 2) and (-1, 2, -1), so -3 / 6.
    assert correlation(wanted, real).tolist() == pytest.approx([1.0, -1.0, -0.5], abs=1e-6)
    wanted, real = normal(2, 3, 4, 5)
    expected = [
        np.corrcoef(one.ravel(), other.ravel())[0, 1]
        for one, other in zip(wanted, real, strict=True)
    ]
    for level in (0.0, 7.0):  # knows neither scale nor level
        found = correlation(wanted, 30 * real + level).tolist()
        assert found == pytest.approx(expected, abs=1e-5)


def test_correlation_in_doubtful_cases() -> None:
    # The mean of six 0.1 in double precision is not 0.1.
    wanted, constant = normal(1, 2, 3).double(), torch.full((1, 2, 3), 0.1, dtype=torch.float64)
    for pair in ((wanted, constant), (constant, wanted), (constant, constant)):
        assert correlation(*pair).isnan().all()
    # The means, 2^23 + 1/2, are no float32.
    large = 2.0**23 + torch.tensor([[0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]])
    found = correlation(large[:1], large[1:])
    assert (found.dtype, found.item()) == (torch.float32, 0)


def test_total_variation() -> None:
    # Along bands |2 - 0| and |1 - 4|, mean 2.5; along frames |4 - 0| and |1 - 2|, the same.
    # The second item steps along its bands alone, by one: mean of 1 and 0.
    log_mel = torch.tensor([[[0.0, 4.0], [2.0, 1.0]], [[5.0, 5.0], [6.0, 6.0]]]) / DB_PER_NATURAL
    assert total_variation_db(log_mel).tolist() == pytest.approx([2.5, 0.5], rel=1e-5)


def test_total_variation_counts_bands_and_frames_alike_whatever_their_number() -> None:
    ramp = torch.arange(40.0)[None, None, :].expand(1, 3, 40) / DB_PER_NATURAL
    assert total_variation_db(ramp).item() == pytest.approx(0.5, rel=1e-5)
    assert total_variation_db(ramp.transpose(1, 2)).item() == pytest.approx(0.5, rel=1e-5)


# What is kept

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


def test_the_pitch_of_a_long_sound_is_found_some_frames_at_once(monkeypatch) -> None:
    sizes, whole = [], pitch._autocorrelation
    monkeypatch.setattr(pitch, "_autocorrelation", lambda x: sizes.append(len(x)) or whole(x))
    sound = tone(200.0, harmonics=3).repeat(20)[None]
    found = pitch_hz(sound, sample_rate_hz=RATE_HZ)
    assert len(sizes) > 3
    assert max(sizes) <= 256
    monkeypatch.setattr(pitch, "_AT_ONCE", 10**6)
    torch.testing.assert_close(found, pitch_hz(sound, sample_rate_hz=RATE_HZ), equal_nan=True)


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


# Of the sound

FRAMES = {"frame_samples": 4, "hop_samples": 2}
TINY = {"n_fft": 4, "hop_samples": 4}  # the taper is 0, 1/2, 1, 1/2
GRID = {"n_fft": 1024, "hop_samples": 512}


def noise(items: int, samples: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(items, samples, generator=generator, dtype=torch.float64)


def sine(hz: float) -> Tensor:
    """Return a second of a sine, (1, samples)."""
    time = torch.arange(RATE_HZ, dtype=torch.float64) / RATE_HZ
    return torch.sin(2 * math.pi * hz * time)[None]


@pytest.mark.parametrize(
    ("original", "dream", "expected_db"),
    [
        ([1.0, -1.0], [1.1, -0.9], 20.0),  # 2 / 0.02
        ([1.0, 0.0], [1.0, 1.0], 0.0),
        ([3.0, 4.0], [0.0, 0.0], 0.0),  # silenced: the change is the signal
        ([3.0, 4.0], [6.0, 8.0], 0.0),
        ([1.0, 0.0], [11.0, 0.0], -20.0),
        ([0.5, 0.25], [0.5, 0.25], math.inf),
        ([0.0, 0.0], [0.1, 0.0], -math.inf),
        ([0.0, 0.0], [0.0, 0.0], math.nan),
    ],
)
def test_snr(original: list[float], dream: list[float], expected_db: float) -> None:
    snr = snr_db(torch.tensor([original]), torch.tensor([dream]))
    assert snr.dtype == torch.float32
    assert snr.tolist() == pytest.approx([expected_db], abs=1e-4, nan_ok=True)


def test_a_tiny_change_of_a_long_sound_is_not_lost_to_rounding() -> None:
    original = torch.ones(1, 1_000_000)
    dream = original.clone()
    dream[0, 0] += 2**-20
    expected_db = 10 * math.log10(1e6 * 2**40)
    assert snr_db(original, dream).tolist() == pytest.approx([expected_db], abs=1e-3)


def test_segmental_snr_of_each_frame() -> None:
    original = torch.tensor([[1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]])
    dream = original + torch.tensor([[0.1, 0.1, 0.1, 0.1, 1.0, 1.0, 1.0, 1.0]])
    # Frames 0-3, 2-5 and 4-7: 4 / 0.04, 10 / 2.02 and 16 / 4.
    expected_db = (20 + 10 * math.log10(10 / 2.02) + 10 * math.log10(4)) / 3
    assert segmental_snr_db(original, dream, **FRAMES).item() == pytest.approx(expected_db)


@pytest.mark.parametrize(
    ("original", "dream", "expected_db"),
    [
        ([1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], 35.0),  # nothing changed
        ([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], 35.0),  # nor here
        ([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1e-9], -10.0),  # heard in silence
        ([1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0 + 1e-6], 35.0),
        ([1.0, 1.0, 1.0, 1.0], [9.0, 9.0, 9.0, 9.0], -10.0),  # -18.06
        ([1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0], 0.0),
    ],
)
def test_segmental_snr_is_held_between_its_limits(original, dream, expected_db: float) -> None:
    sounds = (torch.tensor([x], dtype=torch.float64) for x in (original, dream))
    assert segmental_snr_db(*sounds, **FRAMES).item() == pytest.approx(expected_db)


@pytest.mark.parametrize(
    ("original", "dream", "expected_db"),
    [
        ([0.5, -1.0], [0.6, -1.0], -20.0),  # 0.1 / 1
        ([0.5, -1.0], [0.5, 1.0], 6.0206),
        ([0.5, -1.0], [0.5, -1.0], -math.inf),
        ([0.0, 0.0], [0.0, 0.1], math.inf),
        ([0.0, 0.0], [0.0, 0.0], math.nan),
    ],
)
def test_db_x(original: list[float], dream: list[float], expected_db: float) -> None:
    found = db_x(torch.tensor([original]), torch.tensor([dream]))
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx([expected_db], abs=1e-4, nan_ok=True)


def test_log_spectral_distance_of_half_the_sound_is_6_db_and_knows_no_phase() -> None:
    original = noise(2, 5000)
    found = log_spectral_distance_db(original, 0.5 * original, **GRID)
    assert found.tolist() == pytest.approx([6.0206, 6.0206], abs=1e-3)
    assert log_spectral_distance_db(original, -original, **GRID).tolist() == [0, 0]
    assert log_spectral_distance_db(0 * original, 0 * original, **GRID).tolist() == [0, 0]


def test_log_spectral_distance_is_a_mean_over_frames_and_a_root_mean_square_over_bins() -> None:
    # Of the frames at samples 0, 4 and 8 the middle one alone hears the click, as 1 in each bin.
    click = torch.zeros(1, 8, dtype=torch.float64)
    click[0, 4] = 1.0
    found = log_spectral_distance_db(torch.zeros(1, 8).double(), click, **TINY, floor=1e-3)
    assert found.item() == pytest.approx(20 * math.log10(1001) / 3)
    # Clicks at 4 and 3 under the taper: 1 + exp(i w) / 2 in the bins w = 0, pi / 2 and pi.
    both = click.clone()
    both[0, 3] = 1.0
    bins_db = [20 * math.log10(1.5), 10 * math.log10(1.25), 20 * math.log10(0.5)]
    expected_db = math.sqrt(sum(x * x for x in bins_db) / 3) / 3
    found = log_spectral_distance_db(click, both, **TINY, floor=1e-12)
    assert found.item() == pytest.approx(expected_db)


def test_flatness_of_a_click_and_of_two() -> None:
    sounds = torch.zeros(2, 8)
    sounds[:, 4] = 1.0
    sounds[1, 3] = 1.0
    # Powers of the second: 2.25, 1.25 and 0.25; the silent frames of both are left out.
    expected = [1.0, (2.25 * 1.25 * 0.25) ** (1 / 3) / 1.25]
    assert spectral_flatness(sounds, **TINY).tolist() == pytest.approx(expected)


def test_flatness_of_a_tone_of_noise_and_of_silence() -> None:
    assert spectral_flatness(sine(430.66), **GRID).item() < 0.01
    white = spectral_flatness(noise(1, 200_000), **GRID).item()
    assert white == pytest.approx(math.exp(-np.euler_gamma), abs=0.01)
    assert spectral_flatness(torch.zeros(1, 2000), **GRID).isnan().all()
    # The spectrum of a constant has bins that are exactly 0.
    assert spectral_flatness(torch.ones(1, 64), **TINY).item() == 0


@pytest.mark.parametrize("period_samples", [40.5, 100.0, 200.5, 280.25])
def test_a_bright_tone_in_noise_is_voiced_wherever_its_peak_falls(period_samples: float) -> None:
    # Harmonics up to half the sample rate: half a sample beside its peak, the autocorrelation
    # is 2 / pi of it. Of a power of 1.6 the tone has 1: 0.625 is above 0.45, 0.4 is not.
    harmonics = range(1, int(period_samples / 2))
    bright = torch.cat([sine(RATE_HZ / period_samples * n) for n in harmonics]).sum(dim=0)
    sound = (bright / bright.std())[None] + math.sqrt(0.6) * noise(1, RATE_HZ)
    assert voiced_share(sound, sample_rate_hz=RATE_HZ).item() == 1


def test_noise_silence_a_constant_and_what_is_slower_than_75_hz_are_not_voiced() -> None:
    # The autocorrelation of 30 Hz is high at all short lags, but has no maximum there.
    sounds = [noise(1, 8000), torch.zeros(1, 8000), torch.full((1, 8000), 0.3)]
    sounds.append(sine(30.0)[:, :8000])
    assert voiced_share(torch.cat(sounds), sample_rate_hz=RATE_HZ).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(("peak", "expected"), [(0.05, 1.0), (0.025, 0.5)])
def test_what_is_below_3_percent_of_the_peak_is_silence(peak: float, expected: float) -> None:
    sound = torch.cat([sine(220), peak * sine(220)], dim=1)
    assert voiced_share(sound, sample_rate_hz=RATE_HZ).item() == pytest.approx(expected, abs=0.02)


def test_voiced_shares_are_those_that_praat_finds() -> None:
    """Praat 6.4 by praat-parselmouth 0.4.7: `Sound(values, 22050).to_pitch_ac(time_step=0.01,
    pitch_floor=75, pitch_ceiling=600, silence_threshold=0.03, voicing_threshold=0.45,
    octave_cost=0, octave_jump_cost=0, voiced_unvoiced_cost=0)`; share of frequencies above 0.
    """
    n = np.arange(RATE_HZ)
    seconds = n / RATE_HZ
    white = (n**3 * 7919 % 65_537) / 65_537 - 0.5
    harmonic = np.sum([np.sin(2 * np.pi * 220 * h * seconds) / h for h in range(1, 11)], axis=0)
    praat = {
        "decaying": (harmonic * np.exp(-6 * seconds), 0.588),
        "swelling in noise": (0.6 * harmonic * seconds + 2 * white, 0.082),
        "tone, then noise": (np.where(n < RATE_HZ // 2, harmonic, white), 0.505),
        "gliding from 40 Hz": (np.sin(2 * np.pi * (40 * seconds + 80 * seconds**2)), 0.794),
    }
    sounds = torch.from_numpy(np.stack([values for values, _ in praat.values()]))

    found = voiced_share(sounds, sample_rate_hz=RATE_HZ)

    # One of 97 frames is 0.0103.
    assert found.tolist() == pytest.approx([share for _, share in praat.values()], abs=0.011)


MEASURES_OF_TWO = {
    "snr": snr_db,
    "db_x": db_x,
    "segmental": lambda x, y: segmental_snr_db(x, y, **FRAMES),
    "distance": lambda x, y: log_spectral_distance_db(x, y, n_fft=16, hop_samples=8),
}
MEASURES_OF_ONE = {
    "flatness": lambda x: spectral_flatness(x, n_fft=16, hop_samples=8),
    "voiced": lambda x: voiced_share(x, sample_rate_hz=2000),
}


@pytest.mark.parametrize("name", [*MEASURES_OF_TWO, *MEASURES_OF_ONE])
def test_each_item_is_measured_alone_and_the_dtype_kept(name: str) -> None:
    count = 2 if name in MEASURES_OF_TWO else 1
    sounds = [noise(3, 400, seed).cumsum(dim=1).float() for seed in range(count)]
    measure = (MEASURES_OF_TWO | MEASURES_OF_ONE)[name]
    together = measure(*sounds)
    assert (together.shape, together.dtype) == ((3,), torch.float32)
    assert measure(*(x[1:2] for x in sounds)).item() == pytest.approx(together[1].item())


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (lambda x: spectral_flatness(x, **GRID), "is too short; expected more than 512"),
        (lambda x: log_spectral_distance_db(x, x, **GRID), "is too short; expected more than 512"),
        (lambda x: voiced_share(x, sample_rate_hz=RATE_HZ), "is too short; expected 882 or more"),
    ],
    ids=["flatness", "distance", "voiced"],
)
def test_a_sound_that_is_too_short_is_refused(measure, message: str) -> None:
    with pytest.raises(InputError, match=f"300 samples {message}"):
        measure(torch.zeros(1, 300))


@pytest.mark.parametrize("rate_hz", [22_050, 48_000])
def test_loudness_of_a_full_scale_sine_is_that_of_the_recommendation(rate_hz: int) -> None:
    """ITU-R BS.1770-4: a sine of 997 Hz at full scale in one channel has -3.01 LKFS."""
    time = torch.arange(2 * rate_hz, dtype=torch.float64) / rate_hz
    sine = torch.sin(2 * math.pi * 997 * time)
    loudness = loudness_lufs(torch.stack([sine, 0.1 * sine, 0 * sine]), sample_rate_hz=rate_hz)
    assert loudness[:2].tolist() == pytest.approx([-3.01, -23.01], abs=0.07)
    assert loudness[2] == -math.inf


@pytest.mark.parametrize(("samples", "rate_hz"), [(8000, 22_050), (4000, 4000)])
def test_loudness_has_no_value_for_less_than_a_block_or_a_low_rate(samples, rate_hz) -> None:
    assert loudness_lufs(noise(2, samples), sample_rate_hz=rate_hz).isnan().all()
