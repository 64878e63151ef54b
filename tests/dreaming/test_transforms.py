"""Jitter: a circular shift, drawn for each item from its own stream."""

from __future__ import annotations

import torch

from irdream.dreaming.transforms import jitter_shifts, roll_frames


def test_roll_equals_torch_roll_item_by_item() -> None:
    log_mel = torch.arange(2 * 3 * 7.0).view(2, 3, 7)
    rolled = roll_frames(log_mel, torch.tensor([2, -3]))

    assert torch.equal(rolled[0], log_mel[0].roll(2, dims=1))
    assert torch.equal(rolled[1], log_mel[1].roll(-3, dims=1))


def test_shifts_stay_in_range_and_reach_its_ends() -> None:
    shifts = jitter_shifts([1, 2], steps=400, jitter_frames=3)

    assert shifts.shape == (400, 2)
    assert sorted(set(shifts.flatten().tolist())) == [-3, -2, -1, 0, 1, 2, 3]


def test_shifts_do_not_depend_on_the_other_items() -> None:
    together = jitter_shifts([1, 2, 3], steps=9, jitter_frames=8)

    assert torch.equal(jitter_shifts([3], steps=9, jitter_frames=8)[:, 0], together[:, 2])
    assert not torch.equal(together[:, 0], together[:, 1])
