"""Against librosa, which computes the same by FFT.

Tolerances are absolute, in natural logarithms; 1e-4 is 0.0009 dB. nnAudio convolves with
float32 kernels, whose rounding shows only in bands that are 100 dB below the loudest: for a
note without any noise, where librosa's own float32 and float64 differ by 4e-4, it is 2e-3.
"""

import copy
from collections.abc import Callable
from typing import Any

import librosa
import numpy as np
import pytest
import torch
from torch import nn

from irdream.errors import InputError
from irdream.frontends import ConstantQ, HanLogMel, LogMel, Spectral
from irdream.recognizer import Recognizer

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


@pytest.mark.parametrize(
    ("samples", "frames"), [(22_050, 43), (66_150, 129), (22_016, 43), (22_015, 42), (513, 1)]
)
def test_frames_are_samples_over_hop(frontend: HanLogMel, samples: int, frames: int) -> None:
    assert frontend(torch.zeros(2, samples)).shape == (2, 128, frames)


def test_a_start_in_silence_has_a_gradient_elsewhere(frontend: HanLogMel) -> None:
    waveform = torch.from_numpy(noise(1.0) * (np.arange(22_050) > 11_025))[None].requires_grad_()
    (gradient,) = torch.autograd.grad(frontend(waveform).sum(), waveform)
    assert gradient.isfinite().all()
    assert gradient[0, 12_000:22_000].abs().min() > 0


