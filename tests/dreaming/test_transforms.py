"""Random views: what holds for every one, for log-mels of any size, and what each one does."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from irdream.dreaming.random_streams import item_keys, substream
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

DB = 20.0 / math.log(10.0)
KEYS = item_keys(list(range(600)))
LOG_MEL = torch.randn(600, 12, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

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


@pytest.mark.parametrize(
    "name", ["frequency_shift", "noise", "time_mask", "frequency_mask", "scale"]
)
def test_what_needs_bands_and_frames_refuses_raw_sound(name) -> None:
    with pytest.raises(InputError, match=r"transform \w+ got a shape of \(2, 100\); expected"):
        MADE[name]()(torch.zeros(2, 100), item_keys([1, 2]), 0)


# A chain


def test_a_chain_views_raw_sound_by_what_can() -> None:
    sound, keys = torch.randn(2, 100, generator=torch.Generator().manual_seed(1)), KEYS[:2]
    views = Scale(frames=(0.5, 2.0)), Gain(db=6.0), Chain([TimeMask(frames=5), Jitter(frames=3)])
    expected = views[1](sound, substream(keys, 1), 5)
    expected = views[2](expected, substream(keys, 2), 5)
    assert torch.equal(Chain(views)(sound, keys, 5), expected)
    assert not torch.equal(expected, sound)


def test_a_chain_applies_its_views_in_their_order() -> None:
    log_mel = torch.randn(3, 8, 9, generator=torch.Generator().manual_seed(1))
    keys = item_keys([1, 2, 3])
    views = Gain(db=6.0), FrequencyMask(bands=4), Jitter(frames=3)

    expected = log_mel
    for i, view in enumerate(views):
        expected = view(expected, substream(keys, i), 5)
    assert torch.equal(Chain(views)(log_mel, keys, 5), expected)


def test_two_equal_views_in_a_chain_draw_different_numbers() -> None:
    level = torch.zeros(200, 1, 1, dtype=torch.float64)
    keys = item_keys(list(range(200)))
    first = Chain([Gain(db=1.0)])(level, keys, 0).flatten()
    second = Chain([Gain(db=1.0), Gain(db=1.0)])(level, keys, 0).flatten() - first
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 0.2


# Jitter


def test_each_item_is_rolled_within_the_range_up_to_its_ends() -> None:
    ramp = torch.arange(3 * 20.0).view(3, 20)
    view = Jitter(frames=3)(ramp.expand(600, 3, 20), KEYS, 0)
    shifts = [-int(item[0, 0]) for item in view]
    assert {shift % 20 for shift in shifts} == {0, 1, 2, 3, 17, 18, 19}
    for item, shift in zip(view, shifts, strict=True):
        assert torch.equal(item, ramp.roll(shift, dims=1))


# Frequency shift


def test_a_ramp_shows_the_shift_and_the_repeated_edges() -> None:
    bands = torch.arange(30.0, dtype=torch.float64)
    view = FrequencyShift(bands=2.5)(bands[:, None].expand(600, -1, 2), KEYS, 4)
    shifts = 15 - view[:, 15, 0]
    assert -2.5 <= shifts.min() < -2.4
    assert 2.4 < shifts.max() <= 2.5

    expected = (bands - shifts[:, None]).clamp(0, 29)
    torch.testing.assert_close(view[:, :, 0], expected)
    torch.testing.assert_close(view[:, :, 1], expected)


def test_whole_shifts_are_whole_and_equally_likely() -> None:
    ramp = torch.arange(30.0)[:, None].expand(600, -1, 1)
    view = FrequencyShift(bands=1, whole=True)(ramp, KEYS, 4)
    shifts, counts = torch.unique(15 - view[:, 15, 0], return_counts=True)
    assert shifts.tolist() == [-1, 0, 1]
    assert ((counts - 200).abs() < 40).all()


# Scale


@pytest.mark.parametrize("axis", [1, 2])
def test_a_ramp_shows_the_factor_about_the_center(axis) -> None:
    ramp = torch.linspace(-10.0, 10.0, 21, dtype=torch.float64)
    log_mel = (ramp[:, None] if axis == 1 else ramp).expand(600, 21, 21)
    one, other = {1: ("mels", "frames"), 2: ("frames", "mels")}[axis]
    view = Scale(**{one: (0.5, 2.0), other: (1.0, 1.0)})(log_mel, KEYS, 1)
    rows = view.mean(dim=3 - axis)

    torch.testing.assert_close(rows[:, 10], torch.zeros(600, dtype=torch.float64))
    factors = 1 / rows[:, 11]
    assert 0.5 <= factors.min() < 0.52
    assert 1.97 < factors.max() <= 2.0
    expected = (ramp / factors[:, None]).clamp(-10, 10)  # shrunk: the edges are repeated
    torch.testing.assert_close(rows, expected)


NOTHING = [Scale(), FrequencyShift(bands=0), Chain([]), TimeMask(frames=5, count=0), Noise(db=0)]


@pytest.mark.parametrize("transform", NOTHING, ids=lambda view: type(view).__name__)
def test_a_view_of_size_zero_changes_nothing(transform) -> None:
    assert torch.equal(transform(LOG_MEL, KEYS, 3), LOG_MEL)


# Level


def test_a_gain_is_one_level_for_each_item_in_its_range() -> None:
    log_mel = torch.zeros(600, 3, 4, dtype=torch.float64)
    change = Gain(db=6.0)(log_mel, KEYS, 2) * DB
    levels = change[:, 0, 0]

    assert torch.equal(change, levels[:, None, None].expand_as(change))
    assert -6 <= levels.min() < -5.9
    assert 5.9 < levels.max() <= 6
    assert abs(levels.mean()) < 0.5


def test_noise_is_normal_with_its_deviation() -> None:
    noise = Noise(db=2.0)(torch.zeros(1, 100, 200, dtype=torch.float64), item_keys([5]), 2) * DB
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 2.0) < 0.05
    assert abs((noise.abs() < 2.0).double().mean() - 0.683) < 0.01


# Mask


@pytest.mark.parametrize(("view", "axis"), [(TimeMask(frames=5), 2), (FrequencyMask(bands=5), 1)])
def test_what_is_masked_becomes_the_mean_along_the_axis(view, axis) -> None:
    found = view(LOG_MEL, KEYS, 3)
    changed = found != LOG_MEL
    assert torch.equal(changed, changed.select(3 - axis, 0).unsqueeze(3 - axis).expand_as(changed))
    means = LOG_MEL.mean(dim=axis, keepdim=True).expand_as(LOG_MEL)
    assert torch.equal(found[changed], means[changed])


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


def test_a_mask_wider_than_the_excerpt_masks_at_most_all_of_it() -> None:
    short = LOG_MEL[:, :, :2]
    masked = (TimeMask(frames=50)(short, KEYS, 3) != short)[:, 0]
    assert sorted(set(masked.sum(dim=1).tolist())) == [0, 1, 2]


# What is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Jitter(frames=-1), "frames=-1; expected a whole number, at least 0"),
        (lambda: FrequencyShift(bands=-1), "bands=-1; expected a number, at least 0"),
        (lambda: FrequencyShift(bands=1.5, whole=True), "=1.5 with whole=true; expected a whole"),
        (lambda: Scale(mels=(0.0, 1.0)), r"mels=\[0.0, 1.0\]; expected \[least, most\] above 0"),
        (lambda: Scale(frames=(1.1, 0.9)), r"frames=\[1.1, 0.9\]; expected \[least, most\]"),
        (lambda: Scale(frames=(1.0,)), r"frames=\[1.0\]; expected \[least, most\] above 0"),
        (lambda: Gain(db=-1.0), "db=-1.0; expected a number, at least 0"),
        (lambda: Noise(db=math.inf), "db=inf; expected a number, at least 0"),
        (lambda: Noise(db=math.nan), "db=nan; expected a number, at least 0"),
        (lambda: TimeMask(frames=-1), "frames=-1; expected a whole number, at least 0"),
        (lambda: TimeMask(frames=3, count=-2), "count=-2; expected a whole number, at least 0"),
        (lambda: FrequencyMask(bands=1.5), "bands=1.5; expected a whole number, at least 0"),  # type: ignore[arg-type]
    ],
)
def test_settings_that_make_no_sense(make, message) -> None:
    with pytest.raises(InputError, match=message):
        make()
