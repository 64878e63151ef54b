"""What a plane is made of, and limits that a value can leave again."""

from __future__ import annotations

import pytest
import torch

from irdream.audio.stft import stft
from irdream.dreaming.constraints.planes import (
    as_many_frames,
    is_gain,
    limited,
    log_magnitude,
    on_bins,
    row_frequencies_hz,
)


@pytest.mark.parametrize(
    ("kind", "gain", "bins"),
    [("log_mel", False, False), ("gain", True, True), ("band_gain", True, False)],
)
def test_a_plane_is_known_by_its_grid_and_its_start(ear, kind, gain, bins) -> None:
    origin = ear.origin(kind, ear.sounds(2, 900, seed=1))
    assert is_gain(origin) == gain
    assert on_bins(ear.recognizer, origin) == bins


def test_the_magnitude_of_a_log_mel_is_itself(ear) -> None:
    for kind in ("log_mel", "band_gain"):
        origin = ear.origin(kind, ear.sounds(2, 900, seed=1))
        assert torch.equal(log_magnitude(ear.recognizer, origin), origin["log_mel"])


def test_the_magnitude_of_a_gain_is_the_spectrum_whoever_computes_it(ear) -> None:
    origin = ear.origin("gain", ear.sounds(2, 900, seed=1))
    level = log_magnitude(ear.recognizer, origin)
    del origin["spectrum"]

    expected = stft(origin["waveform"], ear.frontend).abs().log()
    torch.testing.assert_close(level, expected)
    assert torch.equal(log_magnitude(ear.recognizer, origin), level)


def test_rows_have_the_frequencies_of_bins_or_mel_bands(ear) -> None:
    waveform = ear.sounds(1, 900, seed=1)
    bins = row_frequencies_hz(ear.recognizer, ear.origin("gain", waveform))
    bands = row_frequencies_hz(ear.recognizer, ear.origin("log_mel", waveform))

    torch.testing.assert_close(bins, 62.5 * torch.arange(65.0, dtype=torch.float64))
    assert bands.shape == (12,)
    loudest = ear.frontend.mel_basis.argmax(dim=1) * 62.5
    assert (bands - loudest).abs().max() < 130  # a band is about 300 Hz wide


def test_frames_are_cut_or_the_last_one_is_repeated() -> None:
    plane = torch.arange(6.0).view(1, 2, 3)
    assert as_many_frames(plane, 2).tolist() == [[[0, 1], [3, 4]]]
    assert as_many_frames(plane, 5).tolist() == [[[0, 1, 2, 2, 2], [3, 4, 5, 5, 5]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_value_at_its_limit_can_leave_it_after_it_was_kept_as_a_difference(dtype) -> None:
    """A clamp would keep some of these for ever: one rounding beyond the limit it has no slope."""
    start = torch.randn(10_000, generator=torch.Generator().manual_seed(1), dtype=dtype) * 8
    detail = torch.full_like(start, 3.0)
    for _ in range(3):
        detail = limited(start + detail, start - 0.7, start + 0.7) - start

    detail.requires_grad_()
    signal = limited(start + detail, start - 0.7, start + 0.7)
    (gradient,) = torch.autograd.grad(signal.sum(), detail)

    assert (gradient == 1).all()
    assert ((signal - start) <= 0.7 + 4e-6).all()
    assert ((signal - start) >= 0.7 - 2e-5).all()
