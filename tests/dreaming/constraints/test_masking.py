"""The change stays below the masking threshold, measured independently of the projection."""

from __future__ import annotations

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
def test_no_bin_of_a_sound_s_change_is_above_the_threshold(ear, rounds, size, dtype) -> None:
    constraint = MaskingProjection(rounds=rounds)
    origin = ear.prepared(constraint, "sound", ear.sounds(4, 4000, seed=1))
    signal = ear.changed(origin, 2, size)
    origin = {key: value.to(dtype) for key, value in origin.items()}

    held = constraint(signal.to(dtype), origin)

    asked = masking_violation(origin["waveform"].double(), signal, **SETTINGS)
    found = masking_violation(origin["waveform"].double(), held.double(), **SETTINGS)
    assert asked.share.max() > 0
    assert not found.share.any()
    assert (found.noise_to_mask_db > -60).any()  # something of the change is left


@settings(max_examples=20, deadline=None)
@given(samples=st.integers(65, 3000), margin_db=st.floats(-10, 30), seed=st.integers(0, 2**31))
def test_a_margin_holds_for_a_sound_of_any_length(ear, samples, margin_db, seed) -> None:
    constraint = MaskingProjection(margin_db=margin_db)
    waveform = ear.sounds(2, samples, seed)
    origin = ear.prepared(constraint, "sound", waveform)
    change = constraint(ear.changed(origin, seed), origin) - waveform

    louder = waveform + change * 10 ** (margin_db / 20)
    assert not masking_violation(waveform, louder, **SETTINGS).share.any()


def test_more_rounds_keep_more_of_the_change(project) -> None:
    sizes = [
        (held - origin["waveform"]).norm().item()
        for held, origin in (project(MaskingProjection(rounds=r), "sound") for r in (0, 1, 3, 10))
    ]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 2 * sizes[0]


@settings(max_examples=20, deadline=None)
@given(samples=st.integers(65, 3000), size=st.floats(0.01, 5.0), seed=st.integers(0, 2**31))
def test_no_bin_of_a_gain_changes_its_magnitude_by_more(ear, samples, size, seed) -> None:
    waveform = ear.sounds(2, samples, seed)
    origin = ear.prepared(MaskingProjection(), "gain", waveform)
    asked = ear.changed(origin, seed, size)
    held = MaskingProjection()(asked, origin)

    most = masking_threshold(waveform, **SETTINGS).sqrt()
    magnitude = origin["spectrum"].abs()
    change = magnitude * torch.expm1(held).abs()
    fine = magnitude * torch.expm1(asked).abs() <= 0.999 * most

    assert (change <= most).all()
    assert torch.equal(held[fine], asked[fine])
    torch.testing.assert_close(
        change[~fine & (asked > 0)], most[~fine & (asked > 0)], rtol=2e-3, atol=0.0
    )


@pytest.mark.parametrize("kind", ["log_mel", "band_gain"])
def test_no_band_changes_its_magnitude_by_more(project, ear, kind) -> None:
    held, origin = project(MaskingProjection(), kind)
    most = ear.frontend.mel_basis @ masking_threshold(origin["waveform"], **SETTINGS).sqrt()
    before = origin["log_mel"].exp()
    after = held.exp() if kind == "log_mel" else before * held.exp()
    ratio = (after - before).abs() / most[..., : held.shape[-1]]

    assert ratio.max() <= 1.0
    assert (ratio > 0.9999).any()
    assert not torch.equal(held, ear.changed(origin, 2))


def test_a_sound_whose_bins_are_masked_is_masked_in_its_bands(ear) -> None:
    """The one direction of the approximation for mel bands that must project."""
    waveform = ear.sounds(3, 4000, seed=5)
    on_sound, on_bands = MaskingProjection(), MaskingProjection(margin_db=-0.01)
    sound = ear.prepared(on_sound, "sound", waveform)
    bands = ear.prepared(on_bands, "log_mel", waveform)

    dream = ear.recognizer.log_mel(on_sound(ear.changed(sound, 6), sound))

    assert not torch.equal(dream, bands["signal"])
    assert torch.equal(on_bands(dream, bands), dream)


def test_played_louder_less_is_hidden(project) -> None:
    sizes = [
        (held - origin["waveform"]).norm().item()
        for held, origin in (
            project(MaskingProjection(full_scale_db=level), "sound") for level in (40.0, 90.0)
        )
    ]
    assert sizes[0] > sizes[1]


def test_a_silent_bin_can_only_be_raised_to_the_threshold(ear) -> None:
    waveform = torch.zeros(1, 900, dtype=torch.float64)
    origin = ear.prepared(MaskingProjection(), "gain", waveform)
    held = MaskingProjection()(origin["signal"] + math.log(1e4), origin)
    assert (1e-12 * torch.expm1(held) <= masking_threshold(waveform, **SETTINGS).sqrt()).all()


def test_fewer_rounds_than_none_are_refused() -> None:
    with pytest.raises(InputError, match=r"constraint\.rounds=-1; expected at least 0, such as 3"):
        MaskingProjection(rounds=-1)
