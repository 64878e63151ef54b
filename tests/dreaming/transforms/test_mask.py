"""Masks: how wide, where, and what stands in the masked place."""

from __future__ import annotations

import pytest
import torch

from irdream.dreaming.random_streams import item_keys
from irdream.dreaming.transforms import FrequencyMask, TimeMask
from irdream.errors import InputError

LOG_MEL = torch.randn(600, 12, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
KEYS = item_keys(list(range(600)))


def test_time_is_masked_by_the_mean_of_each_band() -> None:
    view = TimeMask(frames=5)(LOG_MEL, KEYS, 3)
    changed = view != LOG_MEL
    assert torch.equal(changed, changed[:, :1].expand_as(changed))  # all bands alike
    means = LOG_MEL.mean(dim=2, keepdim=True).expand_as(LOG_MEL)
    assert torch.equal(view[changed], means[changed])


def test_frequency_is_masked_by_the_mean_of_each_frame() -> None:
    view = FrequencyMask(bands=5)(LOG_MEL, KEYS, 3)
    changed = view != LOG_MEL
    assert torch.equal(changed, changed[:, :, :1].expand_as(changed))
    means = LOG_MEL.mean(dim=1, keepdim=True).expand_as(LOG_MEL)
    assert torch.equal(view[changed], means[changed])


def test_widths_are_equally_likely_and_every_frame_can_be_masked() -> None:
    masked = (TimeMask(frames=5)(LOG_MEL, KEYS, 3) != LOG_MEL)[:, 0]
    widths, counts = torch.unique(masked.sum(dim=1), return_counts=True)
    assert widths.tolist() == [0, 1, 2, 3, 4, 5]
    assert ((counts - 100).abs() < 40).all()
    assert masked.any(dim=0).all()
    edges = masked.long().diff(dim=1, prepend=torch.zeros(600, 1, dtype=torch.long))
    assert ((edges == 1).sum(dim=1) <= 1).all()  # one stretch


def test_some_stretches_mask_more_than_one() -> None:
    one, four = (
        (TimeMask(frames=5, count=count)(LOG_MEL, KEYS, 3) != LOG_MEL).double().mean()
        for count in (1, 4)
    )
    assert 3 * one < four < 4 * one
    assert torch.equal(TimeMask(frames=5, count=0)(LOG_MEL, KEYS, 3), LOG_MEL)


def test_a_mask_wider_than_the_excerpt_masks_at_most_all_of_it() -> None:
    short = LOG_MEL[:, :, :2]
    masked = (TimeMask(frames=50)(short, KEYS, 3) != short)[:, 0]
    assert sorted(set(masked.sum(dim=1).tolist())) == [0, 1, 2]


@pytest.mark.parametrize(
    ("view", "arguments", "message"),
    [
        (TimeMask, {"frames": -1}, "transform.frames=-1; expected a whole number"),
        (TimeMask, {"frames": 3, "count": -2}, "transform.count=-2; expected a whole number"),
        (FrequencyMask, {"bands": 1.5}, "transform.bands=1.5; expected a whole number"),
    ],
)
def test_bad_arguments_are_refused(view, arguments, message) -> None:
    with pytest.raises(InputError, match=message):
        view(**arguments)
