"""Phases of fixed magnitudes: which magnitudes, and that they hold whatever is dreamed."""

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch

from irdream.datasets.starts import NoiseStart
from irdream.dreaming.parametrizations import LogMel, Maco, Waveform
from irdream.errors import InputError


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
