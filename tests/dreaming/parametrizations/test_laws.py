"""What holds for every parametrization, for random lengths and sizes, in float64."""

import math
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from irdream.dreaming.batch import Start, rows_of
from irdream.dreaming.parametrizations import (
    Fourier,
    LogMel,
    LowResolution,
    Maco,
    StftGain,
    Waveform,
)
from irdream.errors import InputError

lengths = st.integers(400, 1200)  # 0.2 to 0.6 s: 10 to 30 frames, not always a whole number
bands = st.integers(1, 20)
frames = st.integers(1, 300)
factors = st.floats(1.0, 4.0)


def examples(count: int):
    """Settings for hypothesis; the fixtures hold nothing that an example changes."""
    unchanged = [HealthCheck.function_scoped_fixture]
    return settings(max_examples=count, deadline=None, suppress_health_check=unchanged)


@examples(8)
@given(samples=lengths, rows=st.permutations([0, 1, 2]))
def test_an_item_does_not_depend_on_the_batch(bench, parametrization, samples, rows) -> None:
    sounds = bench.sounds(3, samples)
    together = bench.origin(parametrization, sounds, [5, 6, 7])
    parameters = bench.changed(parametrization, together)
    expected = [*bench.forward(parametrization, together, parameters)]
    expected += [parametrization.unit(together), together.signal]

    moved = rows_of(together, torch.tensor(rows))
    alone = bench.origin(parametrization, sounds[rows[:1]], [5 + rows[0]])
    for origin, at in ((moved, rows), (alone, rows[:1])):
        found = [*bench.forward(parametrization, origin, parameters[at])]
        found += [parametrization.unit(origin), origin.signal]
        for one, other in zip(found, expected, strict=True):
            if one is not None:
                torch.testing.assert_close(one, other[at], rtol=0, atol=1e-9)


@examples(5)
@given(samples=lengths, coarser=st.tuples(factors, factors))
def test_every_tensor_has_an_axis_of_items_and_the_type_of_the_sound(
    bench, parametrization, samples, coarser
) -> None:
    origin = bench.origin(parametrization, bench.sounds(2, samples), [1, 2])
    assert_has_items(origin, 2)

    parameters = parametrization.parameters(origin)
    coarse = parametrization.regrid(origin, parameters, coarser)
    unit = parametrization.unit(origin)
    assert unit.shape == (2, *[1] * (parameters.ndim - 1))
    for found in (parameters, coarse, unit, *bench.forward(parametrization, origin, coarse)):
        assert found is None or found.dtype == torch.float64


def assert_has_items(start: Start, count: int) -> None:
    for value in (*vars(start).values(), *start.own.values()):
        if isinstance(value, Start):
            assert_has_items(value, count)
        assert not isinstance(value, torch.Tensor) or len(value) == count


def test_single_precision_stays_single(bench, parametrization) -> None:
    bench.recognizer.float()
    try:
        origin = bench.origin(parametrization, bench.sounds(2, 500).float(), [1, 2])
        parameters = parametrization.parameters(origin)
        outputs = bench.forward(parametrization, origin, parameters)
        absorbed = parametrization.absorb(origin, parameters, outputs[0])
        for found in (parameters, absorbed, parametrization.unit(origin), *outputs):
            assert found is None or found.dtype == torch.float32
    finally:
        bench.recognizer.double()


@examples(8)
@given(samples=lengths)
def test_undreamed_parameters_give_the_original(bench, additive, samples) -> None:
    origin = bench.origin(additive, bench.sounds(2, samples), [1, 2])
    signal, sound, log_mel = bench.forward(additive, origin, additive.parameters(origin))

    torch.testing.assert_close(signal, origin.signal, rtol=0, atol=1e-12)
    torch.testing.assert_close(log_mel, origin.log_mel, rtol=0, atol=1e-9)
    if sound is not None:
        torch.testing.assert_close(sound, origin.sound, rtol=0, atol=1e-12)


