"""Which instruments to dream toward: from the word a user typed to one item each."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from irdream import instruments
from irdream.errors import InputError, nearest

SPECIAL = ("all", "correct", "incorrect")


@dataclass(frozen=True)
class Item:
    """One dream to be dreamed."""

    excerpt: int  # its place in a list
    target: str  # the instrument's code; "" where the objective has no target
    step_size: float | None = None  # in the parametrization's step unit; None: the ascent's
    budget_db: float | None = None  # RMSE that the change may have; None: any
    variation: int = 0  # of several dreams that differ in their random numbers alone, from 0


def parse_targets(
    target: str | Sequence[str], labels: Sequence[str] | None = instruments.CODES
) -> list[str]:
    """Return labels of a recognizer, or one of `all`, `correct`, `incorrect`, as it is.

    A target is a label, an instrument's name, several of them as a list or with commas; any word
    where `labels` is None. Raises InputError for an unknown or an empty target.
    """
    if isinstance(target, str):
        target = [target] if target in (labels or ()) else target.split(",")
    words = [str(word) for word in target]
    words = [word.strip() for word in words if word.strip()]
    if not words:
        raise InputError("target is empty; expected an instrument, all, correct or incorrect")
    if len(words) == 1 and words[0].lower() in SPECIAL:
        return [words[0].lower()]
    if labels is None:
        return words
    return list(dict.fromkeys(_parse(word, labels) for word in words))


def plan(
    targets: Sequence[str],
    names: Sequence[str],
    labels: Sequence[Sequence[str]],
    *,
    seed: int,
    known: Sequence[str] = instruments.CODES,
    step_sizes: Sequence[float | None] = (None,),
    budgets_db: Sequence[float | None] = (None,),
    variations: int = 1,
) -> list[Item]:
    """Return the items: every excerpt toward every target, with every step size and budget.

    Variations of one dream stand side by side. An excerpt all of whose labels the recognizer lacks
    has no `correct` target, and one that has all labels no `incorrect` one: it is left out.

    Args:
        targets: as `parse_targets` gives them; [""] for none.
        names: of the excerpts; a random target depends on name and seed alone.
        labels: of each excerpt; `correct` is the first, `incorrect` none of them.
        seed: of the random targets.
        known: the labels of the recognizer.
        step_sizes, budgets_db: of the items; None: the ascent's.
        variations: of each dream.

    Raises:
        InputError: when `correct` or `incorrect` meets an excerpt without a label.
    """
    return [
        Item(i, *parts)
        for i, name in enumerate(names)
        for toward in [_resolve(targets, name, labels[i], seed, known)]
        for parts in itertools.product(toward, step_sizes, budgets_db, range(variations))
    ]


def item_seed(seed: int, name: str, target: str, variation: int = 0) -> int:
    """Return the seed of an item's random stream, which does not depend on its place."""
    return _hash(f"{seed}/{name}/{target}{f'/{variation}' if variation else ''}") % 2**63


def _resolve(
    targets: Sequence[str], name: str, labels: Sequence[str], seed: int, known: Sequence[str]
) -> list[str]:
    if targets[0] == "all":
        return list(known)
    if targets[0] in ("correct", "incorrect") and not labels:
        raise InputError(
            f"target={targets[0]} needs a label and {name!r} has none; expected an instrument "
            "or all"
        )
    own = [found for label in labels if (found := instruments.find(label, known))]
    if targets[0] == "correct":
        return own[:1]
    if targets[0] == "incorrect":
        others = [label for label in known if label not in own]
        return [others[_hash(f"{seed}/{name}/incorrect") % len(others)]] if others else []
    return list(targets)


def _parse(word: str, labels: Sequence[str]) -> str:
    try:
        return instruments.parse(word, labels)
    except InputError as error:
        if word.lower() in SPECIAL:
            raise InputError(f"target: {word} has others beside it; expected it alone") from None
        raise InputError(f"{error}{nearest(word.lower(), SPECIAL)}") from None


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def several(value: float | Sequence[float] | None) -> list[float | None]:
    """Return a number or several of them as a list without repeats; [None] for None."""
    values = [value] if value is None or isinstance(value, int | float) else value
    return list(dict.fromkeys(None if one is None else float(one) for one in values))


def batches(items: Sequence[Item], samples: Sequence[int], most: float) -> Iterator[list[Item]]:
    """Yield items whose excerpts have one length, of `most` samples at most, groups whole.

    Args:
        samples: of each excerpt.
    """
    variations = 1 + max(item.variation for item in items)
    for length in dict.fromkeys(samples[item.excerpt] for item in items):
        group = [item for item in items if samples[item.excerpt] == length]
        size = max(1, int(most / length / variations)) * variations
        yield from (group[first : first + size] for first in range(0, len(group), size))
