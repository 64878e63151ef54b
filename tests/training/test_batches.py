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


def test_an_excerpt_that_is_too_short(make) -> None:
    message = "an excerpt of 10 frames is too short; expected at least one window of 11"
    with pytest.raises(InputError, match=message):
        make(window_frames=11)


def test_no_excerpts(make) -> None:
    with pytest.raises(InputError, match="no excerpts to train on; expected at least one"):
        make(excerpts=[])


def test_no_place_in_a_batch(make) -> None:
    with pytest.raises(InputError, match=r"train.batch_size=0 is too small; expected 1 or more"):
        make(batch_size=0)