def test_the_gradient_agrees_with_finite_differences(small: HanLogMel) -> None:
    generator = torch.Generator().manual_seed(0)
    waveform = torch.randn(2, 100, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(small, (waveform,), atol=1e-5)


def test_half_a_recognizer_hears_in_single_precision(small: HanLogMel) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(8, 3)).double()
    recognizer = Recognizer(frontend=small, model=network, instruments="abc", window_seconds=0.05)
    sound = torch.randn(3000)
    expected = recognizer.predict(sound)
    for kind in (torch.float16, torch.bfloat16):
        assert copy.deepcopy(recognizer).to(kind).predict(sound) == pytest.approx(
            expected, abs=0.05
        )


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    HanLogMel()(torch.zeros(1, 22_050))
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize("samples", [700, 703, 736])
def test_a_long_sound_is_taken_in_pieces_with_one_result(small, samples, monkeypatch) -> None:
    waveform = torch.randn(2, samples, generator=torch.Generator().manual_seed(0)).double()
    waveform.requires_grad_()
    weight = torch.randn(2, 8, samples // 32, dtype=torch.float64)
    whole = small(waveform)
    (slope,) = torch.autograd.grad((whole * weight).sum(), waveform)
    lengths: list[int] = []
    small.stft.register_forward_pre_hook(lambda module, given: lengths.append(given[0].shape[-1]))
    monkeypatch.setattr("irdream.frontends.FRAMES_AT_ONCE", 5)
    found = small(waveform)
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad((found * weight).sum(), waveform)[0], slope, rtol=0, atol=1e-12
    )
    assert max(lengths) <= 4 * 32 + 64
    assert len(lengths) == 2 * -(-(samples // 32) // 5)  # once more for the gradient


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


# Log-mels of other kinds ----------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(
    "other",
    [
        {"n_fft": 512, "hop_samples": 256, "n_mels": 96},
        {"n_fft": 1024, "hop_samples": 160, "n_mels": 64, "window_samples": 400,
         "window": "hamming", "f_min_hz": 60.0, "f_max_hz": 7800.0, "filters": "htk"},
    ],
    ids=["slaney", "htk"],
)  # fmt: skip
def test_log_mels_are_librosas(rate_hz: int, power: int, other: dict[str, Any]) -> None:
    if rate_hz == 44_100 and other.get("filters") is None:
        other = other | {"n_fft": 2048}
    given = {"sample_rate_hz": rate_hz, "power": power, "floor": 1e-7, **other}
    waveform = noise()
    ours = LogMel(**given)(torch.from_numpy(waveform)[None])[0].numpy()
    is_htk = other.get("filters") == "htk"
    mel = librosa.feature.melspectrogram(
        y=waveform, sr=rate_hz, n_fft=given["n_fft"], hop_length=given["hop_samples"],
        win_length=other.get("window_samples"), window=other.get("window", "hann"),
        pad_mode="reflect", power=power, n_mels=given["n_mels"], fmin=other.get("f_min_hz", 0),
        fmax=other.get("f_max_hz"), htk=is_htk, norm=None if is_htk else "slaney",
    )  # fmt: skip
    frames = len(waveform) // given["hop_samples"]
    np.testing.assert_allclose(ours, np.log(mel)[:, :frames] / power, rtol=0, atol=1e-4)


def test_mfccs_are_librosas() -> None:
    waveform = noise()
    frontend = LogMel(power=2, scale="db", coefficients=20)
    ours = frontend.for_network(frontend(torch.from_numpy(waveform)[None]))[0].numpy()
    theirs = librosa.feature.mfcc(
        y=waveform, sr=22_050, n_fft=1024, hop_length=512, pad_mode="reflect", n_mfcc=20
    )
    np.testing.assert_allclose(ours, theirs[:, :-1], rtol=0, atol=2e-3)  # of 10 to 300


def test_gammatone_bands_are_nnaudios() -> None:
    from nnAudio.features import Gammatonegram

    waveform = torch.from_numpy(noise())[None]
    ours = LogMel(filters="gammatone", power=2, n_mels=64, f_min_hz=50.0, floor=1e-7)
    theirs = Gammatonegram(n_fft=1024, n_bins=64, fmin=50.0, verbose=False)(waveform)
    torch.testing.assert_close(ours(waveform), theirs[..., :-1].log() / 2, rtol=0, atol=1e-4)


@pytest.mark.parametrize("rate_hz", [16_000, 22_050])
def test_the_constant_q_transform_is_librosas(rate_hz: int) -> None:
    waveform, bins = noise(), 72
    frontend = ConstantQ(sample_rate_hz=rate_hz, n_bins=bins)
    ours = frontend(torch.from_numpy(waveform)[None])[0].exp().numpy()
    theirs = np.abs(librosa.cqt(
        waveform, sr=rate_hz, fmin=32.703, n_bins=bins, pad_mode="constant"
    ))  # fmt: skip
    lengths = np.ceil(rate_hz / (2 ** (1 / 12) - 1) / frontend.centers_hz.numpy())
    expected = 2 * theirs[:, :-1] / np.sqrt(lengths)[:, None]
    # librosa halves the rate octave by octave, which loses a little at the top of each
    np.testing.assert_allclose(ours, expected, rtol=0, atol=0.04 * expected.max())


FRONTENDS: dict[str, Callable[[], Spectral]] = {
    "mel of power": lambda: LogMel(power=2),
    "mel of 16 kHz": lambda: LogMel(sample_rate_hz=16_000, n_fft=1024, hop_samples=160, n_mels=64),
    "gammatone": lambda: LogMel(filters="gammatone", n_mels=48, f_min_hz=80.0),
    "constant-Q": ConstantQ,
}


@pytest.mark.parametrize("name", FRONTENDS)
def test_a_sine_is_loudest_at_its_frequency_on_the_axis(name: str) -> None:
    frontend: Any = FRONTENDS[name]()
    time = torch.arange(frontend.sample_rate_hz) / frontend.sample_rate_hz
    for hz in (440.0, 2000.0):
        log_mel = frontend(torch.sin(2 * np.pi * hz * time)[None])
        nearest = (frontend.centers_hz - hz).abs().argsort()[:2]
        assert log_mel[0, :, log_mel.shape[2] // 2].argmax() in nearest


@pytest.mark.parametrize("name", FRONTENDS)
@pytest.mark.parametrize("scale", ["natural", "db", "magnitude", "power"])
def test_silence_has_a_finite_gradient_in_any_scale(name: str, scale: Any) -> None:
    frontend = FRONTENDS[name]()
    frontend.scale = scale
    waveform = torch.zeros(1, 22_050, requires_grad=True)
    log_mel = frontend(waveform)
    torch.testing.assert_close(log_mel, torch.full_like(log_mel, np.log(FLOOR)), rtol=0, atol=1e-4)
    given = frontend.for_network(log_mel)
    (gradient,) = torch.autograd.grad(given.sum(), waveform)
    assert gradient.isfinite().all()
    assert given.isfinite().all()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0.0, -1.0]),
        ({"scale": "db"}, [0.0, -8.685890]),
        ({"scale": "magnitude"}, [1.0, 0.367879]),
        ({"scale": "power"}, [1.0, 0.135335]),
        ({"coefficients": 1}, [-0.707107]),
    ],
)
def test_what_the_network_gets(settings: dict[str, Any], expected: list[float]) -> None:
    class Kept(nn.Module):
        def forward(self, given: torch.Tensor) -> torch.Tensor:
            self.given = given
            return given.mean(dim=2)[:, :1].expand(-1, 2)

    frontend = LogMel(sample_rate_hz=1000, n_fft=64, hop_samples=32, n_mels=2, **settings)
    model = Kept()
    recognizer = Recognizer(frontend=frontend, model=model, instruments=["a", "b"])
    recognizer.logits(torch.tensor([[[0.0], [-1.0]]]))
    torch.testing.assert_close(model.given[0, :, 0], torch.tensor(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LogMel(f_max_hz=12_000.0), "f_max_hz=12000; expected the first below the second"),
        (lambda: LogMel(f_min_hz=500.0, f_max_hz=400.0), "f_min_hz=500, f_max_hz=400; expected"),
        (lambda: LogMel(window_samples=1025), "window_samples=1025; expected at most n_fft=1024"),
        (lambda: LogMel(n_mels=500), r"\d+ of n_mels=500 bands have no bin at n_fft=1024; expect"),
        (lambda: LogMel(n_mels=12, coefficients=13), "coefficients=13; expected at most the 12"),
        (lambda: LogMel(power=3), "power=3; expected"),
        (lambda: LogMel(scale="bel"), "scale=bel; expected natural or db"),  # type: ignore[arg-type]
        (lambda: ConstantQ(n_bins=120), "n_bins=120: the highest is at 31608 Hz; expected"),
        (lambda: ConstantQ()(torch.zeros(1, 511)), "511 samples is too short; expected at least"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