@examples(8)
@given(samples=lengths)
def test_what_is_sound_has_the_log_mel_of_that_sound(bench, parametrization, samples) -> None:
    origin = bench.origin(parametrization, bench.sounds(2, samples), [1, 2])
    parameters = bench.changed(parametrization, origin)
    signal, sound, log_mel = bench.forward(parametrization, origin, parameters)

    if sound is None:
        assert torch.equal(log_mel, signal)
    else:
        assert sound.shape == origin.sound.shape
        assert torch.equal(log_mel, bench.recognizer.log_mel(sound))


@examples(8)
@given(samples=lengths, seed=st.integers(0, 9))
def test_gradients_agree_with_finite_differences(bench, parametrization, samples, seed) -> None:
    origin = bench.origin(parametrization, bench.sounds(2, samples), [seed, 20 + seed])
    at = bench.changed(parametrization, origin).requires_grad_()
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(at.shape, generator=generator, dtype=torch.float64)
    direction = direction * parametrization.unit(origin)
    weight = torch.randn(origin.log_mel.shape, generator=generator, dtype=torch.float64)

    def score(parameters: torch.Tensor) -> torch.Tensor:
        return (weight * bench.forward(parametrization, origin, parameters)[2]).sum()

    (gradient,) = torch.autograd.grad(score(at), at)
    e = 1e-5
    with torch.no_grad():
        difference = (score(at + e * direction) - score(at - e * direction)) / (2 * e)
    torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-5, atol=1e-6)


@examples(8)
@given(samples=lengths, share=st.floats(0.0, 1.0))
def test_absorbed_parameters_have_the_constrained_signal(bench, additive, samples, share) -> None:
    origin = bench.origin(additive, bench.sounds(2, samples), [3, 4])
    parameters = bench.changed(additive, origin)
    free = additive.signal(origin, parameters)
    held = origin.signal + share * (free - origin.signal)

    absorbed = additive.absorb(origin, parameters, held)
    torch.testing.assert_close(additive.signal(origin, absorbed), held, rtol=0, atol=1e-9)


def test_what_wraps_another_can_be_held_as_it(bench, parametrization) -> None:
    of = getattr(parametrization, "of", parametrization)
    assert parametrization.kinds == of.kinds
    origin = bench.origin(parametrization, bench.sounds(2, 500), [1, 2])
    assert origin.spectrum is origin.own.get("of", origin).spectrum


@examples(15)
@given(n_mels=bands, n_frames=frames, coarser=st.tuples(factors, factors))
def test_log_mels_of_any_size_can_be_dreamed(bench, on_log_mels, n_mels, n_frames, coarser) -> None:
    generator = torch.Generator().manual_seed(n_mels + n_frames)
    log_mel = torch.randn(2, n_mels, n_frames, generator=generator, dtype=torch.float64) - 4
    origin = bench.start(on_log_mels, log_mel, log_mel.flatten(1), [1, 2])
    check_octaves(bench, on_log_mels, origin, coarser)


@examples(15)
@given(samples=frames, coarser=st.tuples(factors, factors))
def test_sounds_of_any_length_can_be_dreamed(bench, on_sound, samples, coarser) -> None:
    waveform = bench.sounds(2, samples)
    origin = bench.start(on_sound, waveform[:, None], waveform, [1, 2])
    check_octaves(bench, on_sound, origin, coarser)


def check_octaves(bench, parametrization, origin, coarser) -> None:
    """Go to an octave and up again: shapes are kept, all is finite, absorbing fits the octave."""
    parameters = bench.changed(parametrization, origin)
    shape = origin.signal.shape
    coarse = parametrization.regrid(origin, parameters, coarser)
    fine = parametrization.regrid(origin, coarse, (1.0, 1.0))
    for at in (parameters, coarse, fine):
        signal = parametrization.signal(origin, at)
        assert signal.shape == shape
        assert torch.isfinite(signal).all()
        assert parametrization.absorb(origin, at, signal).shape == at.shape
    assert coarse.shape[0] == 2
    if min(shape[1:]) > 1:  # what is interpolated has at least two points
        assert fine.shape == parameters.shape
        assert coarse.numel() <= parameters.numel()


