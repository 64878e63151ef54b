"""Limits of bins, bands and whole changes, in numbers; masking is measured by itself."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from irdream.audio.masking import masking_threshold, masking_violation
from irdream.dreaming.constraints import (
    BandRange,
    Consistency,
    LoudnessLock,
    MaskingProjection,
    MaxChange,
    RmseBudget,
    SnrFloor,
)
from irdream.dreaming.constraints.limits import limited
from irdream.errors import InputError

DB = 20.0 / math.log(10.0)
SPECTROGRAMS = pytest.mark.parametrize("kind", ["log_mel", "gain"])


def rmse_db(change: torch.Tensor) -> torch.Tensor:
    return change.square().mean(dim=(1, 2)).sqrt() * DB


# A largest change -------------------------------------------------------------------------------


@SPECTROGRAMS
@pytest.mark.parametrize("samples", [65, 4000])
def test_no_bin_changes_by_more(project, bench, kind, samples) -> None:
    sounds = bench.sounds(2, samples, seed=1)
    found, asked, held = project(MaxChange(db=3.0), kind, waveform=sounds)
    change_db, asked_db = ((x - held.start.signal) * DB for x in (found, asked))

    assert change_db.abs().max() <= 3.0
    torch.testing.assert_close(change_db, asked_db.clamp(-3.0, 3.0))


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


# Ranges of bands --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "kind", "least", "most"),
    [
        ({"least_db": -40.0, "most_db": -10.0}, "log_mel", -40.0, -10.0),
        ({"least_db": -60.0, "most_db": [-30.0] * 12}, "log_mel", -60.0, -30.0),
        ({"least_db": -6.0, "most_db": 3.0}, "gain", -6.0, 3.0),
    ],
    ids=["one for all", "a number and a list", "of a gain"],
)
def test_values_stay_in_the_range(project, arguments, kind, least, most) -> None:
    found, *_ = project(BandRange(**arguments), kind, size=5.0)
    assert (found * DB).min().item() == pytest.approx(least)
    assert (found * DB).max().item() == pytest.approx(most)


@pytest.mark.parametrize("from_file", [False, True])
def test_a_range_for_each_band(project, tmp_path, from_file) -> None:
    least, most = np.linspace(-60, -30, 12), np.linspace(-20, -10, 12)
    np.save(tmp_path / "ranges.npy", np.stack([least, most]))
    lists = {"least_db": least.tolist(), "most_db": most.tolist()}
    constraint = BandRange(**({"path": tmp_path / "ranges.npy"} if from_file else lists))
    found, asked, _ = project(constraint, "log_mel", size=2.0)

    low, high = (torch.from_numpy(limit / DB)[:, None] for limit in (least, most))
    torch.testing.assert_close(found, torch.maximum(torch.minimum(asked, high), low))
    assert (found >= low).all()
    assert (found <= high).all()


# Budgets ----------------------------------------------------------------------------------------


@SPECTROGRAMS
def test_the_rmse_is_the_budget_and_the_change_keeps_its_direction(project, kind) -> None:
    found, asked, held = project(RmseBudget(db=2.0), kind)
    change, wanted = found - held.start.signal, asked - held.start.signal

    torch.testing.assert_close(rmse_db(change), torch.full((2,), 2.0, dtype=torch.float64))
    cosine = torch.cosine_similarity(change.flatten(1), wanted.flatten(1))
    torch.testing.assert_close(cosine, torch.ones(2, dtype=torch.float64))


def test_each_item_can_have_a_budget_of_its_own(bench) -> None:
    constraint = RmseBudget(db=[0.5, 3.0, 1e9, 1e-9])
    held = bench.held(constraint, "log_mel", bench.sounds(4, 2000, seed=1))
    signal = held.changed(2).requires_grad_()

    found = held(signal)
    (gradient,) = torch.autograd.grad(found.sum(), signal)

    asked = rmse_db(signal - held.start.signal)[2].item()
    sizes = rmse_db(found - held.start.signal).tolist()
    assert sizes == pytest.approx([0.5, 3.0, asked, 0.0], abs=2e-6)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("floor_db", [-5.0, 0.0, 40.0])
def test_the_snr_is_the_floor(project, floor_db) -> None:
    found, _, held = project(SnrFloor(db=floor_db), "sound", size=10.0)
    powers = (x.square().sum(dim=1) for x in (held.start.sound, found - held.start.sound))
    snr_db = 10 * torch.div(*powers).log10()
    torch.testing.assert_close(snr_db, torch.full((2,), floor_db, dtype=torch.float64))


def test_in_silence_nothing_changes_that_could_be_written(project) -> None:
    silence = torch.zeros(1, 900, dtype=torch.float64)
    found, *_ = project(SnrFloor(db=30.0), "sound", waveform=silence)
    assert found.abs().max() < 2**-18


# Loudness ---------------------------------------------------------------------------------------


def test_a_sound_keeps_its_root_mean_square(project) -> None:
    found, asked, held = project(LoudnessLock(), "sound")
    torch.testing.assert_close(found.square().mean(dim=1), held.start.sound.square().mean(dim=1))
    ratio = found / asked
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))


@SPECTROGRAMS
def test_a_spectrogram_keeps_its_energy(project, bench, kind) -> None:
    found, asked, held = project(LoudnessLock(), kind)
    before = bench.magnitude(held)
    after = found.exp() if kind == "log_mel" else before * found.exp()

    torch.testing.assert_close(after.square().sum(dim=(1, 2)), before.square().sum(dim=(1, 2)))
    gain = found - asked
    torch.testing.assert_close(gain, gain[:, :1, :1].expand_as(gain))
    assert (gain.abs() > 0.01).all()


# What is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (MaxChange, {"db": 0.0}, r"^db=0.0; expected a number above 0"),
        (MaxChange, {"db": math.nan}, r"^db=nan; expected a number above 0"),
        (MaskingProjection, {"rounds": -1}, r"^rounds=-1; expected a whole number, at least 0"),
        (Consistency, {"every": -1}, r"^every=-1; expected a whole number, at least 0"),
        (RmseBudget, {"db": -2.0}, r"^db=-2.0; expected a number above 0, or a list"),
        (RmseBudget, {"db": [1.0, 0.0]}, r"^db=\[1.0,0.0\]; expected a number above 0, or a list"),
        (BandRange, {"least_db": [-1.0] * 2, "most_db": [1.0] * 3}, r"2 numbers and most_db 3; ex"),
        (BandRange, {"least_db": 20.0}, r"20 to 20 in band 0; expected the least below the most"),
        (BandRange, {"least_db": math.nan}, r"nan to 20 in band 0; expected the least below"),
        (
            BandRange, {"least_db": [0.0, 3.0, 0.0], "most_db": 2.0},
            r"least_db, most_db: 3 to 2 in band 1; expected the least below",
        ),
    ],
)  # fmt: skip
def test_limits_of_nothing_are_refused(kind, arguments, message) -> None:
    with pytest.raises(InputError, match=message):
        kind(**arguments)


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        (RmseBudget(db=[1.0, 2.0, 3.0]), r"constraint\.db has 3 budgets for 2 items; expected one"),
        (
            BandRange(least_db=[-1.0, -2.0, -3.0], most_db=[1.0, 2.0, 3.0]),
            r"has 3 numbers; expected 12, one for each band of the",
        ),
    ],
)
def test_lists_that_do_not_fit_are_refused(bench, constraint, message) -> None:
    with pytest.raises(InputError, match=message):
        bench.held(constraint, "log_mel")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"constraint\.path=.*cannot be read .*; expected a \.npy"),
        ("no array", r"ranges\.npy' cannot be read"),
        (np.zeros((12, 2)), r"holds \(12, 2\); expected \(2, n_mels\)"),
        (np.array([[0.0] * 5, [1.0] * 5]), r"path='.*ranges\.npy' has 5 numbers; expected 12"),
    ],
    ids=["missing", "text", "shape", "length"],
)
def test_a_file_that_cannot_be_used_is_refused(bench, tmp_path, content, message) -> None:
    path = tmp_path / "ranges.npy"
    if isinstance(content, str):
        path.write_text(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(InputError, match=message):
        bench.held(BandRange(path=path), "log_mel")


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
