"""Outside a mask nothing changes; inside, everything may."""

from __future__ import annotations

import math

import pytest
import torch

from irdream.dreaming.constraints import FrequencyBand, OnlyLoud, TimeRange
from irdream.errors import InputError

SPECTROGRAMS = ("log_mel", "gain", "band_gain")


def kept(held, origin):
    """Where the signal is exactly the original's."""
    return held == origin["signal"]


@pytest.mark.parametrize("kind", SPECTROGRAMS)
def test_a_time_range_of_a_plane_is_that_of_its_frames(project, ear, kind) -> None:
    held, origin = project(TimeRange(start_seconds=0.1, end_seconds=0.25), kind)
    seconds = torch.arange(held.shape[-1]) / 200
    inside = (seconds >= 0.1) & (seconds < 0.25)

    assert inside.sum() == 30
    assert torch.equal(kept(held, origin), (~inside).expand_as(held))
    assert torch.equal(held[..., inside], ear.changed(origin, 2)[..., inside])


def test_a_time_range_of_a_sound_is_that_of_its_samples(project) -> None:
    held, origin = project(TimeRange(start_seconds=0.1), "sound")
    assert kept(held, origin)[:, :800].all()
    assert not kept(held, origin)[:, 800:].any()


@pytest.mark.parametrize("kind", SPECTROGRAMS)
def test_a_band_of_a_plane_is_that_of_its_rows(project, ear, kind) -> None:
    held, origin = project(FrequencyBand(low_hz=500.0, high_hz=1500.0), kind)
    hz = torch.arange(65) * 62.5
    if kind != "gain":
        basis = ear.frontend.mel_basis.float()
        hz = (basis @ hz) / basis.sum(dim=1)
    inside = (hz >= 500) & (hz <= 1500)

    assert 0 < inside.sum() < len(inside)
    assert torch.equal(kept(held, origin), (~inside)[:, None].expand_as(held))


@pytest.mark.parametrize("samples", [4000, 4001])
def test_a_band_of_a_sound_holds_its_spectrum(project, ear, samples) -> None:
    held, origin = project(FrequencyBand(low_hz=500.0, high_hz=1500.0), "sound", samples=samples)
    asked = torch.fft.rfft(ear.changed(origin, 2) - origin["waveform"])
    change = torch.fft.rfft(held - origin["waveform"])
    hz = torch.arange(change.shape[1]) * (8000 / samples)
    inside = (hz >= 500) & (hz <= 1500)

    assert change[:, ~inside].abs().max() < 1e-12
    torch.testing.assert_close(change[:, inside], asked[:, inside])


@pytest.mark.parametrize("kind", SPECTROGRAMS)
def test_only_what_is_loud_changes(project, ear, kind) -> None:
    held, origin = project(OnlyLoud(below_peak_db=30.0), kind)
    magnitude = origin["spectrum"].abs() if kind == "gain" else origin["log_mel"].exp()
    loud = magnitude >= magnitude.amax(dim=(1, 2), keepdim=True) * 10 ** (-30 / 20)

    assert 0 < loud.double().mean() < 1
    assert torch.equal(kept(held, origin), ~loud)


@pytest.mark.parametrize(("start", "end"), [(-0.1, None), (0.5, 0.5), (0.5, 0.1), (math.nan, 1.0)])
def test_a_time_range_that_is_none_is_refused(start, end) -> None:
    with pytest.raises(InputError, match=r"start_seconds=.*, end_seconds=.*; expected 0 <= sta"):
        TimeRange(start_seconds=start, end_seconds=end)


@pytest.mark.parametrize("kind", ["log_mel", "sound"])
def test_a_time_range_beyond_the_end_is_refused(project, kind) -> None:
    with pytest.raises(InputError, match=r"start_seconds=3, .* nothing of an excerpt of 0\.\d+ s"):
        project(TimeRange(start_seconds=3.0), kind)


@pytest.mark.parametrize(("low", "high"), [(-1.0, None), (900.0, 100.0)])
def test_a_band_that_is_none_is_refused(low, high) -> None:
    with pytest.raises(InputError, match=r"constraint\.low_hz=.*, high_hz=.*; expected 0 <= low <"):
        FrequencyBand(low_hz=low, high_hz=high)


@pytest.mark.parametrize("kind", ["log_mel", "gain", "sound"])
def test_a_band_without_a_row_is_refused(project, kind) -> None:
    with pytest.raises(InputError, match=r"holds none of the \d+ bands or bins; .* below 4000 Hz"):
        project(FrequencyBand(low_hz=4500.0), kind)


def test_louder_than_the_loudest_is_refused() -> None:
    with pytest.raises(InputError, match=r"constraint\.below_peak_db=-3.0; expected at least 0"):
        OnlyLoud(below_peak_db=-3.0)
