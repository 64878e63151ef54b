"""What holds for every view, for log-mels of any size, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from irdream.dreaming.random_streams import item_keys
from irdream.dreaming.transforms import (
    Chain,
    FrequencyMask,
    FrequencyShift,
    Gain,
    Jitter,
    Noise,
    Scale,
    TimeMask,
    Transform,
)
from irdream.errors import InputError

MADE: dict[str, Callable[[], Transform]] = {
    "jitter": lambda: Jitter(frames=5),
    "frequency_shift": lambda: FrequencyShift(bands=2.5),
    "frequency_shift_whole": lambda: FrequencyShift(bands=3, whole=True),
    "gain": lambda: Gain(db=6.0),
    "noise": lambda: Noise(db=2.0),
    "time_mask": lambda: TimeMask(frames=9, count=2),
    "frequency_mask": lambda: FrequencyMask(bands=4, count=3),
    "scale": lambda: Scale(mels=(0.9, 1.1), frames=(0.5, 2.0)),
}
MADE["chain"] = lambda: Chain([made() for name, made in MADE.items() if name != "chain"])

names = pytest.mark.parametrize("name", list(MADE))
sizes = st.tuples(st.integers(1, 20), st.integers(1, 300))
steps = st.integers(0, 1000)
examples = settings(max_examples=20, deadline=None)


def log_mels(items: int, size: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(size[0] * size[1])
    return torch.randn(items, *size, generator=generator, dtype=torch.float64) - 4


@names
@examples
@given(size=sizes, step=steps, rows=st.permutations([0, 1, 2]))
def test_an_item_does_not_depend_on_the_batch(name, size, step, rows) -> None:
    transform, log_mel, keys = MADE[name](), log_mels(3, size), item_keys([7, 8, 9])
    together = transform(log_mel, keys, step)
    assert together.shape == log_mel.shape
    assert torch.isfinite(together).all()

    for at in (rows, rows[:1]):
        found = transform(log_mel[at], keys[at], step)
        torch.testing.assert_close(found, together[at], rtol=0, atol=1e-9)
    assert torch.equal(transform(log_mel, keys, step), together)


@names
@examples
@given(size=sizes, step=steps)
def test_gradients_agree_with_finite_differences(name, size, step) -> None:
    transform, keys = MADE[name](), item_keys([7, 8])
    at = log_mels(2, size).requires_grad_()
    generator = torch.Generator().manual_seed(step)
    weight, direction = torch.randn(2, 2, *size, generator=generator, dtype=torch.float64)

    def score(log_mel: Tensor) -> Tensor:
        return (weight * transform(log_mel, keys, step)).sum()

    (gradient,) = torch.autograd.grad(score(at), at)
    e = 1e-4
    with torch.no_grad():
        difference = (score(at + e * direction) - score(at - e * direction)) / (2 * e)
    torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-6, atol=1e-6)


@names
def test_other_steps_and_other_items_see_something_else(name) -> None:
    transform, log_mel = MADE[name](), log_mels(1, (20, 40)).expand(30, -1, -1)
    keys = item_keys(list(range(30)))
    views = torch.cat([transform(log_mel, keys, step) for step in (0, 1)]).flatten(1)
    assert len({tuple(view) for view in views.tolist()}) >= 6  # of a shift by 3 there are 7
    assert not torch.equal(views[:30], views[30:])


@names
def test_single_precision_stays_single(name) -> None:
    view = MADE[name]()(log_mels(2, (9, 12)).float(), item_keys([1, 2]), 3)
    assert view.dtype == torch.float32


@pytest.mark.parametrize(
    "name",
    ["frequency_shift", "noise", "time_mask", "frequency_mask", "scale"],
)
def test_what_needs_bands_and_frames_refuses_raw_sound(name) -> None:
    with pytest.raises(InputError, match=r"transform \w+ got a shape of \(2, 100\); expected"):
        MADE[name]()(torch.zeros(2, 100), item_keys([1, 2]), 0)
