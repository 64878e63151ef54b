"""The log-mel as it is, its range; a dream in all channels of its source and at its rate."""

import math
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from torch import Tensor, nn

from irdream.audio import load_audio, resample
from irdream.audio.stft import NATURAL_PER_DB
from irdream.dreaming.batch import Originals
from irdream.dreaming.parametrizations import Fourier, LogMel, StftGain, Waveform
from irdream.dreaming.parametrizations.base import full_band
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer


def test_it_stays_in_its_range(start) -> None:
    db = 20.0 / math.log(10.0)
    detail = torch.linspace(-200.0, 50.0, 12).view(1, 3, 4) / db
    chosen = LogMel(range_db=(-60.0, 10.0))
    clipped = chosen.signal(start(chosen, torch.zeros(1, 3, 4)), detail) * db

    torch.testing.assert_close(clipped.min(), torch.tensor(-60.0))
    torch.testing.assert_close(clipped.max(), torch.tensor(10.0))


@pytest.fixture
def start(bench):
    """Start log-mels (items, n_mels, frames) by a parametrization."""
    return lambda log_mel, given: bench.start(log_mel, given)


def test_what_lies_a_little_outside_is_dreamed_as_it_is(start) -> None:
    """Front ends with another floor or a longer transform give more than the default range."""
    given = torch.stack([torch.linspace(a, b, 12).view(3, 4) for a, b in ((-23, 4), (-8, 0))])
    origin = start(LogMel(), given)

    assert torch.equal(LogMel().signal(origin, torch.zeros(2, 3, 4)), given)
    far = LogMel().signal(origin, torch.tensor([99.0, -99.0])[:, None, None].expand(2, 3, 4))
    assert far[0].unique().tolist() == pytest.approx([4.0])
    assert far[1].unique().tolist() == pytest.approx([math.log(1e-5)])


def test_a_range_that_was_chosen_is_kept(start) -> None:
    given = torch.linspace(-11.0, 2.0, 12).view(1, 3, 4)
    chosen = LogMel(range_db=(-60.0, 0.0))
    dream = chosen.signal(start(chosen, given), torch.zeros(1, 3, 4))
    assert dream.min().item() == pytest.approx(-3 * math.log(10), abs=1e-5)
    assert dream.max().item() == pytest.approx(0.0, abs=1e-5)
    wide = LogMel(range_db=(-700.0, 700.0))
    assert torch.equal(wide.signal(start(wide, 7 * given), torch.zeros(1, 3, 4)), 7 * given)


@pytest.mark.parametrize(("least", "most"), [(-80, 0), (0, 80), (0, 50), (-31, -4), (2, 9)])
def test_spectrograms_in_another_unit_are_refused(start, least, most) -> None:
    given = torch.linspace(least, most, 12).view(1, 3, 4)
    for made in (LogMel(), Fourier(of=LogMel()), LogMel(range_db=(-60.0, 10.0))):
        with pytest.raises(InputError, match=rf"log-mels from {least} to {most}; expected the nat"):
            start(made, given)


@pytest.mark.parametrize(
    ("ends", "limits"),
    [
        ((-80, 0), (-88, 8)),
        ((0, 50), (0, 55)),  # a magnitude stays one
        ((-8, -8), (-8 - NATURAL_PER_DB, -8 + NATURAL_PER_DB)),
    ],
)
def test_in_its_own_range_a_unit_is_a_share_of_it(start, ends, limits) -> None:
    """Of each item its own, so that the others do not change it."""
    given = torch.stack([torch.linspace(ends[0], ends[1], 12).view(3, 4), torch.zeros(3, 4)])
    own = LogMel(range_db=None)
    origin = start(own, given)

    assert torch.equal(own.signal(origin, torch.zeros(2, 3, 4)), given)
    for far, limit in zip((-999.0, 999.0), limits, strict=True):
        assert own.signal(origin, torch.full((2, 3, 4), far))[0].unique().tolist() == [
            pytest.approx(limit, abs=1e-5)
        ]
    assert own.unit(origin)[0].item() == pytest.approx((limits[1] - limits[0]) / 120, rel=1e-5)
    assert own.step_unit == "1/120 of its range"


def test_it_is_no_sound(bench) -> None:
    log_mel = LogMel()
    origin = bench.origin(log_mel, bench.sounds(2, 500), [1, 2])
    assert log_mel.waveform(origin, origin.signal) is None
    assert torch.equal(origin.signal, bench.recognizer.log_mel(origin.sound))


def test_a_unit_is_a_decibel(bench) -> None:
    log_mel = LogMel()
    origin = bench.origin(log_mel, bench.sounds(2, 500), [1, 2])
    louder = bench.recognizer.log_mel(origin.sound * 10 ** (1 / 20))
    change = log_mel.parameters(origin) + log_mel.unit(origin)
    torch.testing.assert_close(log_mel.signal(origin, change), louder, rtol=0, atol=1e-2)


