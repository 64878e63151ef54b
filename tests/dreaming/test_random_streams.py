"""Random numbers of an item: what they are, that they are uniform, and whose they are."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from irdream.dreaming import random_streams
from irdream.dreaming.random_streams import item_keys, normal, substream, uniform

WORD = 2**64
seeds = st.integers(0, 2**63 - 1)
steps = st.integers(0, 10**6)
examples = settings(max_examples=20, deadline=None)


def mixed(word: int) -> int:
    """The finalizer of SplitMix64 on Python's integers."""
    word %= WORD
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % WORD
    word = (word ^ word >> 27) * 0x94D049BB133111EB % WORD
    return word ^ word >> 31


def correlation(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


def test_the_reference_is_splitmix64() -> None:
    # The first numbers of the generator from seed 0, as published with it.
    gamma = 0x9E3779B97F4A7C15
    assert [mixed(i * gamma) for i in (1, 2)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


@examples
@given(seed=seeds, step=steps, stream=st.integers(0, 2**40))
def test_every_number_is_a_hash_of_key_stream_step_and_place(seed, step, stream) -> None:
    key = mixed(seed * 0x9E3779B97F4A7C15 + (stream + 1) * 0xD1342543DE82EF95)
    start = mixed(key * 0x9E3779B97F4A7C15 + (step + 1) * 0xA0761D6478BD642F)
    expected = [(mixed(start + i * 0xE7037ED1A0B428DB) >> 11) / 2**53 for i in range(6)]

    drawn = uniform(substream(item_keys([seed]), stream), step, 2, 3)
    assert drawn.shape == (1, 2, 3)
    assert drawn.flatten().tolist() == expected


@examples
@given(first=seeds, second=seeds, step=steps, count=st.integers(1, 50))
def test_an_item_does_not_depend_on_the_batch(first, second, step, count) -> None:
    keys = item_keys([first, second])
    together = uniform(keys, step, count)
    assert torch.equal(uniform(keys[1:], step, count), together[1:])
    assert torch.equal(uniform(keys.flip(0), step, count), together.flip(0))
    assert torch.equal(uniform(keys, step, count), together)
    assert torch.equal(normal(keys[:1], step, count), normal(keys, step, count)[:1])


SEVEN = item_keys([7])
DRAWN = {
    "item": lambda: uniform(item_keys(list(range(20_000))), 3, 1),
    "step": lambda: torch.cat([uniform(SEVEN, step, 10) for step in range(2_000)]),
    "place": lambda: uniform(SEVEN, 3, 20_000),
    "stream": lambda: torch.cat([uniform(substream(SEVEN, i), 3, 10) for i in range(2_000)]),
}


@pytest.mark.parametrize("drawn", DRAWN.values(), ids=DRAWN)
def test_numbers_are_uniform_along_every_axis(drawn) -> None:
    numbers = drawn().flatten()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = torch.histc(numbers, bins=50, min=0.0, max=1.0)
    expected = len(numbers) / 50
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert 23 < chi_square < 86  # 49 degrees of freedom: 0.1 % on either side
    lowest_bits = (numbers * 2**53).long() & 255
    counts = torch.bincount(lowest_bits, minlength=256).double()
    expected = len(numbers) / 256
    assert 190 < float(((counts - expected) ** 2 / expected).sum()) < 330  # 255 degrees
    assert abs(correlation(numbers[:-1], numbers[1:])) < 0.03
    assert numbers.unique().numel() == len(numbers)


PAIRS = [
    ((1, 0, 0), (2, 0, 0)), ((1, 0, 0), (1, 1, 0)), ((1, 0, 0), (1, 0, 1)), ((0, 0, 0), (1, 0, 0)),
    ((1, 2, 0), (2, 1, 0)), ((2**62, 0, 0), (2**61, 0, 0)), ((1, 0, 5), (1, 5, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=str)
def test_items_steps_and_streams_are_independent(one, other) -> None:
    def drawn(seed: int, step: int, stream: int) -> Tensor:
        return uniform(substream(item_keys([seed]), stream), step, 20_000)

    a, b = drawn(*one), drawn(*other)
    assert abs(correlation(a, b)) < 0.03
    assert abs(correlation(a, b.roll(1))) < 0.03
    assert abs(correlation((a - 0.5).abs(), (b - 0.5).abs())) < 0.03
    assert not set(a.flatten().tolist()) & set(b.flatten().tolist())


def test_normal_numbers_are_normal() -> None:
    numbers = normal(item_keys(list(range(20))), 4, 40, 25)
    assert numbers.shape == (20, 40, 25)
    values = numbers.flatten().sort().values
    below = 0.5 * (1 + torch.erf(values / math.sqrt(2)))
    places = (torch.arange(len(values)) + 0.5) / len(values)
    assert (below - places).abs().max() < 1.95 / math.sqrt(len(values))  # Kolmogorov, 0.1 %
    assert abs(correlation(numbers[:, :20], numbers[:, 20:])) < 0.05
    assert torch.isfinite(numbers).all()


def test_keys_are_the_seeds() -> None:
    keys = item_keys((0, 2**63 - 1))
    assert keys.dtype == torch.int64
    assert keys.tolist() == [0, 2**63 - 1]


def test_many_numbers_are_drawn_in_pieces_and_are_the_same(monkeypatch) -> None:
    keys = item_keys([1, 2])
    whole = uniform(keys, 3, 7, 11), normal(keys, 3, 7, 11)
    monkeypatch.setattr("irdream.dreaming.random_streams._PLACES_AT_ONCE", 10)
    most: list[int] = []
    mixed = random_streams._mixed
    monkeypatch.setattr(
        random_streams, "_mixed", lambda word: most.append(word.shape[-1]) or mixed(word)
    )
    for one, other in zip(whole, (uniform(keys, 3, 7, 11), normal(keys, 3, 7, 11)), strict=True):
        assert torch.equal(one, other)
    assert max(most) <= 10
