"""Jitter: a circular shift in time, drawn for each item from its own stream."""

from __future__ import annotations

import torch

from irdream.dreaming.random_streams import item_keys
from irdream.dreaming.transforms import Jitter
from irdream.dreaming.transforms.jitter import roll_frames


def test_roll_equals_torch_roll_item_by_item() -> None:
    log_mel = torch.arange(2 * 3 * 7.0).view(2, 3, 7)
    rolled = roll_frames(log_mel, torch.tensor([2, -3]))

    assert torch.equal(rolled[0], log_mel[0].roll(2, dims=1))
    assert torch.equal(rolled[1], log_mel[1].roll(-3, dims=1))


def test_shifts_stay_in_range_and_reach_its_ends() -> None:
    log_mel = torch.zeros(400, 1, 20)
    log_mel[:, 0, 10] = 1.0
    view = Jitter(frames=3)(log_mel, item_keys(list(range(400))), 0)

    shifts = view.argmax(dim=2)[:, 0] - 10
    assert sorted(set(shifts.tolist())) == [-3, -2, -1, 0, 1, 2, 3]
