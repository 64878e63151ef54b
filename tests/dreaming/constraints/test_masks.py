"""Outside a mask nothing changes; inside, everything may."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from irdream.dreaming.constraints import FrequencyBand, Harmonic, OnlyLoud, Percussive, TimeRange
from irdream.errors import InputError
from irdream.recognizer import Recognizer

SPECTROGRAMS = pytest.mark.parametrize("kind", ["log_mel", "gain"])


@SPECTROGRAMS
def test_a_time_range_of_a_spectrogram_is_that_of_its_frames(project, kind) -> None:
    found, asked, held = project(TimeRange(start_seconds=0.1, end_seconds=0.25), kind)
    seconds = torch.arange(found.shape[-1]) / 200
    inside = (seconds >= 0.1) & (seconds < 0.25)

    assert inside.sum() == 30
    assert torch.equal(found == held.start.signal, (~inside).expand_as(found))
    assert torch.equal(found[..., inside], asked[..., inside])


def test_a_time_range_of_a_sound_is_that_of_its_samples(project) -> None:
    found, _, held = project(TimeRange(start_seconds=0.1), "sound")
    kept = found == held.start.sound
    assert kept[:, :800].all()
    assert not kept[:, 800:].any()


@SPECTROGRAMS
def test_a_band_of_a_spectrogram_is_that_of_its_rows(project, bench, kind) -> None:
    """A bin is at its frequency, a mel band at its center of gravity."""
    found, _, held = project(FrequencyBand(low_hz=500.0, high_hz=1500.0), kind)
    hz = torch.arange(65) * 62.5
    if kind == "log_mel":
        basis = bench.frontend.mel_basis.float()
        hz = (basis @ hz) / basis.sum(dim=1)
    inside = (hz >= 500) & (hz <= 1500)

    assert 0 < inside.sum() < len(inside)
    assert torch.equal(found == held.start.signal, (~inside)[:, None].expand_as(found))


@pytest.mark.parametrize("samples", [4000, 4001])
def test_a_band_of_a_sound_holds_its_spectrum(project, bench, samples) -> None:
    constraint, sounds = FrequencyBand(low_hz=500.0, high_hz=1500.0), bench.sounds(2, samples, 1)
    found, asked, _ = project(constraint, "sound", waveform=sounds)
    wanted, change = (torch.fft.rfft(x - sounds) for x in (asked, found))
    hz = torch.arange(change.shape[1]) * (8000 / samples)
    inside = (hz >= 500) & (hz <= 1500)

    assert change[:, ~inside].abs().max() < 1e-12
    torch.testing.assert_close(change[:, inside], wanted[:, inside])


@SPECTROGRAMS
def test_only_what_is_loud_changes(project, bench, kind) -> None:
    found, _, held = project(OnlyLoud(below_peak_db=30.0), kind)
    magnitude = bench.magnitude(held)
    loud = magnitude >= magnitude.amax(dim=(1, 2), keepdim=True) * 10 ** (-30 / 20)

    assert 0 < loud.double().mean() < 1
    assert torch.equal(found == held.start.signal, ~loud)


def median(values: np.ndarray, size: int, axis: int) -> np.ndarray:
    """The running median of values that are mirrored at the ends."""
    around = [(size // 2, size // 2) if a == axis else (0, 0) for a in range(values.ndim)]
    mirrored = np.pad(values, around, mode="symmetric")
    return np.median(np.lib.stride_tricks.sliding_window_view(mirrored, size, axis), axis=-1)


@SPECTROGRAMS
@pytest.mark.parametrize("samples", [100, 900, 4000])  # 2 frames are fewer than the median's
def test_a_bin_belongs_to_the_louder_component(project, bench, kind, samples) -> None:
    sounds = bench.sounds(2, samples, seed=1)
    (tones, _, held), (strokes, *_) = (
        project(one(frames=7, bands=5), kind, waveform=sounds) for one in (Harmonic, Percussive)
    )
    level, original = held.start.level.numpy(), held.start.signal
    harmonic, percussive = median(level, 7, axis=2), median(level, 5, axis=1)

    np.testing.assert_array_equal((tones != original).numpy(), harmonic > percussive)
    np.testing.assert_array_equal((strokes != original).numpy(), percussive > harmonic)


def test_a_tone_is_harmonic_and_a_click_percussive(project) -> None:
    waveform = 0.3 * torch.sin(torch.arange(8000, dtype=torch.float64) * 0.785398)[None]  # 1 kHz
    waveform[0, 4000] = 20.0
    shares = {}
    for one in (Harmonic, Percussive):
        changed = project(one(frames=17, bands=9), "gain", waveform=waveform)[0][0] != 0
        shares[one] = changed[16, 50].item(), changed[40, 100].item()

    assert shares == {Harmonic: (True, False), Percussive: (False, True)}  # (the tone, the click)


def test_a_margin_leaves_more_bins_to_neither(project) -> None:
    neither = []
    for margin_db in (-1.0, 0.0, 6.0):
        dreams = [project(one(margin_db=margin_db), "log_mel") for one in (Harmonic, Percussive)]
        kept = [found == held.start.signal for found, _, held in dreams]
        neither.append((kept[0] & kept[1]).double().mean().item())
    assert neither[0] == 0
    assert neither[1] < 0.2 < neither[2]


@pytest.mark.parametrize(
    ("mask", "arguments", "message"),
    [
        *(
            (
                TimeRange, {"start_seconds": start, "end_seconds": end},
                r"start_seconds=.*, end_seconds=.*; expected 0 <= start",
            )
            for start, end in [(-0.1, None), (0.5, 0.5), (0.5, 0.1), (math.nan, 1.0)]
        ),
        *(
            (
                FrequencyBand, {"low_hz": low, "high_hz": high},
                r"constraint\.low_hz=.*, high_hz=.*; expected 0 <= low <",
            )
            for low, high in [(-1.0, None), (900.0, 100.0)]
        ),
        (OnlyLoud, {"below_peak_db": -3.0}, r"^below_peak_db=-3.0; expected a number, at least 0"),
        (Harmonic, {"frames": 4}, r"constraint\.frames=4; expected an odd number"),
        (Percussive, {"bands": 0}, r"constraint\.bands=0; expected an odd number"),
        (Harmonic, {"frames": -3}, r"constraint\.frames=-3; expected an odd number"),
    ],
)  # fmt: skip
def test_arguments_of_no_mask_are_refused(mask, arguments, message) -> None:
    with pytest.raises(InputError, match=message):
        mask(**arguments)


@pytest.mark.parametrize(
    ("mask", "kinds", "message"),
    [
        (
            TimeRange(start_seconds=3.0), ["log_mel", "sound"],
            r"start_seconds=3, .* nothing of an excerpt of 0\.\d+ s",
        ),
        (
            FrequencyBand(low_hz=4500.0), ["log_mel", "gain", "sound"],
            r"holds none of the \d+ bands or bins; .* below 4000 Hz",
        ),
    ],
)  # fmt: skip
def test_a_mask_of_nothing_is_refused(bench, mask, kinds, message) -> None:
    for kind in kinds:
        with pytest.raises(InputError, match=message):
            bench.held(mask, kind)


def test_a_front_end_without_bands_is_refused(bench) -> None:
    class Plain(torch.nn.Module):
        sample_rate_hz = hop_samples = 1

    recognizer = Recognizer(frontend=Plain(), model=torch.nn.Identity())
    start = replace(bench.start("log_mel", bench.sounds(1, 900, seed=1)), recognizer=recognizer)
    with pytest.raises(InputError, match=r"Plain has no mel_basis, which this constraint needs; "):
        FrequencyBand(low_hz=1.0).prepare(start, "spectrogram")
