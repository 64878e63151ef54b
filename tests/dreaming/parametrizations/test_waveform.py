"""The waveform as it is: its peak and its unit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from irdream.dreaming.batch import Originals
from irdream.dreaming.parametrizations import Waveform
from irdream.errors import InputError
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer


def started(waveform: Waveform, sounds: Tensor) -> Any:
    recognizer = Recognizer(frontend=HanLogMel(), model=nn.Identity())
    originals = Originals(log_mel=sounds, sound=sounds, keys=torch.zeros(len(sounds)))
    return waveform.start(recognizer, originals)


def test_it_stays_below_its_peak() -> None:
    origin = started(Waveform(peak=0.5), torch.tensor([[0.9, -0.9, 0.1]]))
    dream = Waveform(peak=0.5).signal(origin, torch.zeros(1, 3))
    assert dream.tolist() == [[0.5, -0.5, pytest.approx(0.1)]]


def test_sounds_above_full_scale_are_dreamed_as_they_are() -> None:
    sounds = torch.tensor([[900.0, -1200.0, 3.0], [0.9, -0.9, 0.1]])
    origin = started(Waveform(), sounds)
    assert torch.equal(Waveform().signal(origin, torch.zeros(2, 3)), sounds)
    louder = Waveform().signal(origin, torch.tensor([1.0, -1.0])[:, None].expand(2, 3))
    assert louder.tolist() == [[901, -1199, 4], pytest.approx([-0.1, -1, -0.9])]


def test_a_unit_is_a_hundredth_of_the_rms() -> None:
    origin = started(Waveform(), torch.tensor([[3.0, -4.0, 3.0, -4.0], [0.0, 0.0, 0.0, 0.0]]))
    unit = Waveform().unit(origin)
    torch.testing.assert_close(unit[0], torch.tensor([0.125**0.5 / 10]))
    assert unit[1].item() == pytest.approx(1e-5)  # silence can be changed


def test_a_peak_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match=r"parametrization.peak=0; expected a number above 0"):
        Waveform(peak=0)
