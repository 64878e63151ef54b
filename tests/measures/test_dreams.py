"""Changes of a log-mel by hand; onsets, pitch and a steady gain against librosa and by hand."""

import math

import librosa
import numpy as np
import pytest
import torch
from torch import Tensor

from irdream.audio import pitch
from irdream.audio.pitch import pitch_hz
from irdream.errors import InputError
from irdream.measures.dreams import (
    DB_PER_NATURAL,
    correlation,
    difference_db,
    max_abs_db,
    mse_db2,
    onset_correlation,
    onset_strength_db,
    pitch_error_cents,
    rmse_db,
    total_variation_db,
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
