"""What every constraint obeys, on every kind of signal that it can project."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from irdream.dreaming.constraints import (
    BandRange,
    Constraint,
    Constraints,
    FrequencyBand,
    Harmonic,
    LoudnessLock,
    MaskingProjection,
    MaxChange,
    OnlyLoud,
    Percussive,
    RmseBudget,
    SnrFloor,
    TimeRange,
)
from irdream.errors import InputError

CONSTRAINTS = {
    "max_change": MaxChange(db=3.0),
    "rmse_budget": RmseBudget(db=2.0),
    "snr_floor": SnrFloor(db=30.0),
    "band_range": BandRange(least_db=-140.0, most_db=60.0),
    "time_range": TimeRange(end_seconds=0.02),
    "frequency_band": FrequencyBand(low_hz=300.0, high_hz=2500.0),
    "only_loud": OnlyLoud(below_peak_db=30.0),
    "harmonic": Harmonic(frames=5, bands=5),
    "percussive": Percussive(frames=5, bands=3, margin_db=3.0),
    "loudness_lock": LoudnessLock(),
    "masking": MaskingProjection(),
    "masking_as_played": MaskingProjection(margin_db=6.0, rounds=1, full_scale_db=90.0),
}
CASES = [
    pytest.param(constraint, kind, id=f"{name}-{kind}")
    for name, constraint in CONSTRAINTS.items()
    for kind, signal in (
        ("log_mel", "spectrogram"),
        ("gain", "spectrogram"),
        ("band_gain", "spectrogram"),
        ("sound", "sound"),
    )
    if signal in constraint.acts_on
]
each = pytest.mark.parametrize(("constraint", "kind"), CASES)
often = partial(settings, deadline=None)
samples = st.one_of(st.integers(65, 90), st.integers(91, 12_000))  # 1 to 300 frames
seeds = st.integers(0, 2**31)


@each
@often(max_examples=12)
@given(samples=samples, items=st.integers(1, 5), seed=seeds, data=st.data())
def test_an_item_alone_equals_itself_in_any_batch(
    ear, constraint, kind, samples, items, seed, data
) -> None:
    waveform = ear.sounds(items, samples, seed)
    origin = ear.prepared(constraint, kind, waveform)
    signal = ear.changed(origin, seed)
    together = constraint(signal, origin)
    rows = data.draw(st.permutations(range(items)))[: 1 + items // 2]

    left = constraint(signal[rows], {key: value[rows] for key, value in origin.items()})
    alone = constraint(signal[rows[:1]], ear.prepared(constraint, kind, waveform[rows[:1]]))

    assert together.shape == signal.shape
    assert torch.equal(together, constraint(signal, origin))
    torch.testing.assert_close(left, together[rows], atol=1e-9, rtol=0.0)
    torch.testing.assert_close(alone, together[rows[:1]], atol=1e-9, rtol=0.0)


@each
@often(max_examples=12)
@given(samples=samples, seed=seeds, size=st.sampled_from([0.01, 1.0, 10.0]))
def test_what_obeys_is_left_as_it_is(ear, constraint, kind, samples, seed, size) -> None:
    origin = ear.prepared(constraint, kind, ear.sounds(2, samples, seed))
    obeys = constraint(ear.changed(origin, seed, size), origin)

    torch.testing.assert_close(constraint(obeys, origin), obeys, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(
        constraint(origin["signal"], origin), origin["signal"], atol=1e-12, rtol=1e-12
    )


@each
@often(max_examples=10, derandomize=True)
@given(samples=st.integers(65, 900), seed=seeds, size=st.sampled_from([0.01, 1.0]))
def test_gradients_agree_with_finite_differences(
    ear, constraint, kind, samples, seed, size
) -> None:
    origin = ear.prepared(constraint, kind, ear.sounds(1, samples, seed))
    signal = ear.changed(origin, seed, size).requires_grad_()
    generator = torch.Generator().manual_seed(seed)
    weights, direction = torch.randn(2, *signal.shape, generator=generator, dtype=torch.float64)

    def score(signal: torch.Tensor) -> torch.Tensor:
        return (weights * constraint(signal, origin)).sum()

    (gradient,) = torch.autograd.grad(score(signal), signal)
    with torch.no_grad():
        step = 1e-7 * direction
        measured = (score(signal + step) - score(signal - step)) / 2e-7
    assert (gradient * direction).sum().item() == pytest.approx(
        measured.item(), rel=1e-4, abs=1e-5 * gradient.norm().item() + 1e-6
    )


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("change", [0.0, 0.1])
def test_silence_gives_finite_values_and_gradients(ear, constraint, kind, dtype, change) -> None:
    origin = ear.prepared(constraint, kind, torch.zeros(1, 500, dtype=torch.float64))
    origin = {k: v.to(dtype) if v.is_floating_point() else v for k, v in origin.items()}
    signal = (origin["signal"] + change).requires_grad_()

    held = constraint(signal, origin)
    (gradient,) = torch.autograd.grad(held.square().sum(), signal)

    assert held.dtype == dtype
    assert torch.isfinite(held).all()
    assert torch.isfinite(gradient).all()


@each
def test_single_precision_is_near_double(ear, constraint, kind) -> None:
    origin = ear.prepared(constraint, kind, ear.sounds(2, 2000, seed=7))
    signal = ear.changed(origin, 8)
    single = {
        k: v.to(torch.complex64) if v.is_complex() else v.float() if v.is_floating_point() else v
        for k, v in origin.items()
    }
    held = constraint(signal.float(), single)

    assert held.dtype == torch.float32
    torch.testing.assert_close(held.double(), constraint(signal, origin), atol=1e-3, rtol=1e-3)


@each
def test_it_can_be_given_to_the_loop_for_its_kind(ear, kinds, constraint, kind) -> None:
    held_by = Constraints([constraint], [kinds[kind]])
    origin = ear.origin(kind, ear.sounds(2, 900, seed=4))
    origin |= held_by.prepare(ear.recognizer, origin)
    signal = ear.changed(origin, 5)

    held = held_by.project(kinds[kind], signal, origin)

    torch.testing.assert_close(held, constraint(signal, origin))
    assert not torch.equal(held, signal) or isinstance(constraint, BandRange)


def test_two_of_a_kind_do_not_disturb_each_other(ear) -> None:
    pairs: list[list[Constraint]] = [
        [TimeRange(start_seconds=0.02), TimeRange(end_seconds=0.04)],
        [FrequencyBand(low_hz=500.0), FrequencyBand(high_hz=1500.0)],
        [OnlyLoud(below_peak_db=20.0), OnlyLoud(below_peak_db=40.0)],
        [Harmonic(frames=5), Harmonic(frames=9)],
        [BandRange(least_db=-30.0), BandRange(most_db=-20.0)],
        [MaskingProjection(), MaskingProjection(margin_db=3.0)],
    ]
    for pair in pairs:
        both = Constraints(pair, ["spectrogram"])
        origin = ear.origin("log_mel", ear.sounds(2, 900, seed=4))
        alone = [one.prepare(ear.recognizer, origin, "spectrogram") for one in pair]
        together = both.prepare(ear.recognizer, origin)
        assert len(together) == sum(len(prepared) for prepared in alone)


def test_a_constraint_on_sound_cannot_hold_a_log_mel() -> None:
    with pytest.raises(InputError, match="SnrFloor holds sound, and this parametrization dreams"):
        Constraints([SnrFloor(db=30.0)], ["spectrogram"])