@pytest.mark.parametrize("name", ["fourier", "low_resolution", "fourier_waveform"])
def test_a_finer_octave_begins_where_the_coarser_one_ended(bench, name) -> None:
    parametrization = bench.made[name]()
    origin = bench.origin(parametrization, bench.sounds(2, 800), [1, 2])
    full = bench.changed(parametrization, origin)
    coarse = parametrization.regrid(origin, full, (2.1, 2.1))
    finer = parametrization.regrid(origin, coarse, (1.4, 1.4))

    assert coarse.numel() < finer.numel() < full.numel()
    torch.testing.assert_close(
        parametrization.signal(origin, coarse), parametrization.signal(origin, finer)
    )


@pytest.mark.parametrize(
    "name",
    ["log_mel", "stft_gain", "fourier", "fourier_stft_gain", "low_resolution", "waveform",
     "low_resolution_shared", "fourier_waveform", "low_resolution_waveform"],
)  # fmt: skip
def test_a_step_along_a_white_gradient_is_one_unit_of_the_signal(bench, name) -> None:
    parametrization = bench.made[name]()
    origin = bench.origin(parametrization, bench.sounds(8, 2000), list(range(8)))
    start = parametrization.parameters(origin).requires_grad_()
    generator = torch.Generator().manual_seed(1)
    signal = parametrization.signal(origin, start)
    white = torch.randn(signal.shape, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(signal, start, white)

    def rms(values: torch.Tensor) -> torch.Tensor:
        return values.flatten(1).square().mean(dim=1).sqrt()

    size = rms(gradient).view(-1, *[1] * (start.ndim - 1))
    step = 1e-3 * parametrization.unit(origin) * gradient / size
    of = getattr(parametrization, "of", parametrization)
    change = rms(parametrization.signal(origin, start + step) - signal) / 1e-3
    steps = change / of.unit(origin.own.get("of", origin)).flatten()
    assert 0.7 < steps.mean() < 1.4


def any_value(value: Any) -> Any:
    """As a yaml gives it."""
    return value


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LogMel(range_db=(1.0,)), r"range_db=\[1.0\]; expected \[least, most\] in dB"),
        (lambda: LogMel(range_db=(20.0, -100.0)), r"range_db=\[20.0, -100.0\]; expected \[least"),
        (lambda: Waveform(peak=0), "peak=0; expected a number above 0"),
        (lambda: StftGain(max_gain_db=0), "max_gain_db=0; expected a number above 0"),
        (lambda: Fourier(of=LogMel(), decay=(1.0,)), r"decay=\[1.0\]; expected two numbers"),
        (lambda: Fourier(of=LogMel(), decay=(1.0, -0.5)), r"decay=\[1.0, -0.5\]; expected two"),
        (lambda: Fourier(of=LogMel(), decay=(math.inf, 1)), r"decay=\[inf, 1\]; expected two numb"),
        (lambda: Fourier(of=any_value("log_mel")), "of='log_mel'; expected an object: LogMel, Wav"),
        (lambda: Fourier(of=any_value(Maco(of=LogMel()))), "of=Maco; expected an object: LogMel, "),
        (lambda: LowResolution(of=any_value(None)), "of=None; expected an object"),
        (lambda: LowResolution(of=LogMel(), levels=0), "levels=0; expected a whole number, at lea"),
        (lambda: LowResolution(of=LogMel(), ratio=1.0), "ratio=1.0; expected a number above 1"),
        (lambda: LowResolution(of=Waveform(), shared=True), "shared=true with Waveform; expected"),
        (lambda: Maco(of=StftGain()), "of=StftGain; expected an object: LogMel or Waveform"),
    ],
)
def test_settings_that_make_no_sense(make, message) -> None:
    with pytest.raises(InputError, match=message):
        make()
