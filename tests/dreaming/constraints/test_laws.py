"""What every constraint obeys, on every kind of signal; and spectrograms that a sound has."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from irdream.audio.stft import inverse_stft, stft
from irdream.dreaming.constraints import (
    BandRange,
    Consistency,
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
    with_consistency,
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
    for kind, signal in (("log_mel", "spectrogram"), ("gain", "spectrogram"), ("sound", "sound"))
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
    bench, constraint, kind, samples, items, seed, data
) -> None:
    waveform = bench.sounds(items, samples, seed)
    held = bench.held(constraint, kind, waveform)
    signal = held.changed(seed)
    together = held(signal)
    rows = torch.tensor(data.draw(st.permutations(range(items)))[: 1 + items // 2])
    alone = bench.held(constraint, kind, waveform[rows[:1]])

    assert together.shape == signal.shape
    assert torch.equal(together, held(signal))
    torch.testing.assert_close(held.rows(rows)(signal[rows]), together[rows], atol=1e-9, rtol=0)
    torch.testing.assert_close(alone(signal[rows[:1]]), together[rows[:1]], atol=1e-9, rtol=0)


@each
@often(max_examples=12)
@given(samples=samples, seed=seeds, size=st.sampled_from([0.01, 1.0, 10.0]))
def test_what_obeys_is_left_as_it_is(bench, constraint, kind, samples, seed, size) -> None:
    held = bench.held(constraint, kind, bench.sounds(2, samples, seed))
    obeys, undreamed = held(held.changed(seed, size)), held.start.signal

    torch.testing.assert_close(held(obeys), obeys, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(held(undreamed), undreamed, atol=1e-12, rtol=1e-12)


@each
@often(max_examples=10, derandomize=True)
@given(samples=st.integers(65, 900), seed=seeds, size=st.sampled_from([0.01, 1.0]))
def test_gradients_agree_with_finite_differences(
    bench, constraint, kind, samples, seed, size
) -> None:
    held = bench.held(constraint, kind, bench.sounds(1, samples, seed))
    signal = held.changed(seed, size).requires_grad_()
    generator = torch.Generator().manual_seed(seed)
    weights, direction = torch.randn(2, *signal.shape, generator=generator, dtype=torch.float64)

    def score(signal: torch.Tensor) -> torch.Tensor:
        return (weights * held(signal)).sum()

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
def test_silence_gives_finite_values_and_gradients(bench, constraint, kind, dtype, change) -> None:
    held = as_type(bench.held(constraint, kind, torch.zeros(1, 500, dtype=torch.float64)), dtype)
    signal = (held.start.signal + change).requires_grad_()

    obeys = held(signal)
    (gradient,) = torch.autograd.grad(obeys.square().sum(), signal)

    assert obeys.dtype == dtype
    assert torch.isfinite(obeys).all()
    assert torch.isfinite(gradient).all()


@each
def test_single_precision_is_near_double(bench, constraint, kind) -> None:
    held = bench.held(constraint, kind, bench.sounds(2, 2000, seed=7))
    signal = held.changed(8)
    expected = held(signal)
    found = as_type(held, torch.float32)(signal.float())

    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, atol=1e-3, rtol=1e-3)


def as_type(held, dtype: torch.dtype):
    """Change the type of all that a constraint knows."""
    held.prepared = {
        name: value.to(dtype) if torch.is_tensor(value) and value.is_floating_point() else value
        for name, value in held.prepared.items()
    }
    signal = held.start.signal.to(dtype)
    held.start = replace(held.start, sound=None, spectrum=None, signal=signal)
    return held


def test_several_act_in_their_order_each_with_what_it_prepared(bench) -> None:
    pair: list[Constraint] = [TimeRange(start_seconds=0.1), TimeRange(end_seconds=0.2)]
    both = Constraints(pair, ["spectrogram"])
    first, second = (bench.held(one, "log_mel") for one in pair)
    prepared = both.prepare(first.start)
    found = both.project("spectrogram", first.changed(2), first.start, prepared)
    assert torch.equal(found, second(first(first.changed(2))))


def test_one_with_a_period_acts_after_its_steps_alone(bench) -> None:
    every, held = Consistency(every=3), bench.held(MaxChange(db=1.0), "gain")
    signal, start = held.changed(2), held.start
    for constraints, otherwise in (([every], None), ([every, held.constraint], signal)):
        both = Constraints(constraints, ["spectrogram", "sound"])
        args = start, both.prepare(start)
        for step in range(1, 7):
            found = both.after_step("spectrogram", signal, *args, step)
            if step % 3:
                assert found is otherwise
            else:
                expected = bench.held(every, "gain")(signal)
                expected = held(expected) if len(constraints) > 1 else expected
                torch.testing.assert_close(found, expected)
    never = Constraints([Consistency(every=0)], ["spectrogram"])
    assert never.after_step("spectrogram", signal, start, [{}], 1) is None


@pytest.mark.parametrize("constraint", [MaskingProjection(), Consistency(every=1)])
def test_one_that_needs_sound_says_so(bench, constraint) -> None:
    start = bench.start("log_mel", bench.sounds(1, 900, seed=1))
    silent = replace(start, sound=None)
    expected = rf"{type(constraint).__name__} needs the originals' waveforms, and only log-mels"
    with pytest.raises(InputError, match=expected):
        constraint.prepare(silent, "spectrogram")


def test_a_gain_becomes_that_of_its_sound(bench, project) -> None:
    waveform = bench.sounds(2, 4000, seed=1)
    found, asked, held = project(Consistency(every=1), "gain", waveform=waveform, size=0.2)
    spectrum = stft(waveform, bench.frontend) * asked.exp()
    sound = inverse_stft(spectrum, bench.frontend, samples=4000)
    expected = stft(sound, bench.frontend).abs().log() - held.start.spectrum.log()
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, asked, atol=1e-3)


def test_a_log_mel_becomes_that_of_a_sound(bench, project) -> None:
    """Made again of what a sound has, it changes by less than before."""
    found, asked, held = project(Consistency(every=1), "log_mel")
    assert (held(found) - found).square().mean() < 0.5 * (found - asked).square().mean()
    unchanged = held(held.start.log_mel)
    torch.testing.assert_close(unchanged, held.start.log_mel, atol=1e-6, rtol=0)


def test_a_sound_stays(project) -> None:
    found, asked, _ = project(Consistency(every=1), "sound")
    assert found is asked


def test_it_is_put_before_other_constraints() -> None:
    one = MaxChange(db=1.0)
    for one_or_more, others in ((None, []), (one, [one]), ([one, one], [one, one])):
        held: Any = with_consistency(one_or_more, 5)
        first, *rest = held
        assert isinstance(first, Consistency)
        assert (first.every, rest) == (5, others)
        assert with_consistency(one_or_more, 0) is one_or_more
