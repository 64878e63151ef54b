"""Spectra, phases of fixed magnitudes, sums of grids: what they are, what an octave keeps."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from irdream.datasets.starts import NoiseStart
from irdream.dreaming.batch import Originals
from irdream.dreaming.parametrizations import Fourier, LogMel, LowResolution, Maco, Waveform
from irdream.errors import InputError


def test_weights_fall_with_the_frequency_of_each_axis(bench) -> None:
    origin = bench.origin(Fourier(of=LogMel(), decay=(1.0, 2.0)), bench.sounds(1, 800), [1])
    weights = origin.own["weights"][0, 0]  # 9 bands, 20 frames

    assert weights.shape == (9, 11)
    torch.testing.assert_close(weights[:, 2] / weights[:, 4], torch.full_like(weights[:, 0], 4.0))
    torch.testing.assert_close(weights[1] / weights[3], torch.full_like(weights[0], 3.0))
    assert torch.equal(weights[1], weights[-1])  # f and -f
    torch.testing.assert_close(weights[0], weights[1])  # 0 weighs as 1 / n does


@pytest.mark.parametrize("frames", [19, 20])
def test_without_decay_a_gradient_step_is_the_same_as_without_fourier(bench, frames) -> None:
    plain, fourier = LogMel(), Fourier(of=LogMel(), decay=(0.0, 0.0))
    sounds = bench.sounds(2, 40 * frames)
    generator = torch.Generator().manual_seed(1)
    white = torch.randn(2, 9, frames, generator=generator, dtype=torch.float64)
    changes = []
    for parametrization in (plain, fourier):
        origin = bench.origin(parametrization, sounds, [1, 2])
        start = parametrization.parameters(origin).requires_grad_()
        (gradient,) = torch.autograd.grad(parametrization.signal(origin, start), start, white)
        rms = gradient.flatten(1).square().mean(dim=1).sqrt()
        step = gradient / rms.view(-1, *[1] * (start.ndim - 1)) * parametrization.unit(origin)
        changes.append(parametrization.signal(origin, start + step) - origin.signal)
    torch.testing.assert_close(changes[0], changes[1])


def test_one_coefficient_is_one_wave(bench) -> None:
    fourier = Fourier(of=Waveform())
    origin = bench.origin(fourier, torch.zeros(1, 500, dtype=torch.float64), [1])
    parameters = fourier.parameters(origin)
    parameters[0, 1, 3] = 1e-3  # imaginary part
    wave = fourier.signal(origin, parameters)[0]

    time = torch.arange(500, dtype=torch.float64) / 500
    torch.testing.assert_close(wave / wave.min(), torch.sin(2 * torch.pi * 3 * time), atol=1e-4,
                               rtol=0)  # fmt: skip


@pytest.mark.parametrize("points", [18, 19])
def test_an_octave_has_only_low_frequencies(bench, points) -> None:
    fourier = Fourier(of=LogMel(range_db=(-1000.0, 1000.0)))
    origin = bench.origin(fourier, bench.sounds(1, 40 * points), [1])
    coarse = fourier.regrid(origin, bench.changed(fourier, origin, size=30.0), (1.0, 3.0))
    detail = fourier.signal(origin, coarse) - origin.signal

    power = torch.fft.rfft(detail, dim=2).abs().sum(dim=(0, 1))
    assert coarse.shape == (1, 2, 9, 4)
    assert (power[:4] > 1e-3).all()
    assert (power[4:] < 1e-9).all()


@pytest.mark.parametrize(
    ("made", "shape"),
    [(Fourier(of=Waveform()), (1, 2, 26)), (LowResolution(of=Waveform(), levels=3), (1, 25 + 50))],
    ids=["fourier", "low_resolution"],
)
def test_an_octave_of_a_sound_goes_by_time(made, shape) -> None:
    sound = torch.zeros(1, 100, dtype=torch.float64)
    keys = torch.zeros(1)
    origin = made.start(Originals(recognizer=None, log_mel=sound, sound=sound, keys=keys))
    assert made.regrid(origin, made.parameters(origin), (4.0, 2.0)).shape == shape


class Sounds:
    """A reference of these sounds."""

    def __init__(self, *sounds: torch.Tensor) -> None:
        self.sounds = sounds

    def excerpts(
        self, *, sample_rate_hz: int, min_seconds: float
    ) -> tuple[Sequence[SimpleNamespace], list[str]]:
        return [SimpleNamespace(waveform=sound) for sound in self.sounds], []


WIDE = LogMel(range_db=(-1000.0, 1000.0))


@pytest.mark.parametrize("samples", [760, 800])  # 19 and 20 frames
def test_whatever_the_phases_the_magnitudes_hold(bench, samples) -> None:
    maco = Maco(of=WIDE)
    origin = bench.origin(maco, bench.sounds(3, samples), [1, 2, 3])
    original = torch.fft.rfft2(origin.log_mel)
    for parameters in (maco.parameters(origin), bench.changed(maco, origin, size=9.0)):
        dream = torch.fft.rfft2(maco.signal(origin, parameters))
        torch.testing.assert_close(dream.abs(), original.abs(), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(dream[:, 0, 0], original[:, 0, 0])  # the mean level


def test_a_sound_keeps_the_power_of_each_frequency(bench) -> None:
    maco = Maco(of=Waveform(peak=100.0))
    origin = bench.origin(maco, bench.sounds(2, 501), [1, 2])
    dream = maco.signal(origin, bench.changed(maco, origin))
    expected = torch.fft.rfft(origin.sound).abs()
    torch.testing.assert_close(torch.fft.rfft(dream).abs(), expected, rtol=1e-9, atol=1e-9)


def test_the_range_of_what_is_dreamed_holds(bench) -> None:
    maco = Maco(of=Waveform(peak=0.05))
    origin = bench.origin(maco, bench.sounds(2, 501), [1, 2])
    assert maco.signal(origin, maco.parameters(origin)).abs().max() <= 0.05 + 1e-12


def test_first_phases_are_uniform_and_each_item_has_its_own(bench) -> None:
    maco = Maco(of=Waveform())
    origin = bench.origin(maco, bench.sounds(2, 2001), [1, 2])
    turns = (maco.parameters(origin) / (2 * torch.pi)).view(2, -1)

    counts = torch.histc(turns[0], bins=10, min=0.0, max=1.0)
    assert ((counts - 100).abs() < 40).all()
    assert abs(float(torch.corrcoef(turns)[0, 1])) < 0.1


def test_a_reference_gives_its_mean_whatever_is_dreamed_beside(bench) -> None:
    sounds = [0.1 * torch.ones(400), torch.linspace(-0.5, 0.5, 900)]
    maco = Maco(of=WIDE, reference=Sounds(*sounds))
    origin = bench.origin(maco, bench.sounds(3, 800), [1, 2, 3])

    at_length = torch.stack([sounds[0].repeat(2), sounds[1][:800]]).double()
    expected = torch.fft.rfft2(bench.recognizer.log_mel(at_length))
    dream = torch.fft.rfft2(origin.signal)
    for item in dream:
        torch.testing.assert_close(item.abs(), expected.abs().mean(dim=0), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(item[0, 0], expected[:, 0, 0].mean())


def test_a_start_of_the_data_sets_is_a_reference(bench) -> None:
    maco = Maco(of=Waveform(), reference=NoiseStart(count=2, seconds=0.5))
    origin = bench.origin(maco, bench.sounds(1, 800), [1])
    assert torch.isfinite(origin.signal).all()


def test_a_reference_without_excerpts_is_refused(bench) -> None:
    maco = Maco(of=LogMel(), reference=Sounds())
    with pytest.raises(InputError, match=r"parametrization.reference gave no excerpt; expected"):
        bench.origin(maco, bench.sounds(1, 800), [1])


def test_absorbed_phases_follow_a_constraint_and_keep_the_magnitudes(bench) -> None:
    maco = Maco(of=WIDE)
    origin = bench.origin(maco, bench.sounds(2, 800), [1, 2])
    parameters = maco.parameters(origin)
    free = maco.signal(origin, parameters)
    held = free.roll(2, dims=2)  # the same magnitudes, other phases
    found = maco.signal(origin, maco.absorb(origin, parameters, held))
    torch.testing.assert_close(found, held)


def test_silence_stays_finite(bench) -> None:
    maco = Maco(of=Waveform())
    waveform = torch.zeros(1, 500, dtype=torch.float64)
    origin = bench.start(maco, waveform, waveform)
    at = maco.parameters(origin).requires_grad_()
    (gradient,) = torch.autograd.grad(maco.signal(origin, at).sum(), at)
    assert torch.isfinite(gradient).all()


def origin_of(parametrization, n_mels: int = 8, frames: int = 20) -> Any:
    log_mel = torch.full((2, n_mels, frames), -4.0, dtype=torch.float64)
    return parametrization.start(Originals(recognizer=None, log_mel=log_mel, keys=torch.zeros(2)))


def test_it_has_a_point_for_each_cell_of_each_grid() -> None:
    low = LowResolution(of=LogMel(), levels=3)
    assert low.parameters(origin_of(low)).shape == (2, 2 * 5 + 4 * 10 + 8 * 20)
    shared = LowResolution(of=LogMel(), levels=3, shared=True)
    assert shared.parameters(origin_of(shared)).shape == (2, 2 + 4 + 8 * 20)


def test_equal_grids_add_up() -> None:
    low = LowResolution(of=LogMel(), levels=3)
    origin = origin_of(low)
    signal = low.signal(origin, torch.full_like(low.parameters(origin), 0.5))
    torch.testing.assert_close(signal, origin.signal + 1.5)


def test_shared_levels_are_equal_in_all_frames_and_the_finest_is_free() -> None:
    low = LowResolution(of=LogMel(), levels=3, shared=True)
    origin = origin_of(low)
    generator = torch.Generator().manual_seed(1)
    parameters = torch.randn(2, 6 + 160, generator=generator, dtype=torch.float64)
    coarse, finest = parameters.clone(), parameters[:, 6:].unflatten(1, (8, 20))
    coarse[:, 6:] = 0

    common = low.signal(origin, coarse) - origin.signal
    torch.testing.assert_close(common, common[:, :, :1].expand_as(common))
    assert common.std() > 0.1
    torch.testing.assert_close(low.signal(origin, parameters) - origin.signal, common + finest)


def test_an_octave_leaves_the_finer_levels_out() -> None:
    low = LowResolution(of=LogMel(), levels=3)
    origin = origin_of(low)
    full = torch.arange(2 * 210.0, dtype=torch.float64).view(2, 210)

    assert torch.equal(low.regrid(origin, full, (1.0, 1.0)), full)
    assert torch.equal(low.regrid(origin, full, (1.0, 1.4)), full[:, :50])
    assert torch.equal(low.regrid(origin, full, (2.0, 2.0)), full[:, :50])
    assert torch.equal(low.regrid(origin, full, (2.1, 2.1)), full[:, :10])
    assert torch.equal(low.regrid(origin, full, (9.0, 9.0)), full[:, :10])
    assert low.regrid(origin, full[:, :10], (1.0, 1.0))[:, 10:].abs().sum() == 0


def test_a_shared_level_fits_an_octave_in_time() -> None:
    low = LowResolution(of=LogMel(), levels=3, shared=True)
    origin = origin_of(low)
    full = low.parameters(origin)
    assert low.regrid(origin, full, (1.0, 4.0)).shape == (2, 6)
    assert low.regrid(origin, full, (3.0, 1.0)).shape == (2, 2)


def test_what_a_constraint_takes_is_taken_from_the_coarse_levels_too() -> None:
    low = LowResolution(of=LogMel(), levels=3)
    origin = origin_of(low)
    grown = torch.cat([torch.full((2, 10), 3.0), torch.zeros(2, 200)], dim=1).double()
    absorbed = low.absorb(origin, grown, origin.signal)

    torch.testing.assert_close(low.signal(origin, absorbed), origin.signal)
    assert absorbed.abs().max() < 1e-9
