"""Views of another level: how large, and of what."""

from __future__ import annotations

import math

import pytest
import torch

from irdream.dreaming.random_streams import item_keys
from irdream.dreaming.transforms import Gain, Noise
from irdream.errors import InputError

DB = 20.0 / math.log(10.0)


def test_a_gain_is_one_level_for_each_item_in_its_range() -> None:
    log_mel = torch.zeros(500, 3, 4, dtype=torch.float64)
    change = Gain(db=6.0)(log_mel, item_keys(list(range(500))), 2) * DB
    levels = change[:, 0, 0]

    assert torch.equal(change, levels[:, None, None].expand_as(change))
    assert -6 <= levels.min() < -5.9
    assert 5.9 < levels.max() <= 6
    assert abs(levels.mean()) < 0.5


def test_a_gain_of_raw_sound_is_the_same_level() -> None:
    keys = item_keys(list(range(9)))
    plane = Gain(db=6.0)(torch.zeros(9, 1, 1, dtype=torch.float64), keys, 2)[:, :, 0]
    sound = Gain(db=6.0)(torch.full((9, 5), 0.5, dtype=torch.float64), keys, 2)
    torch.testing.assert_close(sound, (0.5 * plane.exp()).expand(-1, 5))


def test_noise_is_normal_with_its_deviation() -> None:
    noise = Noise(db=2.0)(torch.zeros(1, 100, 200, dtype=torch.float64), item_keys([5]), 2) * DB
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 2.0) < 0.05
    assert abs((noise.abs() < 2.0).double().mean() - 0.683) < 0.01


@pytest.mark.parametrize("view", [Gain, Noise])
@pytest.mark.parametrize("db", [-1.0, math.inf, math.nan])
def test_a_level_that_is_none_is_refused(view, db) -> None:
    with pytest.raises(InputError, match=r"transform.db=.*; expected a number of at least 0"):
        view(db=db)
