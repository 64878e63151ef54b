"""The log-mel as it is: its range, and that it is no sound."""

from __future__ import annotations

import math

import pytest
import torch

from irdream.dreaming.parametrizations import LogMel
from irdream.errors import InputError


def test_it_stays_in_its_range() -> None:
    db = 20.0 / math.log(10.0)
    start = torch.linspace(-200.0, 50.0, 12).view(1, 3, 4) / db
    clipped = LogMel(range_db=(-60.0, 10.0)).signal({"signal": start}, torch.zeros(1, 3, 4)) * db

    torch.testing.assert_close(clipped.min(), torch.tensor(-60.0))
    torch.testing.assert_close(clipped.max(), torch.tensor(10.0))


def test_it_is_no_sound(bench) -> None:
    log_mel = LogMel()
    origin = bench.origin(log_mel, bench.sounds(2, 500), [1, 2])
    assert log_mel.waveform(bench.recognizer, origin, origin["signal"]) is None
    assert torch.equal(origin["signal"], bench.recognizer.log_mel(origin["waveform"]))


def test_a_unit_is_a_decibel(bench) -> None:
    log_mel = LogMel()
    origin = bench.origin(log_mel, bench.sounds(2, 500), [1, 2])
    louder = bench.recognizer.log_mel(origin["waveform"] * 10 ** (1 / 20))
    change = log_mel.parameters(origin) + log_mel.unit(origin)
    torch.testing.assert_close(log_mel.signal(origin, change), louder, rtol=0, atol=1e-2)


@pytest.mark.parametrize("range_db", [(1.0,), (20.0, -100.0)])
def test_a_range_that_is_none_is_refused(range_db) -> None:
    with pytest.raises(InputError, match=r"parametrization.range_db=.*; expected \[least, most\]"):
        LogMel(range_db=range_db)