RATE_HZ, WIDE_HZ = 8000, 20_000


@pytest.fixture
def recognizer() -> Recognizer:
    frontend = HanLogMel(sample_rate_hz=RATE_HZ, n_fft=256, hop_samples=128, n_mels=24)
    return Recognizer(frontend=frontend, model=nn.Identity())


def written(path: Path, *, channels: int = 2, rate_hz: int = WIDE_HZ) -> Path:
    """Write two seconds of a tone at 1000 Hz and one at 6000, and noise that differs."""
    time = torch.arange(2 * rate_hz) / rate_hz
    tones = sum(0.2 * torch.sin(2 * math.pi * hz * time) for hz in (1000, 6000))
    noise = torch.randn(channels, len(time), generator=torch.Generator().manual_seed(0))
    soundfile.write(path, (tones + 0.02 * noise).T.numpy(), rate_hz, subtype="FLOAT")
    return path


def dreamed(
    recognizer: Recognizer, parametrization: Any, original: Tensor, change: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the signal and the sound of parameters that are a change times the unit."""
    start = parametrization.start(Originals.of(recognizer, original[None]))
    parameters = parametrization.parameters(start) + change * parametrization.unit(start)
    signal = parametrization.signal(start, parameters)
    return signal[0], parametrization.waveform(start, signal)[0]


def level_at(sound: Tensor, hz: float, rate_hz: int) -> float:
    """Return the magnitude of a tone in dB."""
    time = torch.arange(len(sound)) / rate_hz
    wave = torch.polar(torch.hann_window(len(sound)), -2 * math.pi * hz * time)
    return 20 * math.log10(abs(complex((wave * sound).sum())))


@pytest.mark.parametrize(
    "parametrization",
    [
        StftGain(),
        StftGain(keep_peak=True, floor_db=40.0),
        Fourier(of=StftGain(keep_peak=True)),
        Waveform(),
    ],
)
def test_the_mean_of_the_channels_is_the_dream_that_the_network_heard(
    parametrization, recognizer, tmp_path
) -> None:
    path = written(tmp_path / "a.wav")
    original = load_audio(path, sample_rate_hz=RATE_HZ)[: RATE_HZ + 3]
    signal, dream = dreamed(recognizer, parametrization, original, torch.tensor(5.0))
    found = full_band(path, recognizer, parametrization, original, signal, dream)
    assert found is not None
    for sound, expected in zip(found[:2], (original, dream), strict=True):
        assert sound.shape == (2, round((RATE_HZ + 3) * WIDE_HZ / RATE_HZ))
        mean = resample(sound.mean(dim=0), from_hz=WIDE_HZ, to_hz=RATE_HZ)[: len(expected)]
        log_mels = [recognizer.log_mel(x[None])[0, :-2, 2:-2] for x in (mean, expected)]
        assert (log_mels[0] - log_mels[1]).abs().max() < 0.03  # 0.26 dB, but in the highest tenth
    assert found[2] == WIDE_HZ


@pytest.mark.parametrize("keep_peak", [False, True])
def test_each_channel_gets_the_gain_and_what_lies_above_the_level(
    keep_peak, recognizer, tmp_path
) -> None:
    path = written(tmp_path / "a.wav")
    original = load_audio(path, sample_rate_hz=RATE_HZ)
    signal = torch.zeros(129, 126)
    signal[16:64] = math.log(2.0)  # around 1000 Hz: bins of 31.25 Hz
    gain = StftGain(keep_peak=keep_peak)
    start = gain.start(Originals.of(recognizer, original[None]))
    dream = gain.waveform(start, signal[None])[0]
    level = 20 * math.log10(float(dream.abs().max())) if not keep_peak else 0.0
    found = full_band(path, recognizer, gain, original, signal, dream)
    assert found is not None
    for before, after in zip(*found[:2], strict=True):
        low, high = (
            level_at(after, hz, WIDE_HZ) - level_at(before, hz, WIDE_HZ) for hz in (1000, 6000)
        )
        assert low - high == pytest.approx(6.02, abs=0.05)
        if not keep_peak:
            assert high == pytest.approx(0.0, abs=0.01)
            assert level > 5


def test_a_mono_file_of_the_networks_rate_has_no_more_than_the_network_hears(
    recognizer, tmp_path
) -> None:
    for channels, rate_hz, expected in ((1, 8000, None), (1, 4000, None), (2, 4000, 8000)):
        path = written(tmp_path / "a.wav", channels=channels, rate_hz=rate_hz)
        original = load_audio(path, sample_rate_hz=RATE_HZ)
        found = full_band(path, recognizer, Waveform(), original, original, original)
        assert (found and found[2]) == expected
