"""The log-mel as it is: its range, and that it is no sound."""

import math

import pytest
import torch

from irdream.dreaming.parametrizations import Fourier, LogMel
from irdream.dreaming.parametrizations.base import NATURAL_PER_DB
from irdream.errors import InputError


def test_it_stays_in_its_range(start) -> None:
    db = 20.0 / math.log(10.0)
    detail = torch.linspace(-200.0, 50.0, 12).view(1, 3, 4) / db
    chosen = LogMel(range_db=(-60.0, 10.0))
    clipped = chosen.signal(start(chosen, torch.zeros(1, 3, 4)), detail) * db

    torch.testing.assert_close(clipped.min(), torch.tensor(-60.0))
    torch.testing.assert_close(clipped.max(), torch.tensor(10.0))


@pytest.fixture
def start(bench):
    """Start log-mels (items, n_mels, frames) by a parametrization."""
    return lambda log_mel, given: bench.start(log_mel, given)


def test_what_lies_a_little_outside_is_dreamed_as_it_is(start) -> None:
    """Front ends with another floor or a longer transform give more than the default range."""
    given = torch.stack([torch.linspace(a, b, 12).view(3, 4) for a, b in ((-23, 4), (-8, 0))])
    origin = start(LogMel(), given)

    assert torch.equal(LogMel().signal(origin, torch.zeros(2, 3, 4)), given)
    far = LogMel().signal(origin, torch.tensor([99.0, -99.0])[:, None, None].expand(2, 3, 4))
    assert far[0].unique().tolist() == pytest.approx([4.0])
    assert far[1].unique().tolist() == pytest.approx([math.log(1e-5)])


def test_a_range_that_was_chosen_is_kept(start) -> None:
    given = torch.linspace(-11.0, 2.0, 12).view(1, 3, 4)
    chosen = LogMel(range_db=(-60.0, 0.0))
    dream = chosen.signal(start(chosen, given), torch.zeros(1, 3, 4))
    assert dream.min().item() == pytest.approx(-3 * math.log(10), abs=1e-5)
    assert dream.max().item() == pytest.approx(0.0, abs=1e-5)
    wide = LogMel(range_db=(-700.0, 700.0))
    assert torch.equal(wide.signal(start(wide, 7 * given), torch.zeros(1, 3, 4)), 7 * given)


@pytest.mark.parametrize(("least", "most"), [(-80, 0), (0, 80), (0, 50), (-31, -4), (2, 9)])
def test_spectrograms_in_another_unit_are_refused(start, least, most) -> None:
    given = torch.linspace(least, most, 12).view(1, 3, 4)
    for made in (LogMel(), Fourier(of=LogMel()), LogMel(range_db=(-60.0, 10.0))):
        with pytest.raises(InputError, match=rf"log-mels from {least} to {most}; expected the nat"):
            start(made, given)


@pytest.mark.parametrize(
    ("ends", "limits"),
    [
        ((-80, 0), (-88, 8)),
        ((0, 50), (0, 55)),  # a magnitude stays one
        ((-8, -8), (-8 - NATURAL_PER_DB, -8 + NATURAL_PER_DB)),
    ],
)
def test_in_its_own_range_a_unit_is_a_share_of_it(start, ends, limits) -> None:
    """Of each item its own, so that the others do not change it."""
    given = torch.stack([torch.linspace(ends[0], ends[1], 12).view(3, 4), torch.zeros(3, 4)])
    own = LogMel(range_db=None)
    origin = start(own, given)

    assert torch.equal(own.signal(origin, torch.zeros(2, 3, 4)), given)
    for far, limit in zip((-999.0, 999.0), limits, strict=True):
        assert own.signal(origin, torch.full((2, 3, 4), far))[0].unique().tolist() == [
            pytest.approx(limit, abs=1e-5)
        ]
    assert own.unit(origin)[0].item() == pytest.approx((limits[1] - limits[0]) / 120, rel=1e-5)
    assert own.step_unit == "1/120 of its range"


def test_it_is_no_sound(bench) -> None:
    log_mel = LogMel()
    origin = bench.origin(log_mel, bench.sounds(2, 500), [1, 2])
    assert log_mel.waveform(origin, origin.signal) is None
    assert torch.equal(origin.signal, bench.recognizer.log_mel(origin.sound))


def test_a_unit_is_a_decibel(bench) -> None:
    log_mel = LogMel()
    origin = bench.origin(log_mel, bench.sounds(2, 500), [1, 2])
    louder = bench.recognizer.log_mel(origin.sound * 10 ** (1 / 20))
    change = log_mel.parameters(origin) + log_mel.unit(origin)
    torch.testing.assert_close(log_mel.signal(origin, change), louder, rtol=0, atol=1e-2)
