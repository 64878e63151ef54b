"""Which excerpts a checkpoint was trained and validated on, as far as its card tells.

For every excerpt the card has 8 characters of a hash of its file, 54 kB for IRMAS. So excerpts
are known again under other names, in other folders and in part, but not after they were converted
or cut. A score on what was trained on says what a network remembers: it is marked, not refused,
since to compare it with the score on a test is of use.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from irdream.datasets.base import (
    DataSet,
    ExcerptFile,
    contents,
    listed,
    unlabelled_words,
)
from irdream.tracking import Tracker

logger = logging.getLogger(__name__)
_CHARACTERS = 8


def packed(files: Sequence[ExcerptFile]) -> str:
    """Return what a card keeps of excerpts."""
    return "".join(sorted(filter(None, contents(files))))


def seen(card: Mapping[str, Any], files: Sequence[ExcerptFile]) -> tuple[str, ...]:
    """Say for each file whether it was for "training", for "validation", or "" neither.

    Args:
        card: of a checkpoint.
        files: of excerpts.

    Returns:
        Nothing where the card does not tell.
    """
    data = _data(card)
    if "training_contents" not in data:
        return ()
    known = {
        data[f"{use}_contents"][i : i + _CHARACTERS]: use
        for use in ("validation", "training")
        for i in range(0, len(data[f"{use}_contents"]), _CHARACTERS)
    }
    return tuple(known.get(content, "") for content in contents(files))


def _data(card: Mapping[str, Any]) -> Mapping[str, Any]:
    data = card.get("data")  # a card of somebody else may hold anything
    return data if isinstance(data, Mapping) else {}


def has_no_test(dataset: DataSet, files: Sequence[ExcerptFile], sample_rate_hz: int) -> bool:
    """Say whether all files of a test part are those of the training part, too."""
    training = {file.path for file in listed(dataset, "training", sample_rate_hz=sample_rate_hz)}
    return all(file.path in training and file.path.is_file() for file in files)


def seen_words(uses: Sequence[str]) -> str:
    """Say on how many excerpts a checkpoint was trained; nothing where on none."""
    trained, validated = uses.count("training"), uses.count("validation")
    if not trained and not validated:
        return ""
    return (
        f"no test: the checkpoint was trained on {trained} of these {len(uses)} excerpts, and its "
        f"epoch and thresholds were chosen on {validated}"
    )


def unknown_words(card: Mapping[str, Any], name: str) -> str:
    """Say that a data set of this name may have been trained on; nothing where more is known."""
    data = _data(card)
    if "training_contents" in data or data.get("name") != name:
        return ""
    return (
        f"perhaps no test: the checkpoint was trained on data called {name!r}, and its card does "
        "not tell on which excerpts"
    )


def warn_unlabelled(files: Sequence[ExcerptFile], fate: str) -> None:
    """Warn of files without a label, saying where they are and what becomes of them."""
    if words := unlabelled_words(files):
        logger.warning("%s: %s", fate, words)


def tag_doubts(tracker: Tracker, doubts: Sequence[str]) -> None:
    """Tag a run whose scores are not those of a test."""
    if doubts:
        tracker.set_tags({"irdream.doubts": "; ".join(doubts)})
