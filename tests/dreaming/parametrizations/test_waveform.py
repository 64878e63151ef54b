"""The waveform as it is: its peak and its unit."""

from __future__ import annotations

import pytest
import torch

from irdream.dreaming.parametrizations import Waveform
from irdream.errors import InputError


def test_it_stays_below_its_peak() -> None:
    start = torch.tensor([[2.0, -2.0, 0.1]])
    dream = Waveform(peak=0.5).signal({"signal": start}, torch.zeros(1, 3))
    assert dream.tolist() == [[0.5, -0.5, pytest.approx(0.1)]]


def test_a_unit_is_a_hundredth_of_the_rms() -> None:
    origin = {"signal": torch.tensor([[3.0, -4.0, 3.0, -4.0], [0.0, 0.0, 0.0, 0.0]])}
    unit = Waveform().unit(origin)
    torch.testing.assert_close(unit[0], torch.tensor([0.125**0.5 / 10]))
    assert unit[1].item() == pytest.approx(1e-5)  # silence can be changed


def test_a_peak_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match=r"parametrization.peak=0; expected a number above 0"):
        Waveform(peak=0)
