"""Against librosa, which computes the same by FFT.

Tolerances are absolute, in natural logarithms; 1e-4 is 0.0009 dB. nnAudio convolves with
float32 kernels, whose rounding shows only in bands that are 100 dB below the loudest: for a
note without any noise, where librosa's own float32 and float64 differ by 4e-4, it is 2e-3.
"""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch

from irdream.errors import InputError
from irdream.frontends import HanLogMel

FLOOR = 1e-5


@pytest.fixture(scope="module")
def frontend() -> HanLogMel:
    return HanLogMel()


@pytest.fixture
def small() -> HanLogMel:
    return HanLogMel(sample_rate_hz=1000, n_fft=64, hop_samples=32, n_mels=8).double()


def librosa_log_mel(waveform: np.ndarray) -> np.ndarray:
    mel = librosa.feature.melspectrogram(
        y=waveform, sr=22_050, n_fft=1024, hop_length=512, center=True, pad_mode="reflect",
        power=1.0, n_mels=128, htk=False, norm="slaney",
    )  # fmt: skip
    return np.log(mel + FLOOR)[:, :-1]


def noise(seconds: float = 3.0, seed: int = 0) -> np.ndarray:
    samples = round(seconds * 22_050)
    return np.random.default_rng(seed).uniform(-1, 1, samples).astype(np.float32)


def note(noise_db: float | None) -> np.ndarray:
    """Return three seconds of a plucked note with 29 partials, in 16 bits."""
    time = np.arange(66_150) / 22_050
    partials = [np.sin(2 * np.pi * 220 * k * time + k) / k**1.5 for k in range(1, 30)]
    tone = np.sum(partials, axis=0) * np.exp(-2 * time)
    tone /= 1.01 * np.abs(tone).max()
    if noise_db is not None:
        tone += noise() * 10 ** (noise_db / 20)
    return (np.round(tone * 32767) / 32768).astype(np.float32)


@pytest.mark.parametrize(
    ("waveform", "tolerance"),
    [
        pytest.param(noise(), 1e-4, id="noise"),
        pytest.param(noise() * 1e-3, 1e-4, id="noise at -60 dB"),
        pytest.param(note(-40), 1e-4, id="note in noise"),
        pytest.param(noise() * (np.arange(66_150) < 30_000), 1e-4, id="then silence"),
        pytest.param(note(None), 2e-3, id="note alone"),
    ],
)
def test_equal_to_librosa(frontend: HanLogMel, waveform: np.ndarray, tolerance: float) -> None:
    ours = frontend(torch.from_numpy(waveform)[None])[0].numpy()
    np.testing.assert_allclose(ours, librosa_log_mel(waveform), rtol=0, atol=tolerance)


def test_power_equals_librosa() -> None:
    """What the package musicnn computes, but for the last frame."""
    frontend = HanLogMel(sample_rate_hz=16_000, n_fft=512, hop_samples=256, n_mels=96, power=2)
    waveform = noise() * (np.arange(66_150) < 30_000)
    mel = librosa.feature.melspectrogram(
        y=waveform, sr=16_000, n_fft=512, hop_length=256, n_mels=96, pad_mode="reflect"
    )
    expected = np.log(mel[:, :-1] + FLOOR**2) / 2
    ours = frontend(torch.from_numpy(waveform)[None])[0].numpy()
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)


def test_a_batch_equals_its_items(frontend: HanLogMel) -> None:
    waveforms = torch.from_numpy(np.stack([noise(1.0, seed) for seed in range(3)]))
    one_by_one = torch.cat([frontend(waveform[None]) for waveform in waveforms])
    torch.testing.assert_close(frontend(waveforms), one_by_one, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("samples", "frames"), [(22_050, 43), (66_150, 129), (22_016, 43), (22_015, 42), (513, 1)]
)
def test_frames_are_samples_over_hop(frontend: HanLogMel, samples: int, frames: int) -> None:
    assert frontend(torch.zeros(2, samples)).shape == (2, 128, frames)


@pytest.mark.parametrize("power", [1, 2])
def test_silence_has_the_floor_and_a_finite_gradient(power: int) -> None:
    waveform = torch.zeros(1, 22_050, requires_grad=True)
    log_mel = HanLogMel(power=power)(waveform)
    torch.testing.assert_close(log_mel, torch.full_like(log_mel, np.log(FLOOR)), rtol=0, atol=1e-4)
    (gradient,) = torch.autograd.grad(log_mel.sum(), waveform)
    assert gradient.isfinite().all()


def test_a_start_in_silence_has_a_gradient_elsewhere(frontend: HanLogMel) -> None:
    waveform = torch.from_numpy(noise(1.0) * (np.arange(22_050) > 11_025))[None].requires_grad_()
    (gradient,) = torch.autograd.grad(frontend(waveform).sum(), waveform)
    assert gradient.isfinite().all()
    assert gradient[0, 12_000:22_000].abs().min() > 0


def test_the_gradient_agrees_with_finite_differences(small: HanLogMel) -> None:
    generator = torch.Generator().manual_seed(0)
    waveform = torch.randn(2, 100, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(small, (waveform,), atol=1e-5)


def test_mel_basis_is_librosas(frontend: HanLogMel) -> None:
    expected = librosa.filters.mel(sr=22_050, n_fft=1024, n_mels=128, htk=False, norm="slaney")
    np.testing.assert_allclose(frontend.mel_basis.numpy(), expected, rtol=1e-5, atol=1e-9)
    assert (frontend.mel_basis.sum(dim=1) > 0).all()  # no band is empty
    assert not list(frontend.parameters())


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    HanLogMel()(torch.zeros(1, 22_050))
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize("samples", [0, 1, 512])
def test_too_short(frontend: HanLogMel, samples: int) -> None:
    message = rf"a waveform of {samples} samples is too short; expected more than 512"
    with pytest.raises(InputError, match=message):
        frontend(torch.zeros(1, samples))


@pytest.mark.parametrize("name", ["sample_rate_hz", "n_fft", "hop_samples", "n_mels", "floor"])
def test_settings_that_make_no_sense(name: str) -> None:
    with pytest.raises(
        InputError, match=rf"{name}=0; expected a (whole number, at least 1|number above 0)"
    ):
        HanLogMel(**{name: 0})  # type: ignore[arg-type]
