"""A sum of grids: their sizes, what they share, what an octave leaves out."""

from typing import Any

import torch

from irdream.dreaming.batch import Originals
from irdream.dreaming.parametrizations import LogMel, LowResolution, Waveform


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


def test_an_octave_of_a_sound_goes_by_time() -> None:
    low = LowResolution(of=Waveform(), levels=3)
    sound = torch.zeros(1, 100)
    originals = Originals(recognizer=None, log_mel=sound, sound=sound, keys=torch.zeros(1))
    origin = low.start(originals)
    assert low.regrid(origin, low.parameters(origin), (4.0, 2.0)).shape == (1, 25 + 50)


def test_what_a_constraint_takes_is_taken_from_the_coarse_levels_too() -> None:
    low = LowResolution(of=LogMel(), levels=3)
    origin = origin_of(low)
    grown = torch.cat([torch.full((2, 10), 3.0), torch.zeros(2, 200)], dim=1).double()
    absorbed = low.absorb(origin, grown, origin.signal)

    torch.testing.assert_close(low.signal(origin, absorbed), origin.signal)
    assert absorbed.abs().max() < 1e-9
