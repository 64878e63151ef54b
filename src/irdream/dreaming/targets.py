"""Which instruments to dream toward: from the word a user typed to one item each."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from irdream import instruments
from irdream.errors import InputError, nearest

SPECIAL = ("all", "correct", "incorrect")


@dataclass(frozen=True)
class Item:
    """One dream to be dreamed.

    Attributes:
        excerpt: its place in a list.
        target: the instrument's code; "" where the objective has no target.
        step_size: in the parametrization's step unit; None: the ascent's.
        budget_db: RMSE that the change may have; None: any.
        variation: 0 for the first of several dreams that differ in their random numbers alone.
    """

    excerpt: int
    target: str
    step_size: float | None = None
    budget_db: float | None = None
    variation: int = 0


def parse_targets(target: str | Sequence[str]) -> list[str]:
    """Return instrument codes, or one of `all`, `correct`, `incorrect`, as it is.

    Accepts a code, a name, several of them as a list or with commas.

    Raises:
        InputError: for an unknown or an empty target.
    """
    words = target.split(",") if isinstance(target, str) else [str(word) for word in target]
    words = [word.strip() for word in words if word.strip()]
    if not words:
        raise InputError("target is empty; expected an instrument, all, correct or incorrect")
    if len(words) == 1 and words[0].lower() in SPECIAL:
        return [words[0].lower()]
    return list(dict.fromkeys(_parse(word) for word in words))


def plan(
    targets: Sequence[str],
    names: Sequence[str],
    labels: Sequence[Sequence[str]],
    *,
    seed: int,
    step_sizes: Sequence[float | None] = (None,),
    budgets_db: Sequence[float | None] = (None,),
    variations: int = 1,
) -> list[Item]:
    """Return the items: every excerpt toward every target, with every step size and budget.

    Variations of one dream stand side by side.

    Args:
        targets: as `parse_targets` gives them; [""] for none.
        names: of the excerpts; a random target depends on name and seed alone.
        labels: of each excerpt; `correct` is the first, `incorrect` none of them.
        seed: of the random targets.
        step_sizes, budgets_db: of the items; None: the ascent's.
        variations: of each dream.

    Raises:
        InputError: when `correct` or `incorrect` meets an excerpt without a label.
    """
    items = []
    for i, name in enumerate(names):
        toward = _resolve(targets, name, labels[i], seed)
        for parts in itertools.product(toward, step_sizes, budgets_db, range(variations)):
            items.append(Item(i, *parts))
    return items


def item_seed(seed: int, name: str, target: str, variation: int = 0) -> int:
    """Return the seed of an item's random stream, from what it is and not from where it stands."""
    return _hash(f"{seed}/{name}/{target}{f'/{variation}' if variation else ''}") % 2**63


def _resolve(targets: Sequence[str], name: str, labels: Sequence[str], seed: int) -> list[str]:
    if targets[0] == "all":
        return list(instruments.CODES)
    if targets[0] in ("correct", "incorrect") and not labels:
        raise InputError(
            f"target={targets[0]} needs a label and {name!r} has none; expected an instrument "
            "or all"
        )
    if targets[0] == "correct":
        return [labels[0]]
    if targets[0] == "incorrect":
        others = [code for code in instruments.CODES if code not in labels]
        return [others[_hash(f"{seed}/{name}/incorrect") % len(others)]]
    return list(targets)


def _parse(word: str) -> str:
    if near := nearest(word.lower(), SPECIAL):
        try:
            return instruments.parse(word)
        except InputError as error:
            raise InputError(f"{error}{near}") from None
    return instruments.parse(word)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def several(value: float | Sequence[float] | None) -> list[float | None]:
    """Return a number or several of them as a list without repeats; [None] for None."""
    values = [value] if value is None or isinstance(value, int | float) else value
    return list(dict.fromkeys(None if one is None else float(one) for one in values))
