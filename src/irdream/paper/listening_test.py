"""A listening test in one HTML file: can a probe tell a dream from its original?

The method is Clark's ABX (High-resolution subjective testing using a double-blind comparator,
J. Audio Eng. Soc. 30(5), 1982): A and B are the two sounds of a pair, X is one of them, and
the probe says which. The browser draws all of it (crypto.getRandomValues), nothing that it
shows depends on it before the end, and neither do the sounds' names or lengths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from irdream.errors import InputError
from irdream.reports.pages import load_sound, render_html, write_text

MAX_TRIALS = 100
LEVEL = 0.05  # a session with at most this p counts as heard
HEARS = 0.4  # of the probe whose sessions are counted to say what a null result is worth


@dataclass(frozen=True, kw_only=True)
class AbxPair:
    """Two WAV files on one scale, and a name that the probe may read."""

    name: str
    original: Path
    dream: Path


def write_abx(
    pairs: Sequence[AbxPair],
    path: str | Path,
    *,
    trials: int = 16,
    title: str = "Can you hear the dream?",
    note: str = "",
) -> None:
    """Write a blinded listening test as one HTML file that needs no other.

    Each pair is drawn equally often, give or take one where `trials` is no multiple of them.
    Levels are as in the files: the caller puts the sounds of a pair on one scale.

    Args:
        pairs: what is compared; one training row each.
        path: of the HTML file.
        trials: of a session, 1 to 100; 12 right of 16 have p = 0.038.
        title: of the page.
        note: a paragraph for the probe, such as how the pairs were chosen.

    Raises:
        InputError: without a pair, when two have one name, with other numbers of trials, when
            the sounds of a pair differ in frames or rate, or one is no WAV of 16 or 24 bit.
        OSError: from the system (no such folder, no permission, full disk).
    """
    if not pairs:
        raise InputError("pairs=(); expected at least one; name an original and its dream")
    names = [pair.name for pair in pairs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"name={name!r} is that of two pairs; expected one; rename the other")
    if not 1 <= trials <= MAX_TRIALS:
        raise InputError(f"trials={trials}; expected 1 to {MAX_TRIALS}; 16 are usual")
    needed = least_right(trials)
    text = render_html(
        "abx.html.j2",
        scripts=["abx_plan.js", "abx.js"],
        title=title,
        note=note,
        given={"pairs": [_embedded(pair) for pair in pairs], "trials": trials, "level": LEVEL},
        needed=needed,
        hears=HEARS,
        power=chance(needed, trials, of_each=0.5 + HEARS / 2) if needed else 0.0,
    )
    write_text(text, path)


def chance(right: int, trials: int, *, of_each: float = 0.5) -> float:
    """Return the probability of at least `right` right answers, each one right by `of_each`."""
    terms = (
        math.comb(trials, k) * of_each**k * (1 - of_each) ** (trials - k)
        for k in range(right, trials + 1)
    )
    return math.fsum(terms)


def least_right(trials: int) -> int | None:
    """Return how many answers have to be right for p <= 0.05; None where all are too few."""
    enough = (k for k in range(trials + 1) if chance(k, trials) <= LEVEL)
    return next(enough, None)


def _embedded(pair: AbxPair) -> dict[str, str]:
    original, dream = load_sound(pair.original), load_sound(pair.dream)
    if (original.frames, original.sample_rate_hz) != (dream.frames, dream.sample_rate_hz):
        raise InputError(
            f"pair={pair.name!r}: {original.frames} frames at {original.sample_rate_hz} Hz and "
            f"{dream.frames} at {dream.sample_rate_hz} Hz tell which is which; cut them alike"
        )
    return {"name": pair.name, "original": original.uri, "dream": dream.uri}
