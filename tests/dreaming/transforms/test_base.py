"""A chain of views: their order, and random numbers of their own."""

from __future__ import annotations

import torch

from irdream.dreaming.random_streams import item_keys, substream
from irdream.dreaming.transforms import Chain, FrequencyMask, Gain, Jitter


def test_a_chain_applies_its_views_in_their_order() -> None:
    log_mel = torch.randn(3, 8, 9, generator=torch.Generator().manual_seed(1))
    keys = item_keys([1, 2, 3])
    views = Gain(db=6.0), FrequencyMask(bands=4), Jitter(frames=3)

    expected = log_mel
    for i, view in enumerate(views):
        expected = view(expected, substream(keys, i), 5)
    assert torch.equal(Chain(views)(log_mel, keys, 5), expected)
    assert torch.equal(Chain([])(log_mel, keys, 5), log_mel)


def test_two_equal_views_in_a_chain_draw_different_numbers() -> None:
    level = torch.zeros(200, 1, 1, dtype=torch.float64)
    keys = item_keys(list(range(200)))
    first = Chain([Gain(db=1.0)])(level, keys, 0).flatten()
    second = Chain([Gain(db=1.0), Gain(db=1.0)])(level, keys, 0).flatten() - first
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 0.2
