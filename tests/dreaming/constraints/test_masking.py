"""The change stays below the masking threshold, measured independently of the projection."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from irdream.audio.masking import masking_threshold, masking_violation
from irdream.dreaming.constraints import MaskingProjection
from irdream.errors import InputError

SETTINGS = {"n_fft": 128, "hop_samples": 40, "sample_rate_hz": 8000}


@pytest.mark.parametrize("rounds", [0, 1, 5])
@pytest.mark.parametrize("size", [0.001, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_bin_of_a_sound_s_change_is_above_the_threshold(bench, rounds, size, dtype) -> None:
    waveform = bench.sounds(4, 4000, seed=1)
    held = bench.held(MaskingProjection(rounds=rounds), "sound", waveform)
    signal = held.changed(2, size)
    prepared = held.prepared | {"most": held.prepared["most"].to(dtype)}
    waveform = waveform.to(dtype)
    found = held.constraint(signal.to(dtype), waveform, prepared)

    waveform = waveform.double()
    asked = masking_violation(waveform, signal, **SETTINGS)
    left = masking_violation(waveform, found.double(), **SETTINGS)
    assert asked.share.max() > 0
    assert not left.share.any()
    assert (left.noise_to_mask_db > -60).any()  # something of the change is left


@settings(max_examples=20, deadline=None)
@given(samples=st.integers(65, 3000), margin_db=st.floats(-10, 30), seed=st.integers(0, 2**31))
def test_a_margin_holds_for_a_sound_of_any_length(bench, samples, margin_db, seed) -> None:
    waveform = bench.sounds(2, samples, seed)
    held = bench.held(MaskingProjection(margin_db=margin_db), "sound", waveform)
    change = held(held.changed(seed)) - waveform

    louder = waveform + change * 10 ** (margin_db / 20)
    assert not masking_violation(waveform, louder, **SETTINGS).share.any()


@settings(max_examples=20, deadline=None)
@given(samples=st.integers(65, 3000), size=st.floats(0.01, 5.0), seed=st.integers(0, 2**31))
def test_no_bin_of_a_gain_changes_its_magnitude_by_more(bench, samples, size, seed) -> None:
    waveform = bench.sounds(2, samples, seed)
    held = bench.held(MaskingProjection(), "gain", waveform)
    asked = held.changed(seed, size)
    found = held(asked)

    most = masking_threshold(waveform, **SETTINGS).sqrt()
    change = held.start.spectrum * torch.expm1(found).abs()
    fine = held.start.spectrum * torch.expm1(asked).abs() <= 0.999 * most

    assert (change <= most).all()
    assert torch.equal(found[fine], asked[fine])
    torch.testing.assert_close(
        change[~fine & (asked > 0)], most[~fine & (asked > 0)], rtol=2e-3, atol=0.0
    )


def test_no_band_changes_its_magnitude_by_more(project, bench) -> None:
    found, asked, held = project(MaskingProjection(), "log_mel")
    most = bench.frontend.mel_basis @ masking_threshold(held.start.sound, **SETTINGS).sqrt()
    ratio = (found.exp() - held.start.log_mel.exp()).abs() / most[..., : found.shape[-1]]

    assert ratio.max() <= 1.0
    assert (ratio > 0.9999).any()
    assert not torch.equal(found, asked)


def test_a_sound_whose_bins_are_masked_is_masked_in_its_bands(bench) -> None:
    """The one direction of the approximation for mel bands that must hold."""
    waveform = bench.sounds(3, 4000, seed=5)
    sound = bench.held(MaskingProjection(), "sound", waveform)
    bands = bench.held(MaskingProjection(margin_db=-0.01), "log_mel", waveform)

    dream = bench.recognizer.log_mel(sound(sound.changed(6)))

    assert not torch.equal(dream, bands.start.signal)
    assert torch.equal(bands(dream), dream)


def test_a_silent_bin_can_only_be_raised_to_the_threshold(bench) -> None:
    waveform = torch.zeros(1, 900, dtype=torch.float64)
    held = bench.held(MaskingProjection(), "gain", waveform)
    found = held(held.start.signal + math.log(1e4))
    assert (1e-12 * torch.expm1(found) <= masking_threshold(waveform, **SETTINGS).sqrt()).all()


def test_fewer_rounds_than_none_are_refused() -> None:
    with pytest.raises(InputError, match=r"^rounds=-1; expected a whole number, at least 0"):
        MaskingProjection(rounds=-1)
