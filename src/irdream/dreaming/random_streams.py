"""Random numbers that belong to an item: drawn from its key and the step, never from a state.

Each number is a hash of (key, stream, step, place), the finalizer of SplitMix64 (Steele, Lea and
Flood 2014) applied to a sum of odd multiples. So an item's numbers do not depend on the batch
around it, on its place, on who has left the batch, or (but for rounding) on the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from irdream.runtime import widest_float


def _signed(word: int) -> int:
    """Return the int64 with the same 64 bits."""
    word %= 2**64
    return word - 2**64 if word >= 2**63 else word


_KEY, _STREAM, _STEP, _PLACE = (
    _signed(word)
    for word in (0x9E3779B97F4A7C15, 0xD1342543DE82EF95, 0xA0761D6478BD642F, 0xE7037ED1A0B428DB)
)
_PLACES_AT_ONCE = 2**20
_FIRST, _SECOND = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)


def item_keys(seeds: list[int] | tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
    """Return the items' keys, int64 (items,), from seeds of 0 to 2^63 - 1."""
    return torch.tensor(list(seeds), dtype=torch.int64, device=device)


def substream(keys: Tensor, stream: int) -> Tensor:
    """Return other keys (items,), so that two uses of one item draw different numbers."""
    return _mixed(keys * _KEY + _signed((stream + 1) * _STREAM))


def uniform(keys: Tensor, step: int, *shape: int) -> Tensor:
    """Draw from [0, 1), (items, *shape), in float64, or in float32 where the device has no other.

    Args:
        keys: of the items, (items,).
        step: of the ascent; other steps draw other numbers.
        shape: of what is drawn for each item.
    """
    return _in_blocks(lambda some: _drawn(keys, step, some), keys, shape)


def normal(keys: Tensor, step: int, *shape: int) -> Tensor:
    """Draw standard normal numbers, (items, *shape), likewise (Box and Muller 1958)."""
    count = math.prod(shape)

    def block(places: Tensor) -> Tensor:
        radius = torch.sqrt(-2.0 * torch.log1p(-_drawn(keys, step, places)))
        return radius * torch.cos(2.0 * math.pi * _drawn(keys, step, places + count))

    return _in_blocks(block, keys, shape)


def _in_blocks(draw: Callable[[Tensor], Tensor], keys: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Draw some places at a time, since integers in between take many times the memory."""
    places = torch.arange(math.prod(shape), device=keys.device).split(_PLACES_AT_ONCE)
    return torch.cat([draw(some) for some in places], dim=1).view(len(keys), *shape)


def _drawn(keys: Tensor, step: int, places: Tensor) -> Tensor:
    """Return numbers of [0, 1), (items, places)."""
    start = _mixed(keys * _KEY + _signed((step + 1) * _STEP))
    bits = _mixed(start[:, None] + places * _PLACE)
    dtype = widest_float(keys.device.type)
    digits = 53 if dtype == torch.float64 else 24
    return _shifted(bits, 64 - digits).to(dtype) / 2.0**digits


def _mixed(word: Tensor) -> Tensor:
    word = (word ^ _shifted(word, 30)) * _FIRST
    word = (word ^ _shifted(word, 27)) * _SECOND
    return word ^ _shifted(word, 31)


def _shifted(word: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros; int64's own shift would copy the sign."""
    return (word >> bits) & (2 ** (64 - bits) - 1)
