"""A shift in frequency: how far, with what at the edges."""

from __future__ import annotations

import pytest
import torch

from irdream.dreaming.random_streams import item_keys
from irdream.dreaming.transforms import FrequencyShift
from irdream.errors import InputError

RAMP = torch.arange(30.0, dtype=torch.float64)[:, None].expand(500, -1, 2)
KEYS = item_keys(list(range(500)))


def test_a_ramp_shows_the_shift_and_the_repeated_edges() -> None:
    view = FrequencyShift(bands=2.5)(RAMP, KEYS, 4)
    shifts = RAMP[:, 15, 0] - view[:, 15, 0]
    assert -2.5 <= shifts.min() < -2.4
    assert 2.4 < shifts.max() <= 2.5

    bands = torch.arange(30.0, dtype=torch.float64)
    expected = (bands - shifts[:, None]).clamp(0, 29)
    torch.testing.assert_close(view[:, :, 0], expected)
    torch.testing.assert_close(view[:, :, 1], expected)


def test_whole_shifts_are_whole_and_equally_likely() -> None:
    view = FrequencyShift(bands=1, whole=True)(RAMP, KEYS, 4)
    shifts, counts = torch.unique(RAMP[:, 15, 0] - view[:, 15, 0], return_counts=True)
    assert shifts.tolist() == [-1, 0, 1]
    assert ((counts - 500 / 3).abs() < 40).all()


def test_no_shift_changes_nothing() -> None:
    log_mel = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(FrequencyShift(bands=0)(log_mel, item_keys([1, 2]), 0), log_mel)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bands": -1}, "transform.bands=-1; expected at least 0"),
        ({"bands": 1.5, "whole": True}, "transform.bands=1.5 with whole=true; expected a whole"),
    ],
)
def test_bad_arguments_are_refused(arguments, message) -> None:
    with pytest.raises(InputError, match=message):
        FrequencyShift(**arguments)
