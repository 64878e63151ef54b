from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from irdream.errors import InputError
from irdream.training.batches import WindowBatches

FRAMES = (25, 10, 39)  # 2, 1 and 3 windows


@pytest.fixture
def make(in_memory):
    """Excerpt e has the value 100 e + f in its frame f, and instrument e as its label."""

    def make(excerpts: Sequence[int] = (0, 1, 2), **settings: Any) -> WindowBatches:
        log_mels = [(100 * e + torch.arange(n)).repeat(2, 1) for e, n in enumerate(FRAMES)]
        defaults = {"window_frames": 10, "batch_size": 4, "labels": torch.eye(3)}
        return WindowBatches(
            log_mels=in_memory(log_mels), excerpts=excerpts, **{**defaults, **settings}
        )

    return make


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def first_values(batches: Sequence[tuple[Tensor, Tensor]]) -> list[int]:
    return [int(window[0, 0]) for windows, _ in batches for window in windows]


def test_all_windows_once_in_order(make) -> None:
    batches = list(make().batches())
    assert first_values(batches) == [0, 10, 100, 200, 210, 220]
    assert [windows.shape for windows, _ in batches] == [(4, 2, 10), (2, 2, 10)]
    assert len(make()) == 6


def test_labels_belong_to_their_windows(make) -> None:
    for windows, labels in make().batches(generator(), random_start=True):
        assert labels.argmax(1).tolist() == (windows[:, 0, 0] // 100).tolist()


def test_only_the_excerpts_that_were_asked_for(make) -> None:
    assert first_values(list(make(excerpts=[2, 0]).batches())) == [200, 210, 220, 0, 10]


def test_a_shuffled_epoch_has_every_window_once(make) -> None:
    orders = [first_values(list(make().batches(generator(seed)))) for seed in range(5)]
    assert all(sorted(order) == [0, 10, 100, 200, 210, 220] for order in orders)
    assert len({tuple(order) for order in orders}) > 1


@pytest.mark.parametrize("random_start", [False, True])
def test_the_same_generator_gives_the_same_order(make, random_start: bool) -> None:
    batches = make()
    one, other = (
        first_values(list(batches.batches(generator(7), random_start=random_start)))
        for _ in range(2)
    )
    assert one == other


def test_a_random_start_moves_windows_by_up_to_half_and_within_their_excerpt(make) -> None:
    batches, seen = make(), set()
    for seed in range(100):
        seen.update(first_values(list(batches.batches(generator(seed), random_start=True))))
    assert seen == {*range(16), 100, *range(200, 226)}  # the fixture checks the ends


def test_a_random_start_needs_a_generator(make) -> None:
    assert first_values(list(make().batches(random_start=True))) == [0, 10, 100, 200, 210, 220]


def test_balanced_windows_name_each_instrument_as_often(make) -> None:
    """Of 6 windows 3, 1 and 2 have the labels 2, 1 and 0."""
    batches = make(balanced=True, batch_size=6)
    assert len(batches) == 6
    for seed in range(20):
        [(_, labels)] = batches.batches(generator(seed))
        assert labels.sum(0).tolist() == pytest.approx([2, 2, 2], abs=1)
    drawn = torch.cat([batch[1] for s in range(200) for batch in batches.batches(generator(s))])
    assert drawn.mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.02)
    assert first_values(list(batches.batches())) == [0, 10, 100, 200, 210, 220]  # validation


def test_balanced_windows_with_several_labels_or_none(make) -> None:
    labels = torch.tensor([[1.0, 1, 0], [0, 1, 0], [0, 0, 0]])
    batches = make(balanced=True, labels=labels)
    values = [v for s in range(50) for v in first_values(list(batches.batches(generator(s))))]
    assert len(values) == 300
    assert max(values) < 200  # what has no label has no share


def test_a_window_that_is_drawn_twice_is_moved_twice(make) -> None:
    batches, apart = make(balanced=True, excerpts=[0, 2], batch_size=5), []
    for seed in range(20):
        values = first_values(list(batches.batches(generator(seed), random_start=True)))
        apart.append(len({value for value in values if value < 100}))  # excerpt 0 has 2 windows
    assert max(apart) == 3


def test_an_excerpt_that_is_too_short(make) -> None:
    message = "an excerpt of 10 frames is too short; expected at least one window of 11"
    with pytest.raises(InputError, match=message):
        make(window_frames=11)


def test_no_excerpts(make) -> None:
    with pytest.raises(InputError, match="no excerpts to train on; expected at least one"):
        make(excerpts=[])


@pytest.mark.parametrize(
    ("size", "sizes"), [(1, [1] * 6), (2, [2, 2, 2]), (4, [4, 2]), (5, [6]), (6, [6]), (9, [6])]
)
def test_a_last_window_joins_the_batch_before(make, size, sizes) -> None:
    """No batch norm could be trained on it alone."""
    batches = list(make(batch_size=size).batches())
    assert [len(windows) for windows, _ in batches] == sizes
    assert first_values(batches) == [0, 10, 100, 200, 210, 220]


def test_no_place_in_a_batch(make) -> None:
    with pytest.raises(InputError, match=r"train.batch_size=0 is too small; expected 1 or more"):
        make(batch_size=0)
