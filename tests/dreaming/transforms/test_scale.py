"""Scaling about the center: how far, with what at the edges."""

from __future__ import annotations

import pytest
import torch

from irdream.dreaming.random_streams import item_keys
from irdream.dreaming.transforms import Scale
from irdream.errors import InputError

KEYS = item_keys(list(range(300)))


@pytest.mark.parametrize("axis", [1, 2])
def test_a_ramp_shows_the_factor_about_the_center(axis) -> None:
    ramp = torch.linspace(-10.0, 10.0, 21, dtype=torch.float64)
    log_mel = (ramp[:, None] if axis == 1 else ramp).expand(300, 21, 21)
    one, other = {1: ("mels", "frames"), 2: ("frames", "mels")}[axis]
    view = Scale(**{one: (0.5, 2.0), other: (1.0, 1.0)})(log_mel, KEYS, 1)
    rows = view.mean(dim=3 - axis)

    torch.testing.assert_close(rows[:, 10], torch.zeros(300, dtype=torch.float64))
    factors = 1 / rows[:, 11]
    assert 0.5 <= factors.min() < 0.52
    assert 1.97 < factors.max() <= 2.0
    expected = (ramp / factors[:, None]).clamp(-10, 10)  # shrunk: the edges are repeated
    torch.testing.assert_close(rows, expected)


def test_above_one_is_stretched() -> None:
    frames = torch.arange(5.0)[None, None]
    view = Scale(frames=(2.0, 2.0))(frames, item_keys([1]), 0)
    assert view.flatten().tolist() == [1, 1.5, 2, 2.5, 3]


def test_both_axes_have_factors_of_their_own() -> None:
    ramp = torch.linspace(-10.0, 10.0, 21, dtype=torch.float64)
    scale = Scale(mels=(0.9, 1.1), frames=(0.9, 1.1))
    mels = scale(ramp[:, None].expand(300, 21, 21), KEYS, 1)[:, 11, 0]
    frames = scale(ramp.expand(300, 21, 21), KEYS, 1)[:, 0, 11]
    assert abs(torch.corrcoef(torch.stack([mels, frames]))[0, 1]) < 0.15


def test_no_scaling_changes_nothing() -> None:
    log_mel = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(Scale()(log_mel, item_keys([1, 2]), 0), log_mel)


@pytest.mark.parametrize(
    "arguments", [{"mels": (0.0, 1.0)}, {"frames": (1.1, 0.9)}, {"frames": (1.0,)}]
)
def test_factors_out_of_order_are_refused(arguments) -> None:
    with pytest.raises(InputError, match=r"transform.\w+=\[.*\]; expected \[least, most\]"):
        Scale(**arguments)
